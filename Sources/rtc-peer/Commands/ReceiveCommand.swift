import ArgumentParser
import FileTransfer
import Glibc
import PAKE
import PeerConnection
import TerminalUI

/// `rtc-peer receive`: takes what another machine sends, by its code.
struct ReceiveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "receive",
        abstract: "Takes files and folders from another machine, encrypted, from peer to peer.",
        discussion: """
            With the code that `rtc-peer send` has printed it takes what is offered there. Without one it prints a code \
            and waits: a browser that opens the address is a page that sends files here, as does `rtc-peer send --to \
            CODE`. What has arrived is checked and safely on disk before it gets its name; until then it is NAME.part. A \
            connection that breaks is made again. After Ctrl-C, or when the program or the machine was stopped, the \
            same command goes on where it was; without a code it is `rtc-peer receive --resume CODE`.

            It ends with 0 if all files went through, 2 if some did not, 130 after Ctrl-C, 64 for a mistake in \
            the arguments, and 1 for anything else, as when the other machine does not come within --wait, or there \
            is no room for what is offered.

            Examples:
              rtc-peer receive 4821-amber-otter-lemon
              rtc-peer receive --into ~/Downloads                 prints a code
              rtc-peer receive --into ~/Downloads http://192.168.1.20:36475/4821#amber-otter-lemon
              rtc-peer receive --output - 4821-amber-otter-lemon | tar x
            """
    )

    @Argument(
        help: ArgumentHelp(
            "The code or address that the sender printed; none: print one here. Example: rtc-peer receive 4821-amber-otter-lemon",
            valueName: "CODE"
        )
    )
    var code: String?

    @Option(
        help: ArgumentHelp(
            "The folder to put files in, made if missing; without it the current one. Example: --into ~/Downloads",
            valueName: "DIR"
        )
    )
    var into: String?

    @Option(
        help: ArgumentHelp(
            "“-”: write the one file that comes to standard output. Example: --output - | tar x",
            valueName: "-"
        )
    )
    var output: String?

    @Flag(help: "Replace files that are there already; remembered for going on. Example: --overwrite")
    var overwrite = false

    @Flag(
        help:
            "Give files and folders whose name is taken a number, as “report (1).pdf”; remembered for going on. Example: --rename"
    )
    var rename = false

    @Option(
        help: ArgumentHelp(
            "Go on with what this machine printed a code for and was broken off. Example: --resume 4821-amber-otter-lemon",
            valueName: "CODE"
        )
    )
    var resume: String?

    @OptionGroup var meeting: MeetingOptions
    @OptionGroup var host: HostOptions
    @OptionGroup var search: SearchOptions
    @OptionGroup var shown: OutputOptions

    func validate() throws {
        try MeetingPlace.validate(code)
        if code == "" { throw ValidationError("the CODE is empty: give the one that `rtc-peer send` printed, or none") }
        if into == "" { throw ValidationError("--into is empty: name a folder; without it the current one is used") }
        if code != nil, resume != nil {
            throw ValidationError("a code that another machine printed goes on by the same command: leave --resume out")
        }
        if let resume, TransferCode(resume) == nil {
            throw ValidationError("--resume \(resume): give the code that was printed, as 4821-amber-otter-lemon")
        }
        if overwrite, rename { throw ValidationError("choose one of --overwrite and --rename") }
        if let output, output != "-" { throw ValidationError("--output takes “-” only; --into names a folder") }
        if output != nil, into != nil || overwrite || rename || resume != nil {
            throw ValidationError("--output - writes no file: leave --into, --overwrite, --rename and --resume out")
        }
        if output != nil, shown.json { throw ValidationError("--output - and --json both want standard output") }
    }

    func run() async throws {
        shown.startLogging()
        signal(SIGPIPE, SIG_IGN)
        let show = TransferOutput(isJSON: shown.json)
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
            guard let found = TransferMemory.load(.receiveHere, code) else {
                throw MeetingError.connection("nothing is known here of \(code); receive without --resume")
            }
            memory = found
        }
        if let text = code, let code = try? MeetingPlace.read(text, server: nil).code {
            memory = TransferMemory.load(.receive, code)
        }
        let existing = existing(after: memory)
        let progress = TransferProgress(show, verb: "receiving")
        let folder = into ?? memory?.paths.first ?? "."
        let receiver = try makeReceiver(folder, progress, existing)
        let files = FileMeeting(
            work: .receives,
            options: meeting,
            show: show,
            progress: progress,
            patience: search.patience,
            paths: output == nil ? [FileMeeting.absolute(folder)] : nil,
            existing: existing,
            transfer: { channel throws(TransferError) in try await receiver.run(over: channel) }
        )
        if let code {
            try await files.join(code)
        } else {
            try await files.open(listen: host.listen, memory: memory)
        }
    }

    /// What happens to files whose names are taken: as is said now, or was when the transfer began.
    func existing(after memory: TransferMemory?) -> FileReceiver.Existing {
        overwrite ? .overwrite : rename ? .rename : memory?.existing ?? .refuse
    }

    private func makeReceiver(
        _ into: String,
        _ progress: TransferProgress,
        _ existing: FileReceiver.Existing
    ) throws -> FileReceiver {
        var options = FileReceiver.Options()
        options.existing = existing
        options.onEvent = { progress.take($0) }
        if output != nil { return FileReceiver(streamTo: STDOUT_FILENO, options: options) }
        // With the slash a file of that name is refused as well.
        guard unsafe mkdir(into, 0o755) == 0 || errno == EEXIST && access(into + "/", W_OK | X_OK) == 0 else {
            throw MediaError(.notUsable, into, "cannot be used as a folder: \(unsafe String(cString: strerror(errno)))")
        }
        return FileReceiver(target: into, options: options)
    }
}
