// ICE: finds a way between two agents through NATs and firewalls and keeps it alive.
//
// A full agent with trickle for one component (RFC 8445, RFC 8838, RFC 8863) and consent (RFC 7675). Local addresses
// and datagrams come from outside; candidates, the selected path and states go out. With one component there is one
// checklist and no pair is ever frozen. TURN and TCP are not here yet.

package import SansIO
internal import STUN

/// One ICE agent. Confined to one event loop.
package final class ICEAgent {
    package internal(set) var localCredentials: ICECredentials
    package internal(set) var state = ICEState.new
    /// Set before checks start; a role conflict may turn it.
    package var role: ICERole
    package internal(set) var statistics = ICEStatistics()
    /// The pair in use: the nominated one, before nomination the best that works.
    package var selectedPath: TransmitPath? { selectedPair?.path }
    /// Whether a pair works, so that DTLS may begin.
    package var isWritable: Bool { selectedPair?.state == .succeeded && state != .failed && state != .closed }
    /// Smoothed round-trip time of the selected pair.
    package var roundTripTime: Duration? { selectedPair?.roundTripTime }

    let configuration: ICEConfiguration
    let transmits: TransmitQueue
    var random: RandomSource
    var locals: [LocalCandidate] = []
    var remotes: [ICECandidate] = []
    var remoteCredentials: ICECredentials?
    var isRemoteLite = false
    var pairs: [CandidatePair] = []
    var nextPairID = 0
    var selectedPair: CandidatePair?
    var triggered: [CandidatePair] = []
    var triggeredCredit = ICEConfiguration.triggeredBurst
    var checks: [STUNTransactionID: CandidatePair] = [:]
    var gathers: [Gather] = []
    var earlyChecks: [EarlyCheck] = []
    var events: [ICEEvent] = []
    let tieBreaker: UInt64
    var hasAllLocals = false
    var hasToldComplete = false
    var hasAllRemotes = false
    var nextCheckAt: Instant?
    var nominateAt: Instant?
    var patienceEndsAt: Instant?
    var consent: Consent?
    /// After a restart: the old generation's password, since its checks still come.
    var previousCredentials: ICECredentials?

    /// A host address, or what a server or peer saw of it.
    struct LocalCandidate {
        var candidate: ICECandidate
        var base: TransportAddress
        var port: PortID
    }

    /// A request to a STUN server that is under way.
    struct Gather {
        var transactionID: STUNTransactionID
        var path: TransmitPath
        var base: TransportAddress
        var startedAt: Instant
        var retransmitAt: Instant
        var timeout: Duration
    }

    /// A check that came before the remote credentials.
    struct EarlyCheck {
        var path: TransmitPath
        var usernameFragment: String
        var priority: UInt32
        var isNomination: Bool
    }

    /// Consent on the selected pair.
    struct Consent {
        var pairID: Int
        var lastResponseAt: Instant
        var nextRequestAt: Instant
        var pending: [(id: STUNTransactionID, sentAt: Instant)] = []
    }

    package init(configuration: ICEConfiguration, role: ICERole, transmits: TransmitQueue, random: RandomSource) {
        self.configuration = configuration
        self.role = role
        self.transmits = transmits
        self.random = random
        localCredentials = ICECredentials(random: random)
        tieBreaker = random.next()
    }

    // MARK: Local candidates

    /// Adds a host candidate on a bound port.
    ///
    /// - Parameter preference: the local preference, larger is tried earlier.
    package func addLocalHost(_ address: TransportAddress, port: PortID, preference: UInt16, at now: Instant) {
        guard state != .closed, !locals.contains(where: { $0.candidate.address == address }) else { return }
        var candidate = ICECandidate(
            foundation: foundation(kind: .host, base: address.ip, server: nil),
            priority: ICECandidate.priority(kind: .host, localPreference: preference), address: address, kind: .host)
        candidate.usernameFragment = localCredentials.usernameFragment
        let local = LocalCandidate(candidate: candidate, base: address, port: port)
        locals.append(local)
        events.append(.localCandidate(candidate))
        for remote in remotes { addPair(local, remote) }
        pump(at: now)
    }

    /// Asks a STUN server for the address that it sees `base` at.
    package func gatherServerReflexive(
        from server: TransportAddress, port: PortID, base: TransportAddress, at now: Instant
    ) {
        guard state != .closed, gathers.count < ICEConfiguration.pairLimit else { return }
        let gather = Gather(
            transactionID: STUNTransactionID(random: random), path: TransmitPath(port: port, remote: server), base: base,
            startedAt: now, retransmitAt: now + .milliseconds(250), timeout: .milliseconds(250))
        gathers.append(gather)
        send(gather)
    }

    /// No more addresses or servers will be added in this generation.
    package func finishAddingLocalAddresses(at now: Instant) {
        hasAllLocals = true
        tellIfGatheringIsComplete()
        pump(at: now)
    }

    func tellIfGatheringIsComplete() {
        guard hasAllLocals, gathers.isEmpty, !hasToldComplete else { return }
        hasToldComplete = true
        events.append(.gatheringComplete)
    }

    func addServerReflexive(_ address: TransportAddress, of gather: Gather) {
        guard !locals.contains(where: { $0.candidate.address == address && $0.base == gather.base }) else { return }
        let preference = locals.first { $0.base == gather.base && $0.candidate.kind == .host }
            .map { UInt16(truncatingIfNeeded: $0.candidate.priority >> 8) } ?? 0
        var candidate = ICECandidate(
            foundation: foundation(kind: .srflx, base: gather.base.ip, server: gather.path.remote.ip),
            priority: ICECandidate.priority(kind: .srflx, localPreference: preference), address: address, kind: .srflx,
            relatedAddress: gather.base)
        candidate.usernameFragment = localCredentials.usernameFragment
        locals.append(LocalCandidate(candidate: candidate, base: gather.base, port: gather.path.port))
        // No pairs: they would be those of the base (RFC 8445 §6.1.2.4).
        events.append(.localCandidate(candidate))
    }

    /// The same for the same kind, base and server. RFC 8445 §5.1.1.3
    private func foundation(kind: ICECandidateKind, base: IPAddress, server: IPAddress?) -> String {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in "\(kind.rawValue) \(base) \(server.map(\.description) ?? "")".utf8 {
            hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3
        }
        return String(UInt32(truncatingIfNeeded: hash ^ hash >> 32))
    }

    // MARK: Remote candidates

    /// The peer's credentials; new ones after a restart begin a new generation of its candidates.
    package func setRemoteCredentials(_ credentials: ICECredentials, isLite: Bool, at now: Instant) {
        guard state != .closed else { return }
        isRemoteLite = isLite
        if isLite { role = .controlling }
        guard credentials != remoteCredentials else { return }
        if remoteCredentials != nil {
            remotes = []
            pairs = pairs.filter { $0 === selectedPair }
            triggered = []
            hasAllRemotes = false
        }
        remoteCredentials = credentials
        if patienceEndsAt == nil { patienceEndsAt = now + configuration.patience }
        if state == .new { setState(.checking) }
        let early = earlyChecks
        earlyChecks = []
        for check in early where check.usernameFragment == credentials.usernameFragment {
            handleCheck(on: check.path, priority: check.priority, isNomination: check.isNomination, at: now)
        }
        pump(at: now)
    }

    /// Takes a candidate of the peer. Those of TCP, of another component or generation are ignored.
    package func addRemoteCandidate(_ candidate: ICECandidate, at now: Instant) {
        guard state != .closed, candidate.component == 1, candidate.transport == .udp, candidate.address.port != 0,
            remotes.count < ICEConfiguration.remoteCandidateLimit
        else { return }
        if let fragment = candidate.usernameFragment, let remoteCredentials,
            fragment != remoteCredentials.usernameFragment
        { return }
        if let index = remotes.firstIndex(where: { $0.address == candidate.address }) {
            // What a check had shown as peer-reflexive gets its real kind and priority.
            guard remotes[index].kind == .prflx else { return }
            remotes[index] = candidate
            for pair in pairs where pair.remote.address == candidate.address { pair.remote = candidate }
            sortPairs()
        } else {
            remotes.append(candidate)
            for local in locals where local.candidate.kind == .host { addPair(local, candidate) }
        }
        pump(at: now)
    }

    /// The peer has no more candidates in this generation.
    package func setRemoteEndOfCandidates(at now: Instant) {
        hasAllRemotes = true
        pump(at: now)
    }

    /// Begins a new generation: new credentials, new checks. The selected path stays in use until a new one works.
    package func restart(at now: Instant) -> ICECredentials {
        previousCredentials = localCredentials
        localCredentials = ICECredentials(random: random)
        remoteCredentials = nil
        remotes = []
        locals = []
        pairs = pairs.filter { $0 === selectedPair }
        triggered = []
        earlyChecks = []
        gathers = []
        hasAllLocals = false
        hasToldComplete = false
        hasAllRemotes = false
        nominateAt = nil
        patienceEndsAt = nil
        if state != .new { setState(.checking) }
        return localCredentials
    }

    package func close() {
        setState(.closed)
        pairs = []
        checks = [:]
        gathers = []
        triggered = []
        consent = nil
    }

    // MARK: Outputs

    package func nextEvent() -> ICEEvent? { events.isEmpty ? nil : events.removeFirst() }

    func setState(_ new: ICEState) {
        guard new != state, state != .closed else { return }
        state = new
        events.append(.stateChanged(new))
    }

    // MARK: Pairs

    @discardableResult
    func addPair(_ local: LocalCandidate, _ remote: ICECandidate) -> CandidatePair? {
        let (ours, theirs) = (local.base.ip, remote.address.ip)
        guard ours.isIPv4 == theirs.isIPv4, ours.isLoopback == theirs.isLoopback else { return nil }
        let path = TransmitPath(port: local.port, remote: remote.address)
        if let known = pairs.first(where: { $0.path == path && $0 !== selectedPair || $0.path == path && $0.remote == remote }) {
            return known
        }
        guard pairs.count < ICEConfiguration.pairLimit else { return nil }
        let pair = CandidatePair(id: nextPairID, local: local.candidate, remote: remote, path: path)
        nextPairID += 1
        pairs.append(pair)
        sortPairs()
        return pair
    }

    func sortPairs() {
        let role = role
        pairs.sort { $0.priority(role: role) > $1.priority(role: role) }
    }
}
