import AllocationCounter
import STUN
import SansIO
import TURNServer
import Testing

@Suite struct Relaying {
    private func peer(_ text: String = "192.0.2.1", _ port: UInt16 = 4000) throws -> TransportAddress {
        try TransportAddress(text: text, port)
    }

    // MARK: Permissions

    @Test func `Permissions let peers through, from any port, for five minutes`() throws {
        let tester = ServerTester()
        let client = try TestClient(tester)
        try client.allocate()
        let relay = try #require(client.relay)
        let data: [UInt8] = [1, 2, 3]
        tester.deliver(data, from: try peer(), on: relay)
        client.sendIndication(data, to: try peer())
        #expect(tester.take().isEmpty)
        #expect(tester.server.statistics.dropped.forbidden == 2)

        let reply = try #require(try client.permit("192.0.2.1", "192.0.2.2"))
        #expect(reply.isSuccess && reply.isAuthentic(client.key))
        for address in [try peer(), try peer("192.0.2.2", 1), try peer("192.0.2.1", 65_535)] {
            tester.deliver(data, from: address, on: relay)
            let sent = tester.take()
            #expect(sent.map(\.path) == [client.path])
            let indication = try Reply(#require(sent.first).bytes)
            #expect(indication.message.type == STUNMessageType(.indication, .data))
            #expect(indication.address(.xorPeerAddress) == address)
            #expect(indication.bytes(.data) == data)
            client.sendIndication(data, to: address)
            #expect(tester.take().map { [$0.path.remote] } == [[address]])
        }
        tester.pass(.seconds(299))
        #expect(try client.permit("192.0.2.2")?.isSuccess == true)
        tester.pass(.seconds(1))
        client.sendIndication(data, to: try peer())
        tester.deliver(data, from: try peer(), on: relay)
        #expect(tester.take().isEmpty)
        client.sendIndication(data, to: try peer("192.0.2.2"))
        #expect(tester.take().count == 1)
    }

    @Test func `Peers out of bounds are refused, all addresses of a request or none`() throws {
        let tester = ServerTester()
        let client = try TestClient(tester)
        try client.allocate()
        for text in ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "100.64.0.1"] {
            let reply = try #require(try client.permit("192.0.2.1", text))
            #expect(reply.code == 403 && reply.isAuthentic(client.key), "\(text)")
            #expect(try client.bind(0x4000, to: try peer(text))?.code == 403)
        }
        client.sendIndication([1], to: try peer())
        #expect(tester.take().isEmpty, "none was permitted")
        #expect(try client.permit("2600::1")?.code == 443)
        #expect(try client.bind(0x4000, to: try peer("2600::1"))?.code == 443)
        #expect(try client.ask(.createPermission)?.code == 400)
        #expect(try client.ask(.createPermission) { $0.add(.xorPeerAddress, [1, 2, 3]) }?.code == 400)

        let six = try TestClient(tester, port: 5001)
        try six.allocate(isIPv6: true)
        for text in ["::1", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "64:ff9b::10.0.0.1"] {
            #expect(try six.permit(text)?.code == 403, "\(text)")
        }
        #expect(try six.permit("192.0.2.1")?.code == 443)
        #expect(try six.permit("2600::1")?.isSuccess == true)
    }

    @Test func `A range that the operator names is open`() throws {
        let tester = ServerTester(policy: PeerAddressPolicy(allowed: [try #require(IPNetwork("10.0.0.0/8"))]))
        let client = try TestClient(tester)
        try client.allocate()
        #expect(try client.permit("10.1.2.3")?.isSuccess == true)
        #expect(try client.permit("192.168.1.1")?.code == 403)
        client.sendIndication([1], to: try peer("10.1.2.3"))
        #expect(tester.take().count == 1)
        // Its own services are not open even then.
        #expect(try client.permit([ServerTester.local])?.isSuccess == true)
        client.sendIndication([1], to: TransportAddress(ServerTester.local, port: 53))
        #expect(tester.take().count == 1)
        client.sendIndication([1], to: TransportAddress(ServerTester.local, port: ServerTester.listeningPort))
        #expect(tester.take().isEmpty)
    }

    @Test func `Addresses that the machine gets later are out of bounds from then on`() throws {
        let tester = ServerTester()
        let client = try TestClient(tester)
        try client.allocate()
        #expect(try client.permit("203.0.113.77")?.isSuccess == true)
        tester.server.setOwnAddresses([try #require(IPAddress("203.0.113.77"))])
        #expect(try client.permit("203.0.113.77")?.code == 403)
    }

    @Test func `Permissions have a limit, which those that have ended do not count towards`() throws {
        let tester = ServerTester { $0.permissions = 3 }
        let client = try TestClient(tester)
        try client.allocate()
        #expect(try client.permit("192.0.2.1", "192.0.2.2")?.isSuccess == true)
        #expect(try client.permit("192.0.2.3", "192.0.2.4")?.code == 508)
        #expect(try client.permit("192.0.2.2", "192.0.2.3", "192.0.2.3")?.isSuccess == true)
        #expect(try client.permit("192.0.2.4")?.code == 508)
        #expect(try client.bind(0x4000, to: try peer("192.0.2.4"))?.code == 508)
        #expect(try client.permit("192.0.2.1")?.isSuccess == true)
        tester.pass(.seconds(300))
        #expect(try client.permit("192.0.2.5", "192.0.2.6", "192.0.2.7")?.isSuccess == true)
    }

    // MARK: Channels

    @Test func `A channel carries data both ways, without padding over UDP`() throws {
        let tester = ServerTester()
        let client = try TestClient(tester)
        try client.allocate()
        let relay = try #require(client.relay)
        client.sendChannelData(0x4001, [9])
        #expect(tester.take().isEmpty)
        #expect(tester.server.statistics.dropped.unbound == 1)
        let reply = try #require(try client.bind(0x4001, to: try peer()))
        #expect(reply.isSuccess && reply.isAuthentic(client.key))
        for count in [1, 2, 3, 4, 5, 1200, 65_000] {
            let data = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
            client.sendChannelData(0x4001, data)
            var sent = tester.take()
            #expect(sent.map(\.path) == [TransmitPath(port: relay, remote: try peer())])
            #expect(sent.first?.bytes == data)
            tester.deliver(data, from: try peer(), on: relay)
            sent = tester.take()
            #expect(sent.map(\.path) == [client.path])
            #expect(sent.first?.bytes == TestClient.channelData(0x4001, data, isPadded: false))
        }
        // Padding, which a client may add over UDP, too, is none of the data.
        client.send(TestClient.channelData(0x4001, [7], isPadded: true))
        #expect(tester.take().first?.bytes == [7])
        // The permission is for the address; another port of it comes as an indication.
        tester.deliver([1], from: try peer("192.0.2.1", 4001), on: relay)
        #expect(try Reply(#require(tester.take().first).bytes).message.method == .data)
        // Of what is cut off nothing is relayed, nor is nothing.
        client.send([0x40, 0x01, 0, 5, 1, 2])
        client.send([0x40, 0x01, 0, 0])
        client.send([0x40, 0x02, 0, 1, 1])
        client.send([0x40])
        #expect(tester.take().isEmpty)
    }

    @Test func `A channel ends after ten minutes, its permission after five`() throws {
        let tester = ServerTester()
        let client = try TestClient(tester)
        try client.allocate()
        #expect(try client.ask(.refresh) { $0.add(.lifetime, UInt32(3600)) }?.isSuccess == true)
        let relay = try #require(client.relay)
        #expect(try client.bind(0x4000, to: try peer())?.isSuccess == true)
        tester.pass(.seconds(299))
        tester.deliver([1], from: try peer(), on: relay)
        #expect(tester.take().count == 1)
        tester.pass(.seconds(1))
        tester.deliver([1], from: try peer(), on: relay)
        #expect(tester.take().isEmpty, "the permission is over")
        client.sendChannelData(0x4000, [1])
        #expect(tester.take().count == 1, "the channel is not")
        #expect(try client.permit("192.0.2.1")?.isSuccess == true)
        tester.deliver([1], from: try peer(), on: relay)
        #expect(tester.take().first?.bytes == [0x40, 0, 0, 1, 1], "a permission serves the channel")
        tester.pass(.seconds(299))
        client.sendChannelData(0x4000, [1])
        #expect(tester.take().count == 1)
        tester.pass(.seconds(1))
        client.sendChannelData(0x4000, [1])
        #expect(tester.take().isEmpty)
        #expect(try client.bind(0x4001, to: try peer())?.isSuccess == true, "the peer may be bound anew")
        tester.pass(.seconds(500))
        #expect(try client.bind(0x4001, to: try peer())?.isSuccess == true)
        tester.pass(.seconds(200))
        client.sendChannelData(0x4001, [1])
        tester.deliver([1], from: try peer(), on: relay)
        #expect(tester.take().count == 2, "binding again prolongs channel and permission")
    }

    @Test func `Numbers and peers are bound to one another only`() throws {
        let tester = ServerTester()
        let client = try TestClient(tester)
        try client.allocate()
        for number in [0, 0x3FFF, 0x8000, 0xFFFF] as [UInt16] {
            #expect(try client.bind(number, to: try peer())?.code == 400, "\(number)")
        }
        #expect(try client.bind(0x4000, to: try peer("192.0.2.1", 0))?.code == 400)
        #expect(try client.ask(.channelBind) { $0.add(.channelNumber, UInt32(0x4000) << 16) }?.code == 400)
        #expect(try client.ask(.channelBind) { $0.add(.xorPeerAddress, xor: client.address) }?.code == 400)
        #expect(try client.bind(0x4000, to: try peer())?.isSuccess == true)
        #expect(try client.bind(0x4000, to: try peer())?.isSuccess == true)
        #expect(try client.bind(0x4000, to: try peer("192.0.2.1", 4001))?.code == 400, "the number is taken")
        #expect(try client.bind(0x7FFF, to: try peer())?.code == 400, "the peer has another")
        #expect(try client.bind(0x7FFF, to: try peer("192.0.2.1", 4001))?.isSuccess == true)
        client.sendChannelData(0x7FFF, [1])
        #expect(tester.take().map { [$0.bytes] } == [[[1]]], "a number of RFC 5766")
        let other = try TestClient(tester, port: 5001)
        try other.allocate()
        #expect(try other.bind(0x4000, to: try peer("192.0.2.9"))?.isSuccess == true, "each client has its own")
    }

    @Test func `Channels have a limit, which those that have ended do not count towards`() throws {
        let tester = ServerTester { $0.channels = 2 }
        let client = try TestClient(tester)
        try client.allocate()
        #expect(try client.ask(.refresh) { $0.add(.lifetime, UInt32(3600)) }?.isSuccess == true)
        for number in 0..<3 as Range<UInt16> {
            #expect(
                try client.bind(0x4000 + number, to: try peer("192.0.2.1", 1 + number))?.code
                    == (number < 2 ? nil : 508)
            )
        }
        tester.pass(.seconds(600))
        #expect(try client.bind(0x4002, to: try peer("192.0.2.1", 3))?.isSuccess == true)
    }

    // MARK: Two clients of one server

    @Test func `Two clients reach each other by their relayed addresses, and nothing else there`() throws {
        let tester = ServerTester()
        let first = try TestClient(tester), second = try TestClient(tester, "198.51.100.2", name: "bob")
        let firstRelayed = try first.allocate(), secondRelayed = try second.allocate()
        #expect(try first.bind(0x4000, to: secondRelayed)?.isSuccess == true)
        first.sendChannelData(0x4000, [1])
        #expect(tester.take().isEmpty, "the second has not permitted the first")
        #expect(try second.bind(0x4FFF, to: firstRelayed)?.isSuccess == true)
        first.sendChannelData(0x4000, [1, 2])
        #expect(tester.take().map(\.bytes) == [[0x4F, 0xFF, 0, 2, 1, 2]])
        second.sendChannelData(0x4FFF, [3])
        let sent = tester.take()
        #expect(sent.map(\.path) == [first.path] && sent.first?.bytes == [0x40, 0, 0, 1, 3])
        // The socket's own address is the same relay.
        #expect(try first.permit([ServerTester.local])?.isSuccess == true)
        first.sendIndication([4], to: TransportAddress(ServerTester.local, port: secondRelayed.port))
        #expect(tester.take().map(\.path) == [second.path])
        // What else is at that address is out of bounds, the server's own port first of all.
        for port in [22, 53, ServerTester.listeningPort, 49_999] {
            for ip in [ServerTester.told, ServerTester.local] {
                first.sendIndication([5], to: TransportAddress(ip, port: port))
            }
        }
        #expect(tester.take().isEmpty)
        #expect(try second.ask(.refresh) { $0.add(.lifetime, UInt32(0)) }?.isSuccess == true)
        first.sendChannelData(0x4000, [1, 2])
        #expect(tester.take().isEmpty, "nor what comes to have its port")
    }

    @Test func `A client that sends to itself gets it once`() throws {
        let tester = ServerTester()
        let client = try TestClient(tester)
        let relayed = try client.allocate()
        #expect(try client.bind(0x4000, to: relayed)?.isSuccess == true)
        client.sendChannelData(0x4000, [1])
        #expect(tester.take().map(\.path) == [client.path])
    }

    // MARK: Rate

    @Test func `An allocation relays so many bytes a second`() throws {
        let tester = ServerTester { $0.bytesPerSecond = 10_000 }
        let client = try TestClient(tester)
        try client.allocate()
        let relay = try #require(client.relay)
        #expect(try client.bind(0x4000, to: try peer())?.isSuccess == true)
        tester.pass(.seconds(10))
        for _ in 0..<20 {
            client.sendChannelData(0x4000, [UInt8](repeating: 1, count: 1000))
            tester.deliver([UInt8](repeating: 1, count: 1000), from: try peer(), on: relay)
        }
        #expect(tester.take().count == 10)
        #expect(tester.server.statistics.dropped.overRate == 30)
        for _ in 0..<1000 {
            tester.pass(.milliseconds(1))
            client.sendChannelData(0x4000, [UInt8](repeating: 1, count: 100))
        }
        #expect(tester.take().count == 100)
    }

    @Test func `Whom no permission lets through uses up nothing of it, and no bytes are counted as relayed`() throws {
        let tester = ServerTester { $0.bytesPerSecond = 10_000 }
        let client = try TestClient(tester)
        try client.allocate()
        let relay = try #require(client.relay)
        #expect(try client.bind(0x4000, to: try peer())?.isSuccess == true)
        _ = tester.take()
        for _ in 0..<20 {
            tester.deliver([UInt8](repeating: 1, count: 1000), from: try peer("192.0.2.66"), on: relay)
        }
        #expect(tester.server.statistics.dropped.forbidden == 20)
        tester.deliver([UInt8](repeating: 1, count: 1000), from: try peer(), on: relay)
        #expect(tester.take().count == 1)
        #expect(tester.server.statistics.dropped.overRate == 0)
        _ = tester.takeEvents()
        #expect(try client.ask(.refresh) { $0.add(.lifetime, UInt32(0)) }?.isSuccess == true)
        guard case .ended(_, _, .deleted, let relayedBytes) = tester.takeEvents().first else {
            return #expect(Bool(false), "not deleted")
        }
        #expect(relayedBytes == 1000)
    }

    @Test func `What one client of the server sends to another counts for both`() throws {
        let tester = ServerTester { $0.bytesPerSecond = 10_000 }
        let clients = try (1...3).map { try TestClient(tester, "198.51.100.\($0)", name: "user\($0)") }
        let relayed = try clients.map { try $0.allocate() }
        #expect(try clients[0].bind(0x4000, to: relayed[1])?.isSuccess == true)
        #expect(try clients[2].bind(0x4000, to: relayed[1])?.isSuccess == true)
        #expect(try clients[1].permit([relayed[0].ip])?.isSuccess == true)
        _ = tester.take()
        for _ in 0..<10 {
            clients[0].sendChannelData(0x4000, [UInt8](repeating: 1, count: 1000))
            clients[2].sendChannelData(0x4000, [UInt8](repeating: 1, count: 1000))
        }
        #expect(tester.take().count == 10)
        #expect(tester.server.statistics.dropped.overRate == 10)
    }

    // MARK: Cost

    /// In debug builds, too: one copy into the queue, and nothing else.
    @Test(.enabled(if: allocation_counter_counts())) func `Data along channels allocates nothing`() throws {
        let tester = ServerTester()
        let client = try TestClient(tester)
        try client.allocate()
        let relay = try #require(client.relay)
        let peer = try peer()
        #expect(try client.bind(0x4000, to: peer)?.isSuccess == true)
        let (server, transmits, now) = (tester.server, tester.transmits, tester.now)
        let data = [UInt8](repeating: 1, count: 1200)
        let message = TestClient.channelData(0x4000, data, isPadded: false)
        var counts: [Int64] = []
        for _ in 0..<3 {
            let before = allocation_counter_this_thread()
            for _ in 0..<40 {
                server.receive(message.span.bytes, from: client.address, on: ServerTester.listener, at: now)
                server.receive(data.span.bytes, from: peer, on: relay, at: now)
            }
            counts.append(allocation_counter_this_thread() - before)
            #expect(transmits.count == 80)
            transmits.removeAll()
        }
        // The queue grows at first.
        #expect(counts.dropFirst() == [0, 0])
    }
}
