import Glibc
import TerminalUI
import Testing

private let isReaderInstalled = system("command -v zbarimg >/dev/null 2>&1") == 0

/// A reader made by others finds our text again: `zbarimg`, Debian's zbar-tools.
@Suite(.enabled(if: isReaderInstalled, "zbarimg is not installed"))
struct QRCodeReading {
    @Test(arguments: [1, 17, 40, 77, 120, 134, 180, 250, 400, 700, 858])
    func everySizeIsRead(byteCount: Int) throws {
        let text = String("https://example.org/room?".prefix(byteCount))
        let padded = text + String(repeating: "q", count: byteCount - text.utf8.count)
        let code = try #require(QRCode(padded))
        #expect(try read(modules(of: code)) == padded)
    }

    @Test(arguments: 0...7)
    func everyMaskIsRead(mask: Int) throws {
        let text = "http://192.168.178.20:8080/?room=quiet-otter-\(mask)"
        for level in [QRCode.ErrorCorrection.low, .medium] {
            let code = try #require(QRCode(text, errorCorrection: level, mask: mask))
            #expect(try read(modules(of: code)) == text)
        }
    }

    @Test func textBeyondASCIIIsRead() throws {
        let text = "https://例え.テスト/räume?name=Zoë"
        #expect(try read(modules(of: try #require(QRCode(text)))) == text)
    }

    /// What the terminal shows is read, not only the modules: the half blocks are drawn as a terminal would.
    @Test(arguments: [true, false])
    func theRenderedHalfBlocksAreRead(coloured: Bool) throws {
        let text = "http://127.0.0.1:8080/?room=abc"
        let code = try #require(QRCode(text))
        let lines = code.rendered(coloured: coloured).map { withoutEscapes($0) }
        var rows: [[Bool]] = []
        for (index, line) in lines.enumerated() {
            #expect(line.count == code.renderedColumns)
            let drawn = line.map { (upper: $0 == "█" || $0 == "▀", lower: $0 == "█" || $0 == "▄") }
            // The last half line shows light modules in white ink in either style.
            let isInkDark = coloured && index < lines.count - 1
            rows.append(drawn.map { $0.upper == isInkDark })
            rows.append(drawn.map { $0.lower == isInkDark })
        }
        rows.removeLast()
        #expect(rows.count == code.renderedColumns)
        #expect(try read(rows) == text)
    }

    private func withoutEscapes(_ line: String) -> String {
        line.split(separator: "\u{1B}", omittingEmptySubsequences: false).enumerated().map { index, part in
            index == 0 ? String(part) : String(part.drop { $0 != "m" }.dropFirst())
        }.joined()
    }

    private func modules(of code: QRCode) -> [[Bool]] {
        let range = -QRCode.quietZone..<(code.side + QRCode.quietZone)
        return range.map { row in range.map { code.isDark(column: $0, row: row) } }
    }

    /// Writes the modules as a picture, four pixels each, and returns what zbarimg finds in it.
    private func read(_ modules: [[Bool]]) throws -> String {
        let scale = 4
        var picture = Array("P5 \(modules[0].count * scale) \(modules.count * scale) 255\n".utf8)
        for row in modules {
            let line = row.flatMap { [UInt8](repeating: $0 ? 0 : 255, count: scale) }
            for _ in 0..<scale { picture += line }
        }
        var template = Array("/tmp/qr-XXXXXX".utf8CString)
        let descriptor = mkstemp(&template)
        try #require(descriptor >= 0)
        let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer {
            close(descriptor)
            unlink(path)
        }
        try #require(write(descriptor, picture, picture.count) == picture.count)

        let pipe = try #require(
            popen("zbarimg --quiet --raw --set disable --set qrcode.enable \(path) 2>/dev/null", "r")
        )
        var output: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while case let count = fread(&buffer, 1, buffer.count, pipe), count > 0 { output += buffer.prefix(count) }
        pclose(pipe)
        return String(decoding: output.last == 0x0A ? output.dropLast() : output[...], as: UTF8.self)
    }
}
