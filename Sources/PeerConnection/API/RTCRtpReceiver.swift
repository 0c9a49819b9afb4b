internal import Locking
internal import RTP
internal import SansIO

/// Receives one track. webrtc-pc §5.3
public final class RTCRtpReceiver: Sendable {
    private struct State {
        var handler: (@Sendable (RTCEncodedFrame) -> Void)?
        var nextKey = 0
        var takers: [Int: @Sendable (RTCEncodedFrame) -> Void] = [:]
        /// Asks the peer, while the receiver receives.
        var askForKeyFrame: (@Sendable () -> Void)?
    }

    /// The received track; exists from the start and carries media once the peer sends.
    public let track: MediaStreamTrack
    private let state = Mutex(State())

    init(kind: MediaKind) {
        track = MediaStreamTrack(remote: kind)
    }

    /// Calls `handler` with each received frame before it is decoded, on the connection's event loop: for
    /// recorders and forwarders, which must return at once.
    public func setEncodedFrameHandler(_ handler: (@Sendable (RTCEncodedFrame) -> Void)?) {
        state.withLock { $0.handler = handler }
    }

    /// Calls `take` with each received frame before it is decoded, beside all others who take them, until the
    /// subscription is cancelled or released.
    ///
    /// `take` runs on the connection's event loop and must return at once. The first frame of video may be any: ask
    /// for one to begin with by ``requestKeyFrame()``.
    public func addEncodedFrameTaker(_ take: @escaping @Sendable (RTCEncodedFrame) -> Void) -> MediaSubscription {
        let key = state.withLock { state in
            defer { state.nextKey += 1 }
            state.takers[state.nextKey] = take
            return state.nextKey
        }
        return MediaSubscription { [weak self] in
            self?.state.withLock { $0.takers[key] = nil }
        }
    }

    /// Asks the peer for a picture that needs no other (PLI, RFC 4585 §6.3.1).
    ///
    /// Requests that follow each other closely are one; on a receiver of sound, or one that receives nothing,
    /// nothing is asked.
    public func requestKeyFrame() { state.withLock { $0.askForKeyFrame }?() }

    // MARK: From the driver and the pipelines

    func setKeyFrameRequest(_ ask: (@Sendable () -> Void)?) { state.withLock { $0.askForKeyFrame = ask } }

    /// - Returns: whether anybody takes frames as they are.
    @discardableResult
    func deliver(_ frame: @autoclosure () -> RTCEncodedFrame) -> Bool {
        let (handler, takers) = state.withLock { ($0.handler, $0.takers.isEmpty ? [] : Array($0.takers.values)) }
        guard handler != nil || !takers.isEmpty else { return false }
        let frame = frame()
        handler?(frame)
        for take in takers { take(frame) }
        return true
    }
}

/// A received frame as it came from the network. webrtc-encoded-transform §3
public struct RTCEncodedFrame: Sendable {
    /// The sender's clock at one RTP timestamp, as its last report told: it puts sound and pictures of one sender in
    /// step. RFC 3550 §6.4.1
    public struct SenderClock: Hashable, Sendable {
        /// Seconds since 1900 in 32.32 fixed point, by whatever clock all of the sender's tracks share.
        public let ntpTimestamp: UInt64
        /// The RTP timestamp of that moment.
        public let rtpTimestamp: UInt32

        /// A report's two times.
        public init(ntpTimestamp: UInt64, rtpTimestamp: UInt32) {
            self.ntpTimestamp = ntpTimestamp
            self.rtpTimestamp = rtpTimestamp
        }
    }

    /// The codec's name as in SDP, `VP8`, `H264` or `opus`.
    public let codecName: String
    /// The encoded picture or audio block; H.264 in the byte stream format (Annex B).
    public let payload: [UInt8]
    /// The RTP timestamp, in units of the codec's clock.
    public let rtpTimestamp: UInt32
    /// Whether decoding can start here (always true for audio).
    public let isKeyFrame: Bool
    /// When its last packet arrived, in nanoseconds of the monotonic clock.
    public let receiveTimeNanoseconds: Int64
    /// When its first packet arrived, in nanoseconds of the monotonic clock.
    public let firstPacketTimeNanoseconds: Int64
    /// Units of the RTP timestamp in a second.
    public let clockRate: Int
    /// The source it came from; another one begins when the peer starts its encoder anew.
    public let ssrc: UInt32
    /// What the source's last sender report said; nil before the first.
    public let senderClock: SenderClock?

    init(_ frame: ReceivedFrame) {
        codecName = frame.codec.name
        payload = frame.payload
        rtpTimestamp = frame.rtpTimestamp
        isKeyFrame = frame.isKeyFrame || frame.codec.kind == .audio
        receiveTimeNanoseconds = frame.receiveTime.nanoseconds
        firstPacketTimeNanoseconds = frame.firstPacketTime.nanoseconds
        clockRate = frame.codec.clockRate
        ssrc = frame.ssrc
        senderClock = frame.senderClock.map {
            SenderClock(ntpTimestamp: $0.ntpTimestamp, rtpTimestamp: $0.rtpTimestamp)
        }
    }
}
