package import SansIO

/// A packet that waits to leave: its stream's number at the owner, its sequence number, its size.
package struct PacedPacket: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
        case audio
        case retransmission
        case video
    }
    package var kind: Kind
    package var sender: Int
    package var sequenceNumber: SequenceNumber
    package var byteCount: Int
    package var queuedAt: Instant

    package init(kind: Kind, sender: Int, sequenceNumber: SequenceNumber, byteCount: Int, queuedAt: Instant) {
        self.kind = kind
        self.sender = sender
        self.sequenceNumber = sequenceNumber
        self.byteCount = byteCount
        self.queuedAt = queuedAt
    }
}

/// Decides which packet leaves next and when: audio at once, then retransmissions, then video.
///
/// A budget fills at the pacing rate and is capped at ten packets, so that a picture of ordinary size leaves at
/// once and as one train, while a key frame is spread. The rate is 2.5 times the target, or ten packets in a
/// round-trip time if that is more: TCP's initial window (RFC 6928) is no more careful, and on a short path a
/// first key frame is through within milliseconds.
package struct Pacer: Sendable {
    /// Bytes that may leave at once after a pause: ten full datagrams.
    package static let burstByteCount = 12_000
    /// How much faster than the target packets leave.
    package static let paceFactor = 2.5
    /// Time within which all that waits shall have left, whatever the target.
    package static let longestDelay = Duration.milliseconds(500)
    /// Packets that wait, at most.
    package static let queueLimit = 4_096
    /// Waits are made at least this long, so that packets leave in trains.
    private static let shortestSleep = Duration.milliseconds(1)

    /// Bits per second that the estimator allows.
    package var targetBitRate = 800_000
    /// The path's round-trip time if known and the path shows no congestion.
    package var fastPathRoundTripTime: Duration?
    package private(set) var queuedByteCount = 0
    package private(set) var droppedCount: UInt64 = 0

    private var audio = RingQueue<PacedPacket>(minimumCapacity: 64)
    private var retransmissions = RingQueue<PacedPacket>(minimumCapacity: 256)
    private var video = RingQueue<PacedPacket>(minimumCapacity: 512)
    private var budget = Double(burstByteCount)
    private var lastRefill: Instant?

    package init() {}

    package var isEmpty: Bool { audio.isEmpty && retransmissions.isEmpty && video.isEmpty }
    package var queuedCount: Int { audio.count + retransmissions.count + video.count }

    /// - Returns: false if the queue is full.
    package mutating func enqueue(_ packet: PacedPacket) -> Bool {
        guard queuedCount < Self.queueLimit else {
            droppedCount += 1
            return false
        }
        switch packet.kind {
        case .audio: audio.append(packet)
        case .retransmission: retransmissions.append(packet)
        case .video: video.append(packet)
        }
        queuedByteCount += packet.byteCount
        return true
    }

    /// The next packet that may leave now.
    package mutating func next(at now: Instant) -> PacedPacket? {
        refill(at: now)
        if let packet = audio.popFirst() { return take(packet) }
        guard budget > 0 else { return nil }
        return (retransmissions.popFirst() ?? video.popFirst()).map { take($0) }
    }

    /// When the next packet may leave, if one waits.
    package var nextDeadline: Deadline? {
        guard !isEmpty, let lastRefill else { return nil }
        guard audio.isEmpty else { return Deadline(lastRefill, "pacing") }
        // Half a millisecond's worth above zero, lest rounding wakes too early.
        let seconds = max(-budget, 0) * 8 / bitsPerSecond
        let wait = max(Duration.nanoseconds(Int64(seconds * 1e9) + 1_000), Self.shortestSleep)
        return Deadline(lastRefill + wait, "pacing")
    }

    /// Forgets what waits of one stream.
    package mutating func removeAll(sender: Int) {
        audio.removeAll { $0.sender == sender }
        retransmissions.removeAll { $0.sender == sender }
        video.removeAll { $0.sender == sender }
        queuedByteCount = 0
        for queue in [audio, retransmissions, video] {
            var copy = queue
            while let packet = copy.popFirst() { queuedByteCount += packet.byteCount }
        }
    }

    /// Bits per second at which paced packets leave now.
    package var bitsPerSecond: Double {
        var rate = Double(targetBitRate) * Self.paceFactor
        if let time = fastPathRoundTripTime {
            let seconds = max(Double(time.wholeNanoseconds) / 1e9, 0.000_1)
            rate = max(rate, Double(Self.burstByteCount * 8) / seconds)
        }
        let drain = Double(queuedByteCount * 8) / (Double(Self.longestDelay.wholeNanoseconds) / 1e9)
        return max(rate, drain, 10_000)
    }

    private mutating func take(_ packet: PacedPacket) -> PacedPacket {
        queuedByteCount -= packet.byteCount
        budget -= Double(packet.byteCount)
        if packet.kind == .audio { budget = max(budget, -Double(Self.burstByteCount)) }
        return packet
    }

    private mutating func refill(at now: Instant) {
        if let lastRefill {
            let seconds = Double(now.nanoseconds - lastRefill.nanoseconds) / 1e9
            if seconds > 0 { budget = min(budget + seconds * bitsPerSecond / 8, Double(Self.burstByteCount)) }
        }
        lastRefill = max(lastRefill ?? now, now)
    }
}
