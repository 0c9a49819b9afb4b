import STUN
import SansIO

/// Allocations, permissions, channels.
extension TURNServer {
    // MARK: Allocate

    /// Makes an allocation, whose answer waits for its socket.
    ///
    /// RFC 8656 §7.2
    func allocate(_ request: TURNServerRequest, _ bytes: RawSpan, _ user: TURNUser, at now: Instant) {
        let message = request.message
        if let allocation = allocations[request.client] { return repeatAnswer(allocation, request, user) }
        guard let transport = message.uint32(.requestedTransport, in: bytes) else {
            return refuse(request, .badRequest, user)
        }
        guard transport >> 24 == Self.protocolUDP else { return refuse(request, .unsupportedTransport, user) }
        let family = message.attribute(.requestedAddressFamily)
        let evenPort = message.attribute(.evenPort)
        let wantsNextPort = evenPort.map { $0.byteCount > 0 && bytes.uint8(at: $0.offset) >> 7 == 1 } ?? false
        let additional = message.attribute(.additionalAddressFamily)
        if message.contains(.reservationToken) {
            guard evenPort == nil, family == nil, additional == nil,
                message.uint64(.reservationToken, in: bytes) != nil
            else { return refuse(request, .badRequest, user) }
            // None is ever given out, so none is valid.
            return refuse(request, .insufficientCapacity, user)
        }
        guard family == nil || additional == nil else { return refuse(request, .badRequest, user) }
        if additional != nil {
            let family = message.uint32(.additionalAddressFamily, in: bytes).map { $0 >> 24 }
            guard family == Self.familyIPv6, !wantsNextPort else { return refuse(request, .badRequest, user) }
        }
        var wantsIPv6 = false
        if family != nil {
            guard let value = message.uint32(.requestedAddressFamily, in: bytes) else {
                return refuse(request, .badRequest, user)
            }
            guard value >> 24 == Self.familyIPv4 || value >> 24 == Self.familyIPv6 else {
                return refuse(request, .addressFamilyNotSupported, user)
            }
            wantsIPv6 = value >> 24 == Self.familyIPv6
        }
        guard evenPort.map({ $0.byteCount == 1 }) ?? true else { return refuse(request, .badRequest, user) }
        // The next port is not reserved for a second allocation: what cannot be satisfied is refused so (RFC 8656 §7.2).
        guard !wantsNextPort else { return refuse(request, .insufficientCapacity, user) }
        guard let address = configuration.relays.first(where: { $0.local.isIPv4 == !wantsIPv6 }) else {
            return refuse(request, .addressFamilyNotSupported, user)
        }
        let limits = configuration.limits
        guard allocationsPerUser[user.name, default: 0] < limits.allocationsPerUser,
            allocationsPerHost[request.client.remote.ip.host, default: 0] < limits.allocationsPerHost
        else { return refuse(request, .allocationQuotaReached, user) }
        let ofFamily = allocationsPerRelay[address.local, default: 0]
        guard allocations.count < limits.allocations, ofFamily < limits.allocationsPerFamily ?? limits.allocations
        else {
            return refuse(request, .insufficientCapacity, user)
        }
        let lifetime = Self.lifetime(message.uint32(.lifetime, in: bytes))
        let allocation = TURNAllocation(
            client: request.client,
            isStream: request.stream != nil,
            relay: takeRelayID(),
            relayAddress: address,
            user: user,
            request: TURNAllocateRequest(
                transactionID: message.transactionID,
                hasFingerprint: message.hasFingerprint,
                wantsSecondFamily: additional != nil,
                lifetime: lifetime
            ),
            nonce: message.bytes(.nonce, in: bytes) ?? [],
            requests: TokenBucket(requestRate, at: now),
            expiry: now + .seconds(Int64(lifetime)),
            allowance: limits.bytesPerSecond ?? 0,
            at: now
        )
        allocations[request.client] = allocation
        relays[allocation.relay] = allocation
        allocationsPerUser[user.name, default: 0] += 1
        allocationsPerHost[request.client.remote.ip.host, default: 0] += 1
        allocationsPerRelay[address.local, default: 0] += 1
        request.stream?.idleUntil = nil
        expire(by: allocation.expiry)
        command(.openRelay(allocation.relay, at: address.local, isEven: evenPort != nil))
    }

    /// Answers an Allocate on a five-tuple that has an allocation.
    ///
    /// RFC 8656 §7.2: the same request again is answered the same, and any other with 437.
    private func repeatAnswer(_ allocation: TURNAllocation, _ request: TURNServerRequest, _ user: TURNUser) {
        guard allocation.request.transactionID == request.message.transactionID, allocation.user == user else {
            return refuse(request, .allocationMismatch, user)
        }
        // While the socket is being opened, the answer will come.
        if case .open(_, let answer) = allocation.state { send(answer, request.client, request.stream) }
    }

    /// The socket is there.
    func completeAllocation(_ relay: PortID, _ local: TransportAddress, at now: Instant) {
        guard let allocation = relays[relay] else {
            // It ended meanwhile.
            return command(.closeRelay(relay))
        }
        guard case .opening = allocation.state else { return }
        let told = TransportAddress(allocation.relayAddress.told, port: local.port)
        var writer = STUNMessageWriter(.success, .allocate, allocation.request.transactionID)
        writer.add(.xorRelayedAddress, xor: told)
        writer.add(.lifetime, allocation.request.lifetime)
        writer.add(.xorMappedAddress, xor: allocation.client.remote)
        if allocation.request.wantsSecondFamily {
            writer.addAddressError(family: UInt8(Self.familyIPv6), .addressFamilyNotSupported)
        }
        let answer = writer.finish(key: allocation.user.key, fingerprint: allocation.request.hasFingerprint)
        allocation.state = .open(relayed: told, answer: answer)
        relayed[told] = allocation
        relayed[TransportAddress(allocation.relayAddress.local, port: local.port)] = allocation
        emit(.allocated(user: allocation.user.name, client: allocation.client.remote, relayed: told))
        send(answer, allocation.client, streams[allocation.client.port])
    }

    /// There is no socket.
    func refuseAllocation(_ relay: PortID, at now: Instant) {
        guard let allocation = relays[relay] else { return }
        if case .opening = allocation.state {
            var writer = STUNMessageWriter(.failure, .allocate, allocation.request.transactionID)
            writer.add(.insufficientCapacity)
            statistics.errors += 1
            send(
                writer.finish(key: allocation.user.key, fingerprint: allocation.request.hasFingerprint),
                allocation.client,
                streams[allocation.client.port]
            )
        }
        end(allocation, .failed, at: now)
    }

    func end(_ allocation: TURNAllocation, _ reason: TURNAllocationEnd, at now: Instant? = nil) {
        allocations[allocation.client] = nil
        relays[allocation.relay] = nil
        if case .open(let told, _) = allocation.state {
            relayed[told] = nil
            relayed[TransportAddress(allocation.relayAddress.local, port: told.port)] = nil
        }
        if recent === allocation { recent = nil }
        Self.decrement(&allocationsPerUser, allocation.user.name)
        Self.decrement(&allocationsPerHost, allocation.client.remote.ip.host)
        Self.decrement(&allocationsPerRelay, allocation.relayAddress.local)
        if let stream = streams[allocation.client.port] {
            let idleUntil = (now ?? allocation.expiry) + configuration.limits.idleStream
            stream.idleUntil = idleUntil
            expire(by: idleUntil)
        }
        command(.closeRelay(allocation.relay))
        emit(
            .ended(
                user: allocation.user.name,
                client: allocation.client.remote,
                reason,
                relayedBytes: allocation.relayedByteCount
            )
        )
    }

    private static func decrement<Key>(_ counts: inout [Key: Int], _ key: Key) {
        counts[key, default: 1] -= 1
        if counts[key] == 0 { counts[key] = nil }
    }

    // MARK: Refresh

    /// Prolongs an allocation, or deletes it.
    ///
    /// RFC 8656 §8.2
    func refresh(_ request: TURNServerRequest, _ bytes: RawSpan, _ user: TURNUser, at now: Instant) {
        guard let allocation = openAllocation(request, user, at: now) else { return }
        let message = request.message
        if message.contains(.requestedAddressFamily) {
            let family = allocation.isIPv4 ? Self.familyIPv4 : Self.familyIPv6
            guard message.uint32(.requestedAddressFamily, in: bytes).map({ $0 >> 24 }) == family else {
                return refuse(request, .peerAddressFamilyMismatch, user)
            }
        }
        let asked = message.uint32(.lifetime, in: bytes)
        guard asked != 0 else {
            answer(request, user) { $0.add(.lifetime, UInt32(0)) }
            return end(allocation, .deleted, at: now)
        }
        let lifetime = Self.lifetime(asked)
        allocation.expiry = now + .seconds(Int64(lifetime))
        expire(by: allocation.expiry)
        answer(request, user) { $0.add(.lifetime, lifetime) }
    }

    // MARK: Permissions, channels

    /// RFC 8656 §10.2: all the addresses of a request, or none.
    func createPermissions(_ request: TURNServerRequest, _ bytes: RawSpan, _ user: TURNUser, at now: Instant) {
        guard let allocation = openAllocation(request, user, at: now) else { return }
        var ips: [IPAddress] = []
        for attribute in request.message.attributes where attribute.type == .xorPeerAddress {
            guard let peer = request.message.xorAddress(attribute, in: bytes) else {
                return refuse(request, .badRequest, user)
            }
            if let code = refusal(of: peer.ip, allocation) { return refuse(request, code, user) }
            ips.append(peer.ip)
        }
        guard !ips.isEmpty else { return refuse(request, .badRequest, user) }
        let limit = configuration.limits.permissions
        let additionCount = Set(ips).count { !allocation.permits($0, at: now) }
        let keptCount = allocation.permissions.values.count { now < $0 }
        guard keptCount + additionCount <= limit else { return refuse(request, .insufficientCapacity, user) }
        for ip in ips { _ = allocation.permit(ip, limit: limit, at: now) }
        answer(request, user) { _ in }
    }

    /// Binds a channel, and lets its peer through.
    ///
    /// RFC 8656 §12.2
    func bindChannel(_ request: TURNServerRequest, _ bytes: RawSpan, _ user: TURNUser, at now: Instant) {
        guard let allocation = openAllocation(request, user, at: now) else { return }
        guard let value = request.message.uint32(.channelNumber, in: bytes),
            let peer = request.message.xorAddress(.xorPeerAddress, in: bytes), peer.port != 0
        else { return refuse(request, .badRequest, user) }
        let number = UInt16(truncatingIfNeeded: value >> 16)
        // Deviates from RFC 8656 §12, which ends at 0x4FFF: clients of RFC 5766, coturn's among them, choose up to 0x7FFF.
        guard TURNFraming.formerChannelNumbers.contains(number) else { return refuse(request, .badRequest, user) }
        if let code = refusal(of: peer.ip, allocation) { return refuse(request, code, user) }
        allocation.channels.removeAll { $0.expiry <= now }
        let known = allocation.channels.firstIndex { $0.number == number || $0.peer == peer }
        if let known {
            let channel = allocation.channels[known]
            guard channel.number == number, channel.peer == peer else { return refuse(request, .badRequest, user) }
        } else if allocation.channels.count >= configuration.limits.channels {
            return refuse(request, .insufficientCapacity, user)
        }
        guard allocation.permit(peer.ip, limit: configuration.limits.permissions, at: now) else {
            return refuse(request, .insufficientCapacity, user)
        }
        let channel = TURNServerChannel(
            number: number,
            peer: peer,
            expiry: now + TURNServerLimits.channelLifetime,
            permissionExpiry: now + TURNServerLimits.permissionLifetime
        )
        if let known { allocation.channels[known] = channel } else { allocation.channels.append(channel) }
        answer(request, user) { _ in }
    }

    /// Why a peer may not be relayed to; nil if it may.
    private func refusal(of ip: IPAddress, _ allocation: TURNAllocation) -> STUNErrorCode? {
        guard ip.isIPv4 == allocation.isIPv4 else { return .peerAddressFamilyMismatch }
        // Two clients of this server reach each other by their relayed addresses, and those alone: see `relay`.
        return relayIPs.contains(ip) || policy.permits(ip) ? nil : .forbidden
    }

    /// The allocation that a request is about; nil once it was refused.
    private func openAllocation(_ request: TURNServerRequest, _ user: TURNUser, at now: Instant) -> TURNAllocation? {
        guard let allocation = allocations[request.client], allocation.isOpen(at: now) else {
            refuse(request, .allocationMismatch, user)
            return nil
        }
        return allocation
    }

    // MARK: Numbers

    private static func lifetime(_ asked: UInt32?) -> UInt32 {
        let range = TURNServerLimits.lifetimes
        return min(max(asked ?? range.lowerBound, range.lowerBound), range.upperBound)
    }

    /// REQUESTED-TRANSPORT's value for UDP (RFC 8656 §18.7).
    private static let protocolUDP: UInt32 = 17
    /// Values of REQUESTED-ADDRESS-FAMILY (RFC 8656 §18.6).
    private static let familyIPv4: UInt32 = 1
    private static let familyIPv6: UInt32 = 2
}
