internal import CVPX

/// A picture as VP8 bytes.
public struct EncodedPicture: Sendable {
    /// The bitstream (RFC 6386).
    public var payload: [UInt8]
    /// Whether decoding can start here.
    public var isKeyFrame: Bool
}

/// Encodes pictures to VP8 in real time, by libvpx.
///
/// Belongs to one thread at a time.
@safe public final class VP8Encoder {
    private var context = unsafe vpx_codec_ctx_t()
    private var configuration = unsafe vpx_codec_enc_cfg_t()
    private var isOpen = false
    private var lastTimestamp: Int64 = -1
    private var mustMakeKeyFrame = false
    private let framesPerSecond: Int

    /// Bits a second that are asked for, 30 000 to 50 000 000.
    public private(set) var bitRate: Int
    /// Width of the last picture in pixels.
    public private(set) var width = 0
    /// Height of the last picture in pixels.
    public private(set) var height = 0

    /// An encoder whose size is that of the pictures it gets.
    public init(bitRate: Int = 800_000, framesPerSecond: Int = 30) {
        self.bitRate = min(max(bitRate, 30_000), 50_000_000)
        self.framesPerSecond = min(max(framesPerSecond, 1), 240)
    }

    deinit { close() }

    /// Changes the bits a second from the next picture on.
    public func setBitRate(_ bitsPerSecond: Int) throws(MediaError) {
        bitRate = min(max(bitsPerSecond, 30_000), 50_000_000)
        guard isOpen else { return }
        unsafe configuration.rc_target_bitrate = UInt32(bitRate / 1_000)
        try check(unsafe vpx_codec_enc_config_set(&context, &configuration), "cannot change the bit rate")
    }

    /// Makes the next picture a key frame.
    public func requestKeyFrame() { mustMakeKeyFrame = true }

    /// Encodes one picture.
    ///
    /// - Returns: nil if the rate control dropped the picture.
    /// - Throws: `MediaError.codec` with libvpx's words.
    public func encode(_ frame: VideoFrame) throws(MediaError) -> EncodedPicture? {
        if !isOpen || frame.width != width || frame.height != height {
            try open(width: frame.width, height: frame.height)
        }
        // libvpx wants rising times, in microseconds here.
        let timestamp = max(frame.timestampNanoseconds / 1_000, lastTimestamp + 1)
        lastTimestamp = timestamp
        let flags = mustMakeKeyFrame ? vpx_enc_frame_flags_t(VPX_EFLAG_FORCE_KF) : 0
        mustMakeKeyFrame = false
        let status = frame.withPlanes { planes in
            var image = unsafe vpx_image_t()
            unsafe vpx_img_wrap(&image, VPX_IMG_FMT_I420, UInt32(frame.width), UInt32(frame.height), 1, planes.y)
            unsafe image.planes = (planes.y, planes.u, planes.v, nil)
            unsafe image.stride = (Int32(planes.strideY), Int32(planes.strideUV), Int32(planes.strideUV), 0)
            return unsafe vpx_codec_encode(
                &context,
                &image,
                timestamp,
                UInt(1_000_000 / framesPerSecond),
                flags,
                UInt(VPX_DL_REALTIME)
            )
        }
        try check(status, "cannot encode")
        var iterator: vpx_codec_iter_t?
        var picture: EncodedPicture?
        while let packet = unsafe vpx_codec_get_cx_data(&context, &iterator) {
            guard unsafe packet.pointee.kind == VPX_CODEC_CX_FRAME_PKT, let bytes = unsafe packet.pointee.data.frame.buf
            else { continue }
            let buffer = unsafe UnsafeRawBufferPointer(start: bytes, count: packet.pointee.data.frame.sz)
            picture = unsafe EncodedPicture(
                payload: Array(buffer),
                isKeyFrame: packet.pointee.data.frame.flags & UInt32(VPX_FRAME_IS_KEY) != 0
            )
        }
        return picture
    }

    /// How many threads encode pictures of a size.
    ///
    /// libvpx's threads wait for each other by spinning: where another program has a processor, a second thread makes it several
    /// times slower, not faster. One is enough for 1280x720, and for all that two processors can do.
    static func threadCount(width: Int, height: Int, processorCount: Int) -> Int {
        width * height > 1280 * 720 && processorCount > 2 ? 2 : 1
    }

    private func open(width: Int, height: Int) throws(MediaError) {
        close()
        try check(unsafe vpx_codec_enc_config_default(vpx_codec_vp8_cx(), &configuration, 0), "no configuration")
        unsafe configuration.g_w = UInt32(width)
        unsafe configuration.g_h = UInt32(height)
        unsafe configuration.g_timebase = vpx_rational(num: 1, den: 1_000_000)
        unsafe configuration.g_threads = UInt32(
            Self.threadCount(width: width, height: height, processorCount: Processors.count)
        )
        unsafe configuration.g_lag_in_frames = 0
        unsafe configuration.g_error_resilient = 0
        unsafe configuration.rc_end_usage = VPX_CBR
        unsafe configuration.rc_target_bitrate = UInt32(bitRate / 1_000)
        unsafe configuration.rc_min_quantizer = 2
        unsafe configuration.rc_max_quantizer = 56
        unsafe configuration.rc_undershoot_pct = 100
        unsafe configuration.rc_overshoot_pct = 15
        unsafe configuration.rc_buf_initial_sz = 500
        unsafe configuration.rc_buf_optimal_sz = 600
        unsafe configuration.rc_buf_sz = 1_000
        unsafe configuration.rc_dropframe_thresh = 0
        unsafe configuration.kf_mode = VPX_KF_AUTO
        unsafe configuration.kf_max_dist = 3_000
        try check(
            unsafe cvpx_vpx_codec_enc_init(&context, vpx_codec_vp8_cx(), &configuration, 0),
            "cannot start at \(width)x\(height)"
        )
        isOpen = true
        self.width = width
        self.height = height
        lastTimestamp = -1
        // Real-time settings: speed, no filter for film grain, a key frame at most half a second's bits.
        set(VP8E_SET_CPUUSED, -6)
        set(VP8E_SET_STATIC_THRESHOLD, 1)
        set(VP8E_SET_NOISE_SENSITIVITY, 0)
        set(VP8E_SET_TOKEN_PARTITIONS, 0)
        set(VP8E_SET_MAX_INTRA_BITRATE_PCT, 450)
    }

    private func set(_ control: vp8e_enc_control_id, _ value: Int32) {
        _ = unsafe cvpx_vpx_codec_control_int(&context, Int32(control.rawValue), value)
    }

    private func close() {
        guard isOpen else { return }
        isOpen = false
        _ = unsafe vpx_codec_destroy(&context)
    }

    private func check(_ status: vpx_codec_err_t, _ what: String) throws(MediaError) {
        guard status != VPX_CODEC_OK else { return }
        throw MediaError(.codec, "VP8 encoder", unsafe "\(what): \(String(cString: vpx_codec_err_to_string(status)))")
    }
}
