import Locking
import PeerConnection
import Signaling
import Testing
import TimeSharing

@testable import rtc_peer

/// What two ends say to each other when the server that brought them together is gone.
@Suite(.realTime) struct SignalingAlongConnections {
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
        let call = try PeerPair()
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
        let call = try PeerPair(passesOrder: false)
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
