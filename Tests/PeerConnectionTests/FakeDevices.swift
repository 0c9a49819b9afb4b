import Locking
import PeerConnection

/// Devices that exist in a test alone.
final class FakeDevices: MediaDeviceSystem {
    private struct State {
        var listed: [MediaDeviceInfo] = []
        var modes: [String: [CameraMode]] = [:]
        var refusals: [String: MediaError] = [:]
        var hint: MediaError?
        var cameras: [FakeCamera] = []
        var microphones: [FakeMicrophone] = []
        var watchers: [@Sendable () -> Void] = []
        var surfaces: Result<[DisplaySurface], MediaError> = .success([])
        var captures: [FakeCapture] = []
        /// Called when a camera is opened.
        var opening: (@Sendable () -> Void)?
    }
    private final class Watch: Sendable {}

    private let state = Mutex(State())
    /// What the loudspeakers of this test play.
    let playedSound = PlayedSound()

    /// Plugs a camera in.
    @discardableResult
    func addCamera(_ id: String, path: String = "", _ modes: [CameraMode]) -> MediaDeviceInfo {
        let path = path.isEmpty ? "/dev/\(id)" : path
        let info = MediaDeviceInfo(
            deviceId: id,
            kind: .videoinput,
            label: "Camera \(id)",
            groupId: "group \(id)",
            systemName: path
        )
        state.withLock { state in
            state.listed.append(info)
            state.modes[id] = modes
        }
        tell()
        return info
    }

    /// Plugs a microphone in.
    func addMicrophone(_ id: String) {
        let info = MediaDeviceInfo(
            deviceId: id,
            kind: .audioinput,
            label: "Microphone \(id)",
            groupId: "group \(id)",
            systemName: id
        )
        state.withLock { $0.listed.append(info) }
        tell()
    }

    /// Sets what the display has, or what it says instead.
    func setSurfaces(_ surfaces: Result<[DisplaySurface], MediaError>) { state.withLock { $0.surfaces = surfaces } }

    /// The surfaces that were opened, in order.
    var captures: [FakeCapture] { state.withLock { $0.captures } }

    /// Takes a device away; who uses it hears of it.
    func remove(_ id: String) {
        let cameras = state.withLock { state in
            state.listed.removeAll { $0.deviceId == id }
            return state.cameras.filter { $0.id == id }
        }
        for camera in cameras { camera.fail(MediaError(.unplugged, id, "the camera is gone (No such device)")) }
        tell()
    }

    /// Lets a device refuse to be opened; nil lets it be.
    func refuse(_ id: String, _ error: MediaError?) { state.withLock { $0.refusals[id] = error } }

    /// Calls `handler` when a camera is opened, before it is; it may take its time, as a driver does.
    func setOpeningHandler(_ handler: (@Sendable () -> Void)?) { state.withLock { $0.opening = handler } }

    /// Sets what is said where no device can be had.
    func setHint(_ hint: MediaError) { state.withLock { $0.hint = hint } }

    /// The cameras that were opened, in order.
    var cameras: [FakeCamera] { state.withLock { $0.cameras } }
    /// The microphones that were opened, in order.
    var microphones: [FakeMicrophone] { state.withLock { $0.microphones } }

    private func tell() { for watcher in state.withLock({ $0.watchers }) { watcher() } }

    // MARK: MediaDeviceSystem

    func devices() -> [MediaDeviceInfo] { state.withLock { $0.listed } }

    func modes(of camera: MediaDeviceInfo, wishes: [CameraWish]) throws(MediaError) -> [CameraMode] {
        guard let modes = state.withLock({ $0.modes[camera.deviceId] }) else {
            throw MediaError(.notFound, camera.systemName, "there is no such device (No such file or directory)")
        }
        return modes
    }

    func open(camera: MediaDeviceInfo, mode: CameraMode, interval: FrameInterval?) throws(MediaError) -> OpenedCamera {
        state.withLock { $0.opening }?()
        if let refusal = state.withLock({ $0.refusals[camera.deviceId] }) { throw refusal }
        let source = FakeCamera(id: camera.deviceId, mode: mode, interval: interval)
        state.withLock { $0.cameras.append(source) }
        return OpenedCamera(source: source, mode: mode, interval: interval)
    }

    func open(microphone: MediaDeviceInfo, channelCount: Int) throws(MediaError) -> OpenedMicrophone {
        if let refusal = state.withLock({ $0.refusals[microphone.deviceId] }) { throw refusal }
        guard devices().contains(microphone) else {
            throw MediaError(.notFound, microphone.systemName, "ALSA knows none")
        }
        let source = FakeMicrophone()
        state.withLock { $0.microphones.append(source) }
        return OpenedMicrophone(source: source, sampleRate: 48_000, channelCount: 1)
    }

    func surfaces() throws(MediaError) -> [DisplaySurface] { try state.withLock { $0.surfaces }.get() }

    func open(
        surface: DisplaySurface,
        framesPerSecond: Double,
        cursor: CursorCapture
    ) throws(MediaError) -> any VideoSource {
        if let refusal = state.withLock({ $0.refusals[surface.id] }) { throw refusal }
        let capture = FakeCapture(surface: surface, framesPerSecond: framesPerSecond, cursor: cursor)
        state.withLock { $0.captures.append(capture) }
        return capture
    }

    func openPortal(framesPerSecond: Double, cursor: CursorCapture) async throws(MediaError) -> OpenedDisplay {
        if let refusal = state.withLock({ $0.refusals["portal"] }) { throw refusal }
        // A desktop that has no moving pointer, whose user chose a window.
        let surface = DisplaySurface(
            kind: .window,
            id: "portal",
            label: "window",
            width: 1600,
            height: 900,
            display: "wayland"
        )
        let capture = FakeCapture(surface: surface, framesPerSecond: framesPerSecond, cursor: cursor)
        state.withLock { $0.captures.append(capture) }
        return OpenedDisplay(source: capture, surface: surface, cursor: cursor == .motion ? .always : cursor)
    }

    func hint(_ kind: MediaDeviceKind) -> MediaError {
        state.withLock { $0.hint } ?? MediaError(.notFound, kind.rawValue, "none was found: plug one in")
    }

    func watch(_ onChange: @escaping @Sendable () -> Void) -> (any AnyObject & Sendable)? {
        state.withLock { $0.watchers.append(onChange) }
        return Watch()
    }
}

/// A camera that gives a picture each time that it is told to.
final class FakeCamera: VideoSource, FailingDevice {
    let id: String
    let mode: CameraMode
    let interval: FrameInterval?
    let label = "fake"
    private let deliver = Mutex<(@Sendable (VideoFrame) -> Void)?>(nil)
    private let handlers = Mutex<[@Sendable (MediaError) -> Void]>([])
    private let starts = Mutex(0)

    init(id: String, mode: CameraMode, interval: FrameInterval?) {
        self.id = id
        self.mode = mode
        self.interval = interval
    }

    var isRunning: Bool { deliver.withLock { $0 != nil } }
    var startCount: Int { starts.withLock { $0 } }

    func start(deliver: @escaping @Sendable (VideoFrame) -> Void) {
        starts.withLock { $0 += 1 }
        self.deliver.withLock { $0 = deliver }
    }
    func stop() { deliver.withLock { $0 = nil } }
    func addFailureHandler(_ handler: @escaping @Sendable (MediaError) -> Void) {
        handlers.withLock { $0.append(handler) }
    }
    func fail(_ error: MediaError) { for handler in handlers.withLock({ $0 }) { handler(error) } }

    /// Gives a white picture of the mode's size.
    func give(at nanoseconds: Int64 = 1) throws {
        let frame = try VideoFrame(width: mode.width, height: mode.height, timestampNanoseconds: nanoseconds) {
            planes throws(MediaError) in
            planes.y.update(repeating: 235, count: planes.strideY * mode.height)
            planes.u.update(repeating: 128, count: planes.strideUV * ((mode.height + 1) / 2))
            planes.v.update(repeating: 128, count: planes.strideUV * ((mode.height + 1) / 2))
        }
        deliver.withLock { $0 }?(frame)
    }
}

/// A screen that gives a picture each time that it is told to.
final class FakeCapture: VideoSource, FailingDevice {
    let surface: DisplaySurface
    let framesPerSecond: Double
    let cursor: CursorCapture
    let label = "fake"
    private let deliver = Mutex<(@Sendable (VideoFrame) -> Void)?>(nil)
    private let handlers = Mutex<[@Sendable (MediaError) -> Void]>([])

    init(surface: DisplaySurface, framesPerSecond: Double, cursor: CursorCapture) {
        self.surface = surface
        self.framesPerSecond = framesPerSecond
        self.cursor = cursor
    }

    func start(deliver: @escaping @Sendable (VideoFrame) -> Void) { self.deliver.withLock { $0 = deliver } }
    func stop() { deliver.withLock { $0 = nil } }
    func addFailureHandler(_ handler: @escaping @Sendable (MediaError) -> Void) {
        handlers.withLock { $0.append(handler) }
    }
    func fail(_ error: MediaError) { for handler in handlers.withLock({ $0 }) { handler(error) } }

    /// Gives a black picture.
    func give(_ width: Int, _ height: Int, at nanoseconds: Int64 = 1) throws {
        deliver.withLock { $0 }?(try .black(width: width, height: height, timestampNanoseconds: nanoseconds))
    }
}

/// A microphone that gives a block each time that it is told to.
final class FakeMicrophone: AudioSource {
    let label = "fake"
    private let deliver = Mutex<(@Sendable (AudioFrame) -> Void)?>(nil)

    func start(deliver: @escaping @Sendable (AudioFrame) -> Void) { self.deliver.withLock { $0 = deliver } }
    func stop() { deliver.withLock { $0 = nil } }

    /// Gives 10 ms of a constant.
    func give() { give(Array(repeating: 1_000, count: 480), at: 1) }

    /// Gives samples of one channel at 48 kHz.
    func give(_ samples: [Int16], sampleRate: Int = 48_000, at nanoseconds: Int64) {
        deliver.withLock { $0 }?(
            AudioFrame(samples: samples, sampleRate: sampleRate, channelCount: 1, timestampNanoseconds: nanoseconds)
        )
    }
}

/// What takers got.
final class Taken<Element: Sendable>: Sendable {
    private let elements = Mutex<[Element]>([])
    func add(_ element: Element) { elements.withLock { $0.append(element) } }
    var all: [Element] { elements.withLock { $0 } }
}

extension CameraMode {
    static func make(_ format: CameraPixelFormat, _ width: Int, _ height: Int, _ rates: UInt32...) -> CameraMode {
        CameraMode(
            format: format,
            width: width,
            height: height,
            intervals: rates.compactMap { FrameInterval(numerator: 1, denominator: $0) }
        )
    }

    /// A usual webcam: raw where USB 2 can carry it, else MJPEG.
    static var webcam: [CameraMode] {
        [
            make(.mjpeg, 1920, 1080, 30), make(.mjpeg, 1280, 720, 30), make(.mjpeg, 640, 480, 30),
            make(.yuyv, 640, 480, 30, 15), make(.yuyv, 1280, 720, 10, 5), make(.yuyv, 320, 240, 30),
        ]
    }
}
