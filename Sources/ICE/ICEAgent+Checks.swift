package import SansIO
internal import STUN

extension ICEAgent {
    // MARK: Inputs

    /// Takes a datagram that looks like STUN.
    package func receive(_ bytes: RawSpan, from remote: TransportAddress, on port: PortID, at now: Instant) {
        guard state != .closed else { return }
        let path = TransmitPath(port: port, remote: remote)
        do {
            let message = try STUNMessage(bytes)
            guard message.method == STUNMethod.binding else {
                statistics.malformedCount += 1
                return
            }
            switch message.messageClass {
            case .request: receiveRequest(message, on: path, at: now)
            case .success, .error: receiveResponse(message, on: path, at: now)
            case .indication: break
            }
        } catch {
            statistics.malformedCount += 1
        }
        pump(at: now)
    }

    private func receiveRequest(_ message: borrowing STUNMessage, on path: TransmitPath, at now: Instant) {
        guard let username = message.text(.username), let colon = username.firstIndex(of: ":") else {
            return refuse(message, on: path, code: 400, reason: "Bad Request", key: nil)
        }
        let local = username[..<colon]
        let key: [UInt8]
        let isCurrent = local == localCredentials.usernameFragment
        if isCurrent {
            key = Array(localCredentials.password.utf8)
        } else if let previous = previousCredentials, local == previous.usernameFragment {
            key = Array(previous.password.utf8)
        } else {
            statistics.unauthenticCount += 1
            return refuse(message, on: path, code: 401, reason: "Unauthorized", key: nil)
        }
        guard message.isAuthentic(key: key) else {
            statistics.unauthenticCount += 1
            return refuse(message, on: path, code: 401, reason: "Unauthorized", key: nil)
        }
        guard message.unknownAttributes.isEmpty else {
            return refuse(message, on: path, code: 420, reason: "Unknown Attribute", key: key)
        }
        guard isCurrent else { return answer(message, on: path, key: key) }
        guard resolveRoleConflict(message, on: path, key: key) else { return }
        answer(message, on: path, key: key)
        let priority = message.uint32(.priority) ?? ICECandidate.priority(kind: .prflx, localPreference: 0)
        let isNomination = message.has(.useCandidate)
        guard remoteCredentials != nil else {
            guard earlyChecks.count < ICEConfiguration.earlyCheckLimit else { return }
            let check = EarlyCheck(
                path: path, usernameFragment: String(username[username.index(after: colon)...]), priority: priority,
                isNomination: isNomination)
            if let index = earlyChecks.firstIndex(where: { $0.path == path }) {
                earlyChecks[index].isNomination = earlyChecks[index].isNomination || isNomination
            } else {
                earlyChecks.append(check)
            }
            return
        }
        handleCheck(on: path, priority: priority, isNomination: isNomination, at: now)
    }

    /// RFC 8445 §7.3.1.1
    ///
    /// - Returns: whether the request may be answered.
    private func resolveRoleConflict(_ message: borrowing STUNMessage, on path: TransmitPath, key: [UInt8]) -> Bool {
        switch role {
        case .controlling:
            guard let theirs = message.uint64(.iceControlling) else { return true }
            statistics.roleConflictCount += 1
            if tieBreaker >= theirs {
                refuse(message, on: path, code: 487, reason: "Role Conflict", key: key)
                return false
            }
            switchRole()
        case .controlled:
            guard let theirs = message.uint64(.iceControlled) else { return true }
            statistics.roleConflictCount += 1
            if tieBreaker < theirs {
                refuse(message, on: path, code: 487, reason: "Role Conflict", key: key)
                return false
            }
            switchRole()
        }
        return true
    }

    private func switchRole() {
        role = role == .controlling ? .controlled : .controlling
        sortPairs()
    }

    private func answer(_ message: borrowing STUNMessage, on path: TransmitPath, key: [UInt8]) {
        var writer = STUNWriter(.success, transactionID: message.transactionID)
        writer.addXORMappedAddress(path.remote)
        unsafe transmits.append(writer.finish(key: key).span.bytes, to: path)
        if let pair = pairs.first(where: { $0.path == path }) {
            pair.requestsReceived += 1
            pair.responsesSent += 1
        }
    }

    private func refuse(_ message: borrowing STUNMessage, on path: TransmitPath, code: Int, reason: String, key: [UInt8]?) {
        var writer = STUNWriter(.error, transactionID: message.transactionID)
        writer.addErrorCode(code, reason: reason)
        if code == 420 {
            writer.add(.unknownAttributes, message.unknownAttributes.flatMap { [UInt8($0.rawValue >> 8), UInt8($0.rawValue & 255)] })
        }
        unsafe transmits.append(writer.finish(key: key).span.bytes, to: path)
    }

    /// A check of the peer arrived: the pair exists, is tried from this side too, and may be nominated.
    /// RFC 8445 §7.3.1.3 to §7.3.1.5
    func handleCheck(on path: TransmitPath, priority: UInt32, isNomination: Bool, at now: Instant) {
        guard let local = locals.first(where: { $0.port == path.port && $0.candidate.kind == .host }) else { return }
        let remote: ICECandidate
        if let known = remotes.first(where: { $0.address == path.remote }) {
            remote = known
        } else {
            guard remotes.count < ICEConfiguration.remoteCandidateLimit else { return }
            remote = ICECandidate(
                foundation: random.alphanumerics(8), priority: max(1, priority), address: path.remote, kind: .prflx)
            remotes.append(remote)
        }
        guard let pair = addPair(local, remote) else { return }
        if role == .controlled && isNomination {
            pair.isNominatedByPeer = true
            if pair.state == .succeeded { nominate(pair, at: now) }
        }
        switch pair.state {
        case .succeeded: break
        case .inProgress:
            // A check that has just left may well arrive: only an older one is repeated.
            guard let check = pair.check, check.sentAt + configuration.pacing <= now else { return }
            trigger(pair)
        case .waiting, .failed: trigger(pair)
        }
    }

    private func trigger(_ pair: CandidatePair) {
        if !triggered.contains(where: { $0 === pair }) { triggered.append(pair) }
    }

    private func receiveResponse(_ message: borrowing STUNMessage, on path: TransmitPath, at now: Instant) {
        if let index = gathers.firstIndex(where: { $0.transactionID == message.transactionID && $0.path == path }) {
            let gather = gathers.remove(at: index)
            if message.messageClass == .success, let address = message.xorMappedAddress { addServerReflexive(address, of: gather) }
            return tellIfGatheringIsComplete()
        }
        guard let remoteCredentials else {
            statistics.strayResponseCount += 1
            return
        }
        let key = Array(remoteCredentials.password.utf8)
        if let index = consent?.pending.firstIndex(where: { $0.id == message.transactionID }) {
            return receiveConsent(message, index: index, key: key, path: path, at: now)
        }
        guard let pair = checks[message.transactionID], let check = pair.check, check.transactionID == message.transactionID
        else {
            statistics.strayResponseCount += 1
            return
        }
        // RFC 8445 §7.2.5.2.1: an answer from elsewhere fails the pair.
        guard pair.path == path else { return fail(pair) }
        if message.messageClass == .error {
            checks[message.transactionID] = nil
            pair.check = nil
            if message.errorCode == 487, message.isAuthentic(key: key) {
                statistics.roleConflictCount += 1
                switchRole()
                pair.state = .waiting
                return trigger(pair)
            }
            return fail(pair)
        }
        guard message.isAuthentic(key: key) else {
            statistics.unauthenticCount += 1
            return
        }
        checks[message.transactionID] = nil
        pair.check = nil
        pair.responsesReceived += 1
        pair.didMeasure(now - check.sentAt)
        pair.state = .succeeded
        if let mapped = message.xorMappedAddress, mapped != pair.local.address { learnPeerReflexive(mapped, of: pair) }
        if state == .failed || state == .disconnected || state == .checking || state == .new { setState(.connected) }
        if check.isNomination || (role == .controlled && pair.isNominatedByPeer) {
            nominate(pair, at: now)
        } else if selectedPair.map({ !$0.isNominated || !pairs.contains($0) }) ?? true {
            selectBestWorkingPair(at: now)
        }
    }

    /// RFC 8445 §7.2.5.3.1
    private func learnPeerReflexive(_ address: TransportAddress, of pair: CandidatePair) {
        if let known = locals.first(where: { $0.candidate.address == address }) {
            pair.local = known.candidate
            return
        }
        pair.local = ICECandidate(
            foundation: random.alphanumerics(8),
            priority: ICECandidate.priority(
                kind: .prflx, localPreference: UInt16(truncatingIfNeeded: pair.local.priority >> 8)),
            address: address, kind: .prflx, relatedAddress: pair.local.address)
    }

    private func fail(_ pair: CandidatePair) {
        if let check = pair.check { checks[check.transactionID] = nil }
        pair.check = nil
        if pair.state != .succeeded { pair.state = .failed }
    }

    // MARK: Selection

    private func selectBestWorkingPair(at now: Instant) {
        guard let best = pairs.first(where: { $0.state == .succeeded && !($0 === selectedPair && $0.isNominated && remoteCredentials == nil) })
        else { return }
        select(best, at: now)
    }

    private func nominate(_ pair: CandidatePair, at now: Instant) {
        pair.isNominated = true
        nominateAt = nil
        // The controlled side follows the best nominated pair (RFC 8445 §8.1.1).
        if role == .controlled, let current = selectedPair, current.isNominated, current !== pair, pairs.contains(current),
            current.priority(role: role) > pair.priority(role: role)
        { return }
        select(pair, at: now)
        if hasAllLocals && gathers.isEmpty { setState(.completed) }
    }

    private func select(_ pair: CandidatePair, at now: Instant) {
        guard selectedPair !== pair else { return }
        selectedPair = pair
        if previousCredentials != nil { pairs = pairs.filter { $0 === pair || $0.remote.usernameFragment == pair.remote.usernameFragment || $0.state != .succeeded } }
        consent = Consent(pairID: pair.id, lastResponseAt: now, nextRequestAt: now + consentDelay())
        events.append(.selectedPathChanged(pair.path, local: pair.local, remote: pair.remote))
    }

    // MARK: Sending

    func send(_ gather: Gather) {
        var writer = STUNWriter(.request, transactionID: gather.transactionID)
        unsafe transmits.append(writer.finish(key: nil).span.bytes, to: gather.path)
    }

    /// Sends one check on a pair. RFC 8445 §7.2.2
    func sendCheck(_ pair: CandidatePair, isNomination: Bool, at now: Instant) {
        if let old = pair.check { checks[old.transactionID] = nil }
        let id = STUNTransactionID(random: random)
        pair.check = CandidatePair.Check(
            transactionID: id, isNomination: isNomination, attempts: 1, sentAt: now,
            retransmitAt: now + configuration.initialTimeout, timeout: configuration.initialTimeout)
        checks[id] = pair
        if pair.state != .succeeded { pair.state = .inProgress }
        transmitCheck(pair, id: id, isNomination: isNomination)
    }

    func transmitCheck(_ pair: CandidatePair, id: STUNTransactionID, isNomination: Bool) {
        guard let remoteCredentials else { return }
        var writer = STUNWriter(.request, transactionID: id)
        writer.add(.username, "\(remoteCredentials.usernameFragment):\(localCredentials.usernameFragment)")
        writer.add(role == .controlling ? .iceControlling : .iceControlled, tieBreaker)
        // What this side would be to the peer as a peer-reflexive candidate (RFC 8445 §7.1.1).
        writer.add(.priority, ICECandidate.priority(
            kind: .prflx, localPreference: UInt16(truncatingIfNeeded: pair.local.priority >> 8)))
        if isNomination { writer.add(.useCandidate) }
        pair.requestsSent += 1
        unsafe transmits.append(writer.finish(key: Array(remoteCredentials.password.utf8)).span.bytes, to: pair.path)
    }
}
