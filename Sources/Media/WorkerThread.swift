internal import CLinux
internal import Glibc
internal import Locking

/// A thread of its own with a bounded queue of jobs, for codecs and files: Swift's pool is not for blocking work.
public final class WorkerThread<Job: Sendable>: Sendable {
    @safe private final class Shared: Sendable {
        struct State {
            var jobs: [Job] = []
            var isStopped = false
            /// Whether the system gave no thread: who submits does the work.
            var hasNoThread = false
            var isBeingDone = false
        }
        let state = Mutex(State())
        /// Posted for the first of some jobs; it takes no descriptor, of which there may be none left.
        ///
        /// A semaphore is there for several threads; its memory is this object's.
        nonisolated(unsafe) private let wake: UnsafeMutablePointer<sem_t>
        let limit: Int
        let work: @Sendable (Job) -> Void

        init(limit: Int, work: @escaping @Sendable (Job) -> Void) {
            self.limit = limit
            self.work = work
            unsafe wake = .allocate(capacity: 1)
            unsafe sem_init(wake, 0, 0)
        }

        deinit {
            unsafe sem_destroy(wake)
            unsafe wake.deallocate()
        }

        func run() {
            // Interrupted by a signal, it looks at the jobs once more.
            repeat { unsafe sem_wait(wake) } while doJobs()
        }

        /// - Returns: false once it is stopped.
        func doJobs() -> Bool {
            let (jobs, isStopped) = state.withLock { state in
                defer { state.jobs = [] }
                return (state.jobs, state.isStopped)
            }
            if isStopped { return false }
            for job in jobs {
                if state.withLock({ $0.isStopped }) { return false }
                work(job)
            }
            return true
        }

        /// Does what waits, unless somebody is just doing so.
        func doJobsHere() {
            func begins() -> Bool {
                state.withLock { state in
                    guard !state.isBeingDone, !state.jobs.isEmpty else { return false }
                    state.isBeingDone = true
                    return true
                }
            }
            while begins() {
                _ = doJobs()
                state.withLock { $0.isBeingDone = false }
            }
        }

        func signal() { unsafe sem_post(wake) }
    }

    private let shared: Shared

    /// Starts a thread; if the system gives none, jobs are done where they are submitted, one after another.
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
        guard status != 0 else { return }
        unsafe Unmanaged<Start>.fromOpaque(context).release()
        shared.state.withLock { $0.hasNoThread = true }
    }

    deinit { stop() }

    /// Queues a job.
    ///
    /// - Returns: whether an older job was dropped for it.
    @discardableResult
    public func submit(_ job: Job) -> Bool {
        let (isFirst, isDropped, hasNoThread) = shared.state.withLock { state -> (Bool, Bool, Bool) in
            guard !state.isStopped else { return (false, false, false) }
            let isDropped = state.jobs.count >= shared.limit
            if isDropped { state.jobs.removeFirst() }
            state.jobs.append(job)
            return (state.jobs.count == 1, isDropped, state.hasNoThread)
        }
        if hasNoThread { shared.doJobsHere() } else if isFirst { shared.signal() }
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
