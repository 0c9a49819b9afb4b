import AllocationCounter
import DTLS
import SansIO
import Testing

extension VirtualTime {
    @Suite struct DTLSApplicationData {
        @Test func `nothing can be sent before the connection is there`() throws {
            let pair = try DTLSPair()
            #expect(throws: DTLSError.notConnected) { try pair.client.send([1]) }
            pair.start()
            #expect(throws: DTLSError.notConnected) { try pair.client.send([1]) }
        }

        @Test func `ten megabytes go each way, one datagram for each message`() throws {
            let pair = try DTLSPair()
            pair.run()
            let message = (0..<1163).map { UInt8(truncatingIfNeeded: $0) }
            let count = 10_000_000 / message.count
            for (sender, receiver) in [(pair.client, pair.server), (pair.server, pair.client)] {
                var byteCount = 0
                var differing = 0
                for _ in 0..<(count / 100) {
                    for _ in 0..<100 { try sender.send(message) }
                    let datagrams = sender.takeDatagrams()
                    #expect(datagrams.count == 100)
                    #expect(datagrams.allSatisfy { $0.count == message.count + DTLSTransport.recordOverhead })
                    for datagram in datagrams {
                        receiver.transport.receive(datagram.span.bytes, at: pair.now) { received in
                            byteCount += received.byteCount
                            if received.array() != message { differing += 1 }
                        }
                    }
                }
                #expect(byteCount == count / 100 * 100 * message.count)
                #expect(differing == 0)
            }
        }

        @Test func `a message has 1 to 16384 bytes`() throws {
            let pair = try DTLSPair()
            pair.run()
            try pair.client.send([UInt8]())
            #expect(pair.client.transmits.isEmpty)
            let largest = [UInt8](repeating: 5, count: DTLSTransport.maximumMessageByteCount)
            try pair.client.send(largest)
            pair.exchange()
            #expect(pair.server.messages == [largest])
            #expect(throws: DTLSError.messageTooLarge) { try pair.client.send(largest + [1]) }
        }

        @Test func `replayed and damaged messages are discarded`() throws {
            let pair = try DTLSPair()
            pair.run()
            try pair.client.send([1, 2, 3])
            let datagram = try #require(pair.client.takeDatagrams().first)
            for index in datagram.indices {
                var damaged = datagram
                damaged[index] ^= 0x10
                pair.server.receive(damaged, at: pair.now)
            }
            #expect(pair.server.messages.isEmpty)
            #expect(pair.server.transport.statistics.datagramsDiscarded > 30)
            pair.server.receive(datagram, at: pair.now)
            pair.server.receive(datagram, at: pair.now)
            #expect(pair.server.messages == [[1, 2, 3]])
            #expect(pair.areConnected)
        }

        @Test func `messages may overtake each other and the end of the handshake`() throws {
            let pair = try DTLSPair()
            pair.start()
            // The server's last flight and its first messages reach the client in reverse.
            var kept: [[UInt8]] = []
            pair.network = { role, burst, datagrams in
                guard role == .server, burst == 1 else { return datagrams }
                kept += datagrams
                return []
            }
            pair.exchange()
            #expect(pair.server.transport.state == .connected)
            try pair.server.send([1])
            try pair.server.send([2])
            kept += pair.server.takeDatagrams()
            for datagram in kept.reversed() { pair.client.receive(datagram, at: pair.now) }
            pair.exchange()
            #expect(pair.areConnected)
            #expect(pair.client.messages.sorted { $0[0] < $1[0] } == [[1], [2]])
        }

        @Test func `a receiver may answer and close from within its callback`() throws {
            let pair = try DTLSPair()
            pair.run()
            try pair.client.send([1])
            try pair.client.send([2])
            var seen = 0
            for datagram in pair.client.takeDatagrams() {
                pair.server.transport.receive(datagram.span.bytes, at: pair.now) { _ in
                    seen += 1
                    try? pair.server.send([9])
                    pair.server.transport.close()
                }
            }
            #expect(seen == 1)
            pair.exchange()
            #expect(pair.client.messages == [[9]])
            #expect(pair.client.events.last == .closed)
        }

        @Test func `sending and receiving allocate nothing`() throws {
            let pair = try DTLSPair()
            pair.run()
            let message = [UInt8](repeating: 7, count: 1163)
            for _ in 0..<20 { try pair.client.send(message) }
            let datagrams = pair.client.takeDatagrams()
            for datagram in datagrams[..<10] { pair.server.receive(datagram, at: pair.now) }

            var received = 0
            let before = allocation_counter_this_thread()
            // By index: in debug builds an iterator over arrays allocates itself.
            var index = 10
            while index < datagrams.count {
                let datagram = datagrams[index]
                pair.server.transport.receive(datagram.span.bytes, at: pair.now) { received += $0.byteCount }
                index += 1
            }
            #expect(allocation_counter_this_thread() - before == 0)
            #expect(received == 10 * message.count)

            for _ in 0..<10 { try pair.client.send(message) }
            pair.client.transmits.removeAll()
            let beforeSending = allocation_counter_this_thread()
            for _ in 0..<10 { try pair.client.send(message) }
            #expect(allocation_counter_this_thread() - beforeSending == 0)
        }
    }
}
