internal import Capture
internal import Containers
internal import Glibc
internal import Media

/// The file of a recording: frames in, order by time, WebM out.
///
/// Belongs to one thread at a time.
struct RecordingFile: ~Copyable {
    let path: String
    private var output: RecordingOutput?
    private var muxer: WebMMuxer
    private var interleaver = FrameInterleaver()
    private var isVideo: [Int: Bool] = [:]
    private var nextKey = 0
    /// The file's numbers of tracks that have a frame.
    private var numbers: [Int: Int] = [:]
    private var videoFrameCount = 0
    private var audioFrameCount = 0
    private var end: Int64 = 0
    private var error: MediaError?
    private var byteCount = 0

    init(path: String, title: String) throws(MediaError) {
        self.path = path
        output = try RecordingOutput(path: path)
        muxer = WebMMuxer(title: title, application: "PeerConnection")
    }

    /// - Returns: the key of a new track.
    mutating func addTrack(isVideo: Bool) throws(MediaError) -> Int {
        guard nextKey < WebMMuxer.trackLimit else {
            throw MediaError(.invalidArgument, path, "a recording holds \(WebMMuxer.trackLimit) tracks at most")
        }
        let key = nextKey
        nextKey += 1
        self.isVideo[key] = isVideo
        interleaver.addTrack(key, isSound: !isVideo)
        return key
    }

    /// Whether nothing is stored any more.
    var isOver: Bool { output == nil }

    /// Takes in a frame and writes what need not wait.
    ///
    /// - Returns: what went wrong just now: it ended the recording if ``isOver``, else a track is missing.
    mutating func add(_ frame: RTCEncodedFrame, track: Int) -> MediaError? {
        guard output != nil else { return nil }
        guard frame.codecName == "VP8" || frame.codecName == "opus" else {
            guard isVideo.removeValue(forKey: track) != nil else { return nil }
            // The others are recorded without it.
            interleaver.removeTrack(track)
            return MediaError(
                .notUsable,
                path,
                "\(frame.codecName) is not recorded: WebM holds VP8 and Opus; the rest is recorded"
            )
        }
        interleaver.add(
            frame.payload,
            isKeyFrame: frame.isKeyFrame,
            stamp: RecordingClock.Stamp(
                ssrc: frame.ssrc,
                rtpTimestamp: frame.rtpTimestamp,
                clockRate: frame.clockRate,
                arrival: frame.firstPacketTimeNanoseconds,
                senderClock: frame.senderClock
            ),
            track: track
        )
        return write(until: frame.receiveTimeNanoseconds)
    }

    /// Writes all that waits, completes the file and closes it.
    @discardableResult
    mutating func finish() -> MediaError? {
        guard output != nil else { return nil }
        if let failure = write(until: nil) { return failure }
        muxer.finish()
        let failure = flush()
        close()
        return failure
    }

    func summary(droppedFrameCount: Int) -> MediaRecorder.Summary {
        MediaRecorder.Summary(
            path: path,
            byteCount: byteCount,
            videoFrameCount: videoFrameCount,
            audioFrameCount: audioFrameCount,
            droppedFrameCount: droppedFrameCount,
            duration: .nanoseconds(end),
            error: error
        )
    }

    private mutating func write(until now: Int64?) -> MediaError? {
        while let frame = interleaver.next(at: now) {
            do {
                let number = try number(of: frame)
                try muxer.write(
                    frame.payload,
                    track: number,
                    nanoseconds: frame.nanoseconds,
                    isKeyFrame: frame.isKeyFrame
                )
            } catch {
                // Tracks are counted when they are added; a frame of 16 MiB is none.
                return fail(MediaError(.malformed, path, "a frame cannot be stored: \(error)"))
            }
            if let failure = flush() { return failure }
            end = max(end, frame.nanoseconds)
            if isVideo[frame.track] == true { videoFrameCount += 1 } else { audioFrameCount += 1 }
        }
        return nil
    }

    private mutating func number(of frame: FrameInterleaver.Placed) throws(WebMMuxer.Failure) -> Int {
        if let number = numbers[frame.track] { return number }
        let codec: ContainerCodec
        if isVideo[frame.track] == true {
            let size = VP8Size(keyFrame: frame.payload)
            codec = .vp8(width: size?.width ?? 640, height: size?.height ?? 360)
        } else {
            // Opus over RTP is always announced as stereo, and may change from packet to packet. RFC 7587 §7
            codec = .opus(channelCount: 2)
        }
        let number = try muxer.addTrack(codec)
        numbers[frame.track] = number
        return number
    }

    private mutating func flush() -> MediaError? {
        // Nothing stands on the disk before there is a frame.
        guard !numbers.isEmpty else { return nil }
        do throws(MediaError) {
            try output?.apply(muxer.takeChanges())
            byteCount = output?.byteCount ?? byteCount
            return nil
        } catch {
            return fail(error)
        }
    }

    private mutating func fail(_ failure: MediaError) -> MediaError {
        error = failure
        byteCount = output?.byteCount ?? byteCount
        // Sizes and duration need no room of their own; where they cannot be written the file plays without.
        muxer.breakOff(at: byteCount)
        do throws(MediaError) { try output?.apply(muxer.takeChanges()) } catch {}
        close()
        return failure
    }

    private mutating func close() {
        output?.close(isKept: byteCount > 0)
        output = nil
    }
}

/// Writes to a file, so that it is whole after each call.
@safe private final class RecordingOutput {
    private let path: String
    private var descriptor: CInt
    private(set) var byteCount = 0

    init(path: String) throws(MediaError) {
        self.path = path
        descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            guard errno == EEXIST else { throw Self.error(path, "cannot be created") }
            throw MediaError(.notUsable, path, "exists already: choose another name, recordings replace nothing")
        }
    }

    deinit { if descriptor >= 0 { Glibc.close(descriptor) } }

    /// Makes the changes in their order; on an error the file is cut to what is whole.
    func apply(_ changes: [FileChange]) throws(MediaError) {
        for change in changes {
            switch change {
            case .replace(let offset, let bytes): try write(bytes, at: offset)
            case .append(let bytes):
                do throws(MediaError) {
                    try write(bytes, at: byteCount)
                } catch {
                    _ = ftruncate(descriptor, byteCount)
                    throw error
                }
                byteCount += bytes.count
            }
        }
    }

    func close(isKept: Bool) {
        guard descriptor >= 0 else { return }
        Glibc.close(descriptor)
        descriptor = -1
        if !isKept { _ = unsafe unlink(path) }
    }

    private func write(_ bytes: [UInt8], at offset: Int) throws(MediaError) {
        var done = 0
        while done < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                unsafe pwrite(descriptor, buffer.baseAddress?.advanced(by: done), buffer.count - done, offset + done)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Self.error(path, "cannot be written any more") }
            done += count
        }
    }

    private static func error(_ path: String, _ what: String) -> MediaError {
        let number = errno
        let kind: MediaError.Kind =
            switch number {
            case ENOSPC, EDQUOT, EFBIG: .noSpace
            case EACCES, EPERM, EROFS: .notPermitted
            case ENOENT: .notFound
            default: .notUsable
            }
        return MediaError(kind, path, unsafe "\(what): \(String(cString: strerror(number)))")
    }
}

/// The size in the head of a VP8 key frame. RFC 6386 §9.1
struct VP8Size: Hashable, Sendable {
    var width: Int
    var height: Int

    init?(keyFrame payload: [UInt8]) {
        guard payload.count >= 10, payload[0] & 1 == 0, Array(payload[3..<6]) == [0x9D, 0x01, 0x2A] else { return nil }
        width = (Int(payload[6]) | Int(payload[7]) << 8) & 0x3FFF
        height = (Int(payload[8]) | Int(payload[9]) << 8) & 0x3FFF
    }
}
