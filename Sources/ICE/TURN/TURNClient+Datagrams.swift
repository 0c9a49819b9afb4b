import STUN
package import SansIO

/// Datagrams from and to peers.
extension TURNClient {
    // MARK: From peers

    /// Takes one message or one ChannelData message with its padding.
    func receiveMessage(_ bytes: RawSpan, at now: Instant) -> TURNInput {
        guard isOpen else {
            statistics.dropped.outsideAllocation += 1
            return .dropped
        }
        guard bytes.byteCount >= TURNFraming.channelHeaderByteCount else {
            statistics.dropped.malformed += 1
            return .dropped
        }
        if TURNFraming.channelNumbers.contains(bytes.uint16(at: 0)) { return receiveChannelData(bytes, at: now) }
        let message: STUNMessage
        do {
            message = try STUNMessage(bytes)
        } catch {
            statistics.dropped.malformed += 1
            return .dropped
        }
        switch message.messageClass {
        case .success, .failure: return receiveResponse(message, bytes, at: now)
        case .indication where message.method == .data: return receiveDataIndication(message, bytes)
        case .indication, .request:
            statistics.dropped.unexpected += 1
            return .dropped
        }
    }

    private func receiveChannelData(_ bytes: RawSpan, at now: Instant) -> TURNInput {
        let number = bytes.uint16(at: 0)
        let end = TURNFraming.channelHeaderByteCount + Int(bytes.uint16(at: 2))
        // Whatever follows is padding, which a sender may add over UDP, too (RFC 8656 §12.5).
        guard end <= bytes.byteCount else {
            statistics.dropped.truncatedChannelData += 1
            return .dropped
        }
        // Those not confirmed yet count, too: "Over UDP, it is possible for the client to receive ChannelData
        // messages from the server before it receives a ChannelBind success response" (RFC 8656 §12).
        for index in 0..<channels.count
        where channels[index].number == number && (channels[index].isKept || channels[index].isBound(at: now)) {
            statistics.channelDataReceived += 1
            return .data(from: channels[index].peer, TURNFraming.channelHeaderByteCount..<end)
        }
        statistics.dropped.unknownChannels += 1
        return .dropped
    }

    private func receiveDataIndication(_ message: STUNMessage, _ bytes: RawSpan) -> TURNInput {
        let unknown = message.unknownRequired { $0 == .xorPeerAddress || $0 == .data }
        guard unknown.isEmpty, let peer = message.xorAddress(.xorPeerAddress, in: bytes),
            let data = message.attribute(.data)
        else {
            statistics.dropped.malformed += 1
            return .dropped
        }
        // RFC 8656 §11.4: those of peers without a permission "SHOULD" be discarded. One that is asked for counts,
        // since the server's answer may come later than the peer's datagram.
        let isPermitted = permissions.contains { permission in
            guard permission.ip == peer.ip else { return false }
            if case .refused = permission.state { return false }
            return true
        }
        guard isPermitted else {
            statistics.dropped.forbiddenPeers += 1
            return .dropped
        }
        statistics.indicationsReceived += 1
        return .data(from: peer, data.offset..<(data.offset + data.byteCount))
    }

    // MARK: To peers

    /// Sends a datagram to a peer.
    ///
    /// It leaves as ChannelData if a channel is bound, else as a Send indication. Without a permission one is asked
    /// for, and the indication follows right behind the request, whose answer would cost a round trip; a copy waits for
    /// the answer, and leaves then if the server cannot have permitted the first.
    ///
    /// - Parameters:
    ///   - datagram: copied once, into the transmit queue.
    ///   - peer: where the server relays it to.
    ///   - now: the present.
    /// - Returns: what became of it.
    @discardableResult
    package func send(_ datagram: RawSpan, to peer: TransportAddress, at now: Instant) -> TURNSendResult {
        unsafe send(to: peer, capacity: datagram.byteCount, at: now) { target in
            unsafe datagram.withUnsafeBytes { unsafe target.copyMemory(from: $0) }
            return datagram.byteCount
        }
    }

    /// Lets `write` write a datagram for a peer in place, behind the header that it leaves with.
    ///
    /// - Parameters:
    ///   - peer: where the server relays it to.
    ///   - capacity: most bytes that `write` writes.
    ///   - now: the present.
    ///   - write: fills the buffer and returns the datagram's length; less than 0 abandons it.
    /// - Returns: what became of it.
    @discardableResult
    package func send(
        to peer: TransportAddress,
        capacity: Int,
        at now: Instant,
        _ write: (UnsafeMutableRawBufferPointer) -> Int
    ) -> TURNSendResult {
        guard case .allocated(let allocation) = state else {
            statistics.dropped.notAllocated += 1
            return .dropped
        }
        let peer = peer.withoutScope
        // Loops over indices, here and below: `first(where:)` allocates in debug builds.
        for index in 0..<channels.count where channels[index].peer == peer && channels[index].isBound(at: now) {
            return unsafe sendChannelData(channels[index].number, capacity: capacity, at: now, write)
        }
        guard peer.port != 0, peer.ip.isIPv4 == allocation.relayed.ip.isIPv4 else {
            statistics.dropped.unsendable += 1
            return .dropped
        }
        switch permissionState(of: peer.ip) {
        case .installed: return unsafe sendIndication(to: peer, capacity: capacity, at: now, write)
        case .refused:
            statistics.dropped.refusedPeers += 1
            return .dropped
        case .requested: return unsafe enqueue(for: peer, capacity: capacity, at: now, write)
        case nil:
            guard ensurePermission(for: peer.ip, allocation, at: now) else {
                statistics.dropped.limited += 1
                return .dropped
            }
            settle(at: now)
            return unsafe enqueue(for: peer, capacity: capacity, at: now, write)
        }
    }

    private func permissionState(of ip: IPAddress) -> TURNPermission.State? {
        for index in 0..<permissions.count where permissions[index].ip == ip { return permissions[index].state }
        return nil
    }

    /// Sends what waited for a permission, or forgets it if what went ahead was permitted.
    func sendQueued(to ip: IPAddress, wasSentAhead: Bool, at now: Instant) {
        for _ in 0..<queued.count {
            guard let datagram = queued.popFirst() else { return }
            guard datagram.peer.ip == ip else {
                queued.append(datagram)
                continue
            }
            queuedByteCount -= datagram.bytes.count
            guard !wasSentAhead else { continue }
            // The span borrows the array for this one call.
            unsafe send(datagram.bytes.span.bytes, to: datagram.peer, at: now)
        }
    }

    private func sendChannelData(
        _ number: UInt16,
        capacity: Int,
        at now: Instant,
        _ write: (UnsafeMutableRawBufferPointer) -> Int
    ) -> TURNSendResult {
        let isPadded = transport == .stream
        let header = TURNFraming.channelHeaderByteCount
        let padding = isPadded ? TURNFraming.maximumPadding : 0
        let isSent = unsafe transmit(header: header, capacity: capacity, padding: padding, at: now, write) {
            unsafe TURNFraming.frameChannelData($0, number: number, byteCount: $1, isPadded: isPadded)
        }
        guard isSent else { return .dropped }
        statistics.channelDataSent += 1
        return .sent
    }

    @discardableResult
    private func sendIndication(
        to peer: TransportAddress,
        capacity: Int,
        at now: Instant,
        _ write: (UnsafeMutableRawBufferPointer) -> Int
    ) -> TURNSendResult {
        let id = STUNTransactionID(random: random)
        let header = TURNFraming.indicationHeaderByteCount(peer.ip)
        let padding = TURNFraming.maximumPadding
        let isSent = unsafe transmit(header: header, capacity: capacity, padding: padding, at: now, write) {
            unsafe TURNFraming.frameIndication($0, .send, id, peer: peer, byteCount: $1)
        }
        guard isSent else { return .dropped }
        statistics.indicationsSent += 1
        return .sent
    }

    /// Lets `write` write behind a header, and `frame` the header and the padding.
    ///
    /// - Returns: whether it leaves.
    private func transmit(
        header: Int,
        capacity: Int,
        padding: Int,
        at now: Instant,
        _ write: (UnsafeMutableRawBufferPointer) -> Int,
        frame: (_ target: UnsafeMutableRawBufferPointer, _ byteCount: Int) -> Int
    ) -> Bool {
        guard (0...Self.maximumDatagramByteCount).contains(capacity) else {
            statistics.dropped.unsendable += 1
            return false
        }
        var isAbandoned = false
        let isQueued = unsafe transmits.append(to: server, capacity: header + capacity + padding) { target in
            let byteCount = unsafe write(
                UnsafeMutableRawBufferPointer(rebasing: target[header..<(header + capacity)])
            )
            isAbandoned = byteCount < 0
            return unsafe isAbandoned ? 0 : frame(target, min(byteCount, capacity))
        }
        if isQueued { lastTransmission = now } else if !isAbandoned { statistics.dropped.limited += 1 }
        return isQueued
    }

    private func enqueue(
        for peer: TransportAddress,
        capacity: Int,
        at now: Instant,
        _ write: (UnsafeMutableRawBufferPointer) -> Int
    ) -> TURNSendResult {
        guard (0...Self.maximumDatagramByteCount).contains(capacity) else {
            statistics.dropped.unsendable += 1
            return .dropped
        }
        guard queued.count < TURNLimits.queuedDatagrams, queuedByteCount + capacity <= TURNLimits.queuedBytes else {
            statistics.dropped.limited += 1
            return .dropped
        }
        var isAbandoned = false
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
            let written = unsafe write(UnsafeMutableRawBufferPointer(buffer))
            isAbandoned = written < 0
            count = max(0, min(written, capacity))
        }
        guard !isAbandoned else { return .dropped }
        queued.append(TURNQueuedDatagram(peer: peer, bytes: bytes))
        queuedByteCount += bytes.count
        unsafe sendIndication(to: peer, capacity: bytes.count, at: now) { target in
            unsafe target.copyBytes(from: bytes)
            return bytes.count
        }
        return .queued
    }

    /// What a UDP datagram over IPv4 has room for behind the longest header, 48 bytes and 3 of padding.
    package static let maximumDatagramByteCount = 65_456
}

/// What became of a datagram.
package enum TURNSendResult: Hashable, Sendable {
    /// It is in the transmit queue.
    case sent
    /// It left behind the request for a permission, and waits for that.
    case queued
    /// It is lost, and counted.
    case dropped
}
