import Foundation
import Locking
import Media
import Testing
import VirtualScreen

@testable import Capture

/// The screen as a source of pictures: its thread, its end, and what it says when it cannot be had.
@Suite(.enabled(if: VirtualScreen.isInstalled, Comment(rawValue: VirtualScreen.absence))) struct ScreenSources {
    @Test(.timeLimit(.minutes(10))) func `Pictures come while something changes, and a still one comes again`()
        async throws
    {
        let screen = try VirtualScreen()
        screen.fill(0xff_00_00)
        let capture = try ScreenCapture(.whole(screen, 320, 240), framesPerSecond: 60, cursor: .never)
        #expect(capture.label == "screen" && capture.isMemoryShared)
        let (frames, feed) = AsyncStream<VideoFrame>.makeStream()
        try capture.start { feed.yield($0) }
        var iterator = frames.makeAsyncIterator()
        #expect(await iterator.next()?.shows(0xff_00_00, 160, 120) == true)
        screen.fill(0x00_ff_00)
        var last: Int64 = 0
        while let frame = await iterator.next(), !frame.shows(0x00_ff_00, 160, 120) {
            #expect(frame.timestampNanoseconds > last)
            last = frame.timestampNanoseconds
        }
        // Nothing is drawn from here on.
        while capture.statistics.framesRepeated < 7, let frame = await iterator.next() {
            #expect(frame.shows(0x00_ff_00, 160, 120))
        }
        let captured = capture.statistics.framesCaptured
        #expect(captured <= 5, "a still screen was read \(captured) times")
        capture.stop()
        // It can be started again, and stopped by its taker.
        let again = Mutex(0)
        let (ends, end) = AsyncStream<Void>.makeStream()
        try capture.start { _ in
            again.withLock { $0 += 1 }
            capture.stop()
            end.finish()
        }
        for await _ in ends {}
        #expect(again.withLock { $0 } == 1)
    }

    @Test(.timeLimit(.minutes(10))) func `A window that is closed ends the source, as does a server`() async throws {
        let screen = try VirtualScreen()
        let window = screen.window(10, 10, 50, 40, 0xff_00_00, title: "Passing")
        let surface = try DisplaySurface.named("passing", in: try ScreenCapture.surfaces(display: screen.display))
        #expect(surface.label == "Passing")
        for (end, kind) in [({ screen.close(window) }, MediaError.Kind.finished), ({ screen.end() }, .unplugged)] {
            let capture = try ScreenCapture(kind == .finished ? surface : .whole(screen, 320, 240))
            let (errors, feed) = AsyncStream<MediaError>.makeStream()
            let (frames, frame) = AsyncStream<Void>.makeStream()
            capture.addFailureHandler { feed.yield($0) }
            try capture.start { _ in frame.yield() }
            for await _ in frames { break }
            end()
            for await error in errors {
                #expect(error.kind == kind)
                break
            }
        }
    }

    @Test(.timeLimit(.minutes(10))) func `A server that answers nothing does not hold up a stop`() async throws {
        let screen = try VirtualScreen()
        let capture = try ScreenCapture(.whole(screen, 320, 240))
        let (frames, feed) = AsyncStream<Void>.makeStream()
        try capture.start { _ in feed.yield() }
        for await _ in frames { break }
        screen.freeze(true)
        capture.stop()
        screen.freeze(false)
    }

    private func refusal(_ body: () throws -> Void) -> MediaError? {
        do {
            try body()
            return nil
        } catch {
            return error as? MediaError
        }
    }

    @Test func `A depth that cannot be read is refused with what to do`() throws {
        let screen = try VirtualScreen("64x48x16")
        let error = refusal { _ = try ScreenCapture(.whole(screen, 64, 48)) }
        #expect(error?.kind == .notUsable)
        #expect(error?.message.contains("16 bits") == true && error?.message.contains("-depth 24") == true)
    }

    @Test func `A display that is not there, and one that is no name, are told apart`() throws {
        let screen = try VirtualScreen()
        let name = screen.display
        screen.end()
        let gone = refusal { _ = try ScreenCapture.surfaces(display: name) }
        #expect(gone?.kind == .notFound && gone?.subject == "display \(name)")
        #expect(gone?.message.contains("no X server answers") == true, "\(String(describing: gone))")
        let nonsense = refusal { _ = try ScreenCapture.surfaces(display: "nonsense") }
        #expect(nonsense?.kind == .notFound && nonsense?.message.contains("no name") == true)
        let live = try VirtualScreen()
        let noScreen = refusal { _ = try ScreenCapture.surfaces(display: live.display + ".7") }
        #expect(noScreen?.message.contains("no such screen") == true)
    }

    @Test func `A display that refuses this user says how to be let in`() throws {
        let folder = try TemporaryFolder()
        // An authority file with a key that nobody here has: family 0xffff, empty address and number.
        let name = Array("MIT-MAGIC-COOKIE-1".utf8)
        let key = (0..<16).map { _ in UInt8.random(in: 0...255) }
        let entry = Data([0xff, 0xff, 0, 0, 0, 0, 0, UInt8(name.count)] + name + [0, 16] + key)
        let path = folder.path + "/authority"
        try entry.write(to: URL(fileURLWithPath: path))
        let screen = try VirtualScreen("64x48x24", access: ["-auth", path])
        let error = refusal { _ = try ScreenCapture.surfaces(display: screen.display) }
        #expect(error?.kind == .notPermitted)
        #expect(error?.message.contains("xhost") == true && error?.message.contains("XAUTHORITY") == true)
    }

    @Test func `What is not there and what cannot be is refused`() throws {
        let screen = try VirtualScreen()
        func surface(_ kind: DisplaySurface.Kind, _ id: String) -> DisplaySurface {
            DisplaySurface(kind: kind, id: id, label: id, width: 1, height: 1, display: screen.display)
        }
        #expect(refusal { _ = try ScreenCapture(surface(.window, "0x7fffff")) }?.kind == .notFound)
        #expect(refusal { _ = try ScreenCapture(surface(.monitor, "DP-9")) }?.kind == .notFound)
        for rate in [0, -1, 1_000, .nan, .infinity] {
            let error = refusal { _ = try ScreenCapture(.whole(screen, 320, 240), framesPerSecond: rate) }
            #expect(error?.kind == .invalidArgument)
        }
        let window = screen.window(0, 0, 20, 20, 0)
        screen.unmap(window)
        let hidden = refusal { _ = try ScreenCapture(surface(.window, "0x" + String(window, radix: 16))) }
        #expect(hidden?.kind == .notUsable && hidden?.message.contains("restore") == true)
    }

    @Test func `A window without Composite is refused, and the screen is not`() throws {
        let screen = try VirtualScreen("64x48x24", "-extension", "Composite")
        _ = screen.window(0, 0, 20, 20, 0, title: "Plain")
        let surfaces = try ScreenCapture.surfaces(display: screen.display)
        let window = try DisplaySurface.named("Plain", in: surfaces)
        let error = refusal { _ = try ScreenCapture(window) }
        #expect(error?.kind == .notUsable && error?.message.contains("Composite") == true)
        _ = try ScreenCapture(surfaces[0], cursor: .always)
    }
}

/// What needs no server: names, layouts, the pointer's picture, repetitions.
@Suite struct ScreenParts {
    private func surface(_ kind: DisplaySurface.Kind, _ id: String, _ label: String) -> DisplaySurface {
        DisplaySurface(kind: kind, id: id, label: label, width: 1, height: 1, display: ":0")
    }

    @Test func `A surface is found by what people call it`() throws {
        let surfaces = [
            surface(.screen, "screen", "screen"), surface(.monitor, "HDMI-1", "HDMI-1"),
            surface(.window, "0x1a00003", "Mail – Inbox"), surface(.window, "0x1c00007", "Editor"),
            surface(.window, "0x1e00001", "Editor"), surface(.window, "0x2000001", "Notes"),
        ]
        for (name, id) in [
            ("screen", "screen"), ("HDMI-1", "HDMI-1"), ("hdmi", "HDMI-1"), ("0x1A00003", "0x1a00003"),
            ("\(0x1a00003)", "0x1a00003"), ("Mail – Inbox", "0x1a00003"), ("inbox", "0x1a00003"),
            ("Notes", "0x2000001"),
        ] {
            #expect(try DisplaySurface.named(name, in: surfaces).id == id, "\(name)")
        }
        for (name, kind, words) in [
            ("Editor", MediaError.Kind.invalidArgument, "0x1c00007 (Editor), 0x1e00001 (Editor)"),
            ("Browser", .notFound, "HDMI-1"), ("", .notFound, "HDMI-1"), ("0x77", .notFound, "screen"),
        ] {
            let error = #expect(throws: MediaError.self) { try DisplaySurface.named(name, in: surfaces) }
            #expect(
                error?.kind == kind && error?.message.contains(words) == true,
                "\(name): \(String(describing: error))"
            )
        }
    }

    @Test func `All byte orders give the same picture`() throws {
        // Red on the left, anything on the right.
        let colours: [UInt32] = (0..<35).map { $0 % 7 < 4 ? 0xff_00_00 : UInt32.random(in: 0...0xff_ff_ff) }
        var pictures: [VideoFrame] = []
        for layout in PixelLayout.allCases {
            let bytes = colours.flatMap { colour -> [UInt8] in
                let (red, green, blue) = (UInt8(colour >> 16), UInt8(colour >> 8 & 0xff), UInt8(colour & 0xff))
                return switch layout {
                case .bgrx: [blue, green, red, 7]
                case .rgbx: [red, green, blue, 7]
                case .xrgb: [7, red, green, blue]
                case .xbgr: [7, blue, green, red]
                }
            }
            pictures.append(
                try VideoFrame(width: 7, height: 5, timestampNanoseconds: 1) { planes throws(MediaError) in
                    let whole = PixelRectangle(x: 0, y: 0, width: 7, height: 5)
                    let isDone = layout.convert(bytes, bytesPerRow: 28, part: whole, to: planes)
                    #expect(isDone)
                }
            )
        }
        #expect(pictures.dropFirst().allSatisfy { $0.hasSamePixels(as: pictures[0]) })
        #expect(pictures[0].shows(0xff_00_00, 1, 1))
    }

    @Test func `A pointer that is half transparent is mixed with what is below`() throws {
        let blue = try plain(0x00_00_ff)
        for (alpha, wanted) in [(0xff, UInt32(0xff_ff_ff)), (0x80, 0x80_80_ff), (0, 0x00_00_ff)] {
            let word = UInt32(alpha << 24 | alpha << 16 | alpha << 8 | alpha)
            let pointer = try #require(
                CursorPicture(width: 6, height: 6, hotX: 2, hotY: 1, argb: Array(repeating: word, count: 36))
            )
            let frame = try blue.drawing { planes in
                pointer.draw(pointingAt: 4, 3, on: planes, width: 16, height: 12)
            }
            // From 2, 2 to 7, 7.
            #expect(frame.shows(wanted, 4, 4) && frame.shows(wanted, 7, 7), "\(alpha)")
            #expect(frame.shows(0x00_00_ff, 1, 1) && frame.shows(0x00_00_ff, 8, 8), "\(alpha)")
        }
    }

    @Test func `A pointer outside the picture, and one that a server sent wrong, change nothing outside`() throws {
        let blue = try plain(0x00_00_ff)
        // Colours beyond their alpha would overflow.
        let words = Array(repeating: UInt32(0x00_ff_ff_ff), count: 16)
        let pointer = try #require(CursorPicture(width: 4, height: 4, hotX: 0, hotY: 0, argb: words))
        for (x, y) in [(-100, 5), (5, -100), (16, 0), (0, 12), (-4, -4), (3, 3), (14, 10), (-2, -2), (1 << 40, 1)] {
            let frame = try blue.drawing { planes in pointer.draw(pointingAt: x, y, on: planes, width: 16, height: 12) }
            #expect(frame.hasSamePixels(as: blue), "\(x) \(y)")
        }
        #expect(CursorPicture(width: 4, height: 4, hotX: 0, hotY: 0, argb: words.dropLast()) == nil)
        #expect(CursorPicture(width: 0, height: 4, hotX: 0, hotY: 0, argb: []) == nil)
    }

    private func plain(_ colour: UInt32) throws -> VideoFrame {
        let bytes = (0..<(16 * 12)).flatMap { _ in
            [UInt8(colour & 0xff), UInt8(colour >> 8 & 0xff), UInt8(colour >> 16), 0]
        }
        return try VideoFrame(width: 16, height: 12, timestampNanoseconds: 1) { planes throws(MediaError) in
            let whole = PixelRectangle(x: 0, y: 0, width: 16, height: 12)
            let isDone = PixelLayout.bgrx.convert(bytes, bytesPerRow: 64, part: whole, to: planes)
            #expect(isDone)
        }
    }

    @Test func `A still picture comes quickly at first, then twice a second`() {
        var repetition = Repetition()
        let isDueBefore = repetition.isDue(at: 1 << 60)
        #expect(!isDueBefore)
        repetition.begin(at: 0)
        let times = stride(from: Int64(0), through: 3_000_000_000, by: 100_000_000).filter { repetition.isDue(at: $0) }
        #expect(times.map { $0 / 100_000_000 } == [2, 4, 6, 8, 10, 15, 20, 25, 30])
        repetition.begin(at: 3_000_000_000)
        let (early, due) = (repetition.isDue(at: 3_100_000_000), repetition.isDue(at: 3_200_000_000))
        #expect(!early && due)
    }

    @Test func `Rectangles are cut, joined and widened for the chroma`() {
        let one = PixelRectangle(x: 3, y: 5, width: 4, height: 2)
        #expect(one.intersection(.init(x: 5, y: 0, width: 9, height: 6)) == .init(x: 5, y: 5, width: 2, height: 1))
        #expect(one.intersection(.init(x: 50, y: 0, width: 9, height: 6)).isEmpty)
        #expect(one.union(.init(x: 0, y: 0, width: 1, height: 1)) == .init(x: 0, y: 0, width: 7, height: 7))
        #expect(one.union(.init(x: 0, y: 0, width: 0, height: 0)) == one)
        #expect(one.alignedToChroma(width: 100, height: 100) == .init(x: 2, y: 4, width: 6, height: 4))
        #expect(one.alignedToChroma(width: 7, height: 7) == .init(x: 2, y: 4, width: 5, height: 3))
    }
}

extension VideoFrame {
    /// The picture with something drawn on it.
    fileprivate func drawing(_ draw: (borrowing Planes) -> Void) throws -> VideoFrame {
        try VideoFrame(width: width, height: height, timestampNanoseconds: 1) { planes throws(MediaError) in
            withPlanes { source in
                memcpy(planes.y, source.y, strideY * height)
                memcpy(planes.u, source.u, strideUV * chromaHeight)
                memcpy(planes.v, source.v, strideUV * chromaHeight)
            }
            draw(planes)
        }
    }
}
