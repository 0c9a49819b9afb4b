internal import ICE
internal import Logging
internal import NIOCore
internal import PeerEngine
internal import SansIO
internal import UDPSockets

/// What differs where a connection shares its UDP port.
extension PeerDriver {
    /// Takes the shared port's sockets at these addresses, and, where TURN servers are to be reached by UDP, binds one of
    /// its own beside each.
    func join(_ core: SharedPortCore, at addresses: [IPAddress]) {
        let member = sharedMember ?? core.add(self)
        sharedMember = member
        registerFragment()
        gathering.pendingCount += addresses.count
        boundAddresses.formUnion(addresses)
        for (address, preference) in zip(addresses, ICEPriority.interleavedPreferences(addresses)) {
            let id = takePortID(preference)
            core.socket(at: address) { result in
                self.assumeIsolated { $0.didJoin(core, member, result, as: id, at: address) }
            }
            if asksRelaysByUDP { bindOwn(address, preference: preference, kind: .forRelays) }
        }
    }

    private func didJoin(
        _ core: SharedPortCore,
        _ member: PortDemultiplexer.Member,
        _ result: Result<Int, UDPSocketError>,
        as id: PortID,
        at address: IPAddress
    ) {
        guard !isClosed else {
            gathering.pendingCount -= 1
            return
        }
        switch result {
        case .success(let index):
            guard let port = core.join(index, as: id, member) else {
                return didBind(.failure(UDPSocketError(reason: "the shared UDP port is closed")), to: address)
            }
            didBind(.success(PeerSocket(id: id, port: port, kind: .shared(core, index, member))), to: address)
        case .failure(let error): didBind(.failure(error), to: address)
        }
    }

    /// Has checks with the present user name fragment brought here.
    func registerFragment() {
        guard let core = configuration.sharedUDPPort?.core, let sharedMember else { return }
        let fragment = engine.ice.localCredentials.usernameFragment
        guard !core.register(fragment, for: sharedMember) else { return }
        let error = RTCError(
            .operationError,
            "another connection on the shared UDP port has the user name fragment \(fragment): restart ICE for another one"
        )
        log.warning("\(error)")
        view.deliver(.iceCandidateError(RTCPeerConnectionIceErrorEvent(error)))
    }

    /// Takes a datagram of STUN from a shared port.
    ///
    /// - Returns: what it proves about its source.
    func receive(
        stun data: ByteBuffer,
        _ range: Range<Int>,
        from remote: TransportAddress,
        on port: PortID,
        at now: Instant
    ) -> ICEProof? {
        transportCounts.bytesReceived += range.count
        transportCounts.packetsReceived += 1
        // What came before by other ways says nothing of this address.
        _ = engine.ice.takeProof()
        engine.receive(data.readableBytesSpan.extracting(range), from: remote, on: port, at: now)
        return engine.ice.takeProof()
    }

    func leaveSharedPort() {
        guard let sharedMember else { return }
        configuration.sharedUDPPort?.core.remove(sharedMember)
        self.sharedMember = nil
    }

    /// The shared port was closed before this connection was.
    func sharedPortClosed(_ closed: [PortID]) {
        guard !isClosed else { return }
        log.warning("the shared UDP port was closed")
        for port in closed { engine.ice.removeHost(port, at: Self.now()) }
        for socket in ports where closed.contains(socket.id) { forget(socket) }
        drain()
    }

    /// Whether any TURN server is to be asked by UDP.
    private var asksRelaysByUDP: Bool {
        !configuration.isICELite
            && configuration.iceServers.contains { server in
                server.urls.contains { url in
                    guard let uri = try? ICEServerURI(url) else { return false }
                    return uri.isRelay && uri.transport == .udp
                }
            }
    }
}
