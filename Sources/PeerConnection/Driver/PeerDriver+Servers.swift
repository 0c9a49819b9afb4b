internal import ICE
internal import Logging
internal import NIOCore
internal import PeerEngine
internal import SansIO
internal import UDPSockets

/// STUN and TURN servers: which, where, and the streams to them.
extension PeerDriver {
    /// A server as it was configured.
    struct ServerEntry: Hashable {
        var uri: ICEServerURI
        var credentials: TURNCredentials?
    }

    /// Asks all STUN and TURN servers at once from all sockets; a dead one costs no other any time.
    func askServers() {
        let entries = configuration.isICELite ? [] : serverEntries()
        guard !entries.isEmpty else { return finishGathering() }
        gathering.pendingCount += entries.count
        for entry in entries {
            Resolver.addresses(of: entry.uri.host) { addresses in
                self.eventLoop.execute { self.assumeIsolated { $0.didResolve(addresses, of: entry) } }
            }
        }
    }

    private func serverEntries() -> [ServerEntry] {
        var entries: [ServerEntry] = []
        for server in configuration.iceServers {
            for url in server.urls {
                do {
                    let uri = try ICEServerURI(url)
                    guard uri.isRelay ? uri.transport == .tcp || !uri.isSecure : uri.transport == .udp else {
                        throw RTCError(.networkError, "the server \(uri) is left out: its transport is not spoken here")
                    }
                    var entry = ServerEntry(uri: uri)
                    if let username = server.username, let password = server.credential {
                        entry.credentials = TURNCredentials(username: username, password: password)
                    }
                    if !entries.contains(entry) { entries.append(entry) }
                } catch let error as RTCError {
                    view.deliver(.iceCandidateError(error))
                } catch {
                    view.deliver(
                        .iceCandidateError(RTCError(.syntaxError, "the ICE server's URL \(url) is left out: \(error)"))
                    )
                }
            }
        }
        return entries
    }

    private func didResolve(_ addresses: [IPAddress], of entry: ServerEntry) {
        guard !isClosed else { return }
        gathering.pendingCount -= 1
        let uri = entry.uri
        if addresses.isEmpty {
            view.deliver(.iceCandidateError(RTCError(.networkError, "the server \(uri) has no address")))
        }
        for port in ports {
            guard let ip = addresses.first(where: { $0.isIPv4 == port.localAddress.ip.isIPv4 }),
                !port.localAddress.ip.isLoopback || ip.isLoopback
            else { continue }
            ask(entry, at: TransportAddress(ip, port: uri.port), from: port)
        }
        if gathering.pendingCount == 0 { finishGathering() }
        drain()
    }

    private func ask(_ entry: ServerEntry, at address: TransportAddress, from port: UDPPort) {
        let now = Self.now()
        let socket = RelayTable.Socket(
            port: port.id,
            base: port.localAddress,
            preference: gathering.preferences[port.id] ?? 0
        )
        if !entry.uri.isRelay {
            guard configuration.iceTransportPolicy == .all else { return }
            engine.ice.gatherServerReflexive(from: address, port: port.id, base: port.localAddress, at: now)
        } else if entry.uri.transport == .udp {
            engine.relays.allocate(
                from: RelayTable.Server(address: address, credentials: entry.credentials),
                on: socket,
                at: now
            )
        } else if !streams.values.contains(where: { $0.isLike(entry, address, socket.base.ip) }),
            engine.relays.willOpenStream()
        {
            open(ServerStream(entry, address: address, from: socket.base.ip, preference: socket.preference))
        }
    }

    // MARK: Streams

    private func open(_ stream: ServerStream) {
        let id = takePortID()
        streams[id] = stream
        countOpenPort(1)
        stream.open(
            eventLoop: eventLoop,
            authorities: configuration.iceServerAuthorities,
            handler: { StreamHandler(driver: self, port: id) },
            onResult: { result in
                self.eventLoop.execute { self.assumeIsolated { $0.didOpenStream(id, result) } }
            }
        )
    }

    private func didOpenStream(_ id: PortID, _ result: Result<any Channel, RTCError>) {
        guard let stream = streams[id], !isClosed else {
            if case .success(let channel) = result {
                channel.close(mode: .all, promise: nil)
            } else {
                countOpenPort(-1)
            }
            return
        }
        let now = Self.now()
        switch result {
        case .success(let channel):
            let base = stream.didOpen(channel)
            engine.relays.allocate(
                from: RelayTable.Server(
                    address: stream.address,
                    transport: stream.uri.isSecure ? .tls : .tcp,
                    credentials: stream.credentials
                ),
                on: RelayTable.Socket(port: id, base: base, preference: stream.preference),
                at: now
            )
        case .failure(let error):
            streams[id] = nil
            countOpenPort(-1)
            engine.relays.streamFailed(at: now)
            view.deliver(.iceCandidateError(error))
        }
        drain()
    }

    /// Notes why a stream is about to end.
    func streamFailed(_ id: PortID, error: any Error) {
        log.debug("stream \(id.rawValue): \(error)")
        streams[id]?.didFail(error)
    }

    func streamEnded(_ id: PortID) {
        countOpenPort(-1)
        let now = Self.now()
        if connectionEnded(id) { return drain() }
        if let stream = streams[id], !stream.isOpen {
            engine.relays.streamFailed(at: now)
            let why = stream.problem.map { ": \($0)" } ?? ""
            view.deliver(.iceCandidateError(RTCError(.networkError, "the TURN server \(stream.uri) hangs up\(why)")))
        }
        engine.relays.streamEnded(id, at: now)
        drain()
        streams[id] = nil
    }

    func setStream(_ id: PortID, isWritable: Bool) { engine.relays.setStream(id, isBlocked: !isWritable) }

    /// Does what the relays want of streams; part of a drain.
    func obeyStreamCommands() {
        while let command = engine.relays.nextStreamCommand() {
            switch command {
            case .close(let id): streams[id]?.close()
            case .redirect(let id, let address, let domain):
                guard let former = streams[id] else {
                    engine.relays.streamFailed(at: Self.now())
                    continue
                }
                former.close()
                if let next = former.redirected(to: address, domain: domain) {
                    open(next)
                } else {
                    engine.relays.streamFailed(at: Self.now())
                }
            }
        }
    }
}
