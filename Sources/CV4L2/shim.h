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
static const unsigned int cv4l2_V4L2_PIX_FMT_NV12M = V4L2_PIX_FMT_NV12M;
static const unsigned int cv4l2_V4L2_PIX_FMT_NV21M = V4L2_PIX_FMT_NV21M;
static const unsigned int cv4l2_V4L2_PIX_FMT_YUV420M = V4L2_PIX_FMT_YUV420M;
static const unsigned int cv4l2_V4L2_PIX_FMT_YVU420M = V4L2_PIX_FMT_YVU420M;
static const unsigned long cv4l2_VIDIOC_QUERYCTRL = VIDIOC_QUERYCTRL;
static const unsigned long cv4l2_VIDIOC_G_CTRL = VIDIOC_G_CTRL;
static const unsigned long cv4l2_VIDIOC_S_CTRL = VIDIOC_S_CTRL;

/* A menu's entry is a packed union: `name` gets its text, or the number that stands for it. Returns 0 or an errno. */
static inline int cv4l2_menu_entry(int descriptor, unsigned int control, unsigned int index, int is_number, char name[33],
                                   long long *number) {
    struct v4l2_querymenu entry = {.id = control, .index = index};
    int code = cv4l2_ioctl(descriptor, VIDIOC_QUERYMENU, &entry);
    if (code) return code;
    *number = is_number ? entry.value : 0;
    name[32] = 0;
    for (int i = 0; i < 32; i++) name[i] = is_number ? 0 : (char)entry.name[i];
    return 0;
}
static const unsigned int cv4l2_V4L2_PIX_FMT_H264 = V4L2_PIX_FMT_H264;
static const unsigned int cv4l2_V4L2_PIX_FMT_VP8 = V4L2_PIX_FMT_VP8;
static const unsigned int cv4l2_V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME = V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME;
static const unsigned int cv4l2_V4L2_CID_MPEG_VIDEO_BITRATE = V4L2_CID_MPEG_VIDEO_BITRATE;
static const unsigned int cv4l2_V4L2_CTRL_FLAG_NEXT_CTRL = V4L2_CTRL_FLAG_NEXT_CTRL;

/* The structures of several planes are packed, and point to arrays of a length of their own: Swift cannot fill them. */
struct cv4l2_plane {
    unsigned int length, memory_offset, bytes_used, data_offset;
};
struct cv4l2_planes {
    unsigned int index, count, flags, sequence;
    long long seconds, microseconds;
    struct cv4l2_plane plane[VIDEO_MAX_PLANES];
};
struct cv4l2_planes_format {
    unsigned int fourcc, width, height, field, colorspace, quantization, count;
    unsigned int bytes_per_line[VIDEO_MAX_PLANES];
};

static inline int cv4l2_set_planes_format(int descriptor, struct cv4l2_planes_format *format) {
    struct v4l2_format wanted = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE};
    wanted.fmt.pix_mp.width = format->width;
    wanted.fmt.pix_mp.height = format->height;
    wanted.fmt.pix_mp.pixelformat = format->fourcc;
    wanted.fmt.pix_mp.field = V4L2_FIELD_NONE;
    int code = cv4l2_ioctl(descriptor, VIDIOC_S_FMT, &wanted);
    if (code) return code;
    format->fourcc = wanted.fmt.pix_mp.pixelformat;
    format->width = wanted.fmt.pix_mp.width;
    format->height = wanted.fmt.pix_mp.height;
    format->field = wanted.fmt.pix_mp.field;
    format->colorspace = wanted.fmt.pix_mp.colorspace;
    format->quantization = wanted.fmt.pix_mp.quantization;
    format->count = wanted.fmt.pix_mp.num_planes;
    for (int i = 0; i < VIDEO_MAX_PLANES; i++) format->bytes_per_line[i] = wanted.fmt.pix_mp.plane_fmt[i].bytesperline;
    return 0;
}

/* VIDIOC_QUERYBUF, VIDIOC_QBUF and VIDIOC_DQBUF on a buffer of several planes: `planes` says which, and gets the answer. */
static inline int cv4l2_planes_ioctl(int descriptor, unsigned long request, struct cv4l2_planes *planes) {
    struct v4l2_plane each[VIDEO_MAX_PLANES] = {{0}};
    struct v4l2_buffer buffer = {
        .index = planes->index, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE, .memory = V4L2_MEMORY_MMAP};
    buffer.m.planes = each;
    buffer.length = planes->count && planes->count <= VIDEO_MAX_PLANES ? planes->count : VIDEO_MAX_PLANES;
    int code = cv4l2_ioctl(descriptor, request, &buffer);
    if (code) return code;
    planes->index = buffer.index;
    planes->count = buffer.length;
    planes->flags = buffer.flags;
    planes->sequence = buffer.sequence;
    planes->seconds = buffer.timestamp.tv_sec;
    planes->microseconds = buffer.timestamp.tv_usec;
    for (int i = 0; i < VIDEO_MAX_PLANES; i++) {
        planes->plane[i].length = each[i].length;
        planes->plane[i].memory_offset = each[i].m.mem_offset;
        planes->plane[i].bytes_used = each[i].bytesused;
        planes->plane[i].data_offset = each[i].data_offset;
    }
    return 0;
}
#endif
