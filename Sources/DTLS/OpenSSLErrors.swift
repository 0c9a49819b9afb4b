internal import COpenSSL

/// OpenSSL's queue of errors, one per thread: cleared before a call, drained after it.
enum OpenSSLErrors {
    /// What the first error in the queue says.
    struct First {
        var reason: Int32
        var text: String
    }

    /// Looks first: to clear what is empty costs as much as a tenth of a record.
    static func clear() { if ERR_peek_error() != 0 { ERR_clear_error() } }

    /// Takes out all errors.
    ///
    /// - Returns: the earliest, which is the cause; nil if there was none.
    static func drain() -> First? {
        let code = ERR_get_error()
        ERR_clear_error()
        guard code != 0 else { return nil }
        let text = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
            unsafe ERR_error_string_n(code, buffer.baseAddress, buffer.count)
            guard let start = buffer.baseAddress else { return "" }
            return unsafe String(cString: start)
        }
        return First(reason: Int32(truncatingIfNeeded: code & 0x7F_FFFF), text: text)
    }

    /// The earliest error as a typed one.
    static func drained(_ call: StaticString) -> DTLSError {
        .library(drain()?.text ?? "\(call) failed")
    }
}
