package import SansIO

/// The 96 bits that tie a response to its request.
///
/// Random, so that nobody off the path can answer. RFC 8489 §5
package struct STUNTransactionID: Hashable, Sendable {
    package let high: UInt32
    package let low: UInt64

    package init(high: UInt32, low: UInt64) {
        self.high = high
        self.low = low
    }

    package init(random: RandomSource) {
        high = UInt32(truncatingIfNeeded: random.next() >> 32)
        low = random.next()
    }
}
