import DTLS
import SansIO
import Testing

extension VirtualTime {
    @Suite struct DTLSDisorder {
        @Test func `every datagram may come twice`() throws {
            let pair = try DTLSPair(mtu: 300)
            pair.network = { _, _, datagrams in datagrams.flatMap { [$0, $0] } }
            pair.run()
            #expect(pair.areConnected)
        }

        @Test func `the datagrams of a flight may come in reverse`() throws {
            let pair = try DTLSPair(mtu: 300)
            pair.network = { _, _, datagrams in datagrams.reversed() }
            pair.run()
            #expect(pair.areConnected)
        }

        @Test(arguments: 1...20)
        func `datagrams may come in any order, twice and late`(seed: UInt64) throws {
            let pair = try DTLSPair(mtu: 300)
            let random = RandomSource(seed: seed)
            var late: [DTLSRole: [[UInt8]]] = [:]
            pair.network = { role, _, datagrams in
                var arriving = late[role] ?? []
                late[role] = datagrams.filter { _ in random.next() % 4 == 0 }
                arriving += datagrams + datagrams.filter { _ in random.next() % 4 == 0 }
                for index in arriving.indices { arriving.swapAt(index, Int(random.next() % UInt64(arriving.count))) }
                return arriving
            }
            pair.run()
            #expect(pair.areConnected, "seed \(seed)")
        }

        @Test func `garbage between the datagrams is ignored`() throws {
            let pair = try DTLSPair()
            let random = RandomSource(seed: 7)
            pair.network = { _, _, datagrams in
                datagrams.flatMap { datagram in
                    let noise = (0..<Int(random.next() % 64)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
                    return [[20 + UInt8(random.next() % 44)] + noise, [], [22], [22, 0xFE, 0xFD], datagram]
                }
            }
            pair.run()
            #expect(pair.areConnected)
        }

        @Test func `every truncation of every datagram is ignored`() throws {
            let pair = try DTLSPair()
            pair.network = { _, _, datagrams in
                datagrams.flatMap { datagram in
                    // Cut inside the first record: a cut between two records would leave a valid datagram.
                    let first = 13 + (Int(datagram[11]) << 8 | Int(datagram[12]))
                    return (0..<min(first, datagram.count)).map { Array(datagram[..<$0]) } + [datagram]
                }
            }
            pair.run()
            #expect(pair.areConnected)
        }

        @Test func `a connection survives any garbage`() throws {
            let pair = try DTLSPair()
            pair.run()
            let random = RandomSource(seed: 11)
            try #require(pair.areConnected)
            for _ in 0..<2000 {
                var bytes = (0..<Int(random.next() % 200)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
                let types: [UInt8] = [20, 21, 22, 23, 24]
                let header: [UInt8] = [
                    types[Int(random.next() % 5)], 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, 0, UInt8(random.next() & 255),
                    UInt8(truncatingIfNeeded: bytes.count >> 8), UInt8(truncatingIfNeeded: bytes.count),
                ]
                bytes = header + bytes
                pair.server.receive(bytes, at: pair.now)
            }
            pair.exchange()
            #expect(pair.areConnected)
            try pair.client.send([1, 2, 3])
            pair.exchange()
            #expect(pair.server.messages == [[1, 2, 3]])
        }

        /// A record that claims to be encrypted, which anyone can make.
        private static func forged(type: UInt8, epoch: UInt8, length: Int) -> [UInt8] {
            [type, 0xFE, 0xFD, 0, epoch, 0, 0, 0, 0, 0, 200, 0, UInt8(length)] + [UInt8](repeating: 7, count: length)
        }

        @Test(arguments: [20, 21, 22, 23, 99] as [UInt8])
        func `a record shorter than what its cipher adds is ignored`(type: UInt8) throws {
            for length in 0...40 {
                for epoch: UInt8 in [1, 2] {
                    let pair = try DTLSPair()
                    pair.run()
                    let forged = Self.forged(type: type, epoch: epoch, length: length)
                    try pair.client.send([1, 2, 3])
                    let genuine = try #require(pair.client.takeDatagrams().first)
                    pair.server.receive(forged, at: pair.now)
                    // Behind another record, too.
                    pair.server.receive([23, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 7] + forged, at: pair.now)
                    pair.server.receive(genuine, at: pair.now)
                    #expect(pair.server.messages == [[1, 2, 3]], "length \(length), epoch \(epoch)")
                    try pair.server.send([4])
                    pair.exchange()
                    #expect(pair.client.messages == [[4]])
                    #expect(pair.areConnected)
                }
            }
        }

        @Test(arguments: [20, 21, 22, 23, 99] as [UInt8])
        func `short records do not keep a connection from being made`(type: UInt8) throws {
            for length in 0...40 {
                let pair = try DTLSPair(mtu: 300)
                let forged = Self.forged(type: type, epoch: 1, length: length)
                pair.network = { _, _, datagrams in datagrams.flatMap { [forged, $0] } + [forged] }
                pair.run()
                try #require(pair.areConnected, "length \(length)")
                try pair.client.send([1, 2, 3])
                pair.exchange()
                #expect(pair.server.messages == [[1, 2, 3]])
            }
        }

        @Test(arguments: 1...300)
        func `a damaged handshake ends in a state, never in a trap`(seed: UInt64) throws {
            let pair = try DTLSPair(mtu: 500)
            let random = RandomSource(seed: seed)
            pair.network = { _, _, datagrams in
                datagrams.map { datagram in
                    var datagram = datagram
                    if random.next() % 3 == 0 {
                        datagram[Int(random.next() % UInt64(datagram.count))] ^= UInt8(
                            truncatingIfNeeded: random.next()
                        )
                    }
                    return datagram
                }
            }
            pair.run()
            if pair.areConnected {
                #expect(pair.client.connected?.keyingMaterial == pair.server.connected?.keyingMaterial)
            }
            for end in [pair.client, pair.server] where end.transport.state == .failed {
                #expect(end.failure != nil)
                #expect(end.transport.nextDeadline == nil)
            }
        }
    }
}
