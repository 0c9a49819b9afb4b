import STUN
import SansIO

/// One of our sockets and one address of the peer.
///
/// A class: checks under way, the checklist and the selection refer to the same pair.
///
/// RFC 8445 §6.1.2
final class ICECandidatePair {
    enum State {
        /// Not tried, since a pair is nominated already.
        case frozen
        case waiting
        case inProgress(STUNTransaction)
        /// Valid. While the controlling agent nominates it, the check with USE-CANDIDATE is under way.
        case succeeded(nominating: STUNTransaction?)
        case failed
    }

    enum Nomination {
        case none
        /// USE-CANDIDATE came and our own check has not succeeded yet (RFC 8445 §7.3.1.5).
        case onSuccess
        case nominated
    }

    /// Which networks and servers lie between the two.
    struct Way: Hashable {
        let isIPv4: Bool
        let isRelayedHere: Bool
        /// That of the remote candidate, `srflx` for what is peer-reflexive.
        let remote: ICECandidate.Kind
    }

    /// The host candidate on whose socket checks go out.
    let base: ICELocalCandidate
    var remote: ICECandidate
    let path: TransmitPath
    var priority: UInt64 = 0
    var state = State.waiting
    var nomination = Nomination.none
    /// Our candidate as the peer sees it: from the mapped address of a response.
    var mappedLocal: ICECandidate?
    /// Waits in the queue of triggered checks.
    var isTriggered = false
    /// Of our nomination, as controlling agent.
    var nominationNumber: UInt32?
    /// When USE-CANDIDATE came last.
    var nominationReceivedAt: Instant?
    /// Whether the peer's nomination came after another pair had long been in use: it has moved.
    var isPeersNewChoice = false
    /// Whether datagrams passed since the last consent check.
    var carriesTraffic = false
    /// Since the first success.
    var consent: ICEConsent?
    /// Smoothed over responses.
    var roundTripTime: Duration?
    var counters: ICEPairStatistics

    var way: Way {
        Way(
            isIPv4: path.remote.ip.isIPv4,
            isRelayedHere: base.candidate.kind == .relay,
            remote: remote.kind == .prflx ? .srflx : remote.kind
        )
    }

    init(base: ICELocalCandidate, remote: ICECandidate, path: TransmitPath) {
        self.base = base
        self.remote = remote
        self.path = path
        counters = ICEPairStatistics(
            local: base.candidate,
            remote: remote,
            path: path,
            priority: 0,
            state: .waiting,
            isNominated: false,
            isSelected: false
        )
    }

    var local: ICECandidate { mappedLocal ?? base.candidate }
    var isNominated: Bool { if case .nominated = nomination { true } else { false } }
    var isRelayed: Bool { local.kind == .relay || remote.kind == .relay }
    /// Waits for a first or an answer.
    var isPending: Bool {
        switch state {
        case .waiting, .inProgress: true
        case .frozen, .succeeded, .failed: false
        }
    }

    var hasSucceeded: Bool { if case .succeeded = state { true } else { false } }

    /// A response came to a check on this pair, and consent has not run out since.
    func isValid(at now: Instant) -> Bool {
        guard case .succeeded = state, let consent else { return false }
        return now < consent.expiry
    }

    /// Checks of consent go unanswered.
    var isSilent: Bool { (consent?.missedCount ?? 0) > 0 }

    func setPriority(role: ICERole) {
        priority =
            switch role {
            case .controlling:
                ICEPriority.pair(controlling: base.candidate.priority, controlled: remote.priority)
            case .controlled:
                ICEPriority.pair(controlling: remote.priority, controlled: base.candidate.priority)
            }
    }

    func addRoundTripTime(_ sample: Duration) {
        counters.currentRoundTripTime = sample
        counters.totalRoundTripTime += sample
        roundTripTime = roundTripTime.map { $0 * 7 / 8 + sample / 8 } ?? sample
    }

    func statistics(selected: ICECandidatePair?) -> ICEPairStatistics {
        var result = counters
        result.local = local
        result.remote = remote
        result.priority = priority
        result.state =
            switch state {
            case .frozen: .frozen
            case .waiting: .waiting
            case .inProgress: .inProgress
            case .succeeded: .succeeded
            case .failed: .failed
            }
        result.isNominated = isNominated
        result.isSelected = selected === self
        result.consentExpiry = consent?.expiry
        return result
    }
}

/// Consent to send on one pair.
///
/// RFC 7675 §5.1
struct ICEConsent {
    /// Ends unless a response comes.
    var expiry: Instant
    /// When the next consent check goes out.
    var nextCheck: Instant
    /// Whether the last consent check has no answer yet.
    var isAwaiting = false
    /// Consecutive consent checks that another one had to follow since no answer came.
    var missedCount = 0
}

/// One of our own candidates.
struct ICELocalCandidate {
    var candidate: ICECandidate
    var port: PortID
    /// The address from which checks leave: a host or relayed candidate's own.
    var base: TransportAddress

    /// Whether checks leave from it; reflexive candidates are replaced by their base (RFC 8445 §6.1.2.4).
    var isBase: Bool { candidate.kind == .host || candidate.kind == .relay }
}

extension TransportAddress {
    /// Equal but for the scope of a link-local address, which the wire does not carry.
    func isSameEndpoint(as other: TransportAddress) -> Bool {
        port == other.port && ip.low == other.ip.low && ip.high == other.ip.high && ip.isIPv4 == other.ip.isIPv4
    }
}
