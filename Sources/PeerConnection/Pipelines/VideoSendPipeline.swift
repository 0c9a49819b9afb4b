internal import Locking
internal import Logging
internal import Media
internal import RTP
internal import SansIO

/// Pictures of a track on their way out: encoded to VP8 on a thread of its own, or as the track's source has encoded them.
///
/// The newest picture wins when the encoder is behind. What is encoded already is never left out but to begin with a key
/// frame: all that follow build on it.
final class VideoSendPipeline: SendPipeline {
    private struct State {
        var subscription: MediaSubscription?
        var encodedSubscription: EncodedSubscription?
        var track: MediaStreamTrack?
        /// The codec in which the track's source encodes by itself; nil to encode here.
        var encoding: VideoCodec?
        /// Counts changes of track and encoding, so that what was given up for another is no loss.
        var generation = 0
        /// Nothing can be sent before a key frame of the source.
        var awaitsKeyFrame = true
        /// When the source was last asked for one, in its own time.
        var keyFrameAskedAt: Int64?
        var isActive = false
        var isStopped = false
        var bitRate = 800_000
        var mustSetBitRate = true
        var mustMakeKeyFrame = true
        var framesEncoded = 0
        var width = 0
        var height = 0
        var captureDelays = DelayHistogram()
        var hasToldError = false
    }

    let mid: String
    private let state = Mutex(State())
    private let worker: WorkerThread<VideoFrame>
    private let send: @Sendable (EncodedFrame) -> Void
    private let encodingLost: @Sendable () -> Void
    private let retry: SourceRetry
    private let log = Logger(label: "PeerConnection.video")

    /// Between two requests to a source for the key frame to begin with, in nanoseconds.
    private static let keyFrameInterval: Int64 = 1_000_000_000

    /// A pipeline without a track.
    ///
    /// - Parameters:
    ///   - mid: the m-section.
    ///   - encodingLost: called when the source gives no more of its own encoding: pictures are to be encoded here.
    ///   - refused: told why the track gives nothing, until it does.
    ///   - send: takes each encoded picture, on the encoder's thread or the source's.
    init(
        mid: String,
        encodingLost: @escaping @Sendable () -> Void,
        refused: @escaping @Sendable (RTCError) -> Void,
        send: @escaping @Sendable (EncodedFrame) -> Void
    ) {
        self.mid = mid
        retry = SourceRetry(tell: refused)
        self.send = send
        self.encodingLost = encodingLost
        let job = EncodingJob(send: send)
        worker = WorkerThread(name: "VP8 encoder", limit: 1) { frame in job.run(frame) }
        job.pipeline.withLock { $0 = WeakPipeline(pipeline: self) }
    }

    private struct WeakPipeline { weak var pipeline: VideoSendPipeline? }

    /// Owns the encoder; runs on the worker alone.
    private final class EncodingJob: Sendable {
        let send: @Sendable (EncodedFrame) -> Void
        let pipeline = Mutex(WeakPipeline())
        /// Touched only by the worker's thread, one job after another.
        nonisolated(unsafe) private let encoder = VP8Encoder()
        private let pool = VideoFramePool()

        init(send: @escaping @Sendable (EncodedFrame) -> Void) { self.send = send }

        func run(_ frame: VideoFrame) {
            guard let pipeline = pipeline.withLock({ $0.pipeline }) else { return }
            let encoder = unsafe encoder
            let (bitRate, isKey) = pipeline.takeOrders(for: frame)
            do throws(MediaError) {
                if let bitRate { try encoder.setBitRate(bitRate) }
                if isKey { encoder.requestKeyFrame() }
                // Peers are not told how far to turn pictures: they get them upright.
                let frame = try frame.upright(pool: pool)
                guard let picture = try encoder.encode(frame) else { return }
                pipeline.didEncode(width: frame.width, height: frame.height)
                send(
                    EncodedFrame(
                        payload: picture.payload,
                        codec: .vp8,
                        rtpTimestamp: VideoSendPipeline.rtpTimestamp(frame.timestampNanoseconds),
                        isKeyFrame: picture.isKeyFrame,
                        captureTime: Instant(nanoseconds: frame.timestampNanoseconds)
                    )
                )
            } catch {
                pipeline.tell(error)
            }
        }
    }

    func setTrack(_ track: MediaStreamTrack?) { setTrack(track, encoding: nil) }

    /// Sends a track, encoded here or, in `encoding`, by its source.
    func setTrack(_ track: MediaStreamTrack?, encoding: VideoCodec?) {
        let (isChanged, old, oldEncoded) = state.withLock { state in
            guard state.track !== track || state.encoding != encoding else {
                return (false, MediaSubscription?.none, EncodedSubscription?.none)
            }
            defer {
                state.generation += 1
                state.track = track
                state.encoding = encoding
                state.subscription = nil
                state.encodedSubscription = nil
                state.awaitsKeyFrame = true
                state.keyFrameAskedAt = nil
                state.mustMakeKeyFrame = true
            }
            return (true, state.subscription, state.encodedSubscription)
        }
        guard isChanged else { return }
        // The old ones are released not under the lock, since that may stop a device; and after the new ones are there, so
        // that a source that both use goes on.
        withExtendedLifetime((old, oldEncoded)) { subscribe() }
    }

    func setActive(_ isActive: Bool) {
        state.withLock { $0.isActive = isActive }
        subscribe()
    }

    private func subscribe() {
        let (track, encoding) = state.withLock { state -> (MediaStreamTrack?, VideoCodec?) in
            guard state.isActive, !state.isStopped, state.subscription == nil, state.encodedSubscription == nil else {
                return (nil, nil)
            }
            return (state.track, state.encoding)
        }
        guard let track else { return }
        if let encoding { return subscribe(to: track, encoding) }
        do {
            let subscription = try track.addVideoTaker { [worker] frame in worker.submit(frame) }
            state.withLock { $0.subscription = subscription }
            retry.didStart()
        } catch {
            retry.didFail(track, error) { [weak self] in self?.subscribe() }
        }
    }

    // MARK: What the source has encoded

    private func subscribe(to track: MediaStreamTrack, _ codec: VideoCodec) {
        let generation = state.withLock { $0.generation }
        let subscription = track.addEncodedTaker(codec) { [weak self, encodingLost] in
            guard let self, self.state.withLock({ $0.generation }) == generation else { return }
            encodingLost()
        } take: { [weak self] frame in
            self?.take(frame)
        }
        guard let subscription else { return encodingLost() }
        let bitRate = state.withLock { state in
            state.encodedSubscription = subscription
            return state.bitRate
        }
        subscription.setBitRate(bitRate)
    }

    private func take(_ frame: EncodedVideoFrame) {
        enum Next { case send, ask(EncodedSubscription?), nothing }
        let now = PeerDriver.now().nanoseconds
        let next = state.withLock { state -> Next in
            guard !state.isStopped, state.isActive, let track = state.track, state.encoding == frame.codec else {
                return .nothing
            }
            guard track.enabled else {
                state.awaitsKeyFrame = true
                return .nothing
            }
            if state.awaitsKeyFrame, !frame.isKeyFrame {
                if let last = state.keyFrameAskedAt, now - last < Self.keyFrameInterval { return .nothing }
                state.keyFrameAskedAt = now
                return .ask(state.encodedSubscription)
            }
            state.awaitsKeyFrame = false
            state.framesEncoded += 1
            if frame.width > 0 { (state.width, state.height) = (frame.width, frame.height) }
            state.captureDelays.record(nanoseconds: now &- frame.timestampNanoseconds)
            return .send
        }
        switch next {
        case .nothing: break
        case .ask(let subscription): subscription?.requestKeyFrame()
        case .send:
            send(
                EncodedFrame(
                    payload: frame.payload,
                    codec: RTPCodec(frame.codec),
                    rtpTimestamp: Self.rtpTimestamp(frame.timestampNanoseconds),
                    isKeyFrame: frame.isKeyFrame,
                    captureTime: Instant(nanoseconds: frame.timestampNanoseconds)
                )
            )
        }
    }

    /// 90 kHz from nanoseconds (RFC 7741 §4.1, RFC 6184 §5.1).
    private static func rtpTimestamp(_ nanoseconds: Int64) -> UInt32 {
        UInt32(truncatingIfNeeded: nanoseconds / 100_000 * 9)
    }

    func setBitRate(_ bitsPerSecond: Int) {
        state.withLock { state in
            state.bitRate = bitsPerSecond
            state.mustSetBitRate = true
        }
        state.withLock { $0.encodedSubscription }?.setBitRate(bitsPerSecond)
    }

    func requestKeyFrame() {
        state.withLock { $0.mustMakeKeyFrame = true }
        state.withLock { $0.encodedSubscription }?.requestKeyFrame()
    }

    func fill(_ entry: inout RTCStatsReport.OutboundRTP) {
        state.withLock { state in
            entry.framesEncoded = state.framesEncoded
            entry.encoderImplementation = state.encoding == nil ? "libvpx" : state.track?.label ?? ""
            entry.frameWidth = state.width
            entry.frameHeight = state.height
            entry.captureDelays = state.captureDelays
        }
    }

    func stop() {
        let (subscription, encoded) = state.withLock { state in
            state.isStopped = true
            defer {
                state.subscription = nil
                state.encodedSubscription = nil
            }
            return (state.subscription, state.encodedSubscription)
        }
        subscription?.cancel()
        // Released here, not under the lock: that may stop a device.
        withExtendedLifetime(encoded) { worker.stop() }
    }

    private func takeOrders(for frame: VideoFrame) -> (bitRate: Int?, isKeyFrame: Bool) {
        // A program's own times may be anything.
        let delay = PeerDriver.now().nanoseconds &- frame.timestampNanoseconds
        return state.withLock { state in
            state.captureDelays.record(nanoseconds: delay)
            defer {
                state.mustSetBitRate = false
                state.mustMakeKeyFrame = false
            }
            return (state.mustSetBitRate ? state.bitRate : nil, state.mustMakeKeyFrame)
        }
    }

    private func didEncode(width: Int, height: Int) {
        state.withLock { state in
            state.framesEncoded += 1
            state.width = width
            state.height = height
        }
    }

    private func tell(_ error: MediaError) {
        let isFirst = state.withLock { state in
            defer { state.hasToldError = true }
            return !state.hasToldError
        }
        if isFirst { log.error("\(error)") }
    }
}

extension RTPCodec {
    init(_ codec: VideoCodec) {
        switch codec {
        case .vp8: self = .vp8
        case .h264: self = .h264
        }
    }
}
