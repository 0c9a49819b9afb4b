internal import ICE
internal import Logging
internal import NIOCore
internal import PeerEngine
internal import SansIO
internal import UDPSockets

/// Healing: what is done when this machine's addresses change, and when a path stays dead.
extension PeerDriver {
    /// Hears of changes from now on.
    func watchNetwork() {
        guard networkListener == nil else { return }
        networkListener = NetworkMonitor.shared.addListener { [weak self] in
            guard let self else { return }
            self.eventLoop.execute { self.assumeIsolated { $0.networkChanged() } }
        }
    }

    func stopWatchingNetwork() {
        if let networkListener { NetworkMonitor.shared.removeListener(networkListener) }
        networkListener = nil
        restartTimer?.cancel()
        restartTimer = nil
    }

    /// Compares the machine's addresses with the sockets: those that vanished are out of use until they return, from
    /// new ones candidates are gathered.
    private func networkChanged() {
        guard !isClosed, gathering.hasStarted else { return }
        let now = Self.now()
        let present = Set(NetworkInterfaces.all(includesLoopback: true).map(\.ip))
        for port in ports where !port.localAddress.ip.isLoopback {
            let isPresent = present.contains(port.localAddress.ip)
            guard isPresent == vanishedPorts.contains(port.id) else { continue }
            log.debug("the address \(port.localAddress.ip) has \(isPresent ? "returned" : "vanished")")
            if isPresent { vanishedPorts.remove(port.id) } else { vanishedPorts.insert(port.id) }
            let connections = tcp.connections.filter { $0.value.local.ip == port.localAddress.ip }.keys
            for id in [port.id] + engine.relays.ports(on: port.id) + connections {
                if isPresent {
                    engine.ice.addressReturned(on: id, at: now)
                } else {
                    engine.ice.addressVanished(on: id, at: now)
                }
            }
        }
        engine.ice.routesChanged(at: now)
        gatherFromNewAddresses()
        drain()
    }

    private func gatherFromNewAddresses() {
        guard configuration.sharedUDPPort?.core.followsMachine ?? true else { return }
        let wanted = configuration.localAddresses?.compactMap { IPAddress($0) }
        let rules = configuration.networkRules.map(\.rule)
        let found = NetworkInterfaces.addresses(includesLoopback: true, rules: rules).map(\.ip)
        let new = found.filter { ip in
            !boundAddresses.contains(ip) && (wanted?.contains(ip) ?? !ip.isLoopback)
        }
        guard !new.isEmpty else { return }
        makeRoom(for: new.count)
        let added = Array(new.prefix(max(0, NetworkInterfaces.addressLimit - ports.count)))
        guard !added.isEmpty else { return }
        log.debug("new addresses: \(added)")
        engine.ice.reopenGathering()
        bind(added)
    }

    /// Closes sockets of addresses that have vanished, oldest first, so that a machine that moves about for days does
    /// not run out of room.
    private func makeRoom(for count: Int) {
        var excess = ports.count + count - NetworkInterfaces.addressLimit
        let inUse = engine.ice.selectedPath?.port
        for port in ports where excess > 0 && vanishedPorts.contains(port.id) && port.id != inUse {
            vanishedPorts.remove(port.id)
            engine.ice.removeHost(port.id, at: Self.now())
            removeTCPCandidates(of: port.localAddress.ip)
            forget(port)
            excess -= 1
        }
    }

    // MARK: Restarts

    /// Asks for an ICE restart after a while without any path, by `negotiationneeded`.
    ///
    /// The controlled side leaves the first word to the other.
    func iceStateChanged(to state: ICEState) {
        restartTimer?.cancel()
        restartTimer = nil
        guard let delay = configuration.iceRestartDelay, hasBeenConnected else {
            hasBeenConnected = hasBeenConnected || state == .connected || state == .completed
            return
        }
        let wait: Duration
        switch state {
        case .disconnected: wait = delay
        case .failed: wait = .zero
        default: return
        }
        let courtesy = engine.ice.role == .controlled ? Self.restartCourtesy : .zero
        restartTimer = eventLoop.scheduleTask(in: .nanoseconds((wait + courtesy).wholeNanoseconds)) {
            self.assumeIsolated { $0.restartIce() }
        }
    }

    private static let restartCourtesy = Duration.seconds(1)
}
