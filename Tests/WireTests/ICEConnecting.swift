import ICE
import STUN
import SansIO
import Testing

@Suite struct ICEConnecting {
    @Test func `Two hosts connect in both roles and select the same pair`() throws {
        let network = ICEVirtualNetwork()
        let call = ICETestCall(network, ["192.0.2.1"], ["198.51.100.1"])
        call.signal()
        #expect(network.run(.seconds(5)) { call.isCompleted } != nil)
        let (first, second) = (try #require(call.offerer.selected), try #require(call.answerer.selected))
        #expect(first.isNominated && second.isNominated)
        #expect(first.local.address == second.remote.address)
        #expect(first.remote.address == second.local.address)
        #expect(first.local.kind == .host && first.remote.kind == .host)
        #expect(call.offerer.states == [.checking, .connected, .completed])
        #expect(call.answerer.states == [.checking, .connected, .completed])
        #expect(
            call.offerer.agent.selectedPath == TransmitPath(port: PortID(rawValue: 0), remote: second.local.address)
        )
        #expect(call.offerer.transmits.selectedPath == call.offerer.agent.selectedPath)
        #expect(call.offerer.agent.roundTripTime == .milliseconds(20))
        #expect(call.offerer.agent.statistics.dropped == ICEDropCounts())
        #expect(call.answerer.agent.statistics.dropped == ICEDropCounts())
    }

    @Test func `The first check leaves in the call that makes it possible`() {
        let network = ICEVirtualNetwork()
        let call = ICETestCall(network, ["192.0.2.1"], ["198.51.100.1"])
        call.offerer.gather()
        call.answerer.gather()
        call.offerer.setRemoteCredentials(of: call.answerer)
        #expect(call.offerer.transmits.isEmpty)
        #expect(call.offerer.agent.state == .new)
        let candidate = ICECandidate(
            foundation: "1",
            priority: 2_130_706_431,
            address: TransportAddress(.init(v4: 0xC633_6401), port: 5100),
            kind: .host
        )
        call.offerer.agent.addRemoteCandidate(candidate, at: network.now)
        #expect(call.offerer.transmits.count == 1)
        #expect(call.offerer.agent.state == .checking)
    }

    @Test(arguments: [0, 1, 2])
    func `On a fast path both are writable after one round trip and nominated after two`(microseconds: Int) throws {
        let network = ICEVirtualNetwork()
        network.delay = .microseconds(50)
        network.signallingDelay = .microseconds(microseconds)
        let call = ICETestCall(network, ["192.0.2.1", "2001:db8::1"], ["198.51.100.1", "2001:db8::2"])
        call.signal(answerDelay: .microseconds(10))
        let writable = try #require(network.run(.seconds(1)) { call.isConnected })
        #expect(writable <= .microseconds(310))
        let nominated = try #require(network.run(.seconds(1)) { call.isNominated })
        #expect(nominated <= .microseconds(520))
    }

    @Test func `A path is usable before it is nominated`() throws {
        let network = ICEVirtualNetwork()
        var configuration = ICEConfiguration()
        configuration.nominationGrace = .seconds(60)
        let call = ICETestCall(
            network,
            ["10.0.0.1"],
            ["198.51.100.1"],
            nats: (ICETestNAT("203.0.113.1"), nil),
            configuration: configuration
        )
        network.signallingDelay = nil
        call.signal()
        call.offerer.agent.addRemoteCandidate(
            ICECandidate(
                foundation: "1",
                priority: 9,
                address: try #require(TransportAddress("198.51.100.1", port: 5100)),
                kind: .host
            ),
            at: network.now
        )
        #expect(network.run(.seconds(1)) { call.isConnected } != nil)
        network.run(.seconds(50))
        #expect(call.offerer.selected?.isNominated == false)
        #expect(call.answerer.selected?.isNominated == false)
        #expect(call.offerer.agent.selectedPath != nil && call.answerer.agent.selectedPath != nil)
        #expect(call.offerer.agent.state == .connected)
        #expect(network.run(.seconds(15)) { call.isNominated } != nil)
    }

    @Test func `IPv6 connects, and is preferred when both families are there`() throws {
        let network = ICEVirtualNetwork()
        let call = ICETestCall(network, ["2001:db8::1", "192.0.2.1"], ["2001:db8::2", "192.0.2.2"])
        call.signal()
        #expect(network.run(.seconds(5)) { call.isCompleted } != nil)
        #expect(call.offerer.selected?.path.remote == TransportAddress("2001:db8::2", port: 5100))
        #expect(call.answerer.selected?.path.remote == TransportAddress("2001:db8::1", port: 5000))
    }

    @Test func `A broken IPv6 costs little`() throws {
        let network = ICEVirtualNetwork()
        network.passes = { _, destination, _ in destination.ip.isIPv4 }
        let call = ICETestCall(network, ["2001:db8::1", "192.0.2.1"], ["2001:db8::2", "192.0.2.2"])
        call.signal()
        let time = try #require(network.run(.seconds(5)) { call.isNominated })
        #expect(time < .milliseconds(250))
        #expect(call.offerer.selected?.path.remote.ip.isIPv4 == true)
    }

    @Test func `Link-local addresses pair with their own kind and carry our scope`() throws {
        let network = ICEVirtualNetwork()
        let peer = network.addPeer(.controlling, [])
        let local = TransportAddress(IPAddress(v6High: 0xFE80 << 48, v6Low: 1, scopeID: 3), port: 5000)
        peer.agent.addLocalHost(local, port: PortID(rawValue: 0), preference: 1, at: network.now)
        peer.agent.addLocalHost(
            try #require(TransportAddress("2001:db8::1", port: 5000)),
            port: PortID(rawValue: 1),
            preference: 2,
            at: network.now
        )
        let remote = try ICECandidate(attributeValue: "candidate:1 1 udp 5 fe80::2 6000 typ host")
        peer.agent.addRemoteCandidate(remote, at: network.now)
        #expect(peer.agent.statistics.pairs.map(\.path.port.rawValue) == [0])
        #expect(peer.agent.statistics.pairs.first?.path.remote.ip.scopeID == 3)
    }

    @Test(arguments: 1...20) func `A lossy path connects`(seed: UInt64) throws {
        let network = ICEVirtualNetwork(seed: seed)
        network.loss = 0.3
        let call = ICETestCall(network, ["192.0.2.1", "2001:db8::1"], ["198.51.100.1", "2001:db8::2"])
        call.signal()
        let time = try #require(network.run(.seconds(30)) { call.isNominated }, "seed \(seed)")
        #expect(time < .seconds(15))
        // Each side may have changed its mind before the nomination, not after.
        #expect(call.offerer.selected?.remote.address == call.answerer.selected?.local.address)
    }

    @Test func `Candidates may trickle in before credentials and long after`() throws {
        let network = ICEVirtualNetwork()
        let call = ICETestCall(network, ["192.0.2.1"], ["198.51.100.1"])
        network.signallingDelay = nil
        call.offerer.gather()
        call.answerer.gather()
        network.run(.milliseconds(1))
        let (first, second) = (
            try #require(call.offerer.candidates.first), try #require(call.answerer.candidates.first)
        )
        call.answerer.agent.addRemoteCandidate(first, at: network.now)  // before the credentials
        call.answerer.setRemoteCredentials(of: call.offerer)
        network.run(.seconds(120))
        // The answerer was answered; the offerer waited without credentials, which is no failure.
        #expect(call.answerer.agent.state == .connected)
        #expect(call.offerer.agent.state == .new)
        #expect(call.answerer.selected?.isNominated == false)
        call.offerer.setRemoteCredentials(of: call.answerer)
        call.offerer.agent.addRemoteCandidate(second, at: network.now)
        #expect(network.run(.seconds(1)) { call.isNominated } != nil)
        #expect(call.offerer.selected?.remote.kind == .host)
    }

    @Test func `Checks that come before the peer's credentials are answered at once and used later`() throws {
        let network = ICEVirtualNetwork()
        let call = ICETestCall(network, ["192.0.2.1"], ["198.51.100.1"])
        network.signallingDelay = .milliseconds(1)
        call.answerer.other = nil  // the offerer gets no candidate of the answerer
        call.signal(answerDelay: .seconds(2))
        network.run(.milliseconds(500))
        // The answerer's check was answered: it can send, the offerer not yet.
        #expect(call.answerer.agent.isWritable)
        #expect(!call.offerer.agent.isWritable)
        #expect(call.offerer.agent.state == .new)
        let time = try #require(network.run(.seconds(5)) { call.isNominated })
        #expect(time < .milliseconds(2150))
        #expect(call.offerer.selected?.remote.kind == .prflx)
    }

    @Test func `A signalled candidate takes the place of the peer-reflexive one`() throws {
        let network = ICEVirtualNetwork()
        let call = ICETestCall(network, ["192.0.2.1"], ["198.51.100.1"])
        network.signallingDelay = .milliseconds(700)
        call.signal(answerDelay: .milliseconds(800))
        call.answerer.agent.addRemoteCandidate(
            ICECandidate(
                foundation: "1",
                priority: 1,
                address: try #require(TransportAddress("192.0.2.1", port: 5000)),
                kind: .host
            ),
            at: network.now
        )
        #expect(network.run(.seconds(5)) { call.isCompleted } != nil)
        #expect(call.offerer.agent.statistics.remoteCandidates.map(\.kind) == [.host])
        #expect(call.offerer.selected?.remote.kind == .host)
    }

    @Test func `Only the nominated pair is checked on`() throws {
        let network = ICEVirtualNetwork()
        let call = ICETestCall(network, ["192.0.2.1", "192.0.2.2", "192.0.2.3"], ["198.51.100.1", "198.51.100.2"])
        call.signal()
        #expect(network.run(.seconds(5)) { call.isCompleted } != nil)
        network.run(.milliseconds(200))
        let before = network.transmittedCount
        network.run(.seconds(60))
        // Two agents, a consent check each 4...6 s, each with its answer.
        #expect((40...64).contains(network.transmittedCount - before))
    }

    @Test func `Ordinary checks keep 50 ms apart after the first three`() throws {
        let network = ICEVirtualNetwork()
        var times: [Duration] = []
        network.passes = { [unowned network] _, _, bytes in
            times.append(network.elapsed)
            return false
        }
        let peer = network.addPeer(.controlling, ["192.0.2.1"])
        peer.gather()
        for last in 1...8 {
            peer.agent.addRemoteCandidate(
                try ICECandidate(attributeValue: "candidate:\(last) 1 udp \(last) 198.51.100.\(last) 6000 typ host"),
                at: network.now
            )
        }
        peer.setRemoteCredentialsOfNobody()
        network.run(.milliseconds(350))
        let first = times.prefix(8).map { $0.wholeMillisecondsForTest }
        #expect(first == [0, 0, 0, 50, 100, 150, 200, 250])
    }

    @Test func `One pair of each way is checked at once, whatever came before`() throws {
        let network = ICEVirtualNetwork()
        var targets: [TransportAddress] = []
        network.passes = { _, destination, _ in
            targets.append(destination)
            return false
        }
        let peer = network.addPeer(.controlling, ["192.0.2.1"])
        peer.gather()
        peer.setRemoteCredentialsOfNobody()
        // As of a peer with ten interfaces behind a symmetric NAT: only its relay is reached, whose priority is lowest.
        for last in 1...10 {
            peer.agent.addRemoteCandidate(
                try ICECandidate(attributeValue: "candidate:\(last) 1 udp 900\(last) 198.51.100.\(last) 6000 typ host"),
                at: network.now
            )
        }
        for (kind, last) in [("srflx", 50), ("relay", 60)] {
            peer.agent.addRemoteCandidate(
                try ICECandidate(
                    attributeValue: "candidate:\(last) 1 udp \(100 - last) 203.0.113.\(last) 6000 typ \(kind)"
                        + " raddr 0.0.0.0 rport 0"
                ),
                at: network.now
            )
        }
        network.run(.milliseconds(10))
        #expect(targets.count == 5)
        #expect(Set(targets.map(\.ip.description)).isSuperset(of: ["203.0.113.50", "203.0.113.60"]))
    }

    @Test func `A lite peer, which never checks, is controlled and nominated`() throws {
        let network = ICEVirtualNetwork()
        let call = ICETestCall(network, ["192.0.2.1"], ["198.51.100.1"], roles: (.controlled, .controlled))
        call.answerer.gather()
        call.offerer.agent.setRemoteCredentials(call.answerer.agent.localCredentials, isLite: true, at: network.now)
        #expect(call.offerer.agent.role == .controlling)
        call.offerer.gather()
        call.answerer.other = call.offerer
        #expect(network.run(.seconds(2)) { call.offerer.agent.state == .completed } != nil)
        #expect(call.offerer.selected?.isNominated == true)
    }
}

extension Duration {
    var wholeMillisecondsForTest: Int64 { components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000 }
}
