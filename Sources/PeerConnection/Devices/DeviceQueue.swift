internal import Media

/// The thread on which devices are looked at and opened, one after the other: drivers may block for seconds.
final class DeviceQueue: Sendable {
    static let shared = DeviceQueue(name: "devices")
    /// The same for displays: one of another machine may not answer for minutes.
    static let displays = DeviceQueue(name: "displays")

    /// No job is dropped: each has a task that waits for it.
    private let worker: WorkerThread<@Sendable () -> Void>

    private init(name: String) { worker = WorkerThread(name: name, limit: .max) { $0() } }

    /// Runs `work` on the thread, after all that was given before.
    func submit(_ work: @escaping @Sendable () -> Void) { worker.submit(work) }

    /// Runs `work` on the thread and returns its result.
    func run<Value: Sendable>(
        _ work: @escaping @Sendable () throws(RTCError) -> Value
    ) async throws(RTCError) -> Value {
        let result = await withCheckedContinuation {
            (continuation: CheckedContinuation<Result<Value, RTCError>, Never>) in
            worker.submit {
                do throws(RTCError) {
                    continuation.resume(returning: .success(try work()))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        }
        return try result.get()
    }
}
