package import SansIO

/// Puts audio packets in order and counts the lost ones.
///
/// Packets in order pass at once: smoothing is left to the sink, which owns the playout clock. Only a gap is
/// waited for, as long as the jitter seen makes it likely that the packet is merely late.
@safe package struct AudioJitterBuffer {
    /// Packets from the oldest awaited to the newest: 2.5 s of 20 ms.
    package static let capacity = 128
    /// Bounds of the wait for a missing packet.
    package static let shortestWait = Duration.milliseconds(20)
    package static let longestWait = Duration.milliseconds(100)

    private let pool: PacketPool
    private let ssrc: UInt32
    private var ring: ReceivedPacketRing
    private var next: Int64?
    private var highest: Int64 = .min
    private var gapSince: Instant?
    private var lostBefore = 0

    /// Packets given up, and packets that came after they had been given up.
    package private(set) var packetsGivenUp: UInt64 = 0
    package private(set) var packetsLate: UInt64 = 0

    package init(ssrc: UInt32, pool: PacketPool) {
        self.ssrc = ssrc
        self.pool = pool
        ring = ReceivedPacketRing(pool: pool, capacity: Self.capacity)
    }

    /// Gives back all slots.
    package mutating func close() { ring.removeAll() }

    package var oldestNeeded: Int64? { next }

    /// How long a gap is waited for.
    package static func wait(jitter: Duration, retransmissionTime: Duration?) -> Duration {
        let patience = max(jitter * 4, retransmissionTime.map { $0 + .milliseconds(10) } ?? .zero)
        return min(max(patience, shortestWait), longestWait)
    }

    package func gapDeadline(wait: @autoclosure () -> Duration) -> Instant? { gapSince.map { $0 + wait() } }

    /// Takes over a packet and its slot.
    package mutating func insert(_ packet: ReceivedPacket, at now: Instant) -> VideoFrameAssembler.Insertion {
        let front = next ?? packet.sequence
        next = front
        guard packet.sequence >= front else {
            pool.giveBack(packet.slot)
            packetsLate += 1
            return .late
        }
        guard !ring.contains(packet.sequence) else {
            pool.giveBack(packet.slot)
            return .duplicate
        }
        if packet.sequence >= front + Int64(ring.capacity) {
            // The stream jumped: all that was kept is behind us.
            ring.removeAll()
            next = packet.sequence
            lostBefore = Self.capacity
            packetsGivenUp += UInt64(Self.capacity)
            gapSince = nil
        }
        ring.insert(packet)
        highest = max(highest, packet.sequence)
        return .inserted
    }

    /// The next block of audio, if it is there.
    package mutating func nextFrame(codec: (UInt8) -> RTPCodec?, at now: Instant) -> ReceivedFrame? {
        while let sequence = next {
            guard let packet = ring[sequence] else {
                gapSince = highest > sequence ? gapSince ?? now : nil
                return nil
            }
            next = sequence + 1
            gapSince = nil
            defer { ring.remove(sequence) }
            guard packet.payloadByteCount > 0, let codec = codec(packet.payloadType) else { continue }
            let source = unsafe ring.payload(of: packet)
            let lost = lostBefore
            lostBefore = 0
            return unsafe ReceivedFrame(
                payload: Array(source),
                rtpTimestamp: packet.timestamp,
                payloadType: packet.payloadType,
                codec: codec,
                isKeyFrame: false,
                lostBefore: lost,
                ssrc: ssrc,
                receiveTime: now,
                audioLevel: packet.audioLevel,
                firstPacketTime: packet.receivedAt
            )
        }
        return nil
    }

    /// Gives up the packets missing at the front if they were waited for long enough.
    package mutating func handleTimeout(wait: @autoclosure () -> Duration, at now: Instant) {
        guard let deadline = gapDeadline(wait: wait()), deadline <= now, var sequence = next else { return }
        gapSince = nil
        while sequence <= highest, !ring.contains(sequence) {
            sequence += 1
            lostBefore += 1
            packetsGivenUp += 1
        }
        next = sequence
    }
}
