/// Pictures as text for terminals, each by its own means.
package enum TerminalGraphics: String, Hashable, Sendable, CaseIterable {
    /// Upper half blocks with 24-bit colours: two pixels a character.
    case blocks
    /// The same with the 256 colours that every terminal has.
    case blocks256
    /// Six rows of pixels at a time, as DEC's VT340 had.
    case sixel
    /// The graphics protocol of kitty, which WezTerm and Ghostty know as well.
    case kitty

    /// What a terminal shows, as far as its environment tells; half blocks where nothing is known.
    ///
    /// - Parameters:
    ///   - environment: looks a variable up.
    ///   - attributes: the terminal's answer to "primary device attributes", if it was asked.
    /// - Returns: the best that is safe to use.
    package static func detect(environment: (String) -> String?, attributes: [Int] = []) -> TerminalGraphics {
        let term = environment("TERM") ?? ""
        let program = environment("TERM_PROGRAM") ?? ""
        // Multiplexers draw characters only, whatever runs around them.
        let isMultiplexed =
            environment("TMUX") != nil || environment("STY") != nil || term.hasPrefix("screen")
            || term.hasPrefix("tmux")
        if !isMultiplexed {
            if environment("KITTY_WINDOW_ID") != nil || term == "xterm-kitty" || term == "xterm-ghostty"
                || program == "WezTerm" || program == "ghostty"
            {
                return .kitty
            }
            if attributes.contains(4) { return .sixel }
        }
        let colours = environment("COLORTERM") ?? ""
        if colours == "truecolor" || colours == "24bit" || !attributes.isEmpty || term.hasSuffix("-direct")
            || ["foot", "alacritty", "contour"].contains(where: { term.hasPrefix($0) })
        {
            return .blocks
        }
        // ssh passes TERM on and not COLORTERM; what calls itself xterm today has all colours but for Apple's.
        if term.hasPrefix("xterm"), program != "Apple_Terminal" { return .blocks }
        return .blocks256
    }

    /// The numbers of an answer to "primary device attributes", `ESC [ ? 62 ; 4 c`.
    package static func attributes(ofAnswer answer: [UInt8]) -> [Int] {
        let text = String(decoding: answer, as: UTF8.self)
        guard let start = text.range(of: "\u{1B}[?"), let end = text[start.upperBound...].firstIndex(of: "c") else {
            return []
        }
        return text[start.upperBound..<end].split(separator: ";").compactMap { Int($0) }
    }
}

extension String {
    /// The first place of `part`.
    fileprivate func range(of part: String) -> Range<String.Index>? { ranges(of: part).first }
}

/// Makes text of pictures for one place of a terminal.
package struct TerminalPainter: Sendable {
    package let graphics: TerminalGraphics
    /// What is on the screen, to write only what has changed.
    private var shown: RGBPicture?

    package init(_ graphics: TerminalGraphics) { self.graphics = graphics }

    /// Forgets what is on the screen: the next picture is drawn in full.
    package mutating func invalidate() { shown = nil }

    /// The size in pixels that a place of so many characters wants.
    ///
    /// - Parameters:
    ///   - columns: of the place.
    ///   - rows: of the place.
    ///   - cell: pixels of a character, if the terminal tells.
    /// - Returns: width and height.
    package func pixelSize(columns: Int, rows: Int, cell: (width: Int, height: Int)?) -> (width: Int, height: Int) {
        switch graphics {
        case .blocks, .blocks256: return (max(1, columns), max(1, rows * 2))
        case .sixel, .kitty:
            let cell = cell ?? (8, 16)
            var (width, height) = (max(1, columns * cell.width), max(1, rows * cell.height))
            // More costs more than a line carries ten times a second; kitty scales, a sixel is as large as it is.
            let limit = graphics == .kitty ? 480 : 800
            if width > limit { (width, height) = (limit, max(1, height * limit / width)) }
            return (width, height)
        }
    }

    /// The text that draws `picture` with its upper left corner in the terminal's first row and column.
    ///
    /// The cursor ends anywhere; colours are reset.
    package mutating func paint(_ picture: RGBPicture, columns: Int, rows: Int) -> String {
        defer { shown = picture }
        switch graphics {
        case .blocks: return halfBlocks(picture, has24Bits: true)
        case .blocks256: return halfBlocks(picture, has24Bits: false)
        case .kitty: return Self.kitty(picture, columns: columns, rows: rows)
        case .sixel: return "\u{1B}[1;1H" + Sixel.text(of: picture)
        }
    }

    // MARK: Half blocks

    private func halfBlocks(_ picture: RGBPicture, has24Bits: Bool) -> String {
        var text = ""
        text.reserveCapacity(picture.width * picture.height * 10)
        let before = shown.flatMap { $0.width == picture.width && $0.height == picture.height ? $0 : nil }
        var upperColour = -1
        var lowerColour = -1
        for row in 0..<(picture.height / 2) {
            var isPlaced = false
            for column in 0..<picture.width {
                let upper = Self.colour(picture[column, row * 2], has24Bits)
                let lower = Self.colour(picture[column, row * 2 + 1], has24Bits)
                if let before, Self.colour(before[column, row * 2], has24Bits) == upper,
                    Self.colour(before[column, row * 2 + 1], has24Bits) == lower
                {
                    isPlaced = false
                    continue
                }
                if !isPlaced { text += "\u{1B}[\(row + 1);\(column + 1)H" }
                isPlaced = true
                if upper != upperColour { text += Self.escape(38, upper, has24Bits) }
                if lower != lowerColour { text += Self.escape(48, lower, has24Bits) }
                (upperColour, lowerColour) = (upper, lower)
                text += "▀"
            }
        }
        return text.isEmpty ? "" : text + "\u{1B}[0m"
    }

    private static func colour(_ pixel: (red: UInt8, green: UInt8, blue: UInt8), _ has24Bits: Bool) -> Int {
        if has24Bits {
            // Noise in the lowest bits would be drawn anew with every picture.
            return Int(pixel.red & 0xFC) << 16 | Int(pixel.green & 0xFC) << 8 | Int(pixel.blue & 0xFC)
        }
        func level(_ value: UInt8) -> Int { (Int(value) * 5 + 127) / 255 }
        let isGrey = max(pixel.red, pixel.green, pixel.blue) - min(pixel.red, pixel.green, pixel.blue) < 12
        if isGrey, (8...238).contains(pixel.green) { return 232 + (Int(pixel.green) - 8) / 10 }
        return 16 + 36 * level(pixel.red) + 6 * level(pixel.green) + level(pixel.blue)
    }

    private static func escape(_ kind: Int, _ colour: Int, _ has24Bits: Bool) -> String {
        has24Bits
            ? "\u{1B}[\(kind);2;\(colour >> 16);\(colour >> 8 & 0xFF);\(colour & 0xFF)m" : "\u{1B}[\(kind);5;\(colour)m"
    }

    // MARK: kitty

    /// One image that takes its predecessor's place.
    private static func kitty(_ picture: RGBPicture, columns: Int, rows: Int) -> String {
        let content = Base64.text(of: picture.bytes)
        var text = "\u{1B}[1;1H"
        var rest = content[...]
        var isFirst = true
        while !rest.isEmpty {
            let piece = rest.prefix(4_096)
            rest = rest.dropFirst(4_096)
            let more = rest.isEmpty ? 0 : 1
            text +=
                isFirst
                ? "\u{1B}_Ga=T,f=24,s=\(picture.width),v=\(picture.height),i=77,p=1,c=\(columns),r=\(rows),C=1,q=2,m=\(more);"
                : "\u{1B}_Gm=\(more),q=2;"
            text += String(decoding: piece, as: UTF8.self) + "\u{1B}\\"
            isFirst = false
        }
        return text
    }

    /// Takes the image off the screen.
    package var removal: String { graphics == .kitty ? "\u{1B}_Ga=d,d=I,i=77,q=2\u{1B}\\" : "" }
}

/// Bytes as letters and digits. RFC 4648 §4
enum Base64 {
    private static let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    static func text(of bytes: [UInt8]) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity((bytes.count + 2) / 3 * 4)
        var index = 0
        while index < bytes.count {
            let group = (0..<3).map { index + $0 < bytes.count ? UInt32(bytes[index + $0]) : 0 }
            let value = group[0] << 16 | group[1] << 8 | group[2]
            for place in 0..<4 {
                let isThere = index + place <= bytes.count
                text.append(isThere ? digits[Int(value >> (18 - 6 * UInt32(place)) & 63)] : 61)
            }
            index += 3
        }
        return text
    }
}

/// DEC sixels with a fixed palette of 216 colours.
enum Sixel {
    static func text(of picture: RGBPicture) -> String {
        var text = "\u{1B}P0;1;0q\"1;1;\(picture.width);\(picture.height)"
        var colours = [UInt8](repeating: 0, count: picture.width * picture.height)
        var used = [Bool](repeating: false, count: 216)
        for y in 0..<picture.height {
            for x in 0..<picture.width {
                let pixel = picture[x, y]
                let threshold = dither[(y & 3) * 4 + (x & 3)]
                let colour =
                    level(pixel.red, threshold) * 36 + level(pixel.green, threshold) * 6 + level(pixel.blue, threshold)
                colours[y * picture.width + x] = UInt8(colour)
                used[colour] = true
            }
        }
        for colour in used.indices where used[colour] {
            text += "#\(colour);2;\(colour / 36 * 20);\(colour / 6 % 6 * 20);\(colour % 6 * 20)"
        }
        for top in stride(from: 0, to: picture.height, by: 6) {
            let rows = min(6, picture.height - top)
            var bands: [UInt8: [UInt8]] = [:]
            for row in 0..<rows {
                for x in 0..<picture.width {
                    let colour = colours[(top + row) * picture.width + x]
                    bands[colour, default: Array(repeating: 0, count: picture.width)][x] |= 1 << UInt8(row)
                }
            }
            for (colour, band) in bands.sorted(by: { $0.key < $1.key }) {
                text += "#\(colour)" + runs(band) + "$"
            }
            text += "-"
        }
        return text + "\u{1B}\\"
    }

    private static func runs(_ band: [UInt8]) -> String {
        var text = ""
        var index = 0
        while index < band.count {
            var end = index + 1
            while end < band.count, band[end] == band[index] { end += 1 }
            let character = String(UnicodeScalar(band[index] + 63))
            let count = end - index
            text += count > 3 ? "!\(count)\(character)" : String(repeating: character, count: count)
            index = end
        }
        return text
    }

    private static func level(_ value: UInt8, _ threshold: Int) -> Int {
        let (whole, rest) = (Int(value) * 5).quotientAndRemainder(dividingBy: 255)
        return min(5, whole + (rest * 16 > threshold * 255 ? 1 : 0))
    }

    private static let dither = [0, 8, 2, 10, 12, 4, 14, 6, 3, 11, 1, 9, 15, 7, 13, 5]
}
