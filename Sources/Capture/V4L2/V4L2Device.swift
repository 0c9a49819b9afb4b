internal import CV4L2
internal import Glibc
internal import Media

/// An open V4L2 node: the owner of its descriptor.
final class V4L2Device: Sendable {
    let path: String
    let descriptor: CInt
    /// What the driver calls the device.
    let name: String
    /// Where it sits, as `usb-0000:00:14.0-1`.
    let bus: String
    /// Whether it gives each plane of a picture in memory of its own.
    let isMultiPlanar: Bool

    /// Opens a node and makes sure that it is a camera.
    ///
    /// - Throws: `MediaError` with what is there instead, or why it cannot be opened.
    init(_ path: String) throws(MediaError) {
        guard !path.utf8.contains(0) else { throw MediaError(.invalidArgument, "camera", "a path with a zero byte") }
        let descriptor = unsafe open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { throw Self.error(errno, path, "cannot open it") }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFCHR else {
            close(descriptor)
            throw MediaError(.notUsable, path, "is no device: cameras are /dev/video0 and the like")
        }
        var capability = v4l2_capability()
        let code = unsafe cv4l2_ioctl(descriptor, cv4l2_VIDIOC_QUERYCAP, &capability)
        guard code == 0 else {
            close(descriptor)
            if code == ENODEV { throw Self.error(code, path, "cannot ask it what it is") }
            throw MediaError(.notUsable, path, "is no video device: cameras are /dev/video0 and the like")
        }
        // A device may have several nodes: device_caps are this one's, capabilities the whole device's.
        let all = capability.capabilities
        let own = all & UInt32(V4L2_CAP_DEVICE_CAPS) != 0 ? capability.device_caps : all
        let planar = UInt32(V4L2_CAP_VIDEO_CAPTURE_MPLANE)
        guard own & (UInt32(V4L2_CAP_VIDEO_CAPTURE) | planar) != 0, own & UInt32(V4L2_CAP_STREAMING) != 0 else {
            close(descriptor)
            throw MediaError(.notUsable, path, Self.refusal(own))
        }
        self.path = path
        self.descriptor = descriptor
        name = Self.text(of: capability.card)
        bus = Self.text(of: capability.bus_info)
        isMultiPlanar = own & UInt32(V4L2_CAP_VIDEO_CAPTURE) == 0
    }

    deinit { close(descriptor) }

    /// The type of its buffers, as requests name it.
    var bufferType: UInt32 {
        isMultiPlanar ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE.rawValue : V4L2_BUF_TYPE_VIDEO_CAPTURE.rawValue
    }

    /// Makes a request of the driver.
    ///
    /// - Returns: 0 or an errno.
    func request<Argument>(_ request: UInt, _ argument: inout Argument) -> CInt {
        unsafe withUnsafeMutablePointer(to: &argument) { unsafe cv4l2_ioctl(descriptor, request, $0) }
    }

    /// Whether the device is gone.
    var isUnplugged: Bool {
        var capability = v4l2_capability()
        return request(cv4l2_VIDIOC_QUERYCAP, &capability) == ENODEV
    }

    /// An errno as an error that says what to do.
    func error(_ code: CInt, _ what: String) -> MediaError { Self.error(code, path, what) }

    static func error(_ code: CInt, _ path: String, _ what: String) -> MediaError {
        let reason = unsafe String(cString: strerror(code))
        switch code {
        case ENOENT: return MediaError(.notFound, path, "there is no such device; `rtc-peer devices` lists the cameras")
        case ENODEV, ENXIO: return MediaError(.unplugged, path, "the camera is gone (\(reason)): plug it in again")
        case EACCES, EPERM:
            return MediaError(
                .notPermitted,
                path,
                "this user may not use the camera (\(reason)): add the user to the group video, as with "
                    + "`sudo usermod -aG video $USER`, and log in again"
            )
        case EBUSY:
            return MediaError(
                .busy,
                path,
                "another program is using the camera (\(reason)): close it (`fuser -v \(path)` names it) and try again"
            )
        default: return MediaError(.notUsable, path, "\(what): \(reason)")
        }
    }

    private static func refusal(_ capabilities: UInt32) -> String {
        func has(_ capability: CInt) -> Bool { capabilities & UInt32(bitPattern: capability) != 0 }
        if has(V4L2_CAP_META_CAPTURE) { return "gives metadata, not pictures: use the camera's other node" }
        if has(V4L2_CAP_VIDEO_CAPTURE) || has(V4L2_CAP_VIDEO_CAPTURE_MPLANE) {
            return "cannot stream into shared memory, which is needed"
        }
        return "is a video device but not a camera"
    }

    /// A text in a fixed array of bytes, as far as its zero byte; control characters are left out.
    static func text<Bytes>(of bytes: Bytes) -> String {
        unsafe withUnsafeBytes(of: bytes) { bytes in
            let text = unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            return String(text.unicodeScalars.filter { $0.value >= 32 && $0.value != 127 }.map(Character.init))
        }
    }
}
