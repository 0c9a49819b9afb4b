import STUN
package import SansIO

/// Datagrams of STUN.
extension ICEAgent {
    /// Takes a datagram that may be STUN.
    ///
    /// Whatever is wrong with it is counted.
    ///
    /// - Parameters:
    ///   - message: the whole datagram, borrowed.
    ///   - from: its source, with scope if link-local.
    ///   - port: the socket it came in on.
    ///   - now: the present.
    package func receive(_ message: RawSpan, from: TransportAddress, on port: PortID, at now: Instant) {
        guard isAlive else {
            counters.dropped.afterEnd += 1
            return
        }
        guard let parsed = try? STUNMessage(message) else {
            counters.dropped.malformed += 1
            return
        }
        guard parsed.method == .binding else {
            counters.dropped.wrongMethod += 1
            return
        }
        switch parsed.messageClass {
        case .request: receiveRequest(parsed, message, from: from, on: port, at: now)
        case .indication: counters.dropped.indications += 1
        case .success, .failure: receiveResponse(parsed, message, from: from, on: port, at: now)
        }
        settle(at: now)
    }

    // MARK: Requests

    /// Answers a request and uses it (RFC 8445 §7.3, RFC 8489 §9.1.3).
    private func receiveRequest(
        _ message: STUNMessage,
        _ bytes: RawSpan,
        from: TransportAddress,
        on port: PortID,
        at now: Instant
    ) {
        let path = TransmitPath(port: port, remote: from)
        guard message.hasIntegrity, let username = message.bytes(.username, in: bytes) else {
            counters.dropped.incompleteRequests += 1
            refuse(message, .badRequest, key: nil, along: path)
            return
        }
        guard let (generation, remoteFragment) = addressee(of: username) else {
            counters.dropped.wrongUsername += 1
            refuse(message, .unauthenticated, key: nil, along: path)
            return
        }
        let key = generation.localKey
        guard message.isAuthentic(bytes, key: key) else {
            counters.dropped.wrongPassword += 1
            refuse(message, .unauthenticated, key: nil, along: path)
            return
        }
        let unknown = message.unknownRequired(besides: Self.isUnderstood)
        guard unknown.isEmpty else {
            counters.dropped.unknownAttributes += 1
            var response = STUNMessageWriter(.failure, .binding, message.transactionID)
            response.add(.unknownAttribute)
            response.add(unknown: unknown)
            transmit(response.finish(key: key), along: path)
            return
        }
        guard let priority = message.uint32(.priority, in: bytes) else {
            counters.dropped.incompleteRequests += 1
            refuse(message, .badRequest, key: key, along: path)
            return
        }
        if generation === current, hasRoleConflict(message, bytes) {
            counters.roleConflicts += 1
            refuse(message, .roleConflict, key: key, along: path)
            return
        }
        var response = STUNMessageWriter(.success, .binding, message.transactionID)
        response.add(.xorMappedAddress, xor: from)
        transmit(response.finish(key: key), along: path)
        authenticate(path, by: .request)

        let check = ICEEarlyCheck(
            port: port,
            from: from,
            priority: priority,
            nomination: ICENominationAttributes(message, bytes),
            remoteFragment: remoteFragment
        )
        if generation !== current {
            if let pair = generation.pair(on: port, to: from) { countRequest(on: pair, at: now) }
        } else if current.remote?.credentials.usernameFragment == remoteFragment, current.base(on: port) != nil {
            use(check, at: now)
        } else {
            current.earlyChecks.removeAll { $0.port == port && $0.from == from && !check.isWeaker(than: $0) }
            if current.earlyChecks.count >= ICELimits.earlyChecks {
                current.earlyChecks.removeFirst()
                counters.dropped.limitedRequests += 1
            }
            current.earlyChecks.append(check)
        }
    }

    /// The generation that "ours:theirs" is for, and the peer's fragment.
    private func addressee(of username: [UInt8]) -> (ICEGeneration, remoteFragment: String)? {
        guard username.count <= 2 * ICELimits.credentialCharacters + 1,
            let colon = username.firstIndex(of: UInt8(ascii: ":"))
        else { return nil }
        let ours = String(decoding: username[..<colon], as: UTF8.self)
        let theirs = String(decoding: username[(colon + 1)...], as: UTF8.self)
        if let previous, previous.local.usernameFragment == ours,
            previous.remote?.credentials.usernameFragment == theirs
        {
            return (previous, theirs)
        }
        return current.local.usernameFragment == ours ? (current, theirs) : nil
    }

    /// Settles who controls if the peer believes the same as we.
    ///
    /// - Returns: whether the peer has to give in, by 487.
    ///
    /// RFC 8445 §7.3.1.1
    private func hasRoleConflict(_ message: STUNMessage, _ bytes: RawSpan) -> Bool {
        switch currentRole {
        case .controlling:
            guard let theirs = message.uint64(.iceControlling, in: bytes) else { return false }
            // A tie goes to us as well: both cannot be equal and both be answered.
            if tieBreaker >= theirs { return true }
            counters.roleConflicts += 1
            switchRole(to: .controlled)
        case .controlled:
            guard let theirs = message.uint64(.iceControlled, in: bytes) else { return false }
            // The larger tie-breaker controls.
            guard tieBreaker >= theirs else { return true }
            counters.roleConflicts += 1
            switchRole(to: .controlling)
        }
        return false
    }

    private func refuse(_ message: STUNMessage, _ code: STUNErrorCode, key: STUNKey?, along path: TransmitPath) {
        var response = STUNMessageWriter(.failure, .binding, message.transactionID)
        response.add(code)
        transmit(response.finish(key: key), along: path)
    }

    /// Draws the conclusions of an authentic check of the peer: candidate, triggered check, nomination.
    ///
    /// RFC 8445 §7.3.1.3 ... §7.3.1.5
    func use(_ check: ICEEarlyCheck, at now: Instant) {
        guard let base = current.base(on: check.port) else { return }
        guard let pair = current.pair(on: check.port, to: check.from) ?? makeReflexivePair(base, check, at: now) else {
            counters.dropped.limitedRequests += 1
            return
        }
        countRequest(on: pair, at: now)
        if configuration.isLite { believe(pair, at: now) }
        if currentRole == .controlled { receiveNomination(check.nomination, of: pair, at: now) }
        // The silent path may be back.
        if pair.isSilent, pair === current.selected, !configuration.isLite { pair.consent?.nextCheck = now }
        trigger(pair, at: now)
    }

    /// As lite agent: the peer's check is all the proof there is, of the path and of its consent.
    private func believe(_ pair: ICECandidatePair, at now: Instant) {
        pair.state = .succeeded(nominating: nil)
        current.firstValidAt = current.firstValidAt ?? now
        let expiry = now + configuration.consentTimeout
        pair.consent = ICEConsent(expiry: expiry, nextCheck: expiry)
    }

    /// A pair to an address that was not signalled, or that was but not for this socket.
    private func makeReflexivePair(
        _ base: ICELocalCandidate,
        _ check: ICEEarlyCheck,
        at now: Instant
    ) -> ICECandidatePair? {
        let transport = base.candidate.transport
        let known = current.remoteCandidates.first {
            $0.transport == transport && $0.address.isSameEndpoint(as: check.from)
        }
        if known == nil, current.remoteCandidates.count >= ICELimits.remoteCandidates { return nil }
        let candidate =
            known
            ?? ICECandidate(
                foundation: foundation(.prflx, base: check.from.ip, server: nil),
                transport: transport,
                priority: check.priority,
                address: check.from,
                kind: .prflx,
                tcpType: base.candidate.tcpType.map { $0 == .passive ? .active : .passive },
                usernameFragment: check.remoteFragment
            )
        let pair = makePair(base, candidate)
        guard current.insert(pair) else { return nil }
        if known == nil { current.remoteCandidates.append(candidate) }
        // The peer, or its NAT, may have left the address in use: that shows soon.
        if let selected = current.selected, let next = selected.consent?.nextCheck, current.concludedAt != nil,
            !configuration.isLite
        {
            selected.consent?.nextCheck = min(next, now)
        }
        return pair
    }

    private func countRequest(on pair: ICECandidatePair, at now: Instant) {
        pair.counters.requestsReceived += 1
        pair.counters.responsesSent += 1
        pair.counters.lastRequestReceivedAt = now
    }

    /// Uses checks that came too early, now that credentials and sockets are known.
    func useEarlyChecks(at now: Instant) {
        guard let remote = current.remote, !current.earlyChecks.isEmpty else { return }
        let fragment = remote.credentials.usernameFragment
        let checks = current.earlyChecks
        current.earlyChecks = []
        for check in checks {
            if check.remoteFragment == fragment, current.base(on: check.port) != nil {
                use(check, at: now)
            } else {
                current.earlyChecks.append(check)
            }
        }
    }

    // MARK: Responses

    /// Finds the request of a response (RFC 8445 §7.2.5).
    private func receiveResponse(
        _ message: STUNMessage,
        _ bytes: RawSpan,
        from: TransportAddress,
        on port: PortID,
        at now: Instant
    ) {
        if receiveGatheringResponse(message, bytes, from: from, on: port, at: now) { return }
        let id = message.transactionID
        var found: (ICEGeneration, ICEOutstandingCheck)?
        if let check = current.outstandingCheck(id, at: now) {
            found = (current, check)
        } else if let previous, let check = previous.outstandingCheck(id, at: now) {
            found = (previous, check)
        }
        guard let (generation, check) = found, let remote = generation.remote else {
            counters.dropped.unknownTransactions += 1
            return
        }
        // An unauthentic error response proves nothing: the check goes on until it times out.
        guard message.isAuthentic(bytes, key: remote.key) else {
            counters.dropped.unauthenticResponses += 1
            return
        }
        let pair = check.pair
        // RFC 8445 §7.2.5.2.1: a response must come from where the request went, to where it came from.
        guard port == pair.path.port, from.isSameEndpoint(as: pair.path.remote) else {
            counters.dropped.asymmetricResponses += 1
            if check.purpose == .check { fail(pair, transaction: id) }
            return
        }
        generation.removeOutstanding(id)
        pair.counters.responsesReceived += 1
        pair.counters.lastResponseReceivedAt = now
        if !message.unknownRequired(besides: Self.isUnderstood).isEmpty {
            // RFC 8489 §6.3.3: "the response is discarded and the transaction is considered to have failed".
            counters.dropped.malformed += 1
            if check.purpose == .check { fail(pair, transaction: id) }
        } else if message.messageClass == .failure {
            receiveFailure(message.errorCode(in: bytes), check, id, in: generation, at: now)
        } else if let mapped = message.xorAddress(.xorMappedAddress, in: bytes) {
            receiveSuccess(check, id, mapped: mapped, in: generation, at: now)
        } else {
            counters.dropped.malformed += 1
        }
    }

    private func receiveSuccess(
        _ check: ICEOutstandingCheck,
        _ id: STUNTransactionID,
        mapped: TransportAddress,
        in generation: ICEGeneration,
        at now: Instant
    ) {
        let pair = check.pair
        authenticate(pair.path, by: .response)
        let transaction = pair.transaction(id)
        // Karn: after a retransmission it is unknown which one was answered.
        if check.purpose == .consent || transaction?.transmissionCount == 1 || pair.roundTripTime == nil {
            pair.addRoundTripTime(now - check.sentAt)
        }
        refreshConsent(pair, at: now)
        guard generation === current else { return }
        switch check.purpose {
        case .consent: return
        case .nomination:
            // Void if the roles changed meanwhile.
            guard currentRole == .controlling, check.role == .controlling else { return }
            if transaction != nil { pair.state = .succeeded(nominating: nil) }
            nominate(pair, at: now)
        case .check:
            pair.mappedLocal = localCandidate(mapped: mapped, base: pair.base)
            if case .succeeded = pair.state {} else { pair.state = .succeeded(nominating: nil) }
            current.firstValidAt = current.firstValidAt ?? now
            if case .onSuccess = pair.nomination { nominate(pair, at: now) }
        }
    }

    /// Switches roles on 487, else fails the pair (RFC 8445 §7.2.5.1, §7.2.5.2.4).
    private func receiveFailure(
        _ code: STUNErrorCode?,
        _ check: ICEOutstandingCheck,
        _ id: STUNTransactionID,
        in generation: ICEGeneration,
        at now: Instant
    ) {
        guard generation === current, check.purpose != .consent else { return }
        guard code == .roleConflict else {
            fail(check.pair, transaction: id)
            return
        }
        if check.role == currentRole {
            counters.roleConflicts += 1
            switchRole(to: currentRole.opposite)
            // RFC 8445 §7.2.5.1 wants a new tie-breaker with the new role.
            tieBreaker = random.next()
        }
        if check.pair.transaction(id) != nil {
            if case .inProgress = check.pair.state { check.pair.state = .waiting }
            if case .succeeded = check.pair.state { check.pair.state = .succeeded(nominating: nil) }
        }
        trigger(check.pair, at: now)
    }

    /// Fails a pair if this transaction is what it waits for.
    private func fail(_ pair: ICECandidatePair, transaction id: STUNTransactionID) {
        guard pair.transaction(id) != nil else { return }
        pair.state = .failed
    }

    /// Our candidate of a mapped address; an unknown one is peer-reflexive.
    ///
    /// RFC 8445 §7.2.5.3.1
    private func localCandidate(mapped: TransportAddress, base: ICELocalCandidate) -> ICECandidate {
        if let known = current.localCandidates.first(where: {
            $0.port == base.port && $0.candidate.address.isSameEndpoint(as: mapped)
        }) {
            return known.candidate
        }
        // RFC 6544 §7.1: the port of an active candidate is none of its own.
        if base.candidate.transport == .tcp, mapped.ip == base.base.ip { return base.candidate }
        return ICECandidate(
            foundation: foundation(.prflx, base: base.base.ip, server: nil),
            transport: base.candidate.transport,
            priority: reflexivePriority(of: base.candidate),
            address: mapped,
            kind: .prflx,
            relatedAddress: base.base,
            tcpType: base.candidate.tcpType,
            usernameFragment: current.local.usernameFragment
        )
    }

    private static func isUnderstood(_ type: STUNAttributeType) -> Bool {
        switch type {
        case .username, .messageIntegrity, .messageIntegritySHA256, .priority, .useCandidate, .userhash, .mappedAddress,
            .xorMappedAddress, .errorCode, .unknownAttributes, .realm, .nonce, .passwordAlgorithm, .nomination:
            true
        default: false
        }
    }
}

extension ICECandidatePair {
    /// The check or nomination under way, if it has this identifier.
    fileprivate func transaction(_ id: STUNTransactionID) -> STUNTransaction? {
        switch state {
        case .inProgress(let transaction) where transaction.id == id: transaction
        case .succeeded(nominating: .some(let transaction)) where transaction.id == id: transaction
        default: nil
        }
    }
}

extension ICEEarlyCheck {
    /// Says less than another one of the same pair.
    fileprivate func isWeaker(than other: ICEEarlyCheck) -> Bool {
        other.remoteFragment == remoteFragment && nomination.isWeaker(than: other.nomination)
    }
}
