import ArgumentParser
import FileTransfer
import Glibc
import Locking
import TerminalUI

/// Ctrl-C and a polite kill.
enum Interrupts {
    /// Signals that came; written by a handler, which may do no more than this.
    private static let count = Atomic<Int>(0)

    /// Gives an element at the first SIGINT, SIGTERM or SIGHUP; the second ends the process at once.
    static func stream() -> AsyncStream<Void> {
        for number in [SIGINT, SIGTERM, SIGHUP] {
            signal(number) { number in
                if Interrupts.count.add(1, ordering: .relaxed).oldValue > 0 {
                    TerminalRestoration.restore()
                    _exit(128 + number)
                }
            }
        }
        return AsyncStream { continuation in
            let task = Task {
                while !Task.isCancelled {
                    if count.load(ordering: .relaxed) > 0 {
                        continuation.yield()
                        break
                    }
                    try? await Task.sleep(for: .milliseconds(50))
                }
                continuation.finish()
            }
            continuation.onTermination = { _ in task.cancel() }
        }
    }
}

/// How the program ends when something cannot be done.
enum Exit {
    /// Says why a transfer came to nothing, and gives the error that ends the program with status 1.
    ///
    /// In JSON the event `error`, with the code if there is one, then `ended`, which is always the last.
    static func failure(_ error: any Error, _ show: TransferOutput) -> ExitCode {
        let transfer = error as? TransferError
        let message = transfer?.message ?? "\(error)"
        // Where nobody gets the events, people do.
        guard show.isJSON, !(error is OutputError) else { return failure(message, json: false) }
        var members: [(String, JSONLine.Value)] = [("message", .string(message))]
        if let transfer { members.insert(("code", .string(transfer.code.rawValue)), at: 0) }
        show.emit("error", members)
        show.ended(message)
        return ExitCode.failure
    }

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
