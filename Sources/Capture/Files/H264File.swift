internal import H264
internal import Locking
public import Media

/// Plays a file of H.264 in the byte stream format (Annex B), as cameras and encoders write it: sent as it is.
///
/// Such a file has no times: pictures come at one rate, in the order in which they are stored, so that those of streams
/// with B pictures come in a wrong one. It is held in memory.
public final class H264File: EncodedVideoSource, FailingDevice {
    /// Path of the file.
    public let path: String
    /// The file's path.
    public var label: String { path }
    /// H.264 alone.
    public var codecs: [VideoCodec] { [.h264] }
    /// A file is as large as it is.
    public var takesBitRate: Bool { false }
    /// Whether it begins again at its end.
    public let isLooping: Bool
    /// The file's pictures.
    public let pictureCount: Int
    /// Of these, those with which decoding can begin.
    public let keyFrameCount: Int

    private let bytes: [UInt8]
    private let pictures: [Picture]
    private let intervalNanoseconds: Int64
    private let thread = ThreadSlot()
    private let failures = FailureHandlers()
    private let wantsKeyFrame = Atomic<Bool>(false)

    private struct Picture {
        var range: Range<Int>
        var isKeyFrame: Bool
    }

    /// The largest file that is played.
    public static let byteLimit = 256 << 20

    /// Reads a file and finds its pictures.
    ///
    /// - Throws: `MediaError` if it cannot be read, is too large, or holds no picture with which decoding can begin.
    public init(path: String, framesPerSecond: Int = 30, isLooping: Bool = true) throws(MediaError) {
        self.path = path
        self.isLooping = isLooping
        intervalNanoseconds = 1_000_000_000 / Int64(min(max(framesPerSecond, 1), 240))
        let file = try FileBytes(path, mode: "r")
        guard file.byteCount <= Self.byteLimit else {
            throw MediaError(.notUsable, path, "is larger than \(Self.byteLimit >> 20) MiB: cut it")
        }
        bytes = file.read(file.byteCount)
        pictures = AccessUnits.ranges(in: bytes).map { Picture(range: $0.range, isKeyFrame: $0.isKeyFrame) }
        pictureCount = pictures.count
        keyFrameCount = pictures.count { $0.isKeyFrame }
        guard keyFrameCount > 0 else {
            throw MediaError(
                .malformed,
                path,
                "holds no H.264 with parameter sets as a byte stream: make it by ffmpeg -i FILE -c:v libx264 -bf 0 out.h264"
            )
        }
    }

    /// Whether a file begins as a stream of H.264 does: with a start code.
    public static func isOne(_ path: String) -> Bool {
        guard let file = try? FileBytes(path, mode: "r") else { return false }
        let magic = file.read(4)
        return magic.starts(with: [0, 0, 1]) || magic == [0, 0, 0, 1]
    }

    /// Calls `handler` when the file is over.
    public func addFailureHandler(_ handler: @escaping @Sendable (MediaError) -> Void) { failures.add(handler) }

    /// Starts at the beginning.
    public func startEncoded(
        _ codec: VideoCodec,
        deliver: @escaping @Sendable (EncodedVideoFrame) -> Void
    ) throws {
        guard codec == .h264 else { throw MediaError(.notUsable, path, "holds H.264, not \(codec.rawValue)") }
        // Used by the source's thread alone once it is started.
        nonisolated(unsafe) let playing = Playing()
        let new = try TimedThread(name: "video file", subject: path) { [self] in
            unsafe next(playing)
        } act: { [self] now in
            let picture = unsafe pictures[playing.index]
            unsafe playing.index += 1
            deliver(
                EncodedVideoFrame(
                    codec: .h264,
                    payload: Array(bytes[picture.range]),
                    isKeyFrame: picture.isKeyFrame,
                    timestampNanoseconds: now
                )
            )
        }
        thread.replace(with: new)
    }

    /// Where a playing of the file is.
    private final class Playing {
        var index = 0
        var count: Int64 = 0
    }

    /// Finds the next picture.
    ///
    /// - Returns: when it is due, in nanoseconds from the beginning; nil at the end.
    private func next(_ playing: Playing) -> Int64? {
        if playing.count == 0 || wantsKeyFrame.exchange(false, ordering: .relaxed) {
            let key = nextKeyFrame(from: playing.index)
            // A file that is played once must not end for a peer's wish.
            if key < pictures.count || isLooping { playing.index = key }
        }
        if playing.index >= pictures.count {
            guard isLooping else {
                failures.tell(MediaError(.finished, path, "has been played to its end"))
                return nil
            }
            playing.index = nextKeyFrame(from: 0)
        }
        defer { playing.count += 1 }
        return playing.count * intervalNanoseconds
    }

    /// Goes on with the file's next key frame.
    public func requestKeyFrame() { wantsKeyFrame.store(true, ordering: .relaxed) }

    /// Does nothing: a file is as large as it is.
    public func setBitRate(_ bitsPerSecond: Int) {}

    /// Stops.
    public func stop() { thread.stop() }

    /// The first key frame that is not before a picture; behind the last one the end.
    private func nextKeyFrame(from index: Int) -> Int {
        guard index < pictures.count else { return pictures.count }
        return pictures[index...].firstIndex { $0.isKeyFrame } ?? pictures.count
    }
}
