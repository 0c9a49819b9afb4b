#define _GNU_SOURCE
#include "CXCB.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <xcb/composite.h>
#include <xcb/damage.h>
#include <xcb/randr.h>
#include <xcb/shm.h>
#include <xcb/xcb.h>
#include <xcb/xfixes.h>

/* The type of each function is taken from xcb's own headers. */
#define CORE(X) \
    X(xcb_connect) X(xcb_disconnect) X(xcb_connection_has_error) X(xcb_get_file_descriptor) X(xcb_get_setup) \
    X(xcb_setup_roots_iterator) X(xcb_screen_next) X(xcb_screen_allowed_depths_iterator) X(xcb_depth_next) \
    X(xcb_depth_visuals) X(xcb_depth_visuals_length) X(xcb_setup_pixmap_formats) X(xcb_setup_pixmap_formats_length) \
    X(xcb_parse_display) X(xcb_generate_id) X(xcb_get_extension_data) X(xcb_query_extension) \
    X(xcb_query_extension_reply) X(xcb_poll_for_event) X(xcb_request_check) X(xcb_flush) X(xcb_get_geometry) \
    X(xcb_get_geometry_reply) X(xcb_get_window_attributes) X(xcb_get_window_attributes_reply) \
    X(xcb_translate_coordinates) X(xcb_translate_coordinates_reply) X(xcb_intern_atom) X(xcb_intern_atom_reply) \
    X(xcb_get_property) X(xcb_get_property_reply) X(xcb_get_property_value) X(xcb_get_property_value_length) \
    X(xcb_query_tree) X(xcb_query_tree_reply) X(xcb_query_tree_children) X(xcb_query_tree_children_length) \
    X(xcb_get_atom_name) X(xcb_get_atom_name_reply) X(xcb_get_atom_name_name) X(xcb_get_atom_name_name_length) \
    X(xcb_change_window_attributes_checked) X(xcb_query_pointer) X(xcb_query_pointer_reply) X(xcb_get_image) \
    X(xcb_get_image_reply) X(xcb_get_image_data) X(xcb_get_image_data_length) X(xcb_free_pixmap)
#define SHM(X) \
    X(xcb_shm_query_version) X(xcb_shm_query_version_reply) X(xcb_shm_attach_fd_checked) X(xcb_shm_detach) \
    X(xcb_shm_get_image) X(xcb_shm_get_image_reply)
#define RANDR(X) \
    X(xcb_randr_query_version) X(xcb_randr_query_version_reply) X(xcb_randr_select_input) X(xcb_randr_get_monitors) \
    X(xcb_randr_get_monitors_reply) X(xcb_randr_get_monitors_monitors_iterator) X(xcb_randr_monitor_info_next)
#define XFIXES(X) \
    X(xcb_xfixes_query_version) X(xcb_xfixes_query_version_reply) X(xcb_xfixes_select_cursor_input) \
    X(xcb_xfixes_get_cursor_image) X(xcb_xfixes_get_cursor_image_reply) X(xcb_xfixes_get_cursor_image_cursor_image) \
    X(xcb_xfixes_get_cursor_image_cursor_image_length)
#define DAMAGE(X) \
    X(xcb_damage_query_version) X(xcb_damage_query_version_reply) X(xcb_damage_create_checked) X(xcb_damage_subtract) \
    X(xcb_damage_subtract_checked)
#define COMPOSITE(X) \
    X(xcb_composite_query_version) X(xcb_composite_query_version_reply) X(xcb_composite_redirect_window_checked) \
    X(xcb_composite_name_window_pixmap_checked)

#define DECLARE(name) static __typeof__(&name) p_##name;
CORE(DECLARE) SHM(DECLARE) RANDR(DECLARE) XFIXES(DECLARE) DAMAGE(DECLARE) COMPOSITE(DECLARE)
#undef DECLARE
static xcb_extension_t *shm_id, *randr_id, *xfixes_id, *damage_id, *composite_id;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static unsigned libraries;
static char refusal[512] = "";

/* Null if a function is missing. */
#define LOAD(name) is_whole &= (p_##name = (__typeof__(p_##name))dlsym(handle, #name)) != NULL;

static void *open_library(const char *name) { return dlopen(name, RTLD_NOW | RTLD_LOCAL); }

static void load(void) {
    int is_whole = 1;
    void *handle = open_library("libxcb.so.1");
    if (!handle) {
        const char *words = dlerror();
        strncpy(refusal, words ? words : "libxcb.so.1 cannot be loaded", sizeof refusal - 1);
        return;
    }
    CORE(LOAD)
    if (!is_whole) {
        strncpy(refusal, "libxcb.so.1 is too old", sizeof refusal - 1);
        dlclose(handle);
        return;
    }
    /* What is missing here is missing in what can be done: no cursor, no monitors, ... */
#define EXTENSION(file, functions, id, symbol, flag) \
    is_whole = 1; \
    if ((handle = open_library(file))) { \
        functions(LOAD) id = dlsym(handle, symbol); \
        if (is_whole && id) libraries |= flag; \
    }
    EXTENSION("libxcb-shm.so.0", SHM, shm_id, "xcb_shm_id", CXCB_SHM)
    EXTENSION("libxcb-randr.so.0", RANDR, randr_id, "xcb_randr_id", CXCB_RANDR)
    EXTENSION("libxcb-xfixes.so.0", XFIXES, xfixes_id, "xcb_xfixes_id", CXCB_XFIXES)
    EXTENSION("libxcb-damage.so.0", DAMAGE, damage_id, "xcb_damage_id", CXCB_DAMAGE)
    EXTENSION("libxcb-composite.so.0", COMPOSITE, composite_id, "xcb_composite_id", CXCB_COMPOSITE)
}

const char *cxcb_load(void) {
    pthread_once(&once, load);
    return refusal[0] ? refusal : NULL;
}

struct cxcb {
    xcb_connection_t *connection;
    xcb_screen_t *screen;
    unsigned extensions;
    uint8_t damage_event, randr_event, xfixes_event;
};

/* Frees the error and gives its number. */
static int number_of(cxcb *c, xcb_generic_error_t *error) {
    int number = error ? error->error_code : p_xcb_connection_has_error(c->connection) ? -1 : 0;
    free(error);
    return number;
}

/* The number for a reply that did not come. */
static int missing(cxcb *c, xcb_generic_error_t *error) {
    int number = number_of(c, error);
    return number ? number : -1;
}

#define EVENTS_OF(id) ((data = p_xcb_get_extension_data(c->connection, id)) && data->present)
#define VERSION(name, major, minor) \
    name##_query_version_reply_t *version = \
        p_##name##_query_version_reply(c->connection, p_##name##_query_version(c->connection, major, minor), NULL)

static void find_extensions(cxcb *c) {
    const xcb_query_extension_reply_t *data;
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    /* Memory is handed over as a descriptor, which only a local socket carries. */
    int is_local = getsockname(p_xcb_get_file_descriptor(c->connection), (struct sockaddr *)&address, &length) == 0
                   && address.ss_family == AF_UNIX;
    if (libraries & CXCB_SHM && is_local && EVENTS_OF(shm_id)) {
        xcb_shm_query_version_reply_t *version = p_xcb_shm_query_version_reply(
            c->connection, p_xcb_shm_query_version(c->connection), NULL);
        if (version && (version->major_version > 1 || version->minor_version >= 2)) c->extensions |= CXCB_SHM;
        free(version);
    }
    if (libraries & CXCB_RANDR && EVENTS_OF(randr_id)) {
        c->randr_event = data->first_event;
        VERSION(xcb_randr, 1, 5);
        if (version && (version->major_version > 1 || version->minor_version >= 5)) c->extensions |= CXCB_RANDR;
        free(version);
    }
    if (libraries & CXCB_XFIXES && EVENTS_OF(xfixes_id)) {
        c->xfixes_event = data->first_event;
        VERSION(xcb_xfixes, 4, 0);
        if (version) c->extensions |= CXCB_XFIXES;
        free(version);
    }
    if (libraries & CXCB_DAMAGE && EVENTS_OF(damage_id)) {
        c->damage_event = data->first_event;
        VERSION(xcb_damage, 1, 1);
        if (version) c->extensions |= CXCB_DAMAGE;
        free(version);
    }
    if (libraries & CXCB_COMPOSITE && EVENTS_OF(composite_id)) {
        VERSION(xcb_composite, 0, 4);
        if (version && (version->major_version > 0 || version->minor_version >= 2)) c->extensions |= CXCB_COMPOSITE;
        free(version);
    }
}

cxcb *cxcb_open(const char *display, int *reason) {
    int number = 0;
    xcb_connection_t *connection = p_xcb_connect(display, &number);
    int error = p_xcb_connection_has_error(connection);
    cxcb *c = error ? NULL : calloc(1, sizeof *c);
    if (!c) {
        *reason = error == XCB_CONN_CLOSED_PARSE_ERR       ? CXCB_BAD_NAME
                  : error == XCB_CONN_CLOSED_INVALID_SCREEN ? CXCB_NO_SCREEN
                  : error == XCB_CONN_CLOSED_MEM_INSUFFICIENT || !error ? CXCB_NO_MEMORY
                                                                        : CXCB_UNREACHABLE;
        p_xcb_disconnect(connection);
        return NULL;
    }
    c->connection = connection;
    xcb_screen_iterator_t screens = p_xcb_setup_roots_iterator(p_xcb_get_setup(connection));
    for (; screens.rem > 0; p_xcb_screen_next(&screens), number--) {
        c->screen = screens.data;
        if (number <= 0) break;
    }
    if (!c->screen) {
        *reason = CXCB_NO_SCREEN;
        cxcb_close(c);
        return NULL;
    }
    find_extensions(c);
    return c;
}

void cxcb_close(cxcb *c) {
    p_xcb_disconnect(c->connection);
    free(c);
}

int cxcb_is_broken(cxcb *c) { return p_xcb_connection_has_error(c->connection) != 0; }
unsigned cxcb_extensions(cxcb *c) { return c->extensions; }
uint32_t cxcb_root(cxcb *c) { return c->screen->root; }

static int try_socket(const struct sockaddr_un *address, socklen_t length) {
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return errno;
    int number = connect(descriptor, (const struct sockaddr *)address, length) == 0 ? 0 : errno;
    close(descriptor);
    return number;
}

int cxcb_probe(const char *display) {
    char *host = NULL;
    int number = 0, screen = 0;
    if (!p_xcb_parse_display(display, &host, &number, &screen)) return -1;
    int is_local = !host || !host[0] || strcmp(host, "unix") == 0;
    free(host);
    if (!is_local) return -1;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "/tmp/.X11-unix/X%d", number);
    size_t head = offsetof(struct sockaddr_un, sun_path);
    int result = try_socket(&address, (socklen_t)(head + 1 + (size_t)length));
    if (result == 0) return 0;
    memmove(address.sun_path, address.sun_path + 1, (size_t)length + 1);
    return try_socket(&address, (socklen_t)(head + (size_t)length + 1));
}

int cxcb_is_xwayland(cxcb *c) {
    static const char name[] = "XWAYLAND";
    xcb_query_extension_reply_t *reply = p_xcb_query_extension_reply(
        c->connection, p_xcb_query_extension(c->connection, sizeof name - 1, name), NULL);
    int is = reply && reply->present;
    free(reply);
    return is;
}

static void find_pixels(cxcb *c, uint8_t depth, xcb_visualid_t visual, cxcb_pixels *out) {
    const xcb_setup_t *setup = p_xcb_get_setup(c->connection);
    const xcb_format_t *formats = p_xcb_setup_pixmap_formats(setup);
    memset(out, 0, sizeof *out);
    out->depth = depth;
    out->is_big_endian = setup->image_byte_order == XCB_IMAGE_ORDER_MSB_FIRST;
    for (int index = 0; index < p_xcb_setup_pixmap_formats_length(setup); index++)
        if (formats[index].depth == depth && formats[index].scanline_pad <= 32)
            out->bits_per_pixel = formats[index].bits_per_pixel;
    xcb_depth_iterator_t depths = p_xcb_screen_allowed_depths_iterator(c->screen);
    for (; depths.rem > 0; p_xcb_depth_next(&depths)) {
        const xcb_visualtype_t *visuals = p_xcb_depth_visuals(depths.data);
        for (int index = 0; index < p_xcb_depth_visuals_length(depths.data); index++) {
            if (visuals[index].visual_id != visual) continue;
            out->red_mask = visuals[index].red_mask;
            out->green_mask = visuals[index].green_mask;
            out->blue_mask = visuals[index].blue_mask;
        }
    }
}

int cxcb_describe(cxcb *c, uint32_t window, cxcb_window *out) {
    xcb_generic_error_t *error = NULL;
    memset(out, 0, sizeof *out);
    xcb_get_window_attributes_cookie_t asked = p_xcb_get_window_attributes(c->connection, window);
    xcb_get_geometry_cookie_t measured = p_xcb_get_geometry(c->connection, window);
    xcb_translate_coordinates_cookie_t placed =
        p_xcb_translate_coordinates(c->connection, window, c->screen->root, 0, 0);
    xcb_get_window_attributes_reply_t *attributes = p_xcb_get_window_attributes_reply(c->connection, asked, &error);
    xcb_get_geometry_reply_t *geometry =
        p_xcb_get_geometry_reply(c->connection, measured, attributes ? &error : NULL);
    xcb_translate_coordinates_reply_t *place =
        p_xcb_translate_coordinates_reply(c->connection, placed, attributes && geometry ? &error : NULL);
    int result = attributes && geometry && place ? 0 : missing(c, error);
    if (result == 0) {
        out->x = place->dst_x;
        out->y = place->dst_y;
        out->width = geometry->width;
        out->height = geometry->height;
        out->border = geometry->border_width;
        out->is_viewable = attributes->map_state == XCB_MAP_STATE_VIEWABLE;
        out->is_override_redirect = attributes->override_redirect;
        out->is_input_only = attributes->_class == XCB_WINDOW_CLASS_INPUT_ONLY;
        find_pixels(c, geometry->depth, attributes->visual, &out->pixels);
    }
    free(attributes);
    free(geometry);
    free(place);
    return result;
}

int cxcb_monitors(cxcb *c, cxcb_monitor *out, int limit) {
    if (!(c->extensions & CXCB_RANDR)) return -1;
    xcb_randr_get_monitors_reply_t *reply = p_xcb_randr_get_monitors_reply(
        c->connection, p_xcb_randr_get_monitors(c->connection, c->screen->root, 1), NULL);
    if (!reply) return -1;
    int count = 0;
    xcb_randr_monitor_info_iterator_t monitors = p_xcb_randr_get_monitors_monitors_iterator(reply);
    for (; monitors.rem > 0 && count < limit; p_xcb_randr_monitor_info_next(&monitors)) {
        cxcb_monitor *monitor = &out[count++];
        memset(monitor, 0, sizeof *monitor);
        monitor->x = monitors.data->x;
        monitor->y = monitors.data->y;
        monitor->width = monitors.data->width;
        monitor->height = monitors.data->height;
        monitor->is_primary = monitors.data->primary;
        xcb_get_atom_name_reply_t *name = p_xcb_get_atom_name_reply(
            c->connection, p_xcb_get_atom_name(c->connection, monitors.data->name), NULL);
        if (name) {
            size_t length = (size_t)p_xcb_get_atom_name_name_length(name);
            if (length >= sizeof monitor->name) length = sizeof monitor->name - 1;
            memcpy(monitor->name, p_xcb_get_atom_name_name(name), length);
        }
        free(name);
    }
    free(reply);
    return count;
}

static xcb_atom_t atom(cxcb *c, const char *name) {
    xcb_intern_atom_reply_t *reply = p_xcb_intern_atom_reply(
        c->connection, p_xcb_intern_atom(c->connection, 1, (uint16_t)strlen(name), name), NULL);
    xcb_atom_t result = reply ? reply->atom : XCB_ATOM_NONE;
    free(reply);
    return result;
}

static xcb_get_property_reply_t *property(cxcb *c, uint32_t window, xcb_atom_t name, uint32_t words) {
    if (name == XCB_ATOM_NONE) return NULL;
    return p_xcb_get_property_reply(
        c->connection, p_xcb_get_property(c->connection, 0, window, name, XCB_GET_PROPERTY_TYPE_ANY, 0, words), NULL);
}

static int has_property(cxcb *c, uint32_t window, xcb_atom_t name) {
    xcb_get_property_reply_t *reply = property(c, window, name, 0);
    int has = reply && reply->type != XCB_ATOM_NONE;
    free(reply);
    return has;
}

/* The program's window in a frame of the window manager's: the first with a title, two levels down at most. */
static uint32_t client_in(cxcb *c, uint32_t window, int levels) {
    if (has_property(c, window, XCB_ATOM_WM_NAME)) return window;
    if (levels == 0) return 0;
    xcb_query_tree_reply_t *tree =
        p_xcb_query_tree_reply(c->connection, p_xcb_query_tree(c->connection, window), NULL);
    if (!tree) return 0;
    const xcb_window_t *children = p_xcb_query_tree_children(tree);
    int length = p_xcb_query_tree_children_length(tree);
    uint32_t found = 0;
    for (int index = 0; index < length && index < 8 && !found; index++)
        found = client_in(c, children[index], levels - 1);
    free(tree);
    return found;
}

int cxcb_windows(cxcb *c, uint32_t *out, int limit) {
    xcb_get_property_reply_t *listed =
        property(c, c->screen->root, atom(c, "_NET_CLIENT_LIST_STACKING"), (uint32_t)limit);
    int count = 0;
    if (listed && listed->format == 32) {
        const uint32_t *windows = p_xcb_get_property_value(listed);
        int length = p_xcb_get_property_value_length(listed) / 4;
        /* The list is from the bottom up. */
        while (length > 0 && count < limit) out[count++] = windows[--length];
        free(listed);
        return count;
    }
    free(listed);
    xcb_query_tree_reply_t *tree =
        p_xcb_query_tree_reply(c->connection, p_xcb_query_tree(c->connection, c->screen->root), NULL);
    if (!tree) return 0;
    const xcb_window_t *children = p_xcb_query_tree_children(tree);
    int length = p_xcb_query_tree_children_length(tree);
    while (length > 0 && count < limit) {
        uint32_t child = children[--length], client = client_in(c, child, 2);
        out[count++] = client ? client : child;
    }
    free(tree);
    return count;
}

void cxcb_title(cxcb *c, uint32_t window, char *out, size_t size, int *is_utf8) {
    if (size == 0) return;
    memset(out, 0, size);
    *is_utf8 = 1;
    /* The second is what a window manager makes of older encodings. */
    static const char *const names[] = {"_NET_WM_NAME", "_NET_WM_VISIBLE_NAME", NULL};
    xcb_get_property_reply_t *title = NULL;
    for (int index = 0; index < 3; index++) {
        *is_utf8 = names[index] != NULL;
        title = property(c, window, names[index] ? atom(c, names[index]) : XCB_ATOM_WM_NAME, (uint32_t)(size / 4));
        if (title && title->format == 8 && p_xcb_get_property_value_length(title) > 0) break;
        free(title);
        title = NULL;
    }
    if (title) {
        size_t length = (size_t)p_xcb_get_property_value_length(title);
        memcpy(out, p_xcb_get_property_value(title), length < size ? length : size - 1);
    }
    free(title);
}

int cxcb_watch_window(cxcb *c, uint32_t window) {
    uint32_t mask = XCB_EVENT_MASK_STRUCTURE_NOTIFY | XCB_EVENT_MASK_VISIBILITY_CHANGE;
    return number_of(c, p_xcb_request_check(c->connection, p_xcb_change_window_attributes_checked(
                                                               c->connection, window, XCB_CW_EVENT_MASK, &mask)));
}

void cxcb_watch_monitors(cxcb *c) {
    if (!(c->extensions & CXCB_RANDR)) return;
    p_xcb_randr_select_input(c->connection, c->screen->root,
                             XCB_RANDR_NOTIFY_MASK_SCREEN_CHANGE | XCB_RANDR_NOTIFY_MASK_CRTC_CHANGE
                                 | XCB_RANDR_NOTIFY_MASK_OUTPUT_CHANGE);
}

void cxcb_watch_cursor(cxcb *c) {
    if (!(c->extensions & CXCB_XFIXES)) return;
    p_xcb_xfixes_select_cursor_input(c->connection, c->screen->root, XCB_XFIXES_CURSOR_NOTIFY_MASK_DISPLAY_CURSOR);
}

cxcb_event cxcb_next_event(cxcb *c) {
    cxcb_event event = {CXCB_NOTHING, 0, 0, 0, 0, 0};
    xcb_generic_event_t *raw = p_xcb_poll_for_event(c->connection);
    if (!raw) return event;
    uint8_t type = raw->response_type & 0x7f;
    event.kind = CXCB_OTHER;
    if (c->extensions & CXCB_DAMAGE && type == c->damage_event + XCB_DAMAGE_NOTIFY) {
        const xcb_damage_notify_event_t *damage = (const xcb_damage_notify_event_t *)raw;
        event = (cxcb_event){CXCB_DAMAGED, damage->drawable, damage->area.x, damage->area.y, damage->area.width,
                             damage->area.height};
    } else if (c->extensions & CXCB_RANDR
               && (type == c->randr_event + XCB_RANDR_SCREEN_CHANGE_NOTIFY || type == c->randr_event + XCB_RANDR_NOTIFY)) {
        event.kind = CXCB_MONITORS;
    } else if (c->extensions & CXCB_XFIXES && type == c->xfixes_event + XCB_XFIXES_CURSOR_NOTIFY) {
        event.kind = CXCB_CURSOR;
    } else if (type == XCB_CONFIGURE_NOTIFY) {
        event.kind = CXCB_CHANGED;
        event.window = ((const xcb_configure_notify_event_t *)raw)->window;
    } else if (type == XCB_MAP_NOTIFY) {
        event.kind = CXCB_CHANGED;
        event.window = ((const xcb_map_notify_event_t *)raw)->window;
    } else if (type == XCB_VISIBILITY_NOTIFY) {
        event.kind = CXCB_CHANGED;
        event.window = ((const xcb_visibility_notify_event_t *)raw)->window;
    } else if (type == XCB_UNMAP_NOTIFY) {
        event.kind = CXCB_UNMAPPED;
        event.window = ((const xcb_unmap_notify_event_t *)raw)->window;
    } else if (type == XCB_DESTROY_NOTIFY) {
        event.kind = CXCB_DESTROYED;
        event.window = ((const xcb_destroy_notify_event_t *)raw)->window;
    }
    free(raw);
    return event;
}

uint32_t cxcb_damage_create(cxcb *c, uint32_t window) {
    if (!(c->extensions & CXCB_DAMAGE)) return 0;
    uint32_t damage = p_xcb_generate_id(c->connection);
    xcb_void_cookie_t made = p_xcb_damage_create_checked(c->connection, damage, window,
                                                         XCB_DAMAGE_REPORT_LEVEL_BOUNDING_BOX);
    return number_of(c, p_xcb_request_check(c->connection, made)) == 0 ? damage : 0;
}

void cxcb_damage_forget(cxcb *c, uint32_t damage) {
    p_xcb_damage_subtract(c->connection, damage, XCB_NONE, XCB_NONE);
}

int cxcb_damage_forget_now(cxcb *c, uint32_t damage) {
    xcb_void_cookie_t asked = p_xcb_damage_subtract_checked(c->connection, damage, XCB_NONE, XCB_NONE);
    return number_of(c, p_xcb_request_check(c->connection, asked));
}

int cxcb_redirect(cxcb *c, uint32_t window) {
    xcb_void_cookie_t asked =
        p_xcb_composite_redirect_window_checked(c->connection, window, XCB_COMPOSITE_REDIRECT_AUTOMATIC);
    return number_of(c, p_xcb_request_check(c->connection, asked));
}

int cxcb_window_pixmap(cxcb *c, uint32_t window, uint32_t *pixmap, uint16_t *width, uint16_t *height) {
    uint32_t id = p_xcb_generate_id(c->connection);
    xcb_generic_error_t *error = NULL;
    xcb_void_cookie_t named = p_xcb_composite_name_window_pixmap_checked(c->connection, window, id);
    xcb_get_geometry_cookie_t measured = p_xcb_get_geometry(c->connection, id);
    int result = number_of(c, p_xcb_request_check(c->connection, named));
    xcb_get_geometry_reply_t *geometry = p_xcb_get_geometry_reply(c->connection, measured, &error);
    if (result == 0 && !geometry) {
        result = missing(c, error);
    } else {
        free(error);
    }
    if (result == 0) {
        *pixmap = id;
        *width = geometry->width;
        *height = geometry->height;
    }
    free(geometry);
    return result;
}

void cxcb_free_pixmap(cxcb *c, uint32_t pixmap) { p_xcb_free_pixmap(c->connection, pixmap); }

int cxcb_pointer(cxcb *c, uint32_t window, int *x, int *y, int *is_inside) {
    xcb_generic_error_t *error = NULL;
    xcb_query_pointer_reply_t *reply =
        p_xcb_query_pointer_reply(c->connection, p_xcb_query_pointer(c->connection, window), &error);
    if (!reply) return missing(c, error);
    *x = reply->win_x;
    *y = reply->win_y;
    *is_inside = reply->same_screen;
    free(reply);
    return 0;
}

int cxcb_cursor_picture(cxcb *c, int limit, cxcb_cursor *out) {
    memset(out, 0, sizeof *out);
    xcb_generic_error_t *error = NULL;
    xcb_xfixes_get_cursor_image_reply_t *reply =
        p_xcb_xfixes_get_cursor_image_reply(c->connection, p_xcb_xfixes_get_cursor_image(c->connection), &error);
    if (!reply) return missing(c, error);
    size_t count = (size_t)reply->width * reply->height;
    int length = p_xcb_xfixes_get_cursor_image_cursor_image_length(reply);
    if (count > 0 && reply->width <= limit && reply->height <= limit && length >= 0 && (size_t)length >= count
        && (out->pixels = malloc(count * 4))) {
        memcpy(out->pixels, p_xcb_xfixes_get_cursor_image_cursor_image(reply), count * 4);
        out->width = reply->width;
        out->height = reply->height;
        out->hot_x = reply->xhot;
        out->hot_y = reply->yhot;
    }
    free(reply);
    return 0;
}

int cxcb_memory_create(cxcb *c, size_t size, cxcb_memory *out) {
    memset(out, 0, sizeof *out);
    if (!(c->extensions & CXCB_SHM)) return -2;
    int descriptor = memfd_create("screen", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (descriptor < 0) return -2;
    /* Reserved now: where memory is short, writing into it must not end the server. */
    if (posix_fallocate(descriptor, 0, (off_t)size) != 0) {
        close(descriptor);
        return -2;
    }
    fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL);
    void *bytes = mmap(NULL, size, PROT_READ, MAP_SHARED, descriptor, 0);
    if (bytes == MAP_FAILED) {
        close(descriptor);
        return -2;
    }
    uint32_t segment = p_xcb_generate_id(c->connection);
    /* xcb closes the descriptor. */
    xcb_void_cookie_t attached = p_xcb_shm_attach_fd_checked(c->connection, segment, descriptor, 0);
    int result = number_of(c, p_xcb_request_check(c->connection, attached));
    if (result != 0) {
        munmap(bytes, size);
        return result;
    }
    *out = (cxcb_memory){segment, bytes, size};
    return 0;
}

void cxcb_memory_free(cxcb *c, cxcb_memory *memory) {
    if (memory->bytes) {
        p_xcb_shm_detach(c->connection, memory->segment);
        munmap(memory->bytes, memory->size);
    }
    memset(memory, 0, sizeof *memory);
}

int cxcb_read_shared(cxcb *c, uint32_t drawable, int x, int y, int width, int height, const cxcb_memory *memory,
                     size_t offset) {
    xcb_generic_error_t *error = NULL;
    xcb_shm_get_image_cookie_t asked =
        p_xcb_shm_get_image(c->connection, drawable, (int16_t)x, (int16_t)y, (uint16_t)width, (uint16_t)height, ~0u,
                            XCB_IMAGE_FORMAT_Z_PIXMAP, memory->segment, (uint32_t)offset);
    xcb_shm_get_image_reply_t *reply = p_xcb_shm_get_image_reply(c->connection, asked, &error);
    if (!reply) return missing(c, error);
    free(reply);
    return 0;
}

int cxcb_read(cxcb *c, uint32_t drawable, int x, int y, int width, int height, uint8_t *target, size_t bytes_per_row) {
    xcb_generic_error_t *error = NULL;
    xcb_get_image_cookie_t asked = p_xcb_get_image(c->connection, XCB_IMAGE_FORMAT_Z_PIXMAP, drawable, (int16_t)x,
                                                   (int16_t)y, (uint16_t)width, (uint16_t)height, ~0u);
    xcb_get_image_reply_t *reply = p_xcb_get_image_reply(c->connection, asked, &error);
    if (!reply) return missing(c, error);
    int length = p_xcb_get_image_data_length(reply);
    size_t row = (size_t)width * 4;
    int result = length >= 0 && (size_t)length >= row * (size_t)height ? 0 : -2;
    const uint8_t *bytes = p_xcb_get_image_data(reply);
    for (int index = 0; result == 0 && index < height; index++)
        memcpy(target + (size_t)index * bytes_per_row, bytes + (size_t)index * row, row);
    free(reply);
    return result;
}
