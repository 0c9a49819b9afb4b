import ArgumentParser
import Glibc
import PAKE
import PeerConnection
import TerminalUI

/// `rtc-peer forward`: TCP ports of one machine's network, reached from another.
struct ForwardCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "forward",
        abstract: "Reaches TCP services of another machine's network, encrypted, from peer to peer.",
        discussion: """
            The machine at the services allows them by --allow and prints a code; nothing else can be reached through \
            it. The other machine names the code, and what shall listen on it. It goes on until Ctrl-C on either \
            machine; a connection that breaks is made again, but what was under way through it ends.

            It ends with 0 after Ctrl-C on either machine, 64 for a mistake in the arguments, and 1 for anything else.

            Examples:
              rtc-peer forward --allow localhost:80 --allow 192.168.1.9:22    prints a code
              rtc-peer forward 4821-amber-otter-lemon 8080:localhost:80 2222:192.168.1.9:22
            """
    )

    @Argument(
        help: ArgumentHelp(
            "The code or address that the other machine printed. Example: rtc-peer forward 4821-amber-otter-lemon 8080:localhost:80",
            valueName: "CODE"
        )
    )
    var code: String?

    @Argument(
        help: ArgumentHelp(
            "What listens here, on 127.0.0.1 or HOST, and where it leads there. Example: 8080:localhost:80",
            valueName: "[HOST:]PORT:TARGET:PORT"
        )
    )
    var rules: [String] = []

    @Option(
        help: ArgumentHelp(
            "A service that the other machine may use. May be repeated. Example: --allow localhost:80",
            valueName: "HOST:PORT"
        )
    )
    var allow: [String] = []

    @OptionGroup var meeting: MeetingOptions
    @OptionGroup var host: HostOptions
    @OptionGroup var search: SearchOptions

    @Flag(help: "More about what happens, on standard error. Example: rtc-peer forward --verbose")
    var verbose = false

    /// The first and only message of both sides: who expects files or a pipe knows better by it.
    private static let hello = #"{"type":"hello","protocol":1,"role":"forward"}"#

    func validate() throws {
        try MeetingPlace.validate(code)
        for target in allow where ForwardTarget(target) == nil {
            throw ValidationError("--allow \(target): expected HOST:PORT, as localhost:80")
        }
        for rule in rules where ForwardRule(rule) == nil {
            throw ValidationError("\(rule): expected [HOST:]PORT:TARGET:PORT, as 8080:localhost:80")
        }
        if code == nil, allow.isEmpty, RTCPeerCommand.asksForMissing {
            throw ValidationError("allow a service by --allow HOST:PORT, or name the code of a machine that does")
        }
        if code != nil, rules.isEmpty, RTCPeerCommand.asksForMissing {
            throw ValidationError("say what shall listen here, as 8080:localhost:80")
        }
        if code != nil, !allow.isEmpty { throw ValidationError("--allow is for the machine that prints the code") }
    }

    func run() async throws {
        OutputOptions.startLogging(isVerbose: verbose)
        signal(SIGPIPE, SIG_IGN)
        let show = TransferOutput(isJSON: false)
        do {
            if let code { try await reach(code, show) } else { try await offer(show) }
            show.ended("interrupted")
        } catch let error as ExitCode {
            throw error
        } catch MeetingError.ended {
            show.ended("the other side has ended")
        } catch {
            throw Exit.failure(error, show)
        }
    }

    /// The side of the services.
    private func offer(_ show: TransferOutput) async throws {
        let allowed = Set(allow.compactMap { ForwardTarget($0) })
        let place = try await MeetingPlace.open(
            code: TransferCode { Int.random(in: $0) },
            options: meeting,
            listen: host.listen,
            note: show.problem
        )
        let connections = ForwardedConnections.asManyAsPossible()
        let refusals = RareLines(show.problem)
        let example = " 8080:\(allow.first ?? "localhost:80")"
        let running = try RunningMeeting.start(
            .first,
            code: place.code,
            server: place.serverURL,
            options: meeting,
            patience: search.patience,
            patienceAgain: search.patience,
            joined: { show.ready(place, command: "forward", example: example) },
            paired: { _ in show.paired() },
            note: show.problem,
            waits: { show.waits($0) },
            channel: { channel in
                guard connections.enter() else {
                    refusals.say("More than \(connections.limit) connections at once: one was refused.")
                    Task { await PortForwarding.refuse(channel, "there are \(connections.limit) connections already") }
                    return
                }
                Task {
                    defer { connections.leave() }
                    if let words = PortForwarding.refusal(of: channel, allowed: allowed) {
                        refusals.say("A connection was refused: \(words.prefix(300)).")
                        return await PortForwarding.refuse(channel, words)
                    }
                    guard let target = ForwardTarget(channel.label) else { return channel.close() }
                    await PortForwarding.serve(channel, target: target)
                }
            }
        )
        let outcome = await Result { try await keepConnected(running.meeting, show) { _ in } }
        await running.end(isForGood: true)
        await place.close()
        try outcome.get()
    }

    /// The side that listens.
    private func reach(_ code: String, _ show: TransferOutput) async throws {
        // Before the code is used up.
        let refusals = RareLines(show.problem)
        let connections = ForwardedConnections.asManyAsPossible()
        let listeners = try await PortForwarding.listen(
            rules.compactMap { ForwardRule($0) },
            connections: connections
        ) {
            refusals.say("More than \(connections.limit) connections at once: one was closed.")
        }
        let running: RunningMeeting
        do {
            let (server, code) = try await MeetingPlace.find(
                code,
                server: meeting.serverURL,
                patience: search.patience ?? SearchOptions.usual,
                show: show
            )
            running = try RunningMeeting.start(
                .second,
                code: code,
                server: server,
                options: meeting,
                patience: search.patience ?? SearchOptions.usual,
                patienceAgain: search.patience,
                paired: { _ in show.paired() },
                note: show.problem,
                waits: { show.waits($0) }
            )
        } catch {
            for listener in listeners { await listener.close() }
            throw error
        }
        let current = CurrentConnection()
        let outcome = await Result {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await keepConnected(running.meeting, show) { current.set($0) } }
                for listener in listeners {
                    let rule = listener.rule
                    group.addTask {
                        show.say("\(rule.listenHost):\(listener.port) leads to \(rule.target)")
                        try await PortForwarding.run(listener) { tcp in
                            guard let connection = current.value,
                                let channel = try? connection.createDataChannel(
                                    rule.target.description,
                                    options: .forwarding
                                )
                            else {
                                refusals.say("Somebody connected while the other machine was away.")
                                return await PortForwarding.close(tcp)
                            }
                            await PortForwarding.join(tcp, channel) { words in
                                refusals.say(words)
                            }
                        }
                    }
                }
                // The first that ends, ends all: Ctrl-C, or a port that cannot be used.
                defer { group.cancelAll() }
                try await group.next()
            }
        }
        await running.end(isForGood: true)
        try outcome.get()
    }

    /// Tells each connection, and makes a new one whenever one ends, until Ctrl-C.
    private func keepConnected(
        _ meeting: TransferMeeting,
        _ show: TransferOutput,
        connected: @escaping @Sendable (RTCPeerConnection?) -> Void
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for try await connection in meeting.connections {
                    show.connected(await connection.link.connection.getStats())
                    connected(connection.link.connection)
                    try? connection.channel.send(Self.hello)
                    for await message in connection.channel.messages where message != .text(Self.hello) {
                        throw MeetingError.connection("the code is of another command than rtc-peer forward")
                    }
                    connected(nil)
                    if Task.isCancelled { return }
                    if await meeting.giveUp(connection) {
                        show.waits(
                            "If rtc-peer has ended there, start both anew.",
                            since: "The connection broke; making it again."
                        )
                    }
                }
            }
            group.addTask { for await _ in Interrupts.stream() { return } }
            defer { group.cancelAll() }
            try await group.next()
        }
    }
}

extension RTCDataChannelInit {
    /// A channel for one TCP connection.
    static var forwarding: RTCDataChannelInit {
        var options = RTCDataChannelInit()
        options.protocol = PortForwarding.channelProtocol
        return options
    }
}
