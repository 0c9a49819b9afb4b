import STUN
import SansIO

/// What an ICE restart replaces: credentials, candidates, checklist, selection.
///
/// RFC 8445 §9
final class ICEGeneration {
    let local: ICECredentials
    let localKey: STUNKey
    private(set) var remote: ICERemoteCredentials?
    var localCandidates: [ICELocalCandidate] = []
    var remoteCandidates: [ICECandidate] = []
    /// TCP connections, as the candidates that they were opened from or accepted by.
    var connectionBases: [ICELocalCandidate] = []
    private var connectionProgress = ConnectionProgress()
    /// Best first.
    private(set) var pairs: [ICECandidatePair] = []
    /// Those that a check has gone.
    var triedWays: Set<ICECandidatePair.Way> = []
    /// Checks that go out ahead of the ordinary ones, first in, first out.
    var triggered: [ICECandidatePair] = []
    var earlyChecks: [ICEEarlyCheck] = []
    private var outstanding: [STUNTransactionID: ICEOutstandingCheck] = [:]
    var gatherings: [ICEGathering] = []
    var gathering = ICEGatheringState.open
    /// TURN servers that were asked and have not answered.
    var awaitedRelayCount = 0
    var hasRemoteEndOfCandidates = false
    /// The best valid pair, or the nominated one.
    var selected: ICECandidatePair?
    /// When credentials of both sides were known: checks could start, and the patience began.
    private(set) var checksStartedAt: Instant?
    /// When the first pair became valid; the nomination's grace begins.
    var firstValidAt: Instant?
    /// When a pair was nominated first.
    var concludedAt: Instant?
    /// The nominated pair that fell silent, until it answers or another takes its place.
    var formerlyNominated: ICECandidatePair?
    var nominations = ICENominations()
    /// When direct pairs are checked again while the selected one is relayed, and the pause after that.
    var nextDirectCheck: Instant?
    var directCheckPause: Duration?

    init(local: ICECredentials) {
        self.local = local
        localKey = STUNKey(password: local.password)
    }

    func setRemote(_ credentials: ICECredentials, isLite: Bool, renomination: ICERenomination, at now: Instant) {
        remote = ICERemoteCredentials(
            credentials: credentials,
            isLite: isLite,
            renomination: renomination,
            key: STUNKey(password: credentials.password),
            username: credentials.usernameFragment + ":" + local.usernameFragment
        )
        checksStartedAt = now
    }

    var isConcluded: Bool { pairs.contains { $0.isNominated } }

    /// A pair was nominated so long ago that the peer's choice then was final: another one means that it moved.
    func isLongConcluded(at now: Instant) -> Bool { concludedAt.map { $0 + .seconds(3) < now } ?? false }

    /// Everything that can be known of candidates is known.
    var hasAllCandidates: Bool { hasRemoteEndOfCandidates && gathering == .complete }

    // MARK: Pairs

    /// The candidate from which checks on a socket leave: its host's, or the relayed one that it stands for.
    func base(on port: PortID) -> ICELocalCandidate? {
        localCandidates.first { $0.port == port && $0.isBase } ?? connectionBases.first { $0.port == port }
    }

    func pair(on port: PortID, to remote: TransportAddress) -> ICECandidatePair? {
        pairs.first { $0.path.port == port && $0.path.remote.isSameEndpoint(as: remote) }
    }

    /// Adds a pair in its place.
    ///
    /// In a full list the worst pair that never succeeded makes room.
    /// - Returns: false if there was no room.
    func insert(_ pair: ICECandidatePair) -> Bool {
        if pairs.count >= ICELimits.pairs {
            guard let worst = pairs.lastIndex(where: { $0.isReplaceable && $0.priority < pair.priority }) else {
                return false
            }
            forget(pairs.remove(at: worst))
        }
        pairs.insert(pair, at: pairs.firstIndex { $0.priority < pair.priority } ?? pairs.count)
        return true
    }

    func sortPairs(role: ICERole) {
        for pair in pairs { pair.setPriority(role: role) }
        // Stable, so equal pairs do not change places.
        pairs = pairs.enumerated()
            .sorted {
                $0.element.priority != $1.element.priority
                    ? $0.element.priority > $1.element.priority : $0.offset < $1.offset
            }
            .map(\.element)
    }

    /// Drops candidates and pairs of the peer but keeps the selected pair of ours.
    func removeRemote() {
        remoteCandidates = []
        connectionBases = []
        connectionProgress = ConnectionProgress()
        pairs = []
        triggered = []
        outstanding = [:]
        selected = nil
        firstValidAt = nil
        concludedAt = nil
        formerlyNominated = nil
        nominations = ICENominations()
        nextDirectCheck = nil
        directCheckPause = nil
        hasRemoteEndOfCandidates = false
    }

    /// Stops all checks that were not answered yet.
    ///
    /// RFC 8445 §8.1.2: waiting pairs are dropped, checks under way are not sent again.
    func conclude() {
        for pair in pairs where pair.isPending && pair.nomination == .none { pair.state = .frozen }
        triggered.removeAll { pair in
            guard case .frozen = pair.state else { return false }
            pair.isTriggered = false
            return true
        }
    }

    /// Drops what went over a connection that has ended.
    func removePairs(on port: PortID) {
        for pair in pairs where pair.path.port == port { forget(pair) }
        pairs.removeAll { $0.path.port == port }
    }

    private func forget(_ pair: ICECandidatePair) {
        triggered.removeAll { $0 === pair }
        outstanding = outstanding.filter { $0.value.pair !== pair }
    }

    // MARK: Connections

    private struct ConnectionProgress {
        /// To be asked for, oldest first.
        var wanted: [ICEConnectionRequest] = []
        /// Asked for, and not answered.
        var awaited: Set<ICEConnectionRequest> = []
        /// How often each was wanted.
        var attempts: [ICEConnectionRequest: Int] = [:]
    }

    var wantsConnections: Bool { !connectionProgress.wanted.isEmpty }
    var awaitsConnections: Bool { wantsConnections || !connectionProgress.awaited.isEmpty }

    /// Has a connection opened in due time, unless it was too often or others are enough.
    func request(_ connection: ICEConnectionRequest) {
        let attempts = connectionProgress.attempts[connection, default: 0]
        guard attempts < ICELimits.connectionAttempts, !connectionProgress.awaited.contains(connection),
            !connectionProgress.wanted.contains(connection),
            attempts > 0 || connectionProgress.attempts.count < ICELimits.connectionRequests
        else { return }
        connectionProgress.attempts[connection] = attempts + 1
        connectionProgress.wanted.append(connection)
    }

    func takeRequests() -> [ICEConnectionRequest] {
        defer { connectionProgress.wanted = [] }
        connectionProgress.awaited.formUnion(connectionProgress.wanted)
        return connectionProgress.wanted
    }

    /// - Returns: whether the connection was asked for.
    func didAnswer(_ connection: ICEConnectionRequest) -> Bool {
        connectionProgress.awaited.remove(connection) != nil
    }

    // MARK: Requests under way

    /// Pairs on which checks wait or are under way, for the retransmission time.
    var pendingCount: Int { pairs.reduce(into: 0) { $0 += $1.isPending ? 1 : 0 } }

    func remember(_ check: ICEOutstandingCheck, id: STUNTransactionID, at now: Instant) {
        if outstanding.count >= ICELimits.outstandingRequests {
            outstanding = outstanding.filter { $0.value.expiry > now }
            if outstanding.count >= ICELimits.outstandingRequests,
                let oldest = outstanding.min(by: { $0.value.sentAt < $1.value.sentAt })
            {
                outstanding[oldest.key] = nil
            }
        }
        outstanding[id] = check
    }

    func outstandingCheck(_ id: STUNTransactionID, at now: Instant) -> ICEOutstandingCheck? {
        guard let check = outstanding[id], check.expiry > now else { return nil }
        return check
    }

    func removeOutstanding(_ id: STUNTransactionID) { outstanding[id] = nil }
}

/// The peer's credentials, with what is derived from them.
struct ICERemoteCredentials {
    let credentials: ICECredentials
    let isLite: Bool
    let renomination: ICERenomination
    let key: STUNKey
    /// Of our requests: "peer's fragment:ours" (RFC 8445 §7.2.2).
    let username: String
}

/// A request whose answer is awaited, also after its retransmissions were given up.
struct ICEOutstandingCheck {
    enum Purpose { case check, nomination, consent }
    let pair: ICECandidatePair
    let purpose: Purpose
    let role: ICERole
    let sentAt: Instant
    let expiry: Instant
}

/// A check of the peer that came before its credentials, or before our socket was made known.
///
/// It was answered at once; what follows from it is done later. RFC 8445 §7.3
struct ICEEarlyCheck {
    let port: PortID
    let from: TransportAddress
    let priority: UInt32
    let nomination: ICENominationAttributes
    let remoteFragment: String
}

extension ICECandidatePair {
    /// May make room for another.
    fileprivate var isReplaceable: Bool {
        switch state {
        case .frozen, .waiting, .failed: nomination == .none && !isTriggered
        case .inProgress, .succeeded: false
        }
    }
}
