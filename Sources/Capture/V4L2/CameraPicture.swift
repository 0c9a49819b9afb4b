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
    /// Bytes that a whole picture has at least in each memory of its own: one for all planes, or one for each; 1 for
    /// MJPEG.
    let byteCounts: [Int]
    /// Bytes between the starts of two rows of the second and third plane; 0 where there is none.
    private let chromaBytesPerRow: Int

    /// Bytes that a whole picture has at least.
    var byteCount: Int { byteCounts.reduce(0, +) }

    /// Checks what a driver says.
    ///
    /// - Parameters:
    ///   - format: how pixels are stored.
    ///   - width: in pixels.
    ///   - height: in pixels.
    ///   - bytesPerRow: 0 stands for rows without padding.
    ///   - chromaBytesPerRow: of the second and third plane if each plane has memory of its own, else nil.
    ///   - isFullRange: whether black is 0.
    ///   - subject: the device, for errors.
    /// - Throws: `MediaError.notUsable` for sizes outside 16 ... 8192 or rows too short for them.
    init(
        format: CameraPixelFormat,
        width: Int,
        height: Int,
        bytesPerRow: Int,
        chromaBytesPerRow: Int? = nil,
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
        // Interleaved chroma has rows as long as luma's, planes of their own half of it.
        let isInterleaved = format == .nv12 || format == .nv21
        let chroma = isInterleaved ? row : row / 2
        let second = chromaBytesPerRow.map { $0 == 0 ? (isInterleaved ? width : width / 2) : $0 } ?? chroma
        guard !isPlanar || ((isInterleaved ? width : width / 2)...65_536).contains(second) else {
            throw MediaError(.notUsable, subject, "the camera gives chroma rows of \(second) bytes for \(width) pixels")
        }
        self.format = format
        self.width = width
        self.height = height
        self.bytesPerRow = format == .mjpeg ? 0 : row
        self.isFullRange = isFullRange
        self.chromaBytesPerRow = isPlanar ? second : 0
        // The last row may lack its padding.
        let luma = row * (height - 1) + width
        let interleaved = second * (height / 2 - 1) + width
        let halved = second * (height / 2 - 1) + width / 2
        let isSeparate = chromaBytesPerRow != nil
        byteCounts =
            switch format {
            case .mjpeg: [1]
            case .yuyv, .uyvy: [row * (height - 1) + 2 * width]
            case .nv12, .nv21: isSeparate ? [luma, interleaved] : [row * height + interleaved]
            case .i420, .yv12:
                isSeparate ? [luma, halved, halved] : [row * height + second * (height / 2) + halved]
            }
    }

    /// The picture in `bytes`, one memory or one for each plane as ``byteCounts``, as I420 of limited range.
    ///
    /// - Throws: `MediaError.malformed` if bytes are missing or, with MJPEG, broken.
    func frame(
        planes bytes: [UnsafeRawBufferPointer],
        timestampNanoseconds: Int64,
        pool: VideoFramePool,
        subject: String
    ) throws(MediaError) -> VideoFrame {
        guard unsafe bytes.count == byteCounts.count,
            unsafe zip(bytes, byteCounts).allSatisfy({ $0.count >= $1 }),
            let base = unsafe bytes[0].bindMemory(to: UInt8.self).baseAddress
        else {
            let count = unsafe bytes.reduce(0) { $0 + $1.count }
            throw MediaError(.malformed, subject, "a picture of \(count) bytes instead of \(byteCount)")
        }
        // Where planes follow each other in one memory, the second and third are found by what is before them.
        var second = unsafe base + bytesPerRow * height
        var third = unsafe second + chromaBytesPerRow * (height / 2)
        if unsafe bytes.count > 1, let start = unsafe bytes[1].bindMemory(to: UInt8.self).baseAddress {
            unsafe second = start
        }
        if unsafe bytes.count > 2, let start = unsafe bytes[2].bindMemory(to: UInt8.self).baseAddress {
            unsafe third = start
        }
        let count = unsafe bytes[0].count
        return try VideoFrame(
            width: width,
            height: height,
            timestampNanoseconds: timestampNanoseconds,
            pool: pool
        ) { planes throws(MediaError) in
            let status = unsafe convert(base, second, third, count: count, to: planes)
            guard status == 0 else { throw MediaError(.malformed, subject, "a broken \(format) picture") }
            if isFullRange { limitRange(planes) }
        }
    }

    private func convert(
        _ source: UnsafePointer<UInt8>,
        _ second: UnsafePointer<UInt8>,
        _ third: UnsafePointer<UInt8>,
        count: Int,
        to planes: borrowing VideoFrame.Planes
    ) -> CInt {
        let (width, height, row) = (CInt(width), CInt(height), CInt(bytesPerRow))
        let chroma = CInt(chromaBytesPerRow)
        let (strideY, strideUV) = (CInt(planes.strideY), CInt(planes.strideUV))
        switch format {
        case .i420:
            return unsafe I420Copy(
                source,
                row,
                second,
                chroma,
                third,
                chroma,
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
                chroma,
                second,
                chroma,
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
                chroma,
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
                chroma,
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
