/// How many codewords a symbol has, and how they are divided into blocks.
///
/// ISO/IEC 18004:2015 §7.4, §7.5, tables 1, 7 and 9
struct QRCapacity: Hashable {
    let version: Int
    let errorCorrection: QRCode.ErrorCorrection

    static let versions = 1...20

    /// The smallest symbol for `byteCount` bytes, if there is one.
    static func smallest(holding byteCount: Int, errorCorrection: QRCode.ErrorCorrection) -> QRCapacity? {
        versions.lazy.map { QRCapacity(version: $0, errorCorrection: errorCorrection) }
            .first { $0.holds(byteCount: byteCount) }
    }

    func holds(byteCount: Int) -> Bool {
        4 + countBits + 8 * byteCount <= 8 * dataCodewordCount
    }

    // MARK: - Codewords

    /// The content as codewords: mode, length, bytes, terminator, padding.
    ///
    /// ISO/IEC 18004:2015 §7.4.5, §7.4.9, §7.4.10
    func dataCodewords(for content: [UInt8]) -> [UInt8] {
        var bits = QRBits()
        bits.append(0b0100, count: 4)
        bits.append(content.count, count: countBits)
        for byte in content { bits.append(Int(byte), count: 8) }
        // "if the bit stream is too short for four bits of terminator, the terminator is truncated"
        bits.append(0, count: min(4, 8 * dataCodewordCount - bits.count))
        var codewords = bits.codewords
        var padding: UInt8 = 0xEC
        while codewords.count < dataCodewordCount {
            codewords.append(padding)
            padding ^= 0xEC ^ 0x11
        }
        return codewords
    }

    /// Splits data into blocks, adds each one's correction, and takes a codeword of each in turn.
    ///
    /// ISO/IEC 18004:2015 §7.6
    func interleaved(_ data: [UInt8]) -> [UInt8] {
        let shortLength = data.count / blockCount
        let longCount = data.count % blockCount
        let encoder = ReedSolomon(degree: correctionPerBlock)
        var blocks: [ArraySlice<UInt8>] = []
        var start = 0
        for index in 0..<blockCount {
            // The longer blocks come last.
            let length = shortLength + (index >= blockCount - longCount ? 1 : 0)
            blocks.append(data[start..<(start + length)])
            start += length
        }
        var result: [UInt8] = []
        result.reserveCapacity(codewordCount)
        for offset in 0...shortLength {
            for block in blocks where offset < block.count { result.append(block[block.startIndex + offset]) }
        }
        let corrections = blocks.map { encoder.correction(for: $0) }
        for offset in 0..<correctionPerBlock {
            for correction in corrections { result.append(correction[offset]) }
        }
        return result
    }

    /// Bits of the length field in byte mode.
    private var countBits: Int { version < 10 ? 8 : 16 }

    var dataCodewordCount: Int { codewordCount - blockCount * correctionPerBlock }

    /// All codewords: the modules that no pattern takes, in whole bytes.
    var codewordCount: Int {
        let side = 4 * version + 17
        var modules = side * side - 3 * 64 - 2 * 15 - 1 - 2 * (side - 16)
        let centres = QRMatrix.alignmentCentres(version: version).count
        if centres > 0 {
            // Three of the centres fall on finder patterns; those in row and column 6 share five modules with timing.
            modules -= (centres * centres - 3) * 25 - 2 * (centres - 2) * 5
        }
        if version >= 7 { modules -= 36 }
        return modules / 8
    }

    private var blockCount: Int {
        switch errorCorrection {
        case .low: Self.blocksLow[version - 1]
        case .medium: Self.blocksMedium[version - 1]
        }
    }

    private var correctionPerBlock: Int {
        switch errorCorrection {
        case .low: Self.correctionLow[version - 1]
        case .medium: Self.correctionMedium[version - 1]
        }
    }

    private static let blocksLow = [1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 4, 6, 6, 6, 6, 7, 8]
    private static let blocksMedium = [1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16]
    private static let correctionLow = [
        7, 10, 15, 20, 26, 18, 20, 24, 30, 18, 20, 24, 26, 30, 22, 24, 28, 30, 28, 28,
    ]
    private static let correctionMedium = [
        10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26,
    ]
}

/// Bits in a row, most significant first.
struct QRBits {
    private(set) var codewords: [UInt8] = []
    private(set) var count = 0

    mutating func append(_ value: Int, count bitCount: Int) {
        for bit in stride(from: bitCount - 1, through: 0, by: -1) {
            if count % 8 == 0 { codewords.append(0) }
            codewords[count / 8] |= UInt8(value >> bit & 1) << (7 - count % 8)
            count += 1
        }
    }
}
