// Capture: where pictures and sound come from and go to: cameras (V4L2), microphones and loudspeakers (ALSA), screens (X11),
// files, and synthetic sources. Each open device or source has one thread of its own.

internal import CLinux
internal import Glibc
package import Media

/// Absolute times at equal distances, so that lateness of one does not delay the next.
struct Schedule {
    /// Number of the next tick, from 0.
    private(set) var index = 0
    private var start: Int64
    private let interval: Int64

    /// A tick that is later than this, in nanoseconds, moves all that follow: what was missed is not made up for.
    static let patience: Int64 = 1_000_000_000

    init(startNanoseconds: Int64, intervalNanoseconds: Int64) {
        start = startNanoseconds
        interval = max(1, intervalNanoseconds)
    }

    /// When the next tick is due, in the past if it is late.
    mutating func next(nowNanoseconds now: Int64) -> Int64 {
        var due = start + Int64(index) * interval
        if now - due > Self.patience {
            start += now - due
            due = now
        }
        index += 1
        return due
    }
}

/// A thread that calls its owner at absolute times, so that a source neither drifts nor bunches.
package final class ScheduledThread: StoppableThread {
    private let gate = StopGate()

    /// Starts a thread that calls `tick` with 0, 1, 2 … every `interval` nanoseconds, until it returns false or
    /// `stop()` is called.
    ///
    /// It is given the time at which it was due: a thread that comes late has made nothing later. A tick that is more
    /// than a second late skips what was missed.
    ///
    /// - Throws: `MediaError.notUsable` if the system has no thread left for `subject`.
    package init(
        name: String,
        subject: String,
        intervalNanoseconds: Int64,
        tick: @escaping @Sendable (_ index: Int, _ timeNanoseconds: Int64) -> Bool
    ) throws(MediaError) {
        try ThreadStart.run(name: name, subject: subject) { [self] in
            var schedule = Schedule(startNanoseconds: Self.now(), intervalNanoseconds: intervalNanoseconds)
            while !gate.isStopped {
                let index = schedule.index
                let due = schedule.next(nowNanoseconds: Self.now())
                gate.sleep(until: due)
                if gate.deliver({ tick(index, due) }) != true { return }
            }
        }
    }

    /// Ends the ticks, and waits for the end of one that is under way, unless that calls it.
    package func stop() { gate.stop() }

    static func now() -> Int64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    static func sleep(until nanoseconds: Int64) {
        var time = timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        while unsafe clock_nanosleep(CLOCK_MONOTONIC, Int32(TIMER_ABSTIME), &time, nil) == EINTR {}
    }
}

/// A thread that does one thing after another, each at the time it names itself.
final class TimedThread: StoppableThread {
    private let gate = StopGate()

    /// Starts a thread that calls `prepare` and `act` in turn until `prepare` gives nil or `stop()` is called.
    ///
    /// `stop()` waits for `act`, not for `prepare`, which may take its time.
    ///
    /// - Parameters:
    ///   - name: at most 15 bytes.
    ///   - subject: what it is for, as a file's path.
    ///   - prepare: makes the next thing ready and says when it is due, in nanoseconds from the beginning.
    ///   - act: does it, when it is due; what is more than a second late moves all that follow.
    /// - Throws: `MediaError.notUsable` if the system has no thread left.
    init(
        name: String,
        subject: String,
        prepare: @escaping @Sendable () -> Int64?,
        act: @escaping @Sendable (_ timeNanoseconds: Int64) -> Void
    ) throws(MediaError) {
        try ThreadStart.run(name: name, subject: subject) { [self] in
            var start = ScheduledThread.now()
            while !gate.isStopped, let offset = prepare() {
                let now = ScheduledThread.now()
                if now - start - offset > Schedule.patience { start = now - offset }
                let due = start + offset
                gate.sleep(until: due)
                gate.deliver { act(max(due, 0)) }
            }
        }
    }

    /// Ends it, also while it waits; an `act` that is under way is waited for, unless that calls it.
    func stop() { gate.stop() }
}
