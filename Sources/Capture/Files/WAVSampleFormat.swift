internal import Media

/// How a WAV file holds a sample: what is played as the 16 bits that all other sound here has.
enum WAVSampleFormat: Equatable {
    /// Little endian and signed; 8 bits alone have their zero at 128.
    case integer(byteCount: Int)
    /// Little endian, from -1 to 1.
    case float
    case double
    case g711(G711)

    /// What nearly all files hold: also taken from those that are careless in the rest of their head.
    var isPlain16Bit: Bool { self == .integer(byteCount: 2) }

    /// Bytes of a sample.
    var byteCount: Int {
        switch self {
        case .integer(let byteCount): byteCount
        case .float: 4
        case .double: 8
        case .g711: 1
        }
    }

    /// What a format chunk says; nil for what is not played.
    ///
    /// - Parameter chunk: at least 16 bytes.
    init?(formatChunk chunk: [UInt8]) {
        var tag = chunk.littleEndian16(at: 0)
        // WAVE_FORMAT_EXTENSIBLE has the tag at the beginning of an identifier; where that is missing it means PCM.
        if tag == Self.extensibleTag { tag = chunk.count >= 26 ? chunk.littleEndian16(at: 24) : 1 }
        switch (tag, chunk.littleEndian16(at: 14)) {
        case (1, 8): self = .integer(byteCount: 1)
        case (1, 16): self = .integer(byteCount: 2)
        case (1, 24): self = .integer(byteCount: 3)
        case (1, 32): self = .integer(byteCount: 4)
        case (3, 32): self = .float
        case (3, 64): self = .double
        case (6, 8): self = .g711(.aLaw)
        case (7, 8): self = .g711(.muLaw)
        default: return nil
        }
    }

    private static let extensibleTag = 0xFFFE

    /// The samples of `bytes`; what is left of a sample that is cut is not used.
    func samples(_ bytes: [UInt8]) -> [Int16] {
        let offsets = stride(from: 0, to: bytes.count - byteCount + 1, by: byteCount)
        switch self {
        case .integer(byteCount: 1): return bytes.map { Int16(truncatingIfNeeded: (Int($0) - 128) << 8) }
        case .integer(byteCount: 2): return offsets.map { Int16(truncatingIfNeeded: bytes.littleEndian16(at: $0)) }
        case .integer:
            // The two highest bytes, and the one below them to round.
            return offsets.map { offset in
                let high = Int16(truncatingIfNeeded: bytes.littleEndian16(at: offset + byteCount - 2))
                return Int16(clamping: Int(high) + Int(bytes[offset + byteCount - 3] >> 7))
            }
        case .float:
            return offsets.map { offset in
                let bits = UInt32(truncatingIfNeeded: bytes.littleEndian32(at: offset))
                return Self.sample(Double(Float(bitPattern: bits)))
            }
        case .double:
            return offsets.map { offset in
                let low = UInt64(bytes.littleEndian32(at: offset))
                return Self.sample(Double(bitPattern: UInt64(bytes.littleEndian32(at: offset + 4)) << 32 | low))
            }
        case .g711(let law): return law.decode(bytes)
        }
    }

    /// What is no number is silence; what is too loud is cut.
    private static func sample(_ value: Double) -> Int16 {
        value.isNaN ? 0 : Int16((min(max(value, -1), 1) * 32_767).rounded())
    }
}
