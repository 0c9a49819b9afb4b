/* A stream of pictures from PipeWire, by libpipewire-0.3, which is loaded when it is first asked for: programs run on machines
   without it. Nothing here waits. A stream belongs to one thread at a time, which it is told.

   Formats and parameters are PODs, which are read and written elsewhere: they are bytes here. */
#ifndef CPIPEWIRE_H
#define CPIPEWIRE_H
#include <stddef.h>
#include <stdint.h>

/* Loads the library; NULL, or why it cannot be had. */
const char *cpipewire_load(void);

typedef struct cpipewire cpipewire;

/* Asks for a node's pictures on a connection, whose descriptor it closes in any case; NULL with an errno value.
   `format` is an object EnumFormat; `buffers`, `header` and `crop` are asked for with each format. All are copied. */
cpipewire *cpipewire_open(int descriptor, uint32_t node, const void *format, size_t format_size, const void *buffers,
                          size_t buffers_size, const void *header, size_t header_size, const void *crop,
                          size_t crop_size, int *error);
void cpipewire_close(cpipewire *c);
/* A stream is the calling thread's from cpipewire_open or cpipewire_enter to cpipewire_leave. In between, what comes from other
   threads wakes who polls. */
void cpipewire_enter(cpipewire *c);
void cpipewire_leave(cpipewire *c);
/* To be polled for input. */
int cpipewire_descriptor(cpipewire *c);
/* Does what is to be done without waiting. */
void cpipewire_iterate(cpipewire *c);
/* Lets pictures come, or holds them back. */
void cpipewire_set_active(cpipewire *c, int is_active);

enum { CPIPEWIRE_ENDED, CPIPEWIRE_CONNECTING, CPIPEWIRE_PAUSED, CPIPEWIRE_STREAMING };
int cpipewire_state(cpipewire *c);
/* Why it has ended; empty if nobody said. */
const char *cpipewire_reason(cpipewire *c);
/* The format that was agreed on last, until the next call of cpipewire_iterate; counts formats, 0 before the first. */
unsigned cpipewire_format(cpipewire *c, const void **bytes, size_t *size);

typedef struct {
    /* NULL if its kind of memory cannot be read. Readable for `capacity` bytes. */
    const uint8_t *bytes;
    size_t capacity;
    /* As the sender wrote them: anything. */
    uint32_t offset, size;
    int32_t stride;
    /* In nanoseconds; 0 if it was not told. */
    int64_t time;
    /* The part of the picture that counts; of no size if all does. */
    int32_t crop_x, crop_y;
    uint32_t crop_width, crop_height;
} cpipewire_picture;

/* Takes the newest picture; older ones go back. It stays until it is released, another is taken, or its memory is taken away
   in cpipewire_iterate. Returns 0 if there is none. */
int cpipewire_newest(cpipewire *c, cpipewire_picture *out);
/* Gives the picture back. */
void cpipewire_release(cpipewire *c);
/* Buffers that came empty or marked as damaged. */
uint64_t cpipewire_unusable(cpipewire *c);
#endif
