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
        let addresses: [IPAddress]
        if let given = configuration.localAddresses {
            addresses = given.compactMap { IPAddress($0) }
        } else {
            addresses = NetworkInterfaces.addresses(includesLoopback: configuration.includesLoopback).map(\.ip)
        }
        watchNetwork()
        bind(addresses)
        if addresses.isEmpty {
            log.warning("no local address to gather candidates from")
            finishGathering()
        }
    }

    /// Binds a socket for each address; candidates are gathered from it then.
    func bind(_ addresses: [IPAddress]) {
        gathering.pendingCount += addresses.count
        boundAddresses.formUnion(addresses)
        for (address, preference) in zip(addresses, ICEPriority.interleavedPreferences(addresses)) {
            let id = takePortID()
            gathering.preferences[id] = preference
            UDPPort.bind(
                address,
                portRange: configuration.portRange,
                id: id,
                eventLoop: eventLoop,
                handler: { DatagramHandler(driver: self, port: id) },
                onBound: { result in
                    nonisolated(unsafe) let result = result  // made on this loop, handed over on this loop
                    self.eventLoop.execute { self.assumeIsolated { unsafe $0.didBind(result, to: address) } }
                }
            )
        }
    }

    private func didBind(_ result: Result<UDPPort, UDPSocketError>, to address: IPAddress) {
        gathering.pendingCount -= 1
        switch result {
        case .success(let port):
            if isClosed {
                port.close()
            } else {
                didOpen(port)
                addHost(port, at: Self.now())
                addTCPCandidates(of: address, preference: gathering.preferences[port.id] ?? 0)
            }
        case .failure(let error):
            boundAddresses.remove(address)
            log.warning("\(error)")
            view.deliver(.iceCandidateError(RTCError(.networkError, "\(error)")))
        }
        if gathering.pendingCount == 0, !isClosed { askServers() }
        drain()
    }

    private func addHost(_ port: UDPPort, at now: Instant) {
        guard configuration.iceTransportPolicy == .all else { return }
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
