import ICE
import STUN
import SansIO
import Testing

/// Paths that die and others that take their place, without a restart.
@Suite struct ICEHealing {
    /// Two hosts a side, connected, with traffic both ways four times a second.
    private func busyCall(
        _ first: [String] = ["192.0.2.1", "192.0.2.65"],
        _ second: [String] = ["198.51.100.1"],
        nats: (ICETestNAT?, ICETestNAT?) = (nil, nil),
        servers: [TransportAddress] = [],
        roles: (ICERole, ICERole) = (.controlling, .controlled),
        seed: UInt64 = 1
    ) throws -> (ICEVirtualNetwork, ICETestCall) {
        let network = ICEVirtualNetwork(seed: seed)
        network.servers = Set(servers)
        // Behind two NATs, private addresses lead nowhere.
        if nats.1 != nil { network.passes = { _, destination, _ in destination.ip.low >> 24 != 10 } }
        let call = ICETestCall(network, first, second, nats: nats, roles: roles)
        call.signal(servers: servers)
        try #require(network.run(.seconds(10)) { call.isCompleted && call.isNominated } != nil)
        func traffic() {
            call.offerer.agent.noteTraffic(at: network.now)
            call.answerer.agent.noteTraffic(at: network.now)
            network.after(.milliseconds(250)) { traffic() }
        }
        traffic()
        network.run(.seconds(20))
        return (network, call)
    }

    /// Whether what each side sends now reaches the other.
    private func isWhole(_ network: ICEVirtualNetwork, _ call: ICETestCall, besides dead: Set<TransportAddress>) -> Bool
    {
        for (peer, other) in [(call.offerer, call.answerer), (call.answerer, call.offerer)] {
            guard let path = peer.agent.selectedPath, let source = peer.sockets[path.port],
                !dead.contains(source), !dead.contains(path.remote),
                other.agent.isAuthentic(
                    TransmitPath(
                        port: other.agent.selectedPath?.port ?? path.port,
                        remote: peer.nat?.translate(source, to: path.remote) ?? source
                    )
                )
            else { return false }
        }
        return true
    }

    @Test(arguments: [(ICERole.controlling, ICERole.controlled), (.controlled, .controlling)])
    func `A path that dies unseen gives way to another within two seconds`(roles: (ICERole, ICERole)) throws {
        let (network, call) = try busyCall(roles: roles)
        let old = try #require(call.offerer.agent.selectedPath)
        let dead = try #require(call.offerer.sockets[old.port])
        network.passes = { source, destination, _ in source != dead && destination != dead }
        let cut = network.elapsed
        let healed = try #require(network.run(.seconds(10)) { isWhole(network, call, besides: [dead]) })
        #expect(healed - cut < .seconds(2.5))
        network.run(.seconds(60))
        #expect(isWhole(network, call, besides: [dead]))
        #expect(call.isNominated && call.offerer.agent.state == .completed && call.answerer.agent.state == .completed)
        #expect(!call.offerer.states.contains(.disconnected) && !call.offerer.states.contains(.failed))
    }

    @Test func `An address that vanishes gives way within a round trip`() throws {
        let (network, call) = try busyCall()
        let old = try #require(call.offerer.agent.selectedPath)
        let dead = try #require(call.offerer.sockets[old.port])
        network.passes = { source, destination, _ in source != dead && destination != dead }
        let cut = network.elapsed
        call.offerer.agent.addressVanished(on: old.port, at: network.now)
        let healed = try #require(network.run(.seconds(10)) { isWhole(network, call, besides: [dead]) })
        // The controlled side follows the nomination.
        #expect(healed - cut < .milliseconds(100))
    }

    @Test(arguments: [(ICERole.controlling, ICERole.controlled), (.controlled, .controlling)])
    func `A new address takes over although nobody can be told of it`(roles: (ICERole, ICERole)) throws {
        let (network, call) = try busyCall(["192.0.2.1"], roles: roles)
        network.signallingDelay = nil
        let old = try #require(call.offerer.agent.selectedPath)
        let dead = try #require(call.offerer.sockets[old.port])
        network.passes = { source, destination, _ in source != dead && destination != dead }
        let cut = network.elapsed
        call.offerer.agent.addressVanished(on: old.port, at: network.now)
        let port = call.offerer.addSocket("203.0.113.9")
        call.offerer.agent.reopenGathering()
        let address = try #require(call.offerer.sockets[port])
        call.offerer.agent.addLocalHost(address, port: port, preference: 60_000, at: network.now)
        call.offerer.agent.finishAddingLocalAddresses(at: network.now)
        let healed = try #require(network.run(.seconds(10)) { isWhole(network, call, besides: [dead]) })
        #expect(healed - cut < (roles.0 == .controlling ? .milliseconds(150) : .seconds(1.5)))
        #expect(network.run(.seconds(5)) { call.isNominated && call.isCompleted } != nil)
        #expect(call.answerer.selected?.remote.kind == .prflx)
    }

    @Test(arguments: [(ICERole.controlling, ICERole.controlled), (.controlled, .controlling)])
    func `A NAT that forgot its mapping costs less than two seconds`(roles: (ICERole, ICERole)) throws {
        let server = try #require(TransportAddress("203.0.113.1", port: 3478))
        let nat = ICETestNAT("192.0.2.100")
        let (network, call) = try busyCall(["10.0.0.1"], nats: (nat, nil), servers: [server], roles: roles)
        call.offerer.nat = ICETestNAT("192.0.2.101")
        let cut = network.elapsed
        let new = IPAddress("192.0.2.101")
        let healed = network.run(.seconds(20)) { call.answerer.agent.selectedPath?.remote.ip == new }
        #expect(try #require(healed) - cut < .seconds(2.5))
        network.run(.seconds(60))
        #expect(call.answerer.agent.selectedPath?.remote.ip == new && call.isCompleted && call.isNominated)
    }

    /// The other side's NAT lets nothing in from an address that nothing was sent to: it has to be told of it.
    @Test(arguments: [(ICERole.controlling, ICERole.controlled), (.controlled, .controlling)])
    func `A NAT's new address is learnt from the server and told to the peer`(roles: (ICERole, ICERole)) throws {
        let server = try #require(TransportAddress("203.0.113.1", port: 3478))
        let (network, call) = try busyCall(
            ["10.0.0.1"],
            ["10.0.0.2"],
            nats: (ICETestNAT("192.0.2.100"), ICETestNAT("198.51.100.100")),
            servers: [server],
            roles: roles
        )
        call.offerer.nat = ICETestNAT("192.0.2.101")
        let cut = network.elapsed
        let new = IPAddress("192.0.2.101")
        let healed = network.run(.seconds(20)) { call.answerer.agent.selectedPath?.remote.ip == new }
        #expect(try #require(healed) - cut < .seconds(3))
        network.run(.seconds(60))
        #expect(call.answerer.agent.selectedPath?.remote.ip == new && call.isCompleted && call.isNominated)
        let told = call.offerer.candidates.filter { $0.kind == .srflx }.map(\.address.ip)
        #expect(told == [IPAddress("192.0.2.100"), new])
    }

    @Test func `A path that comes back after twenty seconds is used within half a second`() throws {
        let (network, call) = try busyCall(["192.0.2.1"])
        let port = try #require(call.offerer.agent.selectedPath).port
        network.passes = { _, _, _ in false }
        call.offerer.agent.addressVanished(on: port, at: network.now)
        network.run(.seconds(20))
        #expect(call.offerer.agent.state == .disconnected && call.answerer.agent.state == .disconnected)
        network.passes = { _, _, _ in true }
        call.offerer.agent.addressReturned(on: port, at: network.now)
        let back = network.elapsed
        let healed = try #require(network.run(.seconds(10)) { call.isCompleted })
        #expect(healed - back < .milliseconds(600))
        #expect(network.run(.seconds(5)) { call.isNominated } != nil)
    }

    @Test(arguments: 1...8) func `A tenth of losses does not make paths change to and fro`(seed: UInt64) throws {
        let (network, call) = try busyCall(seed: seed)
        let before = call.offerer.agent.statistics.selectedPathChanges
        network.loss = 0.1
        network.run(.seconds(300))
        #expect(call.isConnected)
        #expect(!call.offerer.states.contains(.failed) && !call.offerer.states.contains(.disconnected))
        // Two checks in a row are lost about ten times, and each time the choice settles within a few checks.
        #expect(call.offerer.agent.statistics.selectedPathChanges - before < 60)
    }

    @Test func `Traffic has the path checked each second, silence each five`() throws {
        let network = ICEVirtualNetwork()
        let call = ICETestCall(network, ["192.0.2.1"], ["198.51.100.1"])
        call.signal()
        try #require(network.run(.seconds(5)) { call.isCompleted } != nil)
        func count() -> Int { call.offerer.selected?.consentRequestsSent ?? 0 }
        network.run(.seconds(60))
        let idle = count()
        #expect((9...16).contains(idle))
        func traffic() {
            call.offerer.agent.noteTraffic(at: network.now)
            if network.elapsed < .seconds(125) { network.after(.milliseconds(100)) { traffic() } }
        }
        traffic()
        network.run(.seconds(60))
        #expect((45...80).contains(count() - idle))
        let busy = count()
        network.run(.seconds(60))
        #expect((8...20).contains(count() - busy))
    }

    @Test func `A peer that nominates another pair after a while is followed`() throws {
        // The offerer's path to the answerer is whole, but it moves by itself.
        let (network, call) = try busyCall()
        let old = try #require(call.answerer.agent.selectedPath)
        let port = try #require(call.offerer.agent.selectedPath).port
        call.offerer.agent.removeHost(port, at: network.now)
        let moved = try #require(network.run(.seconds(5)) { call.answerer.agent.selectedPath != old })
        #expect(moved < .seconds(60))
        network.run(.seconds(40))
        #expect(call.isNominated && call.isConnected)
        #expect(call.offerer.agent.selectedPath?.port != port)
    }

    @Test func `Without any other path, the loss of the only address ends in failure`() throws {
        let (network, call) = try busyCall(["192.0.2.1"])
        let port = try #require(call.offerer.agent.selectedPath).port
        call.offerer.agent.removeHost(port, at: network.now)
        #expect(call.offerer.agent.state == .failed)
        #expect(call.offerer.transmits.selectedPath == nil)
    }
}
