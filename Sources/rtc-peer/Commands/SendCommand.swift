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
            Prints a code; `rtc-peer receive CODE` on the other machine takes them. A connection that breaks is made \
            again. After Ctrl-C, or when the program or the machine was stopped, `rtc-peer send --resume CODE` goes on \
            where it was: only what is missing is sent.

            It ends with 0 if all files went through, 2 if some did not, 130 after Ctrl-C, and 1 for anything else.

            Examples:
              rtc-peer send film.mp4 photos/
              tar c . | rtc-peer send - --name backup.tar
              rtc-peer send --server https://call.example.org film.mp4
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

    @Option(help: ArgumentHelp("What standard input is called there. Example: --name backup.tar", valueName: "NAME"))
    var name = "stdin"

    @Option(
        help: ArgumentHelp(
            "Go on with a transfer of this machine that was broken off. Example: --resume 4821-amber-otter-lemon",
            valueName: "CODE"
        )
    )
    var resume: String?

    @OptionGroup var meeting: MeetingOptions
    @OptionGroup var host: HostOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if resume == nil, files.isEmpty { throw ValidationError("name a file to send, or --resume CODE") }
        if resume != nil, !files.isEmpty { throw ValidationError("--resume sends what it sent before: name no files") }
        if files.contains("-"), files.count > 1 { throw ValidationError("“-” goes alone: name no other files") }
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
            throw Exit.failure("\(error)", json: output.json)
        }
    }

    /// Codes that may be tried in vain, the last of which ends the program.
    private static let codeLimit = 5

    private func run(_ show: TransferOutput) async throws {
        var memory: TransferMemory?
        if let resume, let code = TransferCode(resume) {
            guard let found = TransferMemory.load(.sender, code) else {
                throw MeetingError.connection("nothing is known here of \(code); send the files anew")
            }
            memory = found
        }
        let paths = try memory?.paths ?? files.filter { $0 != "-" }.map(absolute)
        // Before anybody is given a code.
        for path in paths {
            guard unsafe access(path, R_OK) != 0 else { continue }
            throw MediaError(.notUsable, path, "cannot be read: \(unsafe String(cString: strerror(errno)))")
        }
        let progress = TransferProgress(show, verb: "sending")
        var options = FileSender.Options()
        options.onEvent = { progress.take($0) }
        let sender =
            files == ["-"]
            ? FileSender(streamFrom: STDIN_FILENO, name: name, options: options)
            : FileSender(paths: paths, options: options)
        // A mistyped code costs a new one; somebody who goes on guessing gets no more tries.
        for _ in 1..<Self.codeLimit {
            do {
                return try await send(sender, paths: paths, memory: memory, show: show, progress: progress)
            } catch MeetingError.codeWasGuessed {
                show.problem("Somebody tried a wrong code, or went away: that code is void. Here is a new one.")
            }
        }
        try await send(sender, paths: paths, memory: memory, show: show, progress: progress)
    }

    private func send(
        _ sender: FileSender,
        paths: [String],
        memory: TransferMemory?,
        show: TransferOutput,
        progress: TransferProgress
    ) async throws {
        let code = memory?.code ?? TransferCode { Int.random(in: $0) }
        var meetingOptions = meeting
        meetingOptions.serverURL = meeting.serverURL ?? memory?.server
        meetingOptions.serverFingerprint = meeting.serverFingerprint ?? memory?.serverFingerprint
        var address = host.listen
        // Where the receiver, if it still runs, looks for us.
        if address.port == 0, let port = memory?.port { address.port = port }
        let place = try await MeetingPlace.open(
            code: code,
            options: meetingOptions,
            listen: address,
            note: show.problem
        )
        show.ready(place, command: "receive")
        show.drawAddress(place)
        let server = meetingOptions.serverURL
        let fingerprint = meetingOptions.serverFingerprint
        let isStream = paths.isEmpty
        let running = try RunningMeeting.start(
            .sender,
            code: code,
            resumption: memory?.resumption,
            server: place.serverURL,
            options: meetingOptions,
            paired: { resumption in
                show.paired()
                guard !isStream else { return }
                TransferMemory(
                    side: .sender,
                    code: code,
                    resumption: resumption,
                    server: server,
                    serverFingerprint: fingerprint,
                    port: place.port,
                    paths: paths
                ).save()
            },
            note: show.problem
        )
        let outcome = await Result {
            try await TransferRun.run(running.meeting, show: show, progress: progress) {
                channel throws(TransferError) in
                try await sender.run(over: channel)
            }
        }
        await running.end()
        await place.close()
        switch try outcome.get() {
        case .finished(let summary):
            TransferMemory.forget(.sender, code)
            progress.summarise(summary)
            show.ended(summary, verb: "sent")
            if !summary.failures.isEmpty { throw ExitCode(TransferExit.partial) }
        case .interrupted:
            let isKept = TransferMemory.load(.sender, code) != nil
            show.ended("interrupted" + (isKept ? "; to go on: rtc-peer send --resume \(code)" : ""))
            throw ExitCode(TransferExit.interrupted)
        }
    }

    private func absolute(_ path: String) throws -> String {
        if path.hasPrefix("/") { return path }
        guard let directory = unsafe getcwd(nil, 0) else { return path }
        defer { unsafe free(directory) }
        return unsafe String(cString: directory) + "/" + path
    }
}
