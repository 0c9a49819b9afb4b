internal import CSRTP
package import SansIO

/// Why a packet was refused.
package enum SRTPError: Error, Hashable, Sendable {
    case replayed
    case authenticationFailed
    case malformed
    case keyExpired
    case internalError(code: Int)
}

/// SRTP and SRTCP in one direction.
@safe package struct SRTPSession: ~Copyable {
    package enum Direction: Sendable {
        case inbound
        case outbound
    }
    package static let trailerByteCount = 160
    private var session: srtp_t?
    private static let initialized: Bool = srtp_init() == srtp_err_status_ok

    package init(
        profile: SRTPProfileID, key: [UInt8], salt: [UInt8], direction: Direction
    ) throws(SRTPError) {
        guard Self.initialized else { throw .internalError(code: 0) }
        var policy = unsafe srtp_policy_t()
        switch profile {
        case .aes128CmSha1_80:
            unsafe srtp_crypto_policy_set_rtp_default(&policy.rtp)
            unsafe srtp_crypto_policy_set_rtp_default(&policy.rtcp)
        case .aeadAes128Gcm:
            unsafe srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtp)
            unsafe srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtcp)
        case .aeadAes256Gcm:
            unsafe srtp_crypto_policy_set_aes_gcm_256_16_auth(&policy.rtp)
            unsafe srtp_crypto_policy_set_aes_gcm_256_16_auth(&policy.rtcp)
        }
        unsafe policy.ssrc.type = direction == .inbound ? ssrc_any_inbound : ssrc_any_outbound
        unsafe policy.window_size = 1024
        unsafe policy.allow_repeat_tx = 1
        var master = key + salt
        var created: srtp_t?
        let status = unsafe master.withUnsafeMutableBufferPointer { bytes in
            unsafe policy.key = bytes.baseAddress
            return unsafe srtp_create(&created, &policy)
        }
        guard status == srtp_err_status_ok else { throw .internalError(code: Int(status.rawValue)) }
        unsafe session = created
    }

    deinit { if let session = unsafe session { unsafe srtp_dealloc(session) } }

    package mutating func protect(
        _ packet: UnsafeMutableRawBufferPointer, byteCount: Int
    ) throws(SRTPError) -> Int {
        var length = Int32(byteCount)
        try check(unsafe srtp_protect(session, packet.baseAddress, &length))
        return Int(length)
    }

    package mutating func unprotect(_ packet: UnsafeMutableRawBufferPointer) throws(SRTPError) -> Int {
        var length = Int32(packet.count)
        try check(unsafe srtp_unprotect(session, packet.baseAddress, &length))
        return Int(length)
    }

    package mutating func protectRTCP(
        _ packet: UnsafeMutableRawBufferPointer, byteCount: Int
    ) throws(SRTPError) -> Int {
        var length = Int32(byteCount)
        try check(unsafe srtp_protect_rtcp(session, packet.baseAddress, &length))
        return Int(length)
    }

    package mutating func unprotectRTCP(_ packet: UnsafeMutableRawBufferPointer) throws(SRTPError) -> Int {
        var length = Int32(packet.count)
        try check(unsafe srtp_unprotect_rtcp(session, packet.baseAddress, &length))
        return Int(length)
    }

    private func check(_ status: srtp_err_status_t) throws(SRTPError) {
        switch status {
        case srtp_err_status_ok: return
        case srtp_err_status_replay_fail, srtp_err_status_replay_old: throw .replayed
        case srtp_err_status_auth_fail: throw .authenticationFailed
        case srtp_err_status_key_expired: throw .keyExpired
        case srtp_err_status_bad_param, srtp_err_status_parse_err: throw .malformed
        default: throw .internalError(code: Int(status.rawValue))
        }
    }
}
