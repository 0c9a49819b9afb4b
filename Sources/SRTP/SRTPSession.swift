// SRTP: the protection of RTP and RTCP packets by libsrtp2 (RFC 3711, RFC 7714).
//
// Keys come from the DTLS handshake (RFC 5764); this module knows nothing of where packets go. One session protects
// or unprotects one direction, for any number of sources.

internal import CSRTP
package import SansIO

/// Why a packet could not be protected or was not what it claimed to be.
package enum SRTPError: Error, Hashable, Sendable {
    /// Seen before, or older than the replay window.
    case replayed
    /// The authentication tag does not fit.
    case authenticationFailed
    /// Too short or malformed.
    case malformed
    /// The key has protected as many packets as it may (RFC 3711 §9.2).
    case keyExpired
    /// Another status of libsrtp2.
    case library(UInt32)
}

/// SRTP and SRTCP in one direction. Confined to one event loop; no allocation per packet.
@safe package struct SRTPSession: ~Copyable {
    package enum Direction: Sendable { case inbound, outbound }

    /// Spare bytes that a buffer needs behind the packet for `protect` and `protectRTCP`.
    package static let trailerByteCount = 16 + 4
    /// Packets by which one may come late and still be told from a replay (RFC 3711 §3.3.2).
    package static let replayWindow = 1024

    private let session: srtp_t
    package let profile: SRTPProfileID
    package let direction: Direction

    /// A session with the master key and salt of its direction.
    ///
    /// - Throws: `.library` if libsrtp2 refuses key, salt or profile.
    package init(profile: SRTPProfileID, key: [UInt8], salt: [UInt8], direction: Direction) throws(SRTPError) {
        try Library.start()
        guard key.count == profile.keyByteCount, salt.count == profile.saltByteCount else {
            throw .library(UInt32(srtp_err_status_bad_param.rawValue))
        }
        var policy = unsafe srtp_policy_t()
        let id = srtp_profile_t(rawValue: UInt32(profile.rawValue))
        guard unsafe srtp_crypto_policy_set_from_profile_for_rtp(&policy.rtp, id) == srtp_err_status_ok,
            unsafe srtp_crypto_policy_set_from_profile_for_rtcp(&policy.rtcp, id) == srtp_err_status_ok
        else { throw .library(UInt32(srtp_err_status_bad_param.rawValue)) }
        unsafe policy.ssrc.type = direction == .inbound ? ssrc_any_inbound : ssrc_any_outbound
        unsafe policy.window_size = UInt(Self.replayWindow)
        // A packet may be sent again as it was (NACK without RTX).
        unsafe policy.allow_repeat_tx = 1
        var made: srtp_t?
        var keyAndSalt = key + salt
        let status = unsafe keyAndSalt.withUnsafeMutableBufferPointer { buffer in
            unsafe policy.key = buffer.baseAddress
            return unsafe srtp_create(&made, &policy)
        }
        guard status == srtp_err_status_ok, let made = unsafe made else { throw .library(UInt32(status.rawValue)) }
        unsafe session = made
        self.profile = profile
        self.direction = direction
    }

    deinit { unsafe srtp_dealloc(session) }

    /// Encrypts and authenticates an RTP packet in place.
    ///
    /// - Parameters:
    ///   - packet: the packet, with `trailerByteCount` spare bytes behind it.
    ///   - byteCount: the packet's length.
    /// - Returns: the protected packet's length.
    package mutating func protect(
        _ packet: UnsafeMutableRawBufferPointer, byteCount: Int
    ) throws(SRTPError) -> Int {
        guard byteCount >= 12, byteCount + Self.trailerByteCount <= packet.count else { throw .malformed }
        var length = Int32(truncatingIfNeeded: byteCount)
        let status = unsafe srtp_protect(session, packet.baseAddress, &length)
        guard status == srtp_err_status_ok else { throw Self.error(status) }
        return Int(length)
    }

    /// Checks and decrypts an RTP packet in place.
    ///
    /// - Returns: the plain packet's length.
    package mutating func unprotect(_ packet: UnsafeMutableRawBufferPointer) throws(SRTPError) -> Int {
        guard packet.count >= 12 else { throw .malformed }
        var length = Int32(truncatingIfNeeded: packet.count)
        let status = unsafe srtp_unprotect(session, packet.baseAddress, &length)
        guard status == srtp_err_status_ok else { throw Self.error(status) }
        return Int(length)
    }

    /// The same as `protect` for a compound RTCP packet.
    package mutating func protectRTCP(
        _ packet: UnsafeMutableRawBufferPointer, byteCount: Int
    ) throws(SRTPError) -> Int {
        guard byteCount >= 8, byteCount + Self.trailerByteCount <= packet.count else { throw .malformed }
        var length = Int32(truncatingIfNeeded: byteCount)
        let status = unsafe srtp_protect_rtcp(session, packet.baseAddress, &length)
        guard status == srtp_err_status_ok else { throw Self.error(status) }
        return Int(length)
    }

    /// The same as `unprotect` for a compound RTCP packet.
    package mutating func unprotectRTCP(_ packet: UnsafeMutableRawBufferPointer) throws(SRTPError) -> Int {
        guard packet.count >= 8 else { throw .malformed }
        var length = Int32(truncatingIfNeeded: packet.count)
        let status = unsafe srtp_unprotect_rtcp(session, packet.baseAddress, &length)
        guard status == srtp_err_status_ok else { throw Self.error(status) }
        return Int(length)
    }

    private static func error(_ status: srtp_err_status_t) -> SRTPError {
        switch status {
        case srtp_err_status_replay_fail, srtp_err_status_replay_old: .replayed
        case srtp_err_status_auth_fail, srtp_err_status_cipher_fail: .authenticationFailed
        case srtp_err_status_parse_err, srtp_err_status_bad_param: .malformed
        case srtp_err_status_key_expired: .keyExpired
        default: .library(UInt32(status.rawValue))
        }
    }
}

/// libsrtp2's process-wide state.
private enum Library {
    private static let status = srtp_init()

    static func start() throws(SRTPError) {
        guard status == srtp_err_status_ok else { throw .library(UInt32(status.rawValue)) }
    }
}
