internal import COpenSSL
internal import SansIO

/// MESSAGE-INTEGRITY's hash. RFC 8489 §14.5
enum STUNIntegrity {
    static func hmacSHA1(_ bytes: [UInt8], key: [UInt8]) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: 20)
        var count: UInt32 = 20
        _ = unsafe HMAC(EVP_sha1(), key, Int32(key.count), bytes, bytes.count, &digest, &count)
        return digest
    }
}

/// FINGERPRINT: CRC-32 of the message before it, XORed with "STUN". RFC 8489 §14.7
package enum STUNFingerprint {
    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? 0xEDB8_8320 ^ (value >> 1) : value >> 1 }
    }

    package static func value(of message: RawSpan) -> UInt32 {
        var crc = UInt32.max
        for offset in 0..<message.byteCount {
            crc = table[Int((crc ^ UInt32(message.uint8(at: offset))) & 255)] ^ (crc >> 8)
        }
        return ~crc ^ 0x5354_554E
    }
}
