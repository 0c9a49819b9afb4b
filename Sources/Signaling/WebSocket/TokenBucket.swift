import NIOCore

/// Allows a rate in the long run and a burst at once.
struct TokenBucket {
    private let rate: Double
    private let burst: Double
    private var tokens: Double
    private var filledAt: NIODeadline

    init(rate: Int, burst: Int, at now: NIODeadline) {
        self.rate = Double(rate)
        self.burst = Double(burst)
        tokens = Double(burst)
        filledAt = now
    }

    /// Takes that many tokens, or none and returns false if they are not there.
    mutating func take(_ count: Int, at now: NIODeadline) -> Bool {
        let seconds = Double((now - filledAt).nanoseconds) / 1e9
        tokens = min(burst, tokens + max(0, seconds) * rate)
        filledAt = max(filledAt, now)
        guard tokens >= Double(count) else { return false }
        tokens -= Double(count)
        return true
    }
}
