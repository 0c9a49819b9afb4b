package import RTP
package import SansIO

/// What one feedback message tells about packets that we sent.
package struct TransportFeedbackSummary: Hashable, Sendable {
    package var receivedCount = 0
    package var receivedByteCount = 0
    package var lostCount = 0
    /// Arrival of the newest packet, on the receiver's clock.
    package var newestArrival: Instant?
    /// When the newest packet that arrived was sent.
    package var newestSentAt: Instant?
    /// Least arrival − departure of the message's packets: the delay of the path plus the clocks' difference.
    package var leastTransit: Duration?

    package init() {}
}

/// The packets sent with transport-wide sequence numbers, until feedback tells their fate.
package struct SentPacketHistory: Sendable {
    private struct Entry: Sendable {
        var sequence: Int64 = -1
        var sentAt = Instant(nanoseconds: 0)
        var byteCount: Int32 = 0
        var isReported = false
    }

    /// Packets remembered: 4 s at 5 Mbit/s.
    package static let capacity = 4_096

    /// Empty until the first packet: most connections of a server carry no media.
    private var entries: [Entry] = []
    private var nextSequence: Int64 = 1
    private var referenceUnwrapper = Unwrapper(bitCount: 24)
    /// Numbers below were reported lost or received; they are not counted lost twice.
    private var reportedEnd: Int64 = 0

    package init() {}

    /// The number that the next packet gets.
    package var nextNumber: UInt16 { UInt16(truncatingIfNeeded: nextSequence) }

    /// Notes that a packet left with `nextNumber`.
    package mutating func send(byteCount: Int, at now: Instant) {
        if entries.isEmpty { entries = Array(repeating: Entry(), count: Self.capacity) }
        let index = Int(nextSequence) & (Self.capacity - 1)
        entries[index] = Entry(sequence: nextSequence, sentAt: now, byteCount: Int32(clamping: byteCount))
        nextSequence += 1
    }

    /// Takes in a feedback message.
    package mutating func receive(_ feedback: RTCPTransportFeedback) -> TransportFeedbackSummary {
        var summary = TransportFeedbackSummary()
        guard !entries.isEmpty else { return summary }
        // The nearest to what was sent last, so that a hostile base cannot lead astray for good.
        let distance = SequenceNumber(feedback.baseSequenceNumber)
            .distance(from: SequenceNumber(UInt16(truncatingIfNeeded: nextSequence)))
        var sequence = nextSequence + Int64(distance)
        var clock =
            referenceUnwrapper.unwrap(UInt32(bitPattern: feedback.referenceTime) & 0xFF_FFFF)
            * RTCPTransportFeedback.referenceNanoseconds
        for delta in feedback.deltas {
            defer { sequence += 1 }
            if let delta { clock += Int64(delta) * RTCPTransportFeedback.tickNanoseconds }
            guard sequence >= 0, sequence < nextSequence else { continue }
            let index = Int(sequence) & (Self.capacity - 1)
            guard entries[index].sequence == sequence, !entries[index].isReported else { continue }
            guard delta != nil else {
                if sequence >= reportedEnd { summary.lostCount += 1 }
                continue
            }
            entries[index].isReported = true
            if sequence < reportedEnd, summary.lostCount > 0 { summary.lostCount -= 1 }
            summary.receivedCount += 1
            summary.receivedByteCount += Int(entries[index].byteCount)
            let arrival = Instant(nanoseconds: clock)
            let transit = arrival - entries[index].sentAt
            summary.leastTransit = summary.leastTransit.map { min($0, transit) } ?? transit
            if summary.newestArrival.map({ $0 < arrival }) ?? true {
                summary.newestArrival = arrival
                summary.newestSentAt = entries[index].sentAt
            }
        }
        if sequence <= nextSequence { reportedEnd = max(reportedEnd, sequence) }
        return summary
    }
}
