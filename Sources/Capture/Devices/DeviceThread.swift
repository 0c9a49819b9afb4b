// For `pollfd`, which ALSA's header brings in: the compiler takes it for ALSA's.
internal import CALSA
internal import CLinux
internal import Glibc
internal import Locking
internal import Media

/// The thread of one open device.
///
/// It waits on the device and on a descriptor that becomes readable when it must stop.
@safe final class DeviceThread: Sendable {
    /// Readable from `stop()` on: polled together with the device.
    let stopDescriptor: CInt
    /// Readable when the body has returned.
    private let endDescriptor: CInt
    private let stopFlag = Atomic<Bool>(false)
    /// The running thread's `pthread_t`, 0 before.
    private let identity = Atomic<UInt>(0)
    /// Held while something is delivered; recursive, so that a taker may call `stop()`.
    ///
    /// Freed in `deinit`.
    nonisolated(unsafe) private let gate: UnsafeMutablePointer<pthread_mutex_t>

    /// A thread that is not yet running.
    ///
    /// - Throws: `MediaError.notUsable` if the process has no descriptors left.
    init(subject: String) throws(MediaError) {
        stopDescriptor = clinux_eventfd()
        endDescriptor = clinux_eventfd()
        unsafe gate = .allocate(capacity: 1)
        var attributes = pthread_mutexattr_t()
        unsafe pthread_mutexattr_init(&attributes)
        unsafe pthread_mutexattr_settype(&attributes, Int32(PTHREAD_MUTEX_RECURSIVE))
        unsafe pthread_mutex_init(gate, &attributes)
        unsafe pthread_mutexattr_destroy(&attributes)
        guard stopDescriptor >= 0, endDescriptor >= 0 else {
            throw MediaError(.notUsable, subject, "no file descriptors are left: raise the limit with ulimit -n")
        }
    }

    deinit {
        if stopDescriptor >= 0 { close(stopDescriptor) }
        if endDescriptor >= 0 { close(endDescriptor) }
        unsafe pthread_mutex_destroy(gate)
        unsafe gate.deallocate()
    }

    /// Runs `body`, once.
    ///
    /// - Throws: `MediaError.notUsable` if the system has no threads left.
    func run(name: String, subject: String, _ body: @escaping @Sendable () -> Void) throws(MediaError) {
        do throws(MediaError) {
            try ThreadStart.run(name: name, subject: subject) { [self] in
                identity.store(UInt(pthread_self()), ordering: .relaxed)
                body()
                Self.signal(endDescriptor)
            }
        } catch {
            Self.signal(endDescriptor)
            throw error
        }
    }

    /// Whether `stop()` was called.
    var isStopped: Bool { stopFlag.load(ordering: .acquiring) }

    /// Calls `body` unless the thread is stopped; `stop()` waits until it has returned.
    func deliver(_ body: () -> Void) {
        unsafe pthread_mutex_lock(gate)
        if !isStopped { body() }
        unsafe pthread_mutex_unlock(gate)
    }

    /// Asks the thread to end.
    ///
    /// When this returns nothing is being delivered, and nothing will be.
    func stop() {
        stopFlag.store(true, ordering: .releasing)
        Self.signal(stopDescriptor)
        unsafe pthread_mutex_lock(gate)
        unsafe pthread_mutex_unlock(gate)
    }

    /// Waits until the body has returned, so that the device is closed.
    ///
    /// On the thread itself there is nothing to wait for.
    ///
    /// - Returns: false if it has not ended in time.
    @discardableResult
    func waitForEnd(milliseconds: Int) -> Bool {
        guard identity.load(ordering: .relaxed) != UInt(pthread_self()) else { return false }
        return Self.isReadable(endDescriptor, milliseconds: milliseconds)
    }

    /// Waits for so long or until `stop()`.
    func pause(milliseconds: Int) { Self.isReadable(stopDescriptor, milliseconds: milliseconds) }

    /// Waits until something can be read, until a time, or until `stop()`.
    ///
    /// - Parameters:
    ///   - descriptors: negative ones are left out.
    ///   - deadline: of the monotonic clock, in nanoseconds.
    func wait(for descriptors: [CInt], until deadline: Int64) {
        var entries = ([stopDescriptor] + descriptors).map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        // Both are positive; rounded up, so that nobody turns in circles for less than a millisecond.
        let left = max(0, (max(0, deadline) - ScheduledThread.now()) / 1_000_000 + 1)
        // Woken by a signal it returns early, which callers are ready for.
        _ = unsafe poll(&entries, nfds_t(entries.count), CInt(clamping: left))
    }

    @discardableResult
    private static func isReadable(_ descriptor: CInt, milliseconds: Int) -> Bool {
        let deadline = ScheduledThread.now() + Int64(milliseconds) * 1_000_000
        while true {
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let left = max(0, (deadline - ScheduledThread.now() + 999_999) / 1_000_000)
            let count = unsafe poll(&entry, 1, CInt(clamping: left))
            if count < 0 && errno == EINTR { continue }
            return count > 0
        }
    }

    private static func signal(_ descriptor: CInt) {
        var one: UInt64 = 1
        _ = unsafe write(descriptor, &one, 8)
    }
}

/// Who wants to know that a device has ended by itself.
final class FailureHandlers: Sendable {
    private let handlers = Mutex<[@Sendable (MediaError) -> Void]>([])

    func add(_ handler: @escaping @Sendable (MediaError) -> Void) { handlers.withLock { $0.append(handler) } }

    func tell(_ error: MediaError) {
        for handler in handlers.withLock({ $0 }) { handler(error) }
    }
}

/// Something that one thread makes and another uses from then on: taken once, so that it ends with its user.
final class Handover<Value>: Sendable {
    /// Written in `init`, then touched by the taker alone.
    nonisolated(unsafe) private var value: Value?

    init(_ value: Value) { unsafe self.value = value }

    func take() -> Value? {
        defer { unsafe value = nil }
        return unsafe value
    }
}
