import Glibc
import NIOCore
import NIOPosix
import PeerConnection
import SansIO
import TURNServer
import TURNService
import Testing
import TimeSharing

/// Many connections on one UDP port, on real loopback sockets.
@Suite(.realTime) struct SharedUDPPorts {
    private func configuration(_ port: SharedUDPPort) -> RTCConfiguration {
        var configuration = RTCConfiguration()
        configuration.sharedUDPPort = port
        return configuration
    }

    private func port(_ number: UInt16 = 0) async throws(RTCError) -> SharedUDPPort {
        try await SharedUDPPort(port: number, localAddresses: ["127.0.0.1"])
    }

    /// A pair whose second connection is on the port, with a channel at each end.
    private struct Line: Sendable {
        let pair: ConnectedPair
        let client: RTCDataChannel
        let server: RTCDataChannel

        init(_ shared: RTCConfiguration, client own: RTCConfiguration = ConnectedPair.configuration()) throws {
            pair = try ConnectedPair(own, shared)
            var options = RTCDataChannelInit()
            options.negotiated = true
            options.id = 5
            client = try pair.first.createDataChannel("x", options: options)
            server = try pair.second.createDataChannel("x", options: options)
        }

        func connect() async throws {
            try await pair.negotiate()
            try await client.waitUntilOpen()
            try await server.waitUntilOpen()
        }

        /// Texts and a long message there and back, each that of this line alone.
        func talk(_ name: String) async throws {
            var (there, back) = (server.messages.makeAsyncIterator(), client.messages.makeAsyncIterator())
            let long = Array(repeating: Array(name.utf8), count: 4_000).flatMap(\.self)
            try client.send("\(name) there")
            try server.send("\(name) back")
            try await client.sendWhenReady(long)
            try await server.sendWhenReady(long)
            #expect(await there.next() == .text("\(name) there"))
            #expect(await back.next() == .text("\(name) back"))
            #expect(await there.next() == .binary(long))
            #expect(await back.next() == .binary(long))
        }

        func close() async {
            pair.first.close()
            pair.second.close()
            await pair.first.closed()
            await pair.second.closed()
        }
    }

    /// Addresses and ports of a connection's UDP candidates.
    private func endpoints(of connection: RTCPeerConnection) throws -> [String] {
        try #require(connection.localDescription).sdp.split(whereSeparator: \.isNewline)
            .filter { $0.hasPrefix("a=candidate:") && $0.contains(" udp ") }
            .map { $0.split(separator: " ")[4...5].joined(separator: ":") }.sorted()
    }

    /// Checks the port's figures until they are as they should be; the time limit ends it else.
    private func wait(
        _ port: SharedUDPPort,
        _ isReached: (SharedUDPPort.Statistics) -> Bool
    ) async -> SharedUDPPort.Statistics {
        while true {
            let statistics = await port.statistics()
            if isReached(statistics) { return statistics }
            await Task.yield()
        }
    }

    @Test(.timeLimit(.minutes(10))) func fiftyConnectionsTalkOverOnePortAndLeaveItOneByOne() async throws {
        let shared = try await port()
        let configuration = configuration(shared)
        let lines = try (0..<50).map { _ in try Line(configuration) }
        // One by one: a hundred handshakes at once on a busy machine take longer than SCTP's patience.
        for line in lines { try await line.connect() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (number, line) in lines.enumerated() { group.addTask { try await line.talk("line \(number)") } }
            try await group.waitForAll()
        }
        for line in lines {
            #expect(try endpoints(of: line.pair.second) == ["127.0.0.1:\(shared.port)"])
        }
        let statistics = await shared.statistics()
        #expect(statistics.connections == 50 && statistics.remoteAddresses == 50)
        #expect(statistics.unknownUsernames == 0 && statistics.conflicts == 0 && statistics.movedAddresses == 0)
        for line in lines.prefix(25) { await line.close() }
        #expect(await shared.statistics().connections == 25)
        for (number, line) in lines.enumerated().dropFirst(25) { try await line.talk("again \(number)") }
        for line in lines.dropFirst(25) { await line.close() }
        let last = await shared.statistics()
        #expect(last.connections == 0 && last.remoteAddresses == 0)
    }

    @Test(.timeLimit(.minutes(10))) func restartsKeepTheConnectionAndItsNeighbours() async throws {
        let shared = try await port()
        let (one, other) = (try Line(configuration(shared)), try Line(configuration(shared)))
        try await one.connect()
        try await other.connect()
        for (round, side) in [one.pair.first, one.pair.second, one.pair.first].enumerated() {
            side.restartIce()
            let peer = side === one.pair.first ? one.pair.second : one.pair.first
            try await side.setLocalDescription()
            try await peer.setRemoteDescription(try #require(side.localDescription))
            try await peer.setLocalDescription()
            try await side.setRemoteDescription(try #require(peer.localDescription))
            try await one.talk("one \(round)")
            try await other.talk("other \(round)")
        }
        let statistics = await shared.statistics()
        #expect(statistics.connections == 2)
        #expect(statistics.unknownUsernames == 0, "the new generation's checks found their connection")
        #expect(one.pair.second.connectionState == .connected)
    }

    @Test(.timeLimit(.minutes(10)), arguments: [true, false]) func aServerWithoutChecksOfItsOwnSharesToo(
        isFullAgent: Bool
    ) async throws {
        let shared = try await port()
        var configuration = configuration(shared)
        configuration.isICELite = !isFullAgent
        let lines = try (0..<4).map { _ in try Line(configuration) }
        for line in lines { try await line.connect() }
        for (number, line) in lines.enumerated() { try await line.talk("\(number)") }
        #expect(await shared.statistics().remoteAddresses == 4)
    }

    @Test(.timeLimit(.minutes(10))) func strangersAreCountedAndDisturbNobody() async throws {
        let shared = try await port()
        let line = try Line(configuration(shared))
        try await line.connect()
        let stranger = try Stranger(to: shared.port)
        // What begins like DTLS, RTP, STUN, and nothing.
        for first in [UInt8(22), 128, 0, 200] {
            for _ in 0..<20 { stranger.send([first] + Array(repeating: 1, count: 99)) }
        }
        let counted = await wait(shared) { $0.unknownAddresses >= 60 && $0.malformed >= 20 }
        #expect(counted.unknownAddresses == 60 && counted.malformed == 20)
        #expect(counted.connections == 1 && counted.remoteAddresses == 1)
        try await line.talk("undisturbed")
    }

    /// The fragment is known to who reads the signalling, the password is not.
    @Test(.timeLimit(.minutes(10))) func aWrongPasswordGetsNoAddress() async throws {
        let shared = try await port()
        let line = try Line(configuration(shared))
        try await line.connect()
        let guesser = try RTCPeerConnection(configuration: ConnectedPair.configuration())
        defer { guesser.close() }
        _ = try guesser.createDataChannel("x")
        try await guesser.setLocalDescription()
        var answer = try #require(line.pair.second.localDescription).sdp
        let password = try #require(answer.split(whereSeparator: \.isNewline).first { $0.hasPrefix("a=ice-pwd:") })
        answer = answer.replacing(password, with: "a=ice-pwd:" + String(repeating: "x", count: 24))
        let before = await shared.statistics().packetsReceived
        try await guesser.setRemoteDescription(RTCSessionDescription(type: .answer, sdp: answer))
        let after = await wait(shared) { $0.packetsReceived >= before + 3 }
        #expect(after.remoteAddresses == 1)
        try await line.talk("undisturbed")
    }

    /// Both ends share their ports: one connection at a time, and the new one takes over at once.
    @Test(.timeLimit(.minutes(10))) func aSecondConnectionBetweenTwoSharedPortsTakesThePlaceOfTheFirst() async throws {
        let (here, there) = (try await port(), try await port())
        let first = try Line(configuration(here), client: configuration(there))
        try await first.connect()
        try await first.talk("first")
        #expect(await here.statistics().remoteAddresses == 1)
        let second = try Line(configuration(here), client: configuration(there))
        try await second.connect()
        try await second.talk("second")
        // The first one learns of it.
        await first.pair.first.wait(for: .disconnected)
        #expect(await here.statistics().movedAddresses == 1)
        #expect(await here.statistics().remoteAddresses == 1)
        try await second.talk("still the second")
        // And when it is closed, a third has no trouble.
        await first.close()
        await second.close()
        let third = try Line(configuration(here), client: configuration(there))
        try await third.connect()
        try await third.talk("third")
        await third.close()
    }

    @Test(.timeLimit(.minutes(10))) func everyConnectionHasItsOwnRelayAndItsOwnAnswersOfServers() async throws {
        let secret = TURNSharedSecret("north")
        let service = TURNService(
            configuration: TURNServiceConfiguration(host: "127.0.0.1", port: 0, secret: secret)
        )
        let endpoint = try await service.start()
        let credentials = secret.credentials(for: "alice", expiry: 4_000_000_000)
        let urls = endpoint.urls(host: "127.0.0.1", tlsHost: "localhost")
        let shared = try await port()
        var configuration = configuration(shared)
        configuration.iceServers = [
            RTCIceServer(urls: urls.stun),
            RTCIceServer(
                urls: urls.turn.filter { $0.hasPrefix("turn:") && $0.hasSuffix("transport=udp") },
                username: credentials.username,
                credential: credentials.password
            ),
        ]
        try #require(!configuration.iceServers[0].urls.isEmpty && !configuration.iceServers[1].urls.isEmpty)
        let lines = try (0..<3).map { _ in try Line(configuration) }
        for line in lines {
            try await line.connect()
            await line.pair.second.waitUntilGathered()
            let sdp = try #require(line.pair.second.localDescription).sdp
            #expect(sdp.contains("typ relay"))
        }
        #expect(await service.allocationCount() == 3)
        // A server's answers are nobody's address, and each found who had asked.
        let statistics = await shared.statistics()
        #expect(statistics.unknownResponses == 0 && statistics.remoteAddresses == 3)
        // Through the relay alone, which relays between its own clients only here.
        configuration.iceTransportPolicy = .relay
        var client = ConnectedPair.configuration()
        client.iceServers = configuration.iceServers
        client.iceTransportPolicy = .relay
        let relayed = try Line(configuration, client: client)
        try await relayed.connect()
        try await relayed.talk("relayed")
        #expect(await relayed.pair.second.getStats().selectedCandidatePair?.localType == "relay")
        await relayed.close()
        for line in lines { await line.close() }
        await service.stop()
        #expect(await service.allocationCount() == 0)
    }

    @Test(.timeLimit(.minutes(10))) func aPortHasOneNumberAtAllItsAddresses() async throws {
        let shared = try await SharedUDPPort(localAddresses: ["127.0.0.1", "127.0.0.2", "127.0.0.1"])
        #expect(shared.localAddresses == ["127.0.0.1", "127.0.0.2"])
        func endpoints(_ configuration: RTCConfiguration) async throws -> [String] {
            let line = try Line(configuration)
            try await line.connect()
            try await line.talk("there")
            await line.pair.second.waitUntilGathered()
            await line.close()
            return try self.endpoints(of: line.pair.second)
        }
        var configuration = configuration(shared)
        #expect(try await endpoints(configuration) == shared.localAddresses.map { "\($0):\(shared.port)" })
        configuration.localAddresses = ["127.0.0.2", "192.0.2.77"]
        #expect(try await endpoints(configuration) == ["127.0.0.2:\(shared.port)"])
    }

    @Test(.timeLimit(.minutes(10))) func aPortThatIsTakenAndAForeignEventLoopAreRefused() async throws {
        let shared = try await port()
        await #expect(throws: RTCError.self) { try await port(shared.port) }
        await #expect(throws: RTCError.self) { try await SharedUDPPort(localAddresses: ["0.0.0.0"]) }
        await #expect(throws: RTCError.self) { try await SharedUDPPort(localAddresses: ["192.0.2.77"]) }
        do throws(RTCError) {
            _ = try await port(shared.port)
        } catch {
            #expect(error.name == .networkError && error.message.contains("\(shared.port)"))
        }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        var configuration = configuration(shared)
        configuration.eventLoop = group.next()
        #expect(throws: RTCError.self) { try RTCPeerConnection(configuration: configuration) }
        try await group.shutdownGracefully()
    }

    @Test(.timeLimit(.minutes(10))) func aClosedPortIsFreeAgainAndEndsWhatWasOnIt() async throws {
        let shared = try await port()
        let line = try Line(configuration(shared))
        try await line.connect()
        await shared.close()
        let again = try await port(shared.port)
        #expect(again.port == shared.port)
        await line.pair.second.wait(for: .failed)
        await line.close()
        await again.close()
    }
}

/// A socket that sends what it likes.
private final class Stranger {
    private let descriptor: CInt
    private var address = sockaddr_in()

    init(to port: UInt16) throws {
        descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        try #require(descriptor >= 0)
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    }

    deinit { close(descriptor) }

    func send(_ bytes: [UInt8]) {
        let count = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                unsafe sendto(descriptor, bytes, bytes.count, 0, address, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        #expect(count == bytes.count)
    }
}
