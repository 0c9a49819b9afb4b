import ArgumentParser
import Glibc
import PeerConnection
import SansIO
import Signaling
import TURNServer
import TURNService
import TerminalUI
import Testing
import TimeSharing

@testable import rtc_peer

/// `rtc-peer serve --turn`.
@Suite(.realTime) struct TURNServing {
    /// What somebody who joins a room is told.
    private func place(_ running: RunningServer, host: String = "127.0.0.1", room: String = "tea") async throws
        -> SignalingPlace
    {
        let client = try SignalingClient(
            url: "http://\(host):\(running.endpoint.port)/",
            room: room,
            name: "Ada"
        )
        for await event in client.events {
            guard case .joined(let place, _) = event else { continue }
            await client.leave()
            return place
        }
        throw CancellationError()
    }

    private func serve(_ arguments: String...) async throws -> RunningServer {
        try await ServeCommand.parse(["--listen", "127.0.0.1:0"] + arguments).start()
    }

    @Test(.timeLimit(.minutes(10))) func whoJoinsGetsCredentialsThatRelay() async throws {
        let running = try await serve("--turn", "--turn-listen", "127.0.0.1:0")
        var configurations: [RTCConfiguration] = []
        for _ in 0..<2 {
            var configuration = RTCConfiguration()
            configuration.localAddresses = ["127.0.0.1"]
            configuration.iceTransportPolicy = .relay
            configuration.iceServers = try await place(running).iceServers.map { RTCIceServer($0) }
            configurations.append(configuration)
        }
        #expect(configurations[0].iceServers.map(\.urls.count) == [1, 2])
        #expect(configurations[0].iceServers[0].urls[0].hasPrefix("stun:127.0.0.1:"))
        #expect(
            configurations[0].iceServers[1].username != configurations[1].iceServers[1].username,
            "each has its own"
        )
        let first = try RTCPeerConnection(configuration: configurations[0])
        let second = try RTCPeerConnection(configuration: configurations[1])
        let channel = try first.createDataChannel("x")
        let events = second.events
        try await first.setLocalDescription()
        await first.waitUntilGathered()
        try await second.setRemoteDescription(try #require(first.localDescription))
        try await second.setLocalDescription()
        await second.waitUntilGathered()
        let relay = try #require(running.relay)
        #expect(await relay.service.allocationCount() == 4, "each by UDP and by TCP")
        try await first.setRemoteDescription(try #require(second.localDescription))
        try await channel.waitUntilOpen()
        try channel.send("hello")
        let received = Task { () -> RTCDataChannelMessage? in
            for await event in events {
                guard case .dataChannel(let channel) = event else { continue }
                for await message in channel.messages { return message }
            }
            return nil
        }
        #expect(await received.value == .text("hello"))
        let selected = try #require(await first.getStats().selectedCandidatePair)
        #expect(selected.localType == "relay" && selected.relayProtocol == "udp")
        first.close()
        second.close()
        await first.closed()
        await second.closed()
        await running.stop()
    }

    /// Nothing is said of TURN where there is none.
    @Test(.timeLimit(.minutes(10))) func withoutItNobodyIsToldOfAny() async throws {
        let running = try await serve("--ice-server", "stun:stun.example.org")
        #expect(running.relay == nil)
        #expect(try await place(running).iceServers == [SignalingICEServer(urls: ["stun:stun.example.org"])])
        await running.stop()
    }

    @Test(.timeLimit(.minutes(10))) func credentialsAreOfTheSecretAndLastADay() async throws {
        let running = try await serve("--turn", "--turn-listen", "127.0.0.1:0", "--turn-secret", "north")
        let relay = try #require(running.relay)
        let server = try #require(relay.iceServers(for: "p7", host: "call.example.org").last)
        let username = try #require(server.username)
        let expiry = try #require(Int64(username.prefix { $0 != ":" }))
        #expect(username.hasSuffix(":p7"))
        #expect((time(nil) + 86_000...time(nil) + 86_400).contains(Int(expiry)))
        let expected = TURNSharedSecret("north").credentials(for: "p7", expiry: expiry)
        #expect(server.credential == expected.password)
        await running.stop()
    }

    @Test(.timeLimit(.minutes(10))) func whatIsDroppedIsTold() async throws {
        let running = try await serve("--turn", "--turn-listen", "127.0.0.1:0")
        let relay = try #require(running.relay)
        let stranger = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(stranger) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = relay.endpoint.udpPort.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        // No STUN at all, and ChannelData of nobody's channel.
        for bytes in [[0xFF, 1, 2, 3], [0x40, 0x01, 0, 4, 1, 2, 3, 4]] as [[UInt8]] {
            let count = unsafe withUnsafePointer(to: &address) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe sendto(stranger, bytes, bytes.count, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            #expect(count == bytes.count)
        }
        var reports: [RelayReport] = []
        var known = TURNServerStatistics()
        while known.dropped.malformed + known.dropped.unbound < 2 {
            known = await relay.report(since: known) { reports.append($0) }
        }
        #expect(reports.compactMap(\.warning).joined().contains("1 malformed"))
        #expect(reports.map(\.line.text).joined().contains(#""unbound":1"#))
        // Each is told once.
        let again = await relay.report(since: known) { _ in Issue.record("nothing came") }
        #expect(again == known)
        await running.stop()
    }

    /// By the host that a peer reached the page by, unless nothing is there or another is given.
    @Test(.timeLimit(.minutes(10))) func urlsNameTheHostThatThePeerKnows() async throws {
        func urls(_ listen: String, _ address: String?, host: String) -> [String] {
            let relay = RelayServer(
                service: TURNService(
                    configuration: TURNServiceConfiguration(host: listen, port: 0, secret: TURNSharedSecret("x"))
                ),
                endpoint: TURNEndpoint(udpPort: 1, tcpPort: 2, tlsPort: 3, relayIPs: [IPAddress(v4: 0xCB00_7101)]),
                secret: TURNSharedSecret("x"),
                listenHost: listen,
                publicAddress: address.flatMap { IPAddress($0) }
            )
            return relay.iceServers(for: "p1", host: host).flatMap(\.urls)
        }
        #expect(
            urls("0.0.0.0", nil, host: "call.example.org") == [
                "stun:call.example.org:1", "turn:call.example.org:1?transport=udp",
                "turn:call.example.org:2?transport=tcp", "turns:call.example.org:3?transport=tcp",
            ]
        )
        #expect(urls("0.0.0.0", nil, host: "2001:db8::1").first == "stun:[2001:db8::1]:1")
        #expect(urls("0.0.0.0", nil, host: "localhost").first == "stun:localhost:1")
        #expect(urls("0.0.0.0", nil, host: "").first == "stun:203.0.113.1:1")
        #expect(urls("192.0.2.5", nil, host: "localhost").first == "stun:192.0.2.5:1", "nothing listens on loopback")
        #expect(urls("192.0.2.5", nil, host: "call.example.org").first == "stun:call.example.org:1")
        // The address that is given goes before, but not before the name of the certificate.
        #expect(urls("0.0.0.0", "198.51.100.1", host: "call.example.org").first == "stun:198.51.100.1:1")
        #expect(
            urls("0.0.0.0", "198.51.100.1", host: "call.example.org").last == "turns:call.example.org:3?transport=tcp"
        )
        #expect(urls("0.0.0.0", "198.51.100.1", host: "10.0.0.1").last == "turns:198.51.100.1:3?transport=tcp")
    }

    /// The page's certificate is the relay's.
    @Test(.timeLimit(.minutes(10))) func tlsIsSpokenWithTheCertificateOfThePage() async throws {
        let running = try await serve("--tls", "--turn", "--turn-listen", "127.0.0.1:0", "--turn-tls", "0")
        let relay = try #require(running.relay)
        #expect(relay.endpoint.tlsPort != nil)
        #expect(relay.urls.count == 4)
        await running.stop()
    }

    @Test(.timeLimit(.minutes(10))) func aPortThatIsTakenIsToldAndNothingRuns() async throws {
        let running = try await serve("--turn", "--turn-listen", "127.0.0.1:0")
        let port = try #require(running.relay).endpoint.udpPort
        await #expect { try await serve("--turn", "--turn-listen", "127.0.0.1:\(port)") } throws: { error in
            "\(error)".contains("127.0.0.1") && "\(error)".contains("in use")
        }
        await #expect { try await serve("--turn", "--turn-listen", "nowhere:0") } throws: {
            "\($0)".contains("“nowhere”")
        }
        await running.stop()
    }

    /// Clients would be told a URL where nothing is listening.
    @Test(
        .timeLimit(.minutes(10)),
        arguments: [
            ("127.0.0.1:0", "2001:db8::9"), ("0.0.0.0:0", "2001:db8::9"), ("localhost:0", "2001:db8::9"),
            ("[::1]:0", "203.0.113.7"),
        ]
    )
    func anAddressOfAFamilyWithoutAListenerIsRefused(listen: String, address: String) async throws {
        do {
            let running = try await serve("--turn", "--turn-listen", listen, "--turn-address", address)
            await running.stop()
            Issue.record("it started")
        } catch {
            #expect("\(error)".contains(address) && "\(error)".contains("IPv"), "\(error)")
        }
    }

    @Test(
        arguments: [
            ["--turn-listen", "127.0.0.1:1"], ["--turn-secret", "x"], ["--turn-allow", "10.0.0.0/8"],
            ["--turn-realm", "example.org"], ["--turn-realm", "rtc-peer"], ["--turn-quota", "5"],
            ["--turn-quota", "64"],
            ["--turn", "--turn-tls", "5349"], ["--turn", "--tls", "--turn-tls", "70000"],
            ["--turn", "--turn-address", "example.org"], ["--turn", "--turn-address", "0.0.0.0"],
            ["--turn", "--turn-ports", "9"], ["--turn", "--turn-ports", "9-8"], ["--turn", "--turn-ports", "0-8"],
            ["--turn", "--turn-ports", "1-70000"], ["--turn", "--turn-quota", "0"], ["--turn", "--turn-secret", ""],
            ["--turn", "--turn-allow", "10.0.0.0/33"], ["--turn", "--turn-realm", ""], ["--tls-key", "x"],
        ]
    )
    func whatCannotBeIsRefusedAtOnce(arguments: [String]) {
        #expect(throws: (any Error).self) { try ServeCommand.parse(arguments) }
    }

    @Test func whatCanBeIsTaken() throws {
        let command = try ServeCommand.parse([
            "--turn", "--tls", "--turn-tls", "443", "--turn-address", "203.0.113.7", "--turn-ports", "50000-50010",
            "--turn-allow", "10.0.0.0/8", "--turn-allow", "fd00::/8", "--turn-quota", "5", "--turn-realm",
            "example.org",
        ])
        #expect(command.turn.turnPorts?.range == 50_000...50_010)
        #expect(command.turn.turnAllow.count == 2)
    }
}
