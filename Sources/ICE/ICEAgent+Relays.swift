package import SansIO

/// Relayed candidates: what TURN servers give, each on a socket that is no socket of ours (``RelayTable``).
///
/// RFC 8445 §5.1.1.2
extension ICEAgent {
    /// Says that a server was asked for a relayed address: gathering does not end before it has answered.
    ///
    /// Each call is followed by one `addRelayed` or one `relayFailed`.
    package func expectRelay() { current.awaitedRelayCount += 1 }

    /// Says for how many relayed addresses a new generation has to wait, those included that are there and follow at once.
    package func expectRelays(_ count: Int) { current.awaitedRelayCount = count }

    /// Says that a server that was asked gives no address.
    package func relayFailed(at now: Instant) {
        guard isAlive, current.awaitedRelayCount > 0 else { return }
        current.awaitedRelayCount -= 1
        settle(at: now)
    }

    /// Adds a relayed address as candidate, and what the server has told of the socket beside it.
    ///
    /// - Parameters:
    ///   - relayed: where the peer sends to.
    ///   - mapped: this side as the server sees it, if it has told.
    ///   - server: its address; candidates of one server are alike.
    ///   - transport: how it is spoken with.
    ///   - socket: the port from which the server was asked.
    ///   - base: that socket's own address.
    ///   - preference: of the socket's interface, as for its host candidate.
    ///   - port: names the relayed address as a socket.
    ///   - now: the present.
    package func addRelayed(
        _ relayed: TransportAddress,
        mapped: TransportAddress?,
        server: IPAddress,
        transport: RelayTransport,
        socket: PortID,
        base: TransportAddress,
        preference: UInt16,
        port: PortID,
        at now: Instant
    ) {
        guard isAlive else { return }
        current.awaitedRelayCount = max(0, current.awaitedRelayCount - 1)
        // Without a host candidate the socket is not to be known, or is no UDP socket: only what is relayed is told.
        let host = current.base(on: socket)
        if host != nil, let mapped, current.gathering != .complete {
            addServerReflexive(mapped, server: server, port: socket, base: base, preference: preference)
        }
        guard current.base(on: port) == nil, relayed.port != 0, !relayed.ip.isUnspecified,
            current.gathering != .complete
        else { return settle(at: now) }
        guard current.localCandidates.count < ICELimits.localCandidates else {
            counters.dropped.limitedGathering += 1
            return settle(at: now)
        }
        let candidate = ICECandidate(
            foundation: foundation(.relay, base: relayed.ip, server: server, transport: transport),
            priority: ICEPriority.candidate(.relay, localPreference: transport.preference(preference)),
            address: relayed,
            kind: .relay,
            relatedAddress: host == nil
                ? TransportAddress(relayed.ip.isIPv4 ? .anyIPv4 : .anyIPv6, port: 0) : mapped ?? base,
            usernameFragment: current.local.usernameFragment
        )
        // RFC 8445 §5.1.1.2: the base of a relayed candidate is the candidate itself.
        let local = ICELocalCandidate(candidate: candidate, port: port, base: relayed)
        current.localCandidates.append(local)
        emit(.localCandidate(candidate))
        for remote in current.remoteCandidates { pairUp(local, remote, at: now) }
        settle(at: now)
    }

    /// Says that a relayed address relays no more: its pairs are given up at once, instead of when consent has run out.
    package func removeRelayed(_ port: PortID, at now: Instant) {
        guard isAlive else { return }
        remove(port)
        settle(at: now)
    }
}
