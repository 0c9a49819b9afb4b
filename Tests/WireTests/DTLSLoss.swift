import DTLS
import SansIO
import Testing

extension VirtualTime {
    @Suite struct DTLSLoss {
        /// Flights of a full handshake: the client's hello, the server's to hello done, the client's to finished, the
        /// server's finished.
        @Test(arguments: [
            (DTLSRole.client, 0), (DTLSRole.server, 0), (DTLSRole.client, 1), (DTLSRole.server, 1),
        ])
        func `a lost flight is repeated after the initial timeout`(sender: DTLSRole, lost: Int) throws {
            let pair = try DTLSPair()
            let began = pair.now
            pair.network = { role, burst, datagrams in role == sender && burst == lost ? [] : datagrams }
            pair.run()
            #expect(pair.areConnected)
            #expect(pair.client.connected?.keyingMaterial == pair.server.connected?.keyingMaterial)
            let retransmitted =
                pair.client.transport.statistics.flightsRetransmitted
                + pair.server.transport.statistics.flightsRetransmitted
            #expect(retransmitted >= 1)
            #expect(pair.now - began >= .milliseconds(50))
            #expect(pair.now - began < .milliseconds(110))
        }

        @Test func `timeouts double from the initial one and are capped`() throws {
            let pair = try DTLSPair()
            pair.network = { _, _, _ in [] }
            pair.start()
            pair.exchange()
            var last = pair.now
            var gaps: [Int64] = []
            while pair.advance() {
                gaps.append((pair.now - last).wholeMilliseconds)
                last = pair.now
                pair.exchange()
            }
            #expect(Array(gaps.prefix(8)) == [50, 100, 200, 400, 800, 1600, 3200, 6400])
            #expect(gaps.dropFirst(8).allSatisfy { $0 == 6400 })
            #expect(pair.client.transport.state == .failed)
            #expect(pair.client.failure == .timedOut)
            #expect(pair.server.transport.state == .connecting)
            #expect(pair.client.transport.nextDeadline == nil)
            #expect(pair.client.transport.statistics.flightsRetransmitted == gaps.count - 1)
        }

        @Test func `the initial timeout is never below 50 ms`() throws {
            let pair = try DTLSPair()
            pair.client.transport.start(role: .client, initialTimeout: .milliseconds(1), at: pair.now)
            let deadline = try #require(pair.client.transport.nextDeadline)
            #expect(deadline.instant - pair.now == .milliseconds(50))
        }

        @Test func `calling too early repeats nothing`() throws {
            let pair = try DTLSPair()
            pair.start()
            _ = pair.client.takeDatagrams()
            pair.client.transport.handleTimeout(at: pair.now + .milliseconds(20))
            #expect(pair.client.takeDatagrams().isEmpty)
            #expect(pair.client.transport.statistics.flightsRetransmitted == 0)
        }

        @Test func `a clock of the system's that lags only delays`() throws {
            let pair = try DTLSPair()
            pair.start()
            _ = pair.client.takeDatagrams()
            // The driver's clock says 60 ms later, gettimeofday none.
            let late = pair.now + .milliseconds(60)
            pair.client.transport.handleTimeout(at: late)
            #expect(pair.client.takeDatagrams().isEmpty)
            let deadline = try #require(pair.client.transport.nextDeadline)
            #expect(deadline.instant > late)
            pair.now = late
            #expect(pair.advance())
            #expect(pair.client.takeDatagrams().count == 1)
        }

        @Test(arguments: 1...20)
        func `a third of all datagrams may be lost`(seed: UInt64) throws {
            let pair = try DTLSPair(mtu: 400)
            let random = RandomSource(seed: seed)
            pair.network = { _, _, datagrams in datagrams.filter { _ in random.next() % 3 != 0 } }
            pair.run()
            #expect(pair.areConnected, "seed \(seed)")
            #expect(pair.client.connected?.keyingMaterial == pair.server.connected?.keyingMaterial)
        }
    }
}
