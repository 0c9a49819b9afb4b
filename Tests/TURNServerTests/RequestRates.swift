import STUN
import SansIO
import TURNServer
import Testing

/// Who can make the server do how much, and whom they do not keep out by it.
@Suite struct RequestRates {
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
}
