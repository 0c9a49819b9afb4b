import STUN
import SansIO

/// Data between clients and peers.
///
/// A datagram is copied once, into the transmit queue, behind the header that it leaves with; trains of equal length stay
/// trains.
extension TURNServer {
    // MARK: From clients

    /// Relays what came along a channel.
    ///
    /// RFC 8656 §12.6
    func receiveChannelData(_ bytes: RawSpan, _ client: TransmitPath, at now: Instant) {
        let number = bytes.uint16(at: 0)
        let end = TURNFraming.channelHeaderByteCount + Int(bytes.uint16(at: 2))
        // Whatever follows is padding.
        guard end <= bytes.byteCount else {
            statistics.dropped.malformed += 1
            return
        }
        guard let allocation = allocation(of: client, at: now) else {
            statistics.dropped.unbound += 1
            return
        }
        // A loop over indices: `first(where:)` allocates in debug builds.
        for index in 0..<allocation.channels.count where allocation.channels[index].number == number {
            guard now < allocation.channels[index].expiry else { break }
            let data = bytes.extracting(TURNFraming.channelHeaderByteCount..<end)
            return relay(data, allocation, to: allocation.channels[index].peer, at: now)
        }
        statistics.dropped.unbound += 1
    }

    /// Relays what came in an indication.
    ///
    /// RFC 8656 §11.2
    func receiveSend(_ message: STUNMessage, _ bytes: RawSpan, _ client: TransmitPath, at now: Instant) {
        // DONT-FRAGMENT is not understood, so such an indication is discarded (RFC 8489 §6.3.2).
        let unknown = message.unknownRequired { $0 == .xorPeerAddress || $0 == .data }
        guard unknown.isEmpty, let peer = message.xorAddress(.xorPeerAddress, in: bytes),
            let data = message.attribute(.data)
        else {
            statistics.dropped.malformed += 1
            return
        }
        guard let allocation = allocation(of: client, at: now) else {
            statistics.dropped.unbound += 1
            return
        }
        guard allocation.permits(peer.ip, at: now), peer.port != 0 else {
            statistics.dropped.forbidden += 1
            return
        }
        relay(bytes.extracting(data.offset..<(data.offset + data.byteCount)), allocation, to: peer, at: now)
    }

    private func allocation(of client: TransmitPath, at now: Instant) -> TURNAllocation? {
        if let recent, recent.client == client, recent.isOpen(at: now) { return recent }
        guard let found = allocations[client], found.isOpen(at: now) else { return nil }
        recent = found
        return found
    }

    // MARK: To peers

    private func relay(_ data: RawSpan, _ allocation: TURNAllocation, to peer: TransportAddress, at now: Instant) {
        guard data.byteCount > 0 else {
            statistics.dropped.unsendable += 1
            return
        }
        guard mayRelay(data.byteCount, allocation, at: now) else { return }
        // Another client's relayed address: handed over here. That saves two system calls, works behind NATs that do not
        // lead back to themselves, and no other service of this machine is reached by its own address.
        if relayIPs.contains(peer.ip) {
            if let other = relayed[peer], case .open(let source, _) = allocation.state {
                statistics.datagramsToPeers += 1
                return deliver(data, from: source, to: other, at: now)
            }
            guard policy.permits(peer.ip) else {
                statistics.dropped.forbidden += 1
                return
            }
        }
        // Never to this server itself, whatever is open.
        guard !listeningPorts.contains(peer.port) || !policy.own.contains(peer.ip) else {
            statistics.dropped.forbidden += 1
            return
        }
        statistics.datagramsToPeers += 1
        transmits.append(data, to: TransmitPath(port: allocation.relay, remote: peer))
    }

    // MARK: From peers

    /// Hands on what came to a relayed address.
    ///
    /// RFC 8656 §11.3
    func receiveFromPeer(_ datagram: RawSpan, _ peer: TransportAddress, on relay: PortID, at now: Instant) {
        guard let allocation = relays[relay], allocation.isOpen(at: now) else {
            statistics.dropped.unbound += 1
            return
        }
        deliver(datagram, from: TransportAddress(peer.ip.withoutScope, port: peer.port), to: allocation, at: now)
    }

    private func deliver(_ data: RawSpan, from peer: TransportAddress, to allocation: TURNAllocation, at now: Instant) {
        guard allocation.isOpen(at: now) else {
            statistics.dropped.unbound += 1
            return
        }
        if allocation.isStream, streams[allocation.client.port]?.isBlocked ?? true {
            statistics.dropped.blocked += 1
            return
        }
        for index in 0..<allocation.channels.count where allocation.channels[index].peer == peer {
            guard now < allocation.channels[index].expiry else { break }
            // A channel outlasts its permission, which is what lets the peer through (RFC 8656 §12).
            guard now < allocation.channels[index].permissionExpiry else {
                statistics.dropped.forbidden += 1
                return
            }
            // Counted last: who has no permission uses up nothing of what the client may have relayed.
            guard mayRelay(data.byteCount, allocation, at: now) else { return }
            return deliver(data, channel: allocation.channels[index].number, to: allocation)
        }
        guard allocation.permits(peer.ip, at: now) else {
            statistics.dropped.forbidden += 1
            return
        }
        guard mayRelay(data.byteCount, allocation, at: now) else { return }
        deliver(data, indicating: peer, to: allocation)
    }

    private func deliver(_ data: RawSpan, channel number: UInt16, to allocation: TURNAllocation) {
        let header = TURNFraming.channelHeaderByteCount
        let isPadded = allocation.isStream
        let capacity = header + data.byteCount + (isPadded ? TURNFraming.maximumPadding : 0)
        guard data.byteCount <= Int(UInt16.max) else {
            statistics.dropped.unsendable += 1
            return
        }
        unsafe transmits.append(to: allocation.client, capacity: capacity) { target in
            unsafe data.withUnsafeBytes { unsafe target[header...].copyBytes(from: $0) }
            return unsafe TURNFraming.frameChannelData(
                target,
                number: number,
                byteCount: data.byteCount,
                isPadded: isPadded
            )
        }
        statistics.datagramsToClients += 1
    }

    private func deliver(_ data: RawSpan, indicating peer: TransportAddress, to allocation: TURNAllocation) {
        let header = TURNFraming.indicationHeaderByteCount(peer.ip)
        guard header + data.byteCount + TURNFraming.maximumPadding <= Self.maximumMessageByteCount else {
            statistics.dropped.unsendable += 1
            return
        }
        let id = STUNTransactionID(random: random)
        unsafe transmits.append(
            to: allocation.client,
            capacity: header + data.byteCount + TURNFraming.maximumPadding
        ) { target in
            unsafe data.withUnsafeBytes { unsafe target[header...].copyBytes(from: $0) }
            return unsafe TURNFraming.frameIndication(target, .data, id, peer: peer, byteCount: data.byteCount)
        }
        statistics.datagramsToClients += 1
    }

    private func mayRelay(_ byteCount: Int, _ allocation: TURNAllocation, at now: Instant) -> Bool {
        guard allocation.mayRelay(byteCount, bytesPerSecond: configuration.limits.bytesPerSecond, at: now) else {
            statistics.dropped.overRate += 1
            return false
        }
        allocation.relayedByteCount += byteCount
        return true
    }

    /// The longest STUN message, which is more than UDP carries.
    private static let maximumMessageByteCount = 65_535
}
