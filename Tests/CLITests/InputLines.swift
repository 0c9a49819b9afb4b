import Glibc
import Testing

@testable import rtc_peer

@Suite struct InputLines {
    @Test(arguments: [1, 3, 7, 4_096])
    func `Lines come whole, however they are written, and long ones leave a mark and no memory`(chunk: Int) throws {
        var ends: [CInt] = [0, 0]
        try #require(pipe(&ends) == 0)
        let text = "one\n\ntwo three\n" + String(repeating: "x", count: 11) + "\n1234567890\nlast"
        let bytes = Array(text.utf8)
        for start in stride(from: 0, to: bytes.count, by: chunk) {
            let part = Array(bytes[start..<min(start + chunk, bytes.count)])
            try #require(write(ends[1], part, part.count) == part.count)
        }
        close(ends[1])
        defer { close(ends[0]) }
        var lines = BoundedLines(byteLimit: 10, descriptor: ends[0])
        var read: [BoundedLines.Line] = []
        while let line = lines.next() { read.append(line) }
        #expect(
            read == [
                .text("one"), .text(""), .text("two three"), .tooLong, .text("1234567890"), .text("last"),
            ]
        )
    }
}
