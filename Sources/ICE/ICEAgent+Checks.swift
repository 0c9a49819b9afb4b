import STUN
import SansIO

/// Forming the checklist, and sending checks.
extension ICEAgent {
    // MARK: Checklist

    /// Adds a candidate of the peer, or makes a peer-reflexive one of the same address the signalled one.
    func insertRemote(_ candidate: ICECandidate, at now: Instant) {
        if let index = current.remoteCandidates.firstIndex(where: {
            $0.transport == candidate.transport && $0.address.isSameEndpoint(as: candidate.address)
        }) {
            // RFC 8838 §11.4 (and 8445 §7.3.1.3): the signalled candidate replaces the peer-reflexive one.
            guard current.remoteCandidates[index].kind == .prflx, candidate.kind != .prflx else { return }
            current.remoteCandidates[index] = candidate
            for pair in current.pairs
            where pair.remote.transport == candidate.transport
                && pair.remote.address.isSameEndpoint(as: candidate.address)
            {
                pair.remote = candidate
            }
            current.sortPairs(role: currentRole)
            return
        }
        guard current.remoteCandidates.count < ICELimits.remoteCandidates else {
            counters.dropped.limitedCandidates += 1
            return
        }
        current.remoteCandidates.append(candidate)
        for local in current.localCandidates { pairUp(local, candidate, at: now) }
    }

    /// Makes a pair of two candidates if it can work and is not there.
    ///
    /// RFC 8445 §6.1.2.2, §6.1.2.4: server-reflexive candidates are replaced by their base, so only bases pair.
    func pairUp(_ local: ICELocalCandidate, _ remote: ICECandidate, at now: Instant) {
        guard local.isBase, local.candidate.transport == remote.transport,
            Self.canReach(from: local.base.ip, to: remote.address.ip)
        else { return }
        if remote.transport == .tcp {
            // RFC 6544 §6.2: a pair comes of the connection. What the scope of a link-local address is here is not known.
            guard local.candidate.tcpType == .active, !remote.address.ip.isLinkLocal else { return }
            return current.request(ICEConnectionRequest(candidate: local.port, remote: remote.address))
        }
        guard current.pair(on: local.port, to: remote.address) == nil else { return }
        guard add(makePair(local, remote), at: now) else { return }
        if local.candidate.kind == .relay { emit(.relayPaired(local.port, remote.address.ip)) }
    }

    /// - Returns: whether there was room.
    @discardableResult
    func add(_ pair: ICECandidatePair, at now: Instant) -> Bool {
        // What comes long after the nomination comes of a change: it is tried in good time.
        if configuration.isLite || current.isConcluded && !current.isLongConcluded(at: now) { pair.state = .frozen }
        guard current.insert(pair) else {
            counters.dropped.limitedPairs += 1
            return false
        }
        return true
    }

    func makePair(_ local: ICELocalCandidate, _ remote: ICECandidate) -> ICECandidatePair {
        var address = remote.address
        if address.ip.isLinkLocal, !address.ip.isIPv4, address.ip.scopeID == 0 {
            // The peer's scope means nothing here: its link-local addresses are on our base's link.
            address.ip = IPAddress(v6High: address.ip.high, v6Low: address.ip.low, scopeID: local.base.ip.scopeID)
        }
        let pair = ICECandidatePair(
            base: local,
            remote: remote,
            path: TransmitPath(port: local.port, remote: address)
        )
        pair.setPriority(role: currentRole)
        return pair
    }

    /// Whether a datagram from one address can reach the other at all.
    ///
    /// RFC 8445 §6.1.2.2: IPv6 link-local addresses pair with their own kind only.
    /// A socket on the loopback interface reaches nothing beyond; the other direction is left to try.
    private static func canReach(from local: IPAddress, to remote: IPAddress) -> Bool {
        guard local.isIPv4 == remote.isIPv4 else { return false }
        if !local.isIPv4, local.isLinkLocal != remote.isLinkLocal { return false }
        return !local.isLoopback || remote.isLoopback
    }

    // MARK: Sending checks

    /// Puts a pair into the queue of triggered checks, which `settle` sends.
    ///
    /// RFC 8445 §7.3.1.4
    func trigger(_ pair: ICECandidatePair, at now: Instant) {
        switch pair.state {
        case .succeeded(nominating: .some): return
        case .succeeded(nominating: nil):
            // Valid pairs are not checked again, unless their consent has run out.
            if pair.isValid(at: now) { return }
        case .inProgress(let transaction):
            // The check just sent was not answered yet: another one would add nothing.
            if now < transaction.lastSentAt + Self.shortestRepetition { return }
        case .frozen, .waiting, .failed: break
        }
        if case .failed = pair.state { pair.state = .waiting }
        enqueue(pair)
    }

    func enqueue(_ pair: ICECandidatePair) {
        guard !pair.isTriggered, !configuration.isLite else { return }
        pair.isTriggered = true
        current.triggered.append(pair)
    }

    /// Sends triggered checks as far as their burst allows.
    func sendTriggeredChecks(at now: Instant) {
        while !current.triggered.isEmpty {
            let earliest = (nextOrdinaryCheck ?? now) - configuration.pacing * configuration.triggeredBurst
            guard earliest <= now else { return }
            let pair = current.triggered.removeFirst()
            pair.isTriggered = false
            send(pair, at: now)
        }
    }

    /// Sends ordinary checks as far as their burst allows, then one each Ta.
    func sendOrdinaryChecks(at now: Instant) {
        while current.remote != nil, current.triggered.isEmpty, let pair = nextWaitingPair,
            ordinaryCheckDue(pair).map({ $0 <= now }) ?? true
        {
            send(pair, at: now)
        }
    }

    /// When an ordinary check of a pair may go out; nil if none ever did.
    func ordinaryCheckDue(_ pair: ICECandidatePair) -> Instant? {
        let isFirst = !current.triedWays.contains(pair.way)
        let burst = isFirst ? configuration.firstOfWayBurst : configuration.ordinaryBurst
        return nextOrdinaryCheck.map { $0 - configuration.pacing * max(0, burst - 1) }
    }

    /// The pair whose turn it is (RFC 8445 §6.1.4.2), and first one of each way that none has gone.
    ///
    /// Deviates in that from the order of priorities: a peer behind a symmetric NAT is reached through its relay only,
    /// whose pair has the lowest of all. Which pair is nominated does not depend on the order of checks.
    ///
    /// There is no frozen state among pairs not yet tried: with one component of one stream
    /// freezing would only reorder them.
    var nextWaitingPair: ICECandidatePair? {
        var first: ICECandidatePair?
        for pair in current.pairs {
            guard case .waiting = pair.state, !pair.isTriggered else { continue }
            if !current.triedWays.contains(pair.way) { return pair }
            if first == nil { first = pair }
        }
        return first
    }

    /// Sends a check, or the nomination if the pair is valid.
    private func send(_ pair: ICECandidatePair, at now: Instant) {
        guard let remote = current.remote else { return }
        nextOrdinaryCheck = max(nextOrdinaryCheck ?? now, now) + configuration.pacing
        let isNomination =
            if case .succeeded = pair.state { pair.isValid(at: now) } else { false }
        if isNomination, currentRole == .controlling { number(pair) }
        let id = STUNTransactionID(random: random)
        let interval = max(configuration.initialRetransmission, configuration.pacing * max(1, current.pendingCount))
        let transaction = STUNTransaction(
            id: id,
            message: bindingRequest(id, base: pair.base, remote: remote, nominating: isNomination ? pair : nil),
            initialInterval: max(interval, (pair.roundTripTime ?? .zero) * 2),
            maximumInterval: current.concludedAt == nil
                ? configuration.maximumRetransmission : configuration.healingRetransmission,
            timeout: isNomination ? Self.nominationTimeout : configuration.patience,
            at: now
        )
        pair.state = isNomination ? .succeeded(nominating: transaction) : .inProgress(transaction)
        current.remember(
            ICEOutstandingCheck(
                pair: pair,
                purpose: isNomination ? .nomination : .check,
                role: currentRole,
                sentAt: now,
                expiry: now + configuration.patience
            ),
            id: id,
            at: now
        )
        pair.counters.requestsSent += 1
        current.triedWays.insert(pair.way)
        transmit(transaction.message, along: pair.path)
    }

    /// Sends again what was not answered in time, and gives up what never was.
    func retransmitChecks(at now: Instant) {
        for pair in current.pairs {
            switch pair.state {
            case .inProgress(var transaction):
                switch transaction.handleTimeout(at: now) {
                case .none: break
                case .retransmit:
                    pair.state = .inProgress(transaction)
                    pair.counters.retransmissionsSent += 1
                    transmit(transaction.message, along: pair.path)
                case .giveUp:
                    pair.state = .failed
                }
            case .succeeded(nominating: .some(var transaction)):
                switch transaction.handleTimeout(at: now) {
                case .none: break
                case .retransmit:
                    pair.state = .succeeded(nominating: transaction)
                    pair.counters.retransmissionsSent += 1
                    transmit(transaction.message, along: pair.path)
                case .giveUp:
                    // Still valid as far as consent goes; the choice is made anew.
                    pair.state = .succeeded(nominating: nil)
                }
            case .frozen, .waiting, .succeeded(nominating: nil), .failed: break
            }
        }
    }

    /// The bytes of a check or consent check.
    ///
    /// RFC 8445 §7.1, §7.2.2
    func bindingRequest(
        _ id: STUNTransactionID,
        base: ICELocalCandidate,
        remote: ICERemoteCredentials,
        nominating pair: ICECandidatePair?
    ) -> [UInt8] {
        var message = STUNMessageWriter(.request, .binding, id)
        message.add(.username, text: remote.username)
        // RFC 8445 §7.1.1: that of the peer-reflexive candidate which the peer may learn from this check.
        message.add(.priority, reflexivePriority(of: base.candidate))
        switch currentRole {
        case .controlling: message.add(.iceControlling, tieBreaker)
        case .controlled: message.add(.iceControlled, tieBreaker)
        }
        if let pair, currentRole == .controlling { addNomination(of: pair, remote.renomination, to: &message) }
        return message.finish(key: remote.key)
    }

    func reflexivePriority(of host: ICECandidate) -> UInt32 {
        host.priority & 0x00FF_FFFF | ICECandidate.Kind.prflx.preference(over: host.transport) << 24
    }

    func transmit(_ message: [UInt8], along path: TransmitPath) {
        // The span borrows the array for this one call, which copies.
        transmits.append(unsafe message.span.bytes, to: path)
    }

    /// A check is not repeated sooner, however many checks of the peer come.
    static var shortestRepetition: Duration { .milliseconds(20) }
    /// After this time without an answer to the nomination the choice is made anew.
    static var nominationTimeout: Duration { .seconds(5) }
}
