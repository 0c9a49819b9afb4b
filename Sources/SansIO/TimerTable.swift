/// The timers of one machine: at most one instant for each case of `Timer`.
public struct TimerTable<Timer: CaseIterable & RawRepresentable<Int> & Sendable>: Sendable {
    @usableFromInline var instants: [Instant?]

    /// `Timer`'s raw values must be 0 ..< number of cases, as Swift numbers them by itself.
    @inlinable
    public init() { instants = Array(repeating: nil, count: Timer.allCases.count) }

    /// The instant of a timer; nil if it is not set.
    @inlinable
    public subscript(timer: Timer) -> Instant? {
        get { instants[timer.rawValue] }
        set { instants[timer.rawValue] = newValue }
    }

    /// Cancels all timers.
    @inlinable
    public mutating func removeAll() {
        for index in instants.indices { instants[index] = nil }
    }

    /// The earliest timer, if any is set.
    @inlinable
    public var next: (timer: Timer, instant: Instant)? {
        var found: (timer: Timer, instant: Instant)?
        for timer in Timer.allCases {
            if let instant = instants[timer.rawValue], found.map({ instant < $0.instant }) ?? true {
                found = (timer, instant)
            }
        }
        return found
    }

    /// Takes out the earliest timer that is due.
    @inlinable
    public mutating func popExpired(at now: Instant) -> Timer? {
        guard let (timer, instant) = next, instant <= now else { return nil }
        instants[timer.rawValue] = nil
        return timer
    }
}
