internal import CLinux
internal import CV4L2
internal import Glibc
internal import Media

/// A device that is set up to stream: its settled format and its buffers, which the driver writes and we map.
///
/// Belongs to one thread at a time.
@safe final class V4L2Stream {
    let device: V4L2Device
    let layout: CameraPictureLayout
    /// The rate that the driver has settled on; nil if it does not say.
    let interval: FrameInterval?
    private var buffers: [UnsafeMutableRawBufferPointer] = unsafe []
    private var isStreaming = false
    private var lastTimestamp: Int64 = 0

    /// Buffers in turn: one being written, one waiting, two in hand.
    private static let bufferCount: UInt32 = 4
    /// The most a driver may give us.
    private static let bufferLimit = 32
    /// The longest buffer that is mapped: 8192x8192 in YUYV.
    private static let byteLimit = 128 << 20

    /// Sets the format and the rate, asks for buffers and maps them.
    ///
    /// - Throws: `MediaError`: `.busy` if another program streams, `.notUsable` if the driver refuses.
    init(_ device: V4L2Device, mode: CameraMode, interval: FrameInterval?) throws(MediaError) {
        self.device = device
        layout = try Self.setFormat(device, mode)
        self.interval = Self.setInterval(device, interval)
        try map()
    }

    deinit {
        stop()
        unsafe buffers.forEach { buffer in _ = unsafe munmap(buffer.baseAddress, buffer.count) }
        var request = v4l2_requestbuffers()
        request.type = V4L2_BUF_TYPE_VIDEO_CAPTURE.rawValue
        request.memory = V4L2_MEMORY_MMAP.rawValue
        _ = device.request(cv4l2_VIDIOC_REQBUFS, &request)
    }

    private static func setFormat(_ device: V4L2Device, _ mode: CameraMode) throws(MediaError) -> CameraPictureLayout {
        var wanted = unsafe v4l2_format()
        unsafe wanted.type = V4L2_BUF_TYPE_VIDEO_CAPTURE.rawValue
        unsafe wanted.fmt.pix.width = UInt32(mode.width)
        unsafe wanted.fmt.pix.height = UInt32(mode.height)
        unsafe wanted.fmt.pix.pixelformat = mode.format.fourCC
        unsafe wanted.fmt.pix.field = V4L2_FIELD_NONE.rawValue
        let code = unsafe device.request(cv4l2_VIDIOC_S_FMT, &wanted)
        guard code == 0 else {
            throw device.error(code, "the camera refuses \(mode.format) at \(mode.width)x\(mode.height)")
        }
        // The driver has put in what it can do instead, if it is something else.
        let settled = unsafe wanted.fmt.pix
        guard let format = CameraPixelFormat(fourCC: settled.pixelformat) else {
            throw MediaError(.notUsable, device.path, "the camera has no picture format that can be read")
        }
        // Whole pictures only: a call has no use for the two fields of television.
        guard settled.field == V4L2_FIELD_NONE.rawValue || settled.field == V4L2_FIELD_ANY.rawValue else {
            throw MediaError(.notUsable, device.path, "the camera gives interlaced pictures, which are not supported")
        }
        let isFullRange =
            settled.quantization == V4L2_QUANTIZATION_FULL_RANGE.rawValue
            || settled.quantization == V4L2_QUANTIZATION_DEFAULT.rawValue
                && (format == .mjpeg || settled.colorspace == V4L2_COLORSPACE_JPEG.rawValue)
        return try CameraPictureLayout(
            format: format,
            width: Int(settled.width),
            height: Int(settled.height),
            bytesPerRow: Int(settled.bytesperline),
            isFullRange: isFullRange,
            subject: device.path
        )
    }

    private static func setInterval(_ device: V4L2Device, _ interval: FrameInterval?) -> FrameInterval? {
        guard let interval else { return nil }
        var parameters = v4l2_streamparm()
        parameters.type = V4L2_BUF_TYPE_VIDEO_CAPTURE.rawValue
        unsafe parameters.parm.capture.timeperframe.numerator = interval.numerator
        unsafe parameters.parm.capture.timeperframe.denominator = interval.denominator
        // A camera with one rate only need not know this request.
        guard device.request(cv4l2_VIDIOC_S_PARM, &parameters) == 0 else { return nil }
        let settled = unsafe parameters.parm.capture.timeperframe
        return FrameInterval(numerator: settled.numerator, denominator: settled.denominator)
    }

    private func map() throws(MediaError) {
        var request = v4l2_requestbuffers()
        request.count = Self.bufferCount
        request.type = V4L2_BUF_TYPE_VIDEO_CAPTURE.rawValue
        request.memory = V4L2_MEMORY_MMAP.rawValue
        let code = device.request(cv4l2_VIDIOC_REQBUFS, &request)
        guard code == 0 else { throw device.error(code, "the camera gives no buffers") }
        guard (2...Self.bufferLimit).contains(Int(request.count)) else {
            throw MediaError(.notUsable, device.path, "the camera gives \(request.count) buffers")
        }
        for index in 0..<request.count {
            var buffer = unsafe Self.buffer(index)
            let code = unsafe device.request(cv4l2_VIDIOC_QUERYBUF, &buffer)
            guard code == 0 else { throw device.error(code, "buffer \(index) cannot be found") }
            let length = unsafe Int(buffer.length)
            guard (1...Self.byteLimit).contains(length), length >= layout.byteCount else {
                throw MediaError(
                    .notUsable,
                    device.path,
                    "a buffer of \(length) bytes for pictures of \(layout.width)x\(layout.height) in \(layout.format)"
                )
            }
            let address = unsafe mmap(
                nil,
                length,
                PROT_READ | PROT_WRITE,
                MAP_SHARED,
                device.descriptor,
                off_t(buffer.m.offset)
            )
            guard let address = unsafe address, unsafe address != MAP_FAILED else {
                throw device.error(errno, "buffer \(index) cannot be mapped")
            }
            unsafe buffers.append(UnsafeMutableRawBufferPointer(start: address, count: length))
        }
    }

    private static func buffer(_ index: UInt32) -> v4l2_buffer {
        var buffer = unsafe v4l2_buffer()
        unsafe buffer.index = index
        unsafe buffer.type = V4L2_BUF_TYPE_VIDEO_CAPTURE.rawValue
        unsafe buffer.memory = V4L2_MEMORY_MMAP.rawValue
        return unsafe buffer
    }

    /// Hands all buffers to the driver and starts the pictures.
    func start() throws(MediaError) {
        for index in unsafe 0..<UInt32(buffers.count) { try give(index) }
        var type = V4L2_BUF_TYPE_VIDEO_CAPTURE.rawValue
        let code = device.request(cv4l2_VIDIOC_STREAMON, &type)
        // A USB bus that has not enough bandwidth left says ENOSPC.
        guard code != ENOSPC else {
            throw MediaError(
                .notUsable,
                device.path,
                "the USB bus has no bandwidth left: unplug another camera, or ask for a smaller picture"
            )
        }
        guard code == 0 else { throw device.error(code, "the camera does not start") }
        isStreaming = true
    }

    private func stop() {
        guard isStreaming else { return }
        isStreaming = false
        var type = V4L2_BUF_TYPE_VIDEO_CAPTURE.rawValue
        _ = device.request(cv4l2_VIDIOC_STREAMOFF, &type)
    }

    private func give(_ index: UInt32) throws(MediaError) {
        var buffer = unsafe Self.buffer(index)
        let code = unsafe device.request(cv4l2_VIDIOC_QBUF, &buffer)
        guard code == 0 else { throw device.error(code, "the camera does not take a buffer") }
    }

    /// What came out of a look at the driver's queue.
    enum Outcome {
        /// A picture.
        case frame(VideoFrame, sequence: UInt32)
        /// A picture that is broken; there may be more.
        case damaged
        /// Nothing is there yet.
        case empty
    }

    /// Takes a picture, if one is there, and gives the buffer back.
    ///
    /// - Throws: `MediaError`: `.unplugged` if the camera is gone.
    func next(pool: VideoFramePool) throws(MediaError) -> Outcome {
        var buffer = unsafe Self.buffer(0)
        let code = unsafe device.request(cv4l2_VIDIOC_DQBUF, &buffer)
        switch code {
        case 0: break
        case EAGAIN: return .empty
        // "Temporary problems like signal loss" (the manual page of VIDIOC_DQBUF); the buffer stays with the driver.
        case EIO: return .damaged
        default:
            // While a camera is being taken away drivers say several things here.
            throw device.isUnplugged ? device.error(ENODEV, "") : device.error(code, "the camera gives no picture")
        }
        let index = unsafe Int(buffer.index)
        guard unsafe index < buffers.count else {
            throw MediaError(.notUsable, device.path, "the driver gives buffer \(index), which does not exist")
        }
        let mapped = unsafe buffers[index]
        let count = unsafe min(Int(buffer.bytesused), mapped.count)
        let timestamp = unsafe self.timestamp(of: buffer)
        let sequence = unsafe buffer.sequence
        var frame: VideoFrame?
        if unsafe buffer.flags & UInt32(V4L2_BUF_FLAG_ERROR) == 0 {
            let bytes = unsafe UnsafeRawBufferPointer(rebasing: mapped[..<count])
            // A broken picture is skipped and counted by the caller.
            frame = unsafe try? layout.frame(bytes, timestampNanoseconds: timestamp, pool: pool, subject: device.path)
        }
        try give(UInt32(index))
        guard let frame else { return .damaged }
        return .frame(frame, sequence: sequence)
    }

    /// The driver's time if it is of the monotonic clock and believable, else now; later than the one before.
    private func timestamp(of buffer: v4l2_buffer) -> Int64 {
        let now = ScheduledThread.now()
        var timestamp = now
        let kind = unsafe buffer.flags & UInt32(V4L2_BUF_FLAG_TIMESTAMP_MASK)
        if kind == UInt32(V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC) {
            let (seconds, micros) = unsafe (Int64(buffer.timestamp.tv_sec), Int64(buffer.timestamp.tv_usec))
            if (0...(now / 1_000_000_000 + 1)).contains(seconds), (0..<1_000_000).contains(micros) {
                let driver = seconds * 1_000_000_000 + micros * 1_000
                if ((now - Self.oldest)...now).contains(driver) { timestamp = driver }
            }
        }
        lastTimestamp = max(timestamp, lastTimestamp + 1)
        return lastTimestamp
    }

    /// A picture cannot have waited longer than this, in nanoseconds.
    private static let oldest: Int64 = 5_000_000_000
}
