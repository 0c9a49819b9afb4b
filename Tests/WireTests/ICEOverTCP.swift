import ICE
import STUN
import SansIO
import Testing

/// Candidates over TCP (RFC 6544), in virtual time.
@Suite struct ICEOverTCP {
    /// A call whose datagrams all vanish.
    private func call(_ network: ICEVirtualNetwork, configuration: ICEConfiguration = .init()) -> ICETestCall {
        network.passes = { _, _, _ in false }
        return ICETestCall(network, ["192.0.2.1"], ["198.51.100.1"], configuration: configuration)
    }

    private func add(_ call: ICETestCall, first: [Bool], second: [Bool]) {
        for isPassive in first { call.offerer.addTCP("192.0.2.1", isPassive: isPassive) }
        for isPassive in second { call.answerer.addTCP("198.51.100.1", isPassive: isPassive) }
    }

    @Test(arguments: [true, false])
    func `Whoever connects, the two agree on the connection`(offererListens: Bool) throws {
        let network = ICEVirtualNetwork()
        let call = call(network)
        add(call, first: [offererListens], second: [!offererListens])
        call.signal()
        let time = try #require(network.run(.seconds(5)) { call.isNominated })
        #expect(time <= .milliseconds(450))
        let (first, second) = (try #require(call.offerer.selected), try #require(call.answerer.selected))
        #expect(first.local.transport == .tcp && first.remote.transport == .tcp)
        #expect(first.local.kind == .host && first.local.tcpType == (offererListens ? .passive : .active))
        let listener = offererListens ? first : second
        let connector = offererListens ? second : first
        #expect(connector.remote.tcpType == .passive && connector.remote.kind == .host)
        #expect(listener.remote.kind == .prflx && listener.remote.tcpType == .active)
        #expect(network.connectionCount == 1)
    }

    @Test func `Where datagrams pass no connection is opened`() throws {
        let network = ICEVirtualNetwork()
        let call = ICETestCall(network, ["192.0.2.1"], ["198.51.100.1"])
        add(call, first: [true, false], second: [true, false])
        call.signal()
        try #require(network.run(.seconds(5)) { call.isCompleted } != nil)
        network.run(.seconds(60))
        #expect(network.connectionCount == 0)
        #expect(call.offerer.agent.state == .completed)
        #expect(call.offerer.selected?.local.transport == .udp)
    }

    @Test func `Of many connections those that are not chosen are let go`() throws {
        let network = ICEVirtualNetwork()
        let call = call(network)
        add(call, first: [true, false], second: [true, false, true])
        call.signal()
        try #require(network.run(.seconds(5)) { call.isNominated } != nil)
        #expect(network.connectionCount == 3)
        network.run(.seconds(20))
        #expect(call.offerer.connections.count == 1 && call.answerer.connections.count == 1)
        #expect(call.isConnected)
    }

    @Test func `A connection that breaks is made again`() throws {
        let network = ICEVirtualNetwork()
        let call = call(network)
        add(call, first: [false], second: [true])
        call.signal()
        try #require(network.run(.seconds(5)) { call.isCompleted } != nil)
        for round in 1...3 {
            let port = try #require(call.offerer.selected?.path.port)
            network.disconnect(call.offerer, port)
            #expect(!call.offerer.agent.isWritable)
            #expect(network.run(.seconds(5)) { call.isNominated } != nil, "round \(round)")
        }
        // And not for ever.
        let port = try #require(call.offerer.selected?.path.port)
        network.disconnect(call.offerer, port)
        network.run(.seconds(60))
        #expect(network.connectionCount == 4)
        #expect(call.offerer.agent.state == .failed)
    }

    @Test func `A restart moves to a connection of its own`() throws {
        let network = ICEVirtualNetwork()
        let call = call(network)
        add(call, first: [false], second: [true])
        call.signal()
        try #require(network.run(.seconds(5)) { call.isCompleted } != nil)
        let old = try #require(call.offerer.selected?.path.port)
        call.offerer.agent.restart(at: network.now)
        call.answerer.agent.restart(at: network.now)
        #expect(call.offerer.agent.isWritable, "the old connection carries on")
        add(call, first: [false], second: [true])
        call.signal()
        #expect(network.run(.seconds(5)) { call.isNominated && call.offerer.selected?.path.port != old } != nil)
        network.run(.seconds(1))
        #expect(call.offerer.connections.keys.contains(old) == false)
        #expect(call.offerer.connections.count == 1 && call.answerer.connections.count == 1)
    }

    @Test func `Nobody listening ends in failure`() throws {
        let network = ICEVirtualNetwork()
        let call = call(network)
        network.passesTCP = { _, _ in false }
        add(call, first: [false], second: [true])
        call.signal()
        #expect(network.run(.seconds(60)) { call.offerer.agent.state == .failed } != nil)
    }

    @Test func `Silent strangers make room for each other, and for the peer`() throws {
        let network = ICEVirtualNetwork()
        let call = call(network)
        add(call, first: [false], second: [true])
        let passive = try #require(call.answerer.tcpCandidates.first)
        var closed = 0
        for number in 0..<500 {
            call.answerer.agent.connectionOpened(
                PortID(rawValue: 1_000 + number),
                of: passive.key,
                local: passive.value,
                remote: try #require(TransportAddress("203.0.113.9", port: UInt16(1_000 + number))),
                at: network.now
            )
            while let event = call.answerer.agent.nextEvent() {
                if case .connectionUnneeded = event { closed += 1 } else { call.answerer.handle(event) }
            }
        }
        #expect(closed == 500 - ICELimits.silentConnections)
        #expect(call.answerer.agent.statistics.dropped.limitedConnections == closed)
        call.signal()
        #expect(network.run(.seconds(5)) { call.isNominated } != nil)
    }

    @Test func `A peer names only so many places to connect to`() throws {
        let network = ICEVirtualNetwork()
        let call = call(network)
        add(call, first: [false], second: [])
        call.signal()
        for number in 0..<100 {
            call.offerer.agent.addRemoteCandidate(
                try ICECandidate(
                    attributeValue: "candidate:1 1 tcp 1 198.51.100.7 \(1_000 + number) typ host tcptype passive"
                ),
                at: network.now
            )
        }
        network.run(.seconds(2))
        #expect(network.connectionCount == ICELimits.connectionRequests)
    }

    @Test func `A lite agent is connected to, and connects to nobody`() throws {
        let network = ICEVirtualNetwork()
        network.passes = { _, _, _ in false }
        var lite = ICEConfiguration()
        lite.isLite = true
        let call = ICETestCall(network, ["192.0.2.1"], ["198.51.100.1"], answererConfiguration: lite)
        add(call, first: [true, false], second: [true, false])
        call.signal()
        #expect(network.run(.seconds(5)) { call.isConnected } != nil)
        #expect(call.answerer.tcpCandidates.count == 2 && network.connectionCount == 1)
    }

    @Test func `Priorities put TCP below direct datagrams and above relays`() {
        let tcp = [true, false].map { ICEPriority.tcpHost(isPassive: $0, preference: 65_535) }
        #expect(tcp[0] < tcp[1])
        #expect(tcp[1] < ICEPriority.candidate(.srflx, localPreference: 0))
        #expect(tcp[0] > ICEPriority.candidate(.relay, localPreference: 65_535))
    }
}

/// Packets in a TCP stream (RFC 4571).
@Suite struct FramedStreams {
    private func framed(_ packets: [[UInt8]]) -> [UInt8] {
        packets.flatMap { [UInt8($0.count >> 8), UInt8($0.count & 255)] + $0 }
    }

    @Test(arguments: 0..<200 as Range<UInt64>)
    func cutsAnywhere(seed: UInt64) {
        let random = RandomSource(seed: seed)
        var packets: [[UInt8]] = []
        for _ in 0..<20 {
            let length = Int(random.next() % (random.next() % 4 == 0 ? 3_000 : 5))
            packets.append((0..<length).map { _ in UInt8(truncatingIfNeeded: random.next()) })
        }
        var bytes = framed(packets)[...]
        var stream = FramedStream()
        var received: [[UInt8]] = []
        while !bytes.isEmpty {
            let part = Array(bytes.prefix(Int(random.next() % 700) + 1))
            bytes = bytes.dropFirst(part.count)
            stream.receive(part.span.bytes) { received.append($0.array()) }
        }
        #expect(received == packets.filter { !$0.isEmpty })
    }

    @Test func theLongestPacketComesWhole() {
        let packet = [UInt8](repeating: 3, count: FramedStream.longestPacket)
        var stream = FramedStream()
        var received: [[UInt8]] = []
        for byte in framed([packet, [1]]) { stream.receive([byte].span.bytes) { received.append($0.array()) } }
        #expect(received == [packet, [1]])
    }
}
