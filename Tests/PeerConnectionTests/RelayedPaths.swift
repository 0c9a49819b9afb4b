import Coturn
import Glibc
import PeerConnection
import Testing
import TimeSharing

/// Calls through a real TURN server.
@Suite(.realTime, .enabled(if: CoturnProcess.exists, "coturn is not installed")) struct RelayedPaths {
    private static let user = "--user=alice:secret"

    private func configuration(
        _ coturn: CoturnProcess,
        policy: RTCIceTransportPolicy = .relay,
        password: String = "secret",
        url: String? = nil
    ) -> RTCConfiguration {
        var configuration = ConnectedPair.configuration()
        configuration.iceTransportPolicy = policy
        configuration.iceServers = [
            RTCIceServer(urls: [url ?? "turn:127.0.0.1:\(coturn.port)"], username: "alice", credential: password)
        ]
        return configuration
    }

    @Test(.timeLimit(.minutes(10))) func dataGoesThroughTheServer() async throws {
        let coturn = try CoturnProcess(["--lt-cred-mech", Self.user])
        let pair = try ConnectedPair(configuration(coturn))
        try await pair.exchange()
        for connection in [pair.first, pair.second] {
            let selected = try #require(await connection.getStats().selectedCandidatePair)
            #expect(selected.localType == "relay" || selected.remoteType == "relay")
            let sdp = try #require(connection.localDescription).sdp
            #expect(!sdp.contains("typ host") && !sdp.contains("typ srflx"), "only the relayed address is told")
            #expect(sdp.contains("raddr 0.0.0.0 rport 0"))
            #expect(sdp.contains("a=candidate:1 1 udp "), "a foundation that is a checksum betrays the base")
        }
    }

    /// Sixteen addresses, and three servers that never answer: together they would fill the table of those that are asked.
    @Test(.timeLimit(.minutes(10))) func deadServersDoNotTakeTheLiveOnesPlaces() async throws {
        let coturn = try CoturnProcess(["--lt-cred-mech", Self.user])
        let dead = try (0..<5).map { _ in try SilentPort() }
        var both = configuration(coturn)
        both.localAddresses = (1...16).map { "127.0.0.\($0)" }
        let server = both.iceServers[0]
        both.iceServers = dead.map {
            RTCIceServer(urls: ["turn:127.0.0.1:\($0.number)"], username: "alice", credential: "secret")
        }
        both.iceServers.append(server)
        let connection = try RTCPeerConnection(configuration: both)
        defer { connection.close() }
        let events = connection.events
        _ = try connection.createDataChannel("x")
        try await connection.setLocalDescription()
        for await event in events {
            guard case .iceCandidate(let candidate) = event else { continue }
            #expect(candidate?.candidate.contains("typ relay") == true)
            break
        }
    }

    @Test(.timeLimit(.minutes(10))) func aRefusalIsToldBeforeTheEndOfCandidatesThatItBrings() async throws {
        let coturn = try CoturnProcess(["--lt-cred-mech", Self.user])
        let connection = try RTCPeerConnection(configuration: configuration(coturn, password: "wrong"))
        let events = connection.events
        _ = try connection.createDataChannel("x")
        try await connection.setLocalDescription()
        var seen: [String] = []
        for await event in events {
            if case .iceCandidateError = event { seen.append("error") }
            if case .iceCandidate(nil) = event { break }
        }
        #expect(seen == ["error"])
        connection.close()
    }

    /// By TCP, and by TLS with a private authority: to a name, which is sent and checked, and to an address.
    @Test(
        .timeLimit(.minutes(10)),
        arguments: ["turn:127.0.0.1:P?transport=tcp", "turns:localhost:T", "turns:127.0.0.1:T"]
    )
    func dataGoesThroughAStreamToTheServer(url: String) async throws {
        let coturn = try CoturnProcess(["--lt-cred-mech", Self.user])
        let url = url.replacing(":P", with: ":\(coturn.port)").replacing(":T", with: ":\(coturn.tlsPort)")
        var configuration = configuration(coturn, url: url)
        configuration.iceServerAuthorities = coturn.authorities
        let pair = try ConnectedPair(configuration)
        try await pair.exchange()
        for connection in [pair.first, pair.second] {
            let selected = try #require(await connection.getStats().selectedCandidatePair)
            #expect(selected.localType == "relay" || selected.remoteType == "relay")
            if selected.localType == "relay" {
                #expect(selected.relayProtocol == (url.hasPrefix("turns:") ? "tls" : "tcp"))
            }
            let sdp = try #require(connection.localDescription).sdp
            #expect(!sdp.contains("typ srflx"), "a stream's address is no candidate")
        }
        pair.first.close()
        pair.second.close()
        await pair.first.closed()
        await pair.second.closed()
    }

    /// UDP goes before TCP, TCP before TLS, since a lost segment holds up all behind it.
    @Test(.timeLimit(.minutes(10))) func theTransportWithFewerLayersIsPreferred() async throws {
        let coturn = try CoturnProcess(["--lt-cred-mech", Self.user])
        var configuration = configuration(coturn)
        configuration.iceServerAuthorities = coturn.authorities
        configuration.iceServers[0].urls = [
            "turns:localhost:\(coturn.tlsPort)", "turn:127.0.0.1:\(coturn.port)?transport=tcp",
            "turn:127.0.0.1:\(coturn.port)",
        ]
        let connection = try RTCPeerConnection(configuration: configuration)
        _ = try connection.createDataChannel("x")
        try await connection.setLocalDescription()
        await connection.waitUntilGathered()
        let sdp = try #require(connection.localDescription).sdp
        let lines = sdp.split(separator: "\r\n").filter { $0.hasPrefix("a=candidate:") }
        #expect(lines.count == 3)
        let parts = lines.map { $0.split(separator: " ") }
        #expect(Set(parts.map { $0[0] }).count == 3, "each transport is a foundation of its own (RFC 8445 §5.1.1.3)")
        #expect(Set(parts.compactMap { UInt32($0[3]).map { $0 >> 22 } }) == [1, 2, 3], "their local preferences")
        connection.close()
    }

    /// Without its authority the server is not trusted, which is told, and the call goes on by other paths.
    @Test(.timeLimit(.minutes(10)), arguments: ["turns:localhost:T", "turn:127.0.0.1:1?transport=tcp"])
    func aStreamThatCannotBeOpenedIsToldAndTheCallGoesOn(url: String) async throws {
        let coturn = try CoturnProcess(["--lt-cred-mech", Self.user])
        let url = url.replacing(":T", with: ":\(coturn.tlsPort)")
        let pair = try ConnectedPair(configuration(coturn, policy: .all, url: url))
        let events = pair.first.events
        try await pair.exchange()
        for await event in events {
            guard case .iceCandidateError(let error) = event else { continue }
            #expect(error.name == .networkError && error.message.contains(url.prefix { $0 != "?" }))
            #expect(error.message.contains(url.hasPrefix("turns") ? "certificate is not trusted" : "refused"))
            break
        }
        await pair.first.waitUntilGathered()
    }

    /// Where both can reach each other the server is not used.
    @Test(.timeLimit(.minutes(10))) func aDirectPathIsPreferred() async throws {
        let coturn = try CoturnProcess(["--lt-cred-mech", Self.user])
        let pair = try ConnectedPair(configuration(coturn, policy: .all))
        try await pair.exchange()
        let selected = try #require(await pair.first.getStats().selectedCandidatePair)
        #expect(selected.localType == "host" && selected.remoteType == "host")
    }

    @Test(.timeLimit(.minutes(10))) func aWrongPasswordIsToldAndTheCallGoesOn() async throws {
        let coturn = try CoturnProcess(["--lt-cred-mech", Self.user])
        let pair = try ConnectedPair(configuration(coturn, policy: .all, password: "wrong"))
        let events = pair.first.events
        try await pair.exchange()
        for await event in events {
            guard case .iceCandidateError(let error) = event else { continue }
            #expect(error.name == .networkError && error.message.contains("refuses: 401"))
            #expect(error.errorCode == 401 && error.url.hasPrefix("turn:127.0.0.1"))
            #expect(error.address == "127.0.0.1" && error.port != nil)
            break
        }
    }
}

/// A UDP port where nobody answers.
private final class SilentPort {
    let number: UInt16
    private let descriptor: CInt

    init() throws {
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        self.descriptor = descriptor
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(descriptor, pointer, length) == 0 ? getsockname(descriptor, pointer, &length) : -1
            }
        }
        try #require(status == 0)
        number = UInt16(bigEndian: address.sin_port)
    }

    deinit { close(descriptor) }
}
