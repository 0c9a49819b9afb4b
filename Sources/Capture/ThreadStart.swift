internal import CLinux
internal import Glibc
internal import Locking

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

/// A thread that ends when it is asked to.
package protocol StoppableThread: AnyObject, Sendable {
    /// Ends it.
    func stop()
}

/// The thread that a source runs on: none or one, which ends with the source.
struct ThreadSlot: ~Copyable, Sendable {
    private let thread = Mutex<(any StoppableThread)?>(nil)

    deinit { stop() }

    /// Puts a thread in the place of the one before, which is stopped.
    func replace(with new: (any StoppableThread)?) {
        let old = thread.withLock { thread in
            defer { thread = new }
            return thread
        }
        old?.stop()
    }

    /// Stops the thread.
    func stop() { replace(with: nil) }
}
