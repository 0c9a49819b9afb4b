import ArgumentParser
import FileTransfer
import Glibc
import PAKE
import PeerConnection
import TerminalUI

/// `rtc-peer send`: files to another machine, by a code.
struct SendCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "send",
        abstract: "Sends files and folders to another machine, encrypted, from peer to peer.",
        discussion: """
            Prints a code; `rtc-peer receive CODE` on the other machine takes them, or a browser that opens the \
            address. Where `rtc-peer receive` waits and has printed a code, --to sends them there. A connection that \
            breaks is made again. After Ctrl-C, or when the program or the machine was stopped, `rtc-peer send \
            --resume CODE` (with --to: the same command) goes on where it was: only what is missing is sent.

            It ends with 0 if all files went through, 2 if some did not, 130 after Ctrl-C, 64 for a mistake in \
            the arguments, and 1 for anything else, as when the other machine does not come within --wait, or takes \
            nothing of what is offered.

            Examples:
              rtc-peer send film.mp4 photos/
              tar c . | rtc-peer send - --name backup.tar
              rtc-peer send --server https://call.example.org film.mp4
              rtc-peer send --to 4821-amber-otter-lemon film.mp4
              rtc-peer send --resume 4821-amber-otter-lemon
            """
    )

    @Argument(
        help: ArgumentHelp(
            "Files and folders; “-” is standard input. Example: rtc-peer send film.mp4 photos/",
            valueName: "FILE"
        )
    )
    var files: [String] = []

    @Option(
        help: ArgumentHelp(
            "What standard input is called there, “stdin” if not said. Example: --name backup.tar",
            valueName: "NAME"
        )
    )
    var name: String?

    @Option(
        help: ArgumentHelp(
            "Go on with a transfer of this machine that was broken off. Example: --resume 4821-amber-otter-lemon",
            valueName: "CODE"
        )
    )
    var resume: String?

    @Option(
        help: ArgumentHelp(
            "The code or address that `rtc-peer receive` printed there. Example: --to 4821-amber-otter-lemon",
            valueName: "CODE"
        )
    )
    var to: String?

    @OptionGroup var meeting: MeetingOptions
    @OptionGroup var host: HostOptions
    @OptionGroup var search: SearchOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        try MeetingPlace.validate(to)
        if resume == nil, files.isEmpty, RTCPeerCommand.asksForMissing {
            throw ValidationError("name a file to send, or --resume CODE")
        }
        if resume != nil, to != nil { throw ValidationError("--to goes on by the same command: leave --resume out") }
        if resume != nil, !files.isEmpty { throw ValidationError("--resume sends what it sent before: name no files") }
        if files.contains("") {
            throw ValidationError("a FILE is empty: name a file or folder; “.” is the current one")
        }
        if to == "" { throw ValidationError("--to is empty: give the code that `rtc-peer receive` printed") }
        if files.contains("-"), files.count > 1 { throw ValidationError("“-” goes alone: name no other files") }
        if let name {
            guard files == ["-"] else {
                throw ValidationError("--name is for standard input, “-”: files keep their names")
            }
            do throws(TransferError) { try FileSender.check(streamName: name) } catch {
                throw ValidationError("--name: \(error.message)")
            }
        }
        if let resume, TransferCode(resume) == nil {
            throw ValidationError("--resume \(resume): give the code that was printed, as 4821-amber-otter-lemon")
        }
    }

    func run() async throws {
        output.startLogging()
        signal(SIGPIPE, SIG_IGN)
        let show = TransferOutput(isJSON: output.json)
        do {
            try await run(show)
        } catch let error as ExitCode {
            throw error
        } catch {
            throw Exit.failure(error, show)
        }
    }

    private func run(_ show: TransferOutput) async throws {
        StateFolder.prune()
        var memory: TransferMemory?
        if let resume, let code = TransferCode(resume) {
            guard let found = TransferMemory.load(.send, code) else {
                throw MeetingError.connection("nothing is known here of \(code); send the files anew")
            }
            memory = found
        }
        let paths = memory?.paths ?? files.filter { $0 != "-" }.map(FileMeeting.absolute)
        // Before anybody is given a code.
        if files != ["-"] { try FileSender.check(paths: paths) }
        let progress = TransferProgress(show, verb: "sending")
        var options = FileSender.Options()
        options.onEvent = { progress.take($0) }
        let sender =
            files == ["-"]
            ? FileSender(streamFrom: STDIN_FILENO, name: name ?? "stdin", options: options)
            : FileSender(paths: paths, options: options)
        let files = FileMeeting(
            work: .sends,
            options: meeting,
            show: show,
            progress: progress,
            patience: search.patience,
            paths: paths.isEmpty ? nil : paths,
            transfer: { channel throws(TransferError) in try await sender.run(over: channel) }
        )
        if let to {
            try await files.join(to)
        } else {
            try await files.open(listen: host.listen, memory: memory)
        }
    }
}
