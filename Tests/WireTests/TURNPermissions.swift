import ICE
import STUN
import SansIO
import Testing

@Suite struct TURNPermissions {
    private let peer = TransportAddress(IPAddress(v4: 0xC000_0201), port: 4000)
    private let neighbour = TransportAddress(IPAddress(v4: 0xC000_0201), port: 4001)
    private let stranger = TransportAddress(IPAddress(v4: 0xC000_0299), port: 4000)

    @Test func `A datagram leaves as Send indication right behind the request for its permission`() throws {
        let server = TURNTestServer.allocated()
        #expect(server.send([1, 2, 3, 4, 5], to: peer) == .queued)
        #expect(server.send([6], to: neighbour) == .queued)
        server.pump()
        // One permission is for all ports of an address.
        #expect(server.requests(.createPermission).map { $0.xorAddress(.xorPeerAddress)?.ip } == [peer.ip])
        #expect(server.events == [.permissionInstalled(peer.ip)])
        #expect(server.send([], to: peer) == .sent)
        server.pump()
        let readings = try server.others.map { try STUNReading($0) }
        #expect(readings.map(\.message.type) == Array(repeating: STUNMessageType(.indication, .send), count: 3))
        #expect(readings.map { $0.xorAddress(.xorPeerAddress) } == [peer, neighbour, peer])
        #expect(readings.map { $0.bytes(.data) } == [[1, 2, 3, 4, 5], [6], []])
        #expect(readings.allSatisfy { $0.message.unknownRequired { $0 == .data || $0 == .xorPeerAddress }.isEmpty })
        #expect(server.client.statistics.indicationsSent == 3)
    }

    @Test func `A datagram leaves again if the request for its permission had to`() throws {
        let server = TURNTestServer.allocated()
        server.script = { $0.message.method == .createPermission ? .nothing : .ordinary }
        server.send([1], to: peer)
        server.pump()
        #expect(server.others.count == 1)
        server.script = { _ in .ordinary }
        server.run(.seconds(1))
        #expect(server.requests(.createPermission).count == 2)
        #expect(try server.others.map { try STUNReading($0).bytes(.data) } == [[1], [1]])
        // The server refused the first with 438: what came with it was not relayed.
        server.nonce = "nonce-2"
        server.send([2], to: stranger)
        server.pump()
        #expect(server.requests(.createPermission).count == 4)
        #expect(try server.others.map { try STUNReading($0).bytes(.data) } == [[1], [1], [2], [2]])
        #expect(server.send([3], to: stranger) == .sent)
        server.pump()
        #expect(server.others.count == 5)
    }

    @Test func `A Send indication to an IPv6 peer carries its address`() throws {
        var configuration = TURNConfiguration()
        configuration.wantsIPv6 = true
        let server = TURNTestServer(configuration: configuration)
        server.relayed = try #require(TransportAddress("2001:db8::5", port: 50_000))
        server.allocate()
        let peer = try #require(TransportAddress("2001:db8:1:2:3:4:5:6", port: 4711))
        server.send([9, 8, 7], to: peer)
        server.pump()
        let reading = try STUNReading(try #require(server.others.first))
        #expect(reading.xorAddress(.xorPeerAddress) == peer)
        #expect(reading.bytes(.data) == [9, 8, 7])
        // A peer of the other family cannot be reached: nobody asks for it.
        #expect(server.send([1], to: self.peer) == .dropped)
        #expect(server.client.statistics.dropped.unsendable == 1)
        server.client.addPermission(for: self.peer.ip, at: server.now)
        server.pump()
        #expect(server.events.last == .permissionRefused(self.peer.ip, .notAsked))
        #expect(server.requests(.createPermission).count == 1)
    }

    @Test func `A permission is refreshed every four minutes`() {
        let server = TURNTestServer.allocated()
        server.client.addPermission(for: peer.ip, at: server.now)
        server.run(.seconds(750))
        #expect(server.times(.createPermission) == [0, 240, 480, 720])
        #expect(server.events == [.permissionInstalled(peer.ip)])
    }

    @Test func `A released permission ends by itself`() {
        let server = TURNTestServer.allocated()
        server.client.addPermission(for: peer.ip, at: server.now)
        server.pump()
        server.client.releasePermission(for: peer.ip, at: server.now)
        server.run(.seconds(299))
        server.deliver(TURNTestServer.dataIndication([1], from: peer))
        server.run(.seconds(2))
        server.deliver(TURNTestServer.dataIndication([2], from: peer))
        #expect(server.received.map(\.bytes) == [[1]])
        #expect(server.times(.createPermission) == [0])
    }

    @Test func `Lost refreshes of a permission are repeated until it ends`() {
        let server = TURNTestServer.allocated()
        var isDead = false
        server.script = { $0.message.method == .createPermission && isDead ? .nothing : .ordinary }
        server.client.addPermission(for: peer.ip, at: server.now)
        server.pump()
        isDead = true
        server.run(.seconds(265))
        isDead = false
        server.run(.seconds(20))
        #expect(server.events == [.permissionInstalled(peer.ip)])
        #expect(server.send([1], to: peer) == .sent)
        isDead = true
        server.run(.seconds(300))
        #expect(server.events == [.permissionInstalled(peer.ip), .permissionRefused(peer.ip, .timeout)])
    }

    @Test func `A peer that the server refuses costs one request and not the others`() {
        let server = TURNTestServer.allocated()
        server.script = { [stranger] in
            $0.xorAddress(.xorPeerAddress)?.ip == stranger.ip ? .failure(.forbidden) : .ordinary
        }
        server.send([1], to: stranger)
        server.send([2], to: peer)
        server.pump()
        let error = TURNError.refused(.forbidden, reason: "Forbidden")
        #expect(server.events == [.permissionRefused(stranger.ip, error), .permissionInstalled(peer.ip)])
        #expect(error.remedy == .giveUp)
        for _ in 0..<50 { #expect(server.send([1], to: stranger) == .dropped) }
        server.pump()
        #expect(server.requests(.createPermission).count == 2)
        #expect(server.client.statistics.dropped.refusedPeers == 51)
        // After a while it may be asked again.
        server.run(.seconds(11))
        #expect(server.send([1], to: stranger) == .queued)
        server.pump()
        #expect(server.requests(.createPermission).count == 3)
    }

    @Test func `Data indications come from permitted peers only`() {
        let server = TURNTestServer.allocated()
        server.script = { _ in .nothing }
        server.client.addPermission(for: peer.ip, at: server.now)
        // The server's answer may come later than the first datagram.
        server.deliver(TURNTestServer.dataIndication([1, 2, 3], from: neighbour))
        #expect(server.received.map(\.peer) == [neighbour])
        #expect(server.received.map(\.bytes) == [[1, 2, 3]])
        server.deliver(TURNTestServer.dataIndication([1, 2, 3], from: stranger))
        #expect(server.lastInput == .dropped)
        #expect(server.received.count == 1)
        #expect(server.client.statistics.dropped.forbiddenPeers == 1)
        #expect(server.client.statistics.indicationsReceived == 1)
    }

    @Test func `A Data indication without address or data, or with more than is known, is dropped`() {
        let server = TURNTestServer.allocated()
        server.client.addPermission(for: peer.ip, at: server.now)
        server.pump()
        for missing in 0..<3 {
            var writer = STUNMessageWriter(.indication, .data, STUNTransactionID(high: 1, low: 2))
            if missing != 0 { writer.add(.xorPeerAddress, xor: peer) }
            if missing != 1 { writer.add(.data, [1]) }
            if missing == 2 { writer.add(STUNAttributeType(rawValue: 0x7FFE), UInt32(1)) }
            server.deliver(writer.finish())
            #expect(server.lastInput == .dropped)
        }
        #expect(server.client.statistics.dropped.malformed == 3)
        #expect(server.received.isEmpty)
    }

    // MARK: Limits

    @Test func `As many permissions as the limit, and not one more`() {
        let server = TURNTestServer.allocated()
        for index in 0..<(TURNLimits.permissions + 5) {
            let result = server.send([1], to: TransportAddress(IPAddress(v4: 0xC000_0200 + UInt32(index)), port: 9))
            server.pump()
            #expect(result == (index < TURNLimits.permissions ? .queued : .dropped))
        }
        #expect(server.requests(.createPermission).count == TURNLimits.permissions)
        #expect(server.client.statistics.dropped.limited == 5)
        server.client.addPermission(for: stranger.ip, at: server.now)
        server.client.addPermission(for: IPAddress(v4: 0x0A00_0001), at: server.now)
        server.pump()
        #expect(server.events.last == .permissionRefused(IPAddress(v4: 0x0A00_0001), .notAsked))
    }

    @Test func `All permissions are released but those of channels, and make room for others`() {
        let server = TURNTestServer.allocated()
        func address(_ index: Int) -> TransportAddress {
            TransportAddress(IPAddress(v4: 0xC000_0200 + UInt32(index)), port: 9)
        }
        server.bindChannel(to: address(0))
        for index in 1..<TURNLimits.permissions { server.client.addPermission(for: address(index).ip, at: server.now) }
        server.pump()
        server.client.releasePermissions(at: server.now)
        // The peer moved: half of its candidates are as before.
        for index in 33..<(TURNLimits.permissions + 32) {
            server.client.addPermission(for: address(index).ip, at: server.now)
        }
        server.pump()
        #expect(!server.events.contains(.permissionRefused(address(TURNLimits.permissions + 31).ip, .notAsked)))
        server.forget()
        server.run(.seconds(299))
        let refreshed = Set(server.requests(.createPermission).compactMap { $0.xorAddress(.xorPeerAddress)?.ip })
        #expect(refreshed == Set((33..<(TURNLimits.permissions + 32)).map { address($0).ip } + [address(0).ip]))
        for index in [0, 33, TURNLimits.permissions + 31] {
            #expect(server.send([1], to: address(index)) == .sent)
        }
        #expect(server.send([1], to: address(1)) == .dropped, "its place is another's")
    }

    @Test func `No more datagrams wait than the limits say`() {
        let server = TURNTestServer.allocated()
        server.script = { $0.message.method == .createPermission ? .nothing : .ordinary }
        for index in 0..<100 {
            #expect(server.send([1], to: peer) == (index < TURNLimits.queuedDatagrams ? .queued : .dropped))
        }
        #expect(server.client.statistics.dropped.limited == 100 - TURNLimits.queuedDatagrams)
        // Given up, they are forgotten.
        server.run(.seconds(11))
        #expect(server.client.statistics.dropped.refusedPeers == TURNLimits.queuedDatagrams)
        server.run(.seconds(11))
        let large = [UInt8](repeating: 7, count: 20_000)
        #expect((0..<4).map { _ in server.send(large, to: peer) } == [.queued, .queued, .queued, .dropped])
    }

    @Test func `A datagram that no message has room for is dropped`() {
        let server = TURNTestServer.allocated()
        server.client.addPermission(for: peer.ip, at: server.now)
        server.pump()
        let largest = [UInt8](repeating: 1, count: TURNClient.maximumDatagramByteCount)
        #expect(server.send(largest + [1], to: peer) == .dropped)
        #expect(server.send(largest, to: TransportAddress(peer.ip, port: 0)) == .dropped)
        #expect(server.client.statistics.dropped.unsendable == 2)
        #expect(server.send(largest, to: peer) == .sent)
        server.pump()
        #expect((try? STUNReading(server.others[0]))?.bytes(.data) == largest)
    }

    @Test func `A datagram abandoned while it is written leaves nothing`() {
        let server = TURNTestServer.allocated()
        #expect(server.client.send(to: peer, capacity: 100, at: server.now) { _ in -1 } == .dropped)
        server.pump()
        #expect(server.client.send(to: peer, capacity: 100, at: server.now) { _ in -1 } == .dropped)
        server.pump()
        #expect(server.others.isEmpty)
    }
}
