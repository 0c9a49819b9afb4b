import STUN
package import SansIO

/// One allocation on one TURN server, over one UDP socket or one stream.
///
/// Confined to the engine's event loop. Messages go into the shared `TransmitQueue` along `server`; for a stream
/// `server.port` names the connection, whose bytes are the queue's datagrams in their order. Any number of inputs
/// may precede a drain of `nextEvent()`; afterwards `nextDeadline` lies behind the last `now` or is nil.
///
/// What it does: Allocate with long-term credentials, Refresh, permissions, channels, Send and Data indications,
/// ChannelData. What it leaves to others: sockets, TLS, names, other servers (`TURNEvent.redirected`), which peers
/// are worth a channel. MESSAGE-INTEGRITY-SHA256 and USERHASH are not offered: servers in the field take SHA-1.
///
/// Files: `+Responses`, `+Requests`, `+Datagrams` (the hot path), `+Timers`.
/// RFC 8656, RFC 8489 §9.2 (long-term credentials)
package final class TURNClient {
    let configuration: TURNConfiguration
    /// Socket or stream, and the server's address.
    package let server: TransmitPath
    package let transport: TURNTransport
    let credentials: TURNCredentials?
    let transmits: TransmitQueue
    let random: RandomSource

    package internal(set) var state = TURNState.idle
    package internal(set) var statistics = TURNStatistics()
    package private(set) var nextDeadline: Deadline?

    /// What the next request is signed with; nil until the server has asked for it.
    var authentication: TURNAuthentication?
    var requests: [TURNRequest] = []
    var permissions: [TURNPermission] = []
    var channels: [TURNChannel] = []
    /// What waits for permissions, oldest first.
    var queued = RingQueue<TURNQueuedDatagram>()
    var queuedByteCount = 0
    var timers = TimerTable<TURNTimer>()
    /// When something went to the server last.
    var lastTransmission = Instant(nanoseconds: 0)
    /// Refreshes in a row that a stream brought no answer to.
    var unansweredRefreshCount = 0
    private var reader = TURNStreamReader()
    private var nextChannelNumber = TURNFraming.channelNumbers.lowerBound
    private var events: [TURNEvent] = []
    private var nextEventIndex = 0

    /// Makes a client that does nothing yet.
    ///
    /// - Parameters:
    ///   - configuration: address family and intervals; the defaults are right.
    ///   - server: along which messages go; no other client may use the same socket to the same server.
    ///   - transport: whether `server.port` names a UDP socket or a stream.
    ///   - credentials: the user; nil for servers that ask for none.
    ///   - transmits: takes the client's messages.
    ///   - random: source of transaction identifiers.
    package init(
        configuration: TURNConfiguration = TURNConfiguration(),
        server: TransmitPath,
        transport: TURNTransport,
        credentials: TURNCredentials?,
        transmits: TransmitQueue,
        random: RandomSource
    ) {
        self.configuration = configuration
        self.server = server
        self.transport = transport
        self.credentials = credentials
        self.transmits = transmits
        self.random = random
    }

    // MARK: Inputs

    /// Takes a datagram of the socket.
    ///
    /// - Parameters:
    ///   - datagram: the whole of it.
    ///   - remote: whence it came.
    ///   - port: the socket.
    ///   - now: the present.
    /// - Returns: where a peer's datagram lies in it, or whether the client knew it for its own.
    package func receive(
        _ datagram: RawSpan,
        from remote: TransportAddress,
        on port: PortID,
        at now: Instant
    ) -> TURNInput {
        guard transport == .datagram, port == server.port, remote.isSameEndpoint(as: server.remote) else {
            statistics.dropped.wrongAddress += 1
            return .dropped
        }
        return receiveMessage(datagram, at: now)
    }

    /// Takes bytes of the stream, cut anywhere.
    ///
    /// What is no TURN ends the client.
    ///
    /// - Parameters:
    ///   - bytes: what follows the bytes of the last call.
    ///   - now: the present.
    ///   - body: gets each peer's datagram with the peer's address; it may call commands of the client.
    package func receive(
        stream bytes: RawSpan,
        at now: Instant,
        _ body: (_ peer: TransportAddress, _ datagram: RawSpan) -> Void
    ) {
        guard isOpen else {
            statistics.dropped.outsideAllocation += 1
            return
        }
        // Taken out meanwhile, since `body` may come back.
        var reader = self.reader
        self.reader = TURNStreamReader()
        let isIntact = reader.read(bytes) { frame in
            if case .data(let peer, let range) = receiveMessage(frame, at: now) {
                body(peer, frame.extracting(range))
            }
        }
        self.reader = reader
        guard !isIntact else { return }
        statistics.dropped.malformed += 1
        handleConnectionLost(at: now)
    }

    /// Takes note that the stream has ended, or could not be opened.
    package func handleConnectionLost(at now: Instant) {
        guard isOpen else { return }
        if case .closing = state { end(.closed, .closed) } else { fail(.connectionLost) }
        settle(at: now)
    }

    /// Does what is due.
    ///
    /// Calling early does no harm.
    package func handleTimeout(at now: Instant) { settle(at: now) }

    // MARK: Commands

    /// Asks for an allocation, once.
    package func allocate(at now: Instant) {
        guard state == .idle else { return }
        state = .allocating
        submit(.allocate, at: now)
        settle(at: now)
    }

    /// Lets peers at `ip` through, and keeps it so.
    ///
    /// `send` does so by itself. Does nothing unless there is an allocation.
    package func addPermission(for ip: IPAddress, at now: Instant) {
        guard case .allocated(let allocation) = state else { return }
        let ip = ip.withoutScope
        if !ensurePermission(for: ip, allocation, at: now) { emit(.permissionRefused(ip, .notAsked)) }
        settle(at: now)
    }

    /// Lets a permission end by itself: the server has no way to take it back at once.
    package func releasePermission(for ip: IPAddress, at now: Instant) {
        let ip = ip.withoutScope
        guard let index = permissions.firstIndex(where: { $0.ip == ip }) else { return }
        permissions[index].isKept = false
        settle(at: now)
    }

    /// Lets all permissions end by themselves but those of peers that have a channel, which needs them.
    package func releasePermissions(at now: Instant) {
        guard case .allocated = state else { return }
        for index in permissions.indices {
            let ip = permissions[index].ip
            if !channels.contains(where: { $0.isKept && $0.peer.ip == ip }) { permissions[index].isKept = false }
        }
        settle(at: now)
    }

    /// Binds a channel to a peer, and a permission to its IP address, and keeps both.
    ///
    /// 4 bytes precede each datagram then, instead of 36. Does nothing unless there is an allocation.
    package func bindChannel(to peer: TransportAddress, at now: Instant) {
        guard case .allocated(let allocation) = state else { return }
        let peer = peer.withoutScope
        if let index = channels.firstIndex(where: { $0.peer == peer }) {
            // The same number again: the server holds on to it, and refuses another for this peer.
            channels[index].isKept = true
            if !channels[index].isBound(at: now), !isRequested(.channel(peer)) { submit(.channel(peer), at: now) }
        } else if peer.port != 0, channels.count < TURNLimits.channels,
            ensurePermission(for: peer.ip, allocation, at: now),
            let number = takeChannelNumber()
        {
            channels.append(TURNChannel(number: number, peer: peer))
            submit(.channel(peer), at: now)
        } else {
            emit(.channelRefused(peer, .notAsked))
        }
        settle(at: now)
    }

    /// Lets a channel end by itself; datagrams use it until then.
    package func releaseChannel(to peer: TransportAddress, at now: Instant) {
        let peer = peer.withoutScope
        guard let index = channels.firstIndex(where: { $0.peer == peer }) else { return }
        channels[index].isKept = false
        settle(at: now)
    }

    /// Deletes the allocation; `closed` follows within `TURNConfiguration.closeTimeout`.
    package func close(at now: Instant) {
        switch state {
        case .idle: end(.closed, .closed)
        case .allocating:
            // The server may have allocated already: its answer is awaited, then that is deleted.
            state = .closing(until: now + configuration.closeTimeout)
        case .allocated:
            forgetAll()
            state = .closing(until: now + configuration.closeTimeout)
            submit(.delete, at: now)
        case .closing, .redirected, .failed, .closed: return
        }
        settle(at: now)
    }

    // MARK: Outputs

    package func nextEvent() -> TURNEvent? {
        guard nextEventIndex < events.count else {
            if nextEventIndex > 0 {
                events.removeAll(keepingCapacity: true)
                nextEventIndex = 0
            }
            return nil
        }
        defer { nextEventIndex += 1 }
        return events[nextEventIndex]
    }

    /// Where peers send to; nil without an allocation.
    package var relayedAddress: TransportAddress? {
        if case .allocated(let allocation) = state { allocation.relayed } else { nil }
    }

    // MARK: Shared by the extensions

    /// Neither ended nor idle.
    var isOpen: Bool {
        switch state {
        case .allocating, .allocated, .closing: true
        case .idle, .redirected, .failed, .closed: false
        }
    }

    func emit(_ event: TURNEvent) {
        // The owner drains after each batch; an owner that never does must not fill the memory.
        guard events.count - nextEventIndex < TURNLimits.events else { return }
        events.append(event)
    }

    func fail(_ error: TURNError) { end(.failed(error), .failed(error)) }

    func end(_ final: TURNState, _ event: TURNEvent) {
        forgetAll()
        reader = TURNStreamReader()
        state = final
        emit(event)
    }

    /// Asks for a permission unless it was asked for already, and keeps it.
    ///
    /// - Returns: false if the address is of the other family or the limit is reached.
    func ensurePermission(for ip: IPAddress, _ allocation: TURNAllocation, at now: Instant) -> Bool {
        if let index = permissions.firstIndex(where: { $0.ip == ip }) {
            permissions[index].isKept = true
            return true
        }
        guard ip.isIPv4 == allocation.relayed.ip.isIPv4 else { return false }
        if permissions.count >= TURNLimits.permissions, let released = permissions.firstIndex(where: \.isReplaceable) {
            permissions.remove(at: released)
        }
        guard permissions.count < TURNLimits.permissions else { return false }
        permissions.append(TURNPermission(ip: ip, state: .requested))
        submit(.permission(ip), at: now)
        return true
    }

    func setDeadline(_ deadline: Deadline?) { nextDeadline = deadline }

    private func forgetAll() {
        requests = []
        permissions = []
        channels = []
        queued = RingQueue()
        queuedByteCount = 0
    }

    /// One number after the other, so that none returns to another peer while the server remembers it.
    private func takeChannelNumber() -> UInt16? {
        for _ in TURNFraming.channelNumbers {
            let number = nextChannelNumber
            let numbers = TURNFraming.channelNumbers
            nextChannelNumber = number == numbers.upperBound ? numbers.lowerBound : number + 1
            if !channels.contains(where: { $0.number == number }) { return number }
        }
        return nil
    }
}

/// What a datagram from the server's address was.
package enum TURNInput: Hashable, Sendable {
    /// A peer's datagram, which lies in this range of the bytes given.
    case data(from: TransportAddress, Range<Int>)
    /// A message for the client itself.
    case handled
    /// Nothing of this client's: counted.
    case dropped
}

extension IPAddress {
    /// As a server knows it: scopes mean nothing on another host.
    var withoutScope: IPAddress { isIPv4 || scopeID == 0 ? self : IPAddress(v6High: high, v6Low: low) }
}

extension TransportAddress {
    /// As a server knows it.
    var withoutScope: TransportAddress { TransportAddress(ip.withoutScope, port: port) }
}
