import Foundation
import XPainter

/// An X server of a test's own, without a monitor (Xvfb), and a client that draws on it.
package final class VirtualScreen {
    /// Its name, as `:5`, free at the time.
    package let display: String
    private let number: Int
    private let server = Process()
    /// Nil once the server was ended.
    private var painter: OpaquePointer?

    /// Whether Xvfb is there.
    package static var isInstalled: Bool { FileManager.default.isExecutableFile(atPath: program) }
    /// Why tests are left out, and what to do.
    package static let absence: String = "Xvfb is not installed: scripts/install-dependencies --test"

    package struct NotStarted: Error {
        package let words: String
    }

    /// Starts a server and waits until it answers.
    package init(_ geometry: String = "320x240x24", _ options: String..., access: [String] = ["-ac"]) throws {
        let output = Pipe()
        server.executableURL = URL(fileURLWithPath: Self.program)
        // A number of its own: two servers that look for a free one at the same time may both take it. It writes it when it
        // listens. It stays as it is when its last client goes.
        number = Self.freeNumber()
        server.arguments = [":\(number)", "-displayfd", "1", "-noreset", "-screen", "0", geometry] + access + options
        server.standardOutput = output
        server.standardError = FileHandle.nullDevice
        try server.run()
        var text = ""
        while !text.hasSuffix("\n") {
            let bytes = output.fileHandleForReading.availableData
            guard !bytes.isEmpty else { throw NotStarted(words: "Xvfb ended with \(text)") }
            text += String(decoding: bytes, as: UTF8.self)
        }
        display = ":\(number)"
        painter = xpainter_open(display)
    }

    deinit { end() }

    /// The server's process.
    package var processIdentifier: Int32 { server.processIdentifier }

    /// Ends the server, as a crash does.
    package func end() {
        if let painter { xpainter_close(painter) }
        painter = nil
        if server.isRunning { kill(server.processIdentifier, SIGKILL) }
        server.waitUntilExit()
        for path in Self.traces(of: number) { try? FileManager.default.removeItem(atPath: path) }
    }

    private static func traces(of number: Int) -> [String] { ["/tmp/.X\(number)-lock", "/tmp/.X11-unix/X\(number)"] }

    private static func freeNumber() -> Int {
        while true {
            // Its TCP port is 6000 more.
            let number = Int.random(in: 1_000..<50_000)
            if !traces(of: number).contains(where: { FileManager.default.fileExists(atPath: $0) }) { return number }
        }
    }

    /// Stops the server, which answers nothing then; or lets it go on.
    package func freeze(_ isFrozen: Bool) { kill(server.processIdentifier, isFrozen ? SIGSTOP : SIGCONT) }

    /// Colours the background, `0xRRGGBB`.
    package func fill(_ colour: UInt32) { if let painter { xpainter_fill_root(painter, colour) } }

    /// Draws a rectangle on the screen, or in a window.
    package func fill(_ x: Int, _ y: Int, _ width: Int, _ height: Int, _ colour: UInt32, in window: UInt32 = 0) {
        if let painter { xpainter_fill(painter, window, CInt(x), CInt(y), CInt(width), CInt(height), colour) }
    }

    /// Opens a window above all others.
    package func window(
        _ x: Int,
        _ y: Int,
        _ width: Int,
        _ height: Int,
        _ colour: UInt32,
        border: Int = 0,
        title: String = ""
    ) -> UInt32 {
        guard let painter else { return 0 }
        return xpainter_window(painter, CInt(x), CInt(y), CInt(width), CInt(height), CInt(border), colour, title)
    }

    /// Moves a window, and changes its size.
    package func place(_ window: UInt32, _ x: Int, _ y: Int, _ width: Int, _ height: Int) {
        if let painter { xpainter_place(painter, window, CInt(x), CInt(y), CInt(width), CInt(height)) }
    }

    /// Puts a window into another one, as window managers do with their frames.
    package func frame(_ window: UInt32, in frame: UInt32, _ x: Int, _ y: Int) {
        if let painter { xpainter_frame(painter, window, frame, CInt(x), CInt(y)) }
    }

    /// Shows a window again.
    package func map(_ window: UInt32) { if let painter { xpainter_map(painter, window) } }
    /// Hides a window, as minimising it does.
    package func unmap(_ window: UInt32) { if let painter { xpainter_unmap(painter, window) } }
    /// Closes a window.
    package func close(_ window: UInt32) { if let painter { xpainter_destroy(painter, window) } }
    /// Moves the pointer.
    package func point(_ x: Int, _ y: Int) { if let painter { xpainter_point(painter, CInt(x), CInt(y)) } }
    /// Makes the pointer a square of 16 pixels.
    package func setCursor(_ colour: UInt32) { if let painter { xpainter_cursor(painter, colour) } }

    /// Runs `xrandr`, which changes monitors and modes.
    package func xrandr(_ arguments: String...) throws {
        let tool = Process()
        tool.executableURL = URL(fileURLWithPath: "/usr/bin/xrandr")
        tool.arguments = ["-display", display] + arguments
        try tool.run()
        tool.waitUntilExit()
        guard tool.terminationStatus == 0 else { throw NotStarted(words: "xrandr \(arguments) failed") }
    }

    private static let program = "/usr/bin/Xvfb"
}
