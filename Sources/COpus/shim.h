#ifndef COPUS_SHIM_H
#define COPUS_SHIM_H
#include <opus.h>

/* opus_encoder_ctl and opus_decoder_ctl are variadic, and their typed requests are macros. */
static inline int copus_opus_encoder_ctl_set(OpusEncoder *encoder, int request, opus_int32 value) { return opus_encoder_ctl(encoder, request, value); }
static inline int copus_opus_encoder_ctl_get(OpusEncoder *encoder, int request, opus_int32 *value) { return opus_encoder_ctl(encoder, request, value); }
static inline int copus_opus_decoder_ctl_get(OpusDecoder *decoder, int request, opus_int32 *value) { return opus_decoder_ctl(decoder, request, value); }
static inline int copus_opus_decoder_reset(OpusDecoder *decoder) { return opus_decoder_ctl(decoder, OPUS_RESET_STATE); }
#endif
