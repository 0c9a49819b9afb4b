import STUN
import SansIO

/// Choosing the pair that carries the data, and the agent's state.
extension ICEAgent {
    /// Decides, as controlling agent, whether the best valid pair is good enough.
    ///
    /// It is nominated at once if nothing better is under way and either both its candidates are hosts, or it is
    /// near, or all candidates are known; else when the grace after the first success is over. Meanwhile data flows
    /// already.
    ///
    /// RFC 8445 §8.1.1
    func considerNomination(at now: Instant) {
        guard currentRole == .controlling, current.remote != nil, !isNominating, let best = bestValidPair(at: now)
        else { return }
        guard !current.isConcluded else {
            if isWorthMoving(to: best) { enqueue(best) }
            return
        }
        // What does not answer is in use only for want of another.
        guard !best.isSilent else { return }
        let isBestKnown = !current.pairs.contains { $0.isPending && $0.priority > best.priority }
        let joinsHosts = best.local.kind == .host && best.remote.kind == .host
        let isNear = !best.isRelayed && best.roundTripTime.map { $0 <= configuration.nearRoundTripTime } ?? false
        if isBestKnown && (joinsHosts || isNear || current.hasAllCandidates) || nominationInstant(best) <= now {
            enqueue(best)
        }
    }

    /// When the grace of a pair ends.
    func nominationInstant(_ pair: ICECandidatePair) -> Instant {
        let grace = pair.isRelayed ? configuration.relayedNominationGrace : configuration.nominationGrace
        return (current.firstValidAt ?? Instant(nanoseconds: .min / 2)) + grace
    }

    private var isNominating: Bool {
        current.pairs.contains { pair in
            guard !pair.isSilent else { return false }
            guard case .succeeded(let transaction) = pair.state else { return false }
            return transaction != nil || pair.isTriggered
        }
    }

    /// The best that answers; if none does, the one in use while its consent lasts.
    func bestValidPair(at now: Instant) -> ICECandidatePair? {
        current.pairs.first { $0.isValid(at: now) && !$0.isSilent }
            ?? current.selected.flatMap { $0.hasSucceeded ? $0 : nil }
    }

    /// Makes a valid pair the nominated one.
    ///
    /// RFC 8445 §8.1.1, §7.3.1.5
    func nominate(_ pair: ICECandidatePair, at now: Instant) {
        // Our own last choice, or that of a peer that counts its nominations: there is nothing to guess, and a late answer
        // to a former one changes nothing.
        let choice =
            switch currentRole {
            case .controlling: current.nominations.lastNominated
            case .controlled: current.nominations.peersChoice
            }
        if let choice {
            guard pair === choice else { return }
            if current.selected !== pair { current.selected?.nomination = .none }
        }
        pair.nomination = .nominated
        if let selected = current.selected, selected !== pair, selected.isNominated {
            // A peer may nominate several. The best one is taken, unless the peer has clearly moved on.
            let isDeserted = (selected.nominationReceivedAt ?? now) + Self.desertion < now
            let isFailing = (selected.consent?.missedCount ?? 0) > 0
            if isDeserted || isFailing || pair.isPeersNewChoice {
                selected.nomination = .none
            } else if pair.priority <= selected.priority {
                return
            }
        }
        pair.isPeersNewChoice = false
        current.selected = pair
        current.concludedAt = current.concludedAt ?? now
        current.conclude()
    }

    /// Chooses among valid pairs while none is nominated, and tells where to send.
    func selectPath(at now: Instant) {
        guard isAlive else { return }
        // Consent that ran out is the consent check's to notice; here only pairs that failed otherwise.
        if let selected = current.selected, !selected.hasSucceeded { current.selected = nil }
        if !(current.selected?.isNominated ?? false) { current.selected = bestValidPair(at: now) }
        if current.selected != nil, previous != nil { previous = nil }
        guard let pair = activePair else {
            published = nil
            transmits.selectedPath = nil
            return
        }
        let new = ICEPublishedPath(path: pair.path, local: pair.local, remote: pair.remote)
        guard new != published else { return }
        published = new
        transmits.selectedPath = pair.path
        counters.selectedPathChanges += 1
        emit(.selectedPathChanged(pair.path, local: pair.local, remote: pair.remote))
    }

    // MARK: State

    /// Derives the state from pairs and candidates (webrtc-pc §5.6.3).
    func updateState(at now: Instant) {
        guard isAlive else { return }
        if let selected = current.selected {
            if (selected.consent?.missedCount ?? 0) >= configuration.missedConsentLimit {
                setState(.disconnected)
            } else {
                setState(current.concludedAt != nil && current.hasAllCandidates ? .completed : .connected)
            }
        } else if previous?.selected != nil {
            // A restart: the state stays as `restart` left it.
        } else if hasFailed(at: now) {
            end(in: .failed)
        } else if current.concludedAt != nil {
            // The path in use was taken away; the others are tried, and a server may give another.
            let hasHope =
                current.awaitsConnections || current.awaitedRelayCount > 0 || current.pairs.contains(where: \.isPending)
            if hasHope { setState(.disconnected) } else { end(in: .failed) }
        } else if state != .new || (current.remote != nil && knowsOfRemote) {
            setState(.checking)
        }
    }

    private var knowsOfRemote: Bool {
        !current.remoteCandidates.isEmpty || current.hasRemoteEndOfCandidates
    }

    /// Whether nothing is left to hope for.
    ///
    /// RFC 8863 §4: before the timer is over, an agent does not fail, since checks of the peer may still come.
    /// webrtc-pc §5.6.4 asks for "an indication that there are no more remote candidates" on top: without it the
    /// agent goes on waiting, since a candidate that works may still be on its way.
    private func hasFailed(at now: Instant) -> Bool {
        guard let started = current.checksStartedAt, now >= started + configuration.patience else { return false }
        return current.hasAllCandidates && !current.awaitsConnections && !current.pairs.contains(where: \.isPending)
    }

    /// Stops for good, or until a restart.
    func end(in state: ICEState) {
        previous = nil
        current.selected = nil
        current.triggered = []
        published = nil
        transmits.selectedPath = nil
        setState(state)
    }

    /// A nominated pair not nominated again for so long, while another one is, was deserted by the peer.
    private static var desertion: Duration { .seconds(3) }
}
