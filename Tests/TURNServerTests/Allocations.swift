import STUN
import SansIO
import TURNServer
import Testing

@Suite struct Allocations {
    @Test func `An allocation has an address of the server's, told as it is from outside`() throws {
        let tester = ServerTester()
        let client = try TestClient(tester)
        try client.meet()
        let reply = try #require(try client.ask(.allocate, TestClient.udp))
        #expect(reply.isSuccess)
        #expect(reply.address(.xorRelayedAddress) == TransportAddress(ServerTester.told, port: 50_000))
        #expect(reply.address(.xorMappedAddress) == client.address)
        #expect(reply.uint32(.lifetime) == 600)
        #expect(reply.isAuthentic(client.key))
        #expect(tester.relays.values.map(\.ip) == [ServerTester.local])
        #expect(
            tester.takeEvents() == [
                .allocated(
                    user: "alice",
                    client: client.address,
                    relayed: TransportAddress(ServerTester.told, port: 50_000)
                )
            ]
        )
    }

    @Test func `The same request again is answered the same, and another with 437`() throws {
        let tester = ServerTester()
        let client = try TestClient(tester)
        try client.meet()
        let request = client.message(.allocate, TestClient.udp)
        let first = try #require(try client.ask(request))
        let second = try #require(try client.ask(request))
        #expect(first.bytes == second.bytes)
        #expect(tester.openedCount == 1)
        #expect(try client.ask(.allocate, TestClient.udp)?.code == 437)
        #expect(tester.server.allocationCount == 1)
    }

    @Test func `While the socket is being opened nothing else is, and the answer comes once`() throws {
        let tester = ServerTester()
        tester.opening = .never
        let client = try TestClient(tester)
        try client.meet()
        let request = client.message(.allocate, TestClient.udp)
        #expect(try client.ask(request) == nil)
        #expect(try client.ask(request) == nil)
        #expect(try client.ask(.allocate, TestClient.udp)?.code == 437)
        for method in [STUNMethod.refresh, .createPermission, .channelBind] {
            #expect(try client.ask(method)?.code == 437)
        }
        #expect(tester.openedCount == 1)
        tester.openRelays()
        let sent = tester.take()
        #expect(sent.count == 1)
        #expect(try Reply(#require(sent.first).bytes).isSuccess)
        tester.openRelays()
        #expect(tester.take().isEmpty)
    }

    @Test func `Without a socket there is no allocation`() throws {
        let tester = ServerTester()
        tester.opening = .refused
        let client = try TestClient(tester)
        try client.meet()
        let reply = try #require(try client.ask(.allocate, TestClient.udp))
        #expect(reply.code == 508)
        #expect(reply.isAuthentic(client.key))
        #expect(tester.server.allocationCount == 0)
        tester.opening = .atOnce
        #expect(try client.ask(.allocate, TestClient.udp)?.isSuccess == true)
    }

    private func code(_ attributes: @escaping (inout STUNMessageWriter) -> Void) throws -> UInt16? {
        let tester = ServerTester()
        let client = try TestClient(tester)
        try client.meet()
        let reply = try #require(try client.ask(.allocate, attributes))
        #expect(reply.isAuthentic(client.key))
        #expect(tester.server.allocationCount == (reply.isSuccess ? 1 : 0))
        return reply.code
    }

    @Test func `What cannot be done is refused as the RFC says`() throws {
        #expect(try code { _ in } == 400, "no transport")
        #expect(try code { $0.add(.requestedTransport, [17]) } == 400)
        #expect(try code { $0.add(.requestedTransport, UInt32(6) << 24) } == 442, "TCP")
        #expect(
            try code {
                TestClient.udp(&$0); $0.addFlag(.dontFragment)
            } == 420
        )
        #expect(
            try code {
                TestClient.udp(&$0); $0.addFlag(.evenPort)
            } == 400
        )
        #expect(
            try code {
                TestClient.udp(&$0); $0.add(.evenPort, [0x80])
            } == 508
        )
        #expect(
            try code {
                TestClient.udp(&$0); $0.add(.reservationToken, UInt64(1))
            } == 508
        )
        #expect(
            try code {
                TestClient.udp(&$0); $0.add(.reservationToken, UInt32(1))
            } == 400
        )
        #expect(
            try code {
                TestClient.udp(&$0); $0.add(.reservationToken, UInt64(1)); $0.add(.evenPort, [0])
            } == 400
        )
        #expect(
            try code {
                TestClient.udp(&$0)
                $0.add(.reservationToken, UInt64(1))
                $0.add(.requestedAddressFamily, UInt32(1) << 24)
            } == 400
        )
        #expect(
            try code {
                TestClient.udp(&$0); $0.add(.requestedAddressFamily, UInt32(3) << 24)
            } == 440
        )
        #expect(
            try code {
                TestClient.udp(&$0); $0.add(.requestedAddressFamily, [1])
            } == 400
        )
        #expect(
            try code {
                TestClient.udp(&$0)
                $0.add(.requestedAddressFamily, UInt32(1) << 24)
                $0.add(.additionalAddressFamily, UInt32(2) << 24)
            } == 400
        )
        #expect(
            try code {
                TestClient.udp(&$0); $0.add(.additionalAddressFamily, UInt32(1) << 24)
            } == 400
        )
        #expect(
            try code {
                TestClient.udp(&$0)
                $0.add(.additionalAddressFamily, UInt32(2) << 24)
                $0.add(.evenPort, [0x80])
            } == 400
        )
        #expect(
            try code {
                TestClient.udp(&$0); $0.add(.requestedAddressFamily, UInt32(1) << 24)
            } == nil
        )
        #expect(try code { TestClient.udp(&$0) } == nil)
    }

    @Test func `A second family beside the first is not had, and said so in the answer`() throws {
        let tester = ServerTester()
        let client = try TestClient(tester)
        try client.meet()
        let reply = try #require(
            try client.ask(.allocate) {
                TestClient.udp(&$0)
                $0.add(.additionalAddressFamily, UInt32(2) << 24)
            }
        )
        #expect(reply.isSuccess)
        #expect(reply.address(.xorRelayedAddress)?.ip == ServerTester.told)
        #expect(try #require(reply.bytes(.addressErrorCode)).prefix(4) == [2, 0, 4, 40])
    }

    @Test func `An even port is had, the next one with it not`() throws {
        let tester = ServerTester()
        try TestClient(tester, port: 1).allocate()
        let client = try TestClient(tester)
        try client.meet()
        let reply = try client.ask(.allocate) {
            TestClient.udp(&$0)
            $0.add(.evenPort, [0])
        }
        #expect(reply?.address(.xorRelayedAddress)?.port == 50_002)
    }

    @Test func `IPv6 is relayed where the server has it`() throws {
        let client = try TestClient(ServerTester())
        #expect(try client.allocate(isIPv6: true).ip == ServerTester.toldIPv6)
        let tester = ServerTester(relays: [TURNRelayAddress(local: ServerTester.local)])
        let other = try TestClient(tester)
        try other.meet()
        let reply = try other.ask(.allocate) {
            TestClient.udp(&$0)
            $0.add(.requestedAddressFamily, UInt32(2) << 24)
        }
        #expect(reply?.code == 440)
    }

    @Test(
        arguments: [(nil, 600), (0, 600), (1, 600), (600, 600), (1800, 1800), (3600, 3600), (3601, 3600), (.max, 3600)]
            as [(UInt32?, UInt32)]
    )
    func `Lifetimes have bounds`(asked: UInt32?, given: UInt32) throws {
        let tester = ServerTester()
        let client = try TestClient(tester)
        try client.meet()
        let reply = try client.ask(.allocate) {
            TestClient.udp(&$0)
            if let asked { $0.add(.lifetime, asked) }
        }
        #expect(reply?.uint32(.lifetime) == given)
        guard asked != 0 else { return }
        #expect(
            try client.ask(.refresh) { writer in if let asked { writer.add(.lifetime, asked) } }?.uint32(.lifetime)
                == given
        )
        tester.pass(.seconds(Int64(given)) - .nanoseconds(1))
        #expect(tester.server.allocationCount == 1 && tester.relays.count == 1)
        tester.pass(.nanoseconds(1))
        #expect(tester.server.allocationCount == 0 && tester.relays.isEmpty)
        #expect(tester.server.nextDeadline == nil)
        #expect(
            tester.takeEvents().last
                == .ended(user: "alice", client: client.address, .expired, relayedBytes: 0)
        )
    }

    @Test func `A refresh prolongs, or deletes`() throws {
        let tester = ServerTester()
        let client = try TestClient(tester)
        try client.meet()
        #expect(try client.ask(.refresh)?.code == 437)
        try client.allocate()
        tester.pass(.seconds(599))
        #expect(try client.ask(.refresh)?.isSuccess == true)
        tester.pass(.seconds(599))
        #expect(try client.ask(.refresh) { $0.add(.requestedAddressFamily, UInt32(2) << 24) }?.code == 443)
        #expect(try client.ask(.refresh) { $0.add(.requestedAddressFamily, UInt32(1) << 24) }?.isSuccess == true)
        let reply = try #require(try client.ask(.refresh) { $0.add(.lifetime, UInt32(0)) })
        #expect(reply.isSuccess && reply.uint32(.lifetime) == 0)
        #expect(reply.isAuthentic(client.key))
        #expect(tester.relays.isEmpty)
        #expect(try client.ask(.refresh) { $0.add(.lifetime, UInt32(0)) }?.code == 437)
        #expect(try client.allocate().port == 50_001, "the five-tuple is free again")
    }

    @Test func `Each user, each host and the server have a limit`() throws {
        let tester = ServerTester { limits in
            limits.allocationsPerUser = 2
            limits.allocationsPerHost = 3
            limits.allocations = 5
        }
        func code(_ address: String, _ port: UInt16, _ name: String) throws -> UInt16? {
            let client = try TestClient(tester, address, port: port, name: name)
            try client.meet()
            return try #require(try client.ask(.allocate, TestClient.udp)).code
        }
        #expect(try code("198.51.100.1", 1, "alice") == nil)
        #expect(try code("198.51.100.2", 1, "alice") == nil)
        #expect(try code("198.51.100.3", 1, "alice") == 486, "the name counts, wherever it comes from")
        let other = try TestClient(tester, "198.51.100.3", name: "alice", expiresIn: 5000)
        try other.meet()
        #expect(try other.ask(.allocate, TestClient.udp)?.code == 486, "and not the time before it")
        #expect(try code("198.51.100.1", 2, "bob") == nil)
        #expect(try code("198.51.100.1", 3, "bob") == nil)
        #expect(try code("198.51.100.1", 4, "carol") == 486, "the host, whoever it says it is")
        #expect(try code("198.51.100.4", 1, "carol") == nil)
        #expect(try code("198.51.100.5", 1, "carol") == 508)
        tester.pass(.seconds(600))
        #expect(tester.server.allocationCount == 0)
        #expect(try code("198.51.100.1", 5, "alice") == nil)
        #expect(try code("198.51.100.1", 6, "alice") == nil)
        #expect(try code("198.51.100.1", 7, "alice") == 486)
    }

    @Test func `Each family has as many allocations as it has ports`() throws {
        let tester = ServerTester { $0.allocationsPerFamily = 2 }
        func code(_ port: UInt16, isIPv6: Bool) throws -> UInt16? {
            let client = try TestClient(tester, port: port)
            try client.meet()
            let reply = try client.ask(.allocate) {
                TestClient.udp(&$0)
                if isIPv6 { $0.add(.requestedAddressFamily, UInt32(2) << 24) }
            }
            return try #require(reply).code
        }
        for isIPv6 in [false, true] {
            #expect(try code(isIPv6 ? 11 : 1, isIPv6: isIPv6) == nil)
            #expect(try code(isIPv6 ? 12 : 2, isIPv6: isIPv6) == nil)
            #expect(try code(isIPv6 ? 13 : 3, isIPv6: isIPv6) == 508, "its ports are taken")
        }
        tester.pass(.seconds(600))
        #expect(tester.server.allocationCount == 0)
        #expect(try code(4, isIPv6: false) == nil, "those that ended count no more")
    }

    @Test func `Closing deletes everything`() throws {
        let tester = ServerTester()
        for port in 1...3 as ClosedRange<UInt16> { try TestClient(tester, port: port).allocate() }
        tester.server.close()
        tester.pass(.zero)
        #expect(tester.relays.isEmpty && tester.server.allocationCount == 0)
    }
}
