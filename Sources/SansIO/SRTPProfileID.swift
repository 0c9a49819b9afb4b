/// The SRTP protection profiles that are offered in DTLS.
///
/// RFC 5764 §4.1.2, RFC 7714 §14.2
package enum SRTPProfileID: UInt16, Hashable, Sendable, CaseIterable {
    case aes128CmSha1_80 = 1
    case aeadAes128Gcm = 7
    case aeadAes256Gcm = 8

    package var keyByteCount: Int { self == .aeadAes256Gcm ? 32 : 16 }
    package var saltByteCount: Int { self == .aes128CmSha1_80 ? 14 : 12 }
}
