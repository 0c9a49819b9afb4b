import STUN
import SansIO

/// Answers of the server.
extension TURNClient {
    /// Takes a response, if it answers a request of ours and is authentic.
    func receiveResponse(_ message: STUNMessage, _ bytes: RawSpan, at now: Instant) -> TURNInput {
        guard let index = requests.firstIndex(where: { $0.transaction.id == message.transactionID }),
            requests[index].purpose.method == message.method
        else {
            statistics.dropped.unknownTransactions += 1
            return .dropped
        }
        let code = message.messageClass == .failure ? message.errorCode(in: bytes) : nil
        guard isAcceptable(message, bytes, code: code, for: requests[index]) else {
            // As if it had never come: the right one may follow (RFC 8489 §9.2.5).
            statistics.dropped.unauthenticResponses += 1
            return .dropped
        }
        let request = requests.remove(at: index)
        statistics.responsesReceived += 1
        unansweredRefreshCount = 0
        if !message.unknownRequired(besides: Self.isKnown).isEmpty {
            // RFC 8489 §6.3.3: "the response is discarded and the transaction is considered to have failed".
            refuse(request, .malformedResponse, at: now)
        } else if message.messageClass == .success {
            succeed(request, message, bytes, at: now)
        } else if let code {
            let reason = message.errorReason(in: bytes) ?? ""
            switch code {
            case .unauthenticated, .staleNonce: authenticate(request, code, reason, message, bytes, at: now)
            case .tryAlternate where request.purpose == .allocate: redirect(message, bytes)
            default: refuse(request, .refused(code, reason: reason), at: now)
            }
        } else {
            refuse(request, .malformedResponse, at: now)
        }
        settle(at: now)
        return .handled
    }

    /// Draws the conclusions of a request that failed.
    func refuse(_ request: TURNRequest, _ error: TURNError, at now: Instant) {
        if case .closing = state {
            if request.purpose == .delete || request.purpose == .allocate { end(.closed, .closed) }
            return
        }
        guard case .allocated(var allocation) = state, !error.meansAllocationIsGone else {
            fail(error)
            return
        }
        switch request.purpose {
        case .allocate, .delete: break
        case .refresh:
            if error == .timeout, transport == .stream {
                unansweredRefreshCount += 1
                // A stream that brings nothing for so long is dead, though nobody has said so: another may work.
                if unansweredRefreshCount >= TURNLimits.unansweredRefreshes { return fail(.connectionLost) }
            }
            allocation.refreshAt = retryInstant(error, at: now)
            state = .allocated(allocation)
            if allocation.refreshAt == nil { emit(.refreshRefused(error)) }
        case .permission(let ip): refusePermission(ip, error, at: now)
        case .channel(let peer): refuseChannel(peer, error, at: now)
        }
    }

    func refusePermission(_ ip: IPAddress, _ error: TURNError, at now: Instant) {
        guard let index = permissions.firstIndex(where: { $0.ip == ip }) else { return }
        if case .installed(let expiry, _) = permissions[index].state, now < expiry,
            let retry = retryInstant(error, at: now)
        {
            permissions[index].state = .installed(expiry: expiry, refreshAt: retry)
            return
        }
        permissions[index].state = .refused(until: now + configuration.retryInterval)
        queued.removeAll { datagram in
            guard datagram.peer.ip == ip else { return false }
            queuedByteCount -= datagram.bytes.count
            statistics.dropped.refusedPeers += 1
            return true
        }
        emit(.permissionRefused(ip, error))
    }

    private func refuseChannel(_ peer: TransportAddress, _ error: TURNError, at now: Instant) {
        guard let index = channels.firstIndex(where: { $0.peer == peer }) else { return }
        if channels[index].isBound(at: now) {
            if let retry = retryInstant(error, at: now) {
                channels[index].refreshAt = retry
                return
            }
            channels[index].isKept = false
        } else if error == .timeout {
            // The server may have bound it: this number stays with this peer for a while.
            channels[index].expiry = now
            channels[index].isKept = false
        } else {
            channels.remove(at: index)
        }
        emit(.channelRefused(peer, error))
    }

    /// When to try again what failed; nil if that is in vain.
    private func retryInstant(_ error: TURNError, at now: Instant) -> Instant? {
        switch error {
        case .timeout: now  // the request itself took its time
        case .refused(.serverError, _), .refused(.insufficientCapacity, _): now + configuration.retryInterval
        default: nil
        }
    }

    // MARK: Success

    private func succeed(_ request: TURNRequest, _ message: STUNMessage, _ bytes: RawSpan, at now: Instant) {
        let sentAt = request.transaction.firstSentAt
        switch (request.purpose, state) {
        case (.delete, _): end(.closed, .closed)
        case (.allocate, .closing): submit(.delete, at: now)
        case (.allocate, _): becomeAllocated(message, bytes, sentAt: sentAt, at: now)
        case (.refresh, .allocated(var allocation)):
            guard let lifetime = lifetime(message, bytes) else {
                fail(.expired)
                return
            }
            allocation.expiry = sentAt + lifetime
            allocation.refreshAt = refreshInstant(sentAt: sentAt, lifetime: lifetime, at: now)
            state = .allocated(allocation)
        case (.permission(let ip), .allocated): install(ip, by: request, at: now)
        case (.channel(let peer), .allocated):
            guard let index = channels.firstIndex(where: { $0.peer == peer }) else { return }
            let wasBound = channels[index].isBound(at: now)
            channels[index].expiry = sentAt + TURNLimits.channelLifetime
            channels[index].refreshAt = sentAt + configuration.channelRefresh
            if !wasBound { emit(.channelBound(peer)) }
            // "A ChannelBind transaction also creates or refreshes a permission towards the peer" (RFC 8656 §12.1).
            install(peer.ip, by: request, at: now)
        case (.refresh, _), (.permission, _), (.channel, _): break
        }
    }

    private func becomeAllocated(_ message: STUNMessage, _ bytes: RawSpan, sentAt: Instant, at now: Instant) {
        guard let relayed = message.xorAddress(.xorRelayedAddress, in: bytes), relayed.port != 0,
            !relayed.ip.isUnspecified, !relayed.ip.isMulticast, let lifetime = lifetime(message, bytes),
            relayed.ip.isIPv4 != configuration.wantsIPv6
        else {
            // "the client MUST delete the allocation" whose family is another (RFC 8656 §7.3).
            abandonAllocation(at: now)
            fail(.malformedResponse)
            return
        }
        let mapped = message.xorAddress(.xorMappedAddress, in: bytes)
        state = .allocated(
            TURNAllocation(
                relayed: relayed,
                mapped: mapped,
                expiry: sentAt + lifetime,
                refreshAt: refreshInstant(sentAt: sentAt, lifetime: lifetime, at: now)
            )
        )
        emit(.allocated(relayed: relayed, mapped: mapped))
    }

    private func install(_ ip: IPAddress, by request: TURNRequest, at now: Instant) {
        guard let index = permissions.firstIndex(where: { $0.ip == ip }) else { return }
        let wasInstalled = if case .installed = permissions[index].state { true } else { false }
        let sentAt = request.transaction.firstSentAt
        permissions[index].state = .installed(
            expiry: sentAt + TURNLimits.permissionLifetime,
            refreshAt: sentAt + configuration.permissionRefresh
        )
        guard !wasInstalled else { return }
        emit(.permissionInstalled(ip))
        // What followed a request that was granted at once found the permission there.
        let isFirstTry = request.staleCount == 0 && request.transaction.transmissionCount == 1
        let gotThrough = request.purpose == .permission(ip) && isFirstTry
        sendQueued(to: ip, wasSentAhead: gotThrough, at: now)
    }

    /// More than zero; nil if there is none.
    private func lifetime(_ message: STUNMessage, _ bytes: RawSpan) -> Duration? {
        guard let seconds = message.uint32(.lifetime, in: bytes), seconds > 0 else { return nil }
        return min(.seconds(Int64(seconds)), TURNLimits.lifetime)
    }

    /// A margin before the end, or in the middle of a short lifetime.
    ///
    /// A server that answers later than its lifetime's half is asked once a second.
    private func refreshInstant(sentAt: Instant, lifetime: Duration, at now: Instant) -> Instant {
        max(sentAt + max(lifetime - configuration.refreshMargin, lifetime / 2), now + .seconds(1))
    }

    // MARK: Credentials

    /// Whether a response may be believed.
    ///
    /// RFC 8489 §9.2.5: those to requests with integrity have it, except 401 and 438, which a server sends that
    /// knows no key.
    private func isAcceptable(
        _ message: STUNMessage,
        _ bytes: RawSpan,
        code: STUNErrorCode?,
        for request: TURNRequest
    ) -> Bool {
        guard let key = request.authentication?.key else { return true }
        return code == .unauthenticated || code == .staleNonce || message.isAuthentic(bytes, key: key)
    }

    /// Makes the request anew with what the server asks for, or gives it up.
    ///
    /// RFC 8489 §9.2.5
    private func authenticate(
        _ request: TURNRequest,
        _ code: STUNErrorCode,
        _ reason: String,
        _ message: STUNMessage,
        _ bytes: RawSpan,
        at now: Instant
    ) {
        guard let credentials else {
            refuse(request, .credentialsMissing, at: now)
            return
        }
        let old = request.authentication
        let realm = message.bytes(.realm, in: bytes) ?? old?.realm
        // The same realm again: it is the name or the password that is wrong.
        let isRefusal = code == .unauthenticated && old != nil && old?.realm == realm
        guard !isRefusal, request.staleCount < TURNLimits.staleNonces else {
            refuse(request, .refused(code, reason: reason), at: now)
            return
        }
        guard let realm, realm.count <= TURNLimits.textBytes, let nonce = message.bytes(.nonce, in: bytes),
            nonce.count <= TURNLimits.textBytes
        else {
            refuse(request, .malformedResponse, at: now)
            return
        }
        if authentication?.realm == realm {
            authentication?.nonce = nonce
        } else {
            let key = STUNKey(
                username: credentials.username,
                realm: String(decoding: realm, as: UTF8.self),
                password: credentials.password
            )
            authentication = TURNAuthentication(realm: realm, nonce: nonce, key: key)
        }
        if case .closing = state, request.purpose == .allocate {
            end(.closed, .closed)
        } else {
            submit(request.purpose, staleCount: request.staleCount + (old == nil ? 0 : 1), at: now)
        }
    }

    /// Ends with the address of the server to ask instead.
    ///
    /// RFC 8489 §10
    private func redirect(_ message: STUNMessage, _ bytes: RawSpan) {
        if case .closing = state { return end(.closed, .closed) }
        guard let address = message.address(.alternateServer, in: bytes), address.port != 0,
            !address.ip.isUnspecified, !address.ip.isMulticast, address.ip.isIPv4 == server.remote.ip.isIPv4
        else {
            fail(.malformedResponse)
            return
        }
        let domain = message.text(.alternateDomain, in: bytes)
        end(.redirected, .redirected(to: address, domain: domain.map { String($0.prefix(255)) }))
    }

    /// Attributes that a server may send and that need no attention, or get it here.
    private static func isKnown(_ type: STUNAttributeType) -> Bool {
        switch type {
        case .mappedAddress, .username, .messageIntegrity, .errorCode, .unknownAttributes, .channelNumber, .lifetime,
            .xorPeerAddress, .data, .realm, .nonce, .xorRelayedAddress, .requestedAddressFamily, .evenPort,
            .requestedTransport, .dontFragment, .messageIntegritySHA256, .passwordAlgorithm, .userhash,
            .xorMappedAddress, .reservationToken:
            true
        default: false
        }
    }
}
