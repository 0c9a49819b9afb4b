import STUN
import SansIO

/// Consent freshness, which is the keepalive as well.
///
/// RFC 7675 §5.1
extension ICEAgent {
    /// A response came: sending is allowed for another 30 seconds.
    func refreshConsent(_ pair: ICECandidatePair, at now: Instant) {
        let interval = pair.carriesTraffic ? configuration.busyConsentInterval : configuration.consentInterval
        pair.consent = ICEConsent(
            expiry: now + configuration.consentTimeout,
            nextCheck: nextConsentCheck(after: now, interval: interval)
        )
        didAnswer(pair, at: now)
    }

    /// Sends the consent checks that are due, and ends consent that has run out.
    /// - Returns: whether a selected pair was lost, so that another one must be chosen.
    func hasLostConsent(at now: Instant) -> Bool {
        guard isAlive else { return false }
        if let previous, checkConsent(in: previous, at: now) { return true }
        return checkConsent(in: current, at: now)
    }

    /// - Returns: whether consent on the selected pair was lost.
    private func checkConsent(in generation: ICEGeneration, at now: Instant) -> Bool {
        guard let pair = generation.selected, var consent = pair.consent, let remote = generation.remote else {
            return false
        }
        guard now < consent.expiry else {
            loseConsent(pair, in: generation)
            return true
        }
        guard now >= consent.nextCheck else { return false }
        let isMissing = consent.isAwaiting
        if isMissing { consent.missedCount += 1 }
        consent.isAwaiting = true
        consent.nextCheck = now + max(configuration.consentProbeInterval, (pair.roundTripTime ?? .zero) * 2)
        pair.consent = consent
        pair.carriesTraffic = false
        if isMissing { didMissAnswer(pair, in: generation, at: now) }
        if generation === current { lookForDirectPath(beside: pair, at: now) }
        let id = STUNTransactionID(random: random)
        generation.remember(
            ICEOutstandingCheck(
                pair: pair,
                purpose: .consent,
                role: currentRole,
                sentAt: now,
                expiry: now + configuration.consentTimeout
            ),
            id: id,
            at: now
        )
        pair.counters.requestsSent += 1
        pair.counters.consentRequestsSent += 1
        // As in libwebrtc a nominated pair's checks say so again, for a peer that has lost its choice.
        transmit(bindingRequest(id, base: pair.base, remote: remote, nominates: pair.isNominated), along: pair.path)
        return false
    }

    private func loseConsent(_ pair: ICECandidatePair, in generation: ICEGeneration) {
        pair.state = .failed
        pair.nomination = .none
        generation.selected = nil
        emit(.consentLost)
        if generation !== current {
            previous = nil
            // A restart that nobody has answered yet has nothing to check: the peer may be gone.
            if current.remote == nil { end(in: .failed) } else if state != .disconnected { setState(.checking) }
        } else if generation.concludedAt != nil {
            // All other pairs were tried meanwhile: only a restart helps.
            end(in: .failed)
        }
    }

    /// An instant of the grid from 0.8 to 1.2 intervals from now.
    ///
    /// Below 0.8 there is no instant, and above 1.2 only where the grid has none within.
    func nextConsentCheck(after now: Instant, interval: Duration) -> Instant {
        // 53 random bits over 0.8 ... 1.2.
        let factor = 0.8 + 0.4 * Double(random.next() >> 11) / Double(1 << 53)
        let drawn = now + interval * factor
        let step = configuration.consentGrid.wholeNanoseconds
        guard step > 0 else { return drawn }
        let onGrid = Instant(nanoseconds: drawn.nanoseconds / step * step)
        let earliest = now + interval * 0.8
        return onGrid < earliest ? onGrid + .nanoseconds(step) : onGrid
    }
}
