import AllocationCounter
import ICE
import STUN
import SansIO
import Testing

@Suite struct TURNChannels {
    private let peer = TransportAddress(IPAddress(v4: 0xC000_0201), port: 4000)
    private let other = TransportAddress(IPAddress(v4: 0xC000_0202), port: 4000)

    @Test func `Bound, datagrams carry four bytes each way`() {
        let server = TURNTestServer.allocated()
        server.bindChannel(to: peer)
        #expect(server.requests(.channelBind).map { $0.uint32(.channelNumber) } == [0x4000 << 16])
        #expect(server.requests(.channelBind).map { $0.xorAddress(.xorPeerAddress) } == [peer])
        #expect(server.events.contains(.channelBound(peer)))
        #expect(server.send([1, 2, 3], to: peer) == .sent)
        server.pump()
        #expect(server.others == [[0x40, 0x00, 0, 3, 1, 2, 3]])
        server.deliver(TURNTestServer.channelData(0x4000, [4, 5, 6, 7, 8]))
        #expect(server.lastInput == .data(from: peer, 4..<9))
        // Padding is allowed over UDP, too, and so is nothing at all.
        server.deliver(TURNTestServer.channelData(0x4000, [9]) + [0, 0, 0])
        server.deliver(TURNTestServer.channelData(0x4000, []))
        #expect(server.received.map(\.bytes) == [[4, 5, 6, 7, 8], [9], []])
        #expect(server.received.allSatisfy { $0.peer == peer })
        #expect(server.client.statistics.channelDataSent == 1)
        #expect(server.client.statistics.channelDataReceived == 3)
    }

    @Test func `Until the server agrees, datagrams go as indications and ChannelData is taken`() throws {
        let server = TURNTestServer.allocated()
        server.client.addPermission(for: peer.ip, at: server.now)
        server.pump()
        server.script = { $0.message.method == .channelBind ? .nothing : .ordinary }
        server.bindChannel(to: peer)
        #expect(server.send([1], to: peer) == .sent)
        server.pump()
        let reading = try STUNReading(try #require(server.others.first))
        #expect(reading.message.type == STUNMessageType(.indication, .send))
        server.deliver(TURNTestServer.channelData(0x4000, [2]))
        #expect(server.received.map(\.bytes) == [[2]])
    }

    @Test func `A channel is refreshed every nine minutes, its permission every four`() {
        let server = TURNTestServer.allocated()
        server.bindChannel(to: peer)
        server.run(.seconds(1100))
        #expect(server.times(.channelBind) == [0, 540, 1080])
        #expect(server.requests(.channelBind).allSatisfy { $0.uint32(.channelNumber) == 0x4000 << 16 })
        #expect(server.times(.createPermission).prefix(3) == [0, 240, 480])
        // The channel's refresh at 540 s counts for the permission, too.
        #expect(server.times(.createPermission).dropFirst(3).first == 780)
    }

    @Test func `A channel whose refreshes are lost ends, and indications take over`() throws {
        let server = TURNTestServer.allocated()
        server.bindChannel(to: peer)
        server.script = { $0.message.method == .channelBind ? .nothing : .ordinary }
        server.run(.seconds(599))
        server.forget()
        server.send([1], to: peer)
        server.pump()
        #expect(server.others == [[0x40, 0, 0, 1, 1]])
        server.run(.seconds(20))
        #expect(server.events == [.channelRefused(peer, .timeout)])
        server.forget()
        server.send([2], to: peer)
        server.pump()
        #expect(try server.others.map { try STUNReading($0).bytes(.data) } == [[2]])
        // Bound again, it is the same number, which the server may still hold.
        server.script = { _ in .ordinary }
        server.bindChannel(to: peer)
        #expect(server.requests(.channelBind).map { $0.uint32(.channelNumber) } == [0x4000 << 16])
        #expect(server.events.contains(.channelBound(peer)))
    }

    @Test func `A refused channel is told, and the next has another number`() {
        let server = TURNTestServer.allocated()
        server.script = { $0.message.method == .channelBind ? .failure(.badRequest) : .ordinary }
        server.bindChannel(to: peer)
        #expect(server.events.contains(.channelRefused(peer, .refused(.badRequest, reason: "Bad Request"))))
        server.script = { _ in .ordinary }
        server.bindChannel(to: other)
        #expect(server.requests(.channelBind).map { $0.uint32(.channelNumber) } == [0x4000 << 16, 0x4001 << 16])
        server.send([1], to: peer)
        server.send([1], to: other)
        server.pump()
        #expect(server.others.map(\.first) == [0x00, 0x40])
    }

    @Test func `A released channel ends by itself and its number waits`() {
        let server = TURNTestServer.allocated()
        server.bindChannel(to: peer)
        server.client.releaseChannel(to: peer, at: server.now)
        server.run(.seconds(599))
        server.deliver(TURNTestServer.channelData(0x4000, [1]))
        server.run(.seconds(2))
        server.deliver(TURNTestServer.channelData(0x4000, [2]))
        #expect(server.received.map(\.bytes) == [[1]])
        #expect(server.client.statistics.dropped.unknownChannels == 1)
        #expect(server.times(.channelBind) == [0])
        server.run(.seconds(298))
        server.bindChannel(to: peer)
        #expect(server.requests(.channelBind).map { $0.uint32(.channelNumber) } == [0x4000 << 16, 0x4000 << 16])
        server.client.releaseChannel(to: peer, at: server.now)
        server.run(.seconds(901))
        server.bindChannel(to: peer)
        #expect(server.requests(.channelBind).last?.uint32(.channelNumber) == 0x4001 << 16)
    }

    @Test func `As many channels as the limit, and not one more`() {
        let server = TURNTestServer.allocated()
        for index in 0...TURNLimits.channels {
            server.bindChannel(to: TransportAddress(peer.ip, port: UInt16(1 + index)))
        }
        #expect(server.requests(.channelBind).count == TURNLimits.channels)
        let last = TransportAddress(peer.ip, port: UInt16(1 + TURNLimits.channels))
        #expect(server.events.last == .channelRefused(last, .notAsked))
        server.bindChannel(to: TransportAddress(IPAddress.anyIPv6, port: 1))
        #expect(server.requests(.channelBind).count == TURNLimits.channels)
    }

    @Test func `ChannelData that is short, or on a number nobody bound, is dropped and counted`() {
        let server = TURNTestServer.allocated()
        server.bindChannel(to: peer)
        server.deliver([0x40, 0x00, 0, 4, 1, 2, 3])
        server.deliver([0x40, 0x00, 0xFF, 0xFF])
        #expect(server.client.statistics.dropped.truncatedChannelData == 2)
        server.deliver(TURNTestServer.channelData(0x4001, [1]))
        server.deliver(TURNTestServer.channelData(0x4FFF, [1]))
        #expect(server.client.statistics.dropped.unknownChannels == 2)
        server.deliver([0x40, 0x00, 0])
        server.deliver(TURNTestServer.channelData(0x5000, [1]))
        server.deliver([])
        #expect(server.client.statistics.dropped.malformed == 3)
        #expect(server.received.isEmpty)
    }

    @Test(.enabled(if: allocation_counter_counts(), "a sanitizer has its own malloc"))
    func `ChannelData and Send indications allocate nothing`() {
        for transport in [TURNTransport.datagram, .stream] {
            let server = TURNTestServer.allocated(transport)
            server.bindChannel(to: peer)
            server.client.addPermission(for: other.ip, at: server.now)
            server.pump()
            let payload = [UInt8](repeating: 7, count: 1101)
            let packet = TURNTestServer.channelData(0x4000, payload) + [0, 0, 0]
            var count = 0
            var byteCount = 0
            func exchange() {
                server.client.send(payload.span.bytes, to: peer, at: server.now)
                server.client.send(payload.span.bytes, to: other, at: server.now)
                server.transmits.removeAll()
                if transport == .stream {
                    server.client.receive(stream: packet.span.bytes, at: server.now) { _, datagram in
                        byteCount += datagram.byteCount
                    }
                } else {
                    let input = server.client.receive(
                        packet.span.bytes,
                        from: TURNTestServer.address,
                        on: TURNTestServer.port,
                        at: server.now
                    )
                    if case .data(_, let range) = input { byteCount += range.count }
                }
                count += 1
            }
            for _ in 0..<10 { exchange() }
            let before = allocation_counter_this_thread()
            for _ in 0..<100 { exchange() }
            let allocations = allocation_counter_this_thread() - before
            #expect(allocations == 0)
            #expect(byteCount == count * payload.count)
        }
    }
}
