/// Why a packet was not protected or unprotected, or a session not made.
package enum SRTPError: Error, Hashable, Sendable {
    /// The packet came before, or is older than the replay window.
    case replayed
    /// The tag does not match: forged, damaged, or meant for other keys.
    case authenticationFailed
    /// Not an RTP or RTCP packet, or one cut short.
    case malformed
    /// The key protected as many packets as the profile allows.
    case keyExpired
    /// The buffer has no room for the trailer.
    case bufferTooSmall
    /// Key or salt are not of the profile's length.
    case wrongKeyLength
    /// The peer uses more SSRCs than `SRTPSession.maximumStreamCount`.
    case tooManyStreams
    /// Anything else that libsrtp reports, with its status number.
    case internalError(code: UInt32)
}
