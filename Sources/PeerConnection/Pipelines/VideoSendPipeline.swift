internal import Locking
internal import Logging
internal import Media
internal import RTP
internal import SansIO

/// Pictures of a track, encoded to VP8 on a thread of its own; the newest picture wins when the encoder is behind.
final class VideoSendPipeline: SendPipeline {
    private struct State {
        var subscription: MediaSubscription?
        var track: MediaStreamTrack?
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
    private let log = Logger(label: "PeerConnection.video")

    /// `send`: takes each encoded picture, on the encoder's thread.
    init(mid: String, send: @escaping @Sendable (EncodedFrame) -> Void) {
        self.mid = mid
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
                        // 90 kHz from nanoseconds (RFC 7741 §4.1).
                        rtpTimestamp: UInt32(truncatingIfNeeded: frame.timestampNanoseconds / 100_000 * 9),
                        isKeyFrame: picture.isKeyFrame,
                        captureTime: Instant(nanoseconds: frame.timestampNanoseconds)
                    )
                )
            } catch {
                pipeline.tell(error)
            }
        }
    }

    func setTrack(_ track: MediaStreamTrack?) {
        let isChanged = state.withLock { state -> Bool in
            guard state.track !== track else { return false }
            state.track = track
            state.subscription = nil
            state.mustMakeKeyFrame = true
            return true
        }
        if isChanged { subscribe() }
    }

    func setActive(_ isActive: Bool) {
        state.withLock { $0.isActive = isActive }
        subscribe()
    }

    private func subscribe() {
        let track = state.withLock { state -> MediaStreamTrack? in
            guard state.isActive, !state.isStopped, state.subscription == nil else { return nil }
            return state.track
        }
        guard let track else { return }
        do {
            let subscription = try track.addVideoTaker { [worker] frame in worker.submit(frame) }
            state.withLock { $0.subscription = subscription }
        } catch {
            log.error("\(track.label) does not start: \(error)")
        }
    }

    func setBitRate(_ bitsPerSecond: Int) {
        state.withLock { state in
            state.bitRate = bitsPerSecond
            state.mustSetBitRate = true
        }
    }

    func requestKeyFrame() { state.withLock { $0.mustMakeKeyFrame = true } }

    func fill(_ entry: inout RTCStatsReport.OutboundRTP) {
        state.withLock { state in
            entry.framesEncoded = state.framesEncoded
            entry.frameWidth = state.width
            entry.frameHeight = state.height
            entry.captureDelays = state.captureDelays
        }
    }

    func stop() {
        let subscription = state.withLock { state in
            state.isStopped = true
            defer { state.subscription = nil }
            return state.subscription
        }
        subscription?.cancel()
        worker.stop()
    }

    private func takeOrders(for frame: VideoFrame) -> (bitRate: Int?, isKeyFrame: Bool) {
        let delay = PeerDriver.now().nanoseconds - frame.timestampNanoseconds
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
