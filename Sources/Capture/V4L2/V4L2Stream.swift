internal import CLinux
internal import CV4L2
internal import Glibc
internal import Media

/// A device that is set up to stream: its settled format and its buffers, which the driver writes and we map.
///
/// Belongs to one thread at a time.
@safe final class V4L2Stream {
    /// What a buffer holds.
    enum Contents {
        case picture(CameraPictureLayout)
        /// A picture that the camera has encoded.
        case encoded(CameraEncodedMode)

        /// Bytes that a whole picture has at least in each memory of its own.
        var byteCounts: [Int] {
            switch self {
            case .picture(let layout): layout.byteCounts
            case .encoded: [1]
            }
        }

        /// Format and size, for errors.
        var words: String {
            switch self {
            case .picture(let layout): "\(layout.width)x\(layout.height) in \(layout.format)"
            case .encoded(let mode): "\(mode.width)x\(mode.height) in \(mode.codec.rawValue)"
            }
        }
    }

    let device: V4L2Device
    let contents: Contents
    /// The rate that the driver has settled on; nil if it does not say.
    let interval: FrameInterval?
    /// The memory of each buffer: one for a whole picture, or one for each of its planes.
    private var buffers: [[UnsafeMutableRawBufferPointer]] = unsafe []
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
        contents = .picture(try Self.setFormat(device, mode))
        self.interval = Self.setInterval(device, interval)
        try map()
    }

    /// Sets the format of the camera's own encoder and the rate, asks for buffers and maps them.
    ///
    /// - Throws: as ``init(_:mode:interval:)``.
    init(_ device: V4L2Device, encoded mode: CameraEncodedMode, interval: FrameInterval?) throws(MediaError) {
        self.device = device
        let wanted = Wanted(
            name: mode.codec.rawValue,
            fourCC: mode.codec.fourCC,
            width: mode.width,
            height: mode.height
        )
        let settled =
            try device.isMultiPlanar ? Self.setPlanesFormat(device, wanted) : Self.setSingleFormat(device, wanted)
        guard settled.fourCC == mode.codec.fourCC else {
            throw MediaError(.notUsable, device.path, "the camera gives no \(mode.codec.rawValue) now")
        }
        guard settled.bytesPerRow.count == 1 else {
            throw MediaError(.notUsable, device.path, "\(mode.codec.rawValue) in \(settled.bytesPerRow.count) planes")
        }
        var mode = mode
        (mode.width, mode.height) = (Int(settled.width), Int(settled.height))
        contents = .encoded(mode)
        self.interval = Self.setInterval(device, interval)
        try map()
    }

    deinit {
        stop()
        unsafe buffers.joined().forEach { memory in _ = unsafe munmap(memory.baseAddress, memory.count) }
        var request = v4l2_requestbuffers()
        request.type = device.bufferType
        request.memory = V4L2_MEMORY_MMAP.rawValue
        _ = device.request(cv4l2_VIDIOC_REQBUFS, &request)
    }

    private static func setFormat(_ device: V4L2Device, _ mode: CameraMode) throws(MediaError) -> CameraPictureLayout {
        let wanted = Wanted(
            name: "\(mode.format)",
            fourCC: mode.format.fourCC,
            separateFourCC: mode.format.separateFourCC,
            width: mode.width,
            height: mode.height
        )
        let settled = try device.isMultiPlanar ? setPlanesFormat(device, wanted) : setSingleFormat(device, wanted)
        guard let format = CameraPixelFormat(fourCC: settled.fourCC) else {
            throw MediaError(.notUsable, device.path, "the camera has no picture format that can be read")
        }
        // Whole pictures only: a call has no use for the two fields of television.
        guard settled.field == V4L2_FIELD_NONE.rawValue || settled.field == V4L2_FIELD_ANY.rawValue else {
            throw MediaError(.notUsable, device.path, "the camera gives interlaced pictures, which are not supported")
        }
        guard settled.bytesPerRow.count == 1 || settled.bytesPerRow.count == format.planeCount else {
            throw MediaError(.notUsable, device.path, "\(format) in \(settled.bytesPerRow.count) planes")
        }
        let isFullRange =
            settled.quantization == V4L2_QUANTIZATION_FULL_RANGE.rawValue
            || settled.quantization == V4L2_QUANTIZATION_DEFAULT.rawValue
                && (format == .mjpeg || settled.colorspace == V4L2_COLORSPACE_JPEG.rawValue)
        return try CameraPictureLayout(
            format: format,
            width: Int(settled.width),
            height: Int(settled.height),
            bytesPerRow: Int(settled.bytesPerRow.first ?? 0),
            chromaBytesPerRow: settled.bytesPerRow.count > 1 ? Int(settled.bytesPerRow[1]) : nil,
            isFullRange: isFullRange,
            subject: device.path
        )
    }

    /// What a driver is asked for.
    private struct Wanted {
        var name: String
        var fourCC: UInt32
        /// The code for planes in memory of their own, if the format has one.
        var separateFourCC: UInt32?
        var width: Int
        var height: Int
    }

    /// What a driver has put in the place of what was wanted.
    private struct Settled {
        var fourCC: UInt32
        var width: UInt32
        var height: UInt32
        var field: UInt32
        var colorspace: UInt32
        var quantization: UInt32
        /// One number for each memory of a picture.
        var bytesPerRow: [UInt32]
    }

    private static func setSingleFormat(_ device: V4L2Device, _ mode: Wanted) throws(MediaError) -> Settled {
        var wanted = unsafe v4l2_format()
        unsafe wanted.type = V4L2_BUF_TYPE_VIDEO_CAPTURE.rawValue
        unsafe wanted.fmt.pix.width = UInt32(mode.width)
        unsafe wanted.fmt.pix.height = UInt32(mode.height)
        unsafe wanted.fmt.pix.pixelformat = mode.fourCC
        unsafe wanted.fmt.pix.field = V4L2_FIELD_NONE.rawValue
        let code = unsafe device.request(cv4l2_VIDIOC_S_FMT, &wanted)
        guard code == 0 else { throw refusal(device, mode, code) }
        let pixels = unsafe wanted.fmt.pix
        return Settled(
            fourCC: pixels.pixelformat,
            width: pixels.width,
            height: pixels.height,
            field: pixels.field,
            colorspace: pixels.colorspace,
            quantization: pixels.quantization,
            bytesPerRow: [pixels.bytesperline]
        )
    }

    private static func setPlanesFormat(_ device: V4L2Device, _ mode: Wanted) throws(MediaError) -> Settled {
        var answer = cv4l2_planes_format()
        // Planes in memory of their own, or in one: a driver that has not the one has the other.
        for fourCC in [mode.separateFourCC, mode.fourCC].compactMap({ $0 }) {
            answer = cv4l2_planes_format()
            answer.width = UInt32(mode.width)
            answer.height = UInt32(mode.height)
            answer.fourcc = fourCC
            let code = unsafe cv4l2_set_planes_format(device.descriptor, &answer)
            guard code == 0 else { throw refusal(device, mode, code) }
            if answer.fourcc == fourCC { break }
        }
        guard (1...planeLimit).contains(Int(answer.count)) else {
            throw MediaError(.notUsable, device.path, "the camera gives pictures in \(answer.count) planes")
        }
        let rows = unsafe withUnsafeBytes(of: answer.bytes_per_line) { bytes in
            unsafe Array(bytes.bindMemory(to: UInt32.self).prefix(Int(answer.count)))
        }
        return Settled(
            fourCC: answer.fourcc,
            width: answer.width,
            height: answer.height,
            field: answer.field,
            colorspace: answer.colorspace,
            quantization: answer.quantization,
            bytesPerRow: rows
        )
    }

    private static func refusal(_ device: V4L2Device, _ mode: Wanted, _ code: CInt) -> MediaError {
        device.error(code, "the camera refuses \(mode.name) at \(mode.width)x\(mode.height)")
    }

    /// Planes of a picture: Y, U and V.
    private static let planeLimit = 3

    private static func setInterval(_ device: V4L2Device, _ interval: FrameInterval?) -> FrameInterval? {
        guard let interval else { return nil }
        var parameters = v4l2_streamparm()
        parameters.type = device.bufferType
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
        request.type = device.bufferType
        request.memory = V4L2_MEMORY_MMAP.rawValue
        let code = device.request(cv4l2_VIDIOC_REQBUFS, &request)
        guard code == 0 else { throw device.error(code, "the camera gives no buffers") }
        guard (2...Self.bufferLimit).contains(Int(request.count)) else {
            throw MediaError(.notUsable, device.path, "the camera gives \(request.count) buffers")
        }
        for index in 0..<request.count {
            let parts = try memory(of: index)
            guard parts.count == contents.byteCounts.count else {
                throw MediaError(
                    .notUsable,
                    device.path,
                    "a buffer of \(parts.count) planes for pictures of \(contents.words)"
                )
            }
            unsafe buffers.append([])
            for (part, least) in zip(parts, contents.byteCounts) {
                guard (1...Self.byteLimit).contains(part.length), part.length >= least else {
                    throw MediaError(
                        .notUsable,
                        device.path,
                        "a buffer of \(part.length) bytes for pictures of \(contents.words)"
                    )
                }
                let address = unsafe mmap(
                    nil,
                    part.length,
                    PROT_READ | PROT_WRITE,
                    MAP_SHARED,
                    device.descriptor,
                    off_t(part.offset)
                )
                guard let address = unsafe address, unsafe address != MAP_FAILED else {
                    throw device.error(errno, "buffer \(index) cannot be mapped")
                }
                unsafe buffers[Int(index)].append(
                    UnsafeMutableRawBufferPointer(start: address, count: part.length)
                )
            }
        }
    }

    /// Where a buffer's memory is, as the driver tells.
    private func memory(of index: UInt32) throws(MediaError) -> [(offset: UInt32, length: Int)] {
        if device.isMultiPlanar {
            var planes = cv4l2_planes()
            planes.index = index
            let code = unsafe cv4l2_planes_ioctl(device.descriptor, cv4l2_VIDIOC_QUERYBUF, &planes)
            guard code == 0 else { throw device.error(code, "buffer \(index) cannot be found") }
            return each(planes).prefix(Int(planes.count)).map { ($0.memory_offset, Int($0.length)) }
        }
        var buffer = unsafe Self.buffer(index)
        let code = unsafe device.request(cv4l2_VIDIOC_QUERYBUF, &buffer)
        guard code == 0 else { throw device.error(code, "buffer \(index) cannot be found") }
        return unsafe [(buffer.m.offset, Int(buffer.length))]
    }

    /// The first planes, as many as there can be.
    private func each(_ planes: cv4l2_planes) -> [cv4l2_plane] {
        [planes.plane.0, planes.plane.1, planes.plane.2]
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
        var type = device.bufferType
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

    /// Ends the pictures and takes all buffers back, so that ``start()`` begins anew: an encoder then with a key frame.
    func stop() {
        guard isStreaming else { return }
        isStreaming = false
        var type = device.bufferType
        _ = device.request(cv4l2_VIDIOC_STREAMOFF, &type)
    }

    private func give(_ index: UInt32) throws(MediaError) {
        let code: CInt
        if device.isMultiPlanar {
            var planes = cv4l2_planes()
            planes.index = index
            planes.count = UInt32(contents.byteCounts.count)
            code = unsafe cv4l2_planes_ioctl(device.descriptor, cv4l2_VIDIOC_QBUF, &planes)
        } else {
            var buffer = unsafe Self.buffer(index)
            code = unsafe device.request(cv4l2_VIDIOC_QBUF, &buffer)
        }
        guard code == 0 else { throw device.error(code, "the camera does not take a buffer") }
    }

    /// A buffer that the driver has filled.
    private struct Filled {
        var index: Int
        var flags: UInt32
        var sequence: UInt32
        var seconds: Int64
        var microseconds: Int64
        /// Where the picture is in each memory.
        var parts: [(offset: Int, end: Int)]
    }

    /// - Returns: an errno, or 0 and the buffer.
    private func dequeue() -> (code: CInt, filled: Filled?) {
        if device.isMultiPlanar {
            var planes = cv4l2_planes()
            planes.count = UInt32(contents.byteCounts.count)
            let code = unsafe cv4l2_planes_ioctl(device.descriptor, cv4l2_VIDIOC_DQBUF, &planes)
            guard code == 0 else { return (code, nil) }
            let parts = each(planes).prefix(contents.byteCounts.count).map { (Int($0.data_offset), Int($0.bytes_used)) }
            return (
                0,
                Filled(
                    index: Int(planes.index),
                    flags: planes.flags,
                    sequence: planes.sequence,
                    seconds: planes.seconds,
                    microseconds: planes.microseconds,
                    parts: Array(parts)
                )
            )
        }
        var buffer = unsafe Self.buffer(0)
        let code = unsafe device.request(cv4l2_VIDIOC_DQBUF, &buffer)
        guard code == 0 else { return (code, nil) }
        return unsafe (
            0,
            Filled(
                index: Int(buffer.index),
                flags: buffer.flags,
                sequence: buffer.sequence,
                seconds: Int64(buffer.timestamp.tv_sec),
                microseconds: Int64(buffer.timestamp.tv_usec),
                parts: [(0, Int(buffer.bytesused))]
            )
        )
    }

    /// What came out of a look at the driver's queue.
    enum Outcome {
        /// A picture.
        case frame(VideoFrame, sequence: UInt32)
        /// A picture as the camera has encoded it.
        case encoded([UInt8], timestampNanoseconds: Int64, sequence: UInt32)
        /// A picture that is broken; there may be more.
        case damaged
        /// Nothing is there yet.
        case empty
    }

    /// Takes a picture, if one is there, and gives the buffer back.
    ///
    /// - Throws: `MediaError`: `.unplugged` if the camera is gone.
    func next(pool: VideoFramePool) throws(MediaError) -> Outcome {
        let (code, filled) = dequeue()
        switch code {
        case 0: break
        case EAGAIN: return .empty
        // "Temporary problems like signal loss" (the manual page of VIDIOC_DQBUF); the buffer stays with the driver.
        case EIO: return .damaged
        default:
            // While a camera is being taken away drivers say several things here.
            throw device.isUnplugged ? device.error(ENODEV, "") : device.error(code, "the camera gives no picture")
        }
        guard let filled else { return .empty }
        let index = filled.index
        guard index >= 0, unsafe index < buffers.count else {
            throw MediaError(.notUsable, device.path, "the driver gives buffer \(index), which does not exist")
        }
        var outcome = Outcome.damaged
        if filled.flags & UInt32(V4L2_BUF_FLAG_ERROR) == 0 {
            let planes = unsafe zip(buffers[index], filled.parts).map { memory, part in
                let end = min(max(0, part.end), memory.count)
                return unsafe UnsafeRawBufferPointer(rebasing: memory[min(max(0, part.offset), end)..<end])
            }
            outcome = unsafe self.outcome(of: planes, filled, pool: pool)
        }
        try give(UInt32(index))
        return outcome
    }

    private func outcome(of planes: [UnsafeRawBufferPointer], _ filled: Filled, pool: VideoFramePool) -> Outcome {
        switch contents {
        case .picture(let layout):
            // A broken picture is skipped and counted by the caller.
            let frame = unsafe try? layout.frame(
                planes: planes,
                timestampNanoseconds: timestamp(of: filled),
                pool: pool,
                subject: device.path
            )
            return frame.map { .frame($0, sequence: filled.sequence) } ?? .damaged
        case .encoded:
            guard let bytes = unsafe planes.first, unsafe !bytes.isEmpty else { return .damaged }
            return unsafe .encoded(
                Array(bytes),
                timestampNanoseconds: timestamp(of: filled),
                sequence: filled.sequence
            )
        }
    }

    /// The driver's time if it is of the monotonic clock and believable, else now; later than the one before.
    private func timestamp(of filled: Filled) -> Int64 {
        let now = ScheduledThread.now()
        var timestamp = now
        let kind = filled.flags & UInt32(V4L2_BUF_FLAG_TIMESTAMP_MASK)
        if kind == UInt32(V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC) {
            let (seconds, micros) = (filled.seconds, filled.microseconds)
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
