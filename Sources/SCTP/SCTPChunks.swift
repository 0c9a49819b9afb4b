internal import SansIO

/// The chunks of a packet. RFC 9260 §3
enum SCTPChunks {
    static let headerByteCount = 12
    static let data: UInt8 = 0
    static let initiation: UInt8 = 1
    static let initiationAck: UInt8 = 2
    static let sack: UInt8 = 3
    static let heartbeat: UInt8 = 4
    static let heartbeatAck: UInt8 = 5
    static let reconfiguration: UInt8 = 130
    static let padding: UInt8 = 132
    static let forwardTSN: UInt8 = 192

    /// Calls `body` with each chunk's type, its first byte and the end of its content, as far as the lengths are possible.
    @inline(__always)
    static func forEach(in packet: RawSpan, _ body: (_ type: UInt8, _ start: Int, _ end: Int) -> Void) {
        var offset = headerByteCount
        while packet.byteCount - offset >= 4 {
            let end = offset + Int(packet.uint16(at: offset + 2))
            guard end >= offset + 4, end <= packet.byteCount else { return }
            body(packet.uint8(at: offset), offset, end)
            offset = (end + 3) & ~3
        }
    }
}
