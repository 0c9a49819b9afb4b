import SansIO

/// The CRC-32 of ITU V.42, as Ethernet and zlib use it.
///
/// RFC 8489 §14.7
package enum CRC32 {
    /// The checksum of the first `byteCount` bytes of `bytes`, which must have as many.
    package static func checksum(of bytes: RawSpan, first byteCount: Int) -> UInt32 {
        var value: UInt32 = 0xFFFF_FFFF
        for offset in 0..<min(byteCount, bytes.byteCount) {
            value = table[Int((value ^ UInt32(bytes.uint8(at: offset))) & 0xFF)] ^ (value >> 8)
        }
        return ~value
    }

    private static let table: [UInt32] = (0..<256).map { index in
        var value = UInt32(index)
        for _ in 0..<8 { value = value & 1 == 1 ? 0xEDB8_8320 ^ (value >> 1) : value >> 1 }
        return value
    }
}
