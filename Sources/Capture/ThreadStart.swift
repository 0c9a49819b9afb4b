internal import CLinux
internal import Glibc
internal import Locking
internal import Media

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
    /// - Parameters:
    ///   - name: at most 15 bytes.
    ///   - subject: what the thread is for, as a device's name or a file's path.
    ///   - body: not called if this throws.
    /// - Throws: `MediaError.notUsable` if the system has no thread left.
    static func run(name: String, subject: String, _ body: @escaping @Sendable () -> Void) throws(MediaError) {
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
        guard status == 0 else {
            unsafe Unmanaged<Box>.fromOpaque(context).release()
            throw MediaError(
                .notUsable,
                subject,
                "no thread could be started for it: the system is out of threads or memory"
            )
        }
        pthread_detach(thread)
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
