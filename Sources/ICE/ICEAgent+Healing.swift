import STUN
package import SansIO

/// Keeping a connection when the path in use dies, and moving it when a better one appears.
///
/// A pair that does not answer is `silent`. From its first missed check on, the other pairs are checked again; from its
/// second on, it gives way to the best of those that answer. Nobody need restart ICE, as long as any pair works.
extension ICEAgent {
    // MARK: Commands

    /// Has the selected pair checked soon, since datagrams pass along it: what is lost now is missed.
    ///
    /// Costs a comparison if a check is due soon anyway.
    package func noteTraffic(at now: Instant) {
        guard let pair = current.selected, let consent = pair.consent, !configuration.isLite else { return }
        pair.carriesTraffic = true
        guard consent.nextCheck > now + configuration.busyConsentInterval * 1.5 else { return }
        pair.consent?.nextCheck = nextConsentCheck(after: now, interval: configuration.busyConsentInterval)
        settle(at: now)
    }

    /// Says that the address of a socket, or what it relies on, has gone: nothing is expected from it until
    /// `addressReturned`, and the other pairs are tried at once.
    package func addressVanished(on port: PortID, at now: Instant) {
        guard isAlive, !configuration.isLite, let pair = current.selected, pair.path.port == port,
            var consent = pair.consent
        else { return }
        consent.missedCount = max(consent.missedCount, configuration.givingWayMisses)
        consent.isAwaiting = true
        pair.consent = consent
        checkAgain(besides: pair)
        giveWay(pair)
        settle(at: now)
    }

    /// Says that a socket's address is there (again): its pairs are checked at once.
    package func addressReturned(on port: PortID, at now: Instant) {
        guard isAlive, !configuration.isLite else { return }
        for pair in current.pairs where pair.path.port == port { checkAgain(pair) }
        for generation in [previous, current] {
            guard let pair = generation?.selected, pair.path.port == port else { continue }
            pair.consent?.nextCheck = now
        }
        settle(at: now)
    }

    /// Says that something has changed about how datagrams leave: while the selected pair is silent, all is tried.
    package func routesChanged(at now: Instant) {
        guard isAlive, !configuration.isLite, let pair = current.selected, pair.isSilent else { return }
        pair.consent?.nextCheck = now
        checkAgain(besides: pair)
        settle(at: now)
    }

    /// Drops a socket's candidates and pairs, since it is closed.
    package func removeHost(_ port: PortID, at now: Instant) {
        guard isAlive else { return }
        current.gatherings.removeAll { $0.port == port }
        remove(port)
        settle(at: now)
    }

    /// Gives up at once all pairs of a socket or of a relayed address, and tries the others.
    func remove(_ port: PortID) {
        let selected = current.selected
        for generation in [previous, current] {
            generation?.localCandidates.removeAll { $0.port == port }
            generation?.connectionBases.removeAll { $0.port == port }
            for pair in generation?.pairs ?? [] where pair.path.port == port {
                pair.state = .failed
                pair.consent = nil
                pair.nomination = .none
            }
            if generation?.selected?.path.port == port { generation?.selected = nil }
        }
        current.triggered.removeAll { pair in
            guard pair.path.port == port else { return false }
            pair.isTriggered = false
            return true
        }
        if current.formerlyNominated?.path.port == port { current.formerlyNominated = nil }
        guard let selected, current.selected == nil else { return }
        giveWay(selected)
        current.formerlyNominated = nil
        if !configuration.isLite { for pair in current.pairs where pair.path.port != port { checkAgain(pair) } }
    }

    /// Lets candidates be gathered from an address that came after gathering was complete; its end will be told again.
    package func reopenGathering() { resumeGathering(as: .open) }

    private func resumeGathering(as state: ICEGatheringState) {
        guard isAlive, current.gathering == .complete else { return }
        current.gathering = state
        emit(.gatheringResumed)
    }

    /// Says that a server that has forgotten a relayed address was asked for another, as ``expectRelay()``.
    ///
    /// Called before `removeRelayed`, which might be the end of the last pair and of all hope.
    package func expectRelayAgain() {
        resumeGathering(as: .closing)
        expectRelay()
    }

    // MARK: Silence

    /// Acts on a check of the selected pair that was not answered in time.
    func didMissAnswer(_ pair: ICECandidatePair, in generation: ICEGeneration, at now: Instant) {
        guard generation === current, let missed = pair.consent?.missedCount else { return }
        // Again and again: any path may come back.
        if missed % Self.missesBetweenChecks == 1 {
            checkAgain(besides: pair)
            askServersAgain(at: now)
            emit(.pathSilent)
        }
        if missed >= configuration.givingWayMisses { giveWay(pair) }
    }

    /// Lets another pair that answers take the place of the nominated one, which goes on until then.
    private func giveWay(_ pair: ICECandidatePair) {
        guard current.isConcluded else { return }
        if pair.isNominated { current.formerlyNominated = pair }
        for pair in current.pairs { pair.nomination = .none }
        // Whoever answers first is taken; there is nothing to wait for.
        current.firstValidAt = nil
    }

    /// Checks all pairs but one anew: what they answered before says nothing of now.
    private func checkAgain(besides selected: ICECandidatePair) {
        for pair in current.pairs where pair !== selected { checkAgain(pair) }
    }

    private func checkAgain(_ pair: ICECandidatePair) {
        switch pair.state {
        case .succeeded(nominating: nil):
            guard pair !== current.selected else { return }
            pair.state = .waiting
            enqueue(pair)
        case .frozen, .failed: pair.state = .waiting
        // Its retransmissions may be rare by now.
        case .inProgress: pair.state = .waiting
        case .waiting, .succeeded(nominating: .some): break
        }
    }

    /// Notes that a pair answered.
    func didAnswer(_ pair: ICECandidatePair, at now: Instant) {
        guard pair === current.formerlyNominated else { return }
        // The peer's choice stands until it makes another; as controlling agent this side chooses anew.
        if currentRole == .controlled, !current.isConcluded { nominate(pair, at: now) }
        current.formerlyNominated = nil
    }

    // MARK: Better paths

    /// Checks, rarely, whether a direct path has appeared beside the relayed one in use.
    func lookForDirectPath(beside selected: ICECandidatePair, at now: Instant) {
        guard selected.isNominated, selected.isRelayed, now >= current.nextDirectCheck ?? now else { return }
        let pause = current.directCheckPause ?? configuration.directPathInterval
        // The first time nothing is known that was not known when this pair was chosen.
        if current.nextDirectCheck != nil {
            for pair in current.pairs where !pair.isRelayed {
                switch pair.state {
                case .frozen, .failed, .inProgress: pair.state = .waiting
                case .waiting, .succeeded: break
                }
            }
        }
        current.nextDirectCheck = now + pause
        current.directCheckPause = min(pause * 2, configuration.directPathInterval * 8)
    }

    /// Whether a valid pair is so much better than the nominated one that the data moves to it.
    func isWorthMoving(to pair: ICECandidatePair) -> Bool {
        guard let selected = current.selected, selected !== pair else { return false }
        return selected.isRelayed && !pair.isRelayed
    }

    /// So many misses after the first, all others are checked anew: 4 s at a short path.
    private static var missesBetweenChecks: Int { 8 }
}
