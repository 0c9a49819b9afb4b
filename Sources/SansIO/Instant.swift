/// A point on a monotonic time line, in nanoseconds since an arbitrary origin.
///
/// Protocol modules never read a clock: every call that depends on time takes one of these. The driver
/// reads the clock once per burst; tests make their own time.
public struct Instant: Hashable, Comparable, Sendable {
    /// Since the origin of the clock that made it.
    public var nanoseconds: Int64

    /// The instant so many nanoseconds after the origin.
    @inlinable
    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    /// Whether `left` comes first.
    @inlinable
    public static func < (left: Instant, right: Instant) -> Bool { left.nanoseconds < right.nanoseconds }

    /// The instant a duration later.
    @inlinable
    public static func + (instant: Instant, duration: Duration) -> Instant {
        Instant(nanoseconds: instant.nanoseconds + duration.wholeNanoseconds)
    }

    /// The instant a duration earlier.
    @inlinable
    public static func - (instant: Instant, duration: Duration) -> Instant {
        Instant(nanoseconds: instant.nanoseconds - duration.wholeNanoseconds)
    }

    /// From `right` to `left`.
    @inlinable
    public static func - (left: Instant, right: Instant) -> Duration {
        .nanoseconds(left.nanoseconds - right.nanoseconds)
    }
}

extension Duration {
    /// This duration rounded towards zero to nanoseconds; durations beyond ±292 years are clamped.
    @inlinable
    public var wholeNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return seconds < 0 ? .min : .max }
        return product &+ attoseconds / 1_000_000_000
    }

    /// This duration rounded towards zero to milliseconds.
    @inlinable
    public var wholeMilliseconds: Int64 { wholeNanoseconds / 1_000_000 }
}

/// When a machine wants to be called again, and why, so that a busy loop names its culprit.
public struct Deadline: Comparable, Sendable {
    /// When.
    public var instant: Instant
    /// Names the timer, as `"ICE pacing"`.
    public var reason: StaticString

    /// A deadline and the name of its timer.
    @inlinable
    public init(_ instant: Instant, _ reason: StaticString) {
        self.instant = instant
        self.reason = reason
    }

    /// Whether `left` comes first.
    @inlinable
    public static func < (left: Deadline, right: Deadline) -> Bool { left.instant < right.instant }

    /// Whether both are at the same instant.
    @inlinable
    public static func == (left: Deadline, right: Deadline) -> Bool { left.instant == right.instant }

    /// The earlier of two deadlines, either of which may be absent.
    @inlinable
    public static func earlier(_ left: Deadline?, _ right: Deadline?) -> Deadline? {
        guard let left else { return right }
        guard let right else { return left }
        return min(left, right)
    }
}
