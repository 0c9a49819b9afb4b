#include "CSDL2.h"
#include <dlfcn.h>
#include <stddef.h>

/* The type of each function is taken from SDL's own headers. */
#define FUNCTIONS(X) \
    X(SDL_Init) X(SDL_Quit) X(SDL_SetHint) X(SDL_GetError) X(SDL_GetCurrentVideoDriver) X(SDL_CreateWindow) \
    X(SDL_DestroyWindow) X(SDL_CreateRenderer) X(SDL_DestroyRenderer) X(SDL_GetRendererOutputSize) \
    X(SDL_CreateTexture) X(SDL_DestroyTexture) X(SDL_UpdateYUVTexture) X(SDL_RenderClear) X(SDL_RenderCopyEx) \
    X(SDL_SetRenderDrawColor) X(SDL_SetRenderDrawBlendMode) X(SDL_RenderFillRects) X(SDL_RenderPresent) \
    X(SDL_WaitEventTimeout) X(SDL_SetWindowFullscreen) X(SDL_SetYUVConversionMode) X(SDL_SetWindowMinimumSize) \
    X(SDL_DisableScreenSaver)

#define DECLARE(name) static __typeof__(&name) p_##name;
FUNCTIONS(DECLARE)
#undef DECLARE

static void *library;

const char *csdl2_load(void) {
    if (library) return NULL;
    void *handle = dlopen("libSDL2-2.0.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!handle) return dlerror();
#define LOAD(name) \
    p_##name = (__typeof__(p_##name))dlsym(handle, #name); \
    if (!p_##name) { dlclose(handle); return "it is too old: " #name " is missing"; }
    FUNCTIONS(LOAD)
#undef LOAD
    library = handle;
    return NULL;
}

int csdl2_init_video(void) {
    /* Ctrl-C is the program's. */
    p_SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
    p_SDL_SetHint(SDL_HINT_RENDER_SCALE_QUALITY, "linear");
    p_SDL_SetHint(SDL_HINT_VIDEO_X11_NET_WM_BYPASS_COMPOSITOR, "0");
    if (p_SDL_Init(SDL_INIT_VIDEO) != 0) return -1;
    /* Whoever watches a call touches neither keys nor mouse. */
    p_SDL_DisableScreenSaver();
    p_SDL_SetYUVConversionMode(SDL_YUV_CONVERSION_BT601);
    return 0;
}

void csdl2_quit(void) { p_SDL_Quit(); }
const char *csdl2_error(void) { return p_SDL_GetError(); }
const char *csdl2_video_driver(void) { return p_SDL_GetCurrentVideoDriver(); }

SDL_Window *csdl2_create_window(const char *title, int width, int height) {
    SDL_Window *window = p_SDL_CreateWindow(title, SDL_WINDOWPOS_CENTERED, SDL_WINDOWPOS_CENTERED, width, height,
                                            SDL_WINDOW_RESIZABLE | SDL_WINDOW_ALLOW_HIGHDPI);
    if (window) p_SDL_SetWindowMinimumSize(window, 160, 120);
    return window;
}

void csdl2_destroy_window(SDL_Window *window) { p_SDL_DestroyWindow(window); }

SDL_Renderer *csdl2_create_renderer(SDL_Window *window) {
    SDL_Renderer *renderer = p_SDL_CreateRenderer(window, -1, SDL_RENDERER_ACCELERATED);
    if (!renderer) renderer = p_SDL_CreateRenderer(window, -1, SDL_RENDERER_SOFTWARE);
    if (renderer) p_SDL_SetRenderDrawBlendMode(renderer, SDL_BLENDMODE_BLEND);
    return renderer;
}

void csdl2_destroy_renderer(SDL_Renderer *renderer) { p_SDL_DestroyRenderer(renderer); }

void csdl2_output_size(SDL_Renderer *renderer, int *width, int *height) {
    if (p_SDL_GetRendererOutputSize(renderer, width, height) != 0) *width = *height = 0;
}

SDL_Texture *csdl2_create_texture(SDL_Renderer *renderer, int width, int height) {
    return p_SDL_CreateTexture(renderer, SDL_PIXELFORMAT_IYUV, SDL_TEXTUREACCESS_STREAMING, width, height);
}

void csdl2_destroy_texture(SDL_Texture *texture) { p_SDL_DestroyTexture(texture); }

int csdl2_update(SDL_Texture *texture, const uint8_t *y, int y_stride, const uint8_t *u, const uint8_t *v, int uv_stride) {
    return p_SDL_UpdateYUVTexture(texture, NULL, y, y_stride, u, uv_stride, v, uv_stride);
}

void csdl2_clear(SDL_Renderer *renderer) { p_SDL_RenderClear(renderer); }

void csdl2_copy(SDL_Renderer *renderer, SDL_Texture *texture, SDL_Rect target, int is_mirrored) {
    p_SDL_RenderCopyEx(renderer, texture, NULL, &target, 0, NULL, is_mirrored ? SDL_FLIP_HORIZONTAL : SDL_FLIP_NONE);
}

void csdl2_colour(SDL_Renderer *renderer, uint8_t red, uint8_t green, uint8_t blue, uint8_t alpha) {
    p_SDL_SetRenderDrawColor(renderer, red, green, blue, alpha);
}

void csdl2_fill(SDL_Renderer *renderer, const SDL_Rect *rectangles, int count) {
    p_SDL_RenderFillRects(renderer, rectangles, count);
}

void csdl2_present(SDL_Renderer *renderer) { p_SDL_RenderPresent(renderer); }

csdl2_event csdl2_wait(int milliseconds, int *key) {
    SDL_Event event;
    if (!p_SDL_WaitEventTimeout(&event, milliseconds)) return CSDL2_NOTHING;
    switch (event.type) {
    case SDL_QUIT: return CSDL2_CLOSE;
    case SDL_KEYDOWN:
        if (event.key.repeat || event.key.keysym.mod & (KMOD_CTRL | KMOD_ALT | KMOD_GUI)) return CSDL2_NOTHING;
        *key = event.key.keysym.sym < 128 ? (int)event.key.keysym.sym : 0;
        return CSDL2_KEY;
    case SDL_WINDOWEVENT:
        return event.window.event == SDL_WINDOWEVENT_CLOSE ? CSDL2_CLOSE : CSDL2_EXPOSED;
    case SDL_RENDER_TARGETS_RESET:
    case SDL_RENDER_DEVICE_RESET: return CSDL2_LOST;
    default: return CSDL2_NOTHING;
    }
}

void csdl2_set_fullscreen(SDL_Window *window, int is_full) {
    p_SDL_SetWindowFullscreen(window, is_full ? SDL_WINDOW_FULLSCREEN_DESKTOP : 0);
}
