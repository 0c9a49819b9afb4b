internal import SansIO

/// How much data may be under way on a long path, so that it is full and its queue is not.
///
/// Measured as BBR does it (draft-ietf-ccwg-bbr): the most that arrived within one round-trip time lately, and the
/// shortest round-trip time lately. What may be under way is a little more than that, in each eighth round a quarter more,
/// at first half as much again. Losses bound it only where less under way means fewer of them (``LossBound``).
///
/// usrsctp's own way doubles the window until packets are lost, on a path of 100 Mbit/s and 100 ms more than a thousand at
/// once, and then takes a minute to come back.
struct FlightLimit {
    /// Bytes that may be under way; nil as long as nothing is known, or on a short path.
    private(set) var byteCount: Int?
    /// Whether less is under way than may be, since there is no more to send: what arrives then tells little.
    var isStarved = false

    private struct Flight {
        var tsn: UInt32
        /// All bytes up to this packet's end.
        var total: Int
        var sentAt: Instant
    }

    private var flights = RingQueue<Flight>()
    private var sentTotal = 0
    /// The same up to where all was acknowledged.
    private var acknowledgedTotal = 0
    /// What had arrived when, for one round-trip time.
    private var arrivals = RingQueue<(time: Instant, total: Int)>()
    private var arrivedTotal = 0
    /// What had arrived one round-trip time ago.
    private var roundStart = 0
    private(set) var shortestRoundTrip: Duration?
    /// The most that arrived within one round-trip time, in this and the last period.
    private var most = 0
    private var lastMost = 0
    private var periodEnd = Instant(nanoseconds: .min)
    private var isStarting = true
    private var round = 0
    private var isGrowing = false
    private var mostBefore = 0
    /// The shortest round-trip time of this round.
    private var roundShortest: Duration?
    /// Rounds without growth, and what the round before brought.
    private var roundEnd = Instant(nanoseconds: .min)
    private var roundBest = 0
    private var flatRounds = 0
    private var lossBound = LossBound()
    /// When the round-trip time was last as short as the shortest.
    private var shortestAt = Instant(nanoseconds: .min)
    /// While the path is drained, so that its shortest round-trip time is seen again, and the shortest since.
    private var drainEnd: Instant?
    private var drainedShortest: Duration?

    /// Below it the path is short, and its queue as well.
    static let longRoundTrip = Duration.milliseconds(5)
    /// How long the best is remembered, at least: a path may get worse.
    private static let period = Duration.seconds(10)
    /// The growth of each round at first: doubling, the queue is overrun before it is noticed.
    private static let startingGain = 1.5
    private static let gain = 1.05
    /// One round in so many tries whether there is more.
    private static let probingGain = 1.25
    private static let pacingGain = 1.25
    private static let probingRounds = 8
    /// Growth by this part within a round: there is more, so the next one tries too.
    private static let growingPart = 0.03
    private static let startingPart = 0.2
    private static let smallest = 16 << 10
    /// A round-trip time longer by this part means that a queue builds up.
    private static let queueingPart = 0.125
    private static let sameRoundTrip = 1.0 / 32
    private static let queueingLeast = Duration.milliseconds(8)
    private static let recordLimit = 1 << 14

    /// Bytes a second at which the limit is filled; more than the path takes, or it would never be.
    var rate: Double? {
        guard let byteCount, let shortestRoundTrip else { return nil }
        return Double(byteCount) * Self.pacingGain / (shortestRoundTrip / .seconds(1))
    }

    /// Whether the path is known to be a short one.
    var isPathShort: Bool { shortestRoundTrip.map { $0 < Self.longRoundTrip } ?? false }

    /// A packet has left, with new data up to a TSN.
    mutating func didSend(tsn: UInt32, byteCount: Int, at now: Instant) {
        sentTotal += byteCount
        guard flights.count < Self.recordLimit else { return }
        flights.append(Flight(tsn: tsn, total: sentTotal, sentAt: now))
    }

    /// The peer has everything up to a TSN.
    mutating func didAcknowledge(tsn: UInt32, at now: Instant) {
        var newest: Flight?
        while let flight = flights.first, Int32(bitPattern: tsn &- flight.tsn) >= 0 { newest = flights.popFirst() }
        guard let newest else { return }
        let byteCount = newest.total - acknowledgedTotal
        acknowledgedTotal = newest.total
        didDeliver(byteCount: byteCount, roundTrip: now - newest.sentAt, at: now)
    }

    /// So many bytes more have arrived, and that of them which was sent last took so long.
    mutating func didDeliver(byteCount deliveredCount: Int, roundTrip: Duration?, at now: Instant) {
        arrivedTotal += deliveredCount
        lossBound.didArrive(byteCount: deliveredCount)
        if let roundTrip { measure(roundTrip, at: now) }
        guard let shortest = shortestRoundTrip else { return }
        guard shortest >= Self.longRoundTrip else {
            byteCount = nil
            return
        }
        arrivals.append((now, arrivedTotal))
        while let oldest = arrivals.first, now - oldest.time > shortest {
            roundStart = oldest.total
            _ = arrivals.popFirst()
        }
        update(inRound: arrivedTotal - roundStart, roundTrip: roundTrip ?? shortest, shortest: shortest, at: now)
    }

    /// The shortest round-trip time is that of the path without a queue; it may have become another.
    ///
    /// What has not been seen for long is looked for with half as much under way, since the queue may be our own.
    private mutating func measure(_ roundTrip: Duration, at now: Instant) {
        if let end = drainEnd {
            drainedShortest = min(drainedShortest ?? roundTrip, roundTrip)
            if now >= end {
                shortestRoundTrip = drainedShortest
                shortestAt = now
                drainEnd = nil
            }
            return
        }
        let shortest = shortestRoundTrip ?? roundTrip
        if roundTrip <= shortest + shortest * Self.sameRoundTrip {
            shortestAt = now
            shortestRoundTrip = min(shortest, roundTrip)
        } else if now - shortestAt >= Self.period {
            drainEnd = now + roundTrip * 2
            drainedShortest = nil
        }
    }

    /// So many bytes were lost, or fewer than was thought.
    mutating func didLose(byteCount: Int) { lossBound.didLose(byteCount: byteCount) }

    /// Another path: all that was measured is of no use.
    mutating func reset() {
        self = FlightLimit()
    }

    /// What is under way is counted elsewhere (``didDeliver(byteCount:roundTrip:at:)``), or was until now.
    mutating func forgetFlights() {
        flights = RingQueue()
        acknowledgedTotal = sentTotal
    }

    private mutating func update(inRound: Int, roundTrip: Duration, shortest: Duration, at now: Instant) {
        if now >= periodEnd {
            periodEnd = now + Self.period
            if !isStarved || inRound >= most {
                lastMost = most
                most = 0
            }
        }
        most = max(most, inRound)
        roundShortest = min(roundShortest ?? roundTrip, roundTrip)
        if now >= roundEnd {
            roundEnd = now + shortest
            endRound(shortest: shortest)
        }
        let isProbing = isGrowing || round % Self.probingRounds == 0
        let gain = isStarting ? Self.startingGain : isProbing ? Self.probingGain : Self.gain
        let wanted = Int(Double(max(most, lastMost)) * gain)
        let bounded = min(wanted, lossBound.byteCount ?? .max)
        byteCount = max(drainEnd == nil ? bounded : bounded / 2, Self.smallest)
    }

    private mutating func endRound(shortest: Duration) {
        flatRounds = most > roundBest + roundBest / 4 || isStarved ? 0 : flatRounds + 1
        roundBest = max(roundBest, most)
        // The shortest of a round: single ones are longer by the time for which the peer held its SACK.
        let queueing = max(shortest * Self.queueingPart, Self.queueingLeast)
        let isQueueing = roundShortest.map { $0 > shortest + queueing } ?? false
        roundShortest = nil
        round += 1
        let best = max(most, lastMost)
        isGrowing = Double(best) > Double(mostBefore) * (1 + Self.growingPart)
        // A start that a disturbance ended goes on.
        if Double(best) > Double(mostBefore) * (1 + Self.startingPart) { isStarting = true }
        mostBefore = best
        if flatRounds >= (isQueueing ? 1 : 3) { isStarting = false }
        if lossBound.endRound(present: byteCount ?? Self.smallest, best: best, isStarting: isStarting) {
            isStarting = false
        }
    }
}
