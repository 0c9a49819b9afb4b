internal import CV4L2
internal import Glibc

/// How a camera lays out a picture: the forms that can be turned into I420.
public enum CameraPixelFormat: String, CaseIterable, Hashable, Sendable {
    /// Planes Y, U, V; chroma halved both ways.
    case i420
    /// Planes Y, V, U; chroma halved both ways.
    case yv12
    /// Plane Y, then U and V interleaved; chroma halved both ways.
    case nv12
    /// Plane Y, then V and U interleaved; chroma halved both ways.
    case nv21
    /// Packed Y0 U Y1 V; chroma halved across.
    case yuyv
    /// Packed U Y0 V Y1; chroma halved across.
    case uyvy
    /// A JPEG picture each.
    case mjpeg

    /// V4L2's code.
    var fourCC: UInt32 {
        switch self {
        case .i420: cv4l2_V4L2_PIX_FMT_YUV420
        case .yv12: cv4l2_V4L2_PIX_FMT_YVU420
        case .nv12: cv4l2_V4L2_PIX_FMT_NV12
        case .nv21: cv4l2_V4L2_PIX_FMT_NV21
        case .yuyv: cv4l2_V4L2_PIX_FMT_YUYV
        case .uyvy: cv4l2_V4L2_PIX_FMT_UYVY
        case .mjpeg: cv4l2_V4L2_PIX_FMT_MJPEG
        }
    }

    /// The format of a V4L2 code, nil for one that is not read.
    init?(fourCC: UInt32) {
        // Some drivers call the same thing JPEG.
        if fourCC == cv4l2_V4L2_PIX_FMT_JPEG {
            self = .mjpeg
            return
        }
        guard let format = Self.allCases.first(where: { $0.fourCC == fourCC || $0.separateFourCC == fourCC }) else {
            return nil
        }
        self = format
    }

    /// V4L2's code where each plane has memory of its own; nil for formats of one plane.
    var separateFourCC: UInt32? {
        switch self {
        case .i420: cv4l2_V4L2_PIX_FMT_YUV420M
        case .yv12: cv4l2_V4L2_PIX_FMT_YVU420M
        case .nv12: cv4l2_V4L2_PIX_FMT_NV12M
        case .nv21: cv4l2_V4L2_PIX_FMT_NV21M
        case .yuyv, .uyvy, .mjpeg: nil
        }
    }

    /// Planes of a picture.
    var planeCount: Int {
        switch self {
        case .i420, .yv12: 3
        case .nv12, .nv21: 2
        case .yuyv, .uyvy, .mjpeg: 1
        }
    }

    /// What turning it into I420 costs, in the points of ``CameraMode/best(of:for:)``.
    package var cost: Double {
        switch self {
        case .i420, .yv12: 0
        case .nv12, .nv21: 2
        case .yuyv, .uyvy: 5
        // Decoding costs several times a conversion, and the pictures have been compressed once already.
        case .mjpeg: 25
        }
    }
}

/// Time between two pictures, in seconds as a fraction: 1/30.
public struct FrameInterval: Hashable, Sendable {
    /// Numerator in seconds, at least 1.
    public var numerator: UInt32
    /// Denominator, at least 1.
    public var denominator: UInt32

    /// A fraction; nil if it is no positive time of at most 1 000 s, or shorter than 1 ms.
    public init?(numerator: UInt32, denominator: UInt32) {
        guard numerator > 0, denominator > 0, numerator / denominator <= 1_000, denominator / numerator <= 1_000 else {
            return nil
        }
        self.numerator = numerator
        self.denominator = denominator
    }

    /// Pictures a second.
    public var framesPerSecond: Double { Double(denominator) / Double(numerator) }
}

/// One thing a camera can do: a format, a size, and the rates it has there.
public struct CameraMode: Hashable, Sendable {
    /// How the picture is laid out.
    public var format: CameraPixelFormat
    /// Width in pixels.
    public var width: Int
    /// Height in pixels.
    public var height: Int
    /// The rates; empty if the camera does not tell.
    public var intervals: [FrameInterval]

    /// A mode with its parts.
    public init(format: CameraPixelFormat, width: Int, height: Int, intervals: [FrameInterval]) {
        self.format = format
        self.width = width
        self.height = height
        self.intervals = intervals
    }

    /// The rate to use: the slowest that is not below what is wanted, else the fastest.
    ///
    /// Nil if the camera tells none.
    public func interval(for wish: CameraWish) -> FrameInterval? {
        let sufficient = intervals.filter { $0.framesPerSecond >= Double(wish.framesPerSecond) * Self.rateTolerance }
        return sufficient.min { $0.framesPerSecond < $1.framesPerSecond }
            ?? intervals.max { $0.framesPerSecond < $1.framesPerSecond }
    }

    /// The mode that serves a wish best, nil if there is none.
    ///
    /// What is missing counts most (pixels, then pictures a second), then what is too much and must be computed, then
    /// the cost of the format.
    public static func best(of modes: [CameraMode], for wish: CameraWish) -> CameraMode? {
        let modes = modes.filter { wish.formats.contains($0.format) }
        return modes.min { $0.penalty(for: wish) < $1.penalty(for: wish) }
    }

    /// 0 for a perfect match; every doubling of a deviation costs as many points as its kind is bad.
    func penalty(for wish: CameraWish) -> Double {
        let area = log2(Double(max(1, width * height)) / Double(max(1, wish.width * wish.height)))
        let shape = log2(
            Double(max(1, width)) / Double(max(1, height)) * Double(wish.height) / Double(max(1, wish.width))
        )
        let isSmaller = width < wish.width || height < wish.height
        var points = isSmaller ? 50 + 250 * abs(area) : 100 * abs(area)
        points += 20 * abs(shape)
        if let interval = interval(for: wish) {
            let rate = log2(interval.framesPerSecond / Double(max(1, wish.framesPerSecond)))
            points += rate < log2(Self.rateTolerance) ? -150 * rate : 5 * max(0, rate)
        }
        return points + format.cost
    }

    /// 29.97 pictures a second are as good as 30.
    package static let rateTolerance = 0.95
}

/// What is wanted of a camera.
public struct CameraWish: Hashable, Sendable {
    /// Width in pixels.
    public var width: Int
    /// Height in pixels.
    public var height: Int
    /// Pictures a second.
    public var framesPerSecond: Int
    /// The formats that may be used.
    public var formats = Set(CameraPixelFormat.allCases)

    /// A wish; values out of range are clamped to the range from 16 to 8192, and from 1 to 240.
    public init(width: Int = 640, height: Int = 360, framesPerSecond: Int = 30) {
        self.width = min(max(width, 16), 8_192)
        self.height = min(max(height, 16), 8_192)
        self.framesPerSecond = min(max(framesPerSecond, 1), 240)
    }
}
