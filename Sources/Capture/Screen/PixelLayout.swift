internal import CXCB
internal import CYUV
internal import Media

/// A part of a picture, in pixels.
struct PixelRectangle: Hashable {
    var x: Int
    var y: Int
    var width: Int
    var height: Int

    var isEmpty: Bool { width <= 0 || height <= 0 }

    /// What both have.
    func intersection(_ other: Self) -> Self {
        let (left, top) = (max(x, other.x), max(y, other.y))
        let (right, bottom) = (min(x + width, other.x + other.width), min(y + height, other.y + other.height))
        return Self(x: left, y: top, width: max(0, right - left), height: max(0, bottom - top))
    }

    /// The smallest that holds both.
    func union(_ other: Self) -> Self {
        if isEmpty { return other }
        if other.isEmpty { return self }
        let (left, top) = (min(x, other.x), min(y, other.y))
        let (right, bottom) = (max(x + width, other.x + other.width), max(y + height, other.y + other.height))
        return Self(x: left, y: top, width: right - left, height: bottom - top)
    }

    /// The smallest that holds it and begins and ends between pairs of pixels, for the chroma, inside a picture.
    func alignedToChroma(width limitX: Int, height limitY: Int) -> Self {
        let (left, top) = (x & ~1, y & ~1)
        let (right, bottom) = (min((x + width + 1) & ~1, limitX), min((y + height + 1) & ~1, limitY))
        return Self(x: left, y: top, width: right - left, height: bottom - top)
    }
}

/// How an X server lays out a pixel of 32 bits: the forms that can be turned into I420.
enum PixelLayout: CaseIterable {
    /// Bytes blue, green, red, unused: that of nearly every server.
    case bgrx
    /// Bytes red, green, blue, unused.
    case rgbx
    /// Bytes unused, red, green, blue.
    case xrgb
    /// Bytes unused, blue, green, red.
    case xbgr

    /// The layout of a drawable; nil for one of another depth or with other masks.
    init?(_ pixels: cxcb_pixels) {
        guard pixels.bits_per_pixel == 32, pixels.depth == 24 || pixels.depth == 32, pixels.green_mask == 0xff00 else {
            return nil
        }
        switch (pixels.red_mask, pixels.blue_mask, pixels.is_big_endian != 0) {
        case (0xff_0000, 0xff, false): self = .bgrx
        case (0xff, 0xff_0000, false): self = .rgbx
        case (0xff_0000, 0xff, true): self = .xrgb
        case (0xff, 0xff_0000, true): self = .xbgr
        default: return nil
        }
    }

    /// Turns a part of a picture into I420, where it belongs.
    ///
    /// - Parameters:
    ///   - source: the whole picture's first pixel.
    ///   - bytesPerRow: of the source.
    ///   - part: inside the picture, beginning at even numbers.
    ///   - planes: of the whole picture.
    /// - Returns: false if libyuv refuses, which it does for sizes out of range alone.
    func convert(
        _ source: UnsafePointer<UInt8>,
        bytesPerRow: Int,
        part: PixelRectangle,
        to planes: borrowing VideoFrame.Planes
    ) -> Bool {
        let convert =
            switch self {
            // libyuv names words, not bytes.
            case .bgrx: unsafe ARGBToI420
            case .rgbx: unsafe ABGRToI420
            case .xrgb: unsafe BGRAToI420
            case .xbgr: unsafe RGBAToI420
            }
        let chroma = part.y / 2 * planes.strideUV + part.x / 2
        return unsafe convert(
            source + part.y * bytesPerRow + part.x * 4,
            CInt(bytesPerRow),
            planes.y + part.y * planes.strideY + part.x,
            CInt(planes.strideY),
            planes.u + chroma,
            CInt(planes.strideUV),
            planes.v + chroma,
            CInt(planes.strideUV),
            CInt(part.width),
            CInt(part.height)
        ) == 0
    }
}
