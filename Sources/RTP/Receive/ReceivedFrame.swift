package import SansIO

/// One encoded picture or block of audio as it was received.
package struct ReceivedFrame: Sendable {
    package var payload: [UInt8]
    package var rtpTimestamp: UInt32
    package var payloadType: UInt8
    package var codec: RTPCodec
    package var isKeyFrame: Bool
    /// What was lost just before this frame.
    ///
    /// Audio: packets to be concealed. Video: pictures given up; this one is then a key frame.
    package var lostBefore: Int
    package var ssrc: UInt32
    /// When the packet that made the frame complete arrived.
    package var receiveTime: Instant
    /// RFC 6464, audio only.
    package var audioLevel: UInt8?
    /// Video: the picture ID of RFC 7741, if there is one.
    package var pictureID: UInt16?
    /// When the first packet of the frame arrived.
    package var firstPacketTime: Instant
    /// The last sender report of the source, to synchronise it with others.
    package var senderClock: SenderClock?
}

/// Which moment of a sender's clock an RTP timestamp stands for. RFC 3550 §6.4.1
package struct SenderClock: Hashable, Sendable {
    package var ntpTimestamp: UInt64
    package var rtpTimestamp: UInt32
}

/// A packet that a receiver keeps: its slot, and what was read from its header.
package struct ReceivedPacket: Sendable {
    package var slot: PacketSlot
    /// Unwrapped sequence number.
    package var sequence: Int64
    package var timestamp: UInt32
    package var payloadType: UInt8
    package var marker: Bool
    /// Where in the slot the payload lies, without payload descriptor and padding; 0 bytes for padding alone.
    package var payloadOffset: Int
    package var payloadByteCount: Int
    package var startsFrame = true
    package var startsKeyFrame = false
    /// Nil for what the stream carries.
    package var codec: RTPCodec?
    package var pictureID: UInt16?
    package var audioLevel: UInt8?
    package var receivedAt: Instant

    package init(
        slot: PacketSlot,
        sequence: Int64,
        timestamp: UInt32,
        payloadType: UInt8,
        marker: Bool,
        payloadOffset: Int,
        payloadByteCount: Int,
        receivedAt: Instant
    ) {
        self.slot = slot
        self.sequence = sequence
        self.timestamp = timestamp
        self.payloadType = payloadType
        self.marker = marker
        self.payloadOffset = payloadOffset
        self.payloadByteCount = payloadByteCount
        self.receivedAt = receivedAt
    }
}

/// Packets by unwrapped sequence number, in a ring which owns their slots.
@safe package struct ReceivedPacketRing {
    private let pool: PacketPool
    private var packets: [ReceivedPacket?]

    /// An empty ring.
    ///
    /// - Parameters:
    ///   - pool: whose slots the packets lie in.
    ///   - capacity: a power of two.
    package init(pool: PacketPool, capacity: Int) {
        self.pool = pool
        packets = Array(repeating: nil, count: capacity)
    }

    package var capacity: Int { packets.count }

    package subscript(sequence: Int64) -> ReceivedPacket? {
        guard let packet = packets[index(sequence)], packet.sequence == sequence else { return nil }
        return packet
    }

    package func contains(_ sequence: Int64) -> Bool { packets[index(sequence)]?.sequence == sequence }

    /// Takes over a packet; the caller made sure that its place is free.
    package mutating func insert(_ packet: ReceivedPacket) {
        remove(packets[index(packet.sequence)]?.sequence ?? packet.sequence)
        packets[index(packet.sequence)] = packet
    }

    package mutating func remove(_ sequence: Int64) {
        guard let packet = self[sequence] else { return }
        pool.giveBack(packet.slot)
        packets[index(sequence)] = nil
    }

    package mutating func removeAll() {
        for index in packets.indices {
            if let packet = packets[index] { pool.giveBack(packet.slot) }
            packets[index] = nil
        }
    }

    /// The payload of a packet, as long as it stays in the ring.
    package func payload(of packet: ReceivedPacket) -> UnsafeRawBufferPointer {
        // Offset and length were checked against the slot when the header was parsed.
        let end = packet.payloadOffset + packet.payloadByteCount
        return unsafe UnsafeRawBufferPointer(rebasing: pool.bytes(of: packet.slot)[packet.payloadOffset..<end])
    }

    private func index(_ sequence: Int64) -> Int { Int(truncatingIfNeeded: sequence) & (packets.count - 1) }
}
