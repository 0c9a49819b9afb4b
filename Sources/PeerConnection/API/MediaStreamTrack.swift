internal import Locking
public import Media

/// Sound or pictures from one source. mediacapture-main §4.3
///
/// A local track wraps a ``VideoSource`` or ``AudioSource``, which runs while somebody takes its frames; one track
/// can be sent over several connections. A remote track carries what the peer sends.
public final class MediaStreamTrack: Sendable {
    /// Whether a track can still give frames.
    public enum ReadyState: String, Hashable, Sendable {
        /// It can.
        case live
        /// It is over for good.
        case ended
    }

    private enum Origin {
        case video(any VideoSource)
        case audio(any AudioSource)
        case remote
    }

    private struct State {
        var isEnabled = true
        var isMuted = false
        var readyState = ReadyState.live
        var nextKey = 0
        var videoTakers: [Int: @Sendable (VideoFrame) -> Void] = [:]
        var audioTakers: [Int: @Sendable (AudioFrame) -> Void] = [:]
        /// What ends the streams of frames.
        var endHandlers: [Int: @Sendable () -> Void] = [:]
        var muteHandler: (@Sendable (Bool) -> Void)?
        var isRunning = false
        var isEmpty: Bool { videoTakers.isEmpty && audioTakers.isEmpty }
    }

    /// The track's name, unique in the process; the peer sees it in `a=msid`.
    public let id: String
    /// Audio or video.
    public let kind: MediaKind
    /// What the source calls itself, as a camera's name.
    public let label: String
    private let origin: Origin
    private let state: Mutex<State>

    /// A track of pictures from a source; the source starts when the track is first used.
    public init(_ source: any VideoSource) {
        id = Self.makeID()
        kind = .video
        label = source.label
        origin = .video(source)
        state = Mutex(State())
        endWithDevice(source)
    }

    /// A track of sound from a source; the source starts when the track is first used.
    public init(_ source: any AudioSource) {
        id = Self.makeID()
        kind = .audio
        label = source.label
        origin = .audio(source)
        state = Mutex(State())
        endWithDevice(source)
    }

    /// A device that is taken away ends the track. mediacapture-main §4.3.1
    private func endWithDevice(_ source: AnyObject) {
        (source as? any FailingDevice)?.addFailureHandler { [weak self] _ in self?.stop() }
    }

    init(remote kind: MediaKind) {
        id = Self.makeID()
        self.kind = kind
        label = "remote \(kind.rawValue)"
        origin = .remote
        state = Mutex(State(isMuted: true))
    }

    /// Whether frames pass; while false, pictures stop (the peer keeps the last) and sound is silence.
    public var enabled: Bool {
        get { state.withLock { $0.isEnabled } }
        set { state.withLock { $0.isEnabled = newValue } }
    }
    /// Whether the source gives nothing at present: a remote track before its first packet and after the peer's BYE.
    public var muted: Bool { state.withLock { $0.isMuted } }
    /// Calls `handler` with each change of ``muted`` (`mute` and `unmute`), on the connection's event loop or the
    /// decoder's thread; nil ends that.
    public func setMuteHandler(_ handler: (@Sendable (Bool) -> Void)?) { state.withLock { $0.muteHandler = handler } }
    /// Whether the track can still give frames.
    public var readyState: ReadyState { state.withLock { $0.readyState } }

    /// Ends the track: a local source stops, and the streams of its frames end.
    public func stop() {
        let (mustStop, endHandlers) = state.withLock { state -> (Bool, [@Sendable () -> Void]) in
            state.readyState = .ended
            state.videoTakers = [:]
            state.audioTakers = [:]
            defer {
                state.endHandlers = [:]
                state.isRunning = false
            }
            return (state.isRunning, Array(state.endHandlers.values))
        }
        if mustStop { stopSource() }
        for end in endHandlers { end() }
    }

    /// Calls `take` with each picture, on the thread of the source or decoder, until the subscription is cancelled or
    /// released.
    ///
    /// - Throws: what the source throws when it cannot start, as a camera in use.
    public func addVideoTaker(_ take: @escaping @Sendable (VideoFrame) -> Void) throws -> MediaSubscription {
        try subscribe(onEnd: nil) { $0.videoTakers[$1] = take }
    }

    /// Calls `take` with each block of sound, on the thread of the source or decoder, until the subscription is
    /// cancelled or released.
    ///
    /// - Throws: what the source throws when it cannot start.
    public func addAudioTaker(_ take: @escaping @Sendable (AudioFrame) -> Void) throws -> MediaSubscription {
        try subscribe(onEnd: nil) { $0.audioTakers[$1] = take }
    }

    /// Pictures, newest only: a slow reader misses some.
    ///
    /// Ends with the track, and at once if the source cannot start.
    public var videoFrames: AsyncStream<VideoFrame> {
        AsyncStream(bufferingPolicy: .bufferingNewest(1)) { continuation in
            let subscription = try? subscribe(onEnd: { continuation.finish() }) {
                $0.videoTakers[$1] = { continuation.yield($0) }
            }
            if subscription == nil { continuation.finish() }
            continuation.onTermination = { _ in subscription?.cancel() }
        }
    }

    /// Blocks of sound; a slow reader misses what is older than 50 blocks.
    ///
    /// Ends with the track, and at once if the source cannot start.
    public var audioFrames: AsyncStream<AudioFrame> {
        AsyncStream(bufferingPolicy: .bufferingNewest(50)) { continuation in
            let subscription = try? subscribe(onEnd: { continuation.finish() }) {
                $0.audioTakers[$1] = { continuation.yield($0) }
            }
            if subscription == nil { continuation.finish() }
            continuation.onTermination = { _ in subscription?.cancel() }
        }
    }

    // MARK: From pipelines and sources

    func deliver(_ frame: VideoFrame) {
        setMuted(false)
        let takers = state.withLock { state -> [@Sendable (VideoFrame) -> Void] in
            return state.isEnabled ? Array(state.videoTakers.values) : []
        }
        for take in takers { take(frame) }
    }

    func deliver(_ frame: AudioFrame) {
        setMuted(false)
        let (takers, isEnabled) = state.withLock { state in
            return (Array(state.audioTakers.values), state.isEnabled)
        }
        let frame = isEnabled ? frame : frame.silenced()
        for take in takers { take(frame) }
    }

    func setMuted(_ isMuted: Bool) {
        let handler = state.withLock { state -> (@Sendable (Bool) -> Void)? in
            guard state.isMuted != isMuted else { return nil }
            state.isMuted = isMuted
            return state.muteHandler
        }
        handler?(isMuted)
    }

    /// Whether anybody takes frames: decoding for nobody is a waste.
    var hasTakers: Bool { state.withLock { !$0.isEmpty } }

    private func subscribe(
        onEnd: (@Sendable () -> Void)?,
        _ add: (inout State, Int) -> Void
    ) throws -> MediaSubscription {
        let (key, mustStart, isOver) = state.withLock { state -> (Int, Bool, Bool) in
            let key = state.nextKey
            state.nextKey += 1
            guard state.readyState == .live else { return (key, false, true) }
            add(&state, key)
            state.endHandlers[key] = onEnd
            defer { state.isRunning = true }
            return (key, !state.isRunning, false)
        }
        if isOver { onEnd?() }
        if mustStart {
            do {
                try startSource()
            } catch {
                // Whoever comes next tries again.
                state.withLock { $0.isRunning = false }
                unsubscribe(key)
                throw error
            }
        }
        return MediaSubscription { [weak self] in self?.unsubscribe(key) }
    }

    private func unsubscribe(_ key: Int) {
        let mustStop = state.withLock { state -> Bool in
            state.videoTakers[key] = nil
            state.audioTakers[key] = nil
            state.endHandlers[key] = nil
            guard state.isEmpty, state.isRunning else { return false }
            state.isRunning = false
            return true
        }
        if mustStop { stopSource() }
    }

    private func startSource() throws {
        switch origin {
        case .video(let source): try source.start { [weak self] in self?.deliver($0) }
        case .audio(let source): try source.start { [weak self] in self?.deliver($0) }
        case .remote: break
        }
    }

    private func stopSource() {
        switch origin {
        case .video(let source): source.stop()
        case .audio(let source): source.stop()
        case .remote: break
        }
    }

    private static func makeID() -> String {
        // The form of a version 4 UUID, as browsers make.
        let digits = Array("0123456789abcdef")
        var text = ""
        for index in 0..<36 {
            switch index {
            case 8, 13, 18, 23: text.append("-")
            case 14: text.append("4")
            case 19: text.append(digits[Int.random(in: 8...11)])
            default: text.append(digits[Int.random(in: 0...15)])
            }
        }
        return text
    }
}

/// Frames are taken while this lives and is not cancelled.
public final class MediaSubscription: Sendable {
    private let onCancel: Mutex<(@Sendable () -> Void)?>

    init(_ onCancel: @escaping @Sendable () -> Void) { self.onCancel = Mutex(onCancel) }

    deinit { cancel() }

    /// Takes no more frames.
    public func cancel() {
        let action = onCancel.withLock { action in
            defer { action = nil }
            return action
        }
        action?()
    }
}
