import STUN
import SansIO
import TURNServer
import Testing

@Suite struct Bindings {
    private func request(_ change: (inout STUNMessageWriter) -> Void = { _ in }, fingerprint: Bool = false) -> [UInt8] {
        var writer = STUNMessageWriter(.request, .binding, STUNTransactionID(high: 1, low: 2))
        change(&writer)
        return writer.finish(fingerprint: fingerprint)
    }

    @Test(arguments: ["198.51.100.7", "2001:db8::7"]) func `A client learns its address, and nothing else`(text: String)
        throws
    {
        let tester = ServerTester()
        let client = try TestClient(tester, text, port: 40_000)
        let reply = try #require(try client.ask(request()))
        #expect(reply.isSuccess)
        #expect(reply.message.transactionID == STUNTransactionID(high: 1, low: 2))
        #expect(reply.address(.xorMappedAddress) == client.address)
        #expect(reply.message.attributes.count == 1)
        #expect(reply.bytes.count == 20 + (client.address.ip.isIPv4 ? 12 : 24), "no longer than needed")
    }

    @Test func `A fingerprint is answered with one`() throws {
        let client = try TestClient(ServerTester())
        #expect(try #require(try client.ask(request(fingerprint: true))).message.hasFingerprint)
        #expect(try #require(try client.ask(request())).message.hasFingerprint == false)
    }

    @Test func `What must be understood and is not, is named`() throws {
        let client = try TestClient(ServerTester())
        // CHANGE-REQUEST and RESPONSE-PORT would send the answer elsewhere.
        let change = STUNAttributeType(rawValue: 0x0003), port = STUNAttributeType(rawValue: 0x0027)
        let reply = try #require(
            try client.ask(
                request {
                    $0.add(change, UInt32(6))
                    $0.add(port, UInt32(9))
                    $0.add(change, UInt32(6))
                    $0.add(STUNAttributeType(rawValue: 0xC001), UInt32(1))
                }
            )
        )
        #expect(reply.code == 420)
        #expect(reply.bytes(.unknownAttributes) == [0, 3, 0, 0x27])
        #expect(reply.address(.xorMappedAddress) == nil)
    }

    @Test func `Responses and indications are never answered`() throws {
        let tester = ServerTester()
        let client = try TestClient(tester)
        let answer = try #require(try client.ask(request())).bytes
        #expect(try client.ask(answer) == nil, "a server's own answer, sent back")
        for method in [STUNMethod.binding, .allocate, .refresh, .createPermission, .channelBind, .data, .send] {
            for messageClass in [STUNClass.indication, .success, .failure] {
                let writer = STUNMessageWriter(messageClass, method, client.makeID())
                #expect(try client.ask(writer.finish()) == nil)
            }
        }
        #expect(
            try client.ask(STUNMessageWriter(.request, STUNMethod(rawValue: 0x00A), client.makeID()).finish()) == nil
        )
        #expect(tester.server.statistics.dropped.unexpected == 7 * 3 - 1 + 2)
    }

    @Test func `A host is answered so often without credentials, and later again`() throws {
        let tester = ServerTester { limits in
            limits.bindingBurst = 5
            limits.bindingsPerSecond = 2
            limits.challengeBurst = 3
            limits.challengesPerSecond = 1
        }
        let client = try TestClient(tester), other = try TestClient(tester, "198.51.100.2")
        // From another port, too: the host counts.
        let same = try TestClient(tester, port: 5001)
        for _ in 0..<3 { #expect(try client.ask(request()) != nil) }
        for _ in 0..<2 { #expect(try same.ask(request()) != nil) }
        #expect(try client.ask(request()) == nil)
        // Challenges are counted apart.
        for _ in 0..<2 { #expect(try client.ask(.allocate, isSigned: false) != nil) }
        #expect(try same.ask(.allocate, isSigned: false) != nil)
        #expect(try same.ask(.allocate, isSigned: false) == nil)
        #expect(try other.ask(request()) != nil)
        #expect(tester.server.statistics.dropped.rateLimited == 2)
        tester.pass(.milliseconds(1000))
        #expect(try client.ask(request()) != nil)
        #expect(try client.ask(request()) != nil)
        #expect(try client.ask(request()) == nil)
        tester.pass(.seconds(3600))
        for _ in 0..<5 { #expect(try client.ask(request()) != nil) }
        #expect(try client.ask(request()) == nil, "the burst does not grow with time")
    }

    @Test func `An IPv6 host has a network of addresses, and one allowance`() throws {
        let tester = ServerTester { limits in limits.bindingBurst = 2 }
        #expect(try TestClient(tester, "2001:db8:1:2::1").ask(request()) != nil)
        #expect(try TestClient(tester, "2001:db8:1:2:ffff::1").ask(request()) != nil)
        #expect(try TestClient(tester, "2001:db8:1:2::2").ask(request()) == nil)
        #expect(try TestClient(tester, "2001:db8:1:3::1").ask(request()) != nil)
    }

    @Test func `More hosts than are counted share an allowance`() throws {
        let tester = ServerTester { limits in
            limits.bindingBurst = 3
            limits.bindingsPerSecond = 1
            limits.countedHosts = 10
        }
        var answered = 0
        for host in 0..<100 {
            let client = try TestClient(tester, "198.51.100.\(host)")
            if try client.ask(request()) != nil { answered += 1 }
        }
        #expect(answered == 10 + 3)
        // Those that have theirs back are forgotten.
        tester.pass(.seconds(2))
        #expect(try TestClient(tester, "198.51.100.200").ask(request()) != nil)
    }

    @Test func `A server without relays is a STUN server`() throws {
        let tester = ServerTester(relays: [])
        let client = try TestClient(tester)
        #expect(try client.ask(request())?.isSuccess == true)
        try client.meet()
        #expect(try client.ask(.allocate, TestClient.udp)?.code == 440)
    }
}
