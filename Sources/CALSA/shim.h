#ifndef CALSA_SHIM_H
#define CALSA_SHIM_H
/* snd_pcm_hw_params_alloca and its like are macros over alloca: use the _malloc and _free functions. */
#include <alsa/asoundlib.h>
#endif
