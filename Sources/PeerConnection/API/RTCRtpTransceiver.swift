internal import Locking
public import Media
internal import NIOCore
internal import PeerEngine

/// How a transceiver is made. webrtc-pc §5.1 (`RTCRtpTransceiverInit`)
public struct RTCRtpTransceiverInit: Hashable, Sendable {
    /// The direction to offer.
    public var direction: RTCRtpTransceiverDirection
    /// The streams that the track belongs to.
    public var streamIDs: [String]
    /// Codecs to receive that are not decoded here, as ``RTCRtpTransceiver/receivedEncodings``.
    public var receivedEncodings: Set<VideoCodec>

    /// Both ways and in no stream, unless told otherwise.
    public init(
        direction: RTCRtpTransceiverDirection = .sendrecv,
        streamIDs: [String] = [],
        receivedEncodings: Set<VideoCodec> = []
    ) {
        self.direction = direction
        self.streamIDs = streamIDs
        self.receivedEncodings = receivedEncodings
    }
}

/// A sender and a receiver that share one m-section. webrtc-pc §5.4
public final class RTCRtpTransceiver: Sendable {
    struct State {
        var mid: String?
        var direction: RTCRtpTransceiverDirection
        var currentDirection: RTCRtpTransceiverDirection?
        var id: TransceiverID?
        var receivedEncodings: Set<VideoCodec> = []
    }

    /// Audio or video.
    public let kind: MediaKind
    /// The sending side.
    public let sender: RTCRtpSender
    /// The receiving side.
    public let receiver: RTCRtpReceiver
    private let owner: DriverReference
    private let state: Mutex<State>

    init(
        kind: MediaKind,
        direction: RTCRtpTransceiverDirection,
        track: MediaStreamTrack?,
        streamIDs: [String],
        id: TransceiverID? = nil,
        driver: PeerDriver
    ) {
        self.kind = kind
        owner = DriverReference(driver: driver)
        sender = RTCRtpSender(kind: kind, track: track, streamIDs: streamIDs, driver: driver)
        receiver = RTCRtpReceiver(kind: kind)
        state = Mutex(State(direction: direction, id: id))
    }

    /// The identity of the m-section; nil before it is negotiated.
    public var mid: String? { state.withLock { $0.mid } }
    /// The direction that this side wants.
    public var direction: RTCRtpTransceiverDirection { state.withLock { $0.direction } }
    /// The direction that was negotiated last; nil before.
    public var currentDirection: RTCRtpTransceiverDirection? { state.withLock { $0.currentDirection } }

    /// Codecs that the peer may send although they are not decoded here; empty unless asked for.
    ///
    /// With `.h264` descriptions from now on list H.264 first. What comes in it has no pictures for the receiver's track:
    /// it is for those who take frames as they are, by ``RTCRtpReceiver/addEncodedFrameTaker(_:)``.
    public var receivedEncodings: Set<VideoCodec> {
        get { state.withLock { $0.receivedEncodings } }
        set { state.withLock { $0.receivedEncodings = newValue } }
    }

    /// Changes the direction to offer; takes effect by the next negotiation.
    ///
    /// - Throws: `InvalidStateError` once stopped, `TypeError` for `.stopped`: use ``stop()``.
    public func setDirection(_ direction: RTCRtpTransceiverDirection) throws(RTCError) {
        guard direction != .stopped else { throw RTCError(.typeError, "use stop() to stop a transceiver") }
        let isStopped = state.withLock { state -> Bool in
            if state.direction == .stopped { return true }
            state.direction = direction
            return false
        }
        guard !isStopped else { throw RTCError(.invalidStateError, "the transceiver is stopped") }
        owner.perform { $0.directionChanged(self) }
    }

    /// Ends sending and receiving for good; the next negotiation tells the peer.
    public func stop() {
        state.withLock { $0.direction = .stopped }
        receiver.track.endRemote()
        owner.perform { $0.stop(self) }
    }

    // MARK: From the driver

    /// The negotiator's identity of this transceiver.
    ///
    /// Set and read on the event loop.
    var id: TransceiverID? {
        get { state.withLock { $0.id } }
        set { state.withLock { $0.id = newValue } }
    }

    func update(mid: String?, currentDirection: RTCRtpTransceiverDirection?) {
        state.withLock { state in
            state.mid = mid
            if let currentDirection { state.currentDirection = currentDirection }
            if currentDirection == .stopped { state.direction = .stopped }
        }
        if currentDirection == .stopped { receiver.track.endRemote() }
    }
}

/// Sends one track. webrtc-pc §5.2
public final class RTCRtpSender: Sendable {
    struct State {
        var track: MediaStreamTrack?
        var streamIDs: [String]
        var wasUsed: Bool
        var maxBitRate: Int?
        var hasDTX: Bool?
    }

    /// Audio or video.
    public let kind: MediaKind
    private let owner: DriverReference
    private let state: Mutex<State>

    init(kind: MediaKind, track: MediaStreamTrack?, streamIDs: [String], driver: PeerDriver) {
        self.kind = kind
        owner = DriverReference(driver: driver)
        state = Mutex(State(track: track, streamIDs: streamIDs, wasUsed: track != nil))
    }

    /// The track that is sent.
    public var track: MediaStreamTrack? { state.withLock { $0.track } }
    /// The streams that the peer is told the track belongs to.
    public var streamIDs: [String] { state.withLock { $0.streamIDs } }
    /// The most bits a second to encode at; nil for the default.
    public var maxBitRate: Int? { state.withLock { $0.maxBitRate } }
    /// Whether silence is left out of Opus; nil leaves that to the peer.
    public var discontinuousTransmission: Bool? { state.withLock { $0.hasDTX } }
    var wasUsed: Bool { state.withLock { $0.wasUsed } }

    /// Sends another track, or none, in place of this one, without a negotiation.
    ///
    /// - Throws: `TypeError` if the track is of the other kind.
    public func replaceTrack(_ track: MediaStreamTrack?) async throws(RTCError) {
        if let track, track.kind != kind {
            throw RTCError(.typeError, "a sender of \(kind.rawValue) cannot send a track of \(track.kind.rawValue)")
        }
        state.withLock { $0.track = track }
        await owner.driver?.senderTrackReplaced(self)
    }

    /// Limits the bits a second to encode at, 30 000 to 50 000 000; nil takes the default.
    public func setMaxBitRate(_ bitsPerSecond: Int?) async throws(RTCError) {
        if let bitsPerSecond, !(30_000...50_000_000).contains(bitsPerSecond) {
            throw RTCError(.typeError, "a bit rate of \(bitsPerSecond) is not in 30000 ... 50000000")
        }
        state.withLock { $0.maxBitRate = bitsPerSecond }
        await owner.driver?.senderTrackReplaced(self)
    }

    /// Leaves silence out of the sound that is sent (Opus DTX): of a pause, one packet in 400 ms goes.
    ///
    /// Takes effect at once, without a negotiation: receivers of Opus need no telling. nil, as it is at first, does as the
    /// peer's `usedtx` asks, which browsers do not send by default. RFC 7587 §3.1.3
    public func setDiscontinuousTransmission(_ isOn: Bool?) async {
        state.withLock { $0.hasDTX = isOn }
        await owner.driver?.senderTrackReplaced(self)
    }

    /// Sends packets of zeros, un-paced: what the benchmark of the packet path uses.
    ///
    /// - Returns: packets that left.
    package func sendTestPackets(count: Int, byteCount: Int) async -> Int {
        await owner.driver?.sendTestPackets(of: self, count: count, byteCount: byteCount) ?? 0
    }

    func setTrackNow(_ track: MediaStreamTrack?, streamIDs: [String]) {
        state.withLock { state in
            state.track = track
            state.streamIDs = streamIDs
            if track != nil { state.wasUsed = true }
        }
    }
}
