internal import Locking

/// Runs what changes the application's view of a connection, in order, on one executor (webrtc-pc's "queue a task").
///
/// Without an executor of the application's, tasks run at once where they are queued: on the connection's event
/// loop, which is the only place that queues them.
final class DeliveryQueue: Sendable {
    private struct State {
        var tasks: [@Sendable () -> Void] = []
        var isScheduled = false
    }

    private actor Runner {
        private let executor: any SerialExecutor
        nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe executor.asUnownedSerialExecutor() }
        init(executor: any SerialExecutor) { self.executor = executor }
        func run(_ queue: DeliveryQueue) { queue.runAll() }
    }

    private let runner: Runner?
    private let state = Mutex(State())

    init(executor: (any SerialExecutor)?) {
        runner = executor.map { Runner(executor: $0) }
    }

    /// Queues a task.
    ///
    /// Called on the event loop.
    func deliver(_ task: @escaping @Sendable () -> Void) {
        guard let runner else { return task() }
        let mustSchedule = state.withLock { state -> Bool in
            state.tasks.append(task)
            defer { state.isScheduled = true }
            return !state.isScheduled
        }
        if mustSchedule { Task { await runner.run(self) } }
    }

    private func runAll() {
        while true {
            let tasks = state.withLock { state -> [@Sendable () -> Void] in
                if state.tasks.isEmpty { state.isScheduled = false }
                defer { state.tasks = [] }
                return state.tasks
            }
            if tasks.isEmpty { return }
            for task in tasks { task() }
        }
    }
}
