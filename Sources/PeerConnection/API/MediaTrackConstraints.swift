/// What is wanted of a track, all of it at once. mediacapture-main, `MediaTrackConstraintSet`
///
/// What a kind of track does not have, as a width of sound, is ignored unless it is required.
public struct MediaTrackConstraintSet: Hashable, Sendable {
    /// Width of pictures in pixels.
    public var width: ConstrainULong?
    /// Height of pictures in pixels.
    public var height: ConstrainULong?
    /// Width divided by height.
    public var aspectRatio: ConstrainDouble?
    /// Pictures a second.
    public var frameRate: ConstrainDouble?
    /// `none` for what the camera itself gives, `crop-and-scale` for what can be made of it.
    public var resizeMode: ConstrainDOMString?
    /// Samples a second and channel.
    public var sampleRate: ConstrainULong?
    /// Bits of a sample.
    public var sampleSize: ConstrainULong?
    /// Channels of sound.
    public var channelCount: ConstrainULong?
    /// Seconds from the microphone to the program.
    public var latency: ConstrainDouble?
    /// Whether what the loudspeaker plays is taken out.
    public var echoCancellation: ConstrainBoolean?
    /// Whether the level is kept even.
    public var autoGainControl: ConstrainBoolean?
    /// Whether noise is taken out.
    public var noiseSuppression: ConstrainBoolean?
    /// The device: a ``MediaDeviceInfo/deviceId``, or the system's own name of it, as `/dev/video0` or an ALSA name.
    public var deviceId: ConstrainDOMString?
    /// The group of devices: a ``MediaDeviceInfo/groupId``.
    public var groupId: ConstrainDOMString?
    /// What is captured of a display: `monitor` or `window`. screen-capture, `DisplayCaptureSurfaceType`
    public var displaySurface: ConstrainDOMString?
    /// Whether the pointer is in a display's pictures: `always`, `motion` or `never`. screen-capture,
    /// `CursorCaptureConstraint`
    public var cursor: ConstrainDOMString?

    /// A set of any constraints.
    public init(
        width: ConstrainULong? = nil,
        height: ConstrainULong? = nil,
        aspectRatio: ConstrainDouble? = nil,
        frameRate: ConstrainDouble? = nil,
        resizeMode: ConstrainDOMString? = nil,
        sampleRate: ConstrainULong? = nil,
        sampleSize: ConstrainULong? = nil,
        channelCount: ConstrainULong? = nil,
        latency: ConstrainDouble? = nil,
        echoCancellation: ConstrainBoolean? = nil,
        autoGainControl: ConstrainBoolean? = nil,
        noiseSuppression: ConstrainBoolean? = nil,
        deviceId: ConstrainDOMString? = nil,
        groupId: ConstrainDOMString? = nil,
        displaySurface: ConstrainDOMString? = nil,
        cursor: ConstrainDOMString? = nil
    ) {
        self.width = width
        self.height = height
        self.aspectRatio = aspectRatio
        self.frameRate = frameRate
        self.resizeMode = resizeMode
        self.sampleRate = sampleRate
        self.sampleSize = sampleSize
        self.channelCount = channelCount
        self.latency = latency
        self.echoCancellation = echoCancellation
        self.autoGainControl = autoGainControl
        self.noiseSuppression = noiseSuppression
        self.deviceId = deviceId
        self.groupId = groupId
        self.displaySurface = displaySurface
        self.cursor = cursor
    }
}

/// What is wanted of a track: the basic set, and advanced ones that are met in their order as far as they can be.
///
/// The members of the basic set are members here: `constraints.width = 1280`. In an advanced set a literal is an ideal
/// value, too, and selects nothing there: write `.exact(…)` or a range.
///
/// mediacapture-main, `MediaTrackConstraints`
@dynamicMemberLookup public struct MediaTrackConstraints: Hashable, Sendable {
    /// What must hold, and what should.
    public var basic: MediaTrackConstraintSet
    /// Sets that are met, one after the other, if that excludes none before; the first 16 count.
    public var advanced: [MediaTrackConstraintSet]

    /// Constraints made of sets.
    public init(basic: MediaTrackConstraintSet, advanced: [MediaTrackConstraintSet] = []) {
        self.basic = basic
        self.advanced = advanced
    }

    /// Constraints of the basic set.
    ///
    /// Without any, what suits a call: 640x480 at 30 pictures a second or near it, one channel of sound.
    public init(
        width: ConstrainULong? = nil,
        height: ConstrainULong? = nil,
        aspectRatio: ConstrainDouble? = nil,
        frameRate: ConstrainDouble? = nil,
        resizeMode: ConstrainDOMString? = nil,
        sampleRate: ConstrainULong? = nil,
        sampleSize: ConstrainULong? = nil,
        channelCount: ConstrainULong? = nil,
        latency: ConstrainDouble? = nil,
        echoCancellation: ConstrainBoolean? = nil,
        autoGainControl: ConstrainBoolean? = nil,
        noiseSuppression: ConstrainBoolean? = nil,
        deviceId: ConstrainDOMString? = nil,
        groupId: ConstrainDOMString? = nil,
        displaySurface: ConstrainDOMString? = nil,
        cursor: ConstrainDOMString? = nil,
        advanced: [MediaTrackConstraintSet] = []
    ) {
        self.init(
            basic: MediaTrackConstraintSet(
                width: width,
                height: height,
                aspectRatio: aspectRatio,
                frameRate: frameRate,
                resizeMode: resizeMode,
                sampleRate: sampleRate,
                sampleSize: sampleSize,
                channelCount: channelCount,
                latency: latency,
                echoCancellation: echoCancellation,
                autoGainControl: autoGainControl,
                noiseSuppression: noiseSuppression,
                deviceId: deviceId,
                groupId: groupId,
                displaySurface: displaySurface,
                cursor: cursor
            ),
            advanced: advanced
        )
    }

    /// Any track of the kind will do.
    public static var any: Self { Self(basic: MediaTrackConstraintSet()) }

    /// A member of the basic set.
    public subscript<Value>(dynamicMember member: WritableKeyPath<MediaTrackConstraintSet, Value>) -> Value {
        get { basic[keyPath: member] }
        set { basic[keyPath: member] = newValue }
    }
}

/// Which kinds of track are wanted, and what of each. mediacapture-main, `MediaStreamConstraints`
public struct MediaStreamConstraints: Hashable, Sendable {
    /// Of sound; nil for none.
    public var audio: MediaTrackConstraints?
    /// Of pictures; nil for none.
    public var video: MediaTrackConstraints?

    /// Constraints on the kinds that are wanted.
    public init(audio: MediaTrackConstraints? = nil, video: MediaTrackConstraints? = nil) {
        self.audio = audio
        self.video = video
    }
}

/// What a track gives at present; nil for what it does not have or nobody knows. mediacapture-main, Constrainable Pattern
public struct MediaTrackSettings: Hashable, Sendable {
    /// Width of pictures in pixels.
    public var width: Int?
    /// Height of pictures in pixels.
    public var height: Int?
    /// Width divided by height.
    public var aspectRatio: Double?
    /// Pictures a second.
    public var frameRate: Double?
    /// `none` or `crop-and-scale`.
    public var resizeMode: String?
    /// Samples a second and channel.
    public var sampleRate: Int?
    /// Bits of a sample.
    public var sampleSize: Int?
    /// Channels of sound.
    public var channelCount: Int?
    /// Seconds from the microphone to the program.
    public var latency: Double?
    /// Whether what the loudspeaker plays is taken out.
    public var echoCancellation: Bool?
    /// Whether the level is kept even.
    public var autoGainControl: Bool?
    /// Whether noise is taken out.
    public var noiseSuppression: Bool?
    /// The device.
    public var deviceId: String?
    /// The group of devices.
    public var groupId: String?
    /// What is captured of a display: `monitor` or `window`.
    public var displaySurface: String?
    /// Whether the pointer is in a display's pictures: `always`, `motion` or `never`.
    public var cursor: String?

    /// No setting is known.
    public init() {}
}

/// What can be had of a track's source; nil or empty for what it does not have. mediacapture-main, Constrainable Pattern
public struct MediaTrackCapabilities: Hashable, Sendable {
    /// Widths of pictures in pixels.
    public var width: ClosedRange<Int>?
    /// Heights of pictures in pixels.
    public var height: ClosedRange<Int>?
    /// Shapes: width divided by height.
    public var aspectRatio: ClosedRange<Double>?
    /// Pictures a second.
    public var frameRate: ClosedRange<Double>?
    /// `none`, `crop-and-scale`.
    public var resizeMode: [String] = []
    /// Samples a second and channel.
    public var sampleRate: ClosedRange<Int>?
    /// Bits of a sample.
    public var sampleSize: ClosedRange<Int>?
    /// Channels of sound.
    public var channelCount: ClosedRange<Int>?
    /// Seconds from the microphone to the program.
    public var latency: ClosedRange<Double>?
    /// The values that echo cancellation can have.
    public var echoCancellation: [Bool] = []
    /// The values that gain control can have.
    public var autoGainControl: [Bool] = []
    /// The values that noise suppression can have.
    public var noiseSuppression: [Bool] = []
    /// The device.
    public var deviceId: String?
    /// The group of devices.
    public var groupId: String?
    /// What is captured of a display: `monitor` or `window`.
    public var displaySurface: String?
    /// Whether the pointer is in a display's pictures.
    public var cursor: [String] = []

    /// Nothing is known.
    public init() {}
}
