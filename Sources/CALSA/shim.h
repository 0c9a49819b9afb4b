#ifndef CALSA_SHIM_H
#define CALSA_SHIM_H
/* snd_pcm_hw_params_alloca and its like are macros over alloca: use the _malloc and _free functions. */
#include <alsa/asoundlib.h>

/* A va_list parameter cannot be written in Swift on every architecture. ALSA prints its complaints to standard error,
   which on a machine without a sound card is a screenful: on this thread they are dropped from now on. */
static inline void calsa_ignore_message(const char *file, int line, const char *function, int code, const char *format,
                                        va_list arguments) {
    (void)file, (void)line, (void)function, (void)code, (void)format, (void)arguments;
}
static inline snd_local_error_handler_t calsa_silence_thread(void) {
    return snd_lib_error_set_local(calsa_ignore_message);
}
static inline void calsa_restore_thread(snd_local_error_handler_t handler) { snd_lib_error_set_local(handler); }
#endif
