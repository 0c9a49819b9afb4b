import Locking
import TerminalUI
import Testing

/// What stands on a terminal on which somebody types below the live line.
@Suite struct StatusLineTyping {
    /// Of ten rows; the cursor begins in the last one, as after a shell that has run for a while.
    private func line(columns: Int = 40, rows: Int = 10, cursorRow: Int = 9) -> (StatusLine, Screen) {
        let screen = Screen(columns: columns, rows: rows, cursorRow: cursorRow)
        return (StatusLine(screen.terminal, isTypedBelow: true), screen)
    }

    @Test(arguments: [0, 4, 9]) func whatIsTypedStaysWhileTheLineChangesAndOthersSpeak(cursorRow: Int) {
        let (line, screen) = line(cursorRow: cursorRow)
        line.show(["connected", "30 fps"], at: screen.start)
        screen.type("hel")
        line.show(["connected", "1 fps"], at: screen.start)
        line.print("Anna: how are you?")
        screen.type("lo")
        line.show(["connected", "25 fps", "RTT 12 ms"], at: screen.start)
        line.print(String(repeating: "x", count: 41))
        screen.type(" there")
        let long = [String(repeating: "x", count: 40), "x"]
        #expect(
            screen.lines == ["Anna: how are you?"] + long + ["connected · 25 fps · RTT 12 ms", "hello there"],
            "\(screen.lines)"
        )
        #expect(screen.cursorColumn == 11)
        screen.erase(6)
        screen.type("!")
        #expect(screen.lines.last == "hello!")
    }

    @Test func aLineThatWasTypedGoesAboveAndLeavesTheRowFree() {
        let (line, screen) = line()
        line.show(["connected"], at: screen.start)
        for text in ["hello", "", String(repeating: "long ", count: 17), "/mute"] {
            screen.type(text)
            screen.enter()
            line.entered(text)
        }
        line.show(["connected", "30 fps"], at: screen.start)
        screen.type("next")
        let long = "> " + String(repeating: "long ", count: 17)
        let wrapped = stride(from: 0, to: long.count, by: 40).map { String(Array(long)[$0..<min($0 + 40, long.count)]) }
        #expect(
            screen.lines
                == ["> hello"] + wrapped.map { $0.trimmed } + ["> /mute", "connected · 30 fps", "next"],
            "\(screen.lines)"
        )
    }

    /// The terminal echoes before the line is read.
    @Test func aChangeBetweenAnEnterAndItsReadingIsHealed() {
        let (line, screen) = line()
        line.show(["connected"], at: screen.start)
        screen.type("hello")
        screen.enter()
        line.show(["connected", "1 fps"], at: screen.start)
        line.entered("hello")
        #expect(screen.lines == ["> hello", "connected · 1 fps"], "\(screen.lines)")
    }

    @Test func whatIsTypedBeforeTheFirstStatusStaysBelowIt() {
        let (line, screen) = line()
        screen.type("early")
        line.show(["connected"], at: screen.start)
        screen.type(" bird")
        #expect(screen.lines == ["connected", "early bird"])
    }

    @Test func theEndTakesTheRowsAway() {
        let (line, screen) = line()
        line.print("first")
        line.show(["connected"], at: screen.start)
        screen.type("unfin")
        line.finish("The call ended.")
        line.print("after")
        line.entered("ghost")
        #expect(screen.lines == ["first", "The call ended.", "after"])
    }

    @Test func aNarrowedWindowIsClearedOverAllRowsTheLineWrappedTo() {
        let (line, screen) = line()
        line.show([String(repeating: "x", count: 35)], at: screen.start)
        screen.type("hi")
        // As a terminal does that wraps again: 35 columns stand on four rows of 10.
        screen.rewrap(columns: 10)
        line.show(["short"], at: screen.start)
        screen.type("!")
        #expect(screen.lines == ["short", "hi!"], "\(screen.lines)")
    }

    @Test func aFileGetsPlainLines() {
        let screen = Screen(columns: 40, rows: 10, cursorRow: 0, isInteractive: false)
        let line = StatusLine(screen.terminal, isTypedBelow: true)
        line.show(["connected"], at: screen.start)
        line.entered("hello")
        line.print("Anna: hello")
        #expect(screen.lines == ["connected", "Anna: hello"])
    }
}

extension String {
    /// Without spaces at its end, as a screen is read.
    fileprivate var trimmed: String { String(reversed().drop { $0 == " " }.reversed()) }
}

/// A terminal in memory that understands what the live line writes. ECMA-48 (CUU, ED, EL, IL, DL), DEC (IND, DECSC, DECRC)
private final class Screen: Sendable {
    private struct State {
        var columns: Int
        var grid: [[Character]]
        var row: Int
        var column = 0
        var saved = (row: 0, column: 0)
    }
    private let state: Mutex<State>
    private let isInteractive: Bool
    let start = ContinuousClock.now

    init(columns: Int, rows: Int, cursorRow: Int, isInteractive: Bool = true) {
        let blank = Array(repeating: Character(" "), count: columns)
        state = Mutex(State(columns: columns, grid: Array(repeating: blank, count: rows), row: cursorRow))
        self.isInteractive = isInteractive
    }

    var terminal: Terminal {
        Terminal(
            isInteractive: isInteractive,
            columns: { self.state.withLock { $0.columns } },
            write: { text in self.state.withLock { Self.write(text, &$0) } }
        )
    }

    /// The rows from the first that is not blank to the last.
    var lines: [String] {
        let rows = state.withLock { $0.grid.map { String($0).trimmed } }
        return Array(rows.drop { $0.isEmpty }.reversed().drop { $0.isEmpty }.reversed())
    }
    var cursorColumn: Int { state.withLock { $0.column } }

    /// What the terminal echoes.
    func type(_ text: String) { state.withLock { Self.write(text, &$0) } }
    func enter() { state.withLock { Self.write("\n", &$0) } }
    func erase(_ count: Int) { type(String(repeating: "\u{8} \u{8}", count: count)) }

    /// Makes the window narrower; rows that do not fit any more go on in the next.
    func rewrap(columns: Int) {
        state.withLock { state in
            var grid: [[Character]] = []
            var row = state.row
            for (index, line) in state.grid.enumerated() {
                let text = Array(String(line).trimmed)
                let parts = max(1, (text.count + columns - 1) / columns)
                if index < state.row { row += parts - 1 }
                for part in 0..<parts {
                    let piece = text[min(text.count, part * columns)..<min(text.count, (part + 1) * columns)]
                    grid.append(piece + Array(repeating: " ", count: columns - piece.count))
                }
            }
            let surplus = max(0, grid.count - state.grid.count)
            (state.grid, state.row, state.columns) = (Array(grid.dropFirst(surplus)), row - surplus, columns)
        }
    }

    private static func blank(_ state: State) -> [Character] { Array(repeating: " ", count: state.columns) }

    private static func feed(_ state: inout State) {
        if state.row < state.grid.count - 1 { return state.row += 1 }
        state.grid.removeFirst()
        state.grid.append(blank(state))
    }

    private static func write(_ text: String, _ state: inout State) {
        var rest = Array(text.unicodeScalars)[...]
        while let scalar = rest.popFirst() {
            switch scalar {
            // As the line discipline gives it on.
            case "\n":
                state.column = 0
                feed(&state)
            case "\r": state.column = 0
            case "\u{8}": state.column = max(0, min(state.column, state.columns - 1) - 1)
            case "\u{1B}": escape(&rest, &state)
            default:
                if state.column == state.columns {
                    state.column = 0
                    feed(&state)
                }
                state.grid[state.row][state.column] = Character(scalar)
                state.column += 1
            }
        }
    }

    private static func escape(_ rest: inout ArraySlice<Unicode.Scalar>, _ state: inout State) {
        switch rest.popFirst() {
        case "7": state.saved = (state.row, state.column)
        case "8": (state.row, state.column) = state.saved
        case "D": feed(&state)
        case "[":
            var digits = ""
            while let next = rest.first, ("0"..."9").contains(next) {
                digits.unicodeScalars.append(next)
                rest.removeFirst()
            }
            let count = Int(digits) ?? 1
            switch rest.popFirst() {
            case "A": state.row = max(0, state.row - count)
            case "K":
                for column in min(state.column, state.columns)..<state.columns { state.grid[state.row][column] = " " }
            case "J":
                for column in min(state.column, state.columns)..<state.columns { state.grid[state.row][column] = " " }
                for row in (state.row + 1)..<max(state.row + 1, state.grid.count) { state.grid[row] = blank(state) }
            case "L":
                for _ in 0..<count {
                    state.grid.removeLast()
                    state.grid.insert(blank(state), at: state.row)
                }
                state.column = 0
            case "M":
                for _ in 0..<count {
                    state.grid.remove(at: state.row)
                    state.grid.append(blank(state))
                }
                state.column = 0
            case let other: Issue.record("an unknown sequence: \(String(describing: other))")
            }
        case let other: Issue.record("an unknown sequence: \(String(describing: other))")
        }
    }
}
