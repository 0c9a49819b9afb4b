import PeerConnection
import Testing
import TimeSharing
import Trickle

/// Connections that have nothing but TCP between them, on real loopback sockets.
@Suite(.realTime) struct OverTCP {
    private static func configuration(_ policy: RTCTcpCandidatePolicy) -> RTCConfiguration {
        var configuration = ConnectedPair.configuration()
        configuration.tcpCandidatePolicy = policy
        return configuration
    }

    /// Without the candidates over UDP.
    private static func stripped(_ description: RTCSessionDescription?) throws -> RTCSessionDescription {
        var description = try #require(description)
        let lines = description.sdp.split(separator: "\r\n", omittingEmptySubsequences: true)
        description.sdp =
            lines.filter { !$0.hasPrefix("a=candidate:") || $0.contains(" tcp ") }.joined(
                separator: "\r\n"
            ) + "\r\n"
        return description
    }

    private static func bring(_ from: RTCPeerConnection, _ other: RTCPeerConnection) -> Task<Void, Never> {
        trickle(from, to: other) { $0?.candidate.contains(" tcp ") ?? true }
    }

    @Test(
        .timeLimit(.minutes(10)),
        arguments: [
            (RTCTcpCandidatePolicy.active, RTCTcpCandidatePolicy.enabled), (.enabled, .active), (.enabled, .enabled),
        ]
    )
    func messagesOfAllSizesGoBothWays(first: RTCTcpCandidatePolicy, second: RTCTcpCandidatePolicy) async throws {
        let near = try RTCPeerConnection(configuration: Self.configuration(first))
        let far = try RTCPeerConnection(configuration: Self.configuration(second))
        let tasks = [Self.bring(near, far), Self.bring(far, near)]
        defer { for task in tasks { task.cancel() } }
        let channel = try near.createDataChannel("x")
        let events = far.events
        try await near.setLocalDescription()
        try await far.setRemoteDescription(Self.stripped(near.localDescription))
        try await far.setLocalDescription()
        try await near.setRemoteDescription(Self.stripped(far.localDescription))
        try await channel.waitUntilOpen()
        let echo = Task {
            for await case .dataChannel(let channel) in events {
                for await message in channel.messages {
                    if case .binary(let bytes) = message { try await channel.sendWhenReady(bytes) }
                }
            }
        }
        defer { echo.cancel() }
        let sending = Task {
            for round in 0..<200 {
                try await channel.sendWhenReady([UInt8](repeating: UInt8(round), count: 1 + round * 300))
            }
        }
        var messages = channel.messages.makeAsyncIterator()
        for round in 0..<200 {
            #expect(await messages.next() == .binary([UInt8](repeating: UInt8(round), count: 1 + round * 300)))
        }
        try await sending.value
        for connection in [near, far] {
            let selected = try #require(await connection.getStats().selectedCandidatePair)
            #expect(selected.protocol == "tcp" && selected.localType == "host")
        }
        near.close()
        await near.closed()
        far.close()
        await far.closed()
    }

    @Test(.timeLimit(.minutes(10))) func withoutItNoCandidateOverTCPIsTold() async throws {
        let connection = try RTCPeerConnection(configuration: Self.configuration(.disabled))
        let events = connection.events
        _ = try connection.createDataChannel("x")
        try await connection.setLocalDescription()
        for await case .iceCandidate(let candidate) in events {
            guard let candidate else { break }
            #expect(!candidate.candidate.contains(" tcp "))
        }
        connection.close()
    }
}
