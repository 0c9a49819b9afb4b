import STUN
package import SansIO

/// Server-reflexive candidates.
///
/// RFC 8445 §5.1.1.2
extension ICEAgent {
    /// Asks a STUN server under which address it sees a socket.
    ///
    /// A dead server delays only `gatheringComplete`.
    ///
    /// Deviates from RFC 8445 §14.2, which paces gathering by Ta: browsers ask at once, too, and the number of
    /// requests is limited.
    ///
    /// - Parameters:
    ///   - server: its address, resolved.
    ///   - port: the socket.
    ///   - base: the socket's own address, of the server's family.
    ///   - now: the present.
    package func gatherServerReflexive(
        from server: TransportAddress,
        port: PortID,
        base: TransportAddress,
        at now: Instant
    ) {
        guard isAlive, server.ip.isIPv4 == base.ip.isIPv4, server.port != 0, current.gathering != .complete,
            !current.gatherings.contains(where: { $0.server == server && $0.port == port })
        else { return }
        guard current.gatherings.count < ICELimits.gatherings else {
            counters.dropped.limitedGathering += 1
            return
        }
        let transaction = bindingTransaction(at: now)
        let host = current.base(on: port)?.candidate.priority ?? 0
        current.gatherings.append(
            ICEGathering(
                server: server,
                port: port,
                base: base,
                preference: UInt16(truncatingIfNeeded: host >> 8),
                state: .asking(transaction)
            )
        )
        transmit(transaction.message, along: TransmitPath(port: port, remote: server))
        settle(at: now)
    }

    /// Asks the servers once more, since the NAT may have another address by now, which the peer then has to learn.
    ///
    /// A candidate that comes of it is told although gathering is complete.
    func askServersAgain(at now: Instant) {
        guard current.gathering == .complete else { return }
        for index in current.gatherings.indices where current.gatherings[index].wasAnswered {
            let transaction = bindingTransaction(at: now)
            let gathering = current.gatherings[index]
            current.gatherings[index].state = .asking(transaction)
            transmit(transaction.message, along: TransmitPath(port: gathering.port, remote: gathering.server))
        }
    }

    private func bindingTransaction(at now: Instant) -> STUNTransaction {
        let id = STUNTransactionID(random: random)
        return STUNTransaction(
            id: id,
            message: STUNMessageWriter(.request, .binding, id).finish(),
            initialInterval: configuration.initialRetransmission * 2,
            maximumInterval: configuration.maximumRetransmission,
            timeout: configuration.gatheringTimeout,
            at: now
        )
    }

    /// - Returns: whether the response belongs to gathering.
    func receiveGatheringResponse(
        _ message: STUNMessage,
        _ bytes: RawSpan,
        from: TransportAddress,
        on port: PortID,
        at now: Instant
    ) -> Bool {
        for index in current.gatherings.indices {
            let gathering = current.gatherings[index]
            guard gathering.port == port, gathering.server.isSameEndpoint(as: from) else { continue }
            switch gathering.state {
            case .asking(let transaction) where transaction.id == message.transactionID:
                if message.messageClass == .success,
                    let mapped = message.xorAddress(.xorMappedAddress, in: bytes)
                        ?? message.address(.mappedAddress, in: bytes)
                {
                    current.gatherings[index].wasAnswered = true
                    current.gatherings[index].state = .keepingAlive(
                        nextRequest: now + configuration.reflexiveKeepalive,
                        id: transaction.id
                    )
                    addServerReflexive(
                        mapped,
                        server: gathering.server.ip,
                        port: gathering.port,
                        base: gathering.base,
                        preference: gathering.preference
                    )
                } else {
                    giveUp(index)
                }
                return true
            case .keepingAlive(_, message.transactionID):
                return true
            default: continue
            }
        }
        return false
    }

    /// Adds the address under which a server sees a socket.
    func addServerReflexive(
        _ mapped: TransportAddress,
        server: IPAddress,
        port: PortID,
        base: TransportAddress,
        preference: UInt16
    ) {
        // RFC 8445 §5.1.3: a candidate with the same address and base as another one is redundant.
        let isRedundant = current.localCandidates.contains {
            $0.port == port && $0.candidate.address.isSameEndpoint(as: mapped)
        }
        // A private address that a near server sees would tell what is to be hidden, and helps nobody far away.
        let isTold = !isRedundant || configuration.tellsRedundantReflexive && !mapped.ip.isPrivate
        guard isTold, mapped.port != 0, !mapped.ip.isUnspecified else { return }
        guard current.localCandidates.count < ICELimits.localCandidates else {
            counters.dropped.limitedGathering += 1
            return
        }
        let candidate = ICECandidate(
            foundation: foundation(.srflx, base: base.ip, server: server),
            priority: ICEPriority.candidate(.srflx, localPreference: preference),
            address: mapped,
            kind: .srflx,
            relatedAddress: base,
            usernameFragment: current.local.usernameFragment
        )
        // What is only told makes no pairs: those of the host candidate are the same.
        if !isRedundant {
            current.localCandidates.append(ICELocalCandidate(candidate: candidate, port: port, base: base))
        }
        emit(.localCandidate(candidate))
    }

    /// Retransmits, gives up, keeps bindings open.
    func continueGathering(at now: Instant) {
        for index in current.gatherings.indices {
            let path = TransmitPath(port: current.gatherings[index].port, remote: current.gatherings[index].server)
            switch current.gatherings[index].state {
            case .asking(var transaction):
                switch transaction.handleTimeout(at: now) {
                case .none: break
                case .retransmit:
                    current.gatherings[index].state = .asking(transaction)
                    transmit(transaction.message, along: path)
                case .giveUp: giveUp(index)
                }
            case .keepingAlive(let next, _) where current.isConcluded || next <= now:
                guard !current.isConcluded else {
                    current.gatherings[index].state = .over
                    continue
                }
                let id = STUNTransactionID(random: random)
                transmit(STUNMessageWriter(.request, .binding, id).finish(), along: path)
                current.gatherings[index].state = .keepingAlive(
                    nextRequest: now + configuration.reflexiveKeepalive,
                    id: id
                )
            case .keepingAlive, .over: break
            }
        }
    }

    /// Ends the asking of a server from one socket; tells if it was the last, and no other was answered.
    private func giveUp(_ index: Int) {
        current.gatherings[index].state = .over
        let server = current.gatherings[index].server
        let others = current.gatherings.filter { $0.server == server }
        if !others.contains(where: { $0.wasAnswered || $0.isAsking }) { emit(.serverSilent(server)) }
    }

    /// Tells the end of gathering once.
    func updateGathering() {
        guard current.gathering == .closing, current.awaitedRelayCount == 0,
            !current.gatherings.contains(where: \.isAsking)
        else { return }
        current.gathering = .complete
        emit(.gatheringComplete)
    }
}
