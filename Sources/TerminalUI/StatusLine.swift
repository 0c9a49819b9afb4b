internal import Locking

/// One line that is always the last of the terminal and always current, with ordinary lines scrolling above it.
///
/// On anything but a terminal it prints plain lines instead: each change of state at once, mere figures at most
/// every ten seconds. Safe from any thread; each call writes once.
package final class StatusLine: Sendable {
    private let terminal: Terminal
    private let state = Mutex(State())

    private struct State {
        var segments: [String] = []
        /// Columns of what stands on the terminal now; nil when nothing does.
        var shownColumns: Int?
        var headline: String?
        var lastPlainLine: ContinuousClock.Instant?
        var isFinished = false
    }

    /// Between two plain lines that only repeat figures.
    package static let plainInterval: Duration = .seconds(10)
    private static let separator = " · "

    package init(_ terminal: Terminal = .standardError) {
        self.terminal = terminal
    }

    /// Shows `segments`, the most important first: the last ones are left out where the terminal is too narrow.
    ///
    /// - Parameters:
    ///   - segments: parts of the line, made safe for a terminal here. The first is the state in words: when it
    ///     changes, a plain line is printed at once.
    ///   - now: when this is true; it paces plain lines.
    package func show(_ segments: [String], at now: ContinuousClock.Instant) {
        let segments = segments.map { TerminalText.printable($0) }.filter { !$0.isEmpty }
        state.withLock { state in
            guard !state.isFinished else { return }
            state.segments = segments
            guard terminal.isInteractive else { return printPlain(at: now, &state) }
            let line = fitted(segments)
            terminal.write(erasure(state) + line)
            state.shownColumns = TerminalText.width(of: line)
        }
    }

    /// Prints a line of its own above the status.
    ///
    /// Text from the other side must go through `TerminalText.printable`.
    package func print(_ line: String) {
        state.withLock { state in
            guard terminal.isInteractive, !state.isFinished, state.shownColumns != nil else {
                return terminal.write(line + "\n")
            }
            let status = fitted(state.segments)
            terminal.write(erasure(state) + line + "\n" + status)
            state.shownColumns = TerminalText.width(of: status)
        }
    }

    /// Writes text that leaves cursor and colours as it found them, as a picture beside the lines, with no line in
    /// between.
    package func overlay(_ text: String) { state.withLock { _ in terminal.write(text) } }

    /// Leaves `lastWords` in place of the line, if given, and shows nothing any more.
    package func finish(_ lastWords: String? = nil) {
        state.withLock { state in
            guard !state.isFinished else { return }
            state.isFinished = true
            let end = lastWords.map { TerminalText.printable($0) + "\n" } ?? ""
            terminal.write(terminal.isInteractive ? erasure(state) + end : end)
            state.shownColumns = nil
        }
    }

    private func printPlain(at now: ContinuousClock.Instant, _ state: inout State) {
        let isNews = state.headline != state.segments.first
        let isDue = state.lastPlainLine.map { $0.duration(to: now) >= Self.plainInterval } ?? true
        guard isNews || isDue, !state.segments.isEmpty else { return }
        state.headline = state.segments.first
        state.lastPlainLine = now
        terminal.write(state.segments.joined(separator: Self.separator) + "\n")
    }

    /// As many segments as fit, leaving the last column free: writing there makes some terminals wrap.
    private func fitted(_ segments: [String]) -> String {
        let columns = max(1, terminal.columns() - 1)
        for count in stride(from: segments.count, to: 1, by: -1) {
            let line = segments.prefix(count).joined(separator: Self.separator)
            if TerminalText.width(of: line) <= columns { return line }
        }
        return TerminalText.truncated(segments.first ?? "", to: columns)
    }

    /// Moves to the start of what is shown and clears from there.
    ///
    /// A window made narrower has wrapped the line.
    private func erasure(_ state: State) -> String {
        guard let shown = state.shownColumns else { return "" }
        let rowsAbove = max(0, shown - 1) / max(1, terminal.columns())
        return "\r" + (rowsAbove > 0 ? "\u{1B}[\(rowsAbove)A" : "") + "\u{1B}[J"
    }
}
