internal import Locking
package import Media
internal import TerminalUI

/// A call's pictures in the upper part of a terminal, with ordinary lines scrolling below them.
package final class TerminalView: CallView {
    /// The terminal's size at a moment.
    package struct Size: Hashable, Sendable {
        package var columns: Int
        package var rows: Int
        /// Pixels of a character, if the terminal tells.
        package var cell: Cell?
        /// How often something else had the screen since the beginning, as a shell after Ctrl-Z: all is drawn anew.
        package var interruptions = 0

        package struct Cell: Hashable, Sendable {
            package var width: Int
            package var height: Int

            package init(width: Int, height: Int) {
                self.width = width
                self.height = height
            }
        }

        package init(columns: Int, rows: Int, cell: Cell? = nil, interruptions: Int = 0) {
            self.columns = columns
            self.rows = rows
            self.cell = cell
            self.interruptions = interruptions
        }
    }

    /// Draws, as a value: sizes and pictures in, text out.
    package struct Screen: Sendable {
        private var painter: TerminalPainter
        private var size: Size?
        private let pool = VideoFramePool()

        package init(_ graphics: TerminalGraphics) { painter = TerminalPainter(graphics) }

        /// Rows that are left to text: chat and status.
        package static let textRows = 6

        /// Rows of the pictures; 0 if the terminal is too small for any.
        package static func pictureRows(_ size: Size) -> Int {
            let rows = size.rows - textRows - 1
            return rows >= 4 && size.columns >= 16 ? rows : 0
        }

        /// The text that shows `state` on a terminal of that size, the cursor left where it was.
        package mutating func draw(_ state: CallPictures.State, size: Size) throws(MediaError) -> String {
            var text = ""
            let rows = Self.pictureRows(size)
            if size != self.size {
                let isFirst = self.size == nil
                self.size = size
                painter.invalidate()
                text += Self.setUp(size, isFirst: isFirst)
            }
            guard rows > 0 else { return text }
            let pixels = painter.pixelSize(
                columns: size.columns,
                rows: rows,
                cell: size.cell.map { ($0.width, $0.height) }
            )
            // Even sizes, since colours come in pairs of pixels.
            let (width, height) = (max(2, pixels.width & ~1), max(2, pixels.height & ~1))
            let picture = try PictureLayout.compose(
                state.participants.compactMap(\.participant.picture),
                preview: state.preview,
                width: width,
                height: height,
                pool: pool
            )
            let drawing = painter.paint(try RGBPicture(picture), columns: size.columns, rows: rows)
            // Saved and restored: cursor and colours. Between the marks of 2026 nothing is shown half.
            text += "\u{1B}7\u{1B}[?2026h\u{1B}[?25l" + drawing
            text += "\u{1B}[\(rows + 1);1H\u{1B}[0;7m" + Self.caption(state, columns: size.columns) + "\u{1B}[0m"
            return text + "\u{1B}[?25h\u{1B}[?2026l\u{1B}8"
        }

        /// What takes all of it away again: the whole screen scrolls, the cursor is in the last row.
        package var ending: String {
            guard let size else { return "" }
            return painter.removal + "\u{1B}[?2026l\u{1B}[0m\u{1B}[r\u{1B}[\(size.rows);1H\u{1B}[?25h"
        }

        /// Scrolls away what stands there, and keeps the upper rows from scrolling.
        private static func setUp(_ size: Size, isFirst: Bool) -> String {
            let rows = pictureRows(size)
            guard rows > 0 else { return "\u{1B}[r" }
            let above = isFirst ? String(repeating: "\n", count: size.rows) : ""
            var text = above + "\u{1B}7\u{1B}[r"
            for row in 1...(rows + 1) { text += "\u{1B}[\(row);1H\u{1B}[2K" }
            return text + "\u{1B}[\(rows + 2);\(size.rows)r\u{1B}8\u{1B}[\(size.rows);1H"
        }

        static func caption(_ state: CallPictures.State, columns: Int) -> String {
            let names = state.participants.map(\.participant.name).joined(separator: " · ")
            var text = " " + (names.isEmpty ? "waiting for others" : names)
            if state.isMicrophoneOff { text += " [microphone off]" }
            if state.isCameraOff { text += " [camera off]" }
            let keys = "/mute /video /quit "
            // By columns: names are made printable before they come here, and may be wide.
            let width = TerminalText.width(of: text)
            if width + keys.count + 1 <= columns {
                return text + String(repeating: " ", count: columns - width - keys.count) + keys
            }
            let cut = TerminalText.truncated(text, to: columns)
            return cut + String(repeating: " ", count: max(0, columns - TerminalText.width(of: cut)))
        }
    }

    package let pictures = CallPictures()
    private let worker: WorkerThread<Void>
    private let shared: Shared

    private final class Shared: Sendable {
        struct State {
            var screen: Screen
            var isClosed = false
        }
        let state: Mutex<State>
        let isScheduled = Atomic<Bool>(false)
        init(_ graphics: TerminalGraphics) { state = Mutex(State(screen: Screen(graphics))) }
    }

    /// Least time between two pictures.
    private static let interval: Duration = .milliseconds(100)

    /// Begins at once.
    ///
    /// - Parameters:
    ///   - graphics: what the terminal knows.
    ///   - size: the terminal's size at the moment; it may change.
    ///   - write: takes text as a whole; it may block, and newer pictures take the place of those that wait then.
    package init(
        graphics: TerminalGraphics,
        size: @escaping @Sendable () -> Size,
        write: @escaping @Sendable (String) -> Void
    ) {
        let shared = Shared(graphics)
        self.shared = shared
        let pictures = pictures
        let clock = ContinuousClock()
        worker = WorkerThread(name: "terminal view", limit: 1) {
            shared.isScheduled.store(false, ordering: .relaxed)
            let begin = clock.now
            shared.state.withLock { state in
                guard !state.isClosed, let text = try? state.screen.draw(pictures.now, size: size()) else { return }
                write(text)
            }
            // As long as writing took, and never more than the limit a second: the rest of a slow line is for words.
            TerminalPause.sleep(max(Self.interval - begin.duration(to: clock.now), begin.duration(to: clock.now)))
        }
        self.write = write
        pictures.setChangeHandler { [weak self] in self?.schedule() }
        schedule()
    }

    private let write: @Sendable (String) -> Void

    private func schedule() {
        if !shared.isScheduled.exchange(true, ordering: .relaxed) { worker.submit(()) }
    }

    package func close() {
        pictures.setChangeHandler(nil)
        let ending = shared.state.withLock { state -> String in
            guard !state.isClosed else { return "" }
            state.isClosed = true
            return state.screen.ending
        }
        if !ending.isEmpty { write(ending) }
        worker.stop()
    }

    deinit { close() }

    /// What brings any terminal back to its ordinary ways; for a signal's handler, which can only write.
    package static let restoration = "\u{1B}[?2026l\u{1B}[0m\u{1B}[r\u{1B}[?25h\u{1B}[999;1H\r\n"
}
