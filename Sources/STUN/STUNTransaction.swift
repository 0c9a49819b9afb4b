package import SansIO

/// A request under way: its bytes, when to send them again, when to give up.
///
/// RFC 8489 §6.2.1
package struct STUNTransaction: Sendable {
    package let id: STUNTransactionID
    package let message: [UInt8]
    package let firstSentAt: Instant
    package private(set) var lastSentAt: Instant
    /// Times the message went out.
    package private(set) var transmissionCount = 1
    /// When nothing is to be expected any more.
    package let expiry: Instant
    private var interval: Duration
    private let maximumInterval: Duration

    /// Starts with a message that is sent at `now`.
    ///
    /// - Parameters:
    ///   - id: the message's.
    ///   - message: the request as it was sent.
    ///   - initialInterval: time until the first retransmission; each next one waits twice as long.
    ///   - maximumInterval: longest wait between two.
    ///   - timeout: time from the first transmission until the transaction has failed.
    ///   - now: when it was sent first.
    package init(
        id: STUNTransactionID,
        message: [UInt8],
        initialInterval: Duration,
        maximumInterval: Duration,
        timeout: Duration,
        at now: Instant
    ) {
        self.id = id
        self.message = message
        firstSentAt = now
        lastSentAt = now
        interval = initialInterval
        self.maximumInterval = maximumInterval
        expiry = now + timeout
    }

    /// When to call `handleTimeout`.
    package var nextInstant: Instant { min(lastSentAt + interval, expiry) }

    package enum Action { case none, retransmit, giveUp }

    package mutating func handleTimeout(at now: Instant) -> Action {
        if now >= expiry { return .giveUp }
        guard now >= lastSentAt + interval else { return .none }
        lastSentAt = now
        transmissionCount += 1
        interval = min(interval * 2, maximumInterval)
        return .retransmit
    }
}
