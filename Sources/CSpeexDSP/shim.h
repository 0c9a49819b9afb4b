#ifndef CSPEEXDSP_SHIM_H
#define CSPEEXDSP_SHIM_H
#include <speex/speex_echo.h>
#include <speex/speex_preprocess.h>
#include <speex/speex_resampler.h>

/* The libraries' requests take a pointer of any type; nearly all of them are to a 32-bit integer. */
static inline int cspeexdsp_speex_echo_ctl_set(SpeexEchoState *state, int request, spx_int32_t value) { return speex_echo_ctl(state, request, &value); }
static inline int cspeexdsp_speex_preprocess_ctl_set(SpeexPreprocessState *state, int request, spx_int32_t value) { return speex_preprocess_ctl(state, request, &value); }
static inline int cspeexdsp_speex_preprocess_ctl_get(SpeexPreprocessState *state, int request, spx_int32_t *value) { return speex_preprocess_ctl(state, request, value); }
/* The canceller itself is what this one points to; null for none. */
static inline int cspeexdsp_speex_preprocess_set_echo_state(SpeexPreprocessState *state, SpeexEchoState *echo) { return speex_preprocess_ctl(state, SPEEX_PREPROCESS_SET_ECHO_STATE, echo); }
#endif
