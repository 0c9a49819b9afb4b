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
        abstract: "Takes the files and folders that `rtc-peer send` offers on another machine.",
        discussion: """
            What has arrived is checked and safely on disk before it gets its name; until then it is NAME.part. A \
            connection that breaks is made again. After Ctrl-C, or when the program or the machine was stopped, the \
            same command goes on where it was.

            It ends with 0 if all files went through, 2 if some did not, 130 after Ctrl-C, and 1 for anything else.

            Examples:
              rtc-peer receive 4821-amber-otter-lemon
              rtc-peer receive --into ~/Downloads http://192.168.1.20:36475/4821#amber-otter-lemon
              rtc-peer receive --output - 4821-amber-otter-lemon | tar x
            """
    )

    @Argument(
        help: ArgumentHelp(
            "The code or address that the sender printed. Example: rtc-peer receive 4821-amber-otter-lemon",
            valueName: "CODE"
        )
    )
    var code: String

    @Option(
        help: ArgumentHelp("The folder to put files in, made if missing. Example: --into ~/Downloads", valueName: "DIR")
    )
    var into = "."

    @Option(
        help: ArgumentHelp(
            "“-”: write the one file that comes to standard output. Example: --output - | tar x",
            valueName: "-"
        )
    )
    var output: String?

    @Flag(help: "Replace files that are there already. Example: --overwrite")
    var overwrite = false

    @Flag(help: "Give files whose name is taken a number, as “report (1).pdf”. Example: --rename")
    var rename = false

    @OptionGroup var meeting: MeetingOptions
    @OptionGroup var search: SearchOptions
    @OptionGroup var shown: OutputOptions

    func validate() throws {
        if overwrite, rename { throw ValidationError("choose one of --overwrite and --rename") }
        if let output, output != "-" { throw ValidationError("--output takes “-” only; --into names a folder") }
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
            throw Exit.failure("\(error)", json: shown.json)
        }
    }

    private func run(_ show: TransferOutput) async throws {
        let (server, code) = try await MeetingPlace.find(
            code,
            server: meeting.serverURL,
            known: { TransferMemory.load(.receiver, $0)?.server },
            patience: search.patience,
            show: show
        )
        let memory = TransferMemory.load(.receiver, code)
        let progress = TransferProgress(show, verb: "receiving")
        let receiver = try makeReceiver(progress)
        var options = meeting
        options.serverFingerprint =
            meeting.serverFingerprint ?? (memory?.server == server ? memory?.serverFingerprint : nil)
        let fingerprint = options.serverFingerprint
        let isStream = output != nil
        let running = try RunningMeeting.start(
            .receiver,
            code: code,
            resumption: memory?.resumption,
            server: server,
            options: options,
            paired: { resumption in
                show.paired()
                guard !isStream else { return }
                TransferMemory(
                    side: .receiver,
                    code: code,
                    resumption: resumption,
                    server: server,
                    serverFingerprint: fingerprint
                ).save()
            },
            note: show.problem
        )
        let outcome = await Result {
            try await TransferRun.run(running.meeting, show: show, progress: progress) {
                channel throws(TransferError) in
                try await receiver.run(over: channel)
            }
        }
        await running.end()
        switch try outcome.get() {
        case .finished(let summary):
            TransferMemory.forget(.receiver, code)
            progress.summarise(summary)
            show.ended(summary, verb: "received")
            if !summary.failures.isEmpty { throw ExitCode(TransferExit.partial) }
        case .interrupted:
            let isKept = TransferMemory.load(.receiver, code) != nil
            show.ended("interrupted" + (isKept ? "; to go on: the same command again" : ""))
            throw ExitCode(TransferExit.interrupted)
        }
    }

    private func makeReceiver(_ progress: TransferProgress) throws -> FileReceiver {
        var options = FileReceiver.Options()
        options.existing = overwrite ? .overwrite : rename ? .rename : .refuse
        options.onEvent = { progress.take($0) }
        if output != nil { return FileReceiver(streamTo: STDOUT_FILENO, options: options) }
        // With the slash a file of that name is refused as well.
        guard unsafe mkdir(into, 0o755) == 0 || errno == EEXIST && access(into + "/", W_OK | X_OK) == 0 else {
            throw MediaError(.notUsable, into, "cannot be used as a folder: \(unsafe String(cString: strerror(errno)))")
        }
        return FileReceiver(target: into, options: options)
    }
}
