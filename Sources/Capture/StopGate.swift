internal import Glibc
internal import Locking

/// Where a source's thread waits and delivers, so that it can be stopped at any moment.
@safe final class StopGate: Sendable {
    private let stopFlag = Atomic<Bool>(false)
    /// Held while something is delivered; recursive, so that a taker may call ``stop()``.
    ///
    /// Freed in `deinit`, as the two below.
    nonisolated(unsafe) private let delivery: UnsafeMutablePointer<pthread_mutex_t>
    /// Held while the flag is set, and up to the beginning of a wait.
    nonisolated(unsafe) private let lock: UnsafeMutablePointer<pthread_mutex_t>
    /// Told when the flag is set; its times are of the monotonic clock.
    nonisolated(unsafe) private let isSet: UnsafeMutablePointer<pthread_cond_t>

    init() {
        unsafe delivery = .allocate(capacity: 1)
        // By memory alone: their initialisers belong to whichever C module brought pthread.h first.
        let attributes = UnsafeMutablePointer<pthread_mutexattr_t>.allocate(capacity: 1)
        defer { unsafe attributes.deallocate() }
        unsafe pthread_mutexattr_init(attributes)
        unsafe pthread_mutexattr_settype(attributes, Int32(PTHREAD_MUTEX_RECURSIVE))
        unsafe pthread_mutex_init(delivery, attributes)
        unsafe pthread_mutexattr_destroy(attributes)
        unsafe lock = .allocate(capacity: 1)
        unsafe pthread_mutex_init(lock, nil)
        unsafe isSet = .allocate(capacity: 1)
        let clock = UnsafeMutablePointer<pthread_condattr_t>.allocate(capacity: 1)
        defer { unsafe clock.deallocate() }
        unsafe pthread_condattr_init(clock)
        unsafe pthread_condattr_setclock(clock, CLOCK_MONOTONIC)
        unsafe pthread_cond_init(isSet, clock)
        unsafe pthread_condattr_destroy(clock)
    }

    deinit {
        unsafe pthread_cond_destroy(isSet)
        unsafe isSet.deallocate()
        unsafe pthread_mutex_destroy(lock)
        unsafe lock.deallocate()
        unsafe pthread_mutex_destroy(delivery)
        unsafe delivery.deallocate()
    }

    /// Whether ``stop()`` was called.
    var isStopped: Bool { stopFlag.load(ordering: .acquiring) }

    /// Waits until a time of the monotonic clock, or until ``stop()``.
    func sleep(until nanoseconds: Int64) {
        let nanoseconds = max(0, nanoseconds)
        var time = timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        unsafe pthread_mutex_lock(lock)
        // Anything but 0 is the end of the time; an early return leaves the flag as it is.
        while !isStopped, unsafe pthread_cond_timedwait(isSet, lock, &time) == 0 {}
        unsafe pthread_mutex_unlock(lock)
    }

    /// Calls `body` unless it is stopped; ``stop()`` waits until it has returned.
    ///
    /// - Returns: what `body` does; nil if it was not called.
    @discardableResult
    func deliver<Result>(_ body: () -> Result) -> Result? {
        unsafe pthread_mutex_lock(delivery)
        defer { unsafe pthread_mutex_unlock(delivery) }
        return isStopped ? nil : body()
    }

    /// Ends a wait, and all deliveries.
    ///
    /// When this returns nothing is being delivered, and nothing will be. Called by who is delivered to, it returns at
    /// once, and that delivery is the last.
    func stop() {
        unsafe pthread_mutex_lock(lock)
        stopFlag.store(true, ordering: .releasing)
        unsafe pthread_cond_broadcast(isSet)
        unsafe pthread_mutex_unlock(lock)
        unsafe pthread_mutex_lock(delivery)
        unsafe pthread_mutex_unlock(delivery)
    }
}
