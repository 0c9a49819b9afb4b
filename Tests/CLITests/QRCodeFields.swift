import TerminalUI
import Testing

/// The parts of a symbol, against the worked examples of the standard.
@Suite struct QRCodeFields {
    @Test func errorCorrectionOfTheStandardsExample() {
        // "HELLO WORLD" in 1-M: data codewords and the ten correction codewords printed for them.
        let data: [UInt8] = [32, 91, 11, 120, 209, 114, 220, 77, 67, 64, 236, 17, 236, 17, 236, 17]
        #expect(ReedSolomon(degree: 10).correction(for: data) == [196, 35, 39, 119, 235, 215, 231, 226, 93, 23])
    }

    @Test func formatOfBothLevels() {
        #expect(QRMatrix.formatBits(errorCorrection: .low, mask: 0) == 0b111_0111_1100_0100)
        #expect(QRMatrix.formatBits(errorCorrection: .low, mask: 7) == 0b110_1001_0111_0110)
        #expect(QRMatrix.formatBits(errorCorrection: .medium, mask: 0) == 0b101_0100_0001_0010)
        #expect(QRMatrix.formatBits(errorCorrection: .medium, mask: 5) == 0b100_0000_1100_1110)
    }

    @Test func versionInformation() {
        #expect(QRMatrix.versionBits(7) == 0b00_0111_1100_1001_0100)
        #expect(QRMatrix.versionBits(20) == 0b01_0100_1001_1010_0110)
    }

    /// Bytes that each version holds at each level, from table 7 of the standard.
    @Test(arguments: [
        (1, 17, 14), (2, 32, 26), (3, 53, 42), (4, 78, 62), (5, 106, 84), (6, 134, 106), (7, 154, 122), (8, 192, 152),
        (9, 230, 180), (10, 271, 213), (11, 321, 251), (12, 367, 287), (13, 425, 331), (14, 458, 362), (15, 520, 412),
        (16, 586, 450), (17, 644, 504), (18, 718, 560), (19, 792, 624), (20, 858, 666),
    ])
    func capacityOfEveryVersion(version: Int, low: Int, medium: Int) throws {
        for (level, count) in [(QRCode.ErrorCorrection.low, low), (.medium, medium)] {
            let full = String(repeating: "x", count: count)
            #expect(try #require(QRCode(full, errorCorrection: level, mask: 0)).version == version)
            #expect(QRCode(full + "x", errorCorrection: level, mask: 0)?.version != version)
        }
    }

    @Test func textBeyondTheLargestSymbolIsRefused() {
        #expect(QRCode(String(repeating: "x", count: 859)) == nil)
    }

    @Test func betterCorrectionIsTakenWhereItIsFree() throws {
        // 22 bytes need version 2 at either level; 27 fit it only at the lower one.
        #expect(try #require(QRCode("http://127.0.0.1:8080/")).errorCorrection == .medium)
        #expect(try #require(QRCode("http://127.0.0.1:8080/r/abc")).errorCorrection == .low)
    }

    @Test func theMaskOfLeastPenaltyIsTaken() throws {
        let text = "http://127.0.0.1:8080/"
        let best = try #require(QRCode(text))
        for mask in 0...7 {
            let other = try #require(QRCode(text, errorCorrection: best.errorCorrection, mask: mask))
            #expect(best.penalty <= other.penalty)
        }
    }
}
