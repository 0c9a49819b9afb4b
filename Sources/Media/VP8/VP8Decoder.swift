internal import CVPX
internal import CYUV

/// Decodes VP8, by libvpx.
///
/// The bitstream may be hostile. Belongs to one thread at a time.
@safe public final class VP8Decoder {
    private var context = unsafe vpx_codec_ctx_t()
    private var isOpen = false
    private let pool = VideoFramePool()

    /// Longest frame that is accepted, in bytes.
    public static let byteLimit = 8 << 20
    /// Most pixels of a picture: ten bytes may ask for 16 383 × 16 383, which takes a gigabyte.
    public static let pixelLimit = 4_096 * 2_304

    /// A decoder that waits for a key frame.
    public init() throws(MediaError) {
        var configuration = vpx_codec_dec_cfg_t(threads: 1, w: 0, h: 0)
        try check(unsafe cvpx_vpx_codec_dec_init(&context, vpx_codec_vp8_dx(), &configuration, 0), "cannot start")
        isOpen = true
    }

    deinit { if isOpen { _ = unsafe vpx_codec_destroy(&context) } }

    /// Decodes one frame.
    ///
    /// - Parameters:
    ///   - payload: the bitstream (RFC 6386).
    ///   - timestampNanoseconds: the picture's time.
    /// - Returns: nil if the frame shows nothing.
    /// - Throws: `MediaError.malformed` for a broken bitstream or before the first key frame; a key frame is needed.
    public func decode(_ payload: [UInt8], timestampNanoseconds: Int64) throws(MediaError) -> VideoFrame? {
        guard !payload.isEmpty, payload.count <= Self.byteLimit else {
            throw MediaError(.malformed, "VP8 decoder", "a frame of \(payload.count) bytes")
        }
        // The size is in the head of a key frame (RFC 6386 §9.1).
        if payload[0] & 1 == 0, payload.count >= 10 {
            let width = (Int(payload[6]) | Int(payload[7]) << 8) & 0x3FFF
            let height = (Int(payload[8]) | Int(payload[9]) << 8) & 0x3FFF
            guard width * height <= Self.pixelLimit else {
                throw MediaError(.malformed, "VP8 decoder", "a picture of \(width)x\(height) is too large")
            }
        }
        try check(unsafe vpx_codec_decode(&context, payload, UInt32(payload.count), nil, 0), "cannot decode")
        var iterator: vpx_codec_iter_t?
        guard let image = unsafe vpx_codec_get_frame(&context, &iterator) else { return nil }
        let width = unsafe Int(image.pointee.d_w)
        let height = unsafe Int(image.pointee.d_h)
        return try VideoFrame(width: width, height: height, timestampNanoseconds: timestampNanoseconds, pool: pool) {
            planes throws(MediaError) in
            let (y, u, v, _) = unsafe image.pointee.planes
            let (strideY, strideU, strideV, _) = unsafe image.pointee.stride
            guard let y = unsafe y, let u = unsafe u, let v = unsafe v else {
                throw MediaError(.codec, "VP8 decoder", "a picture without planes")
            }
            _ = unsafe I420Copy(
                y,
                strideY,
                u,
                strideU,
                v,
                strideV,
                planes.y,
                Int32(planes.strideY),
                planes.u,
                Int32(planes.strideUV),
                planes.v,
                Int32(planes.strideUV),
                Int32(width),
                Int32(height)
            )
        }
    }

    private func check(_ status: vpx_codec_err_t, _ what: String) throws(MediaError) {
        guard status != VPX_CODEC_OK else { return }
        throw MediaError(
            .malformed,
            "VP8 decoder",
            unsafe "\(what): \(String(cString: vpx_codec_err_to_string(status)))"
        )
    }
}
