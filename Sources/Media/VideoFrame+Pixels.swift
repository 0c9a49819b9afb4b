internal import CYUV

/// How pixels lie in a program's own memory, rows without padding. webcodecs §9.4 (`VideoPixelFormat`)
public enum VideoPixelFormat: String, CaseIterable, Hashable, Sendable {
    /// Planes Y, U, V; chroma halved both ways, rounded up.
    case i420 = "I420"
    /// Plane Y, then U and V interleaved; chroma halved both ways, rounded up.
    case nv12 = "NV12"
    /// Red, green, blue, alpha, a byte each; alpha is 255 when read and ignored when written.
    case rgba = "RGBA"
    /// Blue, green, red, alpha, a byte each.
    case bgra = "BGRA"

    /// Bytes of a picture.
    ///
    /// - Returns: 0 for sizes that a frame cannot have.
    public func byteCount(width: Int, height: Int) -> Int {
        let range = 1...VideoFrame.dimensionLimit
        guard range.contains(width), range.contains(height) else { return 0 }
        switch self {
        case .i420, .nv12: return width * height + 2 * ((width + 1) / 2) * ((height + 1) / 2)
        case .rgba, .bgra: return 4 * width * height
        }
    }
}

extension VideoFrame {
    /// A picture of a program's own: its bytes are converted to I420, or copied.
    ///
    /// - Parameters:
    ///   - bytes: rows from the top without padding, `format.byteCount(width:height:)` of them.
    ///   - format: how they lie.
    ///   - width: 1 ... ``dimensionLimit``.
    ///   - height: 1 ... ``dimensionLimit``.
    ///   - timestampNanoseconds: capture time, monotonic clock.
    ///   - rotation: how far it must be turned before it is shown.
    ///   - pool: where the memory comes from; nil allocates it.
    /// - Throws: `MediaError.invalidArgument` for sizes out of range or another number of bytes.
    public convenience init(
        bytes: [UInt8],
        format: VideoPixelFormat,
        width: Int,
        height: Int,
        timestampNanoseconds: Int64,
        rotation: VideoRotation = .none,
        pool: VideoFramePool? = nil
    ) throws(MediaError) {
        let expected = format.byteCount(width: width, height: height)
        guard expected == 0 || bytes.count == expected else {
            throw MediaError(
                .invalidArgument,
                "video frame",
                "\(bytes.count) bytes instead of \(expected) for \(width)x\(height) in \(format.rawValue)"
            )
        }
        try self.init(
            width: width,
            height: height,
            timestampNanoseconds: timestampNanoseconds,
            rotation: rotation,
            pool: pool
        ) { planes throws(MediaError) in
            let status = unsafe bytes.withUnsafeBufferPointer { bytes in
                // As many as the size needs, which is at least 1x1 here.
                guard let source = bytes.baseAddress else { return CInt(-1) }
                return unsafe Self.convert(source, format, width, height, to: planes)
            }
            guard status == 0 else { throw MediaError(.codec, "video frame", "cannot be made of \(format.rawValue)") }
        }
    }

    private static func convert(
        _ source: UnsafePointer<UInt8>,
        _ format: VideoPixelFormat,
        _ width: Int,
        _ height: Int,
        to planes: borrowing Planes
    ) -> CInt {
        let (w, h, chroma) = (CInt(width), CInt(height), CInt((width + 1) / 2))
        let second = unsafe source + width * height
        let third = unsafe second + (width + 1) / 2 * ((height + 1) / 2)
        let (y, u, v) = unsafe (planes.y, planes.u, planes.v)
        let (strideY, strideUV) = (CInt(planes.strideY), CInt(planes.strideUV))
        return switch format {
        case .i420:
            unsafe I420Copy(
                source,
                w,
                second,
                chroma,
                third,
                chroma,
                y,
                strideY,
                u,
                strideUV,
                v,
                strideUV,
                w,
                h
            )
        case .nv12: unsafe NV12ToI420(source, w, second, 2 * chroma, y, strideY, u, strideUV, v, strideUV, w, h)
        // libyuv names the bytes from the last to the first.
        case .rgba: unsafe ABGRToI420(source, 4 * w, y, strideY, u, strideUV, v, strideUV, w, h)
        case .bgra: unsafe ARGBToI420(source, 4 * w, y, strideY, u, strideUV, v, strideUV, w, h)
        }
    }

    /// The picture's bytes in another layout, rows from the top without padding; the rotation is not applied.
    ///
    /// webcodecs §9.4.6 (copyTo)
    ///
    /// - Throws: `MediaError.codec` if libyuv cannot do it.
    public func bytes(in format: VideoPixelFormat) throws(MediaError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: format.byteCount(width: width, height: height))
        let status = unsafe bytes.withUnsafeMutableBufferPointer { bytes in
            // Frames have at least one pixel.
            guard let target = bytes.baseAddress else { return CInt(-1) }
            return withPlanes { planes in
                unsafe read(planes, into: target, format)
            }
        }
        guard status == 0 else { throw MediaError(.codec, "video frame", "cannot be turned into \(format.rawValue)") }
        return bytes
    }

    private func read(
        _ planes: borrowing Planes,
        into target: UnsafeMutablePointer<UInt8>,
        _ format: VideoPixelFormat
    ) -> CInt {
        let (w, h, chroma) = (CInt(width), CInt(height), CInt(chromaWidth))
        let second = unsafe target + width * height
        let third = unsafe second + chromaWidth * chromaHeight
        let (y, u, v) = unsafe (planes.y, planes.u, planes.v)
        let (strideY, strideUV) = (CInt(planes.strideY), CInt(planes.strideUV))
        return switch format {
        case .i420:
            unsafe I420Copy(
                y,
                strideY,
                u,
                strideUV,
                v,
                strideUV,
                target,
                w,
                second,
                chroma,
                third,
                chroma,
                w,
                h
            )
        case .nv12: unsafe I420ToNV12(y, strideY, u, strideUV, v, strideUV, target, w, second, 2 * chroma, w, h)
        case .rgba: unsafe I420ToABGR(y, strideY, u, strideUV, v, strideUV, target, 4 * w, w, h)
        case .bgra: unsafe I420ToARGB(y, strideY, u, strideUV, v, strideUV, target, 4 * w, w, h)
        }
    }
}
