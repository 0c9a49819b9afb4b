#define _GNU_SOURCE
#include "CPipeWire.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* What libpipewire-0.3.so.0 promises to keep, so that neither building nor running needs the package: its structures grow at
   their ends only. Interop/wayland/abi.c holds these against the headers. */
#include "abi.h"

#define FUNCTIONS(X) \
    X(void, pw_init, (int *, char ***)) \
    X(struct pw_loop *, pw_loop_new, (const void *)) \
    X(void, pw_loop_destroy, (struct pw_loop *)) \
    X(struct pw_context *, pw_context_new, (struct pw_loop *, struct pw_properties *, size_t)) \
    X(void, pw_context_destroy, (struct pw_context *)) \
    X(struct pw_core *, pw_context_connect_fd, (struct pw_context *, int, struct pw_properties *, size_t)) \
    X(int, pw_core_disconnect, (struct pw_core *)) \
    X(struct pw_properties *, pw_properties_new, (const char *, ...)) \
    X(struct pw_stream *, pw_stream_new, (struct pw_core *, const char *, struct pw_properties *)) \
    X(void, pw_stream_destroy, (struct pw_stream *)) \
    X(void, pw_stream_add_listener, (struct pw_stream *, struct abi_hook *, const struct abi_stream_events *, void *)) \
    X(int, pw_stream_connect, (struct pw_stream *, int, uint32_t, int, const void **, uint32_t)) \
    X(int, pw_stream_update_params, (struct pw_stream *, const void **, uint32_t)) \
    X(struct abi_pw_buffer *, pw_stream_dequeue_buffer, (struct pw_stream *)) \
    X(int, pw_stream_queue_buffer, (struct pw_stream *, struct abi_pw_buffer *)) \
    X(int, pw_stream_set_active, (struct pw_stream *, _Bool))

#define DECLARE(result, name, parameters) static result(*p_##name) parameters;
FUNCTIONS(DECLARE)
#undef DECLARE

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char refusal[512] = "";

static void load(void) {
    void *handle = dlopen("libpipewire-0.3.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        const char *words = dlerror();
        strncpy(refusal, words ? words : "libpipewire-0.3.so.0 cannot be loaded", sizeof refusal - 1);
        return;
    }
    int is_whole = 1;
#define LOAD(result, name, parameters) is_whole &= (p_##name = (__typeof__(p_##name))dlsym(handle, #name)) != NULL;
    FUNCTIONS(LOAD)
    if (!is_whole) {
        strncpy(refusal, "libpipewire-0.3.so.0 is too old", sizeof refusal - 1);
        dlclose(handle);
        return;
    }
    p_pw_init(NULL, NULL);
}

const char *cpipewire_load(void) {
    pthread_once(&once, load);
    return refusal[0] ? refusal : NULL;
}

enum { POD_LIMIT = 16384, PARAMETERS = 3, MAPPING_LIMIT = 64 };

/* A buffer's memory, mapped here so that its bounds are known. */
typedef struct {
    struct abi_pw_buffer *buffer; /* NULL for a free entry */
    void *map;                    /* NULL if nothing was mapped */
    size_t length;
    const uint8_t *start;
    size_t capacity;
    int descriptor;               /* -1 if the memory cannot shrink */
    off_t end;                    /* how long the file must be */
} mapping;

struct cpipewire {
    struct pw_loop *loop;
    struct pw_context *context;
    struct pw_core *core;
    struct pw_stream *stream;
    struct abi_hook listener;
    int state;
    int has_ended;
    char reason[256];
    void *parameters[PARAMETERS];
    uint64_t format[POD_LIMIT / 8];
    size_t format_size;
    unsigned format_count;
    mapping mappings[MAPPING_LIMIT];
    struct abi_pw_buffer *held;
    uint64_t unusable;
};

static void state_changed(void *data, int old, int state, const char *error) {
    cpipewire *c = data;
    (void)old;
    c->state = state;
    if (state > 0 || c->has_ended) return;
    /* 0 before it is connected is the beginning. */
    c->has_ended = 1;
    if (error) strncpy(c->reason, error, sizeof c->reason - 1);
}

static void param_changed(void *data, uint32_t id, const void *pod) {
    cpipewire *c = data;
    if (id != ABI_PARAM_FORMAT || !pod) return;
    uint32_t size;
    memcpy(&size, pod, sizeof size);
    c->format_count++;
    c->format_size = 0;
    if (size > POD_LIMIT - 8) return;
    c->format_size = (size_t)size + 8;
    memcpy(c->format, pod, c->format_size);
    /* Here and not later: the sender's buffers are made next. */
    p_pw_stream_update_params(c->stream, (const void **)c->parameters, PARAMETERS);
}

static mapping *find(cpipewire *c, const struct abi_pw_buffer *buffer) {
    for (int index = 0; index < MAPPING_LIMIT; index++)
        if (c->mappings[index].buffer == buffer) return &c->mappings[index];
    return NULL;
}

static void add_buffer(void *data, struct abi_pw_buffer *buffer) {
    cpipewire *c = data;
    mapping *entry = find(c, NULL);
    struct abi_buffer *parts = buffer->buffer;
    if (!entry || !parts || parts->n_datas < 1) return;
    struct abi_data *memory = &parts->datas[0];
    mapping made = {.buffer = buffer, .descriptor = -1};
    if (memory->type == ABI_DATA_MEMPTR && memory->data) {
        made.start = memory->data;
        made.capacity = memory->maxsize;
    } else if (memory->type == ABI_DATA_MEMFD && memory->fd >= 0 && memory->fd <= INT32_MAX && memory->maxsize > 0) {
        int descriptor = (int)memory->fd;
        long page = sysconf(_SC_PAGESIZE);
        size_t lead = memory->mapoffset % (size_t)page;
        struct stat file;
        off_t end = (off_t)memory->mapoffset + (off_t)memory->maxsize;
        /* Beyond its end a file kills the process that reads it. */
        if (fstat(descriptor, &file) != 0 || file.st_size < end) goto keep;
        int seals = fcntl(descriptor, F_GET_SEALS);
        made.length = memory->maxsize + lead;
        made.map = mmap(NULL, made.length, PROT_READ, MAP_SHARED, descriptor, (off_t)(memory->mapoffset - lead));
        if (made.map == MAP_FAILED) {
            made.map = NULL;
            goto keep;
        }
        made.start = (const uint8_t *)made.map + lead;
        made.capacity = memory->maxsize;
        if (seals < 0 || !(seals & F_SEAL_SHRINK)) {
            made.descriptor = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
            made.end = end;
            if (made.descriptor < 0) made.capacity = 0;
        }
    }
keep:
    *entry = made;
}

static void unmap(mapping *entry) {
    if (entry->map) munmap(entry->map, entry->length);
    if (entry->buffer && entry->descriptor >= 0) close(entry->descriptor);
    memset(entry, 0, sizeof *entry);
}

static void remove_buffer(void *data, struct abi_pw_buffer *buffer) {
    cpipewire *c = data;
    mapping *entry = find(c, buffer);
    if (entry) unmap(entry);
    if (c->held == buffer) c->held = NULL;
}

/* That a picture has come wakes who polls; it is taken there. */
static void process(void *data) { (void)data; }

static const struct abi_stream_events events = {
    .version = 0,
    .state_changed = state_changed,
    .param_changed = param_changed,
    .add_buffer = add_buffer,
    .remove_buffer = remove_buffer,
    .process = process,
};

static const struct abi_loop_methods *methods(cpipewire *c) { return c->loop->control->interface.functions; }

static void *copy(const void *bytes, size_t size) {
    void *result = malloc(size);
    if (result) memcpy(result, bytes, size);
    return result;
}

cpipewire *cpipewire_open(int descriptor, uint32_t node, const void *format, size_t format_size, const void *buffers,
                          size_t buffers_size, const void *header, size_t header_size, const void *crop,
                          size_t crop_size, int *error) {
    cpipewire *c = calloc(1, sizeof *c);
    void *asked = copy(format, format_size);
    *error = ENOMEM;
    if (!c || !asked) goto fail;
    c->parameters[0] = copy(buffers, buffers_size);
    c->parameters[1] = copy(header, header_size);
    c->parameters[2] = copy(crop, crop_size);
    if (!c->parameters[0] || !c->parameters[1] || !c->parameters[2]) goto fail;
    errno = 0;
    if (!(c->loop = p_pw_loop_new(NULL))) goto fail_with_errno;
    cpipewire_enter(c);
    if (!(c->context = p_pw_context_new(c->loop, NULL, 0))) goto fail_with_errno;
    /* It closes the descriptor, also if it fails. */
    int taken = descriptor;
    descriptor = -1;
    if (!(c->core = p_pw_context_connect_fd(c->context, taken, NULL, 0))) goto fail_with_errno;
    struct pw_properties *properties =
        p_pw_properties_new("media.type", "Video", "media.category", "Capture", "media.role", "Screen", NULL);
    if (!properties || !(c->stream = p_pw_stream_new(c->core, "PeerConnection", properties))) goto fail_with_errno;
    p_pw_stream_add_listener(c->stream, &c->listener, &events, c);
    const void *formats[] = {asked};
    int result = p_pw_stream_connect(c->stream, ABI_DIRECTION_INPUT, node,
                                     ABI_STREAM_AUTOCONNECT | ABI_STREAM_DONT_RECONNECT, formats, 1);
    if (result < 0) {
        *error = -result;
        goto fail;
    }
    free(asked);
    *error = 0;
    return c;
fail_with_errno:
    *error = errno ? errno : EIO;
fail:
    if (descriptor >= 0) close(descriptor);
    free(asked);
    if (c) cpipewire_close(c);
    return NULL;
}

void cpipewire_close(cpipewire *c) {
    if (c->stream) p_pw_stream_destroy(c->stream);
    for (int index = 0; index < MAPPING_LIMIT; index++) unmap(&c->mappings[index]);
    if (c->core) p_pw_core_disconnect(c->core);
    if (c->context) p_pw_context_destroy(c->context);
    if (c->loop) p_pw_loop_destroy(c->loop);
    for (int index = 0; index < PARAMETERS; index++) free(c->parameters[index]);
    free(c);
}

int cpipewire_descriptor(cpipewire *c) { return methods(c)->get_fd(c->loop->control->interface.data); }

void cpipewire_enter(cpipewire *c) { methods(c)->enter(c->loop->control->interface.data); }
void cpipewire_leave(cpipewire *c) { methods(c)->leave(c->loop->control->interface.data); }

void cpipewire_iterate(cpipewire *c) {
    const struct abi_loop_methods *loop = methods(c);
    for (int turn = 0; turn < 32 && loop->iterate(c->loop->control->interface.data, 0) > 0; turn++) {}
}

void cpipewire_set_active(cpipewire *c, int is_active) { p_pw_stream_set_active(c->stream, is_active != 0); }

int cpipewire_state(cpipewire *c) {
    if (c->has_ended) return CPIPEWIRE_ENDED;
    return c->state >= CPIPEWIRE_STREAMING ? CPIPEWIRE_STREAMING
           : c->state == CPIPEWIRE_PAUSED  ? CPIPEWIRE_PAUSED
                                           : CPIPEWIRE_CONNECTING;
}

const char *cpipewire_reason(cpipewire *c) { return c->reason; }

unsigned cpipewire_format(cpipewire *c, const void **bytes, size_t *size) {
    *bytes = c->format;
    *size = c->format_size;
    return c->format_count;
}

static const void *find_meta(const struct abi_buffer *buffer, uint32_t type, size_t size) {
    for (uint32_t index = 0; index < buffer->n_metas; index++)
        if (buffer->metas[index].type == type && buffer->metas[index].size >= size) return buffer->metas[index].data;
    return NULL;
}

static int is_usable(const struct abi_buffer *buffer) {
    if (!buffer || buffer->n_datas < 1 || !buffer->datas[0].chunk) return 0;
    const struct abi_chunk *chunk = buffer->datas[0].chunk;
    const struct abi_meta_header *header = find_meta(buffer, ABI_META_HEADER, sizeof *header);
    /* Of no size: only the pointer has moved. */
    return chunk->size > 0 && !(chunk->flags & ABI_CHUNK_CORRUPTED) && !(header && header->flags & ABI_HEADER_CORRUPTED);
}

int cpipewire_newest(cpipewire *c, cpipewire_picture *out) {
    struct abi_pw_buffer *buffer;
    while ((buffer = p_pw_stream_dequeue_buffer(c->stream))) {
        if (!is_usable(buffer->buffer)) {
            c->unusable++;
            p_pw_stream_queue_buffer(c->stream, buffer);
            continue;
        }
        cpipewire_release(c);
        c->held = buffer;
    }
    if (!c->held) return 0;
    memset(out, 0, sizeof *out);
    const struct abi_buffer *parts = c->held->buffer;
    const struct abi_chunk *chunk = parts->datas[0].chunk;
    out->offset = chunk->offset;
    out->size = chunk->size;
    out->stride = chunk->stride;
    const mapping *entry = find(c, c->held);
    struct stat file;
    /* Memory that is not sealed may have been cut since; asked each time. */
    if (entry && entry->start && entry->capacity > 0
        && (entry->descriptor < 0 || (fstat(entry->descriptor, &file) == 0 && file.st_size >= entry->end))) {
        out->bytes = entry->start;
        out->capacity = entry->capacity;
    }
    const struct abi_meta_header *header = find_meta(parts, ABI_META_HEADER, sizeof *header);
    if (header) out->time = header->pts;
    const struct abi_meta_region *crop = find_meta(parts, ABI_META_CROP, sizeof *crop);
    if (crop) {
        out->crop_x = crop->x;
        out->crop_y = crop->y;
        out->crop_width = crop->width;
        out->crop_height = crop->height;
    }
    return 1;
}

void cpipewire_release(cpipewire *c) {
    if (c->held) p_pw_stream_queue_buffer(c->stream, c->held);
    c->held = NULL;
}

uint64_t cpipewire_unusable(cpipewire *c) { return c->unusable; }
