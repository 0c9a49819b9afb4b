internal import CLinux
internal import Glibc
internal import Locking

/// A thread of its own for one transfer's disk work and hashing, as the executor of an actor.
///
/// Swift's pool and the event loops are not for calls that block.
final class DiskThread: SerialExecutor {
    private struct State {
        var jobs: [UnownedJob] = []
        var isStopped = false
        var hasEnded = false
    }

    private let state = Mutex(State())
    private let wake: CInt

    /// Starts the thread, which lives until ``stop()``.
    init(name: String) throws(TransferError) {
        wake = clinux_blocking_eventfd()
        guard wake >= 0 else { throw TransferError(.system, "no descriptor is left for a thread's wake-up") }
        var thread = pthread_t()
        var attributes = pthread_attr_t()
        unsafe pthread_attr_init(&attributes)
        unsafe pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        let start = Start(name: name) { [self] in run() }
        let context = unsafe Unmanaged.passRetained(start).toOpaque()
        let status = unsafe pthread_create(
            &thread,
            &attributes,
            { argument in
                // Passed as retained in init, taken over here once.
                guard let argument = unsafe argument else { return nil }
                let start = unsafe Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                unsafe clinux_set_thread_name(start.name)
                start.run()
                return nil
            },
            context
        )
        unsafe pthread_attr_destroy(&attributes)
        if status != 0 {
            unsafe Unmanaged<Start>.fromOpaque(context).release()
            throw TransferError(.system, "no thread for disk work can be started")
        }
    }

    deinit { if wake >= 0 { Glibc.close(wake) } }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let (isFirst, hasEnded) = state.withLock { state -> (Bool, Bool) in
            guard !state.hasEnded else { return (false, true) }
            state.jobs.append(job)
            return (state.jobs.count == 1, false)
        }
        if isFirst { signal() }
        // After the end nothing but a last release can come: it runs where it is.
        if hasEnded { unsafe job.runSynchronously(on: asUnownedSerialExecutor()) }
    }

    /// Ends the thread when what was queued is done.
    func stop() {
        state.withLock { $0.isStopped = true }
        signal()
    }

    private func signal() {
        var one: UInt64 = 1
        _ = unsafe write(wake, &one, 8)
    }

    private func run() {
        while true {
            var count: UInt64 = 0
            _ = unsafe read(wake, &count, 8)
            let (jobs, isAtEnd) = state.withLock { state -> ([UnownedJob], Bool) in
                defer { state.jobs = [] }
                if state.isStopped, state.jobs.isEmpty { state.hasEnded = true }
                return (state.jobs, state.hasEnded)
            }
            if isAtEnd { return }
            for job in jobs { unsafe job.runSynchronously(on: asUnownedSerialExecutor()) }
            // A stop may have come with the jobs.
            if state.withLock({ $0.isStopped }) { signal() }
        }
    }

    /// What a new thread is handed.
    private final class Start: Sendable {
        let name: String
        let run: @Sendable () -> Void

        init(name: String, run: @escaping @Sendable () -> Void) {
            self.name = name
            self.run = run
        }
    }
}
