internal import CV4L2
internal import H264
public import Media

extension VideoCodec {
    /// V4L2's code of a stream whose buffers hold a whole picture each, in the byte stream format.
    var fourCC: UInt32 {
        switch self {
        case .vp8: cv4l2_V4L2_PIX_FMT_VP8
        case .h264: cv4l2_V4L2_PIX_FMT_H264
        }
    }

    /// The codec of a V4L2 code; nil for one that is not sent.
    init?(fourCC: UInt32) {
        guard let codec = Self.allCases.first(where: { $0.fourCC == fourCC }) else { return nil }
        self = codec
    }
}

/// One thing that a camera's own encoder can do: a codec, a size, and the rates it has there.
public struct CameraEncodedMode: Hashable, Sendable {
    /// What it encodes in.
    public var codec: VideoCodec
    /// Width in pixels.
    public var width: Int
    /// Height in pixels.
    public var height: Int
    /// The rates; empty if the camera does not tell.
    public var intervals: [FrameInterval]

    /// A mode with its parts.
    public init(codec: VideoCodec, width: Int, height: Int, intervals: [FrameInterval]) {
        self.codec = codec
        self.width = width
        self.height = height
        self.intervals = intervals
    }

    /// The mode of a codec that serves a wish best, nil if there is none; judged as ``CameraMode/best(of:for:)`` does.
    public static func best(
        of modes: [CameraEncodedMode],
        in codec: VideoCodec,
        for wish: CameraWish
    ) -> CameraEncodedMode? {
        modes.filter { $0.codec == codec }.min { $0.shape.penalty(for: wish) < $1.shape.penalty(for: wish) }
    }

    /// The rate to use, as ``CameraMode/interval(for:)``.
    public func interval(for wish: CameraWish) -> FrameInterval? { shape.interval(for: wish) }

    /// Size and rates, as a mode that costs nothing.
    private var shape: CameraMode { CameraMode(format: .i420, width: width, height: height, intervals: intervals) }
}

/// A camera's encoder as a source of pictures gets it: whole, decodable from each key frame on, nothing missing between.
///
/// A machine: buffers and their numbers in, frames out; it knows no device and no time of its own.
package struct EncodedPictures {
    private let mode: CameraEncodedMode
    private var parameterSets = ParameterSets()
    /// What comes is of no use before the next key frame.
    package private(set) var awaitsKeyFrame = true
    private var lastSequence: UInt32?

    /// What became of a buffer.
    package enum Outcome {
        case frame(EncodedVideoFrame)
        /// Nothing to be sent: parameter sets alone, or a picture that needs one that is missing.
        case incomplete
        /// No picture of the codec.
        case damaged
    }

    package init(mode: CameraEncodedMode) { self.mode = mode }

    /// The stream begins anew; its buffers are counted from 0.
    package mutating func restart() {
        awaitsKeyFrame = true
        lastSequence = nil
    }

    /// Takes a buffer's bytes.
    ///
    /// - Parameters:
    ///   - bytes: one picture.
    ///   - sequence: the driver's count of pictures: a gap is a loss.
    ///   - timestampNanoseconds: when it was taken.
    /// - Returns: what is to be done with it.
    package mutating func take(_ bytes: [UInt8], sequence: UInt32, timestampNanoseconds: Int64) -> Outcome {
        if let last = lastSequence, sequence != last &+ 1 { awaitsKeyFrame = true }
        lastSequence = sequence
        let payload: [UInt8]
        let isKeyFrame: Bool
        switch mode.codec {
        case .h264:
            guard !AnnexB.units(in: bytes).isEmpty else {
                awaitsKeyFrame = true
                return .damaged
            }
            guard let picture = parameterSets.complete(bytes) else { return .incomplete }
            (payload, isKeyFrame) = (picture.bytes, picture.isKeyFrame)
        case .vp8:
            guard let isKey = Self.isVP8KeyFrame(bytes) else {
                awaitsKeyFrame = true
                return .damaged
            }
            (payload, isKeyFrame) = (bytes, isKey)
        }
        if isKeyFrame { awaitsKeyFrame = false }
        guard !awaitsKeyFrame else { return .incomplete }
        return .frame(
            EncodedVideoFrame(
                codec: mode.codec,
                payload: payload,
                isKeyFrame: isKeyFrame,
                timestampNanoseconds: timestampNanoseconds,
                width: mode.width,
                height: mode.height
            )
        )
    }

    /// Whether a frame of VP8 is a key frame; nil for what is none. RFC 6386 §9.1
    package static func isVP8KeyFrame(_ bytes: [UInt8]) -> Bool? {
        guard bytes.count > 3 else { return nil }
        guard bytes[0] & 1 == 0 else { return false }
        guard bytes.count >= 10, bytes[3] == 0x9D, bytes[4] == 0x01, bytes[5] == 0x2A else { return nil }
        return true
    }
}
