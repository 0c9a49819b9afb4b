package import SansIO

/// The relayed addresses of one connection: an allocation for each server and socket, and for each a port of its own,
/// so that the machines above know no difference to a socket.
///
/// Confined to the engine's event loop. What clients send to their servers, also on behalf of the machines above, goes
/// into `wire`, along the paths of real sockets.
package final class RelayTable {
    /// A server that may relay, how, and as whom.
    package struct Server: Hashable, Sendable {
        package var address: TransportAddress
        package var transport: RelayTransport
        package var credentials: TURNCredentials?

        package init(address: TransportAddress, transport: RelayTransport = .udp, credentials: TURNCredentials?) {
            self.address = address
            self.transport = transport
            self.credentials = credentials
        }
    }

    /// One of this side's sockets, a UDP socket or a stream to the server.
    package struct Socket: Hashable, Sendable {
        package var port: PortID
        /// Its own address.
        package var base: TransportAddress
        /// Of its interface.
        package var preference: UInt16

        package init(port: PortID, base: TransportAddress, preference: UInt16) {
            self.port = port
            self.base = base
            self.preference = preference
        }
    }

    /// What the owner of streams has to do.
    package enum StreamCommand: Hashable, Sendable {
        /// No client uses the stream any more.
        case close(PortID)
        /// As `close`; another stream is to be opened, `allocate` or `streamFailed` follows. `domain` is the name for
        /// which the certificate must be, if the server has said.
        case redirect(PortID, to: TransportAddress, domain: String?)
        /// As `close`, if it is not closed already; another stream to the same server is to be opened, at once or, since
        /// the server may be starting anew, again and again. One `allocate` or `streamFailed` follows.
        case reopen(PortID)
    }

    private struct Relay {
        var client: TURNClient
        let transport: RelayTransport
        /// What stands for the relayed address.
        let port: PortID
        let socket: Socket
        var redirectionCount = 0
        /// Whether the agent waits for it no more.
        var isAnswered = false
        /// Whether its stream stands for one that has ended.
        var isReopened = false
        /// The peer to whom a channel was asked for.
        var channelPeer: TransportAddress?
    }

    /// What goes to servers.
    package let wire: TransmitQueue
    private let agent: ICEAgent
    private let random: RandomSource
    private let configuration: TURNConfiguration
    private var relays: [Relay] = []
    private var nextPort = RelayTable.firstPort
    private var failures: [RelayFailure] = []
    private var streamCommands: [StreamCommand] = []
    /// Streams that are being opened.
    private var openingCount = 0
    /// Streams that take nothing more for now.
    private var blockedStreams: Set<PortID> = []
    /// Datagrams that were lost since their server's stream took no more.
    package private(set) var blockedCount = 0

    /// What clients that are no more did not use.
    private var endedDrops = TURNDropCounts()

    /// What all clients since the beginning did not use, by reason.
    package var dropped: TURNDropCounts { relays.reduce(into: endedDrops) { $0 += $1.client.statistics.dropped } }

    /// Servers times sockets that are asked at most.
    package static let limit = 64
    /// Servers that send elsewhere may do so this often, lest two send to and fro.
    package static let redirectionLimit = 2
    private static let failureLimit = 64

    /// Makes an empty table.
    ///
    /// - Parameters:
    ///   - agent: is given the candidates.
    ///   - random: source of transaction identifiers.
    ///   - configuration: of each client.
    package init(agent: ICEAgent, random: RandomSource, configuration: TURNConfiguration = TURNConfiguration()) {
        self.agent = agent
        self.random = random
        self.configuration = configuration
        wire = TransmitQueue(initialCapacity: 512)
    }

    package var isEmpty: Bool { relays.isEmpty }

    // MARK: Gathering

    /// Asks a server for a relayed address; the agent gets the candidate, and does not end gathering before.
    ///
    /// - Parameters:
    ///   - server: resolved, of the socket's family.
    ///   - socket: from which; for TCP and TLS a stream that `willOpenStream` told of, or a command.
    ///   - isReopened: whether it is the stream that `StreamCommand.reopen` asked for.
    ///   - now: the present.
    /// - Returns: false if there are too many already.
    @discardableResult
    package func allocate(
        from server: Server,
        on socket: Socket,
        isReopened: Bool = false,
        at now: Instant
    ) -> Bool {
        if server.transport == .udp {
            guard server.address.ip.isIPv4 == socket.base.ip.isIPv4, server.address.port != 0,
                !relays.contains(where: { $0.client.server == TransmitPath(port: socket.port, remote: server.address) })
            else { return true }
            guard hasRoom else { return false }
            agent.expectRelay()
        } else {
            openingCount -= 1
        }
        let relay = Relay(
            client: client(of: server, port: socket.port),
            transport: server.transport,
            port: PortID(rawValue: nextPort),
            socket: socket,
            isReopened: isReopened
        )
        nextPort += 1
        relays.append(relay)
        relay.client.allocate(at: now)
        settle(at: now)
        return true
    }

    /// Says that a stream to a server is being opened; `allocate` or `streamFailed` follows.
    ///
    /// - Returns: false if there are too many servers: it is not to be opened.
    package func willOpenStream() -> Bool {
        guard hasRoom else { return false }
        openingCount += 1
        agent.expectRelay()
        return true
    }

    /// Says that a stream could not be opened.
    package func streamFailed(at now: Instant) {
        openingCount -= 1
        agent.relayFailed(at: now)
    }

    private var hasRoom: Bool { relays.count + openingCount < Self.limit }

    /// Gives the candidates that there are to a new generation of the agent's.
    ///
    /// Servers need not let through any more whom the former generation wanted to be let through, unless the new one
    /// asks for the same: a peer that moves about would use up what a client may ask for.
    package func gatherAgain(at now: Instant) {
        agent.expectRelays(
            openingCount
                + relays.count { relay in
                    switch relay.client.state {
                    case .allocating, .allocated: true
                    case .idle, .closing, .redirected, .failed, .closed: false
                    }
                }
        )
        for relay in relays {
            relay.client.releasePermissions(at: now)
            add(relay, at: now)
        }
    }

    /// Asks all servers whether they still relay, since nothing comes through them any more.
    ///
    /// One that was restarted says at once that it knows nothing of the address, and is asked for another.
    package func verify(at now: Instant) {
        guard !relays.isEmpty else { return }
        for relay in relays { relay.client.verify(at: now) }
        settle(at: now)
    }

    // MARK: Datagrams

    /// Ports of sockets are below.
    @inlinable
    package static var firstPort: Int { 1 << 20 }

    /// Whether a port stands for a relayed address.
    @inlinable
    package static func isRelayed(_ port: PortID) -> Bool { port.rawValue >= firstPort }

    /// Takes a datagram if it is a server's.
    ///
    /// - Parameters:
    ///   - datagram: the whole of it.
    ///   - remote: whence it came.
    ///   - port: the socket.
    ///   - now: the present.
    ///   - body: gets what a peer sent, the peer's address and the port that stands for the relayed address.
    /// - Returns: whether it came from a server.
    package func receive(
        _ datagram: RawSpan,
        from remote: TransportAddress,
        on port: PortID,
        at now: Instant,
        _ body: (_ datagram: RawSpan, _ peer: TransportAddress, _ port: PortID) -> Void
    ) -> Bool {
        for index in 0..<relays.count {
            let server = relays[index].client.server
            guard server.port == port, server.remote.isSameEndpoint(as: remote) else { continue }
            switch relays[index].client.receive(datagram, from: remote, on: port, at: now) {
            case .data(let peer, let range): body(datagram.extracting(range), peer, relays[index].port)
            case .handled: settle(at: now)
            case .dropped: break
            }
            return true
        }
        return false
    }

    /// Takes bytes of a stream to a server, cut anywhere; `body` as for datagrams.
    package func receive(
        stream bytes: RawSpan,
        on port: PortID,
        at now: Instant,
        _ body: (_ datagram: RawSpan, _ peer: TransportAddress, _ port: PortID) -> Void
    ) {
        guard let relay = relays.first(where: { $0.socket.port == port }) else { return }
        relay.client.receive(stream: bytes, at: now) { peer, datagram in body(datagram, peer, relay.port) }
        settle(at: now)
    }

    /// Says that a stream has ended.
    package func streamEnded(_ port: PortID, at now: Instant) {
        blockedStreams.remove(port)
        for relay in relays where relay.socket.port == port { relay.client.handleConnectionLost(at: now) }
        settle(at: now)
    }

    /// Says whether a stream takes more.
    ///
    /// What peers are sent meanwhile is lost, as it would be in a full queue of any other path; requests still go.
    package func setStream(_ port: PortID, isBlocked: Bool) {
        if isBlocked { blockedStreams.insert(port) } else { blockedStreams.remove(port) }
    }

    /// The ports of the addresses that servers relay over a socket.
    package func ports(on socket: PortID) -> [PortID] { relays.filter { $0.socket.port == socket }.map(\.port) }

    /// How the server behind a relayed address is spoken with.
    package func transport(of port: PortID) -> RelayTransport? { relays.first { $0.port == port }?.transport }

    /// Sends datagrams of equal length, but for a shorter last, through the server of their path, into `wire`.
    package func send(_ bytes: UnsafeRawBufferPointer, segmentByteCount: Int, along path: TransmitPath, at now: Instant)
    {
        guard let index = relays.firstIndex(where: { $0.port == path.port }), segmentByteCount > 0 else { return }
        guard !blockedStreams.contains(relays[index].socket.port) else {
            blockedCount += (bytes.count + segmentByteCount - 1) / segmentByteCount
            return
        }
        // Probes of the path's MTU are probes of the way to the server, too.
        wire.fragmentation = path.fragmentation
        defer { wire.fragmentation = .asUsual }
        var offset = 0
        while offset < bytes.count {
            let end = min(offset + segmentByteCount, bytes.count)
            let segment = unsafe UnsafeRawBufferPointer(rebasing: bytes[offset..<end])
            unsafe relays[index].client.send(segment.bytes, to: path.remote, at: now)
            offset = end
        }
    }

    /// Has a relayed address's server let a peer's address through.
    package func permit(_ ip: IPAddress, on port: PortID, at now: Instant) {
        guard let index = relays.firstIndex(where: { $0.port == port }) else { return }
        relays[index].client.addPermission(for: ip, at: now)
        settle(at: now)
    }

    /// The agent sends along this path from now on: if it leads through a server, by a channel, whose header is short.
    package func didSelect(_ path: TransmitPath, at now: Instant) {
        for index in relays.indices {
            let wanted = relays[index].port == path.port ? path.remote : nil
            guard relays[index].channelPeer != wanted else { continue }
            if let former = relays[index].channelPeer { relays[index].client.releaseChannel(to: former, at: now) }
            relays[index].channelPeer = wanted
            if let wanted { relays[index].client.bindChannel(to: wanted, at: now) }
        }
    }

    // MARK: Time

    package var nextDeadline: Deadline? {
        relays.reduce(nil) { Deadline.earlier($0, $1.client.nextDeadline) }
    }

    package func handleTimeout(at now: Instant) {
        guard !relays.isEmpty else { return }
        for relay in relays { relay.client.handleTimeout(at: now) }
        settle(at: now)
    }

    /// Deletes all allocations, as far as one datagram each can.
    package func close(at now: Instant) {
        for relay in relays { relay.client.close(at: now) }
        relays = []
    }

    // MARK: Outputs

    /// What came of no use, oldest first.
    package func nextFailure() -> RelayFailure? { failures.isEmpty ? nil : failures.removeFirst() }

    /// What to do with streams, oldest first.
    package func nextStreamCommand() -> StreamCommand? {
        streamCommands.isEmpty ? nil : streamCommands.removeFirst()
    }

    // MARK: Private

    private func client(of server: Server, port: PortID) -> TURNClient {
        TURNClient(
            configuration: configuration,
            server: TransmitPath(port: port, remote: server.address),
            transport: server.transport == .udp ? .datagram : .stream,
            credentials: server.credentials,
            transmits: wire,
            random: random
        )
    }

    /// Draws the conclusions of what servers said.
    private func settle(at now: Instant) {
        var index = 0
        while index < relays.count {
            var isOver = false
            var isHandedOn = false
            while let event = relays[index].client.nextEvent() {
                switch event {
                case .allocated:
                    relays[index].isAnswered = true
                    add(relays[index], at: now)
                case .redirected(let address, let domain):
                    // One that is asked from this socket anyway would take a second client for the first's.
                    let isAsked = isAsked(address, from: relays[index])
                    let isPossible = !isAsked && redirect(index, to: address, domain: domain, at: now)
                    if !isPossible, !isAsked { note(relays[index], .malformedResponse) }
                    isHandedOn = isPossible && relays[index].transport != .udp
                    isOver = !isPossible || isHandedOn
                case .failed(let error):
                    isHandedOn = reopen(relays[index], after: error)
                    if !isHandedOn, !renew(relays[index], after: error, at: now) { note(relays[index], error) }
                    isOver = true
                case .closed: isOver = true
                case .refreshRefused(let error): note(relays[index], error)
                case .permissionInstalled, .permissionRefused, .channelBound, .channelRefused: break
                }
            }
            guard isOver else {
                index += 1
                continue
            }
            let relay = relays.remove(at: index)
            endedDrops += relay.client.statistics.dropped
            if relay.transport != .udp, !isHandedOn { streamCommands.append(.close(relay.socket.port)) }
            if !relay.isAnswered, !isHandedOn { agent.relayFailed(at: now) }
            agent.removeRelayed(relay.port, at: now)
        }
    }

    /// Has the stream to a server opened again that has ended, or whose server has forgotten the relayed address.
    ///
    /// - Returns: whether it is to be opened: only what has worked is.
    private func reopen(_ relay: Relay, after error: TURNError) -> Bool {
        guard relay.transport != .udp, relay.isAnswered || relay.isReopened,
            error == .connectionLost || error.meansAllocationIsGone
        else { return false }
        // The agent still waits for one that was not answered.
        if relay.isAnswered { agent.expectRelayAgain() }
        openingCount += 1
        streamCommands.append(.reopen(relay.socket.port))
        return true
    }

    /// Asks a server that has forgotten a relayed address for another, by UDP.
    ///
    /// - Returns: whether it was asked.
    private func renew(_ relay: Relay, after error: TURNError, at now: Instant) -> Bool {
        guard error.meansAllocationIsGone, relay.isAnswered, relay.transport == .udp, hasRoom else { return false }
        agent.expectRelayAgain()
        let renewed = Relay(
            client: client(
                of: Server(address: relay.client.server.remote, credentials: relay.client.credentials),
                port: relay.socket.port
            ),
            transport: .udp,
            port: PortID(rawValue: nextPort),
            socket: relay.socket
        )
        nextPort += 1
        relays.append(renewed)
        renewed.client.allocate(at: now)
        return true
    }

    private func add(_ relay: Relay, at now: Instant) {
        guard case .allocated(let allocation) = relay.client.state else { return }
        agent.addRelayed(
            allocation.relayed,
            mapped: allocation.mapped,
            server: relay.client.server.remote.ip,
            transport: relay.transport,
            socket: relay.socket.port,
            base: relay.socket.base,
            preference: relay.socket.preference,
            port: relay.port,
            at: now
        )
    }

    /// - Returns: whether another server is asked, or will be once there is a stream to it.
    private func redirect(_ index: Int, to address: TransportAddress, domain: String?, at now: Instant) -> Bool {
        let relay = relays[index]
        guard address.ip.isIPv4 == relay.socket.base.ip.isIPv4, address.port != 0 else { return false }
        guard relay.transport == .udp else {
            openingCount += 1
            streamCommands.append(.redirect(relay.socket.port, to: address, domain: domain))
            return true
        }
        guard relay.redirectionCount < Self.redirectionLimit else { return false }
        relays[index].redirectionCount += 1
        relays[index].client = client(
            of: Server(address: address, credentials: relay.client.credentials),
            port: relay.socket.port
        )
        relays[index].client.allocate(at: now)
        return true
    }

    private func isAsked(_ address: TransportAddress, from relay: Relay) -> Bool {
        relay.transport == .udp
            && relays.contains { $0.client.server == TransmitPath(port: relay.socket.port, remote: address) }
    }

    private func note(_ relay: Relay, _ error: TURNError) {
        guard failures.count < Self.failureLimit else { return }
        failures.append(
            RelayFailure(
                server: relay.client.server.remote,
                port: relay.socket.port,
                username: relay.client.credentials?.username,
                error: error
            )
        )
    }
}

/// A server that does not relay, or will soon not any more.
package struct RelayFailure: Hashable, Sendable {
    package var server: TransportAddress
    /// From where it was asked.
    package var port: PortID
    /// Who asked; nil if nobody was named.
    package var username: String?
    package var error: TURNError
}
