internal import Glibc

/// The pause of the terminal view's own thread.
enum TerminalPause {
    static func sleep(_ duration: Duration) {
        let parts = max(.zero, min(duration, .seconds(2))).components
        var time = timespec(tv_sec: Int(parts.seconds), tv_nsec: Int(parts.attoseconds / 1_000_000_000))
        _ = unsafe nanosleep(&time, nil)
    }
}
