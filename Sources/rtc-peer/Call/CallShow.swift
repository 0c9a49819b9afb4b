import ArgumentParser
import Display
import Glibc
import Locking
import PeerConnection
import TerminalUI

/// Where `--show` shows a call's pictures.
enum CallShow: String, ExpressibleByArgument, CaseIterable, Sendable {
    /// In a window of the desktop.
    case window
    /// In the terminal, by the best means it has.
    case terminal
    /// In the terminal, each character two pixels.
    case blocks
    /// In the terminal, by sixels.
    case sixel
    /// In the terminal, by kitty's protocol.
    case kitty

    /// Opens the view.
    ///
    /// - Parameters:
    ///   - title: of a window.
    ///   - output: whose lines a terminal's view shares the screen with.
    ///   - request: takes what is asked for by keys.
    /// - Returns: the view, open.
    /// - Throws: `MediaError` with what to do if it cannot be shown there.
    func open(
        title: String,
        output: CallOutput,
        request: @escaping @Sendable (ViewRequest) -> Void
    ) async throws -> any CallView {
        let graphics: TerminalGraphics
        switch self {
        case .window: return try await CallWindow.open(title: title, request: request)
        case .terminal:
            graphics = TerminalGraphics.detect(
                environment: Self.environment,
                attributes: TerminalQuery.deviceAttributes()
            )
        case .blocks: graphics = .blocks
        case .sixel: graphics = .sixel
        case .kitty: graphics = .kitty
        }
        guard Terminal.standardError.isInteractive, !output.isJSON else {
            throw MediaError(
                .notUsable,
                "terminal",
                "--show \(rawValue) draws on standard error, which is no terminal here (or --json is given)"
            )
        }
        TerminalRestoration.arm()
        return TerminalView(graphics: graphics, size: TerminalQuery.size) { text in output.overlay(text) }
    }

    private static func environment(_ name: String) -> String? {
        // Safe: copied at once; the process does not change its environment.
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe String(cString: value)
    }
}

/// What a terminal says of itself.
enum TerminalQuery {
    static func size() -> TerminalView.Size {
        guard let window = Terminal.standardErrorSize() else { return TerminalView.Size(columns: 80, rows: 24) }
        let (columns, rows) = (window.columns, window.rows)
        var cell: TerminalView.Size.Cell?
        if window.pixelWidth >= columns, window.pixelHeight >= rows {
            cell = .init(width: window.pixelWidth / columns, height: window.pixelHeight / rows)
        }
        return TerminalView.Size(
            columns: columns,
            rows: rows,
            cell: cell,
            interruptions: TerminalRestoration.stops.load(ordering: .relaxed)
        )
    }

    /// The answer to "primary device attributes", where there is one within 0.2 s; none where nobody can be asked.
    ///
    /// Everything typed meanwhile is lost, so it is asked before the call begins. XTerm Control Sequences, "DA1"
    static func deviceAttributes() -> [Int] {
        guard Terminal.standardError.isInteractive else { return [] }
        let descriptor = unsafe open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        // In the background nothing may be asked: the terminal would stop this process.
        var before = termios()
        guard tcgetpgrp(descriptor) == getpgrp(), unsafe tcgetattr(descriptor, &before) == 0 else { return [] }
        var raw = before
        raw.c_lflag &= ~tcflag_t(ICANON | ECHO)
        guard unsafe tcsetattr(descriptor, TCSANOW, &raw) == 0 else { return [] }
        defer { _ = unsafe tcsetattr(descriptor, TCSANOW, &before) }
        let question = Array("\u{1B}[c".utf8)
        guard unsafe write(descriptor, question, question.count) == question.count else { return [] }
        var answer: [UInt8] = []
        let end = ContinuousClock.now + .milliseconds(200)
        while answer.count < 256, answer.last != UInt8(ascii: "c") {
            let left = ContinuousClock.now.duration(to: end)
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard left > .zero, unsafe poll(&entry, 1, CInt(left / .milliseconds(1)) + 1) > 0 else { break }
            var piece = [UInt8](repeating: 0, count: 64)
            let count = unsafe read(descriptor, &piece, piece.count)
            guard count > 0 else { break }
            answer += piece[..<count]
        }
        return TerminalGraphics.attributes(ofAnswer: answer)
    }
}

/// Brings the terminal back when the process ends in the middle of a view, and when it is stopped by Ctrl-Z.
enum TerminalRestoration {
    private static let isArmed = Atomic<Bool>(false)
    /// How often the process was stopped.
    static let stops = Atomic<Int>(0)
    /// Written before it is armed; a signal's handler may do no more than write it.
    nonisolated(unsafe) private static let bytes: UnsafeMutableBufferPointer<UInt8> = {
        let text = Array(TerminalView.restoration.utf8)
        let buffer = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: text.count)
        _ = unsafe buffer.initialize(from: text)
        return unsafe buffer
    }()

    static func arm() {
        _ = unsafe bytes.count
        isArmed.store(true, ordering: .releasing)
        atexit { TerminalRestoration.restore() }
        // Not Ctrl-C and a polite kill: those end the call in order, and twice go through restore() as well.
        for number in [SIGQUIT, SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE] {
            signal(number) { number in
                TerminalRestoration.restore()
                signal(number, SIG_DFL)
                raise(number)
            }
        }
        signal(SIGTSTP) { _ in
            TerminalRestoration.write()
            raise(SIGSTOP)
            TerminalRestoration.stops.add(1, ordering: .relaxed)
        }
    }

    /// The view has ended in order.
    static func disarm() { isArmed.store(false, ordering: .releasing) }

    /// Writes what restores a terminal, once; may be called by a signal's handler.
    static func restore() {
        if isArmed.exchange(false, ordering: .acquiringAndReleasing) { write() }
    }

    private static func write() { _ = unsafe Glibc.write(STDERR_FILENO, bytes.baseAddress, bytes.count) }
}
