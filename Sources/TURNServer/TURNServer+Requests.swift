import STUN
import SansIO

/// The gate: what is answered, and to whom.
extension TURNServer {
    func receiveFromClient(_ bytes: RawSpan, _ client: TransmitPath, stream: TURNServerStream?, at now: Instant) {
        guard bytes.byteCount >= TURNFraming.channelHeaderByteCount else {
            statistics.dropped.malformed += 1
            return
        }
        if TURNFraming.formerChannelNumbers.contains(bytes.uint16(at: 0)) {
            return receiveChannelData(bytes, client, at: now)
        }
        let message: STUNMessage
        do {
            message = try STUNMessage(bytes)
        } catch {
            statistics.dropped.malformed += 1
            return
        }
        switch message.messageClass {
        case .request:
            receive(TURNServerRequest(message: message, client: client, stream: stream), bytes, at: now)
        case .indication where message.method == .send: receiveSend(message, bytes, client, at: now)
        // Responses are never answered, so that no two servers can be made to talk to each other; a Binding indication
        // only keeps a NAT open.
        case .indication, .success, .failure: statistics.dropped.unexpected += 1
        }
    }

    private func receive(_ request: TURNServerRequest, _ bytes: RawSpan, at now: Instant) {
        statistics.requests += 1
        // A stream's handshake has proven its address: nobody else's datagrams count against it.
        guard request.stream?.requests.take(requestRate, at: now) ?? true else {
            statistics.dropped.requestsOverRate += 1
            return
        }
        let message = request.message
        switch message.method {
        case .binding: bind(request, bytes, at: now)
        case .allocate, .refresh, .createPermission, .channelBind:
            guard let user = authenticate(request, bytes, at: now) else { return }
            let unknown = message.unknownRequired { Self.isKnown($0, in: message.method) }
            guard unknown.isEmpty else {
                return refuse(request, .unknownAttribute, user) { $0.add(unknown: unknown) }
            }
            switch message.method {
            case .allocate: allocate(request, bytes, user, at: now)
            case .refresh: refresh(request, bytes, user, at: now)
            case .createPermission: createPermissions(request, bytes, user, at: now)
            default: bindChannel(request, bytes, user, at: now)
            }
        default: statistics.dropped.unexpected += 1
        }
    }

    // MARK: Binding

    /// Tells the client its address.
    ///
    /// The answer has what was asked for and nothing else: 12 bytes more than the least request, for IPv4.
    /// RFC 8489 §6.3.1.1, §12
    private func bind(_ request: TURNServerRequest, _ bytes: RawSpan, at now: Instant) {
        guard mayAnswer(request, &bindings, at: now) else { return }
        let unknown = request.message.unknownRequired { Self.isKnown($0, in: .binding) }
        guard unknown.isEmpty else {
            return refuse(request, .unknownAttribute, nil) { $0.add(unknown: unknown) }
        }
        answer(request, nil) { $0.add(.xorMappedAddress, xor: request.client.remote) }
    }

    // MARK: Authentication

    /// Who asks; nil once a challenge or a refusal was sent.
    ///
    /// RFC 8489 §9.2.4. The nonce is looked at first: only who gets what is sent to its address has a fresh one, and
    /// nobody else costs more than that look.
    private func authenticate(_ request: TURNServerRequest, _ bytes: RawSpan, at now: Instant) -> TURNUser? {
        let message = request.message
        let ip = request.client.remote.ip.withoutScope
        func challenge(_ code: STUNErrorCode) {
            refuse(request, code, nil) {
                $0.add(.realm, text: configuration.realm)
                $0.add(.nonce, nonces.nonce(for: ip, at: now))
            }
        }
        guard message.hasIntegrity else {
            if mayAnswer(request, &challenges, at: now) { challenge(.unauthenticated) }
            return nil
        }
        guard let username = message.bytes(.username, in: bytes), message.contains(.realm),
            let nonce = message.bytes(.nonce, in: bytes)
        else {
            if mayAnswer(request, &challenges, at: now) { refuse(request, .badRequest, nil) }
            return nil
        }
        let allocation = allocations[request.client]
        // Compared before any code is computed. Nobody else can show it, so who only forges the five-tuple, which peers
        // may know from candidates, does not use up what the allocation's client may ask.
        let isAllocations = allocation?.nonce == nonce
        guard mayAsk(request, isAllocations ? allocation : nil, at: now) else { return nil }
        guard nonces.isFresh(nonce, for: ip, at: now) else {
            if isAllocations || mayAnswer(request, &challenges, at: now) { challenge(.staleNonce) }
            return nil
        }
        // From here on the address is proven: the nonce was sent there, and nowhere else.
        if !isAllocations, request.stream == nil { _ = askers.take(ip, at: now) }
        // An allocation goes on beyond its credentials' time, as with coturn: a long call has no other.
        if let allocation, allocation.user.username == username {
            guard message.isAuthentic(bytes, key: allocation.user.key) else {
                challenge(.unauthenticated)
                return nil
            }
            allocation.nonce = nonce
            return allocation.user
        }
        guard username.count <= TURNServerLimits.usernameByteCount, let user = user(username, at: now),
            message.isAuthentic(bytes, key: user.key)
        else {
            challenge(.unauthenticated)
            return nil
        }
        // RFC 8656 §5: "If the credentials do not match those of the allocation: 441".
        if allocation != nil, message.method != .allocate {
            refuse(request, .wrongCredentials, user)
            return nil
        }
        return user
    }

    private func user(_ username: [UInt8], at now: Instant) -> TURNUser? {
        let text = String(decoding: username, as: UTF8.self)
        guard let (expiry, name) = TURNSharedSecret.parts(of: text),
            expiry > now.nanoseconds / 1_000_000_000 + unixOffsetSeconds
        else { return nil }
        let key = STUNKey(
            username: text,
            realm: configuration.realm,
            password: configuration.secret.password(of: text)
        )
        return TURNUser(username: username, name: name, key: key)
    }

    /// Whether a client may ask once more, before its integrity is computed: right or wrong costs the same.
    ///
    /// The allocation given is that whose nonce was shown.
    private func mayAsk(_ request: TURNServerRequest, _ allocation: TURNAllocation?, at now: Instant) -> Bool {
        // Streams were counted at the gate.
        if request.stream != nil { return true }
        // A host's allowance is only looked at: it is taken of once the nonce is known to be good.
        let may =
            allocation?.requests.take(requestRate, at: now) ?? askers.allows(request.client.remote.ip, at: now)
        if !may { statistics.dropped.requestsOverRate += 1 }
        return may
    }

    // MARK: Answers

    /// Whether an answer may go to where a request by UDP that proves nothing seems to come from; counts it.
    ///
    /// That may be somebody else's address, forged so that the answers go there.
    private func mayAnswer(_ request: TURNServerRequest, _ limiter: inout AddressRateLimiter, at now: Instant) -> Bool {
        if request.stream != nil { return true }
        guard limiter.take(request.client.remote.ip, at: now) else {
            statistics.dropped.rateLimited += 1
            return false
        }
        return true
    }

    func answer(_ request: TURNServerRequest, _ user: TURNUser?, _ attributes: (inout STUNMessageWriter) -> Void) {
        var writer = STUNMessageWriter(.success, request.message.method, request.message.transactionID)
        attributes(&writer)
        send(writer.finish(key: user?.key, fingerprint: request.message.hasFingerprint), request.client, request.stream)
    }

    func refuse(
        _ request: TURNServerRequest,
        _ code: STUNErrorCode,
        _ user: TURNUser?,
        _ attributes: (inout STUNMessageWriter) -> Void = { _ in }
    ) {
        statistics.errors += 1
        if let user { emit(.refused(user: user.name, client: request.client.remote, code.rawValue)) }
        var writer = STUNMessageWriter(.failure, request.message.method, request.message.transactionID)
        writer.add(code)
        attributes(&writer)
        send(writer.finish(key: user?.key, fingerprint: request.message.hasFingerprint), request.client, request.stream)
    }

    func send(_ message: [UInt8], _ client: TransmitPath, _ stream: TURNServerStream?) {
        if let stream, stream.isBlocked {
            stream.answersWhileBlocked += 1
            guard stream.answersWhileBlocked <= configuration.limits.answersToBlockedStream else {
                statistics.dropped.blocked += 1
                return close(stream)
            }
        }
        // The span borrows the array for this one call.
        unsafe transmits.append(message.span.bytes, to: client)
    }

    // MARK: Attributes

    /// Whether an attribute that must be understood is, in requests of a method.
    ///
    /// DONT-FRAGMENT is not: "If the server does not support it, it MUST be treated as an unknown attribute"
    /// (RFC 8656 §7.2).
    private static func isKnown(_ type: STUNAttributeType, in method: STUNMethod) -> Bool {
        switch type {
        case .username, .realm, .nonce, .messageIntegrity, .messageIntegritySHA256, .userhash, .passwordAlgorithm: true
        case .requestedTransport, .evenPort, .reservationToken: method == .allocate
        case .requestedAddressFamily, .lifetime: method == .allocate || method == .refresh
        case .xorPeerAddress: method == .createPermission || method == .channelBind
        case .channelNumber: method == .channelBind
        default: false
        }
    }
}

/// A request, and whence it came.
struct TURNServerRequest {
    let message: STUNMessage
    let client: TransmitPath
    let stream: TURNServerStream?
}
