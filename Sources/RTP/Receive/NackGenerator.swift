package import SansIO

/// Which packets of one stream are missing, and when to ask for them.
///
/// RFC 4585 §6.2.1
package struct NackGenerator: Sendable {
    private struct Missing: Sendable {
        var sequence: Int64
        var requestCount = 0
        var requestedAt: Instant?
        var noticedAt: Instant
        var dueAt: Instant
    }

    /// Most packets missing at once; beyond it a key frame is cheaper.
    package static let missingLimit = 500
    /// How often one packet is asked for.
    package static let requestLimit = 10
    /// Losses of one burst go into one packet, and neighbours may still swap places.
    static let shortestWait = Duration.milliseconds(1)
    /// Longest time that packets seen to overtake each other are waited for.
    static let longestWait = Duration.milliseconds(20)
    private static let shortestRetry = Duration.milliseconds(10)

    private var missing: [Missing] = []
    private var highest: Int64?
    private var reorderWait = shortestWait
    /// Time from a request to its answer, where a packet was asked for once.
    package private(set) var answerTime: Duration?

    package init() { missing.reserveCapacity(Self.missingLimit) }

    package var isEmpty: Bool { missing.isEmpty }
    package var nextDue: Instant? { missing.min { $0.dueAt < $1.dueAt }?.dueAt }

    /// Notes a packet.
    ///
    /// - Returns: false if more are missing now than can be asked for; then all are forgotten.
    package mutating func receive(_ sequence: Int64, isRetransmission: Bool, at now: Instant) -> Bool {
        guard let last = highest else {
            highest = sequence
            return true
        }
        if sequence <= last {
            guard let index = missing.firstIndex(where: { $0.sequence == sequence }) else { return true }
            let entry = missing.remove(at: index)
            if entry.requestCount == 1, let requestedAt = entry.requestedAt {
                let sample = now - requestedAt
                let smoothed = answerTime.map { ($0 * 7 + sample) / 8 } ?? sample
                // Without a stream for retransmissions it may be the original, late: then it tells too little.
                answerTime = isRetransmission ? smoothed : answerTime.map { max($0, smoothed) }
            } else if entry.requestCount == 0, !isRetransmission {
                // It was only late: wait as long the next time, a little less each time it was not needed.
                reorderWait = min(max(reorderWait, now - entry.noticedAt + .milliseconds(1)), Self.longestWait)
            }
            return true
        }
        highest = sequence
        let gap = sequence - last - 1
        guard gap > 0 else { return true }
        guard missing.count + Int(gap) <= Self.missingLimit else {
            missing.removeAll(keepingCapacity: true)
            return false
        }
        for lost in (last + 1)..<sequence {
            missing.append(Missing(sequence: lost, noticedAt: now, dueAt: now + reorderWait))
        }
        return true
    }

    /// Forgets packets before `sequence`: they are not needed any more.
    package mutating func abandon(before sequence: Int64) {
        guard let first = missing.first, first.sequence < sequence else { return }
        missing.removeAll { $0.sequence < sequence }
    }

    package mutating func removeAll() { missing.removeAll(keepingCapacity: true) }

    /// Appends the numbers that are due and sets when they will be due again.
    package mutating func collectDue(
        roundTripTime: Duration,
        at now: Instant,
        into lost: inout [SequenceNumber]
    ) {
        guard let due = nextDue, due <= now else { return }
        let retry = max(roundTripTime * 5 / 4, Self.shortestRetry)
        for index in missing.indices where missing[index].dueAt <= now {
            lost.append(SequenceNumber(UInt16(truncatingIfNeeded: missing[index].sequence)))
            if missing[index].requestCount == 0, reorderWait > Self.shortestWait {
                reorderWait = max(reorderWait - .microseconds(100), Self.shortestWait)
            }
            missing[index].requestCount += 1
            missing[index].requestedAt = now
            missing[index].dueAt = now + retry
        }
        missing.removeAll { $0.requestCount >= Self.requestLimit }
    }
}
