internal import CSRTP
package import SansIO

/// One direction of an SRTP and SRTCP transport: all its streams, under one master key.
///
/// Owns the `srtp_t` and frees it. Streams come into being with their first packet, in the inbound direction only
/// after that packet was authenticated. Confined to the engine's event loop.
///
/// RFC 3711 §3, RFC 7714
@safe package struct SRTPSession: ~Copyable {
    /// Whether the session protects what goes out or unprotects what comes in.
    package enum Direction: Hashable, Sendable {
        case inbound
        case outbound
    }

    package let profile: SRTPProfileID
    package let direction: Direction

    // srtp_t
    private let session: OpaquePointer
    /// The SSRCs of inbound streams, each of which costs libsrtp some kilobytes.
    private var streams: [UInt32] = []
    private var lastSSRC: UInt32?

    /// Makes libsrtp's session.
    ///
    /// - Parameters:
    ///   - profile: cipher and authentication, as DTLS negotiated them.
    ///   - key: the master key, `profile.keyByteCount` bytes.
    ///   - salt: the master salt, `profile.saltByteCount` bytes.
    ///   - direction: inbound or outbound.
    /// - Throws: `.wrongKeyLength`, or `.internalError` when libsrtp refuses.
    package init(profile: SRTPProfileID, key: [UInt8], salt: [UInt8], direction: Direction) throws(SRTPError) {
        guard key.count == profile.keyByteCount, salt.count == profile.saltByteCount else { throw .wrongKeyLength }
        try Self.initializeLibrary()
        var policy = unsafe srtp_policy_t()
        let identifier = srtp_profile_t(UInt32(profile.rawValue))
        try Self.check(unsafe srtp_crypto_policy_set_from_profile_for_rtp(&policy.rtp, identifier))
        try Self.check(unsafe srtp_crypto_policy_set_from_profile_for_rtcp(&policy.rtcp, identifier))
        unsafe policy.ssrc.type = direction == .inbound ? ssrc_any_inbound : ssrc_any_outbound
        unsafe policy.window_size = UInt(Self.replayWindow)
        // A retransmission without RTX (RFC 4588) repeats a sequence number; libsrtp would refuse it.
        unsafe policy.allow_repeat_tx = direction == .outbound ? 1 : 0

        var handle: srtp_t?
        var keyAndSalt = key + salt
        let status = unsafe keyAndSalt.withUnsafeMutableBufferPointer { bytes in
            // libsrtp copies the key while it creates the session.
            unsafe policy.key = bytes.baseAddress
            defer { unsafe bytes.update(repeating: 0) }
            return unsafe srtp_create(&handle, &policy)
        }
        try Self.check(status)
        guard let handle = unsafe handle else { throw .internalError(code: srtp_err_status_alloc_fail.rawValue) }
        unsafe session = handle
        self.profile = profile
        self.direction = direction
        if direction == .inbound { streams.reserveCapacity(Self.maximumStreamCount) }
    }

    deinit {
        _ = unsafe srtp_dealloc(session)
    }

    // MARK: - RTP

    /// Encrypts an RTP packet in place and appends the tag.
    ///
    /// - Parameters:
    ///   - packet: a buffer with the packet in front and at least `trailerByteCount` spare bytes behind it.
    ///   - byteCount: the packet's length.
    /// - Returns: the length of the SRTP packet.
    /// - Throws: `.malformed`, `.bufferTooSmall`, `.keyExpired`.
    ///
    /// RFC 3711 §3.3
    package mutating func protect(
        _ packet: UnsafeMutableRawBufferPointer,
        byteCount: Int
    ) throws(SRTPError) -> Int {
        guard byteCount >= 0, byteCount <= packet.count - profile.tagByteCount else { throw .bufferTooSmall }
        guard unsafe Self.isRTP(UnsafeRawBufferPointer(packet), byteCount: byteCount) else { throw .malformed }
        var length = Int32(truncatingIfNeeded: byteCount)
        try Self.check(unsafe srtp_protect(session, packet.baseAddress, &length))
        return Int(length)
    }

    /// Checks and decrypts an SRTP packet in place.
    ///
    /// - Parameter packet: the whole packet. After an error its content is undefined.
    /// - Returns: the length of the RTP packet that now lies in front.
    /// - Throws: `.replayed`, `.authenticationFailed`, `.malformed`, `.tooManyStreams`, `.keyExpired`.
    ///
    /// RFC 3711 §3.3
    package mutating func unprotect(_ packet: UnsafeMutableRawBufferPointer) throws(SRTPError) -> Int {
        let byteCount = packet.count
        guard unsafe Self.isRTP(UnsafeRawBufferPointer(packet), byteCount: byteCount - profile.tagByteCount) else {
            throw .malformed
        }
        let ssrc = unsafe UInt32(bigEndian: packet.loadUnaligned(fromByteOffset: 8, as: UInt32.self))
        let isNew = try isNewStream(ssrc)
        var length = Int32(truncatingIfNeeded: byteCount)
        try Self.check(unsafe srtp_unprotect(session, packet.baseAddress, &length))
        noteStream(ssrc, isNew: isNew)
        return Int(length)
    }

    // MARK: - RTCP

    /// Encrypts a compound RTCP packet in place and appends the index and the tag.
    ///
    /// - Parameters:
    ///   - packet: a buffer with the packet in front and at least `trailerByteCount` spare bytes behind it.
    ///   - byteCount: the packet's length.
    /// - Returns: the length of the SRTCP packet.
    /// - Throws: `.malformed`, `.bufferTooSmall`, `.keyExpired`.
    ///
    /// RFC 3711 §3.4
    package mutating func protectRTCP(
        _ packet: UnsafeMutableRawBufferPointer,
        byteCount: Int
    ) throws(SRTPError) -> Int {
        guard byteCount >= 0, byteCount <= packet.count - profile.tagByteCount - Self.rtcpIndexByteCount else {
            throw .bufferTooSmall
        }
        guard unsafe Self.isRTCP(UnsafeRawBufferPointer(packet), byteCount: byteCount) else { throw .malformed }
        var length = Int32(truncatingIfNeeded: byteCount)
        try Self.check(unsafe srtp_protect_rtcp(session, packet.baseAddress, &length))
        return Int(length)
    }

    /// Checks and decrypts an SRTCP packet in place.
    ///
    /// - Parameter packet: the whole packet. After an error its content is undefined.
    /// - Returns: the length of the RTCP packet that now lies in front.
    /// - Throws: as `unprotect(_:)`.
    ///
    /// RFC 3711 §3.4
    package mutating func unprotectRTCP(_ packet: UnsafeMutableRawBufferPointer) throws(SRTPError) -> Int {
        let byteCount = packet.count
        let trailer = profile.tagByteCount + Self.rtcpIndexByteCount
        guard unsafe Self.isRTCP(UnsafeRawBufferPointer(packet), byteCount: byteCount - trailer) else {
            throw .malformed
        }
        let ssrc = unsafe UInt32(bigEndian: packet.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
        let isNew = try isNewStream(ssrc)
        var length = Int32(truncatingIfNeeded: byteCount)
        try Self.check(unsafe srtp_unprotect_rtcp(session, packet.baseAddress, &length))
        noteStream(ssrc, isNew: isNew)
        return Int(length)
    }

    /// SSRCs from which authenticated packets came; always 0 outbound.
    package var inboundStreamCount: Int { streams.count }

    /// Forgets a stream that will not come back, so that another may take its place.
    ///
    /// The same SSRC would start anew, without replay protection for what it sent before; so only a stream
    /// that its owner drops for good may be forgotten.
    package mutating func removeStream(ssrc: UInt32) {
        // libsrtp takes the SSRC in network order.
        _ = unsafe srtp_remove_stream(session, ssrc.bigEndian)
        streams.removeAll { $0 == ssrc }
        if lastSSRC == ssrc { lastSSRC = nil }
    }

    // MARK: - Private

    private func isNewStream(_ ssrc: UInt32) throws(SRTPError) -> Bool {
        if lastSSRC == ssrc || streams.contains(ssrc) { return false }
        guard streams.count < Self.maximumStreamCount else { throw .tooManyStreams }
        return true
    }

    private mutating func noteStream(_ ssrc: UInt32, isNew: Bool) {
        if isNew { streams.append(ssrc) }
        lastSSRC = ssrc
    }

    /// Whether `byteCount` bytes hold version 2 and the whole RTP header (RFC 3550 §5.1).
    private static func isRTP(_ packet: UnsafeRawBufferPointer, byteCount: Int) -> Bool {
        guard byteCount >= 12, byteCount <= maximumPacketByteCount, unsafe packet[0] >> 6 == 2 else { return false }
        var headerByteCount = unsafe 12 + 4 * Int(packet[0] & 0x0F)
        if unsafe packet[0] & 0x10 != 0 {
            guard byteCount >= headerByteCount + 4 else { return false }
            let words = unsafe Int(packet[headerByteCount + 2]) << 8 | Int(packet[headerByteCount + 3])
            headerByteCount += 4 + 4 * words
        }
        return byteCount >= headerByteCount
    }

    /// Whether `byteCount` bytes hold version 2 and the first RTCP header with its SSRC (RFC 3550 §6.4).
    private static func isRTCP(_ packet: UnsafeRawBufferPointer, byteCount: Int) -> Bool {
        guard byteCount >= 8, byteCount <= maximumPacketByteCount else { return false }
        return unsafe packet[0] >> 6 == 2
    }

    private static func check(_ status: srtp_err_status_t) throws(SRTPError) {
        switch status {
        case srtp_err_status_ok: return
        case srtp_err_status_replay_fail, srtp_err_status_replay_old, srtp_err_status_pkt_idx_old: throw .replayed
        case srtp_err_status_auth_fail: throw .authenticationFailed
        case srtp_err_status_bad_param, srtp_err_status_parse_err: throw .malformed
        case srtp_err_status_key_expired: throw .keyExpired
        default: throw .internalError(code: status.rawValue)
        }
    }

    /// libsrtp's process-wide state; a `static let` runs once, on whichever thread comes first.
    ///
    /// One session is made and kept for the life of the process: Debian's libsrtp loads NSS's modules when the first
    /// session is made and unloads them with the last, some milliseconds each time.
    private static let initializationStatus = startLibrary()

    /// The session that `startLibrary` keeps.
    nonisolated(unsafe) private static var keptSession: srtp_t?

    private static func startLibrary() -> srtp_err_status_t {
        let status = srtp_init()
        guard status == srtp_err_status_ok else { return status }
        var policy = unsafe srtp_policy_t()
        unsafe srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtp)
        unsafe srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtcp)
        unsafe policy.ssrc.type = ssrc_any_outbound
        var key = [UInt8](repeating: 1, count: 28)
        return unsafe key.withUnsafeMutableBufferPointer { bytes in
            unsafe policy.key = bytes.baseAddress
            return unsafe srtp_create(&keptSession, &policy)
        }
    }

    private static func initializeLibrary() throws(SRTPError) {
        try check(initializationStatus)
    }

    /// Spare bytes that `protect` and `protectRTCP` need behind a packet, for every profile.
    package static let trailerByteCount = 20

    /// Packets back from the newest for which a late one is still accepted.
    ///
    /// "The receiver's replay window size MUST be at least 64" (RFC 3711 §3.3.2); at video rates 64 packets are a
    /// few milliseconds, less than a retransmission takes.
    package static let replayWindow = 1024

    /// SSRCs that a peer may use in one session.
    package static let maximumStreamCount = 256

    /// The E flag and the SRTCP index (RFC 3711 §3.4).
    private static let rtcpIndexByteCount = 4

    /// More than a UDP datagram can carry is no packet.
    private static let maximumPacketByteCount = 65_535
}
