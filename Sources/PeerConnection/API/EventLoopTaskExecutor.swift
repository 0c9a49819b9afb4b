public import NIOCore

/// Runs an application's tasks on an event loop, the same one as its connections'.
///
/// A call of a connection's method from such a task needs no change of threads there and back, and an event's handler
/// goes on where the event came from: the shortest delays for programs that do little work of their own. Such tasks
/// must return or suspend quickly, as all code on an event loop.
///
/// ```swift
/// let loop = MultiThreadedEventLoopGroup.singleton.next()
/// var configuration = RTCConfiguration()
/// configuration.eventLoop = loop
/// try await withTaskExecutorPreference(EventLoopTaskExecutor(loop)) {
///     let connection = try RTCPeerConnection(configuration: configuration)
///     try await connection.setLocalDescription()
/// }
/// ```
///
/// Usable from any thread.
public final class EventLoopTaskExecutor: TaskExecutor, Sendable {
    private let eventLoop: any EventLoop

    /// An executor of tasks on `eventLoop`.
    public init(_ eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    /// Runs a part of a task in a later turn of the event loop.
    ///
    /// - Parameter job: The part up to the task's next suspension.
    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        eventLoop.execute { unsafe job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
