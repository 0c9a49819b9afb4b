#ifndef CXCB_H
#define CXCB_H
/* X11 by libxcb, loaded when a screen is captured: a machine without it, as a server, runs everything else. Its headers
   are needed for building only. Requests and their replies are one call each; what a server sends is copied into the
   structures below, within their limits. Functions that return int: 0, the X error's number (1 to 255), or -1 if the
   connection has broken. A connection belongs to one thread at a time. */
#include <stddef.h>
#include <stdint.h>

typedef struct cxcb cxcb;

/* Loads libxcb and those of its extensions that are there; null, or why not. */
const char *cxcb_load(void);

/* What the library and the server both have. */
enum { CXCB_SHM = 1, CXCB_RANDR = 2, CXCB_XFIXES = 4, CXCB_DAMAGE = 8, CXCB_COMPOSITE = 16 };

/* xcb's reasons for not connecting. */
enum { CXCB_UNREACHABLE = 1, CXCB_BAD_NAME, CXCB_NO_SCREEN, CXCB_NO_MEMORY };

/* Connects; null with the reason. `display` null: that of the environment. */
cxcb *cxcb_open(const char *display, int *reason);
void cxcb_close(cxcb *c);
int cxcb_is_broken(cxcb *c);
unsigned cxcb_extensions(cxcb *c);
/* Whether somebody listens at the socket of a display of this machine: 0, an errno, or -1 if it is of another machine. */
int cxcb_probe(const char *display);
/* Whether the server shows its windows inside a Wayland session. */
int cxcb_is_xwayland(cxcb *c);

/* How a drawable's pixels lie in memory. */
typedef struct {
    uint32_t red_mask, green_mask, blue_mask;
    uint8_t depth, bits_per_pixel, is_big_endian;
} cxcb_pixels;

uint32_t cxcb_root(cxcb *c);

typedef struct {
    int16_t x, y; /* on the root */
    uint16_t width, height, border;
    uint8_t is_viewable, is_override_redirect, is_input_only;
    cxcb_pixels pixels;
} cxcb_window;

int cxcb_describe(cxcb *c, uint32_t window, cxcb_window *out);

typedef struct {
    char name[128];
    int16_t x, y;
    uint16_t width, height;
    uint8_t is_primary;
} cxcb_monitor;

/* The number of monitors, or -1 if the server cannot tell. */
int cxcb_monitors(cxcb *c, cxcb_monitor *out, int limit);
/* The windows that a window manager lists, the upper ones first, else the root's children, or what is in their
   frames. */
int cxcb_windows(cxcb *c, uint32_t *out, int limit);
/* The window's title, empty if it has none; `is_utf8` 0 for Latin-1. */
void cxcb_title(cxcb *c, uint32_t window, char *out, size_t size, int *is_utf8);

/* Asks for the events below. */
int cxcb_watch_window(cxcb *c, uint32_t window);
void cxcb_watch_monitors(cxcb *c);
void cxcb_watch_cursor(cxcb *c);

typedef enum {
    CXCB_NOTHING,
    CXCB_OTHER,
    CXCB_DAMAGED,   /* the part of the drawable in x, y, width, height */
    CXCB_CHANGED,   /* the window's size or place, or whether it can be seen */
    CXCB_UNMAPPED,
    CXCB_DESTROYED,
    CXCB_MONITORS,
    CXCB_CURSOR
} cxcb_event_kind;

typedef struct {
    cxcb_event_kind kind;
    uint32_t window;
    int16_t x, y;
    uint16_t width, height;
} cxcb_event;

/* The next event, without waiting. */
cxcb_event cxcb_next_event(cxcb *c);

/* Damage of a window and all in it, from now on; 0 if it cannot be had. */
uint32_t cxcb_damage_create(cxcb *c, uint32_t window);
/* From here on damage is told anew. */
void cxcb_damage_forget(cxcb *c, uint32_t damage);
/* The same, done when this returns: for what another connection asks next. */
int cxcb_damage_forget_now(cxcb *c, uint32_t damage);

/* Gives a window memory of its own, so that it can be read when others cover it. */
int cxcb_redirect(cxcb *c, uint32_t window);
/* That memory at present as a drawable, with its size. */
int cxcb_window_pixmap(cxcb *c, uint32_t window, uint32_t *pixmap, uint16_t *width, uint16_t *height);
void cxcb_free_pixmap(cxcb *c, uint32_t pixmap);

/* Where the pointer is on a window. */
int cxcb_pointer(cxcb *c, uint32_t window, int *x, int *y, int *is_inside);

typedef struct {
    uint16_t width, height, hot_x, hot_y;
    uint32_t *pixels; /* ARGB, premultiplied; to be freed */
} cxcb_cursor;

/* The cursor's picture, of at most limit × limit pixels; larger ones are empty. */
int cxcb_cursor_picture(cxcb *c, int limit, cxcb_cursor *out);

/* Memory that the server writes pictures into. */
typedef struct {
    uint32_t segment;
    void *bytes;
    size_t size;
} cxcb_memory;

/* 0, an X error's number, -1 if the connection has broken, or -2 if the server cannot be handed memory. */
int cxcb_memory_create(cxcb *c, size_t size, cxcb_memory *out);
void cxcb_memory_free(cxcb *c, cxcb_memory *memory);
/* Reads a part of a drawable, its rows one after the other from `offset` on; it must fit into the memory. */
int cxcb_read_shared(cxcb *c, uint32_t drawable, int x, int y, int width, int height, const cxcb_memory *memory,
                     size_t offset);
/* The same through the connection, each row at its place: 4 bytes a pixel. -2 if the answer is too short. */
int cxcb_read(cxcb *c, uint32_t drawable, int x, int y, int width, int height, uint8_t *target, size_t bytes_per_row);
#endif
