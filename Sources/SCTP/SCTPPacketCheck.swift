internal import SansIO

/// What a packet must fulfil before usrsctp sees it.
///
/// usrsctp 0.9.5 walks the parameters of an INIT without a look at their lengths: one of length zero keeps it, and all
/// associations with it, in a loop for ever.
enum SCTPPacketCheck {
    /// Whether each chunk, and each parameter of INIT and INIT ACK, has a length that is possible.
    ///
    /// RFC 9260 §3, §3.2, §3.2.1
    static func isWellFormed(_ packet: RawSpan) -> Bool {
        var offset = SCTPChunks.headerByteCount
        guard packet.byteCount >= offset + fieldByteCount else { return false }
        while packet.byteCount - offset >= fieldByteCount {
            let type = packet.uint8(at: offset)
            let end = offset + Int(packet.uint16(at: offset + 2))
            guard end >= offset + fieldByteCount, end <= packet.byteCount else { return false }
            if type == SCTPChunks.initiation || type == SCTPChunks.initiationAck {
                // "INIT, INIT ACK, and SHUTDOWN COMPLETE chunks ... MUST NOT be bundled": usrsctp takes what follows for
                // more parameters. RFC 9260 §4
                guard offset == SCTPChunks.headerByteCount, packet.byteCount - end < 4 else { return false }
                guard areParametersWellFormed(packet, from: offset + initByteCount, to: end) else { return false }
            }
            offset = (end + 3) & ~3
        }
        return true
    }

    private static func areParametersWellFormed(_ packet: RawSpan, from start: Int, to end: Int) -> Bool {
        guard start <= end else { return false }
        var offset = start
        while end - offset >= fieldByteCount {
            let parameterEnd = offset + Int(packet.uint16(at: offset + 2))
            guard parameterEnd >= offset + fieldByteCount, parameterEnd <= end else { return false }
            offset = (parameterEnd + 3) & ~3
        }
        // A few bytes left over are no parameter.
        return offset >= end
    }

    /// Type and length, of a chunk or a parameter.
    private static let fieldByteCount = 4
    /// An INIT up to its parameters. RFC 9260 §3.3.2
    private static let initByteCount = 20
}
