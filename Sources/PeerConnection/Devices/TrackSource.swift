internal import Capture
internal import Locking
internal import Media

/// What one track or several clones take their frames from: a device, a file, a generator, or the peer.
///
/// It runs while any of them has takers, and stops for good with the last of them. Starting and stopping are done by
/// one thread at a time, without a lock held: who finds another at work leaves it the rest.
final class TrackSource: Sendable {
    /// Where frames come from.
    enum Origin {
        case video(any VideoSource)
        /// Gives encoded pictures and no others.
        case encoded(any EncodedVideoSource)
        case audio(any AudioSource)
        case remote(MediaKind)
    }

    /// A track, as the source sees it.
    struct Listener: Sendable {
        let video: @Sendable (VideoFrame) -> Void
        let audio: @Sendable (AudioFrame) -> Void
        let muted: @Sendable (Bool) -> Void
        let ended: @Sendable (MediaError?) -> Void
        /// What it needs of the camera's mode, when another track wants another one.
        let demand: @Sendable () -> VideoDemand
        /// Called before the camera's mode changes for another track: this one's pictures stay as they are.
        let pin: @Sendable () -> Void
    }

    /// What an origin is started for.
    private enum Mode: Equatable {
        case frames
        case encoded(VideoCodec)
    }

    /// Who takes pictures as the source has encoded them.
    private struct EncodedUser {
        /// The track's key.
        let track: Int
        let codec: VideoCodec
        let take: @Sendable (EncodedVideoFrame) -> Void
        /// Called once when the source gives no more of it, since somebody needs the pictures themselves.
        let lost: @Sendable () -> Void
        var bitRate: Int?
    }

    /// A change of the origin that waits for its turn.
    private struct Replacement {
        /// Makes the new origin while the old one is stopped.
        let make: @Sendable () throws(MediaError) -> Origin
        let done: @Sendable (MediaError?) -> Void
    }

    private struct State {
        var origin: Origin
        var listeners: [Int: Listener] = [:]
        var nextKey = 0
        /// The tracks that have takers.
        var users: Set<Int> = []
        /// In the order in which they came.
        var encodedUsers: [(key: Int, user: EncodedUser)] = []
        /// Nil while it is stopped.
        var mode: Mode?
        var isOperating = false
        /// It could not be started; whoever comes next tries again.
        var isRefused = false
        var isMuted: Bool
        var isEnded = false
        var replacements: [Replacement] = []
        /// Counts origins, so that one that is gone ends nothing.
        var generation = 0

        /// What the tracks want of the origin.
        ///
        /// Pictures as such win: all else can be made of them.
        var wantedMode: Mode? {
            guard !isEnded, !isRefused, replacements.isEmpty else { return nil }
            if case .encoded = origin { return encodedUsers.first.map { .encoded($0.user.codec) } }
            if !users.isEmpty { return .frames }
            return encodedUsers.first.map { .encoded($0.user.codec) }
        }

        /// Takes out those whose codec the source will not give.
        mutating func takeLosers() -> [EncodedUser] {
            let mode = wantedMode
            guard mode != nil, !encodedUsers.isEmpty else { return [] }
            let lost = encodedUsers.filter { mode != .encoded($0.user.codec) }
            encodedUsers.removeAll { mode != .encoded($0.user.codec) }
            return lost.map(\.user)
        }
    }

    let kind: MediaKind
    let label: String
    /// The device behind it, if it is one of ``MediaDevices``.
    let device: SourceDevice?
    /// The screen or window behind it, if it is one.
    let display: SourceDisplay?
    private let state: Mutex<State>

    init(_ origin: Origin, device: SourceDevice? = nil, display: SourceDisplay? = nil, label: String? = nil) {
        self.device = device
        self.display = display
        switch origin {
        case .video(let source): (kind, self.label) = (.video, label ?? source.label)
        case .encoded(let source): (kind, self.label) = (.video, label ?? source.label)
        case .audio(let source): (kind, self.label) = (.audio, label ?? source.label)
        case .remote(let kind): (self.kind, self.label) = (kind, label ?? "remote \(kind.rawValue)")
        }
        // What comes from the peer is mute until it comes.
        let isMuted = if case .remote = origin { true } else { false }
        state = Mutex(State(origin: origin, isMuted: isMuted))
        watch(origin, generation: 0)
    }

    deinit {
        let (origin, mode) = state.withLock { ($0.origin, $0.mode) }
        if mode != nil { Self.stop(origin) }
    }

    var isMuted: Bool { state.withLock { $0.isMuted } }
    /// Whether any track has takers.
    var isUsed: Bool { state.withLock { !$0.users.isEmpty } }
    /// Whether frames can still come.
    var isLive: Bool { state.withLock { !$0.isEnded } }

    // MARK: Tracks

    /// Adds a track.
    ///
    /// - Returns: its key; nil if the source is over.
    func attach(_ listener: Listener) -> Int? {
        state.withLock { state in
            guard !state.isEnded else { return nil }
            defer { state.nextKey += 1 }
            state.listeners[state.nextKey] = listener
            return state.nextKey
        }
    }

    /// Removes a track that has ended; with the last one the source is over.
    func detach(_ key: Int) {
        state.withLock { state in
            state.listeners[key] = nil
            state.users.remove(key)
            state.encodedUsers.removeAll { $0.user.track == key }
            if state.listeners.isEmpty { state.isEnded = true }
        }
        settle()
    }

    /// Says that a track has takers, or none any more.
    ///
    /// - Throws: what the source throws when it cannot start; the track counts as having none then.
    func setUsed(_ isUsed: Bool, by key: Int) throws {
        state.withLock { state in
            guard isUsed, state.listeners[key] != nil else { return _ = state.users.remove(key) }
            state.users.insert(key)
            state.isRefused = false
        }
        guard let failure = settle(), isUsed else { return }
        state.withLock { state in _ = state.users.remove(key) }
        throw failure
    }

    /// What the other tracks need.
    func demands(besides key: Int) -> [VideoDemand] {
        let others = state.withLock { $0.listeners.filter { $0.key != key }.map(\.value) }
        return others.map { $0.demand() }
    }

    /// Keeps the other tracks' pictures as they are, whatever the camera does.
    func pin(besides key: Int) {
        let others = state.withLock { $0.listeners.filter { $0.key != key }.map(\.value) }
        for other in others { other.pin() }
    }

    // MARK: Encoded pictures

    /// The codecs in which the source can give its pictures already encoded.
    var encodings: [VideoCodec] { state.withLock { $0.origin }.encoded?.codecs ?? [] }
    /// Whether the source's encoder can be told what the path carries.
    var takesBitRate: Bool { state.withLock { $0.origin }.encoded?.takesBitRate ?? false }
    /// Whether it gives its pictures in no other way.
    var isEncodedOnly: Bool { if case .encoded = state.withLock({ $0.origin }) { true } else { false } }

    /// Takes pictures as the source has encoded them, for a track.
    ///
    /// - Parameters:
    ///   - codec: one of ``encodings``.
    ///   - track: the track's key.
    ///   - take: called on the source's thread.
    ///   - lost: called once if the source gives no more of them, though it goes on.
    /// - Returns: a key for the other methods; nil if the source is over, or cannot: others need its pictures.
    func addEncodedUser(
        _ codec: VideoCodec,
        track: Int,
        take: @escaping @Sendable (EncodedVideoFrame) -> Void,
        lost: @escaping @Sendable () -> Void
    ) -> Int? {
        let key = state.withLock { state -> Int? in
            guard state.listeners[track] != nil else { return nil }
            defer { state.nextKey += 1 }
            state.isRefused = false
            state.encodedUsers.append((state.nextKey, EncodedUser(track: track, codec: codec, take: take, lost: lost)))
            guard state.wantedMode == .encoded(codec) else {
                state.encodedUsers.removeLast()
                return nil
            }
            return state.nextKey
        }
        guard let key else { return nil }
        settle()
        return state.withLock { state in state.encodedUsers.contains { $0.key == key } } ? key : nil
    }

    func removeEncodedUser(_ key: Int) {
        state.withLock { $0.encodedUsers.removeAll { $0.key == key } }
        settle()
    }

    /// A peer needs a picture to begin with.
    func requestKeyFrame() {
        let origin = state.withLock { state -> Origin? in
            if case .encoded = state.mode { return state.origin }
            return nil
        }
        origin?.encoded?.requestKeyFrame()
    }

    /// What the path of one of the users carries: the narrowest path decides.
    func setBitRate(_ bitsPerSecond: Int, by key: Int) {
        state.withLock { state in
            guard let index = state.encodedUsers.firstIndex(where: { $0.key == key }) else { return }
            state.encodedUsers[index].user.bitRate = bitsPerSecond
        }
        tellBitRate()
    }

    private func tellBitRate() {
        let (origin, rate) = state.withLock { state in
            (state.origin, state.encodedUsers.compactMap(\.user.bitRate).min())
        }
        if let rate { origin.encoded?.setBitRate(rate) }
    }

    private func deliver(_ frame: EncodedVideoFrame) {
        _ = listeners()
        let takers = state.withLock { state in state.isEnded ? [] : state.encodedUsers.map(\.user) }
        for taker in takers where taker.codec == frame.codec { taker.take(frame) }
    }

    // MARK: Frames, from the origin

    func deliver(_ frame: VideoFrame) { for listener in listeners() { listener.video(frame) } }

    func deliver(_ frame: AudioFrame) { for listener in listeners() { listener.audio(frame) } }

    private func listeners() -> [Listener] {
        let (listeners, isUnmuted) = state.withLock { state in
            defer { state.isMuted = false }
            return (state.isEnded ? [] : Array(state.listeners.values), state.isMuted)
        }
        if isUnmuted { for listener in listeners { listener.muted(false) } }
        return listeners
    }

    func setMuted(_ isMuted: Bool) {
        let listeners = state.withLock { state -> [Listener] in
            guard state.isMuted != isMuted, !state.isEnded else { return [] }
            state.isMuted = isMuted
            return Array(state.listeners.values)
        }
        for listener in listeners { listener.muted(isMuted) }
    }

    /// Ends all tracks: the device is gone, or the peer's media is over.
    func end(_ reason: MediaError?) { end(reason, generation: nil) }

    private func end(_ reason: MediaError?, generation: Int?) {
        let listeners = state.withLock { state -> [Listener] in
            guard !state.isEnded, generation == nil || generation == state.generation else { return [] }
            state.isEnded = true
            defer { state.listeners = [:] }
            state.users = []
            state.encodedUsers = []
            return Array(state.listeners.values)
        }
        settle()
        for listener in listeners { listener.ended(reason) }
    }

    /// A device that is taken away ends its tracks. mediacapture-main §4.3.1
    private func watch(_ origin: Origin, generation: Int) {
        let source: AnyObject
        switch origin {
        case .video(let video): source = video
        case .encoded(let video): source = video
        case .audio(let audio): source = audio
        case .remote: return
        }
        (source as? any FailingDevice)?.addFailureHandler { [weak self] reason in
            self?.end(reason, generation: generation)
        }
        (source as? any EndingSource)?.setEndHandler { [weak self] in self?.end(nil, generation: generation) }
    }

    // MARK: Starting, stopping, replacing

    /// Puts another origin in the place of this one, which is stopped first; if none can be made, it goes on.
    func replace(with make: @escaping @Sendable () throws(MediaError) -> Origin) async -> MediaError? {
        await withCheckedContinuation { continuation in
            let isOver = state.withLock { state -> Bool in
                if state.isEnded { return true }
                state.replacements.append(Replacement(make: make) { continuation.resume(returning: $0) })
                return false
            }
            if isOver { return continuation.resume(returning: MediaError(.unplugged, label, "the track is over")) }
            // What was given up for nothing cannot be had again.
            if let failure = settle() { end(failure as? MediaError) }
        }
    }

    private enum Step {
        case start(Origin, Mode)
        case stop(Origin)
        case replace(Replacement)
        case refuse([Replacement])
    }

    /// Brings the origin to where the tracks want it.
    ///
    /// - Returns: why it could not be started.
    @discardableResult
    private func settle() -> (any Error)? {
        var failure: (any Error)?
        while let step = nextStep() {
            switch step {
            case .start(let origin, let mode):
                do {
                    try start(origin, mode)
                } catch {
                    failure = error
                    let lost = refuse(mode)
                    for user in lost { user.lost() }
                }
            case .stop(let origin): Self.stop(origin)
            case .replace(let replacement): perform(replacement)
            case .refuse(let replacements):
                for replacement in replacements {
                    replacement.done(MediaError(.unplugged, label, "the track is over"))
                }
            }
            state.withLock { $0.isOperating = false }
        }
        for user in state.withLock({ $0.takeLosers() }) { user.lost() }
        return failure
    }

    /// The origin does not start so: it may otherwise, when it was to give encoded pictures.
    private func refuse(_ mode: Mode) -> [EncodedUser] {
        state.withLock { state in
            state.mode = nil
            if mode == .frames { state.isRefused = true }
            guard mode != .frames else { return [] }
            defer { state.encodedUsers.removeAll { mode == .encoded($0.user.codec) } }
            return state.encodedUsers.map(\.user).filter { mode == .encoded($0.codec) }
        }
    }

    private func nextStep() -> Step? {
        state.withLock { state in
            guard !state.isOperating else { return nil }
            if state.isEnded, !state.replacements.isEmpty {
                defer { state.replacements = [] }
                state.isOperating = true
                return .refuse(state.replacements)
            }
            let wanted = state.wantedMode
            if wanted != state.mode {
                state.isOperating = true
                // From one mode to another it is stopped in between.
                let next = state.mode == nil ? wanted : nil
                state.mode = next
                return next.map { .start(state.origin, $0) } ?? .stop(state.origin)
            }
            guard !state.replacements.isEmpty else { return nil }
            state.isOperating = true
            return .replace(state.replacements.removeFirst())
        }
    }

    private func perform(_ replacement: Replacement) {
        do throws(MediaError) {
            let new = try replacement.make()
            let generation = state.withLock { state in
                state.origin = new
                state.generation += 1
                state.isRefused = false
                return state.generation
            }
            watch(new, generation: generation)
            replacement.done(nil)
        } catch {
            replacement.done(error)
        }
    }

    private func start(_ origin: Origin, _ mode: Mode) throws {
        if case .encoded(let codec) = mode {
            guard let source = origin.encoded, source.codecs.contains(codec) else {
                throw MediaError(.notUsable, label, "gives no pictures in \(codec.rawValue)")
            }
            try source.startEncoded(codec) { [weak self] in self?.deliver($0) }
            tellBitRate()
            return
        }
        switch origin {
        case .encoded: break  // never wanted
        case .video(let source): try source.start { [weak self] in self?.deliver($0) }
        case .audio(let source): try source.start { [weak self] in self?.deliver($0) }
        case .remote: break
        }
    }

    private static func stop(_ origin: Origin) {
        switch origin {
        case .video(let source): source.stop()
        case .encoded(let source): source.stop()
        case .audio(let source): source.stop()
        case .remote: break
        }
    }
}

/// A source that ends by itself, in order.
protocol EndingSource: AnyObject, Sendable {
    func setEndHandler(_ handler: @escaping @Sendable () -> Void)
}

extension TrackSource.Origin {
    /// Its encoder, if it has one.
    fileprivate var encoded: (any EncodedVideoSource)? {
        switch self {
        case .video(let source): source as? any EncodedVideoSource
        case .encoded(let source): source
        case .audio, .remote: nil
        }
    }
}
