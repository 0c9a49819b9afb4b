import DTLS
import SansIO
import Testing

extension VirtualTime {
    @Suite struct DTLSEarlyDatagrams {
        @Test func `a hello that precedes start is answered at start`() throws {
            let pair = try DTLSPair()
            pair.client.transport.start(role: .client, initialTimeout: .milliseconds(50), at: pair.now)
            pair.exchange()
            #expect(pair.server.transport.state == .new)
            #expect(pair.server.transport.statistics.datagramsReceived == 1)
            pair.server.transport.start(role: .server, initialTimeout: .milliseconds(50), at: pair.now)
            pair.exchange()
            #expect(pair.areConnected)
            #expect(pair.client.transport.statistics.flightsRetransmitted == 0)
        }

        @Test func `repetitions of a hello that precedes start do no harm`() throws {
            let pair = try DTLSPair()
            pair.client.transport.start(role: .client, initialTimeout: .milliseconds(50), at: pair.now)
            for _ in 0..<4 {
                pair.exchange()
                #expect(pair.advance())
            }
            pair.exchange()
            pair.server.transport.start(role: .server, initialTimeout: .milliseconds(50), at: pair.now)
            pair.run()
            #expect(pair.areConnected)
        }

        @Test func `what precedes start is bounded in number and bytes`() throws {
            let pair = try DTLSPair()
            for _ in 0..<(DTLSTransport.maximumHeldDatagramCount + 3) { pair.server.receive([22, 1], at: pair.now) }
            #expect(pair.server.transport.statistics.datagramsDropped == 3)
            let large = [UInt8](repeating: 22, count: DTLSTransport.maximumHeldByteCount / 2 + 1)
            pair.client.receive(large, at: pair.now)
            pair.client.receive(large, at: pair.now)
            #expect(pair.client.transport.statistics.datagramsDropped == 1)
        }

        @Test func `a client ignores a peer that also believes to be client`() throws {
            let pair = try DTLSPair()
            let third = try DTLSPair()
            third.client.transport.start(role: .client, initialTimeout: .milliseconds(50), at: pair.now)
            let hello = try #require(third.client.takeDatagrams().first)
            pair.client.receive(hello, at: pair.now)
            pair.start()
            pair.client.receive(hello, at: pair.now)
            #expect(pair.client.transport.state == .connecting)
            #expect(pair.client.transport.statistics.datagramsDropped == 2)
            pair.exchange()
            #expect(pair.areConnected)
        }
    }
}
