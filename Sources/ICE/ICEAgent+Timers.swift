package import SansIO
internal import STUN

extension ICEAgent {
    /// Acts on every timer that is due.
    package func handleTimeout(at now: Instant) {
        guard state != .closed else { return }
        retransmitGathers(at: now)
        retransmitChecks(at: now)
        pumpConsent(at: now)
        pump(at: now)
    }

    /// When `handleTimeout` must be called next.
    package var nextDeadline: Deadline? {
        guard state != .closed else { return nil }
        var deadline: Deadline?
        func consider(_ instant: Instant?, _ reason: StaticString) {
            if let instant { deadline = .earlier(deadline, Deadline(instant, reason)) }
        }
        for gather in gathers { consider(gather.retransmitAt, "STUN server retransmission") }
        for pair in pairs { consider(pair.check?.retransmitAt, "ICE check retransmission") }
        if remoteCredentials != nil, !triggered.isEmpty || pairs.contains(where: { $0.state == .waiting }) {
            consider(nextCheckAt, "ICE pacing")
        }
        consider(nominateAt, "ICE nomination")
        if let consent, state != .failed {
            consider(consent.nextRequestAt, "ICE consent")
            if state != .disconnected { consider(consent.lastResponseAt + configuration.disconnectedTimeout, "ICE disconnected") }
            consider(consent.lastResponseAt + configuration.failedTimeout, "ICE consent expiry")
        }
        if state == .checking, selectedPair == nil { consider(patienceEndsAt, "ICE patience") }
        return deadline
    }

    /// Starts what may start now: triggered checks, ordinary checks at their pace, nomination, failure.
    func pump(at now: Instant) {
        guard state != .closed, remoteCredentials != nil else { return }
        while triggeredCredit > 0, !triggered.isEmpty {
            triggeredCredit -= 1
            startTriggered(at: now)
        }
        if nextCheckAt.map({ $0 <= now }) ?? true {
            if !triggered.isEmpty {
                startTriggered(at: now)
                nextCheckAt = now + configuration.pacing
            } else if let pair = pairs.first(where: { $0.state == .waiting }) {
                sendCheck(pair, isNomination: false, at: now)
                nextCheckAt = now + configuration.pacing
                triggeredCredit = ICEConfiguration.triggeredBurst
            }
        }
        pumpNomination(at: now)
        if state == .checking, selectedPair == nil, let end = patienceEndsAt, end <= now {
            if !pairs.contains(where: { $0.state == .waiting || $0.state == .inProgress }) {
                setState(.failed)
            } else {
                patienceEndsAt = now + configuration.pacing * 10
            }
        }
        if state == .connected, hasAllLocals, gathers.isEmpty, selectedPair?.isNominated == true { setState(.completed) }
    }

    private func startTriggered(at now: Instant) {
        let pair = triggered.removeFirst()
        guard pair.state != .succeeded else { return }
        sendCheck(pair, isNomination: false, at: now)
    }

    /// Regular nomination (RFC 8445 §8.1.1): at once when the best pair works, else after a short grace.
    private func pumpNomination(at now: Instant) {
        guard role == .controlling, let best = pairs.first(where: { $0.state == .succeeded }),
            !pairs.contains(where: { $0.isNominated && $0 === selectedPair }),
            !pairs.contains(where: { $0.check?.isNomination == true })
        else { return }
        let isBestPossible = !pairs.contains { other in
            (other.state == .waiting || other.state == .inProgress) && other.priority(role: role) > best.priority(role: role)
        }
        if !isBestPossible {
            guard let nominateAt else {
                self.nominateAt = now + configuration.nominationGrace
                return
            }
            guard nominateAt <= now else { return }
        }
        nominateAt = nil
        sendCheck(best, isNomination: true, at: now)
    }

    private func retransmitGathers(at now: Instant) {
        gathers = gathers.compactMap { gather in
            guard gather.retransmitAt <= now else { return gather }
            guard now < gather.startedAt + configuration.gatheringTimeout else { return nil }
            var gather = gather
            gather.timeout = min(gather.timeout * 2, .seconds(2))
            gather.retransmitAt = min(now + gather.timeout, gather.startedAt + configuration.gatheringTimeout)
            send(gather)
            return gather
        }
        tellIfGatheringIsComplete()
    }

    private func retransmitChecks(at now: Instant) {
        for pair in pairs {
            guard var check = pair.check, check.retransmitAt <= now else { continue }
            guard check.attempts < configuration.attempts else {
                checks[check.transactionID] = nil
                pair.check = nil
                if pair.state != .succeeded { pair.state = .failed }
                continue
            }
            check.attempts += 1
            check.timeout = min(check.timeout * 2, configuration.maximumTimeout)
            check.retransmitAt = now + check.timeout
            pair.check = check
            transmitCheck(pair, id: check.transactionID, isNomination: check.isNomination)
        }
    }

    // MARK: Consent (RFC 7675)

    func consentDelay() -> Duration {
        configuration.consentInterval * Double.random(in: 0.8...1.2, using: &random)
    }

    private func pumpConsent(at now: Instant) {
        guard var consent, let pair = selectedPair, pair.id == consent.pairID, state != .failed else { return }
        let silence = now - consent.lastResponseAt
        if silence >= configuration.failedTimeout {
            self.consent = nil
            selectedPair = nil
            transmits.selectedPath = nil
            pair.state = .failed
            events.append(.consentLost)
            return setState(.failed)
        }
        if silence >= configuration.disconnectedTimeout, state == .connected || state == .completed {
            setState(.disconnected)
        }
        if consent.nextRequestAt <= now {
            let id = STUNTransactionID(random: random)
            consent.pending.append((id, now))
            if consent.pending.count > 8 { consent.pending.removeFirst() }
            // A path that does not answer is asked more often, so that its return is seen at once.
            consent.nextRequestAt = now + (state == .disconnected ? .seconds(1) : consentDelay())
            pair.consentRequestsSent += 1
            self.consent = consent
            transmitCheck(pair, id: id, isNomination: role == .controlling && pair.isNominated)
        }
    }

    func receiveConsent(
        _ message: borrowing STUNMessage, index: Int, key: [UInt8], path: TransmitPath, at now: Instant
    ) {
        guard var consent, let pair = selectedPair, pair.path == path, message.isAuthentic(key: key) else {
            statistics.unauthenticCount += 1
            return
        }
        let sentAt = consent.pending[index].sentAt
        consent.pending.removeSubrange(...index)
        guard message.messageClass == .success else {
            self.consent = consent
            return
        }
        pair.responsesReceived += 1
        pair.didMeasure(now - sentAt)
        consent.lastResponseAt = now
        self.consent = consent
        if state == .disconnected { setState(pair.isNominated ? .completed : .connected) }
    }

    /// Counts of every pair.
    package var pairStatistics: [ICEPairStatistics] {
        pairs.map { pair in
            ICEPairStatistics(
                local: pair.local, remote: pair.remote, state: pair.state.rawValue, isNominated: pair.isNominated,
                isSelected: pair === selectedPair, currentRoundTripTime: pair.roundTripTime,
                totalRoundTripTime: pair.totalRoundTripTime, requestsSent: pair.requestsSent,
                responsesReceived: pair.responsesReceived, requestsReceived: pair.requestsReceived,
                responsesSent: pair.responsesSent, consentRequestsSent: pair.consentRequestsSent)
        }
    }
}

extension [CandidatePair] {
    func contains(_ pair: CandidatePair) -> Bool { contains { $0 === pair } }
}
