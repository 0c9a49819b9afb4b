import Coturn
import PeerConnection
import Testing

/// Calls through a real TURN server.
@Suite(.enabled(if: CoturnProcess.exists, "coturn is not installed")) struct RelayedPaths {
    private static let user = "--user=alice:secret"

    private func configuration(
        _ coturn: CoturnProcess,
        policy: RTCIceTransportPolicy = .relay,
        password: String = "secret"
    ) -> RTCConfiguration {
        var configuration = ConnectedPair.configuration()
        configuration.iceTransportPolicy = policy
        configuration.iceServers = [
            RTCIceServer(urls: ["turn:127.0.0.1:\(coturn.port)"], username: "alice", credential: password)
        ]
        return configuration
    }

    /// A megabyte there and back over one data channel.
    private func exchange(_ pair: ConnectedPair) async throws {
        let channel = try pair.first.createDataChannel("x")
        let events = pair.second.events
        try await pair.negotiate()
        try await channel.waitUntilOpen()
        let echo = Task {
            for await event in events {
                guard case .dataChannel(let channel) = event else { continue }
                for await message in channel.messages {
                    if case .binary(let bytes) = message { try await channel.sendWhenReady(bytes) }
                }
            }
        }
        defer { echo.cancel() }
        let message = (0..<65_536).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        for _ in 0..<16 { try await channel.sendWhenReady(message) }
        var count = 0
        for await received in channel.messages {
            #expect(received == .binary(message))
            count += 1
            if count == 16 { break }
        }
    }

    @Test(.timeLimit(.minutes(1))) func dataGoesThroughTheServer() async throws {
        let coturn = try CoturnProcess(["--lt-cred-mech", Self.user])
        let pair = try ConnectedPair(configuration(coturn))
        try await exchange(pair)
        for connection in [pair.first, pair.second] {
            let selected = try #require(await connection.getStats().selectedCandidatePair)
            #expect(selected.localType == "relay" || selected.remoteType == "relay")
            let sdp = try #require(connection.localDescription).sdp
            #expect(!sdp.contains("typ host") && !sdp.contains("typ srflx"), "only the relayed address is told")
            #expect(sdp.contains("raddr 0.0.0.0 rport 0"))
        }
    }

    /// Where both can reach each other the server is not used.
    @Test(.timeLimit(.minutes(1))) func aDirectPathIsPreferred() async throws {
        let coturn = try CoturnProcess(["--lt-cred-mech", Self.user])
        let pair = try ConnectedPair(configuration(coturn, policy: .all))
        try await exchange(pair)
        let selected = try #require(await pair.first.getStats().selectedCandidatePair)
        #expect(selected.localType == "host" && selected.remoteType == "host")
    }

    @Test(.timeLimit(.minutes(1))) func aWrongPasswordIsToldAndTheCallGoesOn() async throws {
        let coturn = try CoturnProcess(["--lt-cred-mech", Self.user])
        let pair = try ConnectedPair(configuration(coturn, policy: .all, password: "wrong"))
        let events = pair.first.events
        try await exchange(pair)
        for await event in events {
            guard case .iceCandidateError(let error) = event else { continue }
            #expect(error.name == .networkError && error.message.contains("401"))
            break
        }
    }
}
