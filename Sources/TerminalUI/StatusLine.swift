internal import Locking

/// One line that is always the last of the terminal and always current, with ordinary lines scrolling above it.
///
/// Where lines are typed, it is the last but one: below it is what the terminal itself echoes, and nothing else is ever
/// written there. So the terminal keeps its own ways of typing, and needs no restoring.
///
/// On anything but a terminal it prints plain lines instead: each change of state at once, mere figures at most
/// every ten seconds. Safe from any thread; each call writes once.
package final class StatusLine: Sendable {
    private let terminal: Terminal
    /// Whether lines are typed below it.
    private let isTypedBelow: Bool
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

    /// - Parameters:
    ///   - terminal: where it is shown.
    ///   - isTypedBelow: whether a user types lines on that very terminal; each is told by ``entered(_:)``.
    package init(_ terminal: Terminal = .standardError, isTypedBelow: Bool = false) {
        self.terminal = terminal
        self.isTypedBelow = isTypedBelow && terminal.isInteractive
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
            if !isTypedBelow {
                terminal.write(erasure(state) + line)
            } else if state.shownColumns == nil {
                terminal.write(insertion(of: line, rowsAbove: 0))
            } else {
                terminal.write(replacement(by: line, state))
            }
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
            // What is being typed stays as it is.
            if isTypedBelow { return terminal.write(insertion(of: line, rowsAbove: wrappedRows(state) + 1)) }
            let status = fitted(state.segments)
            terminal.write(erasure(state) + line + "\n" + status)
            state.shownColumns = TerminalText.width(of: status)
        }
    }

    /// Says that a line was typed, of which the terminal has echoed all and the line's end.
    ///
    /// It moves above the status, where all else is said, and the row below is free again.
    package func entered(_ line: String) {
        state.withLock { state in
            guard isTypedBelow, !state.isFinished, state.shownColumns != nil else { return }
            let typed = TerminalText.printable(line)
            let status = fitted(state.segments)
            let rows = TerminalText.rows(of: typed, columns: terminal.columns())
            let above = typed.isEmpty ? "" : "> \(typed)\n"
            terminal.write(Self.up(wrappedRows(state) + 1 + rows) + "\r\u{1B}[J" + above + status + "\n")
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
        guard state.shownColumns != nil else { return "" }
        return "\r" + Self.up(wrappedRows(state) + (isTypedBelow ? 1 : 0)) + "\u{1B}[J"
    }

    /// Rows that what is shown takes besides its first.
    private func wrappedRows(_ state: State) -> Int {
        max(0, (state.shownColumns ?? 0) - 1) / max(1, terminal.columns())
    }

    /// Puts a line of its own above the row of the cursor and the rows above that, which move down with all that is typed.
    ///
    /// Where there is no row left below, all scrolls by as much; cursor and column are the same afterwards.
    private func insertion(of line: String, rowsAbove: Int) -> String {
        let rows = TerminalText.rows(of: line, columns: terminal.columns())
        return String(repeating: "\u{1B}D", count: rows) + "\u{1B}7" + Self.up(rows + rowsAbove)
            + "\r\u{1B}[\(rows)L" + line + "\u{1B}8"
    }

    /// Writes another status over the one above the row of the cursor; rows to which that had wrapped are taken out.
    private func replacement(by line: String, _ state: State) -> String {
        let wrapped = wrappedRows(state)
        return "\u{1B}7" + Self.up(wrapped + 1) + "\r" + (wrapped > 0 ? "\u{1B}[\(wrapped)M" : "") + line
            + "\u{1B}[K\u{1B}8"
            + Self.up(wrapped)
    }

    private static func up(_ rows: Int) -> String { rows > 0 ? "\u{1B}[\(rows)A" : "" }
}
