internal import CSDL2
internal import Glibc
internal import Locking
internal import Media

/// A call's pictures in a window, by SDL2: everybody in a grid, one's own picture in the corner, names, and keys for what
/// one does most.
///
/// SDL has a thread of its own. Pictures reach it newest first, as I420: the graphics card makes colours of them.
package final class CallWindow: CallView {
    package let pictures = CallPictures()
    private let isClosed = Shared()

    private final class Shared: Sendable {
        let flag = Atomic<Bool>(false)
    }

    /// Opens a window.
    ///
    /// - Parameters:
    ///   - title: what stands over it.
    ///   - request: called on the window's thread with what is asked for; closing the window asks for hanging up.
    /// - Returns: the window; it stays until it is closed.
    /// - Throws: `MediaError` with what to do if there is no display or no SDL.
    package static func open(
        title: String,
        request: @escaping @Sendable (ViewRequest) -> Void
    ) async throws -> CallWindow {
        guard getenv("DISPLAY") || getenv("WAYLAND_DISPLAY") || getenv("SDL_VIDEODRIVER") else {
            throw MediaError(
                .notFound,
                "window",
                "there is no display: start rtc-peer in a desktop session, or take --show terminal, as over ssh"
            )
        }
        let window = CallWindow()
        let (pictures, isClosed) = (window.pictures, window.isClosed)
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            let worker = WorkerThread<Void>(name: "window", limit: 1) {
                do throws(MediaError) {
                    let drawing = try WindowDrawing(title: title)
                    continuation.resume()
                    drawing.run(pictures, isClosed: { isClosed.flag.load(ordering: .relaxed) }, request: request)
                } catch {
                    continuation.resume(throwing: error)
                }
            }
            worker.submit(())
            window.keep(worker)
        }
        return window
    }

    private let worker = Mutex<WorkerThread<Void>?>(nil)

    private init() {}

    private func keep(_ new: WorkerThread<Void>) { worker.withLock { $0 = new } }

    package func close() { isClosed.flag.store(true, ordering: .relaxed) }

    deinit { close() }

    static func getenv(_ name: String) -> Bool {
        // Safe: read at once; the process does not change its environment.
        unsafe Glibc.getenv(name).map { unsafe $0.pointee != 0 } ?? false
    }
}

/// Owns the window on its thread.
@safe private final class WindowDrawing {
    private let window: OpaquePointer
    private let renderer: OpaquePointer
    private var textures: [String: Texture] = [:]
    private var isFull = false

    @safe private struct Texture {
        let handle: OpaquePointer
        let width: Int
        let height: Int
        /// What was put into it last, kept so that no other can be taken for it.
        var picture: VideoFrame?
    }

    /// The key of one's own picture among the others'.
    private static let previewKey = "\u{0}"
    private static let advice = "take --show terminal, which needs neither a display nor SDL2"

    init(title: String) throws(MediaError) {
        if let reason = unsafe csdl2_load() {
            throw MediaError(
                .notFound,
                "window",
                "SDL2 cannot be loaded (\(unsafe String(cString: reason))): install libsdl2-2.0-0, or \(Self.advice)"
            )
        }
        guard csdl2_init_video() == 0 else {
            let reason = unsafe String(cString: csdl2_error())
            throw MediaError(
                .notUsable,
                "window",
                "the display cannot be opened (\(reason)): check DISPLAY, or \(Self.advice)"
            )
        }
        // Where no display answers SDL falls back on drawing for nobody, unless it was told to.
        let driver = unsafe csdl2_video_driver().map { unsafe String(cString: $0) } ?? "none"
        if ["offscreen", "dummy", "evdev", "none"].contains(driver), !CallWindow.getenv("SDL_VIDEODRIVER") {
            csdl2_quit()
            throw MediaError(
                .notUsable,
                "window",
                "the display does not answer: check DISPLAY and WAYLAND_DISPLAY, or \(Self.advice)"
            )
        }
        guard let window = unsafe csdl2_create_window(title, 960, 572) else {
            let reason = unsafe String(cString: csdl2_error())
            csdl2_quit()
            throw MediaError(.notUsable, "window", "no window can be opened (\(reason)): \(Self.advice)")
        }
        guard let renderer = unsafe csdl2_create_renderer(window) else {
            let reason = unsafe String(cString: csdl2_error())
            unsafe csdl2_destroy_window(window)
            csdl2_quit()
            throw MediaError(.notUsable, "window", "nothing can be drawn in a window (\(reason)): \(Self.advice)")
        }
        unsafe self.window = window
        unsafe self.renderer = renderer
    }

    deinit {
        for texture in textures.values { unsafe csdl2_destroy_texture(texture.handle) }
        unsafe csdl2_destroy_renderer(renderer)
        unsafe csdl2_destroy_window(window)
        csdl2_quit()
    }

    func run(_ pictures: CallPictures, isClosed: () -> Bool, request: (ViewRequest) -> Void) {
        var shownVersion = -1
        while !isClosed() {
            var key: CInt = 0
            var mustDraw = false
            switch unsafe csdl2_wait(10, &key) {
            case CSDL2_CLOSE: request(.hangUp)
            case CSDL2_KEY: press(key, request)
            case CSDL2_EXPOSED: mustDraw = true
            case CSDL2_LOST:
                for texture in textures.values { unsafe csdl2_destroy_texture(texture.handle) }
                textures = [:]
                mustDraw = true
            default: break
            }
            let state = pictures.now
            if mustDraw || state.version != shownVersion {
                shownVersion = state.version
                draw(state)
            }
        }
    }

    private func press(_ key: CInt, _ request: (ViewRequest) -> Void) {
        switch UnicodeScalar(UInt8(clamping: key)) {
        case "m": request(.toggleMicrophone)
        case "v": request(.toggleCamera)
        case "q": request(.hangUp)
        case "f":
            isFull.toggle()
            unsafe csdl2_set_fullscreen(window, isFull ? 1 : 0)
        case "\u{1B}" where isFull:
            isFull = false
            unsafe csdl2_set_fullscreen(window, 0)
        default: break
        }
    }

    // MARK: Drawing

    private func draw(_ state: CallPictures.State) {
        var (width, height): (CInt, CInt) = (0, 0)
        unsafe csdl2_output_size(renderer, &width, &height)
        guard width > 0, height > 0 else { return }
        let scale = max(1, Int(height) / 280)
        let bar = (BitmapFont.height + 4) * scale
        let area = PictureArea(x: 0, y: 0, width: Int(width), height: max(1, Int(height) - bar))
        unsafe csdl2_colour(renderer, 18, 18, 20, 255)
        unsafe csdl2_clear(renderer)
        forgetTextures(besides: state)
        let cells = PictureLayout.cells(state.participants.count, width: area.width, height: area.height)
        for ((id, participant), cell) in zip(state.participants, cells) {
            if let picture = participant.picture {
                place(picture, key: id, cell.fitting(width: picture.width, height: picture.height))
            } else {
                write(
                    "no picture",
                    x: cell.x + cell.width / 2,
                    y: cell.y + cell.height / 2,
                    scale: scale,
                    isCentred: true
                )
            }
            let name = String(participant.name.prefix(max(1, cell.width / (BitmapFont.advance * scale) - 2)))
            write(
                name,
                x: cell.x + 4 * scale,
                y: cell.y + cell.height - (BitmapFont.height + 4) * scale,
                scale: scale,
                hasGround: true
            )
        }
        if let own = state.preview, !state.isCameraOff {
            if state.participants.isEmpty {
                place(own, key: Self.previewKey, area.fitting(width: own.width, height: own.height), isMirrored: true)
            } else {
                let corner = PictureLayout.preview(
                    width: area.width,
                    height: area.height,
                    pictureWidth: own.width,
                    pictureHeight: own.height
                )
                fill([corner.grown(by: scale)], (200, 200, 200, 255))
                place(own, key: Self.previewKey, corner, isMirrored: true)
            }
        }
        drawBar(state, width: Int(width), top: area.height, scale: scale)
        unsafe csdl2_present(renderer)
    }

    private func drawBar(_ state: CallPictures.State, width: Int, top: Int, scale: Int) {
        fill([PictureArea(x: 0, y: top, width: width, height: (BitmapFont.height + 4) * scale)], (34, 34, 40, 255))
        var words = ["m mute", "v camera", "f full screen", "q hang up"]
        if state.isMicrophoneOff { words[0] = "m MICROPHONE OFF" }
        if state.isCameraOff { words[1] = "v CAMERA OFF" }
        var x = 4 * scale
        for (index, word) in words.enumerated() {
            let isAlarm = index == 0 && state.isMicrophoneOff || index == 1 && state.isCameraOff
            write(
                word,
                x: x,
                y: top + 2 * scale,
                scale: scale,
                colour: isAlarm ? (255, 110, 90, 255) : (190, 190, 200, 255)
            )
            x += BitmapFont.width(of: word) * scale + 3 * BitmapFont.advance * scale
        }
        if state.participants.isEmpty {
            let text = "waiting for others"
            write(text, x: width - BitmapFont.width(of: text) * scale - 4 * scale, y: top + 2 * scale, scale: scale)
        }
    }

    private func place(_ picture: VideoFrame, key: String, _ area: PictureArea, isMirrored: Bool = false) {
        guard var texture = texture(key, width: picture.width, height: picture.height) else { return }
        if texture.picture !== picture {
            picture.withPlanes { planes in
                _ = unsafe csdl2_update(
                    texture.handle,
                    planes.y,
                    CInt(planes.strideY),
                    planes.u,
                    planes.v,
                    CInt(planes.strideUV)
                )
            }
            texture.picture = picture
            textures[key] = texture
        }
        unsafe csdl2_copy(renderer, texture.handle, area.rectangle, isMirrored ? 1 : 0)
    }

    private func texture(_ key: String, width: Int, height: Int) -> Texture? {
        if let texture = textures[key] {
            if texture.width == width && texture.height == height { return texture }
            unsafe csdl2_destroy_texture(texture.handle)
            textures[key] = nil
        }
        guard let handle = unsafe csdl2_create_texture(renderer, CInt(width), CInt(height)) else { return nil }
        let texture = unsafe Texture(handle: handle, width: width, height: height)
        textures[key] = texture
        return texture
    }

    private func forgetTextures(besides state: CallPictures.State) {
        let ids = Set(state.participants.map(\.id))
        for (key, texture) in textures where key != Self.previewKey && !ids.contains(key) {
            unsafe csdl2_destroy_texture(texture.handle)
            textures[key] = nil
        }
    }

    private func fill(_ areas: [PictureArea], _ colour: (UInt8, UInt8, UInt8, UInt8)) {
        let rectangles = areas.map(\.rectangle)
        unsafe csdl2_colour(renderer, colour.0, colour.1, colour.2, colour.3)
        unsafe csdl2_fill(renderer, rectangles, CInt(rectangles.count))
    }

    private func write(
        _ text: String,
        x: Int,
        y: Int,
        scale: Int,
        isCentred: Bool = false,
        hasGround: Bool = false,
        colour: (UInt8, UInt8, UInt8, UInt8) = (235, 235, 240, 255)
    ) {
        let width = BitmapFont.width(of: text) * scale
        let left = isCentred ? x - width / 2 : x
        if hasGround {
            let ground = PictureArea(
                x: left - 2 * scale,
                y: y - 2 * scale,
                width: width + 3 * scale,
                height: (BitmapFont.height + 3) * scale
            )
            fill([ground], (0, 0, 0, 150))
        }
        var dots: [PictureArea] = []
        BitmapFont.draw(text) { column, row in
            dots.append(PictureArea(x: left + column * scale, y: y + row * scale, width: scale, height: scale))
        }
        if !dots.isEmpty { fill(dots, colour) }
    }
}

extension PictureArea {
    fileprivate var rectangle: SDL_Rect {
        SDL_Rect(x: CInt(clamping: x), y: CInt(clamping: y), w: CInt(clamping: width), h: CInt(clamping: height))
    }

    fileprivate func grown(by margin: Int) -> PictureArea {
        PictureArea(x: x - margin, y: y - margin, width: width + 2 * margin, height: height + 2 * margin)
    }
}
