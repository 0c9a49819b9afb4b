/// The square of modules: where patterns, format and data go, and how readable the result is.
///
/// ISO/IEC 18004:2015 §6.3, §7.7 to §7.10
package struct QRMatrix: Hashable {
    let version: Int
    let side: Int
    private var dark: [Bool]
    /// Modules of patterns, format and version: data and mask leave them alone.
    private var reserved: [Bool]

    /// An empty symbol with its finder, timing and alignment patterns and its version.
    init(version: Int) {
        self.version = version
        side = 4 * version + 17
        dark = Array(repeating: false, count: side * side)
        reserved = dark
        placeTiming()
        placeFinders()
        placeAlignment()
        reserveFormat()
        placeVersion()
    }

    package func isDark(column: Int, row: Int) -> Bool {
        guard (0..<side).contains(column), (0..<side).contains(row) else { return false }
        return dark[row * side + column]
    }

    /// Rows and columns on which alignment patterns are centred.
    ///
    /// ISO/IEC 18004:2015 annex E
    static func alignmentCentres(version: Int) -> [Int] {
        version == 1 ? [] : [6] + centresAfterSix[version - 2]
    }

    private static let centresAfterSix = [
        [18], [22], [26], [30], [34], [22, 38], [24, 42], [26, 46], [28, 50], [30, 54], [32, 58], [34, 62],
        [26, 46, 66], [26, 48, 70], [26, 50, 74], [30, 54, 78], [30, 56, 82], [30, 58, 86], [34, 62, 90],
    ]

    // MARK: - Patterns

    private mutating func set(_ column: Int, _ row: Int, _ isDark: Bool) {
        dark[row * side + column] = isDark
        reserved[row * side + column] = true
    }

    private mutating func placeTiming() {
        for index in 0..<side {
            set(6, index, index % 2 == 0)
            set(index, 6, index % 2 == 0)
        }
    }

    private mutating func placeFinders() {
        for (x, y) in [(3, 3), (side - 4, 3), (3, side - 4)] {
            for row in max(0, y - 4)...min(side - 1, y + 4) {
                for column in max(0, x - 4)...min(side - 1, x + 4) {
                    let ring = max(abs(column - x), abs(row - y))
                    set(column, row, ring != 2 && ring != 4)
                }
            }
        }
    }

    private mutating func placeAlignment() {
        let centres = Self.alignmentCentres(version: version)
        for y in centres {
            for x in centres where !isFinderCorner(x, y) {
                for row in (y - 2)...(y + 2) {
                    for column in (x - 2)...(x + 2) {
                        set(column, row, max(abs(column - x), abs(row - y)) != 1)
                    }
                }
            }
        }
    }

    private func isFinderCorner(_ x: Int, _ y: Int) -> Bool {
        let far = side - 7
        return (x == 6 && y == 6) || (x == 6 && y == far) || (x == far && y == 6)
    }

    private mutating func reserveFormat() {
        for index in 0..<9 where index != 6 {
            set(8, index, false)
            set(index, 8, false)
        }
        for index in 0..<8 {
            set(side - 1 - index, 8, false)
            set(8, side - 1 - index, false)
        }
    }

    private mutating func placeVersion() {
        guard version >= 7 else { return }
        let bits = Self.versionBits(version)
        for index in 0..<18 {
            let isDark = bits >> index & 1 == 1
            let (long, short) = (side - 11 + index % 3, index / 3)
            set(long, short, isDark)
            set(short, long, isDark)
        }
    }

    /// Version in 6 bits and a (18, 6) BCH code of it.
    ///
    /// ISO/IEC 18004:2015 §7.10
    package static func versionBits(_ version: Int) -> Int {
        var remainder = version
        for _ in 0..<12 { remainder = remainder << 1 ^ (remainder >> 11) * 0x1F25 }
        return version << 12 | remainder
    }

    /// Error correction and mask in 5 bits and a (15, 5) BCH code of them, masked.
    ///
    /// ISO/IEC 18004:2015 §7.9
    package static func formatBits(errorCorrection: QRCode.ErrorCorrection, mask: Int) -> Int {
        let data = (errorCorrection == .low ? 0b01 : 0b00) << 3 | mask
        var remainder = data
        for _ in 0..<10 { remainder = remainder << 1 ^ (remainder >> 9) * 0x537 }
        return (data << 10 | remainder) ^ 0b101_0100_0001_0010
    }

    private mutating func placeFormat(_ bits: Int) {
        func bit(_ index: Int) -> Bool { bits >> index & 1 == 1 }
        for index in 0...5 { set(8, index, bit(index)) }
        set(8, 7, bit(6))
        set(8, 8, bit(7))
        set(7, 8, bit(8))
        for index in 9..<15 { set(14 - index, 8, bit(index)) }
        for index in 0..<8 { set(side - 1 - index, 8, bit(index)) }
        for index in 8..<15 { set(8, side - 15 + index, bit(index)) }
        set(8, side - 8, true)
    }

    // MARK: - Data

    /// Fills the free modules in pairs of columns from the right, going up and down in turn.
    ///
    /// ISO/IEC 18004:2015 §7.7.3
    mutating func place(codewords: [UInt8]) {
        var index = 0
        var right = side - 1
        var isUpward = true
        while right >= 1 {
            if right == 6 { right = 5 }
            for step in 0..<side {
                let row = isUpward ? side - 1 - step : step
                for column in [right, right - 1] where !reserved[row * side + column] {
                    guard index < codewords.count * 8 else { break }
                    dark[row * side + column] = codewords[index / 8] >> (7 - index % 8) & 1 == 1
                    index += 1
                }
            }
            right -= 2
            isUpward.toggle()
        }
    }

    /// This symbol with a mask over its data, and the format that says so.
    func masked(by mask: Int, errorCorrection: QRCode.ErrorCorrection) -> QRMatrix {
        var result = self
        for row in 0..<side {
            for column in 0..<side where !reserved[row * side + column] {
                if Self.inverts(mask, column, row) { result.dark[row * side + column].toggle() }
            }
        }
        result.placeFormat(Self.formatBits(errorCorrection: errorCorrection, mask: mask))
        return result
    }

    /// Whether `mask` inverts the module.
    ///
    /// ISO/IEC 18004:2015 table 10
    private static func inverts(_ mask: Int, _ column: Int, _ row: Int) -> Bool {
        switch mask {
        case 0: (row + column) % 2 == 0
        case 1: row % 2 == 0
        case 2: column % 3 == 0
        case 3: (row + column) % 3 == 0
        case 4: (row / 2 + column / 3) % 2 == 0
        case 5: row * column % 2 + row * column % 3 == 0
        case 6: (row * column % 2 + row * column % 3) % 2 == 0
        default: ((row + column) % 2 + row * column % 3) % 2 == 0
        }
    }

    // MARK: - Readability

    /// How hard the symbol is to read; the mask with the least wins.
    ///
    /// ISO/IEC 18004:2015 §7.8.3
    var penalty: Int {
        let lines = (0..<side).flatMap { index in
            [(0..<side).map { isDark(column: $0, row: index) }, (0..<side).map { isDark(column: index, row: $0) }]
        }
        return lines.reduce(0) { $0 + Self.runPenalty($1) + Self.finderPenalty($1) } + squarePenalty + balancePenalty
    }

    /// Five or more alike in a row: 3, and 1 for each further.
    private static func runPenalty(_ line: [Bool]) -> Int {
        var (penalty, run) = (0, 1)
        for index in 1..<line.count {
            run = line[index] == line[index - 1] ? run + 1 : 1
            if run == 5 { penalty += 3 } else if run > 5 { penalty += 1 }
        }
        return penalty
    }

    /// Whatever looks like a finder pattern (1:1:3:1:1 with four light modules on one side): 40.
    private static func finderPenalty(_ line: [Bool]) -> Int {
        var (penalty, window) = (0, 0)
        for (index, isDark) in line.enumerated() {
            window = (window << 1 | (isDark ? 1 : 0)) & 0x7FF
            if index >= 10, window == 0b101_1101_0000 || window == 0b000_0101_1101 { penalty += 40 }
        }
        return penalty
    }

    /// Each 2 × 2 square of one colour: 3.
    private var squarePenalty: Int {
        var penalty = 0
        for row in 1..<side {
            for column in 1..<side {
                let corner = isDark(column: column, row: row)
                if corner == isDark(column: column - 1, row: row), corner == isDark(column: column, row: row - 1),
                    corner == isDark(column: column - 1, row: row - 1)
                {
                    penalty += 3
                }
            }
        }
        return penalty
    }

    /// Each 5 % that dark modules are away from half: 10.
    private var balancePenalty: Int {
        let darkCount = dark.count(where: { $0 })
        return abs(darkCount * 20 - dark.count * 10) / dark.count * 10
    }
}
