internal import SansIO

/// What the first byte of a datagram says it is. RFC 7983 §7
package enum DatagramKind {
    case stun, channelData, dtls, rtp, unknown

    /// Whether a datagram is STUN of the method Binding, which is never TURN's. RFC 8489 §5
    package static func isBinding(_ datagram: RawSpan) -> Bool {
        datagram.byteCount >= 2 && datagram.uint16(at: 0) & 0xFEEF == 0x0001
    }

    package init(_ datagram: RawSpan) {
        guard datagram.byteCount > 0 else {
            self = .unknown
            return
        }
        self =
            switch datagram.uint8(at: 0) {
            case 0...3: .stun
            case 20...63: .dtls
            case 64...79: .channelData
            case 128...191: .rtp
            default: .unknown
            }
    }
}
