import STUN
package import SansIO

/// A STUN and TURN server, without its sockets.
///
/// Confined to one event loop. Listening sockets and streams are named by the owner, relays' sockets by the server, from
/// `firstRelay` on. What is sent goes into `transmits`, along a listener, a stream or a relay. Any number of inputs may
/// precede a drain of `nextCommand()` and `nextEvent()`; afterwards `nextDeadline` lies behind the last `now` or is nil.
///
/// Files: `+Requests` (the gate: who asks, how often), `+Allocations`, `+Datagrams` (the hot path).
/// RFC 8656, RFC 8489
package final class TURNServer {
    let configuration: TURNServerConfiguration
    let transmits: TransmitQueue
    let random: RandomSource
    let nonces: NonceIssuer
    /// Answers to Binding requests by UDP.
    var bindings: AddressRateLimiter
    /// Answers by UDP to other requests without a good nonce.
    var challenges: AddressRateLimiter
    /// Requests by UDP with a good nonce, and not for an allocation of that nonce.
    var askers: AddressRateLimiter
    /// How often somebody may ask whose address is proven.
    let requestRate: TokenRate

    package internal(set) var statistics = TURNServerStatistics()

    /// By five-tuple.
    var allocations: [TransmitPath: TURNAllocation] = [:]
    /// By the relay's socket.
    var relays: [PortID: TURNAllocation] = [:]
    /// By the address that clients were told, and by the socket's own.
    var relayed: [TransportAddress: TURNAllocation] = [:]
    var streams: [PortID: TURNServerStream] = [:]
    var allocationsPerUser: [String: Int] = [:]
    var allocationsPerHost: [IPAddress: Int] = [:]
    /// By what the relay is bound to, of which a family has one.
    var allocationsPerRelay: [IPAddress: Int] = [:]
    private var streamsPerHost: [IPAddress: Int] = [:]
    /// Ports on which the server itself is listening.
    var listeningPorts: Set<UInt16> = []
    /// Which peers may be relayed to.
    var policy: PeerAddressPolicy
    /// Addresses at which it relays, as bound and as told.
    let relayIPs: Set<IPAddress>
    /// The allocation that a client's datagram was for last: they come in trains.
    var recent: TURNAllocation?
    /// From the monotonic clock to Unix time.
    var unixOffsetSeconds: Int64 = 0

    private var nextRelay = TURNServer.firstRelay.rawValue
    private var nextExpiry: Instant?
    private var commands: [TURNServerCommand] = []
    private var nextCommandIndex = 0
    private var events: [TURNServerEvent] = []
    private var nextEventIndex = 0

    /// The first socket that the server names.
    package static let firstRelay = PortID(rawValue: 1 << 32)

    /// Makes a server that nobody can reach yet.
    ///
    /// - Parameters:
    ///   - configuration: realm, secret, addresses, limits.
    ///   - transmits: takes what it sends.
    ///   - random: source of nonces' key and transaction identifiers.
    package init(configuration: TURNServerConfiguration, transmits: TransmitQueue, random: RandomSource) {
        self.configuration = configuration
        self.transmits = transmits
        self.random = random
        nonces = NonceIssuer(lifetime: configuration.nonceLifetime, random: random)
        let limits = configuration.limits
        bindings = AddressRateLimiter(limits.bindingRate, hostLimit: limits.countedHosts)
        challenges = AddressRateLimiter(limits.challengeRate, hostLimit: limits.countedHosts)
        requestRate = limits.requestRate
        askers = AddressRateLimiter(limits.requestRate, hostLimit: limits.countedHosts)
        let relayIPs = Set(configuration.relays.flatMap { [$0.local, $0.told] })
        self.relayIPs = relayIPs
        policy = configuration.policy
        policy.own.formUnion(relayIPs)
    }

    // MARK: Inputs

    /// Takes note of a port that the server is listening on: nothing is relayed to it.
    package func addListener(on port: UInt16) { listeningPorts.insert(port) }

    /// Tells the addresses of the machine, which change.
    package func setOwnAddresses(_ addresses: Set<IPAddress>) { policy.own = addresses.union(relayIPs) }

    /// Tells what time it is for people: credentials end by it.
    ///
    /// Now and then is enough, as clocks are set.
    package func setWallClock(unixSeconds: Int64, at now: Instant) {
        unixOffsetSeconds = unixSeconds - now.nanoseconds / 1_000_000_000
    }

    /// Takes a datagram of a listening socket or of a relay's.
    package func receive(_ datagram: RawSpan, from remote: TransportAddress, on port: PortID, at now: Instant) {
        if port.rawValue >= Self.firstRelay.rawValue {
            receiveFromPeer(datagram, remote, on: port, at: now)
        } else {
            receiveFromClient(datagram, TransmitPath(port: port, remote: remote), stream: nil, at: now)
        }
        settle(at: now)
    }

    /// Takes a stream of a client, TCP's or TLS's.
    ///
    /// - Returns: false if there are too many; then the owner closes it.
    package func openStream(_ port: PortID, from client: TransportAddress, at now: Instant) -> Bool {
        let limits = configuration.limits
        let host = client.ip.host
        guard streams.count < limits.streams, streamsPerHost[host, default: 0] < limits.streamsPerHost else {
            statistics.refusedStreams += 1
            return false
        }
        streamsPerHost[host, default: 0] += 1
        streams[port] = TURNServerStream(
            client: TransmitPath(port: port, remote: client),
            idleUntil: now + limits.idleStream,
            requests: TokenBucket(requestRate, at: now)
        )
        expire(by: now + limits.idleStream)
        settle(at: now)
        return true
    }

    /// Takes bytes of a stream, cut anywhere.
    package func receive(stream bytes: RawSpan, on port: PortID, at now: Instant) {
        guard let stream = streams[port], !stream.isClosing else { return }
        // Taken out meanwhile, so that nothing writes to it while it reads.
        var reader = stream.reader
        stream.reader = TURNStreamReader(channelNumbers: TURNFraming.formerChannelNumbers)
        let isIntact = reader.read(bytes) { frame in
            guard !stream.isClosing else { return }
            receiveFromClient(frame, stream.client, stream: stream, at: now)
        }
        stream.reader = reader
        if !isIntact {
            statistics.dropped.malformed += 1
            close(stream)
        }
        settle(at: now)
    }

    /// Takes note that a stream takes no more for now, or does again.
    package func setStream(_ port: PortID, isBlocked: Bool) {
        guard let stream = streams[port] else { return }
        stream.isBlocked = isBlocked
        if !isBlocked { stream.answersWhileBlocked = 0 }
    }

    /// Takes note that a stream has ended; so does its allocation.
    package func closeStream(_ port: PortID, at now: Instant) {
        guard let stream = streams.removeValue(forKey: port) else { return }
        let host = stream.client.remote.ip.host
        streamsPerHost[host, default: 1] -= 1
        if streamsPerHost[host] == 0 { streamsPerHost[host] = nil }
        if let allocation = allocations[stream.client] { end(allocation, .streamEnded) }
        settle(at: now)
    }

    /// Takes note that a relay's socket is open.
    package func didOpenRelay(_ relay: PortID, at local: TransportAddress, now: Instant) {
        completeAllocation(relay, local, at: now)
        settle(at: now)
    }

    /// Takes note that a relay's socket cannot be had.
    package func relayFailed(_ relay: PortID, at now: Instant) {
        refuseAllocation(relay, at: now)
        settle(at: now)
    }

    /// Does what is due.
    ///
    /// Calling early does no harm.
    package func handleTimeout(at now: Instant) { settle(at: now) }

    /// Deletes all allocations.
    package func close() {
        for allocation in Array(allocations.values) { end(allocation, .closed) }
        nextExpiry = nil
    }

    // MARK: Outputs

    package func nextCommand() -> TURNServerCommand? {
        guard nextCommandIndex < commands.count else {
            commands.removeAll(keepingCapacity: true)
            nextCommandIndex = 0
            return nil
        }
        defer { nextCommandIndex += 1 }
        return commands[nextCommandIndex]
    }

    package func nextEvent() -> TURNServerEvent? {
        guard nextEventIndex < events.count else {
            events.removeAll(keepingCapacity: true)
            nextEventIndex = 0
            return nil
        }
        defer { nextEventIndex += 1 }
        return events[nextEventIndex]
    }

    package var nextDeadline: Deadline? { nextExpiry.map { Deadline($0, "TURN server's expiry") } }

    package var allocationCount: Int { allocations.count }
    package var streamCount: Int { streams.count }

    // MARK: Shared by the extensions

    func command(_ command: TURNServerCommand) { commands.append(command) }

    func emit(_ event: TURNServerEvent) {
        // The owner drains after each batch; an owner that never does must not fill the memory.
        guard events.count - nextEventIndex < TURNServerLimits.events else { return }
        events.append(event)
    }

    func takeRelayID() -> PortID {
        defer { nextRelay += 1 }
        return PortID(rawValue: nextRelay)
    }

    /// Looks again at that time at the latest.
    func expire(by instant: Instant) { nextExpiry = nextExpiry.map { min($0, instant) } ?? instant }

    func close(_ stream: TURNServerStream) {
        guard !stream.isClosing else { return }
        stream.isClosing = true
        command(.closeStream(stream.client.port))
    }

    /// Ends what is over.
    private func settle(at now: Instant) {
        guard let due = nextExpiry, due <= now else { return }
        for allocation in Array(allocations.values) where allocation.expiry <= now {
            end(allocation, .expired, at: now)
        }
        for stream in streams.values where !stream.isClosing {
            if let idleUntil = stream.idleUntil, idleUntil <= now { close(stream) }
        }
        let expiries = allocations.values.map(\.expiry)
        let idles = streams.values.compactMap { $0.isClosing ? nil : $0.idleUntil }
        nextExpiry = (expiries + idles).min()
    }
}

/// One TCP or TLS connection of a client.
final class TURNServerStream {
    let client: TransmitPath
    var reader = TURNStreamReader(channelNumbers: TURNFraming.formerChannelNumbers)
    var isBlocked = false
    var isClosing = false
    var answersWhileBlocked = 0
    /// When it is closed; nil while it has an allocation.
    var idleUntil: Instant?
    /// How often its client may ask.
    var requests: TokenBucket

    init(client: TransmitPath, idleUntil: Instant, requests: TokenBucket) {
        self.client = client
        self.idleUntil = idleUntil
        self.requests = requests
    }
}

/// What the owner of sockets is to do.
package enum TURNServerCommand: Hashable, Sendable {
    /// Bind a UDP socket, to an even port if that is wanted, and say so by `didOpenRelay` or `relayFailed`.
    case openRelay(PortID, at: IPAddress, isEven: Bool)
    case closeRelay(PortID)
    /// Close a stream, and say so by `closeStream` as of any other that ends.
    case closeStream(PortID)
}

/// What happens, for logs.
package enum TURNServerEvent: Hashable, Sendable {
    case allocated(user: String, client: TransportAddress, relayed: TransportAddress)
    case ended(user: String, client: TransportAddress, TURNAllocationEnd, relayedBytes: Int)
    /// A user who authenticated itself got an error.
    case refused(user: String, client: TransportAddress, UInt16)
}

/// Why an allocation is no more.
package enum TURNAllocationEnd: Hashable, Sendable {
    case expired, deleted, streamEnded, failed, closed
}

/// What a server counts.
package struct TURNServerStatistics: Hashable, Sendable {
    package var requests = 0
    package var errors = 0
    package var refusedStreams = 0
    package var datagramsToPeers = 0
    package var datagramsToClients = 0
    package var dropped = TURNServerDropCounts()

    package init() {}
}

/// What a server let fall, by reason.
package struct TURNServerDropCounts: Hashable, Sendable {
    /// No STUN and no ChannelData, or cut off.
    package var malformed = 0
    /// Responses, indications other than Send, methods of other protocols.
    package var unexpected = 0
    /// Requests by UDP that prove nothing, beyond what the host that they seem to come from is answered.
    package var rateLimited = 0
    /// Requests beyond what a client may ask whose address is proven.
    package var requestsOverRate = 0
    /// Data outside an allocation or along a channel that is not bound.
    package var unbound = 0
    /// Data to or from peers without a permission, or to an address that is out of bounds.
    package var forbidden = 0
    /// Data that a stream did not take.
    package var blocked = 0
    /// Data beyond an allocation's rate.
    package var overRate = 0
    /// Data too long for a message, or empty.
    package var unsendable = 0

    /// Each reason by its name here.
    package var byReason: [(name: String, count: Int)] {
        [
            ("malformed", malformed), ("unexpected", unexpected), ("rateLimited", rateLimited),
            ("requestsOverRate", requestsOverRate), ("unbound", unbound), ("forbidden", forbidden),
            ("blocked", blocked), ("overRate", overRate), ("unsendable", unsendable),
        ]
    }
}
