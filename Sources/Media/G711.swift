/// PCMU and PCMA at 8 kHz, one byte a sample. ITU-T G.711, RFC 3551 §4.5.14
public enum G711: Sendable {
    /// µ-law, used in North America and Japan.
    case muLaw
    /// A-law, used elsewhere.
    case aLaw

    /// The bytes of samples.
    public func encode(_ samples: [Int16]) -> [UInt8] {
        switch self {
        case .muLaw: samples.map(Self.encodeMuLaw)
        case .aLaw: samples.map(Self.encodeALaw)
        }
    }

    /// The samples of bytes.
    public func decode(_ bytes: [UInt8]) -> [Int16] {
        switch self {
        case .muLaw: bytes.map(Self.decodeMuLaw)
        case .aLaw: bytes.map(Self.decodeALaw)
        }
    }

    private static func encodeMuLaw(_ sample: Int16) -> UInt8 {
        let sign: UInt8 = sample < 0 ? 0x80 : 0
        let magnitude = min(abs(Int(sample)), 32_635) + 132
        let exponent = max(0, (Int.bitWidth - 1 - magnitude.leadingZeroBitCount) - 7)
        let mantissa = (magnitude >> (exponent + 3)) & 0x0F
        return ~(sign | UInt8(exponent << 4) | UInt8(mantissa))
    }

    private static func decodeMuLaw(_ byte: UInt8) -> Int16 {
        let value = ~byte
        let exponent = Int(value >> 4 & 7)
        let magnitude = ((Int(value & 0x0F) << 3) + 132) << exponent - 132
        return Int16(clamping: value & 0x80 == 0 ? magnitude : -magnitude)
    }

    private static func encodeALaw(_ sample: Int16) -> UInt8 {
        let sign: UInt8 = sample >= 0 ? 0x80 : 0
        let magnitude = min(sample >= 0 ? Int(sample) : -Int(sample) - 1, 32_767)
        let exponent = max(0, (Int.bitWidth - 1 - max(magnitude, 1).leadingZeroBitCount) - 7)
        let mantissa = exponent == 0 ? magnitude >> 4 : (magnitude >> (exponent + 3)) & 0x0F
        return (sign | UInt8(exponent << 4) | UInt8(mantissa & 0x0F)) ^ 0x55
    }

    private static func decodeALaw(_ byte: UInt8) -> Int16 {
        let value = byte ^ 0x55
        let exponent = Int(value >> 4 & 7)
        var magnitude = Int(value & 0x0F) << 4 + 8
        if exponent > 0 { magnitude = (magnitude + 256) << (exponent - 1) }
        return Int16(clamping: value & 0x80 != 0 ? magnitude : -magnitude)
    }
}
