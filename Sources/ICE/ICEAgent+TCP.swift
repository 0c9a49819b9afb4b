import STUN
package import SansIO

/// Candidates over TCP: a passive one takes connections, from an active one they are opened.
///
/// Each connection is a port of its own, which reaches one address. The owner opens, accepts and closes them; what
/// travels over them is framed (``FramedStream``). Simultaneous-open candidates are neither made nor used.
///
/// RFC 6544
extension ICEAgent {
    // MARK: Commands

    /// Adds a host candidate over TCP.
    ///
    /// - Parameters:
    ///   - address: where the socket listens; of an active candidate the port means nothing.
    ///   - isPassive: whether it takes connections; else they are opened from it.
    ///   - port: names the candidate.
    ///   - preference: larger is tried earlier, as for `addLocalHost`.
    ///   - now: the present.
    package func addLocalTCP(
        _ address: TransportAddress,
        isPassive: Bool,
        port: PortID,
        preference: UInt16,
        at now: Instant
    ) {
        // A lite agent opens nothing.
        guard isAlive, current.base(on: port) == nil, isPassive || !configuration.isLite else { return }
        guard current.localCandidates.count < ICELimits.localCandidates else {
            counters.dropped.limitedGathering += 1
            return
        }
        let candidate = ICECandidate(
            foundation: foundation(.host, base: address.ip, server: nil, transport: .tcp),
            transport: .tcp,
            priority: ICEPriority.tcpHost(isPassive: isPassive, preference: preference),
            // RFC 6544 §4.5: the port of an active candidate is 9.
            address: isPassive ? address : TransportAddress(address.ip, port: 9),
            kind: .host,
            tcpType: isPassive ? .passive : .active,
            usernameFragment: current.local.usernameFragment
        )
        let local = ICELocalCandidate(candidate: candidate, port: port, base: address)
        current.localCandidates.append(local)
        emit(.localCandidate(candidate))
        for remote in current.remoteCandidates { pairUp(local, remote, at: now) }
        settle(at: now)
    }

    /// Says that a connection is open: one that `ICEEvent.connect` asked for, or one that was accepted.
    ///
    /// - Parameters:
    ///   - port: names the connection.
    ///   - candidate: the candidate from which it was opened, or which accepted it.
    ///   - local: its own address.
    ///   - remote: the other end's.
    ///   - now: the present.
    package func connectionOpened(
        _ port: PortID,
        of candidate: PortID,
        local: TransportAddress,
        remote: TransportAddress,
        at now: Instant
    ) {
        guard isAlive, let owner = current.localCandidates.first(where: { $0.port == candidate }),
            current.base(on: port) == nil
        else { return emit(.connectionUnneeded(port)) }
        var base = owner
        base.port = port
        base.base = local
        if owner.candidate.tcpType == .active {
            let request = ICEConnectionRequest(candidate: candidate, remote: remote)
            let peer = current.remoteCandidates.first { $0.transport == .tcp && $0.address.isSameEndpoint(as: remote) }
            guard current.didAnswer(request), let peer else { return emit(.connectionUnneeded(port)) }
            current.connectionBases.append(base)
            add(makePair(base, peer), at: now)
        } else {
            makeRoomForConnection()
            guard current.connectionBases.count < ICELimits.connections else {
                counters.dropped.limitedConnections += 1
                return emit(.connectionUnneeded(port))
            }
            current.connectionBases.append(base)
        }
        settle(at: now)
    }

    /// Says that a connection that `ICEEvent.connect` asked for cannot be had.
    package func connectionFailed(of candidate: PortID, to remote: TransportAddress, at now: Instant) {
        guard isAlive else { return }
        _ = current.didAnswer(ICEConnectionRequest(candidate: candidate, remote: remote))
        settle(at: now)
    }

    /// Says that a connection has ended: its pair is given up, and an active candidate connects again.
    package func connectionEnded(_ port: PortID, at now: Instant) {
        guard isAlive else { return }
        let ended = current.connectionBases.first { $0.port == port }
        let pair = current.pairs.first { $0.path.port == port }
        remove(port)
        current.removePairs(on: port)
        if let ended, let pair, ended.candidate.tcpType == .active, pair.counters.responsesReceived > 0,
            let owner = current.localCandidates.first(where: { $0.candidate == ended.candidate })
        {
            // Only what has worked: what is refused again and again is left alone.
            current.request(ICEConnectionRequest(candidate: owner.port, remote: pair.path.remote))
        }
        settle(at: now)
    }

    // MARK: Connections

    /// Asks for connections once datagrams have had their chance.
    ///
    /// A connection is opened for what a datagram mostly does sooner; where UDP is blocked, the wait is short.
    func openConnections(at now: Instant) {
        guard let due = connectionsDue, due <= now else { return }
        for request in current.takeRequests() { emit(.connect(request.candidate, request.remote)) }
    }

    /// When the connections that are wanted are to be opened; nil if none are, or something better is there.
    var connectionsDue: Instant? {
        guard current.wantsConnections, let started = current.checksStartedAt,
            current.selected?.isRelayed ?? true
        else { return nil }
        return started + configuration.connectionDelay
    }

    /// Lets go of connections that no generation uses, and of those that a direct path makes superfluous.
    func releaseConnections(at now: Instant) {
        if let selected = current.selected, selected.isNominated, !selected.isRelayed, current.isLongConcluded(at: now)
        {
            for base in current.connectionBases where base.port != selected.path.port {
                remove(base.port)
                current.removePairs(on: base.port)
            }
        }
        let used = current.connectionBases + (previous?.connectionBases ?? [])
        for port in connections where !used.contains(where: { $0.port == port }) {
            emit(.connectionUnneeded(port))
        }
        connections = used.map(\.port)
    }

    /// Strangers that say nothing make room for others, oldest first.
    private func makeRoomForConnection() {
        let silent = current.connectionBases.filter { base in
            base.candidate.tcpType == .passive && !current.pairs.contains { $0.path.port == base.port }
        }
        guard silent.count >= ICELimits.silentConnections, let oldest = silent.first else { return }
        counters.dropped.limitedConnections += 1
        current.connectionBases.removeAll { $0.port == oldest.port }
    }
}

/// A connection that is to be opened.
struct ICEConnectionRequest: Hashable {
    /// The active candidate.
    var candidate: PortID
    var remote: TransportAddress
}
