package import SansIO

/// The relayed addresses of one connection: an allocation for each server and socket, and for each a port of its own,
/// so that the machines above know no difference to a socket.
///
/// Confined to the engine's event loop. What clients send to their servers, also on behalf of the machines above, goes
/// into `wire`, along the paths of real sockets.
package final class RelayTable {
    /// A server that may relay, and as whom.
    package struct Server: Hashable, Sendable {
        package var address: TransportAddress
        package var credentials: TURNCredentials?

        package init(address: TransportAddress, credentials: TURNCredentials?) {
            self.address = address
            self.credentials = credentials
        }
    }

    private struct Relay {
        var client: TURNClient
        /// What stands for the relayed address.
        let port: PortID
        /// The socket's own address.
        let base: TransportAddress
        var redirectionCount = 0
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

    /// Ports of sockets are below.
    private static let firstPort = 1 << 20
    /// Servers times sockets that are asked at most.
    static let limit = 32
    /// Servers that send elsewhere may do so this often, lest two send to and fro.
    private static let redirectionLimit = 2
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
    ///   - port: the socket.
    ///   - base: the socket's own address.
    ///   - now: the present.
    package func allocate(
        from server: Server,
        port: PortID,
        base: TransportAddress,
        at now: Instant
    ) {
        guard server.address.ip.isIPv4 == base.ip.isIPv4, server.address.port != 0, relays.count < Self.limit,
            !relays.contains(where: { $0.client.server == TransmitPath(port: port, remote: server.address) })
        else { return }
        let relay = Relay(
            client: client(of: server, port: port),
            port: PortID(rawValue: nextPort),
            base: base
        )
        nextPort += 1
        relays.append(relay)
        agent.expectRelay()
        relay.client.allocate(at: now)
        settle(at: now)
    }

    /// Gives the candidates that there are to a new generation of the agent's.
    package func gatherAgain(at now: Instant) {
        for relay in relays {
            switch relay.client.state {
            case .allocating: agent.expectRelay()
            case .allocated: add(relay, at: now)
            case .idle, .closing, .redirected, .failed, .closed: break
            }
        }
    }

    // MARK: Datagrams

    /// Whether a path leads through a server.
    package func leads(_ path: TransmitPath) -> Bool { path.port.rawValue >= Self.firstPort }

    /// Whether a datagram from there is a server's.
    package func isServer(_ remote: TransportAddress, on port: PortID) -> Bool {
        for index in 0..<relays.count where relays[index].client.server.port == port {
            if relays[index].client.server.remote.isSameEndpoint(as: remote) { return true }
        }
        return false
    }

    /// Takes a datagram of a server's.
    ///
    /// - Parameters:
    ///   - datagram: the whole of it.
    ///   - remote: whence it came.
    ///   - port: the socket.
    ///   - now: the present.
    ///   - body: gets what a peer sent, the peer's address and the port that stands for the relayed address.
    package func receive(
        _ datagram: RawSpan,
        from remote: TransportAddress,
        on port: PortID,
        at now: Instant,
        _ body: (_ datagram: RawSpan, _ peer: TransportAddress, _ port: PortID) -> Void
    ) {
        for index in 0..<relays.count {
            let server = relays[index].client.server
            guard server.port == port, server.remote.isSameEndpoint(as: remote) else { continue }
            switch relays[index].client.receive(datagram, from: remote, on: port, at: now) {
            case .data(let peer, let range): body(datagram.extracting(range), peer, relays[index].port)
            case .handled: settle(at: now)
            case .dropped: break
            }
            return
        }
    }

    /// Sends datagrams of equal length, but for a shorter last, through the server of their path, into `wire`.
    package func send(_ bytes: UnsafeRawBufferPointer, segmentByteCount: Int, along path: TransmitPath, at now: Instant) {
        guard let index = relays.firstIndex(where: { $0.port == path.port }), segmentByteCount > 0 else { return }
        var offset = 0
        while offset < bytes.count {
            let end = min(offset + segmentByteCount, bytes.count)
            let segment = unsafe UnsafeRawBufferPointer(rebasing: bytes[offset..<end])
            unsafe relays[index].client.send(segment.bytes, to: path.remote, at: now)
            offset = end
        }
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

    // MARK: Private

    private func client(of server: Server, port: PortID) -> TURNClient {
        TURNClient(
            configuration: configuration,
            server: TransmitPath(port: port, remote: server.address),
            transport: .datagram,
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
            while let event = relays[index].client.nextEvent() {
                switch event {
                case .allocated: add(relays[index], at: now)
                case .redirected(let address, _): isOver = !redirect(index, to: address, at: now)
                case .failed(let error):
                    note(RelayFailure(server: relays[index].client.server.remote, error: error))
                    isOver = true
                case .closed: isOver = true
                case .refreshRefused(let error):
                    note(RelayFailure(server: relays[index].client.server.remote, error: error))
                case .permissionInstalled, .permissionRefused, .channelBound, .channelRefused: break
                }
            }
            guard isOver else {
                index += 1
                continue
            }
            let relay = relays.remove(at: index)
            agent.relayFailed(at: now)
            agent.removeRelayed(relay.port, at: now)
        }
    }

    private func add(_ relay: Relay, at now: Instant) {
        guard case .allocated(let allocation) = relay.client.state else { return }
        agent.addRelayed(
            allocation.relayed,
            mapped: allocation.mapped,
            server: relay.client.server.remote.ip,
            socket: relay.client.server.port,
            base: relay.base,
            port: relay.port,
            at: now
        )
    }

    /// - Returns: whether another server is asked.
    private func redirect(_ index: Int, to address: TransportAddress, at now: Instant) -> Bool {
        let port = relays[index].client.server.port
        guard relays[index].redirectionCount < Self.redirectionLimit,
            address.ip.isIPv4 == relays[index].base.ip.isIPv4, address.port != 0
        else {
            note(RelayFailure(server: relays[index].client.server.remote, error: .malformedResponse))
            return false
        }
        relays[index].redirectionCount += 1
        relays[index].client = client(
            of: Server(address: address, credentials: relays[index].client.credentials),
            port: port
        )
        relays[index].client.allocate(at: now)
        return true
    }

    private func note(_ failure: RelayFailure) {
        if failures.count < Self.failureLimit { failures.append(failure) }
    }
}

/// A server that does not relay, or will soon not any more.
package struct RelayFailure: Hashable, Sendable {
    package var server: TransportAddress
    package var error: TURNError
}
