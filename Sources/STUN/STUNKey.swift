internal import COpenSSL
import SansIO

/// The key of MESSAGE-INTEGRITY, for HMAC-SHA1.
///
/// RFC 8489 §9.1, §9.2
package struct STUNKey: Hashable, Sendable {
    package let bytes: [UInt8]

    /// A short-term key: the password itself.
    ///
    /// The text is not SASLprep-ed: ICE passwords are letters, digits, "+" and "/".
    package init(password: some StringProtocol) {
        bytes = Array(password.utf8)
    }

    /// A long-term key: MD5(username ":" realm ":" password).
    ///
    /// The caller gives text that is already SASLprep-ed, as a TURN server's credentials are.
    package init(username: some StringProtocol, realm: some StringProtocol, password: some StringProtocol) {
        let text = Array(username.utf8) + [0x3A] + Array(realm.utf8) + [0x3A] + Array(password.utf8)
        var digest = [UInt8](repeating: 0, count: 16)
        var byteCount: UInt32 = 0
        // The digest has MD5's 16 bytes; both buffers live through the call.
        let status = unsafe EVP_Digest(text, text.count, &digest, &byteCount, EVP_md5(), nil)
        bytes = status == 1 ? digest : []
    }

    /// A key of bytes that are drawn or told, for codes over other texts than messages.
    package init(bytes: [UInt8]) { self.bytes = bytes }

    /// The 20 bytes of HMAC-SHA1 over a text; empty if libcrypto refuses.
    package func authenticationCode(of text: [UInt8]) -> [UInt8] {
        let code = unsafe text.withUnsafeBytes { unsafe HMACSHA1(key: bytes, message: $0) }
        guard let code else { return [] }
        var writer = ByteWriter(reserving: HMACSHA1.byteCount)
        writer.write(code.first)
        writer.write(code.second)
        writer.write(code.third)
        return writer.bytes
    }

    /// HMAC-SHA1 over a message's first `byteCount` bytes as if its header's length were `headerLength`.
    /// - Returns: three words, big-endian, or nil if libcrypto refused.
    func authenticationCode(of message: RawSpan, first byteCount: Int, headerLength: UInt16) -> HMACSHA1? {
        guard byteCount >= STUNMessage.headerByteCount, byteCount <= message.byteCount else { return nil }
        return unsafe withUnsafeTemporaryAllocation(byteCount: byteCount, alignment: 8) { copy in
            // The copy is needed since the length in the header differs from the one that was sent.
            unsafe message.withUnsafeBytes { source in
                unsafe copy.copyMemory(from: UnsafeRawBufferPointer(rebasing: source[0..<byteCount]))
            }
            unsafe copy.storeBytes(of: headerLength.bigEndian, toByteOffset: 2, as: UInt16.self)
            return unsafe HMACSHA1(key: bytes, message: UnsafeRawBufferPointer(copy))
        }
    }
}

/// The twenty bytes of an HMAC-SHA1, compared without a data-dependent branch.
struct HMACSHA1: Sendable {
    let first: UInt64
    let second: UInt64
    let third: UInt32

    init(first: UInt64, second: UInt64, third: UInt32) {
        self.first = first
        self.second = second
        self.third = third
    }

    init?(key: [UInt8], message: UnsafeRawBufferPointer) {
        var digest = (UInt64(0), UInt64(0), UInt64(0))  // 24 bytes of room for 20
        var byteCount: UInt32 = 0
        let isMade = unsafe withUnsafeMutableBytes(of: &digest) { digest in
            unsafe HMAC(
                EVP_sha1(),
                key,
                Int32(key.count),
                message.baseAddress?.assumingMemoryBound(to: UInt8.self),
                message.count,
                digest.baseAddress?.assumingMemoryBound(to: UInt8.self),
                &byteCount
            ) != nil
        }
        guard isMade, byteCount == Self.byteCount else { return nil }
        first = UInt64(bigEndian: digest.0)
        second = UInt64(bigEndian: digest.1)
        third = UInt32(truncatingIfNeeded: UInt64(bigEndian: digest.2) >> 32)
    }

    func matches(_ other: HMACSHA1) -> Bool {
        (first ^ other.first) | (second ^ other.second) | UInt64(third ^ other.third) == 0
    }

    static let byteCount = 20
}
