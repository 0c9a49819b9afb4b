#ifndef CVPX_SHIM_H
#define CVPX_SHIM_H
#include <vpx/vp8cx.h>
#include <vpx/vp8dx.h>
#include <vpx/vpx_decoder.h>
#include <vpx/vpx_encoder.h>

/* Macros that add the ABI version. */
static inline vpx_codec_err_t cvpx_vpx_codec_enc_init(vpx_codec_ctx_t *context, vpx_codec_iface_t *interface, const vpx_codec_enc_cfg_t *configuration, vpx_codec_flags_t flags) { return vpx_codec_enc_init(context, interface, configuration, flags); }
static inline vpx_codec_err_t cvpx_vpx_codec_dec_init(vpx_codec_ctx_t *context, vpx_codec_iface_t *interface, const vpx_codec_dec_cfg_t *configuration, vpx_codec_flags_t flags) { return vpx_codec_dec_init(context, interface, configuration, flags); }
/* vpx_codec_control_ is variadic. */
static inline vpx_codec_err_t cvpx_vpx_codec_control_int(vpx_codec_ctx_t *context, int control, int value) { return vpx_codec_control_(context, control, value); }
static inline vpx_codec_err_t cvpx_vpx_codec_control_pointer(vpx_codec_ctx_t *context, int control, void *value) { return vpx_codec_control_(context, control, value); }
#endif
