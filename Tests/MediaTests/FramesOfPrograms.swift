import Media
import Testing

/// Pictures from and to a program's own bytes, scaled, cut and turned.
@Suite struct FramesOfPrograms {
    /// Two halves: the left dark, the right bright, with some colour.
    private func halves(_ width: Int, _ height: Int) throws -> VideoFrame {
        try picture(width, height) { x, _ in x < width / 2 ? (40, 100, 150) : (200, 150, 100) }
    }

    @Test(arguments: VideoPixelFormat.allCases, [(64, 48), (33, 17), (1, 1)])
    func `Bytes go out and come back`(format: VideoPixelFormat, size: (Int, Int)) throws {
        let frame = try picture(size.0, size.1) { x, y in (UInt8(60 + x), 120, 140) }
        let bytes = try frame.bytes(in: format)
        #expect(bytes.count == format.byteCount(width: size.0, height: size.1))
        let back = try VideoFrame(
            bytes: bytes,
            format: format,
            width: size.0,
            height: size.1,
            timestampNanoseconds: 5,
            rotation: .clockwise90
        )
        #expect(back.timestampNanoseconds == 5 && back.rotation == .clockwise90)
        for (x, y) in [(0, 0), (size.0 - 1, size.1 - 1), (size.0 / 2, size.1 / 2)] {
            let (one, other) = (frame.sample(x: x, y: y), back.sample(x: x, y: y))
            let tolerance = format == .i420 || format == .nv12 ? 0 : 3
            #expect(abs(Int(one.y) - Int(other.y)) <= tolerance)
            #expect(abs(Int(one.u) - Int(other.u)) <= tolerance && abs(Int(one.v) - Int(other.v)) <= tolerance)
        }
    }

    @Test func `The order of bytes is that of the name`() throws {
        let red = try VideoFrame(bytes: [255, 0, 0, 255], format: .rgba, width: 1, height: 1, timestampNanoseconds: 0)
        let blue = try VideoFrame(bytes: [255, 0, 0, 255], format: .bgra, width: 1, height: 1, timestampNanoseconds: 0)
        #expect(red.sample(x: 0, y: 0).v > 200 && blue.sample(x: 0, y: 0).u > 200)
        #expect(try blue.bytes(in: .rgba)[2] > 240)
        // U before V.
        let nv12 = try VideoFrame(bytes: [90, 30, 220], format: .nv12, width: 1, height: 1, timestampNanoseconds: 0)
        #expect(nv12.sample(x: 0, y: 0) == (90, 30, 220))
    }

    @Test func `Another number of bytes and impossible sizes are refused`() {
        for (count, width, height) in [(0, 4, 4), (23, 4, 4), (25, 4, 4), (0, 0, 0), (0, -1, 4), (8, .max, .max)] {
            let error = #expect(throws: MediaError.self) {
                try VideoFrame(
                    bytes: Array(repeating: 0, count: count),
                    format: .i420,
                    width: width,
                    height: height,
                    timestampNanoseconds: 0
                )
            }
            #expect(error?.kind == .invalidArgument)
        }
        #expect(VideoPixelFormat.rgba.byteCount(width: .max, height: .max) == 0)
    }

    @Test func `Scaling cuts the middle out to keep the shape`() throws {
        let frame = try halves(128, 64)
        let square = try frame.scaled(toWidth: 32, height: 32)
        #expect(square.width == 32 && square.height == 32)
        #expect(square.sample(x: 4, y: 16) == (40, 100, 150) && square.sample(x: 28, y: 16) == (200, 150, 100))
        // The border stays in the middle.
        #expect(abs(Int(square.sample(x: 14, y: 3).y) - 40) < 10 && abs(Int(square.sample(x: 18, y: 3).y) - 200) < 10)
        #expect(try frame.scaled(toWidth: 128, height: 64) === frame)
        for (width, height) in [(1, 1), (7, 301), (301, 7), (1_000, 3)] {
            let scaled = try frame.scaled(toWidth: width, height: height)
            #expect(scaled.width == width && scaled.height == height)
        }
        for (width, height) in [(0, 1), (1, -1), (.max, 1), (.max, .max)] {
            #expect(throws: MediaError.self) { try frame.scaled(toWidth: width, height: height) }
        }
    }

    @Test func `Turning moves what was left`() throws {
        func turned(_ rotation: VideoRotation) throws -> VideoFrame {
            let bytes = try halves(64, 32).bytes(in: .i420)
            return try VideoFrame(
                bytes: bytes,
                format: .i420,
                width: 64,
                height: 32,
                timestampNanoseconds: 9,
                rotation: rotation
            ).upright()
        }
        let right = try turned(.clockwise90)
        #expect(right.width == 32 && right.height == 64 && right.rotation == .none && right.timestampNanoseconds == 9)
        // Clockwise: the left is on top.
        #expect(right.sample(x: 16, y: 5).y == 40 && right.sample(x: 16, y: 60).y == 200)
        let left = try turned(.clockwise270)
        #expect(left.sample(x: 16, y: 5).y == 200 && left.sample(x: 16, y: 60).y == 40)
        let down = try turned(.clockwise180)
        #expect(down.width == 64 && down.sample(x: 5, y: 5).y == 200)
        #expect(try turned(.none).sample(x: 5, y: 5).y == 40)
    }

    @Test func `Black is black`() throws {
        let black = try VideoFrame.black(width: 5, height: 3, timestampNanoseconds: 2)
        #expect(black.sample(x: 4, y: 2) == (16, 128, 128) && black.timestampNanoseconds == 2)
        #expect(throws: MediaError.self) { try VideoFrame.black(width: 0, height: 3, timestampNanoseconds: 0) }
    }
}
