#ifndef CYUV_SHIM_H
#define CYUV_SHIM_H
/* libyuv.h includes C++ parts; these are its C headers. */
#include <libyuv/convert.h>
#include <libyuv/convert_argb.h>
#include <libyuv/convert_from.h>
#include <libyuv/planar_functions.h>
#include <libyuv/rotate.h>
#include <libyuv/scale.h>
#endif
