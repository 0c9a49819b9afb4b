/// An SRTP protection profile that DTLS-SRTP can negotiate, by its number in the `use_srtp` extension.
///
/// RFC 5764 §4.1.2, RFC 7714 §14.2
package enum SRTPProfileID: UInt16, CaseIterable, Hashable, Sendable {
    /// `SRTP_AES128_CM_HMAC_SHA1_80`, which every WebRTC peer has (RFC 8827 §6.5).
    // swift-format-ignore: AlwaysUseLowerCamelCase
    case aes128CmSha1_80 = 1
    /// `SRTP_AEAD_AES_128_GCM`, four times faster and so preferred.
    case aeadAes128Gcm = 7
    /// `SRTP_AEAD_AES_256_GCM`.
    case aeadAes256Gcm = 8

    /// What is offered when nothing else is asked for, best first.
    package static let preferred: [SRTPProfileID] = [.aeadAes128Gcm, .aeadAes256Gcm, .aes128CmSha1_80]

    /// Bytes of one direction's master key.
    package var keyByteCount: Int {
        switch self {
        case .aes128CmSha1_80, .aeadAes128Gcm: 16
        case .aeadAes256Gcm: 32
        }
    }

    /// Bytes of one direction's master salt.
    package var saltByteCount: Int {
        switch self {
        case .aes128CmSha1_80: 14
        case .aeadAes128Gcm, .aeadAes256Gcm: 12
        }
    }

    /// Bytes of the authentication tag behind each packet.
    package var tagByteCount: Int {
        switch self {
        case .aes128CmSha1_80: 10
        case .aeadAes128Gcm, .aeadAes256Gcm: 16
        }
    }

    /// OpenSSL's name, for `SSL_CTX_set_tlsext_use_srtp`.
    package var opensslName: String {
        switch self {
        case .aes128CmSha1_80: "SRTP_AES128_CM_SHA1_80"
        case .aeadAes128Gcm: "SRTP_AEAD_AES_128_GCM"
        case .aeadAes256Gcm: "SRTP_AEAD_AES_256_GCM"
        }
    }

    /// The name in IANA's registry, as W3C statistics report it (`srtpCipher`).
    package var registeredName: String {
        switch self {
        case .aes128CmSha1_80: "SRTP_AES128_CM_HMAC_SHA1_80"
        case .aeadAes128Gcm: "SRTP_AEAD_AES_128_GCM"
        case .aeadAes256Gcm: "SRTP_AEAD_AES_256_GCM"
        }
    }
}
