import ICE
import STUN
import SansIO
import Testing

@Suite struct ICEReflexiveCandidates {
    private let server = TransportAddress(IPAddress(v4: 0xCB00_7107), port: 3478)
    private let deadServer = TransportAddress(IPAddress(v4: 0xCB00_7108), port: 3478)

    @Test func `A STUN server tells the address before the NAT`() throws {
        let network = ICEVirtualNetwork()
        network.servers = [server]
        let peer = network.addPeer(.controlling, ["10.0.0.1"], nat: ICETestNAT("203.0.113.99"))
        peer.gather(from: [server])
        #expect(peer.candidates.isEmpty)
        #expect(network.run(.seconds(1)) { peer.isGatheringComplete } == .milliseconds(20))
        #expect(peer.candidates.map(\.kind) == [.host, .srflx])
        let reflexive = try #require(peer.candidates.last)
        #expect(reflexive.address == TransportAddress("203.0.113.99", port: 40_000))
        #expect(reflexive.relatedAddress == TransportAddress("10.0.0.1", port: 5000))
        #expect(reflexive.priority == 100 << 24 | 65_535 << 8 | 255)
        #expect(reflexive.usernameFragment == peer.agent.localCredentials.usernameFragment)
        #expect(reflexive.foundation != peer.candidates[0].foundation)
    }

    @Test func `Without a NAT the server's answer adds nothing`() {
        let network = ICEVirtualNetwork()
        network.servers = [server]
        let peer = network.addPeer(.controlling, ["192.0.2.1"])
        peer.gather(from: [server])
        #expect(network.run(.seconds(1)) { peer.isGatheringComplete } != nil)
        #expect(peer.candidates.map(\.kind) == [.host])
    }

    @Test func `Where hosts are told by names, the server's answer is told even without a NAT`() throws {
        let network = ICEVirtualNetwork()
        network.servers = [server]
        let peer = network.addPeer(.controlling, ["192.0.2.1"], configuration: hiding)
        peer.gather(from: [server])
        #expect(network.run(.seconds(1)) { peer.isGatheringComplete } != nil)
        #expect(peer.candidates.map(\.kind) == [.host, .srflx])
        #expect(peer.candidates[0].address == peer.candidates[1].address)
    }

    @Test(arguments: ["10.0.0.1", "172.31.255.1", "192.168.1.1", "169.254.1.1"])
    func `A near server does not betray a private address`(host: String) {
        let network = ICEVirtualNetwork()
        network.servers = [server]
        let peer = network.addPeer(.controlling, [host], configuration: hiding)
        peer.gather(from: [server])
        #expect(network.run(.seconds(1)) { peer.isGatheringComplete } != nil)
        #expect(peer.candidates.map(\.kind) == [.host])
    }

    private var hiding: ICEConfiguration {
        var configuration = ICEConfiguration()
        configuration.tellsRedundantReflexive = true
        return configuration
    }

    @Test func `A dead server delays only the end of gathering`() throws {
        let network = ICEVirtualNetwork()
        network.servers = [server]
        let call = ICETestCall(
            network,
            ["10.0.0.1"],
            ["198.51.100.1"],
            nats: (ICETestNAT("203.0.113.99"), nil)
        )
        call.signal(servers: [deadServer, server])
        let connected = try #require(network.run(.seconds(1)) { call.isNominated })
        #expect(connected < .milliseconds(200))
        #expect(!call.offerer.isGatheringComplete)
        #expect(call.offerer.candidates.map(\.kind) == [.host, .srflx])
        #expect(network.run(.seconds(10)) { call.offerer.isGatheringComplete } == .seconds(5))
        #expect(network.run(.seconds(1)) { call.isCompleted } != nil)
        // Told once, however many sockets have asked, and by which nobody was asked in vain not at all.
        for peer in [call.offerer, call.answerer] {
            #expect(peer.events.filter { $0 == .serverSilent(deadServer) }.count == 1)
            #expect(!peer.events.contains(.serverSilent(server)))
        }
    }

    @Test func `Two peers behind NATs connect by their reflexive candidates`() throws {
        let network = ICEVirtualNetwork()
        network.servers = [server]
        let call = ICETestCall(
            network,
            ["10.0.0.1"],
            ["10.0.0.2"],
            nats: (ICETestNAT("203.0.113.1"), ICETestNAT("203.0.113.2"))
        )
        call.signal(answerDelay: .milliseconds(40), servers: [server])
        // Both nets are 10/8: the host candidates reach nobody.
        network.passes = { _, destination, _ in destination.ip.low >> 24 != 10 }
        #expect(network.run(.seconds(10)) { call.isCompleted } != nil)
        #expect(call.offerer.selected?.local.kind == .srflx)
        #expect(call.answerer.selected?.local.kind == .srflx)
        #expect(call.offerer.agent.selectedPath?.remote.ip == IPAddress("203.0.113.2"))
    }

    @Test func `A symmetric NAT is met by a peer-reflexive candidate`() throws {
        let network = ICEVirtualNetwork()
        network.servers = [server]
        let call = ICETestCall(
            network,
            ["10.0.0.1"],
            ["198.51.100.1"],
            nats: (ICETestNAT("203.0.113.1", isSymmetric: true), nil)
        )
        call.signal(servers: [server])
        #expect(network.run(.seconds(10)) { call.isCompleted } != nil)
        #expect(call.answerer.selected?.remote.kind == .prflx)
        #expect(call.offerer.selected?.local.kind == .prflx)
        let priority = try #require(call.answerer.selected?.remote.priority)
        #expect(priority == 110 << 24 | 65_535 << 8 | 255)
    }

    @Test func `The binding is kept open until a pair is nominated`() {
        let network = ICEVirtualNetwork()
        network.servers = [server]
        let peer = network.addPeer(.controlling, ["10.0.0.1"], nat: ICETestNAT("203.0.113.1"))
        peer.gather(from: [server])
        network.run(.seconds(61))
        #expect(network.transmittedCount == 10)  // five requests, five answers
        #expect(peer.candidates.count == 2)
        #expect(peer.agent.statistics.dropped == ICEDropCounts())
    }
}
