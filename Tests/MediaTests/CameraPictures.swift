import Foundation
import Media
import Testing

@testable import Capture

/// Camera buffers in every format, made by hand, turned into I420.
@Suite struct CameraPictures {
    /// Y of a pixel of the made picture; its U and V are those of its column and row of four.
    private func luma(_ x: Int, _ y: Int) -> UInt8 { UInt8(16 + (3 * x + 5 * y) % 220) }
    private func blue(_ x: Int, _ y: Int) -> UInt8 { UInt8(16 + (x / 2 * 7 + y / 2) % 224) }
    private func red(_ x: Int, _ y: Int) -> UInt8 { UInt8(16 + (x / 2 + y / 2 * 11) % 224) }

    private func layout(
        _ format: CameraPixelFormat,
        _ width: Int,
        _ height: Int,
        row: Int,
        isFullRange: Bool = false
    ) throws -> CameraPictureLayout {
        try CameraPictureLayout(
            format: format,
            width: width,
            height: height,
            bytesPerRow: row,
            isFullRange: isFullRange,
            subject: "camera"
        )
    }

    /// The made picture as a camera stores it, with rows of `row` bytes.
    private func bytes(_ format: CameraPixelFormat, _ width: Int, _ height: Int, row: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        func append(rows: Int, width: Int, row: Int, _ value: (Int, Int) -> UInt8) {
            for y in 0..<rows {
                bytes += (0..<width).map { value($0, y) } + Array(repeating: 0xEE, count: row - width)
            }
        }
        switch format {
        case .yuyv, .uyvy:
            append(rows: height, width: 2 * width, row: row) { x, y in
                let isLuma = (x % 2 == 0) == (format == .yuyv)
                if isLuma { return luma(x / 2, y) }
                return x % 4 < 2 ? blue(x / 4 * 2, y) : red(x / 4 * 2, y)
            }
        case .nv12, .nv21:
            append(rows: height, width: width, row: row, luma)
            append(rows: height / 2, width: width, row: row) { x, y in
                (x % 2 == 0) == (format == .nv12) ? blue(x / 2 * 2, 2 * y) : red(x / 2 * 2, 2 * y)
            }
        case .i420, .yv12:
            append(rows: height, width: width, row: row, luma)
            for isFirst in [true, false] {
                append(rows: height / 2, width: width / 2, row: row / 2) { x, y in
                    isFirst == (format == .i420) ? blue(2 * x, 2 * y) : red(2 * x, 2 * y)
                }
            }
        case .mjpeg: break
        }
        return bytes
    }

    private func frame(_ layout: CameraPictureLayout, _ bytes: [UInt8]) throws -> VideoFrame {
        try bytes.withUnsafeBytes { buffer in
            try layout.frame(planes: [buffer], timestampNanoseconds: 42, pool: VideoFramePool(), subject: "camera")
        }
    }

    @Test(arguments: CameraPixelFormat.allCases.filter { $0 != .mjpeg }, [0, 32])
    func `Every raw format gives the same picture, with and without padding`(format: CameraPixelFormat, padding: Int)
        throws
    {
        let (width, height) = (48, 32)
        let least = [.yuyv, .uyvy].contains(format) ? 2 * width : width
        let made = bytes(format, width, height, row: least + padding)
        let result = try frame(try layout(format, width, height, row: padding == 0 ? 0 : least + padding), made)
        #expect(result.width == width && result.height == height && result.timestampNanoseconds == 42)
        for (x, y) in [(0, 0), (1, 0), (47, 0), (0, 31), (47, 31), (20, 10), (21, 13)] {
            let sample = result.sample(x: x, y: y)
            #expect(sample.y == luma(x, y))
            #expect(sample.u == blue(x, y))
            #expect(sample.v == red(x, y))
        }
    }

    @Test(arguments: CameraPixelFormat.allCases.filter { $0 != .mjpeg })
    func `A buffer that is one byte short is refused`(format: CameraPixelFormat) throws {
        let row = [.yuyv, .uyvy].contains(format) ? 2 * 48 + 8 : 48 + 8
        let layout = try layout(format, 48, 32, row: row)
        let made = bytes(format, 48, 32, row: row)
        #expect(layout.byteCount <= made.count && layout.byteCount > made.count - row)
        #expect(throws: Never.self) { try frame(layout, Array(made.prefix(layout.byteCount))) }
        for count in [0, 1, layout.byteCount - 1] {
            let error = #expect(throws: MediaError.self) { try frame(layout, Array(made.prefix(count))) }
            #expect(error?.kind == .malformed)
        }
    }

    @Test(arguments: [CameraPixelFormat.i420, .yv12, .nv12, .nv21], [0, 16])
    func `Planes in memory of their own give the same picture, and short ones are refused`(
        format: CameraPixelFormat,
        padding: Int
    ) throws {
        let (width, height) = (48, 32)
        let isInterleaved = format.planeCount == 2
        // Chroma rows are padded otherwise than luma's.
        let (row, chromaRow) = (width + 2 * padding, (isInterleaved ? width : width / 2) + padding)
        let layout = try CameraPictureLayout(
            format: format,
            width: width,
            height: height,
            bytesPerRow: row,
            chromaBytesPerRow: chromaRow,
            isFullRange: false,
            subject: "camera"
        )
        func plane(_ rows: Int, _ width: Int, _ row: Int, _ value: (Int, Int) -> UInt8) -> [UInt8] {
            (0..<rows).flatMap { y in (0..<width).map { value($0, y) } + Array(repeating: 0xEE, count: row - width) }
        }
        var planes = [plane(height, width, row, luma)]
        if isInterleaved {
            planes.append(
                plane(height / 2, width, chromaRow) { x, y in
                    (x % 2 == 0) == (format == .nv12) ? blue(x / 2 * 2, 2 * y) : red(x / 2 * 2, 2 * y)
                }
            )
        } else {
            for isFirst in [true, false] {
                planes.append(
                    plane(height / 2, width / 2, chromaRow) { x, y in
                        isFirst == (format == .i420) ? blue(2 * x, 2 * y) : red(2 * x, 2 * y)
                    }
                )
            }
        }
        func frame(_ planes: [[UInt8]]) throws -> VideoFrame {
            let buffers = planes.map { bytes in
                let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, bytes.count), alignment: 16)
                buffer.copyBytes(from: bytes)
                return UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<bytes.count])
            }
            defer { for buffer in buffers { buffer.deallocate() } }
            return try layout.frame(planes: buffers, timestampNanoseconds: 1, pool: VideoFramePool(), subject: "camera")
        }
        let result = try frame(planes)
        for (x, y) in [(0, 0), (1, 0), (47, 0), (0, 31), (47, 31), (20, 10), (21, 13)] {
            let sample = result.sample(x: x, y: y)
            #expect(sample.y == luma(x, y) && sample.u == blue(x, y) && sample.v == red(x, y))
        }
        #expect(layout.byteCounts.count == format.planeCount)
        for index in planes.indices {
            var short = planes
            short[index] = Array(short[index].prefix(layout.byteCounts[index] - 1))
            #expect(throws: MediaError.self) { try frame(short) }
        }
        #expect(throws: MediaError.self) { try frame(Array(planes.dropLast())) }
        #expect(throws: MediaError.self) { try frame([]) }
    }

    @Test func `Full range becomes limited range`() throws {
        let layout = try layout(.i420, 16, 16, row: 0, isFullRange: true)
        func converted(_ y: UInt8, _ u: UInt8, _ v: UInt8) throws -> [Int] {
            let made = Array(repeating: y, count: 256) + Array(repeating: u, count: 64) + Array(repeating: v, count: 64)
            let sample = try frame(layout, made).sample(x: 15, y: 15)
            return [Int(sample.y), Int(sample.u), Int(sample.v)]
        }
        #expect(try converted(0, 128, 128) == [16, 128, 128])
        #expect(try converted(255, 255, 0) == [235, 240, 16])
        for value in 0...255 {
            let result = try converted(UInt8(value), UInt8(value), UInt8(value))
            #expect(abs(Double(result[0]) - (16 + Double(value) * 219 / 255)) <= 1)
            #expect(abs(Double(result[1]) - (128 + (Double(value) - 128) * 224 / 255)) <= 1)
        }
    }

    @Test(arguments: [red420, red422])
    func `A JPEG picture is decoded`(jpeg: String) throws {
        let bytes = Array(try #require(Data(base64Encoded: jpeg)))
        let result = try frame(try layout(.mjpeg, 64, 48, row: 0, isFullRange: true), bytes)
        let sample = result.sample(x: 40, y: 30)
        #expect(abs(Int(sample.y) - 81) < 4 && abs(Int(sample.u) - 90) < 4 && abs(Int(sample.v) - 240) < 4)
        // Drivers give the whole buffer at times: what follows the picture is ignored.
        #expect(throws: Never.self) {
            try frame(try layout(.mjpeg, 64, 48, row: 0), bytes + Array(repeating: 0, count: 100))
        }
    }

    @Test func `A JPEG picture of another size, cut or made of noise is refused`() throws {
        let bytes = Array(try #require(Data(base64Encoded: Self.red420)))
        for (width, height) in [(32, 48), (64, 32), (640, 480), (65, 48)] {
            #expect(throws: MediaError.self) { try frame(try layout(.mjpeg, width, height, row: 0), bytes) }
        }
        let right = try layout(.mjpeg, 64, 48, row: 0)
        for count in [1, 2, 20, bytes.count / 2, bytes.count - 2] {
            #expect(throws: MediaError.self) { try frame(right, Array(bytes.prefix(count))) }
        }
        var random = SeededGenerator(seed: 11)
        for _ in 0..<500 {
            var damaged = bytes
            for _ in 0..<4 {
                damaged[Int.random(in: 2..<(bytes.count - 2), using: &random)] = UInt8.random(
                    in: 0...255,
                    using: &random
                )
            }
            _ = try? frame(right, damaged)
        }
    }

    @Test func `Sizes that no camera has are refused`() {
        for (format, width, height, row) in [
            (.yuyv, 0, 0, 0), (.yuyv, 15, 16, 0), (.yuyv, 17, 16, 0), (.nv12, 16, 17, 0), (.i420, 17, 16, 0),
            (.mjpeg, 9_000, 16, 0),
            (.yuyv, 640, 480, 1_279), (.nv12, 640, 480, 639), (.i420, 640, 480, 641), (.yuyv, 640, 480, 100_000),
            (.yuyv, 640, 480, -2),
            (.mjpeg, .max, .max, .max), (.yuyv, .max, .max, .max),
        ] as [(CameraPixelFormat, Int, Int, Int)] {
            let error = #expect(throws: MediaError.self) { try layout(format, width, height, row: row) }
            #expect(error?.kind == .notUsable)
        }
    }

    /// 64x48 pixels of red, with chroma halved both ways.
    static let red420 =
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAYEBQYFBAYGBQYHBwYIChAKCgkJChQODwwQFxQYGBcUFhYaHSUfGhsjHBYWICwgIyYn"
        + "KSopGR8tMC0oMCUoKSj/2wBDAQcHBwoIChMKChMoGhYaKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgo"
        + "KCgoKCgoKCj/wAARCAAwAEADASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAf/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/8QA"
        + "FgEBAQEAAAAAAAAAAAAAAAAAAAYI/8QAFBEBAAAAAAAAAAAAAAAAAAAAAP/aAAwDAQACEQMRAD8AnQCOaRAAAAAAAAAAAAAAAAAA"
        + "AAAAf//Z"
    /// The same with chroma halved across, as most cameras do.
    static let red422 =
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAYEBQYFBAYGBQYHBwYIChAKCgkJChQODwwQFxQYGBcUFhYaHSUfGhsjHBYWICwgIyYn"
        + "KSopGR8tMC0oMCUoKSj/2wBDAQcHBwoIChMKChMoGhYaKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgo"
        + "KCgoKCgoKCj/wAARCAAwAEADASEAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAf/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/8QA"
        + "FgEBAQEAAAAAAAAAAAAAAAAAAAYI/8QAFBEBAAAAAAAAAAAAAAAAAAAAAP/aAAwDAQACEQMRAD8AnQjmkQAAAAAAAAAAAAAAAAAA"
        + "AAAAAAAAAAAAf//Z"
}
