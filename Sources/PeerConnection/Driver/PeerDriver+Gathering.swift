internal import ICE
internal import Logging
internal import NIOCore
internal import PeerEngine
internal import SansIO
internal import UDPSockets

extension PeerDriver {
    /// Binds a socket for each local address and starts to gather from them.
    ///
    /// Later calls (an ICE restart) gather anew from the sockets that are there.
    func startGathering() {
        let now = Self.now()
        guard !gathering.hasStarted else {
            for port in ports { addHost(port, at: now) }
            addTCPCandidatesAgain()
            engine.relays.gatherAgain(at: now)
            return askServers()
        }
        gathering.hasStarted = true
        let addresses = addressesToGatherFrom()
        watchNetwork()
        bind(addresses)
        if addresses.isEmpty {
            let reason =
                configuration.networkRules.isEmpty
                ? "no local address to gather candidates from"
                : "none of this machine's addresses fits networkRules (\(configuration.networkRules)): no candidates"
            log.warning("\(reason)")
            let error = RTCError(.networkError, reason)
            view.deliver(.iceCandidateError(RTCPeerConnectionIceErrorEvent(error, address: nil)))
            finishGathering()
        }
    }

    private func addressesToGatherFrom() -> [IPAddress] {
        let rules = configuration.networkRules.map(\.rule)
        let given = configuration.localAddresses?.compactMap { IPAddress($0) }
        guard configuration.sharedUDPPort != nil || given != nil else {
            return NetworkInterfaces.addresses(includesLoopback: configuration.includesLoopback, rules: rules).map(\.ip)
        }
        let shared = configuration.sharedUDPPort?.core.addresses.filter { given?.contains($0) ?? true }
        let addresses = shared ?? given ?? []
        guard !rules.isEmpty else { return addresses }
        let known = NetworkInterfaces.all(includesLoopback: true)
        return addresses.filter { ip in
            rules.permit(known.first { $0.ip == ip } ?? LocalAddress(ip: ip, interfaceName: ""))
        }
    }

    /// Binds a socket for each address; candidates are gathered from it then.
    func bind(_ addresses: [IPAddress]) {
        if let shared = configuration.sharedUDPPort { return join(shared.core, at: addresses) }
        gathering.pendingCount += addresses.count
        boundAddresses.formUnion(addresses)
        for (address, preference) in zip(addresses, ICEPriority.interleavedPreferences(addresses)) {
            bindOwn(address, preference: preference, kind: .own)
        }
    }

    /// Binds a socket of the connection's own.
    ///
    /// One for relays alone is waited for as well: servers are asked once all are there.
    func bindOwn(_ address: IPAddress, preference: UInt16, kind: PeerSocket.Kind) {
        if case .forRelays = kind { gathering.pendingCount += 1 }
        let id = takePortID(preference)
        UDPPort.bind(
            address,
            portRange: configuration.portRange,
            id: id,
            eventLoop: eventLoop,
            handler: { DatagramHandler(driver: self, port: id) },
            onBound: { result in
                nonisolated(unsafe) let result = result  // made on this loop, handed over on this loop
                self.eventLoop.execute {
                    self.assumeIsolated {
                        let socket = unsafe result.map { PeerSocket(id: id, port: $0, kind: kind) }
                        $0.didBind(socket, to: address)
                    }
                }
            }
        )
    }

    func takePortID(_ preference: UInt16) -> PortID {
        let id = takePortID()
        gathering.preferences[id] = preference
        return id
    }

    func didBind(_ result: Result<PeerSocket, UDPSocketError>, to address: IPAddress) {
        gathering.pendingCount -= 1
        switch result {
        case .success(let socket):
            if isClosed {
                socket.close()
            } else {
                didOpen(socket)
                addHost(socket, at: Self.now())
                if socket.makesCandidates {
                    addTCPCandidates(of: address, preference: gathering.preferences[socket.id] ?? 0)
                }
            }
        case .failure(let error):
            if !ports.contains(where: { $0.localAddress.ip == address }) { boundAddresses.remove(address) }
            log.warning("\(error)")
            let reason = RTCError(.networkError, "\(error)")
            view.deliver(
                .iceCandidateError(RTCPeerConnectionIceErrorEvent(reason, address: address.description))
            )
        }
        if gathering.pendingCount == 0, !isClosed { askServers() }
        drain()
    }

    private func addHost(_ port: PeerSocket, at now: Instant) {
        guard configuration.iceTransportPolicy == .all, port.makesCandidates else { return }
        engine.ice.addLocalHost(
            port.localAddress,
            port: port.id,
            preference: gathering.preferences[port.id] ?? 0,
            at: now
        )
    }

    /// Begins to gather when a description brought a new generation; takes the state back when a rollback brought
    /// an old one.
    func updateGathering(after type: DescriptionType, isLocal: Bool) {
        let fragment = engine.ice.localCredentials.usernameFragment
        guard gathering.generation != fragment else { return }
        registerFragment()
        if isLocal, type != .rollback {
            gathering.generation = fragment
            view.deliver(.iceGatheringStateChange(.gathering)) { $0.iceGatheringState = .gathering }
            startGathering()
        } else if gathering.completeGenerations.contains(fragment) {
            gathering.generation = fragment
            view.deliver(.iceGatheringStateChange(.complete)) { $0.iceGatheringState = .complete }
        }
    }

    func finishGathering() {
        engine.ice.finishAddingLocalAddresses(at: Self.now())
        drain()
    }
}
