/// A point on a monotonic time line, in nanoseconds since an arbitrary origin.
///
/// Protocol modules never read a clock: every call that depends on time takes one of these. The driver
/// reads the clock once per burst; tests make their own time.
package struct Instant: Hashable, Comparable, Sendable {
    package var nanoseconds: Int64

    @inlinable
    package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    @inlinable
    package static func < (left: Instant, right: Instant) -> Bool { left.nanoseconds < right.nanoseconds }

    @inlinable
    package static func + (instant: Instant, duration: Duration) -> Instant {
        Instant(nanoseconds: instant.nanoseconds + duration.wholeNanoseconds)
    }

    @inlinable
    package static func - (instant: Instant, duration: Duration) -> Instant {
        Instant(nanoseconds: instant.nanoseconds - duration.wholeNanoseconds)
    }

    @inlinable
    package static func - (left: Instant, right: Instant) -> Duration {
        .nanoseconds(left.nanoseconds - right.nanoseconds)
    }
}

extension Duration {
    /// This duration rounded towards zero to nanoseconds; durations beyond ±292 years are clamped.
    @inlinable
    package var wholeNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return seconds < 0 ? .min : .max }
        return product &+ attoseconds / 1_000_000_000
    }

    /// This duration rounded towards zero to milliseconds.
    @inlinable
    package var wholeMilliseconds: Int64 { wholeNanoseconds / 1_000_000 }
}

/// When a machine wants to be called again, and why, so that a busy loop names its culprit.
package struct Deadline: Comparable, Sendable {
    package var instant: Instant
    /// Names the timer, as `"ICE pacing"`.
    package var reason: StaticString

    @inlinable
    package init(_ instant: Instant, _ reason: StaticString) {
        self.instant = instant
        self.reason = reason
    }

    @inlinable
    package static func < (left: Deadline, right: Deadline) -> Bool { left.instant < right.instant }

    @inlinable
    package static func == (left: Deadline, right: Deadline) -> Bool { left.instant == right.instant }

    /// The earlier of two deadlines, either of which may be absent.
    @inlinable
    package static func earlier(_ left: Deadline?, _ right: Deadline?) -> Deadline? {
        guard let left else { return right }
        guard let right else { return left }
        return min(left, right)
    }
}
