import STUN
package import SansIO

/// Finds and keeps a path to the peer for one data stream with one component.
///
/// Confined to the engine's event loop. Datagrams go into the shared `TransmitQueue`, whose `selectedPath` the
/// agent sets and clears. Any number of inputs may precede a drain of `nextEvent()`; afterwards `nextDeadline`
/// lies behind the last `now` or is nil.
///
/// A first check goes out in the very call that makes it possible. A pair is usable (`selectedPath`) in both
/// roles as soon as a check on it was answered; nomination settles the choice.
///
/// RFC 8445
package final class ICEAgent {
    let configuration: ICEConfiguration
    let transmits: TransmitQueue
    let random: RandomSource

    package internal(set) var state = ICEState.new
    var currentRole: ICERole
    var tieBreaker: UInt64
    /// The generation that candidates and credentials belong to.
    var current: ICEGeneration
    /// The one before, while its selected pair carries the data until the new one has its own.
    var previous: ICEGeneration?
    var timers = TimerTable<ICETimer>()
    /// From when on no check would be ahead of the pacing; each check moves it by Ta (a leaky bucket).
    var nextOrdinaryCheck: Instant?
    var published: ICEPublishedPath?
    var counters = ICEStatistics()
    /// TCP connections that the owner was told nothing of.
    var connections: [PortID] = []
    /// Paths along which something authentic came, oldest first.
    private var authenticPaths: [TransmitPath] = []
    private var events: [ICEEvent] = []
    private var nextEventIndex = 0

    /// Makes an agent in state `new`.
    ///
    /// - Parameters:
    ///   - configuration: intervals; the defaults are right.
    ///   - role: the offerer controls (RFC 8445 §6.1.1); a conflict changes it.
    ///   - transmits: takes the agent's datagrams; the agent sets its `selectedPath`.
    ///   - random: source of credentials, tie-breaker, transaction identifiers.
    ///   - credentials: those already signalled; drawn if nil.
    package init(
        configuration: ICEConfiguration = ICEConfiguration(),
        role: ICERole,
        transmits: TransmitQueue,
        random: RandomSource,
        credentials: ICECredentials? = nil
    ) {
        self.configuration = configuration
        self.transmits = transmits
        self.random = random
        currentRole = role
        tieBreaker = random.next()
        current = ICEGeneration(local: credentials ?? ICECredentials(random: random))
    }

    // MARK: Outputs

    package var localCredentials: ICECredentials { current.local }
    package var remoteCredentials: ICECredentials? { current.remote?.credentials }

    /// Which agent nominates.
    ///
    /// May be set until checks start; later values are ignored.
    package var role: ICERole {
        get { currentRole }
        set { if current.remote == nil, current.selected == nil { switchRole(to: newValue) } }
    }

    package private(set) var nextDeadline: Deadline?

    package func nextEvent() -> ICEEvent? {
        guard nextEventIndex < events.count else {
            if nextEventIndex > 0 {
                events.removeAll(keepingCapacity: true)
                nextEventIndex = 0
            }
            return nil
        }
        defer { nextEventIndex += 1 }
        return events[nextEventIndex]
    }

    /// Where to send: the nominated pair, before nomination the best valid one, after a restart the old one
    /// until the new generation has its own.
    package var selectedPath: TransmitPath? { activePair?.path }

    /// Whether a valid pair with consent exists: data may be sent.
    package var isWritable: Bool { activePair != nil }

    /// Whether an authentic check of the peer, or an authentic answer to one of ours, came along this path: only
    /// from there may other datagrams of the peer come.
    ///
    /// Holds beyond restarts, since the peer may leave the old path later than this side.
    package func isAuthentic(_ path: TransmitPath) -> Bool { authenticPaths.contains(path) }

    /// Smoothed, of the selected pair.
    package var roundTripTime: Duration? { activePair?.roundTripTime }

    package var statistics: ICEStatistics {
        var result = counters
        result.pairs = current.pairs.map { $0.statistics(selected: activePair) }
        if current.selected == nil, let old = previous?.selected { result.pairs.append(old.statistics(selected: old)) }
        result.localCandidates = current.localCandidates.map(\.candidate)
        result.remoteCandidates = current.remoteCandidates
        return result
    }

    // MARK: Commands

    /// Adds a socket's address as host candidate.
    ///
    /// - Parameters:
    ///   - address: the socket's own; link-local IPv6 addresses carry their scope.
    ///   - port: names the socket.
    ///   - preference: larger is tried earlier, see `ICEPriority.interleavedPreferences`.
    ///   - now: the present.
    package func addLocalHost(_ address: TransportAddress, port: PortID, preference: UInt16, at now: Instant) {
        guard isAlive, current.base(on: port) == nil else { return }
        guard current.localCandidates.count < ICELimits.localCandidates else {
            counters.dropped.limitedGathering += 1
            return
        }
        let candidate = ICECandidate(
            foundation: foundation(.host, base: address.ip, server: nil),
            priority: ICEPriority.candidate(.host, localPreference: preference),
            address: address,
            kind: .host,
            usernameFragment: current.local.usernameFragment
        )
        let local = ICELocalCandidate(candidate: candidate, port: port, base: address)
        current.localCandidates.append(local)
        emit(.localCandidate(candidate))
        for remote in current.remoteCandidates { pairUp(local, remote, at: now) }
        settle(at: now)
    }

    /// Says that no more sockets or servers will be added to this generation.
    package func finishAddingLocalAddresses(at now: Instant) {
        guard isAlive, current.gathering == .open else { return }
        current.gathering = .closing
        settle(at: now)
    }

    /// Makes the peer's credentials known; checks start.
    ///
    /// Other credentials than before, without a `restart` of ours, make its old candidates void.
    package func setRemoteCredentials(_ credentials: ICECredentials, isLite: Bool, at now: Instant) {
        // The answer to a restart comes late, after the old path was given up.
        if state == .failed, current.remote == nil { setState(.checking) }
        guard isAlive, credentials != current.remote?.credentials,
            credentials.usernameFragment.utf8.count <= ICELimits.credentialCharacters,
            credentials.password.utf8.count <= ICELimits.credentialCharacters
        else { return }
        if current.remote != nil {
            retainSelectedPath()
            current.removeRemote()
        }
        // RFC 8445 §6.1.1: against a lite agent the full one controls, whoever offered.
        if isLite, currentRole == .controlled { switchRole(to: .controlling) }
        current.setRemote(credentials, isLite: isLite, at: now)
        // Candidates that were trickled ahead of the credentials, of whatever generation.
        let fragment = credentials.usernameFragment
        let (fitting, stale) = (
            current.remoteCandidates.filter { $0.usernameFragment.map { $0 == fragment } ?? true },
            current.remoteCandidates.count
        )
        counters.dropped.staleCandidates += stale - fitting.count
        current.remoteCandidates = []
        for candidate in fitting { insertRemote(candidate, at: now) }
        settle(at: now)
    }

    /// Adds a candidate of the peer.
    ///
    /// One of another generation, or useless, is counted and dropped.
    package func addRemoteCandidate(_ candidate: ICECandidate, at now: Instant) {
        guard isAlive else { return }
        // Of an active candidate nothing can be made: the peer connects.
        if candidate.transport == .tcp, candidate.tcpType == .active { return }
        guard candidate.component == 1, candidate.transport == .udp || candidate.tcpType == .passive,
            candidate.address.port != 0,
            !candidate.address.ip.isUnspecified, !candidate.address.ip.isMulticast
        else {
            counters.dropped.unusableCandidates += 1
            return
        }
        if let remote = current.remote?.credentials, let fragment = candidate.usernameFragment,
            fragment != remote.usernameFragment
        {
            counters.dropped.staleCandidates += 1
            return
        }
        insertRemote(candidate, at: now)
        settle(at: now)
    }

    /// The peer has no more candidates in this generation.
    package func setRemoteEndOfCandidates(at now: Instant) {
        guard isAlive else { return }
        current.hasRemoteEndOfCandidates = true
        settle(at: now)
    }

    /// Begins a new generation: signal the returned credentials, add local addresses again, then give the peer's
    /// new credentials and candidates.
    ///
    /// The old selected path keeps working until the new generation has one.
    ///
    /// - Parameters:
    ///   - credentials: those already put into an offer; drawn if nil.
    ///   - now: the present.
    /// - Returns: the new generation's credentials.
    ///
    /// RFC 8445 §9
    @discardableResult
    package func restart(credentials: ICECredentials? = nil, at now: Instant) -> ICECredentials {
        guard state != .closed else { return current.local }
        retainSelectedPath()
        current = ICEGeneration(local: credentials ?? ICECredentials(random: random))
        switch state {
        case .failed, .disconnected: setState(.checking)
        case .completed: setState(.connected)
        case .new, .checking, .connected, .closed: break
        }
        settle(at: now)
        return current.local
    }

    /// Takes a restart back whose offer was rolled back, if the generation before still has its path.
    ///
    /// - Returns: whether it was.
    package func cancelRestart(at now: Instant) -> Bool {
        guard isAlive, let previous, current.selected == nil else { return false }
        current = previous
        self.previous = nil
        settle(at: now)
        return true
    }

    /// Stops everything at once.
    ///
    /// Nothing is sent any more.
    package func close() {
        guard state != .closed else { return }
        previous = nil
        current.selected = nil
        published = nil
        authenticPaths = []
        transmits.selectedPath = nil
        timers.removeAll()
        nextDeadline = nil
        setState(.closed)
    }

    // MARK: Shared by the extensions

    /// Neither failed nor closed.
    var isAlive: Bool { state != .failed && state != .closed }

    /// The pair that carries data.
    var activePair: ICECandidatePair? {
        guard isAlive else { return nil }
        return current.selected ?? previous?.selected
    }

    /// Notes that something authentic came along a path.
    func authenticate(_ path: TransmitPath) {
        guard !authenticPaths.contains(path) else { return }
        // The path in use stays, however many others the peer shows.
        if authenticPaths.count >= ICELimits.authenticPaths,
            let oldest = authenticPaths.firstIndex(where: { $0 != transmits.selectedPath })
        {
            authenticPaths.remove(at: oldest)
        }
        authenticPaths.append(path)
    }

    func emit(_ event: ICEEvent) {
        // The owner drains after each batch; an owner that never does must not fill the memory.
        guard events.count - nextEventIndex < ICELimits.events else { return }
        events.append(event)
    }

    func setState(_ new: ICEState) {
        guard state != new else { return }
        state = new
        emit(.stateChanged(new))
    }

    func refreshDeadline(_ deadline: Deadline?) { nextDeadline = deadline }

    /// A number from what makes two candidates similar (RFC 8445 §5.1.1.3): kind, base, server, transport.
    func foundation(
        _ kind: ICECandidate.Kind,
        base: IPAddress,
        server: IPAddress?,
        transport: RelayTransport = .udp
    ) -> String {
        let text = Array("\(kind.rawValue) \(base) \(server.map(\.description) ?? "-") \(transport.rawValue)".utf8)
        // The span borrows the array for this one call.
        return String(unsafe CRC32.checksum(of: text.span.bytes, first: text.count))
    }

    /// Makes the present generation the previous one, if it has a path, and begins one with the same credentials.
    private func retainSelectedPath() {
        guard current.selected != nil, isAlive else { return }
        let retained = current
        retained.conclude()
        previous = retained
        current = ICEGeneration(local: retained.local)
        current.localCandidates = retained.localCandidates
        current.gathering = retained.gathering
        current.earlyChecks = retained.earlyChecks
        current.awaitedRelayCount = retained.awaitedRelayCount
        current.gatherings = retained.gatherings
        retained.gatherings = []
    }

    func switchRole(to role: ICERole) {
        guard role != currentRole else { return }
        currentRole = role
        for pair in current.pairs {
            // What the other role meant is void.
            if case .onSuccess = pair.nomination { pair.nomination = .none }
            if case .succeeded(.some) = pair.state { pair.state = .succeeded(nominating: nil) }
        }
        current.sortPairs(role: role)
    }
}

/// The timers of an agent.
enum ICETimer: Int, CaseIterable {
    case pacing, retransmission, nomination, consent, gathering, connections, patience

    var reason: StaticString {
        switch self {
        case .pacing: "ICE pacing"
        case .retransmission: "ICE retransmission"
        case .nomination: "ICE nomination"
        case .consent: "ICE consent"
        case .gathering: "ICE gathering"
        case .connections: "ICE connections"
        case .patience: "ICE patience"
        }
    }
}

/// What the last `selectedPathChanged` said.
struct ICEPublishedPath: Equatable {
    var path: TransmitPath
    var local: ICECandidate
    var remote: ICECandidate
}
