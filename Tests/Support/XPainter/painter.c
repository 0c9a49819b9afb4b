#include "XPainter.h"
#include <stdlib.h>
#include <string.h>
#include <xcb/xcb.h>

struct xpainter {
    xcb_connection_t *connection;
    xcb_screen_t *screen;
    xcb_gcontext_t context;
};

static void wait_for_server(xpainter *p) {
    free(xcb_get_input_focus_reply(p->connection, xcb_get_input_focus(p->connection), NULL));
}

xpainter *xpainter_open(const char *display) {
    xcb_connection_t *connection = xcb_connect(display, NULL);
    xpainter *p = xcb_connection_has_error(connection) ? NULL : calloc(1, sizeof *p);
    if (!p) {
        xcb_disconnect(connection);
        return NULL;
    }
    p->connection = connection;
    p->screen = xcb_setup_roots_iterator(xcb_get_setup(connection)).data;
    p->context = xcb_generate_id(connection);
    /* The root's rectangles are drawn over windows, too. */
    uint32_t values[] = {XCB_SUBWINDOW_MODE_INCLUDE_INFERIORS, 0};
    xcb_create_gc(connection, p->context, p->screen->root, XCB_GC_SUBWINDOW_MODE | XCB_GC_GRAPHICS_EXPOSURES, values);
    return p;
}

void xpainter_close(xpainter *p) {
    xcb_disconnect(p->connection);
    free(p);
}

void xpainter_fill_root(xpainter *p, uint32_t colour) {
    xcb_change_window_attributes(p->connection, p->screen->root, XCB_CW_BACK_PIXEL, &colour);
    xcb_clear_area(p->connection, 0, p->screen->root, 0, 0, 0, 0);
    wait_for_server(p);
}

void xpainter_fill(xpainter *p, uint32_t window, int x, int y, int width, int height, uint32_t colour) {
    xcb_rectangle_t rectangle = {(int16_t)x, (int16_t)y, (uint16_t)width, (uint16_t)height};
    xcb_change_gc(p->connection, p->context, XCB_GC_FOREGROUND, &colour);
    xcb_poly_fill_rectangle(p->connection, window ? window : p->screen->root, p->context, 1, &rectangle);
    wait_for_server(p);
}

uint32_t xpainter_window(xpainter *p, int x, int y, int width, int height, int border, uint32_t colour, const char *title) {
    uint32_t window = xcb_generate_id(p->connection);
    uint32_t values[] = {colour, 0};
    xcb_create_window(p->connection, XCB_COPY_FROM_PARENT, window, p->screen->root, (int16_t)x, (int16_t)y,
                      (uint16_t)width, (uint16_t)height, (uint16_t)border, XCB_WINDOW_CLASS_INPUT_OUTPUT,
                      p->screen->root_visual, XCB_CW_BACK_PIXEL | XCB_CW_BORDER_PIXEL, values);
    if (title[0])
        xcb_change_property(p->connection, XCB_PROP_MODE_REPLACE, window, XCB_ATOM_WM_NAME, XCB_ATOM_STRING, 8,
                            (uint32_t)strlen(title), title);
    xcb_map_window(p->connection, window);
    wait_for_server(p);
    return window;
}

void xpainter_place(xpainter *p, uint32_t window, int x, int y, int width, int height) {
    uint32_t values[] = {(uint32_t)x, (uint32_t)y, (uint32_t)width, (uint32_t)height};
    xcb_configure_window(p->connection, window,
                         XCB_CONFIG_WINDOW_X | XCB_CONFIG_WINDOW_Y | XCB_CONFIG_WINDOW_WIDTH | XCB_CONFIG_WINDOW_HEIGHT,
                         values);
    wait_for_server(p);
}

void xpainter_frame(xpainter *p, uint32_t window, uint32_t frame, int x, int y) {
    xcb_reparent_window(p->connection, window, frame, (int16_t)x, (int16_t)y);
    wait_for_server(p);
}

void xpainter_map(xpainter *p, uint32_t window) {
    xcb_map_window(p->connection, window);
    wait_for_server(p);
}

void xpainter_unmap(xpainter *p, uint32_t window) {
    xcb_unmap_window(p->connection, window);
    wait_for_server(p);
}

void xpainter_destroy(xpainter *p, uint32_t window) {
    xcb_destroy_window(p->connection, window);
    wait_for_server(p);
}

void xpainter_point(xpainter *p, int x, int y) {
    xcb_warp_pointer(p->connection, XCB_NONE, p->screen->root, 0, 0, 0, 0, (int16_t)x, (int16_t)y);
    wait_for_server(p);
}

void xpainter_cursor(xpainter *p, uint32_t colour) {
    xcb_pixmap_t shape = xcb_generate_id(p->connection);
    xcb_create_pixmap(p->connection, 1, shape, p->screen->root, 16, 16);
    xcb_gcontext_t context = xcb_generate_id(p->connection);
    uint32_t one = 1;
    xcb_create_gc(p->connection, context, shape, XCB_GC_FOREGROUND, &one);
    xcb_rectangle_t whole = {0, 0, 16, 16};
    xcb_poly_fill_rectangle(p->connection, shape, context, 1, &whole);
    xcb_cursor_t cursor = xcb_generate_id(p->connection);
    uint16_t red = (uint16_t)((colour >> 16 & 0xff) * 257), green = (uint16_t)((colour >> 8 & 0xff) * 257),
             blue = (uint16_t)((colour & 0xff) * 257);
    xcb_create_cursor(p->connection, cursor, shape, shape, red, green, blue, 0, 0, 0, 0, 0);
    xcb_change_window_attributes(p->connection, p->screen->root, XCB_CW_CURSOR, &cursor);
    xcb_free_gc(p->connection, context);
    xcb_free_pixmap(p->connection, shape);
    wait_for_server(p);
}
