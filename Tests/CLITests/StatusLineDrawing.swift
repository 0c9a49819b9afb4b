import Locking
import TerminalUI
import Testing

/// What the live line writes, on terminals that remember.
@Suite struct StatusLineDrawing {
    @Test func aTerminalShowsOneLineThatIsReplaced() {
        let screen = Screen(columns: 80)
        let line = StatusLine(screen.terminal)
        line.show(["connecting"], at: screen.start)
        line.show(["connected", "30 fps"], at: screen.start)
        #expect(screen.takeWritten() == "connecting\r\u{1B}[Jconnected · 30 fps")
    }

    @Test func theLeastImportantPartsAreLeftOutFirst() {
        let screen = Screen(columns: 20)
        let line = StatusLine(screen.terminal)
        line.show(["connected", "30 fps", "12 ms"], at: screen.start)
        #expect(screen.takeWritten() == "connected · 30 fps")
    }

    @Test func aSinglePartTooWideIsCut() {
        let screen = Screen(columns: 8)
        StatusLine(screen.terminal).show(["connected"], at: screen.start)
        #expect(screen.takeWritten() == "connec…")
    }

    @Test func aNarrowedWindowIsClearedOverAllRowsTheLineWrappedTo() {
        let screen = Screen(columns: 80)
        let line = StatusLine(screen.terminal)
        line.show([String(repeating: "x", count: 50)], at: screen.start)
        _ = screen.takeWritten()
        screen.resize(columns: 20)
        line.show(["short"], at: screen.start)
        // 50 characters stand on three rows of 20 now: two up, then clear.
        #expect(screen.takeWritten() == "\r\u{1B}[2A\u{1B}[Jshort")
    }

    @Test func anOrdinaryLineGoesAboveTheStatus() {
        let screen = Screen(columns: 80)
        let line = StatusLine(screen.terminal)
        line.print("first")
        line.show(["connected"], at: screen.start)
        line.print("Anna: hello")
        #expect(screen.takeWritten() == "first\nconnected\r\u{1B}[JAnna: hello\nconnected")
    }

    @Test func finishingReplacesTheStatusByLastWordsOnce() {
        let screen = Screen(columns: 80)
        let line = StatusLine(screen.terminal)
        line.show(["connected"], at: screen.start)
        line.finish("Call ended.")
        line.finish("Again.")
        line.show(["ghost"], at: screen.start)
        line.print("after")
        #expect(screen.takeWritten() == "connected\r\u{1B}[JCall ended.\nafter\n")
    }

    @Test func aFileGetsPlainLinesForNewsAtOnceAndForFiguresEveryTenSeconds() {
        let screen = Screen(columns: 80, isInteractive: false)
        let line = StatusLine(screen.terminal)
        line.show(["connecting"], at: screen.start)
        line.show(["connected", "1 fps"], at: screen.start)
        line.show(["connected", "2 fps"], at: screen.start + .seconds(9))
        line.show(["connected", "3 fps"], at: screen.start + .seconds(10))
        line.finish()
        #expect(screen.takeWritten() == "connecting\nconnected · 1 fps\nconnected · 3 fps\n")
    }

    @Test func escapeSequencesFromTheOtherSideNeverReachTheTerminal() {
        let screen = Screen(columns: 80)
        StatusLine(screen.terminal).show(["Eve\u{1B}]0;title\u{07}\r\n\u{202E}x"], at: screen.start)
        #expect(screen.takeWritten() == "Eve␛]0;title␇  \u{FFFD}x")
    }

    @Test func aTerminalOfNoWidthDoesNotTrap() {
        let screen = Screen(columns: 0)
        let line = StatusLine(screen.terminal)
        line.show(["connected", "30 fps"], at: screen.start)
        line.show(["connected", "31 fps"], at: screen.start)
        #expect(!screen.takeWritten().contains("fps"))
    }
}

/// Where an address is drawn.
@Suite struct AddressDrawing {
    @Test func aSymbolThatWouldBeWrappedIsLeftOut() throws {
        let address = "http://192.168.1.20:36475/4821#amber-otter-lemon"
        let columns = try #require(QRCode(address)).renderedColumns
        #expect(!QRCode.lines(address, for: Screen(columns: columns).terminal).isEmpty)
        #expect(QRCode.lines(address, for: Screen(columns: columns - 1).terminal).isEmpty)
        #expect(QRCode.lines(address, for: Screen(columns: columns, isInteractive: false).terminal).isEmpty)
    }
}

/// A terminal in memory.
private final class Screen: Sendable {
    private let state: Mutex<(columns: Int, written: String)>
    private let isInteractive: Bool
    let start = ContinuousClock.now

    init(columns: Int, isInteractive: Bool = true) {
        state = Mutex((columns, ""))
        self.isInteractive = isInteractive
    }

    var terminal: Terminal {
        Terminal(
            isInteractive: isInteractive,
            columns: { self.state.withLock { $0.columns } },
            write: { text in self.state.withLock { $0.written += text } }
        )
    }

    func resize(columns: Int) { state.withLock { $0.columns = columns } }

    func takeWritten() -> String {
        state.withLock { state in
            defer { state.written = "" }
            return state.written
        }
    }
}
