#ifndef XPAINTER_H
#define XPAINTER_H
/* An X client for tests: draws what is to be captured. Colours are 0xRRGGBB. Each function returns when the server has done
   what was asked. */
#include <stdint.h>

typedef struct xpainter xpainter;

/* Null if the display cannot be had. */
xpainter *xpainter_open(const char *display);
void xpainter_close(xpainter *p);
/* The background of the whole screen. */
void xpainter_fill_root(xpainter *p, uint32_t colour);
/* A rectangle of the screen, or of a window. Window 0 is the root. */
void xpainter_fill(xpainter *p, uint32_t window, int x, int y, int width, int height, uint32_t colour);
/* A window on top of all others, with its background; without a title it has none. */
uint32_t xpainter_window(xpainter *p, int x, int y, int width, int height, int border, uint32_t colour, const char *title);
void xpainter_place(xpainter *p, uint32_t window, int x, int y, int width, int height);
/* Puts a window into another one, as window managers do with their frames. */
void xpainter_frame(xpainter *p, uint32_t window, uint32_t frame, int x, int y);
void xpainter_map(xpainter *p, uint32_t window);
void xpainter_unmap(xpainter *p, uint32_t window);
void xpainter_destroy(xpainter *p, uint32_t window);
/* Moves the pointer. */
void xpainter_point(xpainter *p, int x, int y);
/* Makes the pointer a square of 16 pixels that points with its upper left corner; on the whole screen. */
void xpainter_cursor(xpainter *p, uint32_t colour);
#endif
