internal import Capture
internal import Media

/// The machine's devices, as ``MediaDevices`` needs them; tests have others.
///
/// All but `watch` and `openPortal` may block for as long as drivers need, and are called on a thread for that.
package protocol MediaDeviceSystem: AnyObject, Sendable {
    /// What is plugged in, cameras first.
    func devices() -> [MediaDeviceInfo]

    /// What a camera can do, as far as it can be read; where it has ranges, sizes and rates of the wishes are tried, too.
    func modes(of camera: MediaDeviceInfo, wishes: [CameraWish]) throws(MediaError) -> [CameraMode]

    /// A camera in a mode; it is made sure that it can be had.
    func open(camera: MediaDeviceInfo, mode: CameraMode, interval: FrameInterval?) throws(MediaError) -> OpenedCamera

    /// A microphone; it is made sure that it can be had.
    func open(microphone: MediaDeviceInfo, channelCount: Int) throws(MediaError) -> OpenedMicrophone

    /// What there is to capture: the screen, its monitors, its windows.
    func surfaces() throws(MediaError) -> [DisplaySurface]

    /// A screen or window; it is made sure that it can be had.
    func open(
        surface: DisplaySurface,
        framesPerSecond: Double,
        cursor: CursorCapture
    ) throws(MediaError) -> any VideoSource

    /// What the desktop's user chooses, for a surface that is ``DisplaySurface/Kind/portal``; ends with its task.
    func openPortal(framesPerSecond: Double, cursor: CursorCapture) async throws(MediaError) -> OpenedDisplay

    /// What the loudspeakers play, whose echo microphones lose.
    var playedSound: PlayedSound { get }

    /// Why a kind of device that may be there cannot be used, or what to look at if none is there.
    func hint(_ kind: MediaDeviceKind) -> MediaError

    /// Calls `onChange` each time that devices may have come or gone, until the result is released.
    func watch(_ onChange: @escaping @Sendable () -> Void) -> (any AnyObject & Sendable)?
}

/// A camera that can be started, and what its driver has settled on.
package struct OpenedCamera: Sendable {
    /// Gives the pictures.
    package let source: any VideoSource
    /// Format and size.
    package let mode: CameraMode
    /// The rate; nil if the camera does not tell.
    package let interval: FrameInterval?
    /// Returns when the device is closed after a stop, so that it can be opened in another mode.
    package let waitUntilClosed: @Sendable () -> Void

    /// An opened camera.
    package init(
        source: any VideoSource,
        mode: CameraMode,
        interval: FrameInterval?,
        waitUntilClosed: @escaping @Sendable () -> Void = {}
    ) {
        self.source = source
        self.mode = mode
        self.interval = interval
        self.waitUntilClosed = waitUntilClosed
    }
}

/// What a desktop's user has chosen.
package struct OpenedDisplay: Sendable {
    /// Gives the pictures.
    package let source: any VideoSource
    /// What it is, with its size.
    package let surface: DisplaySurface
    /// Whether the pointer is in the picture.
    package let cursor: CursorCapture

    /// What was chosen.
    package init(source: any VideoSource, surface: DisplaySurface, cursor: CursorCapture) {
        self.source = source
        self.surface = surface
        self.cursor = cursor
    }
}

/// A microphone that can be started.
package struct OpenedMicrophone: Sendable {
    /// Gives the sound.
    package let source: any AudioSource
    /// Samples a second and channel, as the card has them.
    package let sampleRate: Int
    /// Channels, 1 or 2.
    package let channelCount: Int

    /// An opened microphone.
    package init(source: any AudioSource, sampleRate: Int, channelCount: Int) {
        self.source = source
        self.sampleRate = sampleRate
        self.channelCount = channelCount
    }
}
