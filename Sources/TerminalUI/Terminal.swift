internal import Glibc

/// Where lines go: a file descriptor, or a test's own memory.
package struct Terminal: Sendable {
    /// Whether it shows escape sequences: a live line and colours make sense.
    package let isInteractive: Bool
    /// Columns at this moment; they change when the window is resized.
    package let columns: @Sendable () -> Int
    /// Writes all of the text at once.
    ///
    /// A closed pipe or a full disk ends it silently: there is nobody left to tell.
    package let write: @Sendable (String) -> Void
    /// Does the same, and gives the system's number of the error, or 0.
    package let tryToWrite: @Sendable (String) -> CInt

    package init(
        isInteractive: Bool,
        columns: @escaping @Sendable () -> Int,
        write: @escaping @Sendable (String) -> Void
    ) {
        self.isInteractive = isInteractive
        self.columns = columns
        self.write = write
        tryToWrite = {
            write($0)
            return 0
        }
    }

    package static let standardOutput = Terminal(descriptor: STDOUT_FILENO)
    package static let standardError = Terminal(descriptor: STDERR_FILENO)

    /// Whether standard input is a terminal, on which somebody may type.
    package static var isStandardInputInteractive: Bool { isatty(STDIN_FILENO) == 1 }

    /// The terminal, file or pipe behind `descriptor`, which stays the caller's.
    ///
    /// `TERM=dumb` counts as a file: no escape sequences.
    package init(descriptor: CInt) {
        isInteractive = isatty(descriptor) == 1 && Self.environment("TERM") != "dumb"
        columns = { Self.columns(of: descriptor) }
        write = { _ = Self.write($0, to: descriptor) }
        tryToWrite = { Self.write($0, to: descriptor) }
    }

    /// Whether colours are wanted: on a terminal, unless `NO_COLOR` is set to anything (no-color.org).
    package var wantsColour: Bool { isInteractive && (Self.environment("NO_COLOR") ?? "").isEmpty }

    /// What is taken as the width where nobody says.
    package static let defaultColumns = 80

    /// Characters and, where the terminal tells them, pixels of standard error's window; nil if it is no terminal.
    package static func standardErrorSize() -> (columns: Int, rows: Int, pixelWidth: Int, pixelHeight: Int)? {
        var size = winsize()
        // Safe: the kernel fills the struct, which outlives the call.
        let status = unsafe ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size)
        guard status == 0, size.ws_col > 0, size.ws_row > 0 else { return nil }
        return (Int(size.ws_col), Int(size.ws_row), Int(size.ws_xpixel), Int(size.ws_ypixel))
    }

    private static func columns(of descriptor: CInt) -> Int {
        var size = winsize()
        // Safe: the kernel fills the struct, which outlives the call.
        let status = unsafe ioctl(descriptor, UInt(TIOCGWINSZ), &size)
        return status == 0 && size.ws_col > 0 ? Int(size.ws_col) : defaultColumns
    }

    /// Writes until all is out.
    ///
    /// - Returns: the system's number of what ended it before that, or 0.
    private static func write(_ text: String, to descriptor: CInt) -> CInt {
        var text = text
        return text.withUTF8 { buffer in
            var sent = 0
            while sent < buffer.count {
                // Safe: the rest of a buffer that lives as long as this closure.
                let rest = unsafe UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[sent...])
                let count = unsafe Glibc.write(descriptor, rest.baseAddress, rest.count)
                if count < 0, errno == EINTR || errno == EAGAIN {
                    // A non-blocking terminal that is full: wait until it takes more.
                    var poller = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    _ = unsafe poll(&poller, 1, 1000)
                    continue
                }
                guard count > 0 else { return count < 0 ? errno : EIO }
                sent += count
            }
            return 0
        }
    }

    private static func environment(_ name: String) -> String? {
        // Safe: copied at once; the process does not change its environment.
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe String(cString: value)
    }
}
