internal import Capture
internal import Locking
public import Media

/// Sound or pictures from one source. mediacapture-main §4.3
///
/// A local track is had from ``MediaDevices/getUserMedia(_:)``, or wraps a ``VideoSource`` or ``AudioSource`` of the
/// program's own; it runs while somebody takes its frames, and can be sent over several connections. A remote track
/// carries what the peer sends. Clones share the source and nothing else.
public final class MediaStreamTrack: Sendable {
    /// Whether a track can still give frames.
    public enum ReadyState: String, Hashable, Sendable {
        /// It can.
        case live
        /// It is over for good.
        case ended
    }

    /// Something that changed on a track, other than by its own methods.
    public enum Event: Hashable, Sendable {
        /// The source ended by itself: a device that was taken away, with the reason, or the peer's media.
        case ended(MediaError?)
        /// The source gives nothing at present.
        case mute
        /// The source gives frames again, or for the first time.
        case unmute
    }

    struct State {
        var isEnabled = true
        var readyState = ReadyState.live
        var endReason: MediaError?
        var nextKey = 0
        var videoTakers: [Int: @Sendable (VideoFrame) -> Void] = [:]
        var audioTakers: [Int: @Sendable (AudioFrame) -> Void] = [:]
        /// What ends the streams of frames.
        var endHandlers: [Int: @Sendable () -> Void] = [:]
        var muteHandler: (@Sendable (Bool) -> Void)?
        var eventHandler: (@Sendable (Event) -> Void)?
        var constraints = MediaTrackConstraints.any
        var preferredEncodings: [VideoCodec] = []
        /// The track's place at the source; nil once it has ended.
        var key: Int?
        var isEmpty: Bool { videoTakers.isEmpty && audioTakers.isEmpty }
    }

    /// The track's name, unique in the process; the peer sees it in `a=msid`.
    public let id: String
    /// Audio or video.
    public let kind: MediaKind
    /// What the source calls itself, as a camera's name.
    public let label: String
    let source: TrackSource
    let state = Mutex(State())
    let videoAdapter = VideoAdapter()
    let audioAdapter: AudioAdapter
    private let broadcaster = EventBroadcaster<Event>()

    /// A track of pictures from a source; the source starts when the track is first used.
    public convenience init(_ source: any VideoSource) { self.init(TrackSource(.video(source))) }

    /// A track of pictures that are encoded already; the source starts when the track is first sent.
    ///
    /// They are sent as they are to peers that take their codec, and there is nothing else to be had of the track: no
    /// pictures to show, and nothing for a peer that does not take the codec. The source's codecs are
    /// ``preferredEncodings`` from the beginning.
    public convenience init(encoded source: any EncodedVideoSource) {
        self.init(TrackSource(.encoded(source)))
        preferredEncodings = encodings
    }

    /// A track of sound from a source; the source starts when the track is first used.
    public convenience init(_ source: any AudioSource) { self.init(TrackSource(.audio(source))) }

    convenience init(remote kind: MediaKind) { self.init(TrackSource(.remote(kind))) }

    init(_ source: TrackSource) {
        id = Self.makeID()
        kind = source.kind
        label = source.label
        self.source = source
        audioAdapter = AudioAdapter(played: source.device?.system.playedSound ?? .shared)
        let key = source.attach(
            .init(
                video: { [weak self] in self?.take($0) },
                audio: { [weak self] in self?.take($0) },
                muted: { [weak self] in self?.didChangeMuted($0) },
                ended: { [weak self] in self?.didEnd($0) },
                demand: { [weak self] in self?.demand ?? VideoDemand(width: 0, height: 0, isNative: false) },
                pin: { [weak self] in self?.pinVideo() }
            )
        )
        state.withLock { state in
            state.key = key
            if key == nil { state.readyState = .ended }
        }
    }

    deinit {
        if let key = state.withLock({ $0.key }) { source.detach(key) }
        broadcaster.finish()
    }

    /// Whether frames pass; while false, pictures are black and sound is silence.
    public var enabled: Bool {
        get { state.withLock { $0.isEnabled } }
        set { state.withLock { $0.isEnabled = newValue } }
    }
    /// Whether the source gives nothing at present: a remote track before its first packet and after the peer's BYE.
    public var muted: Bool { source.isMuted }
    /// Calls `handler` with each change of ``muted`` (`mute` and `unmute`), on the connection's event loop or the
    /// decoder's thread; nil ends that.
    public func setMuteHandler(_ handler: (@Sendable (Bool) -> Void)?) { state.withLock { $0.muteHandler = handler } }
    /// Whether the track can still give frames.
    public var readyState: ReadyState { state.withLock { $0.readyState } }
    /// Why the track ended by itself, as a camera that was unplugged; nil before, and after ``stop()``.
    public var endReason: MediaError? { state.withLock { $0.endReason } }

    /// Events from now on; a new subscription for each call, which ends with the track.
    public var events: EventStream<Event> { broadcaster.subscribe() }

    /// Calls `handler` for each event, on the thread of the source, before the streams get it.
    public func setEventHandler(_ handler: (@Sendable (Event) -> Void)?) {
        state.withLock { $0.eventHandler = handler }
    }

    /// The codecs in which the source can give its pictures already encoded, as a camera with an encoder; empty for most.
    public var encodings: [VideoCodec] { source.encodings }

    /// Whether the source's own encoder can be told how many bits a second the path carries; false without one.
    ///
    /// One that cannot goes on at its own rate, whatever is lost of it on the way.
    public var encoderTakesBitRate: Bool { source.takesBitRate }

    /// In which of ``encodings`` pictures are to be sent as the source has encoded them, the best first; empty to encode
    /// them here.
    ///
    /// Set it before the track is negotiated: H.264 is offered then. It is sent where the peer takes it, and only while
    /// nobody takes the track's pictures themselves, since a camera gives one or the other; else they are encoded here
    /// in VP8, from what the camera gives beside. Size, rate and quality are then the source's own, whatever the track's
    /// constraints; while ``enabled`` is false nothing is sent.
    public var preferredEncodings: [VideoCodec] {
        get { state.withLock { $0.preferredEncodings } }
        set {
            let possible = encodings
            state.withLock { $0.preferredEncodings = newValue.filter { possible.contains($0) } }
        }
    }

    /// A track on the same source, with its own ``id``, ``enabled`` and constraints; ended if this one is.
    public func clone() -> MediaStreamTrack {
        let clone = MediaStreamTrack(source)
        let (isEnabled, readyState, constraints) = state.withLock { ($0.isEnabled, $0.readyState, $0.constraints) }
        clone.enabled = isEnabled
        clone.state.withLock { $0.constraints = constraints }
        clone.preferredEncodings = preferredEncodings
        clone.videoAdapter.target = videoAdapter.target
        clone.audioAdapter.target = audioAdapter.target
        if readyState == .ended { clone.stop() }
        return clone
    }

    /// Ends the track, without an event: the streams of its frames end, and the source stops with its last track.
    public func stop() { finish(nil, event: nil) }

    private func didEnd(_ reason: MediaError?) { finish(reason, event: .ended(reason)) }

    private func finish(_ reason: MediaError?, event: Event?) {
        let (key, endHandlers, handler) = state.withLock { state in
            defer {
                state.readyState = .ended
                state.key = nil
                state.videoTakers = [:]
                state.audioTakers = [:]
                state.endHandlers = [:]
            }
            if state.readyState == .live { state.endReason = reason }
            return (state.key, Array(state.endHandlers.values), state.eventHandler)
        }
        guard let key else { return }
        source.detach(key)
        for end in endHandlers { end() }
        if let event {
            handler?(event)
            broadcaster.send(event)
        }
        broadcaster.finish()
    }

    private func didChangeMuted(_ isMuted: Bool) {
        let (muteHandler, handler) = state.withLock { ($0.muteHandler, $0.eventHandler) }
        muteHandler?(isMuted)
        handler?(isMuted ? .mute : .unmute)
        broadcaster.send(isMuted ? .mute : .unmute)
    }

    // MARK: Takers

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

    private func subscribe(
        onEnd: (@Sendable () -> Void)?,
        _ add: (inout State, Int) -> Void
    ) throws -> MediaSubscription {
        let (key, place) = state.withLock { state -> (Int, Int?) in
            let key = state.nextKey
            state.nextKey += 1
            guard state.readyState == .live, let place = state.key else { return (key, nil) }
            add(&state, key)
            state.endHandlers[key] = onEnd
            return (key, place)
        }
        if let place {
            do {
                try source.setUsed(true, by: place)
            } catch {
                unsubscribe(key)
                throw error
            }
        } else {
            onEnd?()
        }
        return MediaSubscription { [weak self] in self?.unsubscribe(key) }
    }

    private func unsubscribe(_ key: Int) {
        let place = state.withLock { state -> Int? in
            state.videoTakers[key] = nil
            state.audioTakers[key] = nil
            state.endHandlers[key] = nil
            return state.isEmpty ? state.key : nil
        }
        if let place { try? source.setUsed(false, by: place) }
    }

    // MARK: Encoded pictures

    /// Takes the source's own encoding until the subscription is cancelled or released; for pipelines.
    ///
    /// - Parameters:
    ///   - codec: one of ``encodings``.
    ///   - lost: called once if the source gives no more of it.
    ///   - take: called on the source's thread.
    /// - Returns: nil if the source cannot give it now.
    func addEncodedTaker(
        _ codec: VideoCodec,
        lost: @escaping @Sendable () -> Void,
        take: @escaping @Sendable (EncodedVideoFrame) -> Void
    ) -> EncodedSubscription? {
        guard let place = state.withLock({ $0.key }) else { return nil }
        let source = source
        guard let key = source.addEncodedUser(codec, track: place, take: take, lost: lost) else { return nil }
        return EncodedSubscription(source: source, key: key)
    }

    // MARK: From the source

    private func take(_ frame: VideoFrame) {
        if videoAdapter.note(frame), source.device == nil { retarget(frame) }
        guard let frame = videoAdapter.adapt(frame) else { return }
        let (takers, isEnabled) = state.withLock { (Array($0.videoTakers.values), $0.isEnabled) }
        guard !takers.isEmpty, let shown = isEnabled ? frame : videoAdapter.blackened(frame) else { return }
        for take in takers { take(shown) }
    }

    private func take(_ frame: AudioFrame) {
        guard let frame = audioAdapter.adapt(frame) else { return }
        let (takers, isEnabled) = state.withLock { (Array($0.audioTakers.values), $0.isEnabled) }
        let heard = isEnabled ? frame : frame.silenced()
        for take in takers { take(heard) }
    }

    // MARK: From pipelines

    func deliver(_ frame: VideoFrame) { source.deliver(frame) }

    func deliver(_ frame: AudioFrame) { source.deliver(frame) }

    func setMuted(_ isMuted: Bool) { source.setMuted(isMuted) }

    /// The peer's media is over.
    func endRemote() { source.end(nil) }

    /// Whether anybody takes frames: decoding for nobody is a waste.
    var hasTakers: Bool { source.isUsed }

    static func makeID() -> String {
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
