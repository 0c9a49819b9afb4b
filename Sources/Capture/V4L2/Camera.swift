internal import CV4L2
internal import Glibc
public import Media

extension CameraMode {
    /// Whether only the rates may differ.
    fileprivate func isSamePicture(as other: CameraMode) -> Bool {
        (format, width, height) == (other.format, other.width, other.height)
    }
}

/// A camera that the machine has, and what it can do.
public struct Camera: Hashable, Sendable {
    /// Its device node, as `/dev/video0`.
    public let path: String
    /// What its driver calls it.
    public let name: String
    /// Where it sits, as `usb-0000:00:14.0-1`.
    public let bus: String
    /// What can be read of it: formats that can be turned into I420.
    public let modes: [CameraMode]
    /// What its own encoder can do; empty for most.
    public let encodedModes: [CameraEncodedMode]

    /// The machine's cameras, in the order of their nodes, and why the other nodes cannot be used.
    public struct Listing: Sendable {
        /// Cameras that can be opened; another program may be using them.
        public var cameras: [Camera] = []
        /// Nodes that exist and cannot be used by this user.
        public var problems: [MediaError] = []
    }

    /// Looks at every `/dev/video*`.
    ///
    /// Nodes that are no cameras, as those of metadata, are left out silently.
    ///
    /// - Parameter wish: a size that is tried too where a camera has a range of sizes.
    /// - Returns: the cameras, and why other nodes cannot be used.
    public static func all(wish: CameraWish = CameraWish()) -> Listing {
        var listing = Listing()
        for path in nodes() {
            do throws(MediaError) {
                let device = try V4L2Device(path)
                let modes = modes(of: device, wish: wish)
                if modes.isEmpty { throw MediaError(.notUsable, path, "has no picture format that can be read") }
                listing.cameras.append(
                    Camera(
                        path: path,
                        name: device.name,
                        bus: device.bus,
                        modes: modes,
                        encodedModes: encodedModes(of: device, wish: wish)
                    )
                )
            } catch {
                // Open and refused is worth telling; a node that is something else is not.
                if error.kind == .notPermitted || error.kind == .busy { listing.problems.append(error) }
            }
        }
        return listing
    }

    /// What one camera can do, with sizes and rates of each wish where it has ranges.
    ///
    /// - Throws: `MediaError` if it cannot be opened, or gives no pictures that can be read.
    package static func modes(path: String, wishes: [CameraWish]) throws(MediaError) -> [CameraMode] {
        let device = try V4L2Device(path)
        var modes: [CameraMode] = []
        for wish in wishes.isEmpty ? [CameraWish()] : wishes {
            for mode in Self.modes(of: device, wish: wish) {
                guard let index = modes.firstIndex(where: { $0.isSamePicture(as: mode) }) else {
                    modes.append(mode)
                    continue
                }
                modes[index].intervals += mode.intervals.filter { !modes[index].intervals.contains($0) }
            }
        }
        if modes.isEmpty { throw MediaError(.notUsable, path, "has no picture format that can be read") }
        return modes
    }

    static func nodes() -> [String] {
        guard let directory = unsafe opendir("/dev") else { return [] }
        defer { unsafe closedir(directory) }
        var numbers: [Int] = []
        while numbers.count < nodeLimit, let entry = unsafe readdir(directory) {
            let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard name.hasPrefix("video"), let number = Int(name.dropFirst(5)), number >= 0 else { continue }
            numbers.append(number)
        }
        return numbers.sorted().map { "/dev/video\($0)" }
    }

    /// What a device can do, as far as it can be read.
    static func modes(of device: V4L2Device, wish: CameraWish) -> [CameraMode] {
        modes(of: device, wish: wish, as: { CameraPixelFormat(fourCC: $0) }) { format, width, height, intervals in
            CameraMode(format: format, width: width, height: height, intervals: intervals)
        }
    }

    /// What a device's encoder can do, as far as it can be sent.
    static func encodedModes(of device: V4L2Device, wish: CameraWish) -> [CameraEncodedMode] {
        modes(of: device, wish: wish, as: { VideoCodec(fourCC: $0) }) { codec, width, height, intervals in
            CameraEncodedMode(codec: codec, width: width, height: height, intervals: intervals)
        }
    }

    private static func modes<Format, Mode: Equatable>(
        of device: V4L2Device,
        wish: CameraWish,
        as format: (UInt32) -> Format?,
        make: (Format, Int, Int, [FrameInterval]) -> Mode
    ) -> [Mode] {
        var modes: [Mode] = []
        for index in 0..<formatLimit {
            var description = v4l2_fmtdesc()
            description.index = UInt32(index)
            description.type = device.bufferType
            guard device.request(cv4l2_VIDIOC_ENUM_FMT, &description) == 0 else { break }
            let fourCC = description.pixelformat
            guard let format = format(fourCC) else { continue }
            for (width, height) in sizes(of: device, fourCC, wish: wish) {
                guard modes.count < modeLimit else { return modes }
                let intervals = intervals(of: device, fourCC, width: width, height: height, wish: wish)
                let mode = make(format, width, height, intervals)
                if !modes.contains(mode) { modes.append(mode) }
            }
        }
        return modes
    }

    private static func sizes(of device: V4L2Device, _ fourCC: UInt32, wish: CameraWish) -> [(Int, Int)] {
        var sizes: [(Int, Int)] = []
        for index in 0..<sizeLimit {
            var entry = v4l2_frmsizeenum()
            entry.index = UInt32(index)
            entry.pixel_format = fourCC
            guard device.request(cv4l2_VIDIOC_ENUM_FRAMESIZES, &entry) == 0 else { break }
            if entry.type == V4L2_FRMSIZE_TYPE_DISCRETE.rawValue {
                sizes.append((Int(entry.discrete.width), Int(entry.discrete.height)))
                continue
            }
            let range = entry.stepwise
            for (width, height) in [(wish.width, wish.height)] + usualSizes {
                let fitting = (
                    fit(width, range.min_width, range.max_width, range.step_width),
                    fit(height, range.min_height, range.max_height, range.step_height)
                )
                if !sizes.contains(where: { $0 == fitting }) { sizes.append(fitting) }
            }
            break
        }
        // A driver that does not tell is asked for what is wanted.
        if sizes.isEmpty { sizes = [(wish.width, wish.height)] }
        return sizes.filter { (16...8_192).contains($0.0) && (16...8_192).contains($0.1) }
    }

    private static func intervals(
        of device: V4L2Device,
        _ fourCC: UInt32,
        width: Int,
        height: Int,
        wish: CameraWish
    ) -> [FrameInterval] {
        var intervals: [FrameInterval] = []
        for index in 0..<intervalLimit {
            var entry = v4l2_frmivalenum()
            entry.index = UInt32(index)
            entry.pixel_format = fourCC
            entry.width = UInt32(width)
            entry.height = UInt32(height)
            guard device.request(cv4l2_VIDIOC_ENUM_FRAMEINTERVALS, &entry) == 0 else { break }
            if entry.type == V4L2_FRMIVAL_TYPE_DISCRETE.rawValue {
                let fraction = entry.discrete
                if let interval = FrameInterval(numerator: fraction.numerator, denominator: fraction.denominator) {
                    intervals.append(interval)
                }
                continue
            }
            let range = entry.stepwise
            let shortest = FrameInterval(numerator: range.min.numerator, denominator: range.min.denominator)
            let longest = FrameInterval(numerator: range.max.numerator, denominator: range.max.denominator)
            guard let shortest, let longest else { break }
            let inside = ([wish.framesPerSecond] + usualRates).filter { rate in
                Double(rate) <= shortest.framesPerSecond && Double(rate) >= longest.framesPerSecond
            }
            intervals = inside.compactMap { FrameInterval(numerator: 1, denominator: UInt32($0)) } + [shortest]
            break
        }
        return intervals
    }

    /// The nearest value in a range with steps.
    static func fit(_ value: Int, _ least: UInt32, _ most: UInt32, _ step: UInt32) -> Int {
        let (least, most, step) = (Int(least), Int(max(least, most)), Int(max(1, step)))
        return least + (min(max(value, least), most) - least) / step * step
    }

    private static let usualSizes = [(320, 180), (320, 240), (640, 360), (640, 480), (1_280, 720), (1_920, 1_080)]
    private static let usualRates = [5, 10, 15, 20, 24, 25, 30, 50, 60]

    // What a driver may make us hold. vivid, the richest of them, has 80 formats of 6 sizes with 8 rates.
    private static let nodeLimit = 256
    private static let formatLimit = 256
    private static let sizeLimit = 256
    private static let intervalLimit = 64
    private static let modeLimit = 2_048
}
