internal import Media

/// The mouse pointer's picture, ready to be laid over I420.
///
/// Laid over the picture and not over the server's pixels, so that these stay clean: when the pointer moves, nothing need be
/// read anew.
struct CursorPicture {
    let width: Int
    let height: Int
    /// The pixel that points.
    let hotX: Int
    let hotY: Int
    /// Alpha, luma and both chromas of each pixel, weighted by alpha.
    private let pixels: [Pixel]

    private struct Pixel {
        var alpha: Int32
        var y: Int32
        var u: Int32
        var v: Int32
    }

    /// A picture of premultiplied ARGB, row after row.
    ///
    /// - Returns: nil if there are not as many as `width · height`.
    init?(width: Int, height: Int, hotX: Int, hotY: Int, argb: some Collection<UInt32>) {
        guard width > 0, height > 0, argb.count == width * height else { return nil }
        self.width = width
        self.height = height
        self.hotX = hotX
        self.hotY = hotY
        pixels = argb.map { word in
            let alpha = Int32(word >> 24)
            // No more than alpha, as premultiplied colours are; what a server sends otherwise would overflow a byte.
            let red = min(Int32(word >> 16 & 0xff), alpha)
            let green = min(Int32(word >> 8 & 0xff), alpha)
            let blue = min(Int32(word & 0xff), alpha)
            // ITU-R BT.601, limited range, as libyuv does it; black's offset is weighted, too.
            return Pixel(
                alpha: alpha,
                y: (66 * red + 129 * green + 25 * blue) / 256 + 16 * alpha / 255,
                u: (-38 * red - 74 * green + 112 * blue) / 256 + 128 * alpha / 255,
                v: (112 * red - 94 * green - 18 * blue) / 256 + 128 * alpha / 255
            )
        }
    }

    /// Where it is when it points at a pixel.
    func rectangle(pointingAt x: Int, _ y: Int) -> PixelRectangle {
        PixelRectangle(x: x - hotX, y: y - hotY, width: width, height: height)
    }

    /// Lays it over a picture; what is outside is cut off.
    func draw(
        pointingAt x: Int,
        _ y: Int,
        on planes: borrowing VideoFrame.Planes,
        width pictureWidth: Int,
        height pictureHeight: Int
    ) {
        let whole = PixelRectangle(x: 0, y: 0, width: pictureWidth, height: pictureHeight)
        let place = rectangle(pointingAt: x, y)
        let part = place.intersection(whole)
        guard !part.isEmpty else { return }
        for row in part.y..<(part.y + part.height) {
            for column in part.x..<(part.x + part.width) {
                let pixel = pixels[(row - place.y) * width + column - place.x]
                let index = row * planes.strideY + column
                unsafe planes.y[index] = Self.over(pixel.y, pixel.alpha, planes.y[index])
            }
        }
        // Each pair of chromas belongs to four pixels, of which some may be outside the pointer's picture.
        for row in (part.y / 2)...((part.y + part.height - 1) / 2) {
            for column in (part.x / 2)...((part.x + part.width - 1) / 2) {
                var (alpha, u, v): (Int32, Int32, Int32) = (0, 0, 0)
                for y in (2 * row)...(2 * row + 1) {
                    for x in (2 * column)...(2 * column + 1) {
                        let (left, top) = (x - place.x, y - place.y)
                        guard left >= 0, left < width, top >= 0, top < height else { continue }
                        let pixel = pixels[top * width + left]
                        alpha += pixel.alpha
                        u += pixel.u
                        v += pixel.v
                    }
                }
                let index = row * planes.strideUV + column
                unsafe planes.u[index] = Self.over(u / 4, alpha / 4, planes.u[index])
                unsafe planes.v[index] = Self.over(v / 4, alpha / 4, planes.v[index])
            }
        }
    }

    private static func over(_ value: Int32, _ alpha: Int32, _ below: UInt8) -> UInt8 {
        UInt8(clamping: value + (Int32(below) * (255 - alpha) + 127) / 255)
    }
}
