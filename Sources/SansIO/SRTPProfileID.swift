/// A DTLS-SRTP protection profile. RFC 5764 §4.1.2, RFC 7714 §14.2
package enum SRTPProfileID: UInt16, Hashable, Sendable, CaseIterable {
    case aes128CmSha1_80 = 0x0001
    case aeadAes128Gcm = 0x0007
    case aeadAes256Gcm = 0x0008

    /// Length of the master key in bytes.
    package var keyByteCount: Int { self == .aeadAes256Gcm ? 32 : 16 }
    /// Length of the master salt in bytes.
    package var saltByteCount: Int { self == .aes128CmSha1_80 ? 14 : 12 }

    /// The name that OpenSSL's `SSL_CTX_set_tlsext_use_srtp` knows it by.
    package var opensslName: String {
        switch self {
        case .aes128CmSha1_80: "SRTP_AES128_CM_SHA1_80"
        case .aeadAes128Gcm: "SRTP_AEAD_AES_128_GCM"
        case .aeadAes256Gcm: "SRTP_AEAD_AES_256_GCM"
        }
    }

    /// The name in the IANA registry, without `SRTP_`.
    package var name: String {
        switch self {
        case .aes128CmSha1_80: "AES128_CM_HMAC_SHA1_80"
        case .aeadAes128Gcm: "AEAD_AES_128_GCM"
        case .aeadAes256Gcm: "AEAD_AES_256_GCM"
        }
    }
}
