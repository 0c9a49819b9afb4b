internal import Capture
internal import Locking

/// The device behind a source, and how it is set.
final class SourceDevice: Sendable {
    /// A camera's own size and rate.
    struct VideoFormat: Hashable {
        var format: CameraPixelFormat
        var width: Int
        var height: Int
        var interval: FrameInterval?
    }

    private struct State {
        var modes: [CameraMode]
        var video: VideoFormat?
        var waitUntilClosed: @Sendable () -> Void
    }

    let info: MediaDeviceInfo
    let system: any MediaDeviceSystem
    /// The card's own rate; 0 for cameras.
    let sampleRate: Int
    /// The card's own channels; 0 for cameras.
    let channelCount: Int
    /// Where its tracks wait until another's constraints are applied.
    let changes = Turnstile()
    private let state: Mutex<State>

    init(_ info: MediaDeviceInfo, _ camera: OpenedCamera, modes: [CameraMode], system: any MediaDeviceSystem) {
        self.info = info
        self.system = system
        (sampleRate, channelCount) = (0, 0)
        state = Mutex(State(modes: modes, video: VideoFormat(camera), waitUntilClosed: camera.waitUntilClosed))
    }

    init(_ info: MediaDeviceInfo, _ microphone: OpenedMicrophone, system: any MediaDeviceSystem) {
        self.info = info
        self.system = system
        (sampleRate, channelCount) = (microphone.sampleRate, microphone.channelCount)
        state = Mutex(State(modes: [], video: nil, waitUntilClosed: {}))
    }

    /// The camera's own format; nil for a microphone.
    var video: VideoFormat? { state.withLock { $0.video } }
    /// What the camera was found to be able to do.
    var modes: [CameraMode] { state.withLock { $0.modes } }

    func setModes(_ modes: [CameraMode]) { state.withLock { $0.modes = modes } }

    /// Opens the camera in another mode, after the old one is closed.
    func reopen(mode: CameraMode, interval: FrameInterval?) throws(MediaError) -> TrackSource.Origin {
        state.withLock { $0.waitUntilClosed }()
        let camera = try system.open(camera: info, mode: mode, interval: interval)
        state.withLock { state in
            state.video = VideoFormat(camera)
            state.waitUntilClosed = camera.waitUntilClosed
        }
        return .video(camera.source)
    }
}

extension SourceDevice.VideoFormat {
    init(_ camera: OpenedCamera) {
        self.init(
            format: camera.mode.format,
            width: camera.mode.width,
            height: camera.mode.height,
            interval: camera.interval
        )
    }
}
