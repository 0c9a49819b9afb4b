#ifndef CV4L2_SHIM_H
#define CV4L2_SHIM_H
#include <errno.h>
#include <linux/videodev2.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

/* ioctl is variadic. Returns 0 or a positive errno; a signal does not end it. */
static inline int cv4l2_ioctl(int descriptor, unsigned long request, void *argument) {
    int status;
    do {
        status = ioctl(descriptor, request, argument);
    } while (status < 0 && errno == EINTR);
    return status < 0 ? errno : 0;
}

/* _IOWR() and v4l2_fourcc() are function-like macros: such constants are not imported. */
static const unsigned long cv4l2_VIDIOC_QUERYCAP = VIDIOC_QUERYCAP;
static const unsigned long cv4l2_VIDIOC_ENUM_FMT = VIDIOC_ENUM_FMT;
static const unsigned long cv4l2_VIDIOC_ENUM_FRAMESIZES = VIDIOC_ENUM_FRAMESIZES;
static const unsigned long cv4l2_VIDIOC_ENUM_FRAMEINTERVALS = VIDIOC_ENUM_FRAMEINTERVALS;
static const unsigned long cv4l2_VIDIOC_G_FMT = VIDIOC_G_FMT;
static const unsigned long cv4l2_VIDIOC_S_FMT = VIDIOC_S_FMT;
static const unsigned long cv4l2_VIDIOC_S_PARM = VIDIOC_S_PARM;
static const unsigned long cv4l2_VIDIOC_REQBUFS = VIDIOC_REQBUFS;
static const unsigned long cv4l2_VIDIOC_QUERYBUF = VIDIOC_QUERYBUF;
static const unsigned long cv4l2_VIDIOC_QBUF = VIDIOC_QBUF;
static const unsigned long cv4l2_VIDIOC_DQBUF = VIDIOC_DQBUF;
static const unsigned long cv4l2_VIDIOC_STREAMON = VIDIOC_STREAMON;
static const unsigned long cv4l2_VIDIOC_STREAMOFF = VIDIOC_STREAMOFF;
static const unsigned int cv4l2_V4L2_PIX_FMT_YUYV = V4L2_PIX_FMT_YUYV;
static const unsigned int cv4l2_V4L2_PIX_FMT_YUV420 = V4L2_PIX_FMT_YUV420;
static const unsigned int cv4l2_V4L2_PIX_FMT_NV12 = V4L2_PIX_FMT_NV12;
static const unsigned int cv4l2_V4L2_PIX_FMT_MJPEG = V4L2_PIX_FMT_MJPEG;
static const unsigned int cv4l2_V4L2_PIX_FMT_UYVY = V4L2_PIX_FMT_UYVY;
static const unsigned int cv4l2_V4L2_PIX_FMT_NV21 = V4L2_PIX_FMT_NV21;
static const unsigned int cv4l2_V4L2_PIX_FMT_YVU420 = V4L2_PIX_FMT_YVU420;
static const unsigned int cv4l2_V4L2_PIX_FMT_JPEG = V4L2_PIX_FMT_JPEG;
#endif
