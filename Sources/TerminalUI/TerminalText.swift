/// Text on its way to a terminal: how wide it is, and what of it may go there.
package enum TerminalText {
    /// `text` without anything that could steer a terminal or turn the reading order round.
    ///
    /// Chat lines, names and messages come from the other side, and an escape sequence in them could rewrite the
    /// screen or the window's title. Controls become `␛`-like pictures, direction overrides `�`; tabs and line ends
    /// become spaces.
    package static func printable(_ text: some StringProtocol) -> String {
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0x09, 0x0A, 0x0D, 0x2028, 0x2029: result.append(" ")
            case 0x00...0x1F: result.append(picture(of: scalar.value))
            case 0x7F: result.append("␡")
            case 0x80...0x9F, 0x200E...0x200F, 0x202A...0x202E, 0x2066...0x2069: result.append("\u{FFFD}")
            default: result.append(scalar)
            }
        }
        return String(result)
    }

    private static func picture(of control: UInt32) -> Unicode.Scalar {
        Unicode.Scalar(0x2400 + control) ?? "\u{FFFD}"
    }

    /// Columns that `text`, free of escape sequences, takes on a terminal.
    package static func width(of text: some StringProtocol) -> Int {
        text.reduce(0) { $0 + width(of: $1) }
    }

    /// Rows that `text`, free of escape sequences, takes on a terminal, from the first column on.
    package static func rows(of text: some StringProtocol, columns: Int) -> Int {
        var (rows, column) = (1, 0)
        for character in text {
            let width = width(of: character)
            column += width
            if column > max(1, columns) { (rows, column) = (rows + 1, width) }
        }
        return rows
    }

    /// The longest beginning of `text` that fits `columns`, with `…` in place of what was cut off.
    package static func truncated(_ text: String, to columns: Int) -> String {
        guard width(of: text) > columns else { return text }
        guard columns > 0 else { return "" }
        var (kept, used) = ("", 0)
        for character in text {
            used += width(of: character)
            if used > columns - 1 { break }
            kept.append(character)
        }
        return kept + "…"
    }

    /// 0, 1 or 2 columns: East Asian wide characters and emoji take two, combining marks none.
    ///
    /// Unicode Standard Annex 11
    private static func width(of character: Character) -> Int {
        guard let first = character.unicodeScalars.first else { return 0 }
        if character.unicodeScalars.contains(where: { $0.value == 0xFE0F }) { return 2 }
        switch first.properties.generalCategory {
        case .nonspacingMark, .enclosingMark, .control, .format: return 0
        default: break
        }
        if first.properties.isEmojiPresentation { return 2 }
        return wideRanges.contains { $0.contains(first.value) } ? 2 : 1
    }

    private static let wideRanges: [ClosedRange<UInt32>] = [
        0x1100...0x115F, 0x2E80...0x303E, 0x3041...0x33FF, 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xA000...0xA4CF,
        0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F, 0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x20000...0x3FFFD,
    ]
}
