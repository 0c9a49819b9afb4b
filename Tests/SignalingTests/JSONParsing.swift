import JSON
import SansIO
import Signaling
import Testing

@Suite("JSON parsing")
struct JSONParsing {
    private func parse(_ text: String) throws(JSONError) -> JSONValue { try JSONValue(parsing: text.utf8) }
    private func error(_ bytes: [UInt8]) -> JSONError? {
        do throws(JSONError) {
            _ = try JSONValue(parsing: bytes)
            return nil
        } catch { return error }
    }
    private func error(_ text: String) -> JSONError? { error(Array(text.utf8)) }

    @Test("values of each kind")
    func values() throws {
        #expect(try parse(" null ") == .null)
        #expect(try parse("[true,false]") == [true, false])
        #expect(try parse("-0.5e+2") == .number(-50))
        #expect(try parse("\"\"") == "")
        #expect(try parse("{}") == [:])
        #expect(try parse("{\"a\":[1,{\"b\":\"c\"}]}")["a"]?.array?.last?["b"]?.string == "c")
    }

    @Test("strings with escapes, and what is not UTF-8")
    func strings() throws {
        #expect(try parse(#""\"\\\/\b\f\n\r\t\u0041\uD83D\uDE00é😀""#).string == "\"\\/\u{8}\u{c}\n\r\tA😀é😀")
        for text in [
            #""\uD83D""#, #""\uDE00""#, #""\uD83Dx""#, #""\uD83D\u0041""#, #""\u00g0""#, #""\u00"#, #""\x""#, "\"\\",
            "\"a", "\"\n\"",
            "\"\0\"",
        ] { #expect(error(text) != nil, "\(text)") }
        #expect(error([0x22, 0xFF, 0x22])?.reason == "a string that is not UTF-8")
        #expect(error([0x22, 0xC3, 0x22])?.reason == "a string that is not UTF-8")
        #expect(error([0x22, 0xED, 0xA0, 0x80, 0x22]) != nil, "half a surrogate pair in UTF-8")
        #expect(error([0x22, 0xC0, 0x80, 0x22]) != nil, "an overlong form")
        #expect(error([0xFF, 0xFE]) != nil)
    }

    @Test("texts that are no JSON say where and why")
    func malformed() {
        let texts = [
            "", " ", "nul", "nulll", "True", "+1", "01", "1.", ".5", "1e", "1e+", "-", "0x10", "NaN", "Infinity", "[",
            "[1", "[1,", "[1,]",
            "[,]", "[1 2]", "]", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{a:1}", "{1:1}",
            "{\"a\" 1}", "}", "1 2",
            "'a'", "// comment\n1", "\u{FEFF}1",
        ]
        for text in texts { #expect(error(text) != nil, "\(text)") }
        #expect(error("[1,x]")?.offset == 3)
        #expect(error("{\"a\":1,\"a\":2}")?.reason == "two members of one name")
    }

    @Test("numbers out of range, and the exact ones")
    func numbers() throws {
        #expect(error("1e309")?.reason == "a number out of range")
        #expect(error("-1" + String(repeating: "0", count: 400))?.reason == "a number out of range")
        #expect(try parse("1e-400") == .number(0))
        #expect(try parse("9007199254740992").integer == 1 << 53)
        #expect(try parse("9007199254740994").integer == nil, "not every whole number near it is exact")
        #expect(try parse("1.5").integer == nil)
        #expect(try parse("1e300").integer == nil)
        #expect(try parse("-3").integer == -3)
    }

    @Test("depth and number of values are bounded")
    func bounds() {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        #expect(error(nested(16)) == nil)
        #expect(error(nested(17))?.reason == "more than 16 levels")
        #expect(error(String(repeating: "[", count: 1_000_000))?.reason == "more than 16 levels")
        #expect(error(String(repeating: "{\"a\":", count: 1_000_000))?.reason == "more than 16 levels")
        func wide(_ count: Int) -> String { "[" + Array(repeating: "0", count: count).joined(separator: ",") + "]" }
        #expect(error(wide(4_095)) == nil)
        #expect(error(wide(4_096))?.reason == "more than 4096 values")
        let objects = "{" + (0..<5_000).map { "\"\($0)\":{}" }.joined(separator: ",") + "}"
        #expect(error(objects)?.reason == "more than 4096 values")
    }

    @Test("ten megabytes of one string are read")
    func large() throws {
        let text = "\"" + String(repeating: "x", count: 10 << 20) + "\""
        #expect(try parse(text).string?.utf8.count == 10 << 20)
    }

    @Test("what is written reads as the same value")
    func writing() throws {
        let value: JSONValue = [
            "type": "x", "a": [1, -2, true, false, .null, .number(0.1), .number(1e300)],
            "\u{1}\"\\\n\r\t\u{7F}": "\u{0}\u{1F}é😀\u{2028}</script>", "b": [:], "c": [],
        ]
        #expect(try parse(value.text) == value)
        #expect(value.text.hasPrefix("{\"type\":\"x\","))
        #expect(JSONValue.number(.nan).text == "null")
        #expect(JSONValue.number(-.infinity).text == "null")
        #expect(JSONValue.number(3).text == "3")
    }

    @Test("changed texts read or fail", arguments: 0..<8)
    func mutation(seed: UInt64) throws {
        let random = RandomSource(seed: seed)
        let signs = Array("{}[]\",:\\u0e-".utf8)
        let text = Array(
            #"{"type":"candidate","to":"p1","seq":12,"candidate":{"candidate":"candidate:1 1 udp 1 é 9","sdpMid":"0\u00e9","sdpMLineIndex":0}}"#
                .utf8
        )
        for _ in 0..<500 {
            var bytes = text
            for _ in 0...(random.next() % 4) {
                let at = Int(random.next() % UInt64(bytes.count))
                switch random.next() % 3 {
                case 0: bytes[at] = UInt8(truncatingIfNeeded: random.next())
                case 1: bytes.removeLast(min(bytes.count - 1, Int(random.next() % 8)))
                default: bytes.insert(signs[Int(random.next() % UInt64(signs.count))], at: at)
                }
            }
            guard let value = try? JSONValue(parsing: bytes) else { continue }
            #expect(try parse(value.text) == value, "seed \(seed)")
            _ = try? ClientMessage(parsing: bytes)
            _ = try? ServerMessage(parsing: bytes)
        }
    }

}
