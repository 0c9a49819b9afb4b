import ICE
import STUN
import SansIO
import Testing

@Suite struct ICEConsentFreshness {
    private func connected(_ seed: UInt64 = 1) throws -> (ICEVirtualNetwork, ICETestCall) {
        let network = ICEVirtualNetwork(seed: seed)
        let call = ICETestCall(network, ["192.0.2.1"], ["198.51.100.1"])
        call.signal()
        try #require(network.run(.seconds(5)) { call.isCompleted } != nil)
        return (network, call)
    }

    @Test func `A path that goes silent is disconnected, then failed 30 seconds after the last answer`() throws {
        let (network, call) = try connected()
        network.run(.seconds(20))
        let lastAnswer = try #require(call.offerer.selected?.lastResponseReceivedAt)
        network.passes = { _, _, _ in false }
        let cut = network.elapsed
        let disconnected = try #require(network.run(.seconds(20)) { call.offerer.agent.state == .disconnected })
        #expect(disconnected - cut < .seconds(10) && disconnected - cut > .seconds(3))
        #expect(call.offerer.agent.isWritable)
        #expect(network.run(.seconds(60)) { call.offerer.agent.state == .failed } != nil)
        #expect(network.now - lastAnswer == .seconds(30))
        #expect(call.offerer.states == [.checking, .connected, .completed, .disconnected, .failed])
        #expect(call.offerer.events.filter { $0 == .consentLost }.count == 1)
        #expect(call.offerer.agent.selectedPath == nil)
        #expect(call.offerer.transmits.selectedPath == nil)
        #expect(call.offerer.agent.nextDeadline == nil)
    }

    @Test func `The times of disconnection and failure are options`() throws {
        let network = ICEVirtualNetwork()
        var configuration = ICEConfiguration()
        configuration.setTimeouts(disconnected: .seconds(6), failed: .seconds(12))
        let call = ICETestCall(network, ["192.0.2.1"], ["198.51.100.1"], configuration: configuration)
        call.signal()
        try #require(network.run(.seconds(5)) { call.isCompleted } != nil)
        network.passes = { _, _, _ in false }
        let lastAnswer = try #require(call.offerer.selected?.lastResponseReceivedAt)
        let disconnected = try #require(network.run(.seconds(20)) { call.offerer.agent.state == .disconnected })
        #expect(network.start + disconnected - lastAnswer > .seconds(6))
        #expect(network.run(.seconds(20)) { call.offerer.agent.state == .failed } != nil)
        #expect(network.now - lastAnswer == .seconds(12))
        // No more than the protocol allows.
        configuration.setTimeouts(disconnected: .seconds(-1), failed: .seconds(3_600))
        #expect(configuration.consentTimeout == .seconds(30) && configuration.missedConsentLimit == 1)
    }

    @Test func `A path that comes back is completed again`() throws {
        let (network, call) = try connected()
        network.passes = { _, _, _ in false }
        #expect(
            network.run(.seconds(20)) {
                call.offerer.agent.state == .disconnected && call.answerer.agent.state == .disconnected
            } != nil
        )
        network.passes = { _, _, _ in true }
        let back = network.elapsed
        let recovered = try #require(network.run(.seconds(20)) { call.isCompleted })
        #expect(recovered - back < .seconds(1.2))
        network.run(.seconds(120))
        #expect(call.isCompleted)
        #expect(call.offerer.states == [.checking, .connected, .completed, .disconnected, .completed])
    }

    @Test func `Consent checks come every 4 to 6 seconds, differ, and fall on the grid that all connections share`()
        throws
    {
        let (network, call) = try connected()
        var times: [Instant] = []
        let offerer = call.offerer.sockets[PortID(rawValue: 0)]
        network.passes = { [unowned network] source, _, bytes in
            if source == offerer, (try? STUNReading(bytes))?.message.messageClass == .request {
                times.append(network.now)
            }
            return true
        }
        network.run(.seconds(300))
        let gaps = zip(times.dropFirst(), times).map { $0 - $1 }
        #expect(gaps.count > 45)
        #expect(gaps.allSatisfy { $0 >= .seconds(4) && $0 <= .seconds(6.1) })
        #expect(Set(gaps).count > 6)
        let step = ICEConfiguration().consentGrid.wholeNanoseconds
        #expect(times.allSatisfy { $0.nanoseconds % step == 0 })
        #expect((call.offerer.selected?.consentRequestsSent ?? 0) >= times.count)
    }

    @Test(arguments: 1...5) func `A lossy path keeps its consent`(seed: UInt64) throws {
        let (network, call) = try connected(seed)
        network.loss = 0.15
        network.run(.seconds(600))
        #expect(call.offerer.agent.isWritable && call.answerer.agent.isWritable)
        #expect(!call.offerer.states.contains(.failed) && !call.answerer.states.contains(.failed))
    }

    @Test func `An unauthentic answer is no consent`() throws {
        let (network, call) = try connected()
        network.passes = { [unowned network] source, destination, bytes in
            guard let reading = try? STUNReading(bytes), reading.message.messageClass == .success else { return true }
            var forged = STUNMessageWriter(.success, .binding, reading.message.transactionID)
            forged.add(.xorMappedAddress, xor: destination)
            if !reading.message.hasIntegrity { return true }
            network.send(forged.finish(), from: source, to: destination)
            return false
        }
        #expect(network.run(.seconds(60)) { call.offerer.agent.state == .failed } != nil)
        #expect(call.offerer.agent.statistics.dropped.unauthenticResponses > 3)
    }
}
