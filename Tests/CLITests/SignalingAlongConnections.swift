import Locking
import PeerConnection
import Signaling
import Testing
import TimeSharing

@testable import rtc_peer

/// What two ends say to each other when the server that brought them together is gone.
@Suite(.realTime) struct SignalingAlongConnections {
    /// Whether there is a server.
    private final class Server: Sendable {
        private let isDown = Mutex(false)
        var isUp: Bool { !isDown.withLock { $0 } }
        func takeAway() { isDown.withLock { $0 = true } }
    }

    /// Two ends of a call, and what goes between them through a server that can be taken away.
    private final class Call: Sendable {
        let peers: [CallPeer]
        private let server = Server()
        private let pumps: [Task<Void, Never>]

        /// With a server that passes the order of messages on, or one of before that.
        init(passesOrder: Bool = true) throws {
            let roads = (0...1).map { _ in AsyncStream<(SignalingMessage, SignalingOrder)>.makeStream() }
            let peers = try (0...1).map { end in
                try CallPeer(
                    remote: SignalingPeer(id: SignalingPeerID("p\(1 - end)"), name: "p", isPolite: end == 1),
                    isInitiator: end == 1,
                    configuration: RTCConfiguration(),
                    downloads: nil,
                    signal: { roads[1 - end].continuation.yield(($0, $1)) },
                    report: { _ in }
                )
            }
            self.peers = peers
            let server = server
            let streams = roads.map(\.stream)
            pumps = (0...1).map { end in
                Task {
                    for await (message, order) in streams[end] where server.isUp {
                        await peers[end].receive(message, passesOrder ? order : nil)
                    }
                }
            }
        }

        func connect() async throws {
            let events = peers.map { $0.connection.events }
            for peer in peers { try await peer.start(tracks: []) }
            for each in events {
                await SignalingAlongConnections.until(each) {
                    if case .connectionStateChange(.connected) = $0 { true } else { false }
                }
            }
        }

        func takeServerAway() { server.takeAway() }

        func end() async {
            for peer in peers { await peer.close() }
            for pump in pumps { pump.cancel() }
        }
    }

    private static func until(
        _ events: EventStream<RTCPeerConnectionEvent>,
        _ isWanted: (RTCPeerConnectionEvent) -> Bool
    ) async {
        for await event in events where isWanted(event) { return }
    }

    private func fragment(_ description: RTCSessionDescription?) -> Substring? {
        description?.sdp.split(separator: "\r\n").first { $0.hasPrefix("a=ice-ufrag:") }
    }

    /// Restarts ICE on one side, and waits for the other's answer.
    private func restart(_ connection: RTCPeerConnection) async throws {
        let before = [fragment(connection.localDescription), fragment(connection.remoteDescription)]
        let events = connection.events
        connection.restartIce()
        await Self.until(events) { if case .signalingStateChange(.haveLocalOffer) = $0 { true } else { false } }
        if connection.signalingState != .stable {
            await Self.until(events) { if case .signalingStateChange(.stable) = $0 { true } else { false } }
        }
        let after = [fragment(connection.localDescription), fragment(connection.remoteDescription)]
        for (old, new) in zip(before, after) { #expect(old != nil && new != nil && old != new) }
    }

    @Test("a call restarts ICE and adds what it sends without the server, whoever asks", .timeLimit(.minutes(10)))
    func call() async throws {
        let call = try Call()
        try await call.connect()
        call.takeServerAway()
        for end in [0, 1, 1, 0] { try await restart(call.peers[end].connection) }
        for peer in call.peers {
            let events = peer.connection.events
            let added = try peer.connection.addTransceiver(.video, options: .init(direction: .sendonly))
            await Self.until(events) { if case .signalingStateChange(.stable) = $0 { true } else { false } }
            #expect(added.currentDirection != nil)
        }
        await call.end()
    }

    @Test("where the server passes no order on, there is no channel, and all goes through it", .timeLimit(.minutes(10)))
    func olderServer() async throws {
        let call = try Call(passesOrder: false)
        try await call.connect()
        for end in [0, 1] { try await restart(call.peers[end].connection) }
        for peer in call.peers {
            // The chat.
            #expect(await peer.connection.getStats().dataChannelsOpened == 1)
        }
        await call.end()
    }

    @Test("a transfer's connection restarts ICE without the server", .timeLimit(.minutes(10)))
    func transfer() async throws {
        var configuration = SignalingServerConfiguration()
        configuration.host = "127.0.0.1"
        configuration.port = 0
        let server = SignalingServer(configuration: configuration)
        let url = try await server.start().url
        let meetings = try [TransferMeeting.Side.first, .second].map { side in
            try TransferMeeting(
                options: .init(side: side, code: "amber-otter-lemon", paired: { _ in }, note: { _ in }),
                client: try SignalingClient(url: url, room: "4821", name: "\(side)")
            )
        }
        let tasks = meetings.map { meeting in Task { await meeting.run() } }
        var connections: [TransferMeeting.Connection] = []
        for meeting in meetings {
            var made = meeting.connections.makeAsyncIterator()
            connections.append(try #require(try await made.next()))
        }
        await server.stop()
        // The second makes every offer.
        for _ in 0..<3 { try await restart(connections[1].link.connection) }
        #expect(connections.allSatisfy { $0.channel.readyState == .open })
        for meeting in meetings { await meeting.leave() }
        for task in tasks { await task.value }
    }
}
