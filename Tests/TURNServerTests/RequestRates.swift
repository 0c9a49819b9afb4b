import STUN
import SansIO
import TURNServer
import Testing

/// Who can make the server do how much, and whom they do not keep out by it.
@Suite struct RequestRates {
    private let peer = TransportAddress(IPAddress(v4: 0xC000_0201), port: 4000)
    /// Far more than any limit.
    private let flood = 1000

    /// Sends a request many times, as from anywhere.
    ///
    /// - Returns: how many were answered.
    @discardableResult
    private func flood(_ client: TestClient, _ request: (TestClient) -> [UInt8]) -> Int {
        _ = client.tester.take()
        for _ in 0..<flood { client.send(request(client)) }
        return client.tester.take().count
    }

    private func binding(_ client: TestClient) -> [UInt8] { client.message(.binding, isSigned: false) }

    private func bareAllocate(_ client: TestClient) -> [UInt8] {
        client.message(.allocate, isSigned: false, TestClient.udp)
    }

    // MARK: Forged addresses

    @Test func `Who forges Binding requests of a host keeps nobody there from TURN`() throws {
        let tester = ServerTester()
        let forger = try TestClient(tester, port: 666)
        #expect(flood(forger, binding) < flood, "what proves nothing is answered so often")
        try TestClient(tester, port: 6000).allocate()
        try TestClient(tester, port: 6001, stream: 7).allocate()
        #expect(tester.server.allocationCount == 2)
    }

    @Test func `A connection proves its address, so forged datagrams do not count against it`() throws {
        let tester = ServerTester()
        let forger = try TestClient(tester, port: 666)
        flood(forger, binding)
        flood(forger, bareAllocate)
        let client = try TestClient(tester, port: 6001, stream: 7)
        #expect(try client.ask(.binding, isSigned: false)?.isSuccess == true)
        try client.allocate()
        #expect(try client.ask(.refresh)?.isSuccess == true)
    }

    @Test func `A nonce shows that its host gets what is sent there, so forged datagrams do not count against it`()
        throws
    {
        let tester = ServerTester()
        let client = try TestClient(tester)
        try client.meet()
        let forger = try TestClient(tester, port: 666)
        forger.nonce = Array(repeating: UInt8(ascii: "0"), count: client.nonce.count)
        flood(forger, binding)
        flood(forger, bareAllocate)
        flood(forger) { $0.message(.allocate, TestClient.udp) }
        #expect(try forger.ask(bareAllocate(forger)) == nil, "challenges are limited, too")
        try client.allocate()
        // Another five-tuple of the same host, as behind a NAT.
        let other = try TestClient(tester, port: 5001)
        other.nonce = client.nonce
        try other.allocate()
    }

    @Test func `Who forges a client's very five-tuple does not use up what its allocation may ask`() throws {
        let tester = ServerTester()
        let client = try TestClient(tester)
        try client.allocate()
        let forger = try TestClient(tester, port: client.address.port)
        forger.nonce = Array(repeating: UInt8(ascii: "0"), count: client.nonce.count)
        for request in [
            binding, bareAllocate, { $0.message(.refresh, isSigned: false) }, { $0.message(.refresh) },
        ] { flood(forger, request) }
        #expect(try client.ask(.refresh)?.isSuccess == true)
        #expect(try client.permit("192.0.2.1")?.isSuccess == true)
    }

    // MARK: Clients

    @Test func `Each connection may ask so often`() throws {
        let tester = ServerTester()
        let client = try TestClient(tester, stream: 7)
        let other = try TestClient(tester, port: 5001, stream: 8)
        #expect(flood(client, binding) < flood / 2)
        #expect(flood(client, bareAllocate) == 0)
        #expect(try other.ask(.binding, isSigned: false)?.isSuccess == true)
        try other.allocate()
        tester.pass(.seconds(10))
        try client.allocate()
    }

    @Test(arguments: [nil, 7]) func `An allocation's requests are limited, right or wrong, and its data is not`(
        stream: Int?
    ) throws {
        let tester = ServerTester()
        let client = try TestClient(tester, stream: stream)
        try client.allocate()
        #expect(try client.permit("192.0.2.1")?.isSuccess == true)
        #expect(try client.bind(0x4000, to: peer)?.isSuccess == true)
        let right = client.password
        let answered = flood(client) { $0.message(.refresh) }
        #expect((100..<flood / 2).contains(answered), "a burst, and no more")
        client.password = "guess"
        #expect(flood(client) { $0.message(.refresh) } == 0)
        tester.pass(.seconds(1))
        let guesses = flood(client) { $0.message(.refresh) }
        #expect((1..<answered).contains(guesses))
        client.sendChannelData(0x4000, [1])
        client.sendIndication([2], to: peer)
        #expect(tester.take().map(\.bytes) == [[1], [2]])
        // Others do not feel it.
        let other = try TestClient(tester, port: 5001)
        try other.allocate()
        tester.pass(.seconds(1))
        client.password = right
        #expect(try client.ask(.refresh)?.isSuccess == true)
    }

    @Test func `A host with a nonce and no allocation may ask so often`() throws {
        let tester = ServerTester()
        let client = try TestClient(tester)
        try client.meet()
        let other = try TestClient(tester, "198.51.100.2")
        client.password = "guess"
        #expect(flood(client) { $0.message(.allocate, TestClient.udp) } < flood / 2)
        try other.allocate()
        tester.pass(.seconds(10))
        let late = try TestClient(tester, port: 5001)
        late.nonce = client.nonce
        try late.allocate()
    }

    @Test func `An allocation goes on with the nonce that it is given after an hour, whoever floods meanwhile`() throws
    {
        let tester = ServerTester()
        let client = try TestClient(tester)
        try client.allocate()
        for _ in 0..<3 {
            tester.pass(.seconds(590))
            #expect(try client.ask(.refresh) { $0.add(.lifetime, UInt32(3600)) }?.isSuccess == true)
        }
        tester.pass(.seconds(1900))
        let forger = try TestClient(tester, port: 666)
        flood(forger, binding)
        flood(forger, bareAllocate)
        let reply = try #require(try client.ask(.refresh))
        #expect(reply.code == 438)
        client.nonce = try #require(reply.bytes(.nonce))
        flood(forger, bareAllocate)
        #expect(try client.ask(.refresh)?.isSuccess == true)
        // From now on that one is known.
        let answered = flood(client) { $0.message(.refresh) }
        #expect((50..<flood / 2).contains(answered))
    }
}
