internal import Capture
internal import Containers
internal import Glibc
internal import Locking
public import Media

/// Records what a peer sends into a WebM file, as it comes: nothing is encoded again.
///
/// VP8 and Opus are stored, in step with each other by the sender's reports. Losses become gaps. The file can be played
/// at any moment, also if the process dies; ``stop()`` adds index and duration. Files are written on a thread of the
/// recorder's own; a disk that is too slow loses frames, one that is full ends the recording.
///
///     let recorder = try MediaRecorder(path: "call.webm")
///     try recorder.record(transceiver.receiver)
///     …
///     let recording = await recorder.stop()
///
/// Unlike W3C's `MediaRecorder` it takes received frames, not tracks, and writes a file.
public final class MediaRecorder: Sendable {
    /// What it does. MediaStream Recording §2.2
    public enum State: String, Hashable, Sendable {
        /// Frames are stored as they come.
        case recording
        /// The file is finished, or broken off by an error.
        case inactive
    }

    /// What became of a recording.
    public struct Summary: Sendable {
        /// Where it is.
        public let path: String
        /// Bytes of the file; 0 if nothing came and no file was left.
        public let byteCount: Int
        /// Pictures stored.
        public let videoFrameCount: Int
        /// Blocks of sound stored.
        public let audioFrameCount: Int
        /// Frames that the disk was too slow for.
        public let droppedFrameCount: Int
        /// The time of the last frame.
        public let duration: Duration
        /// What ended the recording early; nil if nothing did.
        public let error: MediaError?
    }

    private enum Job: Sendable {
        case frame(Int, RTCEncodedFrame)
        case finish(CheckedContinuation<Void, Never>)
    }

    /// Where it is written.
    public let path: String
    private let core: Core
    private let worker: WorkerThread<Job>

    /// Bytes that may wait for the disk; what comes beyond is lost.
    private static let queueByteLimit = 16 << 20
    /// What a waiting frame costs beside its payload.
    private static let frameOverhead = 128

    /// What the event loop and the recorder's thread share.
    private final class Core: Sendable {
        struct Intake {
            var subscriptions: [MediaSubscription] = []
            var receivers: [Int: RTCRtpReceiver] = [:]
            var waitingByteCount = 0
            var droppedFrameCount = 0
            /// Tracks whose next picture must need no other.
            var needsKeyFrame: Set<Int> = []
            var isStopped = false
        }

        let intake = Mutex(Intake())
        let file: Mutex<RecordingFile>
        let onFailure: @Sendable (MediaError) -> Void

        init(path: String, title: String, onFailure: @escaping @Sendable (MediaError) -> Void) throws(MediaError) {
            file = Mutex(try RecordingFile(path: path, title: title))
            self.onFailure = onFailure
        }

        func perform(_ job: Job) {
            switch job {
            case .frame(let track, let frame):
                let (failure, isOver) = file.withLock { file in
                    let failure = file.add(frame, track: track)
                    return (failure, file.isOver)
                }
                intake.withLock { intake in
                    intake.waitingByteCount -= frame.payload.count + MediaRecorder.frameOverhead
                    if isOver { intake.isStopped = true }
                }
                if let failure { onFailure(failure) }
            case .finish(let continuation):
                if let failure = file.withLock({ $0.finish() }) { onFailure(failure) }
                continuation.resume()
            }
        }
    }

    /// Creates the file.
    ///
    /// - Parameters:
    ///   - path: where; a file of that name is never written over.
    ///   - title: what players show as its title.
    ///   - onFailure: called on the recorder's thread with what ends the recording early, as a full disk, or what is
    ///     missing in it, as a track of another codec. What was stored until then can be played.
    /// - Throws: `MediaError` if the file exists or cannot be created.
    public init(
        path: String,
        title: String = "",
        onFailure: @escaping @Sendable (MediaError) -> Void = { _ in }
    ) throws(MediaError) {
        self.path = path
        let core = try Core(path: path, title: title, onFailure: onFailure)
        self.core = core
        worker = WorkerThread(name: "recorder", limit: .max) { core.perform($0) }
    }

    deinit {
        worker.stop()
        _ = core.file.withLock { $0.finish() }
    }

    /// Whether frames are stored.
    public var state: State { core.intake.withLock { $0.isStopped ? .inactive : .recording } }

    /// Records what a receiver receives from now on; pictures from the next key frame on, which is asked for.
    ///
    /// - Throws: `MediaError` if the recorder is stopped or the file has no room for one more track.
    public func record(_ receiver: RTCRtpReceiver) throws(MediaError) {
        let isVideo = receiver.track.kind == .video
        guard state == .recording else { throw MediaError(.invalidArgument, path, "the recording has ended") }
        let key = try core.file.withLock { file throws(MediaError) in try file.addTrack(isVideo: isVideo) }
        core.intake.withLock { intake in
            intake.receivers[key] = receiver
            if isVideo { intake.needsKeyFrame.insert(key) }
        }
        let subscription = receiver.addEncodedFrameTaker { [weak self] frame in self?.take(frame, track: key) }
        core.intake.withLock { $0.subscriptions.append(subscription) }
        if isVideo { receiver.requestKeyFrame() }
    }

    /// Ends the recording and completes the file; one without a frame is removed.
    ///
    /// - Returns: what was recorded; the same again if called again.
    @discardableResult
    public func stop() async -> Summary {
        let subscriptions = core.intake.withLock { intake in
            defer { intake.subscriptions = [] }
            intake.isStopped = true
            return intake.subscriptions
        }
        for subscription in subscriptions { subscription.cancel() }
        await withCheckedContinuation { continuation in
            // All frames before this job are written first.
            worker.submit(.finish(continuation))
        }
        let dropped = core.intake.withLock { $0.droppedFrameCount }
        return core.file.withLock { $0.summary(droppedFrameCount: dropped) }
    }

    /// On the event loop.
    private func take(_ frame: RTCEncodedFrame, track: Int) {
        let cost = frame.payload.count + Self.frameOverhead
        let receiver: RTCRtpReceiver? = core.intake.withLock { intake in
            guard !intake.isStopped else { return nil }
            if intake.needsKeyFrame.contains(track) {
                guard frame.isKeyFrame else { return intake.receivers[track] }
                intake.needsKeyFrame.remove(track)
            }
            guard intake.waitingByteCount + cost <= Self.queueByteLimit else {
                intake.droppedFrameCount += 1
                guard frame.codecName == "VP8" else { return nil }
                intake.needsKeyFrame.insert(track)
                return intake.receivers[track]
            }
            intake.waitingByteCount += cost
            // Inside the lock: frames keep their order, and none comes behind the end.
            worker.submit(.frame(track, frame))
            return nil
        }
        receiver?.requestKeyFrame()
    }
}
