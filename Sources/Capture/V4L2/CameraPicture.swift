internal import CYUV
internal import Media

/// The layout that a driver has settled on, and the way from there to I420.
struct CameraPictureLayout: Hashable, Sendable {
    let format: CameraPixelFormat
    let width: Int
    let height: Int
    /// Bytes between the starts of two rows of the first plane; 0 for MJPEG.
    let bytesPerRow: Int
    /// Whether black is 0 and white 255, not 16 and 235.
    let isFullRange: Bool
    /// Bytes that a whole picture has at least; 1 for MJPEG.
    let byteCount: Int

    /// Checks what a driver says.
    ///
    /// - Parameters:
    ///   - format: how pixels are stored.
    ///   - width: in pixels.
    ///   - height: in pixels.
    ///   - bytesPerRow: 0 stands for rows without padding.
    ///   - isFullRange: whether black is 0.
    ///   - subject: the device, for errors.
    /// - Throws: `MediaError.notUsable` for sizes outside 16 ... 8192 or rows too short for them.
    init(
        format: CameraPixelFormat,
        width: Int,
        height: Int,
        bytesPerRow: Int,
        isFullRange: Bool,
        subject: String
    ) throws(MediaError) {
        guard (16...8_192).contains(width), (16...8_192).contains(height) else {
            throw MediaError(.notUsable, subject, "the camera gives pictures of \(width)x\(height)")
        }
        let isPlanar = ![.yuyv, .uyvy, .mjpeg].contains(format)
        guard format == .mjpeg || width % 2 == 0 && (!isPlanar || height % 2 == 0) else {
            throw MediaError(.notUsable, subject, "the camera gives pictures of the odd size \(width)x\(height)")
        }
        let least = format == .mjpeg ? 0 : isPlanar ? width : 2 * width
        let row = bytesPerRow == 0 ? least : bytesPerRow
        guard format == .mjpeg || (least...65_536).contains(row), row % 2 == 0 || format == .mjpeg else {
            throw MediaError(.notUsable, subject, "the camera gives rows of \(row) bytes for \(width) pixels")
        }
        self.format = format
        self.width = width
        self.height = height
        self.bytesPerRow = format == .mjpeg ? 0 : row
        self.isFullRange = isFullRange
        // The last row may lack its padding.
        byteCount =
            switch format {
            case .mjpeg: 1
            case .yuyv, .uyvy: row * (height - 1) + 2 * width
            case .nv12, .nv21: row * (height + height / 2 - 1) + width
            case .i420, .yv12: row * height + row / 2 * (height - 1) + width / 2
            }
    }

    /// The picture in `bytes` as I420 of limited range.
    ///
    /// - Throws: `MediaError.malformed` if bytes are missing or, with MJPEG, broken.
    func frame(
        _ bytes: UnsafeRawBufferPointer,
        timestampNanoseconds: Int64,
        pool: VideoFramePool,
        subject: String
    ) throws(MediaError) -> VideoFrame {
        guard bytes.count >= byteCount, let base = unsafe bytes.bindMemory(to: UInt8.self).baseAddress else {
            throw MediaError(.malformed, subject, "a picture of \(bytes.count) bytes instead of \(byteCount)")
        }
        return try VideoFrame(
            width: width,
            height: height,
            timestampNanoseconds: timestampNanoseconds,
            pool: pool
        ) { planes throws(MediaError) in
            let status = unsafe convert(base, count: bytes.count, to: planes)
            guard status == 0 else { throw MediaError(.malformed, subject, "a broken \(format) picture") }
            if isFullRange { limitRange(planes) }
        }
    }

    private func convert(_ source: UnsafePointer<UInt8>, count: Int, to planes: borrowing VideoFrame.Planes) -> CInt {
        let (width, height, row) = (CInt(width), CInt(height), CInt(bytesPerRow))
        let (strideY, strideUV) = (CInt(planes.strideY), CInt(planes.strideUV))
        let second = unsafe source + bytesPerRow * self.height
        let third = unsafe second + bytesPerRow / 2 * (self.height / 2)
        switch format {
        case .i420:
            return unsafe I420Copy(
                source,
                row,
                second,
                row / 2,
                third,
                row / 2,
                planes.y,
                strideY,
                planes.u,
                strideUV,
                planes.v,
                strideUV,
                width,
                height
            )
        case .yv12:
            return unsafe I420Copy(
                source,
                row,
                third,
                row / 2,
                second,
                row / 2,
                planes.y,
                strideY,
                planes.u,
                strideUV,
                planes.v,
                strideUV,
                width,
                height
            )
        case .nv12:
            return unsafe NV12ToI420(
                source,
                row,
                second,
                row,
                planes.y,
                strideY,
                planes.u,
                strideUV,
                planes.v,
                strideUV,
                width,
                height
            )
        case .nv21:
            return unsafe NV21ToI420(
                source,
                row,
                second,
                row,
                planes.y,
                strideY,
                planes.u,
                strideUV,
                planes.v,
                strideUV,
                width,
                height
            )
        case .yuyv:
            return unsafe YUY2ToI420(
                source,
                row,
                planes.y,
                strideY,
                planes.u,
                strideUV,
                planes.v,
                strideUV,
                width,
                height
            )
        case .uyvy:
            return unsafe UYVYToI420(
                source,
                row,
                planes.y,
                strideY,
                planes.u,
                strideUV,
                planes.v,
                strideUV,
                width,
                height
            )
        case .mjpeg:
            // libyuv decodes by libjpeg-turbo and refuses a picture of another size than this one.
            return unsafe MJPGToI420(
                source,
                count,
                planes.y,
                strideY,
                planes.u,
                strideUV,
                planes.v,
                strideUV,
                width,
                height,
                width,
                height
            )
        }
    }

    /// Turns full range into limited range: 0 to 255 into 16 to 235 for Y and 16 to 240 for U and V, within 1.
    ///
    /// ITU-R BT.601.
    private func limitRange(_ planes: borrowing VideoFrame.Planes) {
        unsafe Self.scale(planes.y, planes.strideY * height, by: 220, plus: 16 << 8)
        let chroma = planes.strideUV * ((height + 1) / 2)
        unsafe Self.scale(planes.u, chroma, by: 225, plus: 16 << 8)
        unsafe Self.scale(planes.v, chroma, by: 225, plus: 16 << 8)
    }

    /// `(value · factor + offset) / 256`, at most 255·225 + 4096 before the division: 16 bits hold it.
    private static func scale(
        _ values: UnsafeMutablePointer<UInt8>,
        _ count: Int,
        by factor: UInt16,
        plus offset: UInt16
    ) {
        for index in 0..<count {
            unsafe values[index] = UInt8(truncatingIfNeeded: (UInt16(values[index]) &* factor &+ offset) >> 8)
        }
    }
}
