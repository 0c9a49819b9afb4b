// Synchronization's Mutex and Atomic. Under the Thread Sanitizer, which does not see the standard library's futex and
// would call every locked access a race, Mutex is a pthread mutex, which the sanitizer knows.

#if THREAD_SANITIZER
    internal import Glibc
    @_exported public import struct Synchronization.Atomic

    /// A value behind a pthread mutex, with the interface of `Synchronization.Mutex`.
    @safe public struct Mutex<Value: ~Copyable>: ~Copyable, @unchecked Sendable {
        private let lock: UnsafeMutablePointer<pthread_mutex_t>
        private let value: UnsafeMutablePointer<Value>

        /// Locks nothing yet.
        public init(_ initialValue: consuming sending Value) {
            unsafe lock = .allocate(capacity: 1)
            unsafe lock.initialize(to: pthread_mutex_t())
            unsafe pthread_mutex_init(lock, nil)
            unsafe value = .allocate(capacity: 1)
            unsafe value.initialize(to: initialValue)
        }

        deinit {
            unsafe value.deinitialize(count: 1)
            unsafe value.deallocate()
            unsafe pthread_mutex_destroy(lock)
            unsafe lock.deallocate()
        }

        /// Runs `body` with the value while nobody else can.
        public borrowing func withLock<Result: ~Copyable, Failure: Error>(
            _ body: (inout sending Value) throws(Failure) -> sending Result
        ) throws(Failure) -> sending Result {
            unsafe pthread_mutex_lock(lock)
            defer { unsafe pthread_mutex_unlock(lock) }
            return try unsafe body(&value.pointee)
        }
    }
#else
    @_exported public import Synchronization
#endif
