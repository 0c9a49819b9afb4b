import SRTP

/// Packets for the tests of SRTP and of the keys for it.
enum SRTPPackets {
    /// An RTP packet of payload type 96.
    static func rtp(sequence: UInt16, ssrc: UInt32 = 0xCAFE_BABE, payloadByteCount: Int = 100) -> [UInt8] {
        var packet: [UInt8] = [0x80, 96, UInt8(sequence >> 8), UInt8(sequence & 255), 0, 0, 0, 1]
        packet += (0..<4).map { UInt8(truncatingIfNeeded: ssrc >> (24 - 8 * $0)) }
        packet += (0..<payloadByteCount).map { UInt8(truncatingIfNeeded: $0) }
        return packet
    }

    /// A receiver report without blocks, followed by a BYE-sized rest.
    static func rtcp(ssrc: UInt32 = 0xCAFE_BABE) -> [UInt8] {
        [0x80, 201, 0, 1] + (0..<4).map { UInt8(truncatingIfNeeded: ssrc >> (24 - 8 * $0)) }
    }

    static func protect(_ packet: [UInt8], _ session: inout SRTPSession) throws -> [UInt8] {
        var buffer = packet + [UInt8](repeating: 0, count: SRTPSession.trailerByteCount)
        let count = try buffer.withUnsafeMutableBytes { bytes in
            try session.protect(bytes, byteCount: packet.count)
        }
        return Array(buffer[..<count])
    }

    static func unprotect(_ packet: [UInt8], _ session: inout SRTPSession) throws -> [UInt8] {
        var buffer = packet
        let count = try buffer.withUnsafeMutableBytes { bytes in try session.unprotect(bytes) }
        return Array(buffer[..<count])
    }

    static func protectRTCP(_ packet: [UInt8], _ session: inout SRTPSession) throws -> [UInt8] {
        var buffer = packet + [UInt8](repeating: 0, count: SRTPSession.trailerByteCount)
        let count = try buffer.withUnsafeMutableBytes { bytes in
            try session.protectRTCP(bytes, byteCount: packet.count)
        }
        return Array(buffer[..<count])
    }

    static func unprotectRTCP(_ packet: [UInt8], _ session: inout SRTPSession) throws -> [UInt8] {
        var buffer = packet
        let count = try buffer.withUnsafeMutableBytes { bytes in try session.unprotectRTCP(bytes) }
        return Array(buffer[..<count])
    }

    /// Whether `packet` comes out of `receiving` as it went into `sending`, and was unreadable in between.
    static func roundTrip(
        _ packet: inout [UInt8],
        from sending: inout SRTPSession,
        to receiving: inout SRTPSession
    ) throws -> Bool {
        let protected = try protect(packet, &sending)
        let opened = try unprotect(protected, &receiving)
        return opened == packet && !protected.starts(with: packet)
    }
}
