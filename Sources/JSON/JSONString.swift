/// Strings as JSON writes them.
package enum JSONString {
    /// Appends a string in quotes.
    ///
    /// Everything that could end a line is escaped, so that a text on one line is one for every reader.
    ///
    /// RFC 8259 §7
    package static func write(_ string: String, to text: inout String) {
        text += "\""
        if string.utf8.contains(where: mayNeedEscape) {
            for scalar in string.unicodeScalars { write(scalar, to: &text) }
        } else {
            text += string
        }
        text += "\""
    }

    /// Whether a byte may belong to a character that is escaped; all beyond ASCII that are begin with 0xC2 or 0xE2.
    private static func mayNeedEscape(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte == 0x22 || byte == 0x5C || byte == 0x7F || byte == 0xC2 || byte == 0xE2
    }

    private static func write(_ scalar: Unicode.Scalar, to text: inout String) {
        switch scalar {
        case "\"": text += "\\\""
        case "\\": text += "\\\\"
        case "\n": text += "\\n"
        case "\r": text += "\\r"
        case "\t": text += "\\t"
        case "\u{00}"..."\u{1F}", "\u{7F}"..."\u{9F}", "\u{2028}", "\u{2029}":
            let digits = String(scalar.value, radix: 16)
            text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        default: text.unicodeScalars.append(scalar)
        }
    }
}
