import ICE
import STUN
import SansIO
import Testing

@Suite struct ICELimitsReached {
    private func candidate(_ number: Int, priority: UInt32 = 7) -> ICECandidate {
        ICECandidate(
            foundation: "1",
            priority: priority,
            address: TransportAddress(IPAddress(v4: 0xC633_0000 + UInt32(number)), port: 6000),
            kind: .host
        )
    }

    private func check(_ peer: ICETestPeer, from port: UInt16, fragment: String, at now: Instant) {
        var request = STUNMessageWriter(
            .request,
            .binding,
            STUNTransactionID(high: UInt32(port), low: 0)
        )
        let credentials = peer.agent.localCredentials
        request.add(.username, text: credentials.usernameFragment + ":" + fragment)
        request.add(.priority, UInt32(port))
        request.add(.iceControlling, UInt64(0))
        let bytes = request.finish(key: STUNKey(password: credentials.password))
        peer.agent.receive(
            bytes.span.bytes,
            from: TransportAddress(IPAddress(v4: 0xC633_6401), port: port),
            on: PortID(rawValue: 0),
            at: now
        )
    }

    @Test func `Candidates of the peer are limited`() {
        let network = ICEVirtualNetwork()
        let peer = network.addPeer(.controlling, ["192.0.2.1"])
        peer.gather()
        for number in 1...(ICELimits.remoteCandidates + 5) {
            peer.agent.addRemoteCandidate(candidate(number), at: network.now)
        }
        #expect(peer.agent.statistics.remoteCandidates.count == ICELimits.remoteCandidates)
        #expect(peer.agent.statistics.dropped.limitedCandidates == 5)
    }

    @Test func `Pairs are limited and the best ones stay`() {
        let network = ICEVirtualNetwork()
        let peer = network.addPeer(.controlling, (1...4).map { "192.0.2.\($0)" })
        peer.gather()
        for number in 1...40 {
            peer.agent.addRemoteCandidate(candidate(number, priority: UInt32(number)), at: network.now)
        }
        let pairs = peer.agent.statistics.pairs
        #expect(pairs.count == ICELimits.pairs)
        #expect(pairs.allSatisfy { $0.remote.priority > 15 })
        #expect(zip(pairs, pairs.dropFirst()).allSatisfy { $0.priority >= $1.priority })
        #expect(peer.agent.statistics.dropped.limitedPairs == 0)
        peer.agent.addRemoteCandidate(candidate(41, priority: 1), at: network.now)
        #expect(peer.agent.statistics.dropped.limitedPairs == 4)
    }

    @Test func `Early checks are limited, each is answered`() {
        let network = ICEVirtualNetwork()
        let peer = network.addPeer(.controlled, ["192.0.2.1"])
        peer.gather()
        for port in 1...UInt16(ICELimits.earlyChecks + 9) { check(peer, from: port, fragment: "f", at: network.now) }
        #expect(peer.transmits.count == ICELimits.earlyChecks + 9)
        #expect(peer.agent.statistics.dropped.limitedRequests == 9)
        peer.agent.setRemoteCredentials(
            ICECredentials(usernameFragment: "f", password: "p"),
            isLite: false,
            at: network.now
        )
        #expect(peer.agent.statistics.remoteCandidates.count == ICELimits.earlyChecks)
    }

    @Test func `A flood of checks from many ports cannot make the agent flood others`() {
        let network = ICEVirtualNetwork()
        let peer = network.addPeer(.controlled, ["192.0.2.1"])
        peer.gather()
        peer.agent.setRemoteCredentials(
            ICECredentials(usernameFragment: "f", password: "p"),
            isLite: false,
            at: network.now
        )
        for port in 1...UInt16(2000) { check(peer, from: port, fragment: "f", at: network.now) }
        #expect(peer.agent.statistics.remoteCandidates.count == ICELimits.remoteCandidates)
        var requestCount = 0
        peer.transmits.drain { _, bytes in
            if (try? STUNReading(Array(bytes)))?.message.messageClass == .request { requestCount += 1 }
        }
        #expect(requestCount == ICEConfiguration().triggeredBurst + 1)
        #expect(peer.agent.nextDeadline.map { $0.instant > network.now } == true)
    }

    @Test func `Authentic paths are limited, the newest stay`() throws {
        let network = ICEVirtualNetwork()
        let peer = network.addPeer(.controlled, ["192.0.2.1"])
        peer.gather()
        let count = UInt16(ICELimits.authenticPaths + 3)
        func path(_ port: UInt16) throws -> TransmitPath {
            TransmitPath(port: PortID(rawValue: 0), remote: try #require(TransportAddress("198.51.100.1", port: port)))
        }
        for port in 1...count { check(peer, from: port, fragment: "f", at: network.now) }
        for port in 1...count { #expect(peer.agent.isAuthentic(try path(port)) == (port > 3)) }
        #expect(!peer.agent.isAuthentic(try path(count + 1)))
        peer.agent.close()
        #expect(!peer.agent.isAuthentic(try path(count)))
    }

    @Test func `Own candidates and servers are limited`() {
        let network = ICEVirtualNetwork()
        let peer = network.addPeer(.controlled, [])
        for number in 0..<(ICELimits.localCandidates + 3) {
            peer.agent.addLocalHost(
                candidate(number + 1).address,
                port: PortID(rawValue: number),
                preference: 1,
                at: network.now
            )
        }
        for number in 0..<(ICELimits.gatherings + 2) {
            peer.agent.gatherServerReflexive(
                from: candidate(number + 100).address,
                port: PortID(rawValue: 0),
                base: candidate(1).address,
                at: network.now
            )
        }
        #expect(peer.agent.statistics.localCandidates.count == ICELimits.localCandidates)
        #expect(peer.agent.statistics.dropped.limitedGathering == 5)
    }

    @Test func `Useless candidates are not kept`() throws {
        let network = ICEVirtualNetwork()
        let peer = network.addPeer(.controlled, ["192.0.2.1"])
        for line in [
            "candidate:1 1 tcp 1 192.0.2.9 9 typ host tcptype so", "candidate:1 2 udp 1 192.0.2.9 9 typ host",
            "candidate:1 1 udp 1 192.0.2.9 0 typ host", "candidate:1 1 udp 1 0.0.0.0 9 typ host",
            "candidate:1 1 udp 1 ff02::1 9 typ host", "candidate:1 1 udp 1 224.0.0.1 9 typ host",
        ] {
            peer.agent.addRemoteCandidate(try ICECandidate(attributeValue: line), at: network.now)
        }
        #expect(peer.agent.statistics.dropped.unusableCandidates == 6)
        // An active candidate says only that the peer connects.
        let active = "candidate:1 1 tcp 1 192.0.2.9 9 typ host tcptype active"
        peer.agent.addRemoteCandidate(try ICECandidate(attributeValue: active), at: network.now)
        #expect(peer.agent.statistics.dropped.unusableCandidates == 6)
        #expect(peer.agent.statistics.remoteCandidates.isEmpty)
    }

    @Test(arguments: [1, 2, 3]) func `Damaged datagrams in the middle of a call harm nothing`(seed: UInt64) throws {
        let network = ICEVirtualNetwork(seed: seed)
        let chaos = RandomSource(seed: seed &+ 99)
        network.passes = { [unowned network] source, destination, bytes in
            guard chaos.next() % 3 == 0 else { return true }
            var damaged = bytes
            damaged[Int(chaos.next() % UInt64(bytes.count))] ^= UInt8(truncatingIfNeeded: chaos.next())
            if chaos.next() % 4 == 0 { damaged.removeLast(Int(chaos.next() % UInt64(bytes.count))) }
            let peers = network.peers
            for peer in peers {
                for port in peer.ports {
                    peer.agent.receive(damaged.span.bytes, from: source, on: port, at: network.now)
                }
            }
            return true
        }
        let call = ICETestCall(network, ["192.0.2.1", "2001:db8::1"], ["198.51.100.1", "2001:db8::2"])
        call.signal()
        #expect(network.run(.seconds(10)) { call.isCompleted } != nil)
        network.run(.seconds(300))
        #expect(call.isCompleted)
        #expect(call.offerer.agent.statistics.dropped.malformed > 0)
    }
}
