import ICE
import STUN
import SansIO
import Testing

/// An agent that answers checks and makes none. RFC 8445 §2.5
@Suite struct ICELite {
    private func call(_ network: ICEVirtualNetwork) -> ICETestCall {
        var lite = ICEConfiguration()
        lite.isLite = true
        return ICETestCall(
            network,
            ["10.0.0.1", "10.0.0.2"],
            ["198.51.100.1"],
            nats: (ICETestNAT("192.0.2.1"), nil),
            answererConfiguration: lite
        )
    }

    @Test(arguments: 1...5)
    func `A full agent behind a NAT connects with it, and keeps its consent`(seed: UInt64) throws {
        let network = ICEVirtualNetwork(seed: seed)
        network.loss = 0.1
        let call = call(network)
        var requestCount = 0
        network.passes = { source, _, bytes in
            if source == call.answerer.sockets[PortID(rawValue: 0)],
                (try? STUNReading(bytes))?.message.messageClass == .request
            {
                requestCount += 1
            }
            return true
        }
        call.signal()
        #expect(network.run(.seconds(10)) { call.isNominated && call.isCompleted } != nil)
        network.run(.seconds(120)) {
            call.offerer.agent.noteTraffic(at: network.now)
            call.answerer.agent.noteTraffic(at: network.now)
            return false
        }
        #expect(call.isNominated && call.isCompleted)
        #expect(requestCount == 0)
    }

    @Test func `It follows a peer that moves, and gives one up that is gone`() throws {
        let network = ICEVirtualNetwork()
        let call = call(network)
        call.signal()
        try #require(network.run(.seconds(10)) { call.isNominated && call.isCompleted } != nil)
        network.run(.seconds(20))
        let port = try #require(call.offerer.agent.selectedPath).port
        let before = call.answerer.agent.selectedPath
        call.offerer.agent.removeHost(port, at: network.now)
        #expect(network.run(.seconds(5)) { call.answerer.agent.selectedPath != before } != nil)
        network.passes = { _, _, _ in false }
        #expect(network.run(.seconds(60)) { call.answerer.agent.state == .failed } != nil)
        #expect(call.answerer.agent.selectedPath == nil)
    }
}
