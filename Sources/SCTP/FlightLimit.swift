internal import SansIO

/// How much data may be under way on a long path, so that its queue is not overrun.
///
/// usrsctp's congestion control doubles its window until packets are lost, on a path of 100 Mbit/s and 100 ms more than
/// a thousand at once, and then takes a minute to come back. So the rate at which data arrives and the round-trip time
/// are measured here as BBR does (draft-ietf-ccwg-bbr), and usrsctp's send buffer is held to a little more than their
/// product: the path is full, its queue is short, and usrsctp's window may be as wide as it likes.
struct FlightLimit {
    /// Bytes that may be under way; nil as long as nothing is known, or on a short path.
    private(set) var byteCount: Int?

    private struct Flight {
        var tsn: UInt32
        /// All bytes up to this packet's end.
        var total: Int
        var sentAt: Instant
    }

    private var flights = RingQueue<Flight>()
    private var highestTSN: UInt32?
    private var sentTotal = 0
    /// What had arrived when, for one round-trip time.
    private var arrivals = RingQueue<(time: Instant, total: Int)>()
    private var arrivedTotal = 0
    /// What had arrived one round-trip time ago.
    private var roundStart = 0
    private var shortestRoundTrip: Duration?
    /// The most that arrived within one round-trip time, in this and the last period.
    private var most = 0
    private var lastMost = 0
    private var periodEnd = Instant(nanoseconds: .min)
    private var isStarting = true
    /// Rounds without growth, and what the round before brought.
    private var roundEnd = Instant(nanoseconds: .min)
    private var roundBest = 0
    private var flatRounds = 0

    /// Below it the path is short, and its queue as well.
    static let longRoundTrip = Duration.milliseconds(5)
    /// How long the best is remembered, at least: a path may get worse.
    private static let period = Duration.seconds(10)
    /// The growth of each round at first: doubling, as usrsctp would, the queue is overrun before it is noticed.
    private static let startingGain = 1.5
    private static let gain = 1.2
    /// A round-trip time longer by this part means that a queue builds up.
    private static let queueingPart = 0.125
    private static let queueingLeast = Duration.milliseconds(8)
    private static let recordLimit = 1 << 14

    /// A packet has left, with data up to a TSN; packets that were sent before do not count.
    mutating func didSend(tsn: UInt32, byteCount: Int, at now: Instant) {
        if let highestTSN, Int32(bitPattern: tsn &- highestTSN) <= 0 { return }
        highestTSN = tsn
        sentTotal += byteCount
        guard flights.count < Self.recordLimit else { return }
        flights.append(Flight(tsn: tsn, total: sentTotal, sentAt: now))
    }

    /// The peer has everything up to a TSN.
    mutating func didAcknowledge(tsn: UInt32, at now: Instant) {
        var newest: Flight?
        while let flight = flights.first, Int32(bitPattern: tsn &- flight.tsn) >= 0 { newest = flights.popFirst() }
        guard let newest else { return }
        arrivedTotal = newest.total
        let roundTrip = now - newest.sentAt
        let shortest = min(shortestRoundTrip ?? roundTrip, roundTrip)
        shortestRoundTrip = shortest
        guard shortest >= Self.longRoundTrip else {
            byteCount = nil
            return
        }
        arrivals.append((now, arrivedTotal))
        while let oldest = arrivals.first, now - oldest.time > shortest {
            roundStart = oldest.total
            _ = arrivals.popFirst()
        }
        update(arrived: arrivedTotal - roundStart, roundTrip: roundTrip, shortest: shortest, at: now)
    }

    /// Another path: all that was measured is of no use.
    mutating func reset() {
        let highest = highestTSN
        self = FlightLimit()
        highestTSN = highest
    }

    private mutating func update(arrived: Int, roundTrip: Duration, shortest: Duration, at now: Instant) {
        if now >= periodEnd {
            periodEnd = now + Self.period
            lastMost = most
            most = 0
        }
        most = max(most, arrived)
        if isStarting {
            let queueing = max(shortest * Self.queueingPart, Self.queueingLeast)
            if roundTrip > shortest + queueing { isStarting = false }
            if now >= roundEnd {
                roundEnd = now + shortest
                flatRounds = most > roundBest + roundBest / 4 ? 0 : flatRounds + 1
                roundBest = max(roundBest, most)
                if flatRounds >= 3 { isStarting = false }
            }
        }
        byteCount = Int(Double(max(most, lastMost)) * (isStarting ? Self.startingGain : Self.gain))
    }
}
