#ifndef CSDL2_H
#define CSDL2_H
/* SDL2, loaded when a window is opened: a machine without it, as a server, runs everything else. Its headers are needed
   for building only. Each function does what SDL's of that name does; csdl2_load() comes first. */
#define SDL_DISABLE_IMMINTRIN_H
#define SDL_DISABLE_XMMINTRIN_H
#define SDL_DISABLE_EMMINTRIN_H
#define SDL_DISABLE_PMMINTRIN_H
#define SDL_DISABLE_MMINTRIN_H
#define SDL_DISABLE_MM3DNOW_H
#include <SDL2/SDL.h>

/* Loads libSDL2; null, or why not (valid until the next call). */
const char *csdl2_load(void);

int csdl2_init_video(void);
void csdl2_quit(void);
const char *csdl2_error(void);
const char *csdl2_video_driver(void);
SDL_Window *csdl2_create_window(const char *title, int width, int height);
void csdl2_destroy_window(SDL_Window *window);
SDL_Renderer *csdl2_create_renderer(SDL_Window *window);
void csdl2_destroy_renderer(SDL_Renderer *renderer);
void csdl2_output_size(SDL_Renderer *renderer, int *width, int *height);
/* A texture for I420 pictures, scaled smoothly. */
SDL_Texture *csdl2_create_texture(SDL_Renderer *renderer, int width, int height);
void csdl2_destroy_texture(SDL_Texture *texture);
int csdl2_update(SDL_Texture *texture, const uint8_t *y, int y_stride, const uint8_t *u, const uint8_t *v, int uv_stride);
void csdl2_clear(SDL_Renderer *renderer);
void csdl2_copy(SDL_Renderer *renderer, SDL_Texture *texture, SDL_Rect target, int is_mirrored);
void csdl2_colour(SDL_Renderer *renderer, uint8_t red, uint8_t green, uint8_t blue, uint8_t alpha);
void csdl2_fill(SDL_Renderer *renderer, const SDL_Rect *rectangles, int count);
void csdl2_present(SDL_Renderer *renderer);
/* What happened within so many milliseconds. */
typedef enum { CSDL2_NOTHING, CSDL2_CLOSE, CSDL2_KEY, CSDL2_EXPOSED, CSDL2_LOST } csdl2_event;
/* `key` gets the character of a key that was pressed, or 27 for Escape. */
csdl2_event csdl2_wait(int milliseconds, int *key);
void csdl2_set_fullscreen(SDL_Window *window, int is_full);
#endif
