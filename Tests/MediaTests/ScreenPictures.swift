import Foundation
import Media
import Testing
import VirtualScreen

@testable import Capture

/// What is captured of a real X server without a monitor: the pixels that were drawn there, and nothing that was not.
@Suite(.enabled(if: VirtualScreen.isInstalled, Comment(rawValue: VirtualScreen.absence))) struct ScreenPictures {
    /// A time that the test makes pass.
    private final class Clock { var now: Int64 = 1 }
    private let clock = Clock()

    /// The next picture that shows all that was drawn before: the first attempt asks the server, so that the second has
    /// heard of everything.
    private func picture(_ reader: ScreenReader) throws -> VideoFrame? {
        var last: VideoFrame?
        for _ in 0..<2 {
            clock.now += 1_000_000
            if let frame = try reader.next(at: clock.now) { last = frame }
        }
        return last
    }

    @Test func `Pixels are those that were drawn`() throws {
        let screen = try VirtualScreen("320x240x24")
        screen.fill(0x10_20_30)
        let colours: [UInt32] = [0xff_00_00, 0x00_ff_00, 0x00_00_ff, 0xff_ff_ff, 0x00_00_00, 0x80_40_c0]
        for (index, colour) in colours.enumerated() { screen.fill(10 + 50 * index, 100, 40, 30, colour) }
        let reader = try ScreenReader(.whole(screen, 320, 240), cursor: .never, pool: VideoFramePool())
        #expect(reader.isShared)
        let frame = try #require(try picture(reader))
        #expect(frame.width == 320 && frame.height == 240)
        #expect(frame.shows(0x10_20_30, 5, 5) && frame.shows(0x10_20_30, 319, 239))
        for (index, colour) in colours.enumerated() {
            #expect(frame.shows(colour, 12 + 50 * index, 102) && frame.shows(colour, 47 + 50 * index, 127), "\(index)")
            #expect(frame.shows(0x10_20_30, 12 + 50 * index, 96), "above \(index)")
            #expect(frame.shows(0x10_20_30, 12 + 50 * index, 132), "below \(index)")
        }
    }

    @Test func `A screen on which nothing is drawn gives no further picture`() throws {
        let screen = try VirtualScreen()
        let reader = try ScreenReader(.whole(screen, 320, 240), cursor: .always, pool: VideoFramePool())
        #expect(try picture(reader) != nil)
        for _ in 0..<20 { #expect(try picture(reader) == nil) }
        screen.fill(1, 1, 1, 1, 0xff_ff_ff)
        #expect(try picture(reader) != nil)
        #expect(try picture(reader) == nil)
    }

    /// What is made of changes alone is the same as what is read whole, however rectangles and the pointer lie.
    @Test(arguments: [
        ("320x240x24", [String]()), ("321x199x24", []), ("320x240x24", ["-extension", "MIT-SHM"]),
        ("97x51x24", ["-extension", "DAMAGE"]), ("33x17x24", ["-extension", "MIT-SHM", "-extension", "DAMAGE"]),
    ]) func `Changes add up to the whole`(geometry: String, options: [String]) throws {
        let screen = try VirtualScreen(geometry, access: ["-ac"] + options)
        let size = geometry.split(separator: "x").compactMap { Int($0) }
        let surface = DisplaySurface.whole(screen, size[0], size[1])
        screen.setCursor(0xff_80_00)
        let reader = try ScreenReader(surface, cursor: .always, pool: VideoFramePool())
        #expect(reader.isShared == !options.contains("MIT-SHM"))
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        var last = try #require(try picture(reader))
        for round in 0..<25 {
            for _ in 0..<Int.random(in: 0...3, using: &random) {
                let (x, y) = (Int.random(in: 0..<size[0], using: &random), Int.random(in: 0..<size[1], using: &random))
                let (width, height) = (Int.random(in: 1...60, using: &random), Int.random(in: 1...40, using: &random))
                screen.fill(x, y, width, height, UInt32.random(in: 0...0xff_ff_ff, using: &random))
            }
            if Bool.random(using: &random) {
                screen.point(Int.random(in: 0..<size[0], using: &random), Int.random(in: 0..<size[1], using: &random))
            }
            if let frame = try picture(reader) { last = frame }
            let fresh = try ScreenReader(surface, cursor: .always, pool: VideoFramePool())
            let whole = try #require(try fresh.next(at: clock.now))
            #expect(last.hasSamePixels(as: whole), "seed \(seed), round \(round)")
        }
    }

    @Test func `The pointer is drawn where it points, or not at all`() throws {
        let screen = try VirtualScreen()
        screen.fill(0x00_00_80)
        screen.setCursor(0xff_ff_00)
        screen.point(100, 60)
        let surface = DisplaySurface.whole(screen, 320, 240)
        let reader = try ScreenReader(surface, cursor: .always, pool: VideoFramePool())
        let first = try #require(try picture(reader))
        #expect(first.shows(0xff_ff_00, 102, 62) && first.shows(0xff_ff_00, 113, 73))
        #expect(first.shows(0x00_00_80, 97, 62) && first.shows(0x00_00_80, 118, 73))
        screen.point(200, 61)
        let moved = try #require(try picture(reader))
        #expect(moved.shows(0x00_00_80, 102, 62) && moved.shows(0xff_ff_00, 205, 66))
        screen.setCursor(0x00_ff_00)
        let coloured = try #require(try picture(reader))
        #expect(coloured.shows(0x00_ff_00, 205, 66))
        // Half outside it is cut off.
        screen.point(318, 238)
        #expect(try #require(try picture(reader)).shows(0x00_ff_00, 319, 239))

        let without = try ScreenReader(surface, cursor: .never, pool: VideoFramePool())
        #expect(try #require(try picture(without)).shows(0x00_00_80, 319, 239))
        let motion = try ScreenReader(surface, cursor: .motion, pool: VideoFramePool())
        #expect(try #require(try picture(motion)).shows(0x00_00_80, 319, 239))
        screen.point(50, 50)
        #expect(try #require(try picture(motion)).shows(0x00_ff_00, 55, 55))
        #expect(try picture(motion) == nil)
        clock.now += 2_100_000_000
        #expect(try #require(try picture(motion)).shows(0x00_00_80, 55, 55))
    }

    @Test func `A monitor is its part of the screen, and followed`() throws {
        let screen = try VirtualScreen("640x480x24")
        try screen.xrandr("--setmonitor", "left", "200/50x300/80+0+0", "none")
        try screen.xrandr("--setmonitor", "right", "301/75x480/120+201+7", "none")
        screen.fill(0x20_20_20)
        screen.fill(0, 0, 201, 480, 0xff_00_00)
        screen.fill(201, 0, 439, 480, 0x00_00_ff)
        screen.point(210, 10)
        screen.setCursor(0xff_ff_ff)
        let surfaces = try ScreenCapture.surfaces(display: screen.display)
        #expect(surfaces.map(\.id) == ["screen", "left", "right"])
        let right = try DisplaySurface.named("right", in: surfaces)
        #expect(right.x == 201 && right.y == 7 && right.width == 301 && right.height == 480)
        let reader = try ScreenReader(right, cursor: .always, pool: VideoFramePool())
        let frame = try #require(try picture(reader))
        // What reaches beyond the screen is cut off.
        #expect(frame.width == 301 && frame.height == 473)
        #expect(frame.shows(0x00_00_ff, 2, 100) && frame.shows(0xff_ff_ff, 12, 6))
        // What happens beside it is not seen.
        screen.fill(10, 10, 50, 50, 0x00_ff_00)
        screen.point(20, 20)
        let departed = try #require(try picture(reader))
        #expect(departed.shows(0x00_00_ff, 12, 6))
        screen.point(30, 30)
        screen.fill(10, 10, 50, 50, 0x00_ff_ff)
        #expect(try picture(reader) == nil)
        screen.fill(201, 7, 100, 100, 0x00_ff_00)
        #expect(try #require(try picture(reader)).shows(0x00_ff_00, 50, 50))

        // As when its mode changes: it is away for a moment.
        try screen.xrandr("--delmonitor", "right")
        #expect(try picture(reader) == nil)
        try screen.xrandr("--setmonitor", "right", "100/25x90/20+0+0", "none")
        let follows = try #require(try next(reader) { $0.width == 100 })
        #expect(follows.height == 90 && follows.shows(0x00_ff_ff, 55, 55))
        try screen.xrandr("--delmonitor", "right")
        // It may be a change of its mode, until it has lasted.
        while try picture(reader) != nil {}
        clock.now += 3_100_000_000
        let error = #expect(throws: MediaError.self) { _ = try picture(reader) }
        #expect(error?.kind == .unplugged && error?.subject == "monitor right of display \(screen.display)")
    }

    /// Pictures until one is as wanted; a server that does not tell ends this after many attempts.
    private func next(_ reader: ScreenReader, where isWanted: (VideoFrame) -> Bool) throws -> VideoFrame? {
        for _ in 0..<100 {
            if let frame = try picture(reader), isWanted(frame) { return frame }
        }
        return nil
    }

    @Test func `A screen that changes its size is followed`() throws {
        let screen = try VirtualScreen("640x480x24")
        screen.fill(0xff_00_00)
        let reader = try ScreenReader(.whole(screen, 640, 480), cursor: .never, pool: VideoFramePool())
        #expect(try picture(reader)?.width == 640)
        try screen.xrandr("--newmode", "odd", "0", "321", "0", "0", "0", "243", "0", "0", "0")
        try screen.xrandr("--addmode", "screen", "odd")
        try screen.xrandr("--output", "screen", "--mode", "odd")
        screen.fill(0, 0, 321, 243, 0x00_00_ff)
        let small = try #require(try next(reader) { $0.width == 321 && $0.shows(0x00_00_ff, 160, 120) })
        #expect(small.height == 243 && small.shows(0x00_00_ff, 320, 242) && small.shows(0x00_00_ff, 0, 0))
        try screen.xrandr("--output", "screen", "--mode", "640x480")
        screen.fill(0x00_ff_00)
        let large = try #require(try next(reader) { $0.width == 640 && $0.shows(0x00_ff_00, 320, 240) })
        #expect(large.height == 480 && large.shows(0x00_ff_00, 639, 479))
    }

    @Test func `A window is read under others, outside the screen, and until it is closed`() throws {
        let screen = try VirtualScreen("320x240x24")
        screen.fill(0x80_80_80)
        let window = screen.window(20, 20, 101, 77, 0xff_00_00, border: 3, title: "Editor – né")
        let surfaces = try ScreenCapture.surfaces(display: screen.display)
        let surface = try #require(surfaces.first { $0.kind == .window })
        #expect(surface.id == "0x" + String(window, radix: 16) && surface.width == 101 && surface.height == 77)
        let reader = try ScreenReader(surface, cursor: .never, pool: VideoFramePool())
        let first = try #require(try picture(reader))
        #expect(first.width == 101 && first.height == 77)
        #expect(first.shows(0xff_00_00, 1, 1) && first.shows(0xff_00_00, 99, 75))
        let cover = screen.window(0, 0, 320, 240, 0x00_00_ff)
        screen.fill(0, 0, 50, 77, 0x00_ff_00, in: window)
        let covered = try #require(try picture(reader))
        #expect(covered.shows(0x00_ff_00, 10, 70) && covered.shows(0xff_00_00, 90, 10))
        screen.place(window, -60, 200, 101, 77)
        screen.fill(0, 0, 101, 77, 0xff_ff_00, in: window)
        #expect(try next(reader) { $0.shows(0xff_ff_00, 1, 1) && $0.shows(0xff_ff_00, 99, 75) } != nil)
        screen.place(window, 10, 10, 64, 31)
        screen.fill(0, 0, 64, 31, 0x00_ff_ff, in: window)
        let resized = try #require(try next(reader) { $0.width == 64 && $0.shows(0x00_ff_ff, 62, 29) })
        #expect(resized.height == 31)
        // A hidden one stands still, and comes back.
        screen.unmap(window)
        #expect(try picture(reader) == nil)
        screen.map(window)
        screen.fill(0, 0, 64, 31, 0xff_00_ff, in: window)
        #expect(try next(reader) { $0.shows(0xff_00_ff, 30, 15) } != nil)
        screen.close(window)
        let error = #expect(throws: MediaError.self) { for _ in 0..<3 { _ = try picture(reader) } }
        #expect(error?.kind == .finished)
        screen.close(cover)
    }

    @Test func `A window in a frame is found without its frame`() throws {
        let screen = try VirtualScreen("320x240x24")
        let frame = screen.window(30, 20, 120, 90, 0x80_80_80)
        let window = screen.window(0, 0, 100, 60, 0xff_00_00, title: "Framed")
        screen.frame(window, in: frame, 10, 20)
        let plain = screen.window(200, 100, 40, 30, 0x00_ff_00)
        let windows = try ScreenCapture.surfaces(display: screen.display).filter { $0.kind == .window }
        #expect(windows.map(\.id) == [plain, window].map { "0x" + String($0, radix: 16) })
        let framed = try DisplaySurface.named("framed", in: windows)
        #expect(framed.x == 40 && framed.y == 40 && framed.width == 100 && framed.height == 60)
        let reader = try ScreenReader(framed, cursor: .never, pool: VideoFramePool())
        let picture = try #require(try picture(reader))
        #expect(picture.width == 100 && picture.shows(0xff_00_00, 0, 0) && picture.shows(0xff_00_00, 99, 59))
    }

    @Test func `A server that ends, ends it with words`() throws {
        let screen = try VirtualScreen()
        let reader = try ScreenReader(.whole(screen, 320, 240), cursor: .always, pool: VideoFramePool())
        _ = try picture(reader)
        screen.end()
        let error = #expect(throws: MediaError.self) { for _ in 0..<3 { _ = try picture(reader) } }
        #expect(error?.kind == .unplugged && error?.subject == "display \(screen.display)")
    }

    @Test func `Without shared memory pixels come through the connection`() throws {
        let screen = try VirtualScreen("320x240x24", "-listen", "tcp")
        screen.fill(0x12_34_56)
        let remote = DisplaySurface(
            kind: .screen,
            id: "screen",
            label: "screen",
            width: 320,
            height: 240,
            display: "127.0.0.1" + screen.display
        )
        let reader = try ScreenReader(remote, cursor: .never, pool: VideoFramePool())
        #expect(!reader.isShared)
        #expect(try #require(try picture(reader)).shows(0x12_34_56, 160, 120))
    }
}

extension DisplaySurface {
    /// All of a server's screen.
    static func whole(_ screen: VirtualScreen, _ width: Int, _ height: Int) -> DisplaySurface {
        DisplaySurface(
            kind: .screen,
            id: "screen",
            label: "screen",
            width: width,
            height: height,
            display: screen.display
        )
    }
}

extension VideoFrame {
    /// Whether a pixel, inside an area of one colour, has that colour: ITU-R BT.601, limited range, within 2.
    func shows(_ colour: UInt32, _ x: Int, _ y: Int) -> Bool {
        let (red, green, blue) = (Double(colour >> 16 & 0xff), Double(colour >> 8 & 0xff), Double(colour & 0xff))
        let wanted = [
            16 + 0.257 * red + 0.504 * green + 0.098 * blue, 128 - 0.148 * red - 0.291 * green + 0.439 * blue,
            128 + 0.439 * red - 0.368 * green - 0.071 * blue,
        ]
        let sample = sample(x: x, y: y)
        return zip(wanted, [sample.y, sample.u, sample.v]).allSatisfy { abs($0 - Double($1)) <= 2 }
    }

    /// Whether all samples are equal.
    func hasSamePixels(as other: VideoFrame) -> Bool {
        guard width == other.width, height == other.height else { return false }
        return withPlanes { one in
            other.withPlanes { two in
                (0..<height).allSatisfy { memcmp(one.y + $0 * one.strideY, two.y + $0 * two.strideY, width) == 0 }
                    && (0..<chromaHeight).allSatisfy { row in
                        memcmp(one.u + row * one.strideUV, two.u + row * two.strideUV, chromaWidth) == 0
                            && memcmp(one.v + row * one.strideUV, two.v + row * two.strideUV, chromaWidth) == 0
                    }
            }
        }
    }
}
