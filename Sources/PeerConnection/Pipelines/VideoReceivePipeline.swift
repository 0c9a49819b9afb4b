internal import Locking
internal import Logging
internal import Media
internal import RTP
internal import SansIO

/// Received VP8 frames, decoded on a thread of its own, on to the track; those of H.264 only to who takes them as they are.
final class VideoReceivePipeline: ReceivePipeline {
    private struct Counts {
        var framesDecoded = 0
        var framesDropped = 0
        var framesUndecodable = 0
        /// Given to the decoder's thread, where the oldest make room for others.
        var framesQueued = 0
        var width = 0
        var height = 0
    }

    /// A frame, and which of those that came it is.
    private struct Job: Sendable {
        var number: Int
        var frame: ReceivedFrame
    }

    private let worker: WorkerThread<Job>
    let receiver: RTCRtpReceiver
    private let counts: Shared
    private let log = Logger(label: "PeerConnection.video")

    private final class Shared: Sendable {
        let counts = Mutex(Counts())
    }

    /// Frames that may wait for the decoder: a second's.
    private static let queueLimit = 30

    /// `requestKeyFrame`: called on the decoder's thread when it cannot go on without one.
    init(receiver: RTCRtpReceiver, requestKeyFrame: @escaping @Sendable () -> Void) {
        self.receiver = receiver
        let shared = Shared()
        counts = shared
        let track = receiver.track
        // Touched only by the worker's thread, one job after another.
        nonisolated(unsafe) let decoding = VideoDecoding()
        worker = WorkerThread(name: "VP8 decoder", limit: Self.queueLimit) { job in
            let frame = job.frame
            // All that follows builds on what had to make room, and would show it as torn.
            if unsafe job.number != decoding.nextNumber { unsafe decoding.needsKeyFrame = true }
            unsafe decoding.nextNumber = job.number + 1
            guard track.hasTakers else {
                unsafe decoding.needsKeyFrame = true
                return
            }
            if unsafe decoding.needsKeyFrame, !frame.isKeyFrame { return requestKeyFrame() }
            do throws(MediaError) {
                guard let picture = unsafe try decoding.decode(frame) else { return }
                shared.counts.withLock { counts in
                    counts.framesDecoded += 1
                    counts.width = picture.width
                    counts.height = picture.height
                }
                track.deliver(picture)
            } catch {
                unsafe decoding.needsKeyFrame = true
                shared.counts.withLock { $0.framesDropped += 1 }
                requestKeyFrame()
            }
        }
    }

    func receive(_ frame: ReceivedFrame) {
        let isTaken = receiver.deliver(RTCEncodedFrame(frame))
        guard frame.codec == .vp8 else {
            if !isTaken { tell(frame.codec) }
            return
        }
        let number = counts.counts.withLock { counts in
            defer { counts.framesQueued += 1 }
            return counts.framesQueued
        }
        if worker.submit(Job(number: number, frame: frame)) { counts.counts.withLock { $0.framesDropped += 1 } }
    }

    /// There is no decoder: nothing is shown of it, which must be known once.
    private func tell(_ codec: RTPCodec) {
        let isFirst = counts.counts.withLock { counts in
            counts.framesUndecodable += 1
            return counts.framesUndecodable == 1
        }
        if isFirst {
            log.warning("the peer sends \(codec.name), which is not decoded here: take it by addEncodedFrameTaker")
        }
    }

    func fill(_ entry: inout RTCStatsReport.InboundRTP) {
        counts.counts.withLock { counts in
            entry.framesDecoded = counts.framesDecoded
            entry.framesDropped += counts.framesDropped
            entry.frameWidth = counts.width
            entry.frameHeight = counts.height
        }
    }

    func stop() { worker.stop() }
}

private final class VideoDecoding {
    var needsKeyFrame = true
    var nextNumber = 0
    private var decoder: VP8Decoder?

    func decode(_ frame: ReceivedFrame) throws(MediaError) -> VideoFrame? {
        let decoder: VP8Decoder
        if let open = self.decoder { decoder = open } else { decoder = try VP8Decoder() }
        self.decoder = decoder
        let picture = try decoder.decode(frame.payload, timestampNanoseconds: frame.receiveTime.nanoseconds)
        if frame.isKeyFrame { needsKeyFrame = false }
        return picture
    }
}
