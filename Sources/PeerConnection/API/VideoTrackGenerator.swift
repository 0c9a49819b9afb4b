internal import Locking
public import Media

/// A track of a program's own pictures. mediacapture-transform (`VideoTrackGenerator`)
///
/// ```swift
/// let generator = VideoTrackGenerator(label: "detector")
/// try connection.addTrack(generator.track)
/// for await frame in camera.videoFrames { generator.write(draw(frame)) }
/// ```
public final class VideoTrackGenerator: Sendable {
    /// The track, live until ``close()`` or its `stop()`.
    public let track: MediaStreamTrack
    private let source: WrittenSource<VideoFrame>

    /// A generator that has written nothing.
    ///
    /// - Parameter label: what the track calls itself.
    public init(label: String = "generator") {
        source = WrittenSource(label: label)
        track = MediaStreamTrack(source)
    }

    deinit { close() }

    /// Gives a picture to all who take the track's frames, on this thread; without any, and after the end, to nobody.
    ///
    /// Its time should be that of the monotonic clock, and later than that of the one before.
    public func write(_ frame: VideoFrame) { source.deliver.withLock { $0 }?(frame) }

    /// Whether the track says that it gives nothing at present; a written frame unmutes it.
    public var muted: Bool {
        get { track.muted }
        set { track.setMuted(newValue) }
    }

    /// Ends the track and its clones, which is an event for them: there is no more to write.
    public func close() { source.end.withLock { $0 }?() }
}

/// A track of a program's own sound, as ``VideoTrackGenerator`` is for pictures.
public final class AudioTrackGenerator: Sendable {
    /// The track, live until ``close()`` or its `stop()`.
    public let track: MediaStreamTrack
    private let source: WrittenSource<AudioFrame>

    /// A generator that has written nothing.
    ///
    /// - Parameter label: what the track calls itself.
    public init(label: String = "generator") {
        source = WrittenSource(label: label)
        track = MediaStreamTrack(source)
    }

    deinit { close() }

    /// Gives a block of any length, one channel or two, to all who take the track's frames, on this thread.
    ///
    /// 48 kHz needs no conversion; blocks should come at the pace of time.
    public func write(_ frame: AudioFrame) { source.deliver.withLock { $0 }?(frame) }

    /// Whether the track says that it gives nothing at present; a written block unmutes it.
    public var muted: Bool {
        get { track.muted }
        set { track.setMuted(newValue) }
    }

    /// Ends the track and its clones, which is an event for them: there is no more to write.
    public func close() { source.end.withLock { $0 }?() }
}

/// Keeps what a generator's track takes frames with; it must not keep the generator.
private final class WrittenSource<Frame: Sendable>: EndingSource {
    let label: String
    let deliver = Mutex<(@Sendable (Frame) -> Void)?>(nil)
    let end = Mutex<(@Sendable () -> Void)?>(nil)

    init(label: String) { self.label = label }

    func start(deliver: @escaping @Sendable (Frame) -> Void) { self.deliver.withLock { $0 = deliver } }
    func stop() { deliver.withLock { $0 = nil } }
    func setEndHandler(_ handler: @escaping @Sendable () -> Void) { end.withLock { $0 = handler } }
}

extension WrittenSource: VideoSource where Frame == VideoFrame {}
extension WrittenSource: AudioSource where Frame == AudioFrame {}
