/// The codecs in which pictures may come from a source that has encoded them already.
public enum VideoCodec: String, CaseIterable, Hashable, Sendable {
    /// VP8, which this library encodes and decodes as well. RFC 6386
    case vp8
    /// H.264, which is sent and received as it is, and neither encoded nor decoded here. ITU-T H.264
    case h264
}

/// A picture as an encoder has made it.
public struct EncodedVideoFrame: Sendable {
    /// What it is encoded in.
    public var codec: VideoCodec
    /// A frame of VP8, or an access unit of H.264 in the byte stream format (Annex B), a key frame with its parameter
    /// sets.
    public var payload: [UInt8]
    /// Whether decoding can begin with it.
    public var isKeyFrame: Bool
    /// When the picture was taken, in nanoseconds of the monotonic clock.
    public var timestampNanoseconds: Int64
    /// Width in pixels; 0 if it is not known.
    public var width: Int
    /// Height in pixels; 0 if it is not known.
    public var height: Int

    /// A frame with its parts.
    public init(
        codec: VideoCodec,
        payload: [UInt8],
        isKeyFrame: Bool,
        timestampNanoseconds: Int64,
        width: Int = 0,
        height: Int = 0
    ) {
        self.codec = codec
        self.payload = payload
        self.isKeyFrame = isKeyFrame
        self.timestampNanoseconds = timestampNanoseconds
        self.width = width
        self.height = height
    }
}

/// Gives pictures that are encoded already: a camera with an encoder, a program's own.
///
/// What it gives is sent as it is where the peer takes its codec. A source that is a ``VideoSource`` as well, as a camera
/// of several formats, is one or the other at a time: it is started as a ``VideoSource`` where somebody needs the
/// pictures themselves.
public protocol EncodedVideoSource: AnyObject, Sendable {
    /// What it calls itself, as a camera's name.
    var label: String { get }
    /// The codecs that it has.
    var codecs: [VideoCodec] { get }
    /// Starts; `deliver` is called with each picture, on a thread of the source's own, the first a key frame.
    ///
    /// - Throws: `MediaError` if it cannot start.
    func startEncoded(_ codec: VideoCodec, deliver: @escaping @Sendable (EncodedVideoFrame) -> Void) throws
    /// Makes the next picture a key frame, as soon as it can: a peer has lost one, or is new.
    func requestKeyFrame()
    /// Whether ``setBitRate(_:)`` has an effect.
    var takesBitRate: Bool { get }
    /// Makes pictures of about so many bits a second from now on, if it can: that is what the path carries.
    func setBitRate(_ bitsPerSecond: Int)
    /// Stops. After it returns no more pictures are delivered.
    func stop()
}
