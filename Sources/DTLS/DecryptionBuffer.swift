internal import Glibc

/// Where OpenSSL decrypts to: one buffer for each thread, since a connection needs it for the length of a call only.
enum DecryptionBuffer {
    /// Calls `body` with room for the longest record.
    static func with<Result>(_ body: (UnsafeMutableRawBufferPointer) -> Result) -> Result {
        let byteCount = DTLSTransport.maximumMessageByteCount
        // Taken for the call: one inside it, of another connection, gets its own.
        let start: UnsafeMutableRawPointer
        if let kept = unsafe pthread_getspecific(key) {
            pthread_setspecific(key, nil)
            unsafe start = kept
        } else {
            unsafe start = .allocate(byteCount: byteCount, alignment: 16)
        }
        defer { unsafe giveBack(start) }
        return unsafe body(UnsafeMutableRawBufferPointer(start: start, count: byteCount))
    }

    private static func giveBack(_ start: UnsafeMutableRawPointer) {
        // The thread's end frees what is kept.
        if unsafe pthread_getspecific(key) == nil, unsafe pthread_setspecific(key, start) == 0 { return }
        unsafe start.deallocate()
    }

    private static let key: pthread_key_t = {
        var key = pthread_key_t()
        // Without a key, which a process has 1024 of, each call makes its own buffer.
        guard unsafe pthread_key_create(&key, { unsafe $0?.deallocate() }) == 0 else { return .max }
        return key
    }()
}
