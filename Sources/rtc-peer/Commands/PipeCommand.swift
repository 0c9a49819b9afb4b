import ArgumentParser
import Glibc
import Locking
import PAKE
import PeerConnection
import Signaling
import TerminalUI

/// `rtc-peer pipe`: standard input here is standard output there, and the other way round.
struct PipeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pipe",
        abstract: "Joins standard input and output of two machines, encrypted, from peer to peer.",
        discussion: """
            Without a code it prints one; with that the other machine joins. It ends when both inputs have ended, or \
            when the other side cannot go on. A connection that breaks is made again, and goes on where it was.

            It ends with 0 when both inputs have ended, 130 after Ctrl-C, 64 for a mistake in the arguments, and 1 for \
            anything else.

            Examples:
              rtc-peer pipe < film.mp4                       prints a code
              rtc-peer pipe 4821-amber-otter-lemon > film.mp4
            """
    )

    @Argument(
        help: ArgumentHelp(
            "The code or address that the other machine printed. Example: rtc-peer pipe 4821-amber-otter-lemon",
            valueName: "CODE"
        )
    )
    var code: String?

    @OptionGroup var meeting: MeetingOptions
    @OptionGroup var host: HostOptions
    @OptionGroup var search: SearchOptions

    @Flag(help: "More about what happens, on standard error. Example: rtc-peer pipe --verbose")
    var verbose = false

    func validate() throws { try MeetingPlace.validate(code) }

    func run() async throws {
        OutputOptions.startLogging(isVerbose: verbose)
        signal(SIGPIPE, SIG_IGN)
        // Standard output carries the other side's bytes: words go to standard error.
        let show = TransferOutput(isJSON: false)
        do {
            try await run(show)
        } catch let error as ExitCode {
            throw error
        } catch {
            throw Exit.failure(error, show)
        }
    }

    private func run(_ show: TransferOutput) async throws {
        var place: MeetingPlace?
        let found: (server: String, code: TransferCode)
        if let code {
            found = try await MeetingPlace.find(
                code,
                server: meeting.serverURL,
                patience: search.patience ?? SearchOptions.usual,
                show: show
            )
        } else {
            let made = try await MeetingPlace.open(
                code: TransferCode { Int.random(in: $0) },
                options: meeting,
                listen: host.listen,
                note: show.problem
            )
            place = made
            found = (made.serverURL, made.code)
        }
        let running = try RunningMeeting.start(
            code == nil ? .first : .second,
            code: found.code,
            server: found.server,
            options: meeting,
            patience: search.patience ?? (code == nil ? nil : SearchOptions.usual),
            patienceAgain: search.patience,
            joined: { [place] in
                if let place { show.ready(place, command: "pipe") }
            },
            paired: { _ in show.paired() },
            note: show.problem,
            waits: { show.waits($0) }
        )
        let isInterrupted = Mutex(false)
        let interrupts = Task {
            for await _ in Interrupts.stream() {
                isInterrupted.withLock { $0 = true }
                show.ended("interrupted")
                // What reads or writes may be blocked for as long as it likes.
                await running.end(isForGood: true)
                _exit(130)
            }
        }
        let outcome = await Result { try await pump(running.meeting, show) }
        // What the interrupt broke is no news, and it ends the program.
        if isInterrupted.withLock({ $0 }) { await interrupts.value }
        interrupts.cancel()
        await running.end(isForGood: true)
        await place?.close()
        try outcome.get()
        show.ended("both inputs have ended")
    }

    /// Carries bytes both ways until both inputs have ended, or one of them cannot be read.
    private func pump(_ meeting: TransferMeeting, _ show: TransferOutput) async throws {
        let pipe = BytePipe()
        let (ends, feed) = AsyncThrowingStream<Void, any Error>.makeStream()
        // Neither is waited for at the end: a read may block for as long as it likes.
        let tasks = [
            Task {
                do {
                    while true {
                        let bytes = try await StandardStreams.read(limit: 64 << 10)
                        if bytes.isEmpty { break }
                        await pipe.write(bytes)
                    }
                    pipe.finish()
                } catch {
                    feed.finish(throwing: error)
                }
            },
            Task {
                do {
                    try await carry(pipe, meeting, show)
                    feed.finish()
                } catch {
                    feed.finish(throwing: error)
                }
            },
        ]
        defer {
            for task in tasks { task.cancel() }
            pipe.stop()
        }
        for try await _ in ends {}
    }

    /// Uses one connection after another until the pipe is finished.
    private func carry(_ pipe: BytePipe, _ meeting: TransferMeeting, _ show: TransferOutput) async throws {
        for try await connection in meeting.connections {
            show.connected(await connection.link.connection.getStats())
            try await pipe.run(over: connection.channel) { try await StandardStreams.write($0) }
            if pipe.isFinished { return await connection.channel.closeGracefully() }
            if await meeting.giveUp(connection) {
                show.waits(
                    "If rtc-peer has ended there, end this one too: a pipe cannot be gone on with.",
                    since: "The connection broke; making it again."
                )
            }
        }
    }
}

extension RTCDataChannel {
    /// Closes and waits until the last messages have arrived there, but no longer than the limit.
    func closeGracefully(within limit: Duration = .seconds(3)) async {
        let events = events
        close()
        await withTaskGroup(of: Void.self) { group in
            group.addTask { for await event in events where event == .close { break } }
            group.addTask { try? await Task.sleep(for: limit) }
            await group.next()
            group.cancelAll()
        }
    }
}

extension Result where Failure == any Error {
    /// What an asynchronous operation comes to.
    init(_ body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }
}
