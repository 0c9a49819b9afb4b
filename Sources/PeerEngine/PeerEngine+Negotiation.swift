internal import DTLS
internal import ICE
package import SCTP
package import SansIO

extension PeerEngine {
    /// Opens a data channel; the first one needs an m-section.
    package func openChannel(_ parameters: DataChannelParameters) throws(DataChannelError) -> DataChannelHandle {
        let handle = try channels.open(parameters)
        negotiator.needsDataSection()
        return handle
    }

    /// Writes an offer; with a restart wanted, it has new credentials, with which ICE begins a new generation when
    /// the offer is set.
    package func createOffer(iceRestart: Bool) -> String {
        if negotiator.currentLocal == nil { negotiator.wantsRestart = false }
        let restarts = negotiator.currentLocal != nil && (iceRestart || negotiator.wantsRestart)
        restartCredentials = restarts ? ICECredentials(random: random) : nil
        return negotiator.createOffer(credentials: restartCredentials ?? ice.localCredentials)
    }

    package func createAnswer() throws(NegotiationError) -> String {
        try negotiator.createAnswer(credentials: ice.localCredentials)
    }

    package func setLocalDescription(
        _ type: DescriptionType,
        text: String?,
        at now: Instant
    ) throws(NegotiationError) -> NegotiationOutcome {
        let outcome = try negotiator.setLocalDescription(type, text: text)
        switch type {
        case .offer:
            if let credentials = restartCredentials { restart(credentials: credentials, at: now) }
        case .answer: openRestart = nil
        case .rollback: cancelRestart(at: now)
        case .pranswer: break
        }
        restartCredentials = nil
        apply(outcome, at: now)
        return outcome
    }

    package func setRemoteDescription(
        _ type: DescriptionType,
        text: String,
        at now: Instant
    ) throws(NegotiationError) -> NegotiationOutcome {
        let isFirst = !negotiator.hasRemoteDescription
        let rollsBack = type == .rollback || type == .offer && negotiator.signalingState == .haveLocalOffer
        let outcome = try negotiator.setRemoteDescription(type, text: text)
        if rollsBack { cancelRestart(at: now) }
        if let transport = outcome.remoteTransport {
            // RFC 8445 §6.1.1: the side that made the first offer controls.
            if isFirst, ice.state == .new {
                let isControlled = negotiator.configuration.isICELite || type == .offer && !transport.isLite
                ice.role = isControlled ? .controlled : .controlling
            }
            if transport.isRestart, type == .offer { restart(credentials: nil, at: now) }
            dtls.setRemoteFingerprints(transport.fingerprints)
            ice.setRemoteCredentials(
                ICECredentials(usernameFragment: transport.usernameFragment, password: transport.password),
                isLite: transport.isLite,
                renomination: transport.renomination,
                at: now
            )
            for candidate in transport.candidates { _ = addRemoteCandidate(candidate, at: now) }
            if transport.hasEndOfCandidates { ice.setRemoteEndOfCandidates(at: now) }
        }
        if type == .answer { openRestart = nil }
        apply(outcome, at: now)
        return outcome
    }

    private func restart(credentials: ICECredentials?, at now: Instant) {
        openRestart = openRestart ?? OpenRestart(wasWanted: negotiator.wantsRestart)
        negotiator.wantsRestart = false
        ice.restart(credentials: credentials, at: now)
    }

    /// Takes back the restart of an offer that was rolled back.
    ///
    /// What the application asked for is still to be done.
    private func cancelRestart(at now: Instant) {
        guard let restart = openRestart else { return }
        openRestart = nil
        if restart.wasWanted { negotiator.wantsRestart = true }
        // Without a path to return to, the new generation stays: the next offer tells its credentials.
        if ice.cancelRestart(at: now) { relays.gatherAgain(at: now) }
    }

    /// What became of a candidate's text.
    package enum CandidateResult: Equatable {
        case added
        case malformed(String)
        /// The address is a name that must be looked up first.
        case hostname(String)
    }

    package func addRemoteCandidate(
        _ attributeValue: String,
        resolved: IPAddress? = nil,
        usernameFragment: String? = nil,
        at now: Instant
    ) -> CandidateResult {
        do throws(ICEError) {
            var candidate = try ICECandidate(attributeValue: attributeValue, resolved: resolved)
            candidate.usernameFragment = candidate.usernameFragment ?? usernameFragment
            ice.addRemoteCandidate(candidate, at: now)
            return .added
        } catch {
            switch error {
            case .hostname(let name): return .hostname(name)
            case .malformed(let field): return .malformed("\(field)")
            }
        }
    }

    /// Sets transports and streams up as the descriptions say.
    private func apply(_ outcome: NegotiationOutcome, at now: Instant) {
        if dtlsRole == nil { dtlsRole = outcome.dtlsRole }
        if let data = outcome.data, sctpPlan == nil {
            sctpPlan = SCTPPlan(remotePort: data.remotePort, remoteMaxMessageSize: data.remoteMaxMessageSize)
        }
        if outcome.sends.contains(where: { $0.parameters != nil })
            || outcome.receives.contains(where: { $0.parameters != nil })
        {
            hasMedia = true
        }
        for send in outcome.sends { rtp.setSend(send.parameters, mid: send.mid, at: now) }
        for receive in outcome.receives { rtp.setReceive(receive.parameters, mid: receive.mid, at: now) }
    }
}
