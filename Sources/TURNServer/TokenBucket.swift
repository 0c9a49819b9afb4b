import SansIO

/// How often something may happen: in the long run, and at once.
struct TokenRate: Hashable, Sendable {
    let perSecond: Double
    let burst: Double

    init(perSecond: Int, burst: Int) {
        self.perSecond = Double(perSecond)
        self.burst = Double(burst)
    }
}

/// What is left of a rate for one who takes of it; full at first.
struct TokenBucket {
    private var count: Double
    private var filledAt: Instant

    init(_ rate: TokenRate, at now: Instant) {
        count = rate.burst
        filledAt = now
    }

    /// Takes one, if there is one.
    mutating func take(_ rate: TokenRate, at now: Instant) -> Bool {
        count = filled(rate, at: now)
        filledAt = max(now, filledAt)
        guard count >= 1 else { return false }
        count -= 1
        return true
    }

    /// Whether there is one to take.
    func hasAny(_ rate: TokenRate, at now: Instant) -> Bool { filled(rate, at: now) >= 1 }

    func isFull(_ rate: TokenRate, at now: Instant) -> Bool { filled(rate, at: now) >= rate.burst }

    private func filled(_ rate: TokenRate, at now: Instant) -> Double {
        let seconds = Double(max(0, (now - filledAt).wholeNanoseconds)) / 1e9
        return min(rate.burst, count + seconds * rate.perSecond)
    }
}
