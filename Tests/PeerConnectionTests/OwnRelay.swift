import Coturn
import Glibc
import PeerConnection
import SansIO
import TURNServer
import TURNService
import Testing
import TimeSharing

/// Calls through this package's own TURN server, on real sockets.
@Suite(.realTime) struct OwnRelay {
    private let secret = TURNSharedSecret("north")

    private func service(
        _ change: (inout TURNServiceConfiguration) -> Void = { _ in }
    ) async throws -> (TURNService, TURNEndpoint) {
        var configuration = TURNServiceConfiguration(host: "127.0.0.1", port: 0, secret: secret)
        configuration.tls = (0, try TestCertificate.context())
        change(&configuration)
        let service = TURNService(configuration: configuration)
        return (service, try await service.start())
    }

    /// A service on ports that the system gives to nobody while it is stopped.
    private func serviceOfItsOwnPort() async throws -> (TURNService, TURNEndpoint) {
        for port in (10_000..<16_000).shuffled().prefix(20) {
            let made = try? await service {
                $0.port = 2 * port
                $0.tls?.port = 2 * port + 1
            }
            if let made { return made }
        }
        return try await service()
    }

    private func configuration(_ endpoint: TURNEndpoint, transport: String) throws -> RTCConfiguration {
        let credentials = secret.credentials(for: "alice", expiry: 4_000_000_000)
        let urls = endpoint.urls(host: "127.0.0.1", tlsHost: "localhost").turn
        var configuration = ConnectedPair.configuration()
        configuration.iceTransportPolicy = .relay
        configuration.iceServers = [
            RTCIceServer(
                urls: urls.filter {
                    transport == "tls"
                        ? $0.hasPrefix("turns:") : $0.hasPrefix("turn:") && $0.hasSuffix("transport=\(transport)")
                },
                username: credentials.username,
                credential: credentials.password
            )
        ]
        try #require(configuration.iceServers[0].urls.count == 1)
        return configuration
    }

    @Test(.timeLimit(.minutes(10)), arguments: ["udp", "tcp", "tls"]) func dataGoesThroughTheServer(transport: String)
        async throws
    {
        let (service, endpoint) = try await service()
        var configuration = try configuration(endpoint, transport: transport)
        let authority = try TemporaryFile(TestCertificate.authority)
        configuration.iceServerAuthorities = authority.path
        let pair = try ConnectedPair(configuration)
        try await pair.exchange()
        for connection in [pair.first, pair.second] {
            let selected = try #require(await connection.getStats().selectedCandidatePair)
            #expect(selected.localType == "relay")
            #expect(selected.relayProtocol == transport)
        }
        #expect(await service.allocationCount() == 2)
        pair.first.close()
        pair.second.close()
        await pair.first.closed()
        await pair.second.closed()
        await service.stop()
        #expect(await service.allocationCount() == 0)
    }

    /// Neither connection restarts ICE: the server says that it knows nothing of their addresses, or ends their streams,
    /// which are opened again, and gives others.
    @Test(.timeLimit(.minutes(10)), arguments: ["udp", "tcp", "tls"]) func aServerThatWasRestartedIsUsedAgain(
        transport: String
    ) async throws {
        let (service, endpoint) = try await serviceOfItsOwnPort()
        var configuration = try configuration(endpoint, transport: transport)
        let authority = try TemporaryFile(TestCertificate.authority)
        configuration.iceServerAuthorities = authority.path
        configuration.iceRestartDelay = nil
        let pair = try ConnectedPair(configuration)
        try await pair.exchange()
        let fragments = [pair.first, pair.second].map { $0.localDescription?.sdp.firstMatch(of: /ice-ufrag:(.+)/)?.1 }
        let states = pair.first.events
        await service.stop()
        let (other, _) = try await self.service {
            $0.port = Int(endpoint.udpPort)
            if let tlsPort = endpoint.tlsPort { $0.tls?.port = Int(tlsPort) }
        }
        try await pair.exchange()
        #expect(await other.allocationCount() == 2)
        for (connection, fragment) in zip([pair.first, pair.second], fragments) {
            #expect(connection.localDescription?.sdp.firstMatch(of: /ice-ufrag:(.+)/)?.1 == fragment)
            #expect(connection.iceGatheringState == .complete)
        }
        pair.first.close()
        await pair.first.closed()
        var gathering: [RTCIceGatheringState] = []
        for await event in states {
            if case .iceGatheringStateChange(let state) = event { gathering.append(state) }
        }
        #expect(gathering == [.gathering, .complete])
        await other.stop()
    }

    @Test(
        .timeLimit(.minutes(10)),
        arguments: [
            (-7_200, "right", "expired 2 hours ago"), (7_200, "wrong", "the user name or the password is wrong"),
        ]
    )
    func whatIsWrongWithRefusedCredentialsIsTold(good: Int64, password: String, words: String) async throws {
        let (service, endpoint) = try await service()
        var configuration = try configuration(endpoint, transport: "udp")
        let credentials = secret.credentials(for: "alice", expiry: Int64(time(nil)) + good - 30)
        configuration.iceServers[0].username = credentials.username
        configuration.iceServers[0].credential = password == "right" ? credentials.password : password
        let connection = try RTCPeerConnection(configuration: configuration)
        let events = connection.events
        _ = try connection.createDataChannel("x")
        try await connection.setLocalDescription()
        for await case .iceCandidateError(let error) in events {
            #expect(error.errorCode == 401)
            #expect(error.message.contains(words), "\(error.message)")
            break
        }
        connection.close()
        await connection.closed()
        await service.stop()
    }
}
