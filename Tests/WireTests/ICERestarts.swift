import ICE
import STUN
import SansIO
import Testing

@Suite struct ICERestarts {
    private func connected(_ network: ICEVirtualNetwork) throws -> ICETestCall {
        let call = ICETestCall(network, ["192.0.2.1"], ["198.51.100.1"])
        call.signal()
        try #require(network.run(.seconds(5)) { call.isCompleted } != nil)
        return call
    }

    /// Offer and answer of new credentials, in the order of JSEP.
    private func signalRestart(_ call: ICETestCall, answerDelay: Duration = .milliseconds(1)) {
        let network = call.network
        call.offerer.agent.restart(at: network.now)
        call.offerer.gather()
        network.after(.milliseconds(1)) {
            call.answerer.agent.restart(at: network.now)
            call.answerer.setRemoteCredentials(of: call.offerer)
            call.answerer.gather()
            network.after(answerDelay) { call.offerer.setRemoteCredentials(of: call.answerer) }
        }
    }

    @Test func `A restart brings new credentials and never leaves the peers without a path`() throws {
        let network = ICEVirtualNetwork()
        let call = try connected(network)
        let old = (call.offerer.agent.localCredentials, call.answerer.agent.localCredentials)
        network.signallingDelay = .milliseconds(20)
        signalRestart(call, answerDelay: .milliseconds(500))
        var wasAlwaysWritable = true
        let time = network.run(.seconds(10)) {
            wasAlwaysWritable = wasAlwaysWritable && call.isConnected
            return call.isNominated && call.isCompleted && call.offerer.agent.remoteCredentials != old.1
        }
        #expect(time != nil)
        #expect(wasAlwaysWritable)
        #expect(call.offerer.agent.localCredentials != old.0)
        #expect(call.answerer.agent.localCredentials != old.1)
        #expect(call.offerer.states.allSatisfy { $0 != .disconnected && $0 != .failed })
        network.run(.seconds(60))
        #expect(call.isCompleted)
    }

    @Test func `While the answer to a restart is awaited the old path keeps its consent`() throws {
        let network = ICEVirtualNetwork()
        let call = try connected(network)
        call.offerer.agent.restart(at: network.now)
        call.offerer.gather()
        #expect(call.offerer.agent.state == .connected)
        network.run(.seconds(120))
        #expect(call.isConnected)
        #expect(call.offerer.agent.state == .connected)
        #expect(call.answerer.agent.state == .completed)
    }

    @Test func `A restart that nobody answers fails with the old path, and a late answer mends it`() throws {
        let network = ICEVirtualNetwork()
        let call = try connected(network)
        network.passes = { _, _, _ in false }
        network.run(.seconds(10))
        call.offerer.agent.restart(at: network.now)
        call.offerer.gather()
        #expect(network.run(.seconds(60)) { call.offerer.agent.state == .failed } != nil)
        #expect(call.offerer.agent.selectedPath == nil && call.offerer.transmits.selectedPath == nil)
        network.run(.seconds(60))
        network.passes = { _, _, _ in true }
        call.answerer.agent.restart(at: network.now)
        call.answerer.setRemoteCredentials(of: call.offerer)
        for candidate in call.offerer.candidates { call.answerer.agent.addRemoteCandidate(candidate, at: network.now) }
        call.answerer.gather()
        call.offerer.setRemoteCredentials(of: call.answerer)
        #expect(network.run(.seconds(10)) { call.isConnected && call.isNominated } != nil)
    }

    @Test func `A failed connection is mended by a restart`() throws {
        let network = ICEVirtualNetwork()
        let call = try connected(network)
        network.passes = { _, _, _ in false }
        #expect(
            network.run(.seconds(60)) { call.offerer.agent.state == .failed && call.answerer.agent.state == .failed }
                != nil
        )
        network.passes = { _, _, _ in true }
        signalRestart(call)
        #expect(call.offerer.agent.state == .checking)
        #expect(network.run(.seconds(5)) { call.isCompleted } != nil)
        #expect(call.offerer.states.suffix(4) == [.failed, .checking, .connected, .completed])
    }

    @Test func `A restart whose offer is rolled back leaves all as it was`() throws {
        let network = ICEVirtualNetwork()
        let call = try connected(network)
        let old = call.offerer.agent.localCredentials
        call.offerer.agent.restart(at: network.now)
        #expect(call.offerer.agent.localCredentials != old)
        #expect(call.offerer.agent.cancelRestart(at: network.now))
        #expect(call.offerer.agent.localCredentials == old)
        network.run(.seconds(60))
        #expect(call.isCompleted)
        #expect(!call.offerer.agent.cancelRestart(at: network.now))
    }

    @Test func `A restart by an offer of the peer that is rolled back leaves all as it was`() throws {
        let network = ICEVirtualNetwork()
        let call = try connected(network)
        let old = (call.answerer.agent.localCredentials, call.answerer.agent.remoteCredentials)
        call.answerer.agent.restart(at: network.now)
        call.answerer.agent.setRemoteCredentials(
            ICECredentials(usernameFragment: "new", password: "password"),
            isLite: false,
            at: network.now
        )
        #expect(call.answerer.agent.cancelRestart(at: network.now))
        #expect(call.answerer.agent.localCredentials == old.0)
        #expect(call.answerer.agent.remoteCredentials == old.1)
        network.run(.seconds(60))
        #expect(call.isCompleted)
    }

    @Test func `Candidates of another generation are ignored`() throws {
        let network = ICEVirtualNetwork()
        let call = try connected(network)
        let stale = try #require(call.answerer.candidates.first)
        signalRestart(call)
        #expect(
            network.run(.seconds(5)) {
                call.isCompleted && call.offerer.agent.remoteCredentials == call.answerer.agent.localCredentials
            } != nil
        )
        let before = call.offerer.agent.statistics
        var other = stale
        other.address.port = 9999
        call.offerer.agent.addRemoteCandidate(other, at: network.now)
        #expect(call.offerer.agent.statistics.remoteCandidates == before.remoteCandidates)
        #expect(call.offerer.agent.statistics.dropped.staleCandidates == before.dropped.staleCandidates + 1)
    }
}
