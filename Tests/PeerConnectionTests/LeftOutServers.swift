import PeerConnection
import Testing
import TimeSharing

/// Servers that cannot be asked, beside others that can.
@Suite(.realTime) struct LeftOutServers {
    @Test(
        .timeLimit(.minutes(10)),
        arguments: [
            ("stuns:stun.example.org", RTCError.Name.notSupportedError, "stun:stun.example.org"),
            ("stuns:[2001:db8::1]:443", .notSupportedError, "stun:[2001:db8::1]"),
            ("turns:127.0.0.1?transport=udp", .networkError, "transport"),
            ("http:127.0.0.1", .syntaxError, "http:127.0.0.1"),
        ]
    ) func areToldWithTheReasonAndCostNoCandidate(url: String, name: RTCError.Name, part: String) async throws {
        var configuration = ConnectedPair.configuration()
        configuration.iceServers = [RTCIceServer(urls: [url], username: "alice", credential: "secret")]
        let connection = try RTCPeerConnection(configuration: configuration)
        defer { connection.close() }
        let events = connection.events
        _ = try connection.createDataChannel("x")
        try await connection.setLocalDescription()
        var errors: [RTCPeerConnectionIceErrorEvent] = []
        for await event in events {
            if case .iceCandidateError(let error) = event { errors.append(error) }
            if case .iceCandidate(nil) = event { break }
        }
        #expect(errors.map(\.name) == [name])
        #expect(errors.allSatisfy { $0.message.contains(part) && $0.url == url && $0.errorCode == 701 })
        #expect(try #require(connection.localDescription).sdp.contains("typ host"))
    }
}
