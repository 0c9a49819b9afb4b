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

    /// Writes an offer; with a restart wanted, ICE begins a new generation.
    package func createOffer(iceRestart: Bool, at now: Instant) -> String {
        if iceRestart || negotiator.wantsRestart {
            negotiator.wantsRestart = false
            if negotiator.currentLocal != nil { _ = ice.restart(at: now) }
        }
        return negotiator.createOffer(credentials: ice.localCredentials)
    }

    package func createAnswer() throws(NegotiationError) -> String {
        try negotiator.createAnswer(credentials: ice.localCredentials)
    }

    package func setLocalDescription(
        _ type: DescriptionType, text: String?, at now: Instant
    ) throws(NegotiationError) -> NegotiationOutcome {
        let outcome = try negotiator.setLocalDescription(type, text: text)
        apply(outcome, at: now)
        return outcome
    }

    package func setRemoteDescription(
        _ type: DescriptionType, text: String, at now: Instant
    ) throws(NegotiationError) -> NegotiationOutcome {
        let isFirst = !negotiator.hasRemoteDescription
        let outcome = try negotiator.setRemoteDescription(type, text: text)
        if let transport = outcome.remoteTransport {
            // RFC 8445 §6.1.1: the side that made the first offer controls.
            if isFirst, ice.state == .new { ice.role = type == .offer && !transport.isLite ? .controlled : .controlling }
            if transport.isRestart, type == .offer { _ = ice.restart(at: now) }
            dtls.setRemoteFingerprints(transport.fingerprints)
            ice.setRemoteCredentials(
                ICECredentials(usernameFragment: transport.usernameFragment, password: transport.password),
                isLite: transport.isLite, at: now)
            for candidate in transport.candidates { _ = addRemoteCandidate(candidate, at: now) }
            if transport.hasEndOfCandidates { ice.setRemoteEndOfCandidates(at: now) }
        }
        apply(outcome, at: now)
        return outcome
    }

    /// What became of a candidate's text.
    package enum CandidateResult: Equatable {
        case added
        case malformed(String)
        /// The address is a name that must be looked up first.
        case hostname(String)
    }

    package func addRemoteCandidate(
        _ attributeValue: String, resolved: IPAddress? = nil, usernameFragment: String? = nil, at now: Instant
    ) -> CandidateResult {
        do throws(ICEError) {
            var candidate = try ICECandidate(attributeValue: attributeValue, resolved: resolved)
            candidate.usernameFragment = candidate.usernameFragment ?? usernameFragment
            ice.addRemoteCandidate(candidate, at: now)
            return .added
        } catch {
            switch error {
            case .hostname(let name): return .hostname(name)
            case .malformedCandidate(let what): return .malformed(what)
            }
        }
    }

    /// Sets transports and streams up as the descriptions say.
    private func apply(_ outcome: NegotiationOutcome, at now: Instant) {
        if dtlsRole == nil { dtlsRole = outcome.dtlsRole }
        if let data = outcome.data, sctpPlan == nil {
            sctpPlan = SCTPPlan(remotePort: data.remotePort, remoteMaxMessageSize: data.remoteMaxMessageSize)
        }
        if outcome.sends.contains(where: { $0.parameters != nil }) || outcome.receives.contains(where: { $0.parameters != nil }) {
            hasMedia = true
        }
        for send in outcome.sends { rtp.setSend(send.parameters, mid: send.mid, at: now) }
        for receive in outcome.receives { rtp.setReceive(receive.parameters, mid: receive.mid, at: now) }
    }
}
