/// A QR code that holds one text, so that a phone can open the address a terminal shows.
///
/// Byte mode (UTF-8), versions 1 to 20, error correction L, or M where it costs no larger symbol. That is 858 bytes at
/// most: far more than any terminal has rows for.
///
/// ISO/IEC 18004:2015
package struct QRCode: Hashable, Sendable {
    /// How much damage a symbol survives.
    package enum ErrorCorrection: Hashable, Sendable {
        /// About 7 % of the codewords.
        case low
        /// About 15 % of the codewords.
        case medium
    }

    /// The size class, from 1 to 20.
    package let version: Int
    package let errorCorrection: ErrorCorrection
    /// Which of the masks 0 to 7 was laid over the data.
    package let mask: Int
    /// Modules along one side, without the quiet zone: 4 × version + 17.
    package var side: Int { matrix.side }

    /// How hard it is to read, by the standard's measure; of the eight masks the one with the least is taken.
    package var penalty: Int { matrix.penalty }

    private let matrix: QRMatrix

    /// Encodes `text` into the smallest symbol that holds it; nil when it is longer than the largest one holds.
    package init?(_ text: String) {
        self.init(text, mask: nil)
    }

    /// Encodes `text`, with the mask and error correction given instead of the best ones.
    package init?(_ text: String, errorCorrection forced: ErrorCorrection? = nil, mask forcedMask: Int?) {
        let content = Array(text.utf8)
        let least = forced ?? .low
        guard let capacity = QRCapacity.smallest(holding: content.count, errorCorrection: least) else { return nil }
        let better = QRCapacity(version: capacity.version, errorCorrection: .medium)
        let chosen = forced == nil && better.holds(byteCount: content.count) ? better : capacity

        var blank = QRMatrix(version: chosen.version)
        blank.place(codewords: chosen.interleaved(chosen.dataCodewords(for: content)))
        let candidates = (forcedMask.map { $0...$0 } ?? 0...7).map { mask in
            (mask: mask, matrix: blank.masked(by: mask, errorCorrection: chosen.errorCorrection))
        }
        guard let best = candidates.min(by: { $0.matrix.penalty < $1.matrix.penalty }) else { return nil }
        version = chosen.version
        errorCorrection = chosen.errorCorrection
        mask = best.mask
        matrix = best.matrix
    }

    /// Whether the module in `column` and `row` is dark; everything outside the symbol is light.
    package func isDark(column: Int, row: Int) -> Bool { matrix.isDark(column: column, row: row) }
}

// MARK: - For a terminal

extension QRCode {
    /// Light modules that must surround a symbol, so that a reader finds it.
    ///
    /// ISO/IEC 18004:2015 §6.3.8
    package static let quietZone = 4

    /// Terminal columns that the rendered symbol takes; it takes half as many rows, rounded up.
    package var renderedColumns: Int { side + 2 * Self.quietZone }

    /// The symbol as lines of half blocks, two modules above each other in one character.
    ///
    /// - Parameter coloured: sets black on white by escape sequences, so the code reads on a dark and on a light
    ///   terminal alike. Without, the light modules are drawn with the terminal's own foreground: right on a dark
    ///   terminal, inverted (which most phones read too) on a light one.
    /// - Returns: the lines from top to bottom, each `renderedColumns` wide.
    package func rendered(coloured: Bool) -> [String] {
        let range = -Self.quietZone..<(side + Self.quietZone)
        return stride(from: range.lowerBound, to: range.upperBound, by: 2).map { row in
            // An odd number of rows leaves half a line over: it stays the terminal's own colour.
            let hasLowerHalf = row + 1 < range.upperBound
            var line = ""
            for column in range {
                let upper = isDark(column: column, row: row)
                let lower = isDark(column: column, row: row + 1)
                line += coloured ? Self.ink(upper, lower, hasLowerHalf) : Self.light(upper, lower, hasLowerHalf)
            }
            guard coloured else { return line }
            return (hasLowerHalf ? Self.blackOnWhite : Self.whiteOnDefault) + line + Self.reset
        }
    }

    /// An address as a symbol on a terminal.
    ///
    /// - Returns: no lines where there is no terminal, or one that would wrap them.
    package static func lines(_ address: String, for terminal: Terminal) -> [String] {
        guard terminal.isInteractive, let code = QRCode(address), code.renderedColumns <= terminal.columns() else {
            return []
        }
        return code.rendered(coloured: terminal.wantsColour)
    }

    // Fixed colours 16 and 231 of the 256: themes redefine the first sixteen.
    private static let blackOnWhite = "\u{1B}[38;5;16;48;5;231m"
    private static let whiteOnDefault = "\u{1B}[38;5;231m"
    private static let reset = "\u{1B}[0m"

    /// Draws the dark modules; the background is light.
    ///
    /// A last half line has only light modules, drawn as such.
    private static func ink(_ upper: Bool, _ lower: Bool, _ hasLowerHalf: Bool) -> String {
        guard hasLowerHalf else { return "▀" }
        return upper ? (lower ? "█" : "▀") : (lower ? "▄" : " ")
    }

    /// Draws the light modules; the background is dark.
    private static func light(_ upper: Bool, _ lower: Bool, _ hasLowerHalf: Bool) -> String {
        guard hasLowerHalf else { return "▀" }
        return upper ? (lower ? " " : "▄") : (lower ? "▀" : "█")
    }
}
