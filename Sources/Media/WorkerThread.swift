internal import CLinux
internal import Glibc
internal import Locking

/// A thread of its own with a bounded queue of jobs, for codecs and files: Swift's pool is not for blocking work.
public final class WorkerThread<Job: Sendable>: Sendable {
    private final class Shared: Sendable {
        struct State {
            var jobs: [Job] = []
            var isStopped = false
        }
        let state = Mutex(State())
        let wake: CInt = clinux_blocking_eventfd()
        let limit: Int
        let work: @Sendable (Job) -> Void

        init(limit: Int, work: @escaping @Sendable (Job) -> Void) {
            self.limit = limit
            self.work = work
        }

        deinit { Glibc.close(wake) }

        func run() {
            while true {
                var count: UInt64 = 0
                _ = unsafe read(wake, &count, 8)
                let (jobs, isStopped) = state.withLock { state in
                    defer { state.jobs = [] }
                    return (state.jobs, state.isStopped)
                }
                if isStopped { return }
                for job in jobs {
                    if state.withLock({ $0.isStopped }) { return }
                    work(job)
                }
            }
        }

        func signal() {
            var one: UInt64 = 1
            _ = unsafe write(wake, &one, 8)
        }
    }

    private let shared: Shared

    /// Starts a thread.
    ///
    /// - Parameters:
    ///   - name: at most 15 bytes, as `top -H` shows it.
    ///   - limit: jobs that may wait; beyond it the oldest are dropped.
    ///   - work: done for each job, in order, on the thread.
    public init(name: String, limit: Int, work: @escaping @Sendable (Job) -> Void) {
        shared = Shared(limit: max(1, limit), work: work)
        let start = Start(name: String(name.prefix(15))) { [shared] in shared.run() }
        var thread = pthread_t()
        var attributes = pthread_attr_t()
        unsafe pthread_attr_init(&attributes)
        unsafe pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
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
        if status != 0 { unsafe Unmanaged<Start>.fromOpaque(context).release() }
    }

    deinit { stop() }

    /// Queues a job.
    ///
    /// - Returns: whether an older job was dropped for it.
    @discardableResult
    public func submit(_ job: Job) -> Bool {
        let (isFirst, isDropped) = shared.state.withLock { state -> (Bool, Bool) in
            guard !state.isStopped else { return (false, false) }
            let isDropped = state.jobs.count >= shared.limit
            if isDropped { state.jobs.removeFirst() }
            state.jobs.append(job)
            return (state.jobs.count == 1, isDropped)
        }
        if isFirst { shared.signal() }
        return isDropped
    }

    /// Ends the thread after the job that is under way; waiting jobs are dropped.
    public func stop() {
        shared.state.withLock { state in
            state.isStopped = true
            state.jobs = []
        }
        shared.signal()
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
