#ifndef CPNG_SHIM_H
#define CPNG_SHIM_H
#include <png.h>
#include <stdint.h>
#include <string.h>

/* The simplified interface of libpng, whose formats and version are macros: 8-bit RGB into memory.
   `memory` null asks for the size alone. Returns 1, or 0 and a message. */
static inline int cpng_write_rgb(uint32_t width, uint32_t height, const void *rgb, void *memory, size_t *size,
                                 char message[64]) {
    png_image image;
    memset(&image, 0, sizeof image);
    image.version = PNG_IMAGE_VERSION;
    image.width = width;
    image.height = height;
    image.format = PNG_FORMAT_RGB;
    png_alloc_size_t length = *size;
    int done = png_image_write_to_memory(&image, memory, &length, 0, rgb, 0, 0);
    *size = length;
    memcpy(message, image.message, sizeof image.message);
    png_image_free(&image);
    return done;
}
#endif
