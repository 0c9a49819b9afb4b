import ICE
import STUN
import SansIO
import Testing

/// Agents, STUN servers and NATs joined by delay and loss, in virtual time from a seed.
final class ICEVirtualNetwork {
    private struct Datagram {
        var arrival: Instant
        var order: Int
        var source: TransportAddress
        var destination: TransportAddress
        var bytes: [UInt8]
    }
    private struct Action {
        var instant: Instant
        var order: Int
        var body: () -> Void
    }

    private(set) var now = Instant(nanoseconds: 1_000_000_000_000)
    let start = Instant(nanoseconds: 1_000_000_000_000)
    let random: RandomSource
    /// One way.
    var delay = Duration.milliseconds(10)
    /// At most so much more, drawn for each datagram: what is sent later may arrive earlier.
    var jitter = Duration.zero
    /// Share of datagrams that vanish, and that arrive twice.
    var loss = 0.0
    var duplication = 0.0
    /// Returns false for datagrams that vanish, besides the random ones.
    var passes: (_ source: TransportAddress, _ destination: TransportAddress, _ bytes: [UInt8]) -> Bool = { _, _, _ in
        true
    }
    /// Whether TCP connections come about; they lose nothing.
    var passesTCP: (_ source: TransportAddress, _ destination: TransportAddress) -> Bool = { _, _ in true }
    /// Time that trickled candidates take; nil does not signal them at all.
    var signallingDelay: Duration? = .milliseconds(1)
    /// Addresses of STUN servers that answer.
    var servers: Set<TransportAddress> = []
    private(set) var peers: [ICETestPeer] = []
    private(set) var transmittedCount = 0
    private var datagrams: [Datagram] = []
    private var actions: [Action] = []
    private var order = 0
    private(set) var connectionCount = 0

    init(seed: UInt64 = 1) { random = RandomSource(seed: seed) }

    func addPeer(
        _ role: ICERole,
        _ hosts: [String],
        nat: ICETestNAT? = nil,
        configuration: ICEConfiguration = .init()
    ) -> ICETestPeer {
        let peer = ICETestPeer(
            role: role,
            hosts: hosts,
            index: peers.count,
            nat: nat,
            configuration: configuration,
            network: self
        )
        peers.append(peer)
        return peer
    }

    var elapsed: Duration { now - start }

    func after(_ delay: Duration, _ body: @escaping () -> Void) {
        order += 1
        actions.append(Action(instant: now + delay, order: order, body: body))
    }

    /// Runs until the condition holds.
    /// - Returns: the time since the start at which it did, or nil if it never did within `limit`.
    @discardableResult
    func run(_ limit: Duration, until condition: () -> Bool = { false }) -> Duration? {
        let end = now + limit
        drain()
        var stepCount = 0
        while !condition() {
            stepCount += 1
            if stepCount > 200_000 {
                Issue.record("the network does not come to rest")
                return nil
            }
            let candidates =
                datagrams.map(\.arrival) + actions.map(\.instant) + peers.compactMap { $0.agent.nextDeadline?.instant }
            guard let next = candidates.min(), next <= end else {
                now = end
                return nil
            }
            now = max(now, next)
            step()
            drain()
        }
        return elapsed
    }

    private func step() {
        let due = datagrams.filter { $0.arrival <= now }.sorted { ($0.arrival, $0.order) < ($1.arrival, $1.order) }
        datagrams.removeAll { $0.arrival <= now }
        for datagram in due { deliver(datagram) }
        let dueActions = actions.filter { $0.instant <= now }.sorted { ($0.instant, $0.order) < ($1.instant, $1.order) }
        actions.removeAll { $0.instant <= now }
        for action in dueActions { action.body() }
        for peer in peers where peer.agent.nextDeadline.map({ $0.instant <= now }) ?? false {
            peer.agent.handleTimeout(at: now)
        }
    }

    private func drain() {
        for peer in peers {
            peer.transmits.drain { path, bytes in
                if let connection = peer.connections[path.port] {
                    return sendOver(connection, Array(bytes))
                }
                guard var source = peer.sockets[path.port] else {
                    Issue.record("a datagram leaves from no socket")
                    return
                }
                if let nat = peer.nat, !nat.isInside(path.remote.ip) {
                    source = nat.translate(source, to: path.remote)
                }
                send(Array(bytes), from: source, to: path.remote)
            }
            while let event = peer.agent.nextEvent() { peer.handle(event) }
            if let deadline = peer.agent.nextDeadline, deadline.instant <= now {
                Issue.record("deadline \(deadline.reason) is not in the future")
            }
        }
    }

    /// Opens a connection, if somebody listens there.
    func connect(_ peer: ICETestPeer, _ candidate: PortID, to destination: TransportAddress) {
        guard let local = peer.tcpCandidates[candidate] else { return }
        connectionCount += 1
        let source = TransportAddress(local.ip, port: UInt16(30_000 + connectionCount))
        let listener = peers.lazy.compactMap { other in
            other.tcpCandidates.first { $0.value == destination }.map { (other, $0.key) }
        }.first
        guard let (other, passive) = listener, passesTCP(source, destination) else {
            return after(.seconds(5)) { [self] in peer.agent.connectionFailed(of: candidate, to: destination, at: now) }
        }
        let (own, others) = (peer.takePort(), other.takePort())
        after(delay) { [self] in
            other.connections[others] = ICETestConnection(peer: peer, port: own, local: destination)
            other.agent.connectionOpened(others, of: passive, local: destination, remote: source, at: now)
        }
        after(delay * 2) { [self] in
            peer.connections[own] = ICETestConnection(peer: other, port: others, local: source)
            peer.agent.connectionOpened(own, of: candidate, local: source, remote: destination, at: now)
        }
    }

    private func sendOver(_ connection: ICETestConnection, _ bytes: [UInt8]) {
        after(delay) { [self] in
            guard connection.peer.connections[connection.port] != nil else { return }
            connection.peer.agent.receive(bytes.span.bytes, from: connection.local, on: connection.port, at: now)
        }
    }

    /// Ends a connection at both ends.
    func disconnect(_ peer: ICETestPeer, _ port: PortID) {
        guard let connection = peer.connections.removeValue(forKey: port) else { return }
        peer.agent.connectionEnded(port, at: now)
        after(delay) { [self] in
            guard connection.peer.connections.removeValue(forKey: connection.port) != nil else { return }
            connection.peer.agent.connectionEnded(connection.port, at: now)
        }
    }

    func send(_ bytes: [UInt8], from source: TransportAddress, to destination: TransportAddress) {
        transmittedCount += 1
        guard passes(source, destination, bytes), draw() >= loss else { return }
        for _ in 0..<(duplication > 0 && draw() < duplication ? 2 : 1) {
            order += 1
            let arrival = now + delay + (jitter > .zero ? jitter * draw() : .zero)
            datagrams.append(
                Datagram(arrival: arrival, order: order, source: source, destination: destination, bytes: bytes)
            )
        }
    }

    /// From 0 up to 1.
    func draw() -> Double { Double(random.next() >> 11) / Double(1 << 53) }

    private func deliver(_ datagram: Datagram) {
        var destination = datagram.destination
        if servers.contains(destination) {
            guard let request = try? STUNReading(datagram.bytes), request.message.messageClass == .request else {
                return
            }
            var response = STUNMessageWriter(.success, .binding, request.message.transactionID)
            response.add(.xorMappedAddress, xor: datagram.source)
            send(response.finish(), from: destination, to: datagram.source)
            return
        }
        for peer in peers {
            if let nat = peer.nat, nat.publicIP == destination.ip {
                guard let inner = nat.accept(from: datagram.source, to: destination) else { return }
                destination = inner
            } else if peer.nat != nil, !(peer.nat?.isInside(datagram.source.ip) ?? true) {
                continue
            }
            guard let port = peer.sockets.first(where: { $0.value == destination })?.key else { continue }
            peer.agent.receive(datagram.bytes.span.bytes, from: datagram.source, on: port, at: now)
            return
        }
    }
}

/// A NAT with port-restricted filtering; mapping independent of the destination, or not ("symmetric").
final class ICETestNAT {
    let publicIP: IPAddress
    let isSymmetric: Bool
    private var mappings: [[TransportAddress]: UInt16] = [:]
    private var inner: [UInt16: TransportAddress] = [:]
    private var permissions: Set<[TransportAddress]> = []
    private var nextPort: UInt16 = 40_000

    init(_ publicIP: String, isSymmetric: Bool = false) {
        self.publicIP = IPAddress(publicIP) ?? .anyIPv4
        self.isSymmetric = isSymmetric
    }

    /// 10.0.0.0/8 is behind every NAT, each its own.
    func isInside(_ ip: IPAddress) -> Bool { ip.isIPv4 && ip.low >> 24 == 10 }

    func translate(_ source: TransportAddress, to destination: TransportAddress) -> TransportAddress {
        let key = isSymmetric ? [source, destination] : [source]
        let port = mappings[key] ?? nextPort
        if mappings[key] == nil { nextPort += 1 }
        mappings[key] = port
        inner[port] = source
        let outer = TransportAddress(publicIP, port: port)
        permissions.insert([outer, destination])
        return outer
    }

    func accept(from source: TransportAddress, to outer: TransportAddress) -> TransportAddress? {
        permissions.contains([outer, source]) ? inner[outer.port] : nil
    }
}

/// One end of a TCP connection.
struct ICETestConnection {
    /// The other end.
    var peer: ICETestPeer
    var port: PortID
    /// Of this end.
    var local: TransportAddress
}

/// One agent with its sockets, and what it told.
final class ICETestPeer {
    let transmits = TransmitQueue(initialCapacity: 4096)
    let agent: ICEAgent
    private(set) var sockets: [PortID: TransportAddress]
    private(set) var tcpCandidates: [PortID: TransportAddress] = [:]
    var connections: [PortID: ICETestConnection] = [:]
    private var portCount = 100
    /// May be changed: its mappings are forgotten, or the peer moves.
    var nat: ICETestNAT?
    private(set) var events: [ICEEvent] = []
    private(set) var stateTimes: [(state: ICEState, elapsed: Duration)] = []
    private(set) var candidates: [ICECandidate] = []
    private(set) var isGatheringComplete = false
    /// Gets trickled candidates.
    weak var other: ICETestPeer?
    /// What its description offers.
    var renomination = ICERenomination.none
    private let isLite: Bool
    private unowned let network: ICEVirtualNetwork

    init(
        role: ICERole,
        hosts: [String],
        index: Int,
        nat: ICETestNAT?,
        configuration: ICEConfiguration,
        network: ICEVirtualNetwork
    ) {
        self.nat = nat
        self.network = network
        isLite = configuration.isLite
        var sockets: [PortID: TransportAddress] = [:]
        for (offset, host) in hosts.enumerated() {
            sockets[PortID(rawValue: offset)] = TransportAddress(host, port: UInt16(5000 + 100 * index + offset))
        }
        self.sockets = sockets
        agent = ICEAgent(configuration: configuration, role: role, transmits: transmits, random: network.random)
    }

    var states: [ICEState] { stateTimes.map(\.state) }
    var ports: [PortID] { sockets.keys.sorted { $0.rawValue < $1.rawValue } }

    /// A socket for an address that came later.
    func addSocket(_ host: String) -> PortID {
        let port = PortID(rawValue: (ports.last?.rawValue ?? -1) + 1)
        sockets[port] = TransportAddress(host, port: UInt16(7000 + port.rawValue))
        return port
    }

    func takePort() -> PortID {
        portCount += 1
        return PortID(rawValue: portCount)
    }

    /// Adds a candidate over TCP.
    func addTCP(_ host: String, isPassive: Bool) {
        let port = takePort()
        guard let address = TransportAddress(host, port: isPassive ? UInt16(20_000 + port.rawValue) : 0) else { return }
        tcpCandidates[port] = address
        agent.addLocalTCP(address, isPassive: isPassive, port: port, preference: 65_535, at: network.now)
    }

    /// Adds all sockets, asks the servers, and says that this is all.
    func gather(from servers: [TransportAddress] = []) {
        for port in ports {
            guard let address = sockets[port] else { continue }
            agent.addLocalHost(address, port: port, preference: UInt16(65_535 - port.rawValue), at: network.now)
        }
        for server in servers {
            for port in ports {
                guard let address = sockets[port] else { continue }
                agent.gatherServerReflexive(from: server, port: port, base: address, at: network.now)
            }
        }
        agent.finishAddingLocalAddresses(at: network.now)
    }

    func handle(_ event: ICEEvent) {
        events.append(event)
        switch event {
        case .stateChanged(let state): stateTimes.append((state, network.elapsed))
        case .localCandidate(let candidate):
            candidates.append(candidate)
            signal { other, now in other.agent.addRemoteCandidate(candidate, at: now) }
        case .gatheringComplete:
            isGatheringComplete = true
            signal { other, now in other.agent.setRemoteEndOfCandidates(at: now) }
        case .gatheringResumed: isGatheringComplete = false
        case .connect(let candidate, let remote): network.connect(self, candidate, to: remote)
        case .connectionUnneeded(let port): network.disconnect(self, port)
        case .selectedPathChanged, .consentLost, .relayPaired, .serverSilent, .pathSilent: break
        }
    }

    private func signal(_ body: @escaping (ICETestPeer, Instant) -> Void) {
        guard let delay = network.signallingDelay, let other else { return }
        network.after(delay) { [network] in body(other, network.now) }
    }

    /// Checks start, and nobody is there to answer.
    func setRemoteCredentialsOfNobody() {
        agent.setRemoteCredentials(
            ICECredentials(usernameFragment: "frag", password: "pass"),
            isLite: false,
            at: network.now
        )
    }

    func setRemoteCredentials(of peer: ICETestPeer) {
        agent.setRemoteCredentials(
            peer.agent.localCredentials,
            isLite: peer.isLite,
            renomination: peer.renomination,
            at: network.now
        )
    }

    /// The statistics of the selected pair.
    var selected: ICEPairStatistics? { agent.statistics.pairs.first { $0.isSelected } }
}

/// Two peers with the first as controlling offerer.
struct ICETestCall {
    let network: ICEVirtualNetwork
    let offerer: ICETestPeer
    let answerer: ICETestPeer

    init(
        _ network: ICEVirtualNetwork,
        _ first: [String],
        _ second: [String],
        nats: (ICETestNAT?, ICETestNAT?) = (nil, nil),
        roles: (ICERole, ICERole) = (.controlling, .controlled),
        configuration: ICEConfiguration = .init(),
        answererConfiguration: ICEConfiguration? = nil
    ) {
        self.network = network
        offerer = network.addPeer(roles.0, first, nat: nats.0, configuration: configuration)
        answerer = network.addPeer(
            roles.1,
            second,
            nat: nats.1,
            configuration: answererConfiguration ?? configuration
        )
        offerer.other = answerer
        answerer.other = offerer
    }

    /// Offer and answer: the answerer gets the offer at once, the offerer gets the answer after `answerDelay`.
    func signal(answerDelay: Duration = .milliseconds(1), servers: [TransportAddress] = []) {
        offerer.gather(from: servers)
        answerer.setRemoteCredentials(of: offerer)
        answerer.gather(from: servers)
        network.after(answerDelay) { [offerer, answerer] in offerer.setRemoteCredentials(of: answerer) }
    }

    var isConnected: Bool { offerer.agent.isWritable && answerer.agent.isWritable }
    var isNominated: Bool { (offerer.selected?.isNominated ?? false) && (answerer.selected?.isNominated ?? false) }
    var isCompleted: Bool { offerer.agent.state == .completed && answerer.agent.state == .completed }
}
