import DTLS
import SansIO
import Testing

extension VirtualTime {
    @Suite struct DTLSClosing {
        @Test func `closing tells the peer, which answers`() throws {
            let pair = try DTLSPair()
            pair.run()
            pair.client.transport.close()
            #expect(pair.client.transport.state == .closed)
            #expect(pair.client.transport.statistics.sentAlert == 0)  // close_notify
            pair.exchange()
            #expect(pair.server.transport.state == .closed)
            #expect(pair.server.events.last == .closed)
            #expect(pair.server.transport.statistics.sentAlert == 0)
            #expect(throws: DTLSError.notConnected) { try pair.client.send([1]) }
            #expect(throws: DTLSError.notConnected) { try pair.server.send([1]) }
        }

        @Test func `messages before the close still arrive`() throws {
            let pair = try DTLSPair()
            pair.run()
            try pair.server.send([4, 2])
            pair.server.transport.close()
            pair.exchange()
            #expect(pair.client.messages == [[4, 2]])
            #expect(pair.client.events.last == .closed)
        }

        @Test func `closing twice, early and in the handshake is quiet`() throws {
            let pair = try DTLSPair()
            pair.server.transport.close()
            pair.server.transport.close()
            #expect(pair.server.transport.state == .closed)
            pair.client.transport.start(role: .client, initialTimeout: .milliseconds(50), at: pair.now)
            pair.client.transport.close()
            #expect(pair.client.transport.state == .closed)
            #expect(pair.client.transport.nextDeadline == nil)
            pair.exchange()
            #expect(pair.client.events.isEmpty)
            #expect(pair.server.events.isEmpty)
            #expect(pair.server.transport.statistics.datagramsDropped == 1)
        }

        @Test func `datagrams after the end are dropped`() throws {
            let pair = try DTLSPair()
            pair.run()
            try pair.client.send([1])
            pair.server.transport.close()
            pair.exchange()
            #expect(pair.server.messages.isEmpty)
            #expect(pair.server.transport.statistics.datagramsDropped > 0)
        }

        @Test func `a connection may be dropped at any moment`() throws {
            for steps in 0..<4 {
                let pair = try DTLSPair()
                pair.network = { _, burst, datagrams in burst < steps ? datagrams : [] }
                pair.start()
                pair.exchange()
            }
        }
    }
}
