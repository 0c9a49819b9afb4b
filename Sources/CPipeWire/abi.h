/* The structures and numbers of libpipewire-0.3 and SPA that CPipeWire.c uses. */
#ifndef CPIPEWIRE_ABI_H
#define CPIPEWIRE_ABI_H
#include <stdint.h>

struct pw_context;
struct pw_core;
struct pw_properties;
struct pw_stream;

/* struct spa_hook */
struct abi_hook {
    void *words[6];
};

/* struct spa_interface, at the beginning of struct spa_loop_control */
struct abi_interface {
    const char *type;
    uint32_t version;
    const void *functions;
    void *data;
};

struct abi_loop_control {
    struct abi_interface interface;
};

struct pw_loop {
    void *system;
    void *loop;
    struct abi_loop_control *control;
};

/* struct spa_loop_control_methods */
struct abi_loop_methods {
    uint32_t version;
    int (*get_fd)(void *object);
    void (*add_hook)(void *object, void *hook, const void *hooks, void *data);
    void (*enter)(void *object);
    void (*leave)(void *object);
    int (*iterate)(void *object, int timeout);
};

/* struct spa_chunk */
struct abi_chunk {
    uint32_t offset, size;
    int32_t stride, flags;
};

/* struct spa_data */
struct abi_data {
    uint32_t type, flags;
    int64_t fd;
    uint32_t mapoffset, maxsize;
    void *data;
    struct abi_chunk *chunk;
};

/* struct spa_meta */
struct abi_meta {
    uint32_t type, size;
    void *data;
};

/* struct spa_meta_header */
struct abi_meta_header {
    uint32_t flags, offset;
    int64_t pts, dts_offset;
    uint64_t seq;
};

/* struct spa_meta_region */
struct abi_meta_region {
    int32_t x, y;
    uint32_t width, height;
};

/* struct spa_buffer */
struct abi_buffer {
    uint32_t n_metas, n_datas;
    struct abi_meta *metas;
    struct abi_data *datas;
};

/* struct pw_buffer */
struct abi_pw_buffer {
    struct abi_buffer *buffer;
    void *user_data;
    uint64_t size;
};

/* struct pw_stream_events, version 0 */
struct abi_stream_events {
    uint32_t version;
    void (*destroy)(void *data);
    void (*state_changed)(void *data, int old, int state, const char *error);
    void (*control_info)(void *data, uint32_t id, const void *control);
    void (*io_changed)(void *data, uint32_t id, void *area, uint32_t size);
    void (*param_changed)(void *data, uint32_t id, const void *param);
    void (*add_buffer)(void *data, struct abi_pw_buffer *buffer);
    void (*remove_buffer)(void *data, struct abi_pw_buffer *buffer);
    void (*process)(void *data);
    void (*drained)(void *data);
};

enum {
    ABI_PARAM_FORMAT = 4,
    ABI_DIRECTION_INPUT = 0,
    ABI_STREAM_AUTOCONNECT = 1 << 0,
    ABI_STREAM_DONT_RECONNECT = 1 << 7,
    ABI_DATA_MEMPTR = 1,
    ABI_DATA_MEMFD = 2,
    ABI_META_HEADER = 1,
    ABI_META_CROP = 2,
    ABI_CHUNK_CORRUPTED = 1 << 0,
    ABI_HEADER_CORRUPTED = 1 << 1
};
#endif
