import TerminalUI
import Testing

@Suite struct JSONLines {
    @Test func membersKeepTheirOrder() {
        var line = JSONLine(event: "ready")
        line["url"] = "http://127.0.0.1:8080/"
        line["secure"] = false
        line["url"] = "http://127.0.0.1:9090/"
        line["secure"] = nil
        line["nothing"] = .null
        #expect(line.text == #"{"event":"ready","url":"http://127.0.0.1:9090/","nothing":null}"# + "\n")
    }

    @Test func everyKindOfValueIsWritten() {
        let value: JSONLine.Value = [nil, true, -9_223_372_036_854_775_808, 0.5, 1e300, "x", [], [:], ["a": [1]]]
        #expect(value.text == #"[null,true,-9223372036854775808,0.5,1e+300,"x",[],{},{"a":[1]}]"#)
    }

    @Test func whatMustBeEscapedIs() {
        let text = JSONLine.Value.string("\"\\/\n\r\t\u{00}\u{1F}\u{7F}\u{2028}é🦊\r\n").text
        #expect(text == #""\"\\/\n\r\t\u0000\u001f\u007f\u2028é🦊\r\n""#)
    }

    @Test func aLineIsOneLine() {
        var line = JSONLine(event: "chat")
        line["text"] = "one\ntwo\u{2028}three\u{85}"
        let controls = line.text.unicodeScalars.filter { $0.properties.generalCategory == .control }
        #expect(controls.map(\.value) == [0x0A])
    }

    @Test func whatJSONCannotSayIsNull() {
        #expect(
            JSONLine.Value.array([.number(.nan), .number(.infinity), .number(-.infinity)]).text == "[null,null,null]"
        )
    }
}
