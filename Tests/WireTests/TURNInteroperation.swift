import Coturn
import Glibc
import ICE
import STUN
import SansIO
import Testing

/// A client on a real socket, and a peer that sends back what it gets.
private final class CoturnClient {
    let client: TURNClient
    let echo: LoopbackSocket
    private(set) var events: [TURNEvent] = []
    private(set) var received: [(peer: TransportAddress, bytes: [UInt8])] = []
    /// Whence the peer was sent to.
    private(set) var echoSources: Set<UInt16> = []
    private let socket: LoopbackSocket
    private let server: TransmitPath
    /// Ends with the last client that uses it.
    private let coturn: CoturnProcess
    private let transmits = TransmitQueue()
    /// How far the client's time is ahead: so its clocks run out at once, while the server's do not.
    private var skew = Duration.zero

    init(
        _ coturn: CoturnProcess,
        _ transport: TURNTransport,
        username: String = "user",
        password: String = "secret"
    ) throws {
        self.coturn = coturn
        echo = try LoopbackSocket(.datagram)
        socket = try LoopbackSocket(transport)
        if transport == .stream { try #require(socket.connect(to: coturn.port), "no connection") }
        server = TransmitPath(
            port: PortID(rawValue: 1),
            remote: TransportAddress(IPAddress(v4: 0x7F00_0001), port: coturn.port)
        )
        client = TURNClient(
            server: server,
            transport: transport,
            credentials: TURNCredentials(username: username, password: password),
            transmits: transmits,
            random: RandomSource()
        )
    }

    var peer: TransportAddress { TransportAddress(IPAddress(v4: 0x7F00_0001), port: echo.port) }

    var now: Instant {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Instant(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)) + skew
    }

    func leap(_ duration: Duration) { skew += duration }

    func send(_ bytes: [UInt8]) -> TURNSendResult { client.send(bytes.span.bytes, to: peer, at: now) }

    /// Runs until `condition` holds, for some seconds at most.
    @discardableResult
    func run(until condition: () -> Bool) -> Bool {
        let end = now + .seconds(20)
        while true {
            client.handleTimeout(at: now)
            transmits.drain { path, bytes in
                socket.send(bytes, to: client.transport == .stream ? nil : path.remote.port)
            }
            while let event = client.nextEvent() { events.append(event) }
            if condition() { return true }
            if now > end { return false }
            var descriptors = [socket, echo].map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
            _ = poll(&descriptors, 2, 10)
            while let (bytes, source) = echo.receive() {
                echoSources.insert(source.port)
                bytes.withUnsafeBytes { echo.send($0, to: source.port) }
            }
            while let (bytes, source) = socket.receive() { take(bytes, source) }
        }
    }

    private func take(_ bytes: [UInt8], _ source: TransportAddress) {
        if client.transport == .stream {
            client.receive(stream: bytes.span.bytes, at: now) { received.append(($0, $1.array())) }
        } else if case .data(let peer, let range) = client.receive(
            bytes.span.bytes,
            from: source,
            on: server.port,
            at: now
        ) {
            received.append((peer, Array(bytes[range])))
        }
    }

    func allocate() -> TransportAddress? {
        client.allocate(at: now)
        run { !events.isEmpty }
        return client.relayedAddress
    }
}

@Suite(.enabled(if: CoturnProcess.exists, "no turnserver installed"))
struct TURNInteroperation {
    private static let longTerm = ["--lt-cred-mech", "--user=user:secret"]

    @Test(arguments: [TURNTransport.datagram, .stream])
    func `coturn relays, in indications and on a channel, and goes on after refreshes`(transport: TURNTransport) throws
    {
        let coturn = try CoturnProcess(Self.longTerm)
        let client = try CoturnClient(coturn, transport)
        let relayed = try #require(client.allocate(), "\(client.events)")
        #expect(relayed.ip == IPAddress(v4: 0x7F00_0001))

        // Asks for the permission, waits for it, and travels as indication both ways.
        #expect(client.send([1, 2, 3]) == .queued)
        #expect(client.run { client.received.count == 1 })
        #expect(client.received[0].bytes == [1, 2, 3])
        #expect(client.received[0].peer == client.peer)
        #expect(client.echoSources == [relayed.port])
        #expect(client.client.statistics.indicationsReceived == 1)

        client.client.bindChannel(to: client.peer, at: client.now)
        #expect(client.run { client.events.contains(.channelBound(client.peer)) })
        let packets = [[], [9], [UInt8](repeating: 8, count: 1201)]
        for packet in packets.dropFirst() { #expect(client.send(packet) == .sent) }
        #expect(client.run { client.received.count == 3 })
        #expect(client.received.dropFirst().map(\.bytes) == Array(packets.dropFirst()))
        #expect(client.client.statistics.channelDataSent == 2)
        #expect(client.client.statistics.channelDataReceived == 2)

        // In the client's time all that expires is due: permission, channel, allocation.
        let before = client.client.statistics
        client.leap(.seconds(241))
        #expect(client.run { client.client.statistics.responsesReceived == before.responsesReceived + 1 })
        client.leap(.seconds(290))
        client.run { client.client.statistics.responsesReceived >= before.responsesReceived + 2 }
        client.leap(.seconds(15))
        #expect(client.run { client.client.statistics.responsesReceived >= before.responsesReceived + 4 })
        #expect(client.send([7]) == .sent)
        #expect(client.run { client.received.count == 4 })
        #expect(client.client.statistics.channelDataReceived == 3)
        #expect(client.client.statistics.dropped == TURNDropCounts())

        client.client.close(at: client.now)
        #expect(client.run { client.events.last == .closed })
    }

    @Test func `coturn refuses a wrong password`() throws {
        let client = try CoturnClient(try CoturnProcess(Self.longTerm), .datagram, password: "guess")
        #expect(client.allocate() == nil)
        #expect(client.events == [.failed(.refused(.unauthenticated, reason: "Unauthorized"))])
    }

    @Test func `coturn takes a credential with a time, and refuses it afterwards`() throws {
        let coturn = try CoturnProcess(["--use-auth-secret", "--static-auth-secret=north"])
        // The passwords are HMAC-SHA1 of the user names by the key "north", in Base64. coturn's times have 31 bits:
        // this one ends in 2038.
        let valid = try CoturnClient(
            coturn,
            .datagram,
            username: "2147483000:user",
            password: "4d0sHXfmggFx0TnElN+wY+1SUAg="
        )
        #expect(valid.allocate() != nil, "\(valid.events)")
        let expired = try CoturnClient(
            coturn,
            .datagram,
            username: "1000000000:user",
            password: "OZRSKXThma7TlhbIJFRY9DkrkRc="
        )
        #expect(expired.allocate() == nil)
        #expect(expired.events == [.failed(.refused(.unauthenticated, reason: "Unauthorized"))])
    }

    @Test func `coturn's quota is an error of its own`() throws {
        let coturn = try CoturnProcess(Self.longTerm + ["--user-quota=1"])
        let first = try CoturnClient(coturn, .datagram)
        #expect(first.allocate() != nil, "\(first.events)")
        let second = try CoturnClient(coturn, .datagram)
        #expect(second.allocate() == nil)
        #expect(second.events == [.failed(.refused(.allocationQuotaReached, reason: "Allocation Quota Reached"))])
    }

    @Test func `A nonce that coturn takes for stale is replaced`() throws {
        let client = try CoturnClient(try CoturnProcess(Self.longTerm + ["--stale-nonce=1"]), .datagram)
        #expect(client.allocate() != nil, "\(client.events)")
        client.client.addPermission(for: client.peer.ip, at: client.now)
        #expect(client.run { client.events.count == 2 })
        // The server's clock, which alone says what is stale, counts seconds.
        let start = client.now
        client.run { client.now > start + .milliseconds(2500) }
        let before = client.client.statistics
        client.client.bindChannel(to: client.peer, at: client.now)
        #expect(client.run { client.events.contains(.channelBound(client.peer)) })
        #expect(client.client.statistics.requestsSent == before.requestsSent + 2)
    }

    @Test func `coturn refuses a peer that it may not relay to`() throws {
        let coturn = try CoturnProcess(Self.longTerm + ["--denied-peer-ip=192.0.2.1"])
        let client = try CoturnClient(coturn, .datagram)
        #expect(client.allocate() != nil, "\(client.events)")
        let denied = IPAddress(v4: 0xC000_0201)
        client.client.addPermission(for: denied, at: client.now)
        #expect(client.run { client.events.count == 2 })
        guard case .permissionRefused(denied, .refused(.forbidden, _)) = client.events.last else {
            Issue.record("\(client.events)")
            return
        }
    }
}
