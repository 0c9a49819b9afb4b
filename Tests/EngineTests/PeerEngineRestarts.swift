import ICE
import PeerEngine
import SansIO
import Testing

/// ICE restarts as offers and answers bring them.
@Suite struct PeerEngineRestarts {
    private func connected() throws -> PeerEnginePair {
        let pair = try PeerEnginePair()
        try pair.negotiate()
        pair.exchange()
        pair.signalCandidates()
        try #require(pair.run { pair.isConnected })
        return pair
    }

    private func isOfOneGeneration(_ pair: PeerEnginePair) -> Bool {
        let (first, second) = (pair.offerer.engine.ice, pair.answerer.engine.ice)
        return first.remoteCredentials == second.localCredentials && second.remoteCredentials == first.localCredentials
            && [first, second].allSatisfy { $0.statistics.pairs.contains { $0.isSelected && $0.isNominated } }
    }

    @Test func `A restart gives both sides new credentials and interrupts nothing`() throws {
        let pair = try connected()
        let old = (pair.offerer.engine.ice.localCredentials, pair.answerer.engine.ice.localCredentials)
        try pair.renegotiate(from: pair.offerer, to: pair.answerer, iceRestart: true)
        #expect(pair.isConnected)
        #expect(pair.run(.seconds(1)) { isOfOneGeneration(pair) })
        #expect(pair.offerer.engine.ice.localCredentials != old.0)
        #expect(pair.answerer.engine.ice.localCredentials != old.1)
        pair.run(.seconds(60))
        #expect(pair.isConnected && isOfOneGeneration(pair))
    }

    @Test func `The answerer of the first offer may restart as well`() throws {
        let pair = try connected()
        pair.answerer.engine.negotiator.wantsRestart = true
        #expect(pair.answerer.engine.negotiator.isNegotiationNeeded)
        try pair.renegotiate(from: pair.answerer, to: pair.offerer, iceRestart: false)
        #expect(!pair.answerer.engine.negotiator.isNegotiationNeeded)
        #expect(pair.run(.seconds(1)) { isOfOneGeneration(pair) })
        pair.run(.seconds(60))
        #expect(pair.isConnected)
    }

    @Test func `An offer that is never set restarts nothing`() throws {
        let pair = try connected()
        let old = pair.offerer.engine.ice.localCredentials
        _ = pair.offerer.engine.createOffer(iceRestart: true)
        #expect(pair.offerer.engine.ice.localCredentials == old)
        try pair.renegotiate(from: pair.offerer, to: pair.answerer, iceRestart: false)
        #expect(pair.offerer.engine.ice.localCredentials == old)
        pair.run(.seconds(60))
        #expect(pair.isConnected && isOfOneGeneration(pair))
    }

    @Test func `A rollback takes the restart back, and it stays asked for`() throws {
        let pair = try connected()
        let engine = pair.offerer.engine
        let old = engine.ice.localCredentials
        engine.negotiator.wantsRestart = true
        let offer = engine.createOffer(iceRestart: false)
        _ = try engine.setLocalDescription(.offer, text: offer, at: pair.now)
        #expect(engine.ice.localCredentials != old)
        _ = try engine.setLocalDescription(.rollback, text: nil, at: pair.now)
        #expect(engine.ice.localCredentials == old)
        #expect(engine.negotiator.isNegotiationNeeded)
        pair.run(.seconds(60))
        #expect(pair.isConnected && isOfOneGeneration(pair))
        try pair.renegotiate(from: pair.offerer, to: pair.answerer, iceRestart: false)
        #expect(engine.ice.localCredentials != old)
        #expect(!engine.negotiator.isNegotiationNeeded)
        #expect(pair.run(.seconds(1)) { isOfOneGeneration(pair) })
    }

    /// What the server said meanwhile was for the generation that was taken back.
    @Test func `A rollback waits no more for a relay that has failed meanwhile`() throws {
        let pair = try connected()
        let engine = pair.offerer.engine
        engine.ice.setRemoteEndOfCandidates(at: pair.now)
        engine.ice.reopenGathering()
        #expect(engine.relays.willOpenStream())
        engine.ice.finishAddingLocalAddresses(at: pair.now)
        _ = try engine.setLocalDescription(.offer, text: engine.createOffer(iceRestart: true), at: pair.now)
        engine.relays.gatherAgain(at: pair.now)
        engine.relays.streamFailed(at: pair.now)
        _ = try engine.setLocalDescription(.rollback, text: nil, at: pair.now)
        pair.run(.seconds(60))
        #expect(engine.ice.state == .completed)
    }

    @Test func `Of two restarts at once the polite peer gives its own back and takes the other's`() throws {
        let pair = try connected()
        let polite = pair.offerer.engine
        _ = try polite.setLocalDescription(.offer, text: polite.createOffer(iceRestart: true), at: pair.now)
        let given = polite.ice.localCredentials
        try pair.renegotiate(from: pair.answerer, to: pair.offerer, iceRestart: true)
        #expect(polite.ice.localCredentials != given)
        #expect(pair.run(.seconds(1)) { isOfOneGeneration(pair) })
        pair.run(.seconds(60))
        #expect(pair.isConnected)
    }

    @Test func `A rollback of the peer's restart leaves all as it was`() throws {
        let pair = try connected()
        let (first, second) = (pair.offerer.engine, pair.answerer.engine)
        let offer = first.createOffer(iceRestart: true)
        _ = try first.setLocalDescription(.offer, text: offer, at: pair.now)
        _ = try second.setRemoteDescription(.offer, text: offer, at: pair.now)
        _ = try second.setRemoteDescription(.rollback, text: "", at: pair.now)
        _ = try first.setLocalDescription(.rollback, text: nil, at: pair.now)
        #expect(isOfOneGeneration(pair))
        pair.run(.seconds(60))
        #expect(pair.isConnected && isOfOneGeneration(pair))
    }
}
