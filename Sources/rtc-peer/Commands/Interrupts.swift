import ArgumentParser
import Dispatch
import Glibc
import TerminalUI

/// Ctrl-C and a polite kill.
enum Interrupts {
    /// Gives an element for each SIGINT, SIGTERM or SIGHUP; the second ends the process at once.
    static func stream() -> AsyncStream<CInt> {
        AsyncStream { continuation in
            let sources = [SIGINT, SIGTERM, SIGHUP].map { number in
                signal(number, SIG_IGN)
                let source = DispatchSource.makeSignalSource(signal: number)
                source.setEventHandler {
                    if case .terminated = continuation.yield(number) { exit(128 + number) }
                }
                source.activate()
                return source
            }
            continuation.onTermination = { _ in _ = sources }
        }
    }
}

/// How the program ends when something cannot be done.
enum Exit {
    /// Writes the message for people, or as an event, and gives the error that ends the program with status 1.
    static func failure(_ message: String, json: Bool) -> ExitCode {
        if json {
            var line = JSONLine(event: "error")
            line["message"] = .string(message)
            Terminal.standardOutput.write(line.text)
        } else {
            Terminal.standardError.write("rtc-peer: \(message)\n")
        }
        return ExitCode.failure
    }
}
