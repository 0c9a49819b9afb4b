import STUN
import SansIO
import TURNServer
import Testing

@Suite struct Streams {
    private let peer = TransportAddress(IPAddress(v4: 0xC000_0201), port: 4000)

    @Test func `A stream carries what UDP does, padded`() throws {
        let tester = ServerTester()
        let client = try TestClient(tester, stream: 7)
        #expect(try client.ask(.binding, isSigned: false)?.address(.xorMappedAddress) == client.address)
        try client.allocate()
        let relay = try #require(client.relay)
        #expect(try client.bind(0x4000, to: peer)?.isSuccess == true)
        #expect(try client.bind(0x7FFF, to: TransportAddress(peer.ip, port: 1))?.isSuccess == true)
        client.sendChannelData(0x7FFF, [3])
        #expect(tester.take().first?.bytes == [3])
        for count in 1...5 {
            let data = [UInt8](repeating: 5, count: count)
            client.sendChannelData(0x4000, data)
            #expect(tester.take().first?.bytes == data)
            tester.deliver(data, from: peer, on: relay)
            let sent = tester.take()
            #expect(sent.map(\.path.port) == [PortID(rawValue: 7)])
            #expect(sent.first?.bytes == TestClient.channelData(0x4000, data, isPadded: true))
        }
        // Cut anywhere, and joined.
        let bytes = TestClient.channelData(0x4000, [1, 2, 3, 4, 5], isPadded: true)
        for byte in bytes { tester.deliver(stream: [byte], on: PortID(rawValue: 7)) }
        tester.deliver(stream: bytes + bytes, on: PortID(rawValue: 7))
        #expect(tester.take().map(\.bytes) == Array(repeating: [1, 2, 3, 4, 5], count: 3))
    }

    @Test func `A stream's end is its allocation's`() throws {
        let tester = ServerTester()
        let client = try TestClient(tester, stream: 7)
        try client.allocate()
        tester.closeStream(PortID(rawValue: 7))
        #expect(tester.relays.isEmpty && tester.server.streamCount == 0)
        #expect(tester.server.nextDeadline == nil || tester.server.allocationCount == 0)
        #expect(
            tester.takeEvents().last == .ended(user: "alice", client: client.address, .streamEnded, relayedBytes: 0)
        )
    }

    @Test func `A socket that is opened for a stream that has ended is closed again`() throws {
        let tester = ServerTester()
        tester.opening = .never
        let client = try TestClient(tester, stream: 7)
        try client.meet()
        #expect(try client.ask(.allocate, TestClient.udp) == nil)
        tester.closeStream(PortID(rawValue: 7))
        #expect(tester.server.allocationCount == 0)
        let relay = TURNServer.firstRelay
        tester.server.didOpenRelay(relay, at: TransportAddress(ServerTester.local, port: 50_000), now: tester.now)
        #expect(tester.server.nextCommand() == .closeRelay(relay))
        #expect(tester.take().isEmpty)
    }

    @Test func `What is no STUN ends the stream`() throws {
        let tester = ServerTester()
        let client = try TestClient(tester, stream: 7)
        try client.allocate()
        client.send([0x16, 3, 1, 2, 0, 1, 0, 1])
        #expect(tester.closedStreams == [PortID(rawValue: 7)])
        #expect(tester.relays.isEmpty)
        client.send([0, 0, 0, 0])
        #expect(tester.take().allSatisfy { $0.path.port != PortID(rawValue: 7) || !$0.bytes.isEmpty })
        #expect(tester.closedStreams.count == 1)
    }

    @Test func `A stream without an allocation is closed after half a minute`() throws {
        let tester = ServerTester()
        let idle = try TestClient(tester, stream: 7)
        let busy = try TestClient(tester, port: 5001, stream: 8)
        try busy.allocate()
        tester.pass(.seconds(29))
        #expect(try idle.ask(.binding, isSigned: false)?.isSuccess == true)
        #expect(tester.closedStreams.isEmpty)
        tester.pass(.seconds(1))
        #expect(tester.closedStreams == [PortID(rawValue: 7)])
        tester.pass(.seconds(570))
        #expect(tester.server.allocationCount == 0)
        #expect(tester.closedStreams == [PortID(rawValue: 7)], "the allocation has just ended")
        tester.pass(.seconds(30))
        #expect(tester.closedStreams == [PortID(rawValue: 7), PortID(rawValue: 8)])
        #expect(tester.server.nextDeadline == nil && tester.server.streamCount == 0)
    }

    @Test func `A stream whose allocation found no socket is closed as soon`() throws {
        let tester = ServerTester()
        tester.opening = .refused
        let client = try TestClient(tester, stream: 7)
        try client.meet()
        #expect(try client.ask(.allocate, TestClient.udp)?.code == 508)
        tester.pass(.seconds(29))
        #expect(tester.closedStreams.isEmpty)
        tester.pass(.seconds(1))
        #expect(tester.closedStreams == [PortID(rawValue: 7)])
    }

    @Test func `Streams have a limit, in all and for each host`() throws {
        let tester = ServerTester { limits in
            limits.streams = 3
            limits.streamsPerHost = 2
        }
        func open(_ number: Int, _ text: String) throws -> Bool {
            tester.openStream(PortID(rawValue: number), from: try TransportAddress(text: text, 1))
        }
        #expect(try open(1, "198.51.100.1") && open(2, "198.51.100.1"))
        #expect(try !open(3, "198.51.100.1"))
        #expect(try open(4, "198.51.100.2"))
        #expect(try !open(5, "198.51.100.3"))
        tester.closeStream(PortID(rawValue: 1))
        #expect(try open(6, "198.51.100.1"))
        #expect(tester.server.statistics.refusedStreams == 2)
    }

    @Test func `What peers send to a stream that takes no more is dropped, and so is a client that only asks`() throws {
        let tester = ServerTester { $0.answersToBlockedStream = 4 }
        let client = try TestClient(tester, stream: 7)
        try client.allocate()
        let relay = try #require(client.relay)
        #expect(try client.bind(0x4000, to: peer)?.isSuccess == true)
        tester.server.setStream(PortID(rawValue: 7), isBlocked: true)
        tester.deliver([1], from: peer, on: relay)
        #expect(tester.take().isEmpty)
        #expect(tester.server.statistics.dropped.blocked == 1)
        client.sendChannelData(0x4000, [2])
        #expect(tester.take().count == 1, "the other direction goes on")
        for _ in 0..<4 { #expect(try client.ask(.refresh)?.isSuccess == true) }
        tester.server.setStream(PortID(rawValue: 7), isBlocked: false)
        tester.deliver([1], from: peer, on: relay)
        #expect(tester.take().count == 1)
        tester.server.setStream(PortID(rawValue: 7), isBlocked: true)
        for _ in 0..<4 { #expect(try client.ask(.refresh)?.isSuccess == true) }
        #expect(tester.closedStreams.isEmpty)
        #expect(try client.ask(.refresh) == nil)
        #expect(tester.closedStreams == [PortID(rawValue: 7)])
    }
}
