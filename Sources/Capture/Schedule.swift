// Capture: where pictures and sound come from and go to: cameras (V4L2), microphones and loudspeakers (ALSA), files,
// and synthetic sources. Each open device or source has one thread of its own.

internal import CLinux
internal import Glibc
internal import Synchronization

/// A thread that calls its owner at absolute times, so that a source neither drifts nor bunches.
final class ScheduledThread: Sendable {
    private let isStopped = Atomic<Bool>(false)

    /// Starts a thread that calls `tick` with 0, 1, 2 … every `interval` nanoseconds, until it returns false or
    /// `stop()` is called.
    ///
    /// A tick that is more than a second late skips what was missed.
    init(
        name: String,
        intervalNanoseconds: Int64,
        tick: @escaping @Sendable (_ index: Int, _ timeNanoseconds: Int64) -> Bool
    ) {
        ThreadStart.run(name: name) { [self] in
            var start = Self.now()
            var index = 0
            while !isStopped.load(ordering: .relaxed) {
                let due = start + Int64(index) * intervalNanoseconds
                let now = Self.now()
                if now - due > 1_000_000_000 { start += now - due }
                Self.sleep(until: due)
                if isStopped.load(ordering: .relaxed) || !tick(index, Self.now()) { return }
                index += 1
            }
        }
    }

    func stop() { isStopped.store(true, ordering: .relaxed) }

    static func now() -> Int64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    private static func sleep(until nanoseconds: Int64) {
        var time = timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        while unsafe clock_nanosleep(CLOCK_MONOTONIC, Int32(TIMER_ABSTIME), &time, nil) == EINTR {}
    }
}

/// Starts threads.
enum ThreadStart {
    private final class Box: Sendable {
        let name: String
        let body: @Sendable () -> Void
        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }

    /// Runs `body` on a new, detached thread.
    ///
    /// - Returns: false if the system has no thread left; `body` is not called then.
    @discardableResult
    static func run(name: String, _ body: @escaping @Sendable () -> Void) -> Bool {
        var thread = pthread_t()
        let context = unsafe Unmanaged.passRetained(Box(name: String(name.prefix(15)), body: body)).toOpaque()
        let status = unsafe pthread_create(
            &thread,
            nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                // Passed as retained below, taken over here once.
                let box = unsafe Unmanaged<Box>.fromOpaque(argument).takeRetainedValue()
                unsafe clinux_set_thread_name(box.name)
                box.body()
                return nil
            },
            context
        )
        if status == 0 { pthread_detach(thread) } else { unsafe Unmanaged<Box>.fromOpaque(context).release() }
        return status == 0
    }
}
