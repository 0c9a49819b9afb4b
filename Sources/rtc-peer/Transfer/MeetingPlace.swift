import ArgumentParser
import Glibc
import PAKE
import PeerConnection
import Signaling
import TerminalUI

/// Where the two of a transfer meet, and by which code.
struct MeetingPlace: Sendable {
    let code: TransferCode
    /// The signalling server, for this machine.
    let serverURL: String
    /// What a browser opens, and what the other `rtc-peer` takes in place of the code.
    let url: String
    /// Where our own server listens.
    var port: Int? { endpoint?.port }
    private let endpoint: SignalingServer.Endpoint?
    private let ownServer: SignalingServer?
    private let responder: LocalDiscovery.Responder?

    /// Opens a place: on a server of our own, which the local network can find by the code, or on another one.
    ///
    /// - Parameters:
    ///   - code: the code; it names the room.
    ///   - options: which server, and so on.
    ///   - listen: where our own server listens.
    ///   - note: words for a person.
    /// - Returns: the place.
    /// - Throws: the server's error if it does not start.
    static func open(
        code: TransferCode,
        options: MeetingOptions,
        listen: ListenAddress,
        note: (String) -> Void
    ) async throws -> MeetingPlace {
        if let server = options.serverURL {
            return MeetingPlace(
                code: code,
                serverURL: server,
                url: url(server: server, code),
                endpoint: nil,
                ownServer: nil,
                responder: nil
            )
        }
        var configuration = SignalingServerConfiguration()
        configuration.host = listen.host
        configuration.port = listen.port
        configuration.iceServers = options.ice.servers.map { SignalingICEServer($0) }
        let server = SignalingServer(configuration: configuration)
        let endpoint = try await server.start()
        var responder: LocalDiscovery.Responder?
        do {
            responder = try await LocalDiscovery.Responder.start(
                room: code.room,
                serverPort: endpoint.port,
                isSecure: endpoint.isSecure
            )
        } catch {
            note("Nobody on this network will find this machine by the code alone (\(error)): give them the address.")
        }
        return MeetingPlace(
            code: code,
            serverURL: endpoint.url,
            url: url(server: endpoint.networkURLs.first ?? endpoint.url, code),
            endpoint: endpoint,
            ownServer: server,
            responder: responder
        )
    }

    func close() async {
        await responder?.stop()
        await ownServer?.stop()
    }

    /// The address that has the code in it; its secret part is never sent to the server.
    private static func url(server: String, _ code: TransferCode) -> String {
        "\(server.hasSuffix("/") ? server : server + "/")\(code.room)#\(code.words)"
    }

    /// Where the place is that a person names; looks for it on the local network if need be.
    ///
    /// - Parameters:
    ///   - text: a code or an address.
    ///   - server: the server given besides, if any.
    ///   - known: where it was before; the first's own may have moved.
    ///   - patience: how long to look.
    ///   - show: where that is told.
    /// - Returns: the server's address, and the code.
    /// - Throws: words for what cannot be read or found.
    static func find(
        _ text: String,
        server: String?,
        known: String? = nil,
        patience: Duration,
        show: TransferOutput
    ) async throws -> (server: String, code: TransferCode) {
        let (code, named) = try read(text, server: server)
        if let named { return (named, code) }
        show.say("Looking for \(code.room) on this network…")
        let patience = known == nil ? patience : min(patience, .seconds(3))
        let search = Task { await LocalDiscovery.find(room: code.room, patience: patience) }
        let interrupts = Task {
            for await _ in Interrupts.stream() {
                search.cancel()
                return true
            }
            return false
        }
        let found = await search.value
        interrupts.cancel()
        if await interrupts.value {
            show.ended("interrupted")
            throw ExitCode(TransferExit.interrupted)
        }
        if let found = found ?? known { return (found, code) }
        throw MeetingError.connection(
            "nobody with the number \(code.room) is on this network; give the printed address instead of the code, or --server"
        )
    }

    /// Refuses what is neither a code nor an address, as a mistake in the arguments; an empty one has words of its own.
    static func validate(_ text: String?) throws {
        guard let text, !text.isEmpty else { return }
        do { _ = try read(text, server: nil) } catch { throw ValidationError("\(error)") }
    }

    /// The place that a person names by a code or an address.
    ///
    /// - Parameters:
    ///   - text: `4821-amber-otter-lemon`, or `http://192.168.1.20:40001/4821#amber-otter-lemon`.
    ///   - server: the server given besides, if any.
    /// - Returns: the code, and the server if it is known.
    /// - Throws: words for what cannot be read.
    static func read(_ text: String, server: String?) throws -> (code: TransferCode, server: String?) {
        if let code = TransferCode(text) { return (code, server) }
        let parts = text.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let slash = parts[0].lastIndex(of: "/"), text.contains("://"),
            let code = TransferCode("\(parts[0][parts[0].index(after: slash)...])-\(parts[1])")
        else {
            throw MeetingError.connection(
                "“\(TerminalText.printable(String(text.prefix(80))))” is neither a code, as 4821-amber-otter-lemon, nor the address that was printed with it"
            )
        }
        return (code, server ?? String(parts[0][..<slash]))
    }
}

/// A meeting that runs in a task of its own until `end()`.
struct RunningMeeting: Sendable {
    let meeting: TransferMeeting
    private let task: Task<Void, Never>

    /// Joins the room and begins; `joined` comes before all else, once it is certain that the server can be used.
    static func start(
        _ side: TransferMeeting.Side,
        code: TransferCode,
        resumption: [UInt8]? = nil,
        server: String,
        options: MeetingOptions,
        patience: Duration?,
        patienceAgain: Duration?,
        joined: @escaping @Sendable () throws -> Void = {},
        paired: @escaping @Sendable ([UInt8]) -> Void,
        note: @escaping @Sendable (String) -> Void,
        waits: @escaping @Sendable (String) -> Void,
        channel: (@Sendable (RTCDataChannel) -> Void)? = nil
    ) throws -> RunningMeeting {
        let client = try SignalingClient(
            url: server,
            room: code.room,
            name: side == .first ? "first" : "second",
            certificateFingerprint: options.serverFingerprint,
            waitsForPlace: true
        )
        let meeting = try TransferMeeting(
            options: .init(
                side: side,
                // It was used: a program that is started again gives nobody another guess.
                code: resumption == nil ? code.words : nil,
                resumption: resumption,
                configuration: options.path.configuration(with: options.ice),
                patience: patience,
                patienceAgain: patienceAgain,
                serverIsAnothers: options.serverURL != nil,
                joined: joined,
                paired: paired,
                note: note,
                waits: waits,
                channel: channel
            ),
            client: client
        )
        return RunningMeeting(meeting: meeting, task: Task { await meeting.run() })
    }

    /// Leaves.
    ///
    /// - Parameters:
    ///   - isForGood: whether the other side is told that there is nothing to wait for.
    ///   - isDone: whether it knows that all is done.
    func end(isForGood: Bool, isDone: Bool = false) async {
        if isForGood {
            await meeting.sayFarewell()
            // So that it is known before the connection is seen to end.
            if !isDone { try? await Task.sleep(for: .milliseconds(100)) }
        }
        task.cancel()
        await meeting.leave()
        await task.value
    }
}
