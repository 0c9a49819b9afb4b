import Foundation
import Media
import TerminalUI
import Testing

@testable import Capture
@testable import Display

/// Pictures for people, as values: PNG bytes, terminals' text, places on a screen.
@Suite struct PicturesForPeople {
    private static func plain(_ width: Int, _ height: Int, _ red: UInt8, _ green: UInt8, _ blue: UInt8) -> RGBPicture {
        RGBPicture(
            width: width,
            height: height,
            bytes: (0..<(width * height)).flatMap { _ in [red, green, blue] }
        )
    }

    @Test func `Colours survive the way from I420`() throws {
        let picture = try RGBPicture(try TestPattern(width: 320, height: 180).frame(3, timestampNanoseconds: 0))
        let wanted: [(Int, Int, Int)] = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)]
        for (bar, colour) in wanted.enumerated() {
            let pixel = picture[(2 * bar + 1) * 40, 67]
            #expect(abs(Int(pixel.red) - colour.0) < 8 && abs(Int(pixel.green) - colour.1) < 8)
            #expect(abs(Int(pixel.blue) - colour.2) < 8)
        }
    }

    @Test func `A PNG file is what ffmpeg reads in it`() throws {
        let folder = try TemporaryFolder()
        let picture = try RGBPicture(try TestPattern(width: 322, height: 182).frame(3, timestampNanoseconds: 0))
        let path = folder.path + "/a.png"
        try PNGFile.write(picture, to: path)
        let raw = folder.path + "/a.rgb"
        let read = try Tool.run("ffmpeg", "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", raw)
        #expect(read.errors.isEmpty, "\(read.errors)")
        #expect(Array(try Data(contentsOf: URL(fileURLWithPath: raw))) == picture.bytes)
        // Again, over itself, and nothing else is left.
        try PNGFile.write(picture, to: path)
        try FileManager.default.removeItem(atPath: raw)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["a.png"])
        let error = #expect(throws: MediaError.self) { try PNGFile.write(picture, to: folder.path + "/no/a.png") }
        #expect(error?.kind == .notFound)
        #expect(throws: MediaError.self) { try PNGFile.bytes(of: RGBPicture(width: 2, height: 2, bytes: [1])) }
    }

    @Test func `What is no ordinary file is written into, and not replaced`() throws {
        let folder = try TemporaryFolder()
        let picture = Self.plain(4, 4, 200, 100, 0)
        let bytes = try PNGFile.bytes(of: picture)
        // A pipe.
        let pipe = folder.path + "/pipe"
        #expect(unsafe mkfifo(pipe, 0o600) == 0)
        let reader = unsafe open(pipe, O_RDONLY | O_NONBLOCK)
        defer { close(reader) }
        try PNGFile.write(picture, to: pipe)
        #expect(try Tool.run("stat", "-c", "%F", pipe).output == "fifo\n")
        var read = [UInt8](repeating: 0, count: 2 * bytes.count)
        let count = unsafe Glibc.read(reader, &read, read.count)
        #expect(Array(read.prefix(max(0, count))) == bytes)
        // A symbolic link, to a file that is there and to one that is not yet.
        let (link, target) = (folder.path + "/link.png", folder.path + "/target.png")
        #expect(unsafe symlink("target.png", link) == 0)
        for _ in 0..<2 {
            try PNGFile.write(picture, to: link)
            #expect(try Tool.run("stat", "-c", "%F", link).output == "symbolic link\n")
            #expect(try Array(Data(contentsOf: URL(fileURLWithPath: target))) == bytes)
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).count == 3)
        let error = #expect(throws: MediaError.self) { try PNGFile.write(picture, to: folder.path) }
        #expect(error?.message.contains("directory") == true)
    }

    @Test func `A picture in the size of noise fits its buffer`() throws {
        let noise = RGBPicture(width: 61, height: 47, bytes: (0..<(61 * 47 * 3)).map { _ in .random(in: 0 ... .max) })
        #expect(try PNGFile.bytes(of: noise).count > 61 * 47 * 3)
    }

    @Test func `Half blocks draw two pixels a character, and then only what changes`() {
        var painter = TerminalPainter(.blocks)
        var picture = Self.plain(4, 4, 200, 100, 0)
        let first = painter.paint(picture, columns: 4, rows: 2)
        #expect(first.filter { $0 == "▀" }.count == 8)
        #expect(first.contains("\u{1B}[1;1H\u{1B}[38;2;200;100;0m\u{1B}[48;2;200;100;0m▀▀▀▀\u{1B}[2;1H▀▀▀▀"))
        #expect(first.hasSuffix("\u{1B}[0m"))
        #expect(painter.paint(picture, columns: 4, rows: 2) == "")
        picture.bytes[(3 * 4 + 2) * 3] = 0  // the lower half of a character
        let second = painter.paint(picture, columns: 4, rows: 2)
        #expect(second == "\u{1B}[2;3H\u{1B}[38;2;200;100;0m\u{1B}[48;2;0;100;0m▀\u{1B}[0m")
        painter.invalidate()
        #expect(painter.paint(picture, columns: 4, rows: 2).filter { $0 == "▀" }.count == 8)
    }

    @Test func `Terminals with 256 colours get those`() {
        var painter = TerminalPainter(.blocks256)
        #expect(painter.paint(Self.plain(1, 2, 255, 0, 0), columns: 1, rows: 1).contains("\u{1B}[38;5;196m"))
        #expect(painter.paint(Self.plain(1, 2, 128, 128, 128), columns: 1, rows: 1).contains("\u{1B}[38;5;244m"))
    }

    @Test func `kitty's protocol carries the pixels in pieces of 4096`() {
        var painter = TerminalPainter(.kitty)
        let picture = Self.plain(64, 40, 1, 2, 3)
        let text = painter.paint(picture, columns: 10, rows: 5)
        #expect(text.contains("a=T,f=24,s=64,v=40,i=77,p=1,c=10,r=5,C=1,q=2,m=1;"))
        var content = ""
        for piece in text.components(separatedBy: "\u{1B}_G").dropFirst() {
            let body = piece.components(separatedBy: ";")[1].components(separatedBy: "\u{1B}\\")[0]
            #expect(body.count <= 4_096)
            content += body
        }
        #expect(Data(base64Encoded: content).map(Array.init) == picture.bytes)
        for count in 0...4 {
            let bytes = (0..<count).map { UInt8($0 * 80) }
            #expect(String(decoding: Base64.text(of: bytes), as: UTF8.self) == Data(bytes).base64EncodedString())
        }
    }

    @Test func `Sixels paint what was to be painted`() {
        // Ten columns of red over blue, eight rows: two bands.
        var picture = Self.plain(10, 8, 255, 0, 0)
        for index in (10 * 4)..<(10 * 8) {
            picture.bytes.replaceSubrange(index * 3..<index * 3 + 3, with: [0, 0, 255])
        }
        let text = Sixel.text(of: picture)
        #expect(text.hasPrefix("\u{1B}P0;1;0q\"1;1;10;8#5;2;0;0;100#180;2;100;0;0"))
        // Rows 0 to 3 are 15, rows 4 and 5 are 48; of the second band rows 0 and 1 are 3.
        #expect(text.hasSuffix("#5!10o$#180!10N$-#5!10B$-\u{1B}\\"))
    }

    @Test func `The terminal's kind follows its environment and its answer`() {
        func detect(_ environment: [String: String], _ attributes: [Int] = []) -> TerminalGraphics {
            TerminalGraphics.detect(environment: { environment[$0] }, attributes: attributes)
        }
        #expect(detect(["TERM": "xterm-kitty"]) == .kitty)
        #expect(detect(["TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"]) == .kitty)
        #expect(detect(["TERM": "xterm-256color", "KITTY_WINDOW_ID": "1", "TMUX": "/tmp/x"]) == .blocks)
        #expect(detect(["TERM": "xterm-256color"], [62, 4, 22]) == .sixel)
        #expect(detect(["TERM": "tmux-256color", "TMUX": "x"], [1, 4]) == .blocks)
        #expect(detect(["TERM": "xterm-256color", "COLORTERM": "truecolor"]) == .blocks)
        #expect(detect(["TERM": "linux"]) == .blocks256)
        #expect(detect(["TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"]) == .blocks256)
        #expect(TerminalGraphics.attributes(ofAnswer: Array("\u{1B}[?62;4;22c".utf8)) == [62, 4, 22])
        #expect(TerminalGraphics.attributes(ofAnswer: Array("typed meanwhile\u{1B}[?6c".utf8)) == [6])
        #expect(TerminalGraphics.attributes(ofAnswer: Array("nonsense".utf8)) == [])
    }

    @Test(arguments: [(1, 1), (2, 2), (3, 4), (4, 4), (5, 6), (9, 9)])
    func `Everybody has a cell, none over another`(count: Int, grid: Int) {
        let cells = PictureLayout.cells(count, width: 1_280, height: 720)
        #expect(cells.count == count)
        for (index, cell) in cells.enumerated() {
            #expect(cell.x >= 0 && cell.y >= 0 && cell.x + cell.width <= 1_280 && cell.y + cell.height <= 720)
            for other in cells[(index + 1)...] {
                let isApart =
                    cell.x + cell.width <= other.x || other.x + other.width <= cell.x
                    || cell.y + cell.height <= other.y || other.y + other.height <= cell.y
                #expect(isApart)
            }
        }
        // As many as the grid has room for, up to what rounding takes.
        #expect(abs(cells[0].width * cells[0].height * grid - 1_280 * 720) < 10_000)
    }

    @Test func `Pictures keep their shape, whatever the place`() {
        let area = PictureArea(x: 10, y: 20, width: 300, height: 100).fitting(width: 640, height: 480)
        #expect(area == PictureArea(x: 93, y: 20, width: 133, height: 100))
        #expect(PictureArea(x: 0, y: 0, width: 1, height: 1).fitting(width: 16_384, height: 1).height == 1)
        #expect(PictureArea(x: 0, y: 0, width: 0, height: 0).fitting(width: 4, height: 3).width == 0)
    }

    @Test func `All pictures are in the composed one, one's own in the corner`() throws {
        func colour(_ y: UInt8) throws -> VideoFrame { try picture(64, 36) { _, _ in (y, 128, 128) } }
        let composed = try PictureLayout.compose(
            [try colour(60), try colour(120)],
            preview: try colour(200),
            width: 320,
            height: 90
        )
        #expect(composed.sample(x: 80, y: 45).y == 60)
        #expect(composed.sample(x: 200, y: 30).y == 120)
        #expect(composed.sample(x: 300, y: 80).y == 200)
        let alone = try PictureLayout.compose([], preview: try colour(77), width: 160, height: 90)
        #expect(alone.sample(x: 80, y: 45).y == 77)
        #expect(try PictureLayout.compose([], preview: nil, width: 2, height: 2).sample(x: 0, y: 0).y == 16)
    }

    @Test(arguments: [10, 30, 41, 60, 80])
    func `A caption fills its row, however wide the names are`(columns: Int) {
        for name in ["Otter", "世界世界世界世界世界x", "👩‍🚀👩‍🚀👩‍🚀👩‍🚀👩‍🚀👩‍🚀👩‍🚀", "e\u{301}e\u{301}e\u{301}"] {
            let pictures = CallPictures()
            pictures.add("1", name: name)
            let caption = TerminalView.Screen.caption(pictures.now, columns: columns)
            #expect(TerminalText.width(of: caption) == columns, "\(caption)")
        }
    }

    @Test func `The view keeps its rows, says who is there, and gives the terminal back`() throws {
        var screen = TerminalView.Screen(.blocks)
        let pictures = CallPictures()
        pictures.add("1", name: "Otter")
        pictures.show(try picture(64, 36) { _, _ in (90, 128, 128) }, of: "1")
        pictures.show(try picture(64, 36) { _, _ in (90, 128, 128) }, of: "nobody")
        pictures.set(isMicrophoneOff: true, isCameraOff: false)
        let size = TerminalView.Size(columns: 60, rows: 20)
        let first = try screen.draw(pictures.now, size: size)
        #expect(first.contains("\u{1B}[15;20r"), "the lines below scroll alone")
        #expect(first.contains("Otter [microphone off]") && first.contains("/mute /video /quit"))
        #expect(first.hasSuffix("\u{1B}8"))
        #expect(first.filter { $0 == "▀" }.count == 60 * 13)
        // Nothing new: no scrolling, no setting up.
        let second = try screen.draw(pictures.now, size: size)
        #expect(!second.contains("\n") && !second.contains("r\u{1B}8") && !second.contains("▀"))
        // Another size: all anew.
        let third = try screen.draw(pictures.now, size: TerminalView.Size(columns: 30, rows: 30))
        #expect(third.contains("\u{1B}[25;30r") && third.filter { $0 == "▀" }.count == 30 * 23)
        #expect(screen.ending.contains("\u{1B}[r") && screen.ending.contains("\u{1B}[30;1H"))
        // Too small for pictures: lines alone.
        #expect(try screen.draw(pictures.now, size: TerminalView.Size(columns: 30, rows: 8)) == "\u{1B}[r")
        pictures.remove("1")
        #expect(pictures.now.participants.isEmpty)
    }

    @Test(arguments: [(0, 0), (1, 1), (1, 24), (500, 3), (65_535, 24)])
    func `A terminal of any size is survived`(columns: Int, rows: Int) throws {
        for graphics in TerminalGraphics.allCases {
            var screen = TerminalView.Screen(graphics)
            let pictures = CallPictures()
            pictures.showPreview(try picture(16, 16) { _, _ in (90, 128, 128) })
            _ = try? screen.draw(
                pictures.now,
                size: .init(columns: columns, rows: rows, cell: .init(width: 1, height: 1))
            )
            _ = screen.ending
        }
    }

    @Test func `Letters are read as they are drawn`() {
        var rows = [String](repeating: "", count: 7).map { _ in [Character](repeating: ".", count: 12) }
        BitmapFont.draw("Ä1") { x, y in rows[y][x] = "#" }
        #expect(
            rows.map { String($0) } == [
                ".###....#...", "#...#..##...", "#...#...#...", "#...#...#...", "#####...#...", "#...#...#...",
                "#...#..###..",
            ]
        )
        #expect(BitmapFont.width(of: "abc") == 18)
    }
}
