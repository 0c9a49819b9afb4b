package import SansIO

/// Why bytes are not an RTP or RTCP packet.
package enum RTPError: Error, Hashable, Sendable {
    case truncated
    case wrongVersion
    case badPadding
    case badLength
    case badValue
}

/// The header of an RTP packet: its fields, and where in the packet the rest lies.
///
/// RFC 3550 §5.1
package struct RTPHeader: Hashable, Sendable {
    package var payloadType: UInt8
    package var marker: Bool
    package var sequenceNumber: SequenceNumber
    package var timestamp: UInt32
    package var ssrc: UInt32
    /// Bytes of the fixed header, the CSRCs and the extension: where the payload begins.
    package var byteCount: Int
    /// Bytes of payload, without padding.
    package var payloadByteCount: Int
    package var paddingByteCount: Int
    /// `0xBEDE` for one-byte elements, `0x100x` for two-byte elements, 0 without an extension.
    package var extensionProfile: UInt16
    /// Where the extension's elements begin, after the profile and the length.
    package var extensionOffset: Int
    package var extensionByteCount: Int

    /// Bytes of a header without CSRCs and extension.
    package static let fixedByteCount = 12

    /// Parses the header of the packet that fills `packet`.
    package init(_ packet: RawSpan) throws(RTPError) {
        guard packet.byteCount >= Self.fixedByteCount else { throw .truncated }
        let first = packet.uint8(at: 0)
        guard first >> 6 == 2 else { throw .wrongVersion }
        let second = packet.uint8(at: 1)
        payloadType = second & 0x7F
        marker = second & 0x80 != 0
        sequenceNumber = SequenceNumber(packet.uint16(at: 2))
        timestamp = packet.uint32(at: 4)
        ssrc = packet.uint32(at: 8)
        var offset = Self.fixedByteCount + 4 * Int(first & 0x0F)
        guard offset <= packet.byteCount else { throw .truncated }
        extensionProfile = 0
        extensionOffset = offset
        extensionByteCount = 0
        if first & 0x10 != 0 {
            guard offset + 4 <= packet.byteCount else { throw .truncated }
            extensionProfile = packet.uint16(at: offset)
            extensionByteCount = 4 * Int(packet.uint16(at: offset + 2))
            extensionOffset = offset + 4
            offset = extensionOffset + extensionByteCount
            guard offset <= packet.byteCount else { throw .truncated }
        }
        paddingByteCount = 0
        if first & 0x20 != 0 {
            // "The last octet of the padding contains a count of how many padding octets should be ignored,
            // including itself."
            guard offset < packet.byteCount else { throw .badPadding }
            paddingByteCount = Int(packet.uint8(at: packet.byteCount - 1))
            guard paddingByteCount > 0, offset + paddingByteCount <= packet.byteCount else { throw .badPadding }
        }
        byteCount = offset
        payloadByteCount = packet.byteCount - offset - paddingByteCount
    }

    /// Whether a datagram of RTP or RTCP is RTCP: packet types 192 to 223 (RFC 5761 §4).
    package static func isRTCP(_ datagram: RawSpan) -> Bool {
        datagram.byteCount >= 2 && (192...223).contains(datagram.uint8(at: 1))
    }
}
