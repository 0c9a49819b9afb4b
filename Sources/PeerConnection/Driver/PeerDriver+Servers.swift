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
        // Dead servers may not take the places of those that work.
        gathering.socketsPerServer = max(1, RelayTable.limit / entries.count)
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
                    guard uri.scheme != .stuns else { throw Self.refusal(ofSTUNOverTLS: uri) }
                    guard uri.isRelay ? uri.transport == .tcp || !uri.isSecure : uri.transport == .udp else {
                        throw RTCError(.networkError, "the server \(uri) is left out: its transport is not spoken here")
                    }
                    var entry = ServerEntry(uri: uri)
                    if let username = server.username, let password = server.credential {
                        entry.credentials = TURNCredentials(username: username, password: password)
                    }
                    if !entries.contains(entry) { entries.append(entry) }
                } catch let error as RTCError {
                    tell(error, of: url)
                } catch {
                    tell(RTCError(.syntaxError, "the ICE server's URL \(url) is left out: \(error)"), of: url)
                }
            }
        }
        return entries
    }

    private func tell(_ error: RTCError, of url: String, from local: IPAddress? = nil) {
        view.deliver(
            .iceCandidateError(RTCPeerConnectionIceErrorEvent(error, url: url, address: local?.description))
        )
    }

    /// Why a server of the scheme `stuns` is not asked.
    ///
    /// What it sees is the address of a TCP connection, RFC 7064 §3.1; a server-reflexive candidate is a UDP socket's.
    /// libwebrtc asks such a server in the clear, by UDP, which is not what the scheme promises.
    private static func refusal(ofSTUNOverTLS uri: ICEServerURI) -> RTCError {
        let host = uri.host.contains(":") ? "[\(uri.host)]" : uri.host
        return RTCError(
            .notSupportedError,
            "the server \(uri) is left out: STUN over TLS tells the address of a TCP connection, and candidates are for UDP. Use stun:\(host), or a relay over TLS by turns:\(host)"
        )
    }

    private func didResolve(_ addresses: [IPAddress], of entry: ServerEntry) {
        guard !isClosed else { return }
        gathering.pendingCount -= 1
        let uri = entry.uri
        if addresses.isEmpty {
            let error = RTCError(.networkError, "the server \(uri) has no address: see if its name is right")
            tell(error, of: uri.description)
        }
        var (askedCount, leftOutCount) = (0, 0)
        // Sockets of addresses that have vanished reach nobody, and take no other's place.
        for port in ports where !vanishedPorts.contains(port.id) {
            guard let ip = addresses.first(where: { $0.isIPv4 == port.localAddress.ip.isIPv4 }),
                !port.localAddress.ip.isLoopback || ip.isLoopback
            else { continue }
            guard askedCount < gathering.socketsPerServer else {
                leftOutCount += 1
                continue
            }
            switch ask(entry, at: TransportAddress(ip, port: uri.port), from: port) {
            case .asked: askedCount += 1
            case .full: leftOutCount += 1
            case .unneeded: break
            }
        }
        if leftOutCount > 0 {
            log.debug("the server \(uri) is not asked from \(leftOutCount) of the local addresses: there are too many")
            if askedCount == 0 {
                let error = RTCError(.operationError, "the server \(uri) is left out: there are too many")
                tell(error, of: uri.description)
            }
        }
        if gathering.pendingCount == 0 { finishGathering() }
        drain()
    }

    private enum Asking { case asked, unneeded, full }

    private func ask(_ entry: ServerEntry, at address: TransportAddress, from port: PeerSocket) -> Asking {
        let now = Self.now()
        let socket = RelayTable.Socket(
            port: port.id,
            base: port.localAddress,
            preference: gathering.preferences[port.id] ?? 0
        )
        if !entry.uri.isRelay {
            guard configuration.iceTransportPolicy == .all, port.makesCandidates else { return .unneeded }
            note(entry.uri, at: address)
            engine.ice.gatherServerReflexive(from: address, port: port.id, base: port.localAddress, at: now)
        } else if entry.uri.transport == .udp {
            guard port.reachesRelays else { return .unneeded }
            note(entry.uri, at: address)
            let isAsked = engine.relays.allocate(
                from: RelayTable.Server(address: address, credentials: entry.credentials),
                on: socket,
                at: now
            )
            guard isAsked else { return .full }
        } else if !streams.values.contains(where: { $0.isLike(entry, address, socket.base.ip) }) {
            guard engine.relays.willOpenStream() else { return .full }
            open(ServerStream(entry, address: address, from: socket.base.ip, preference: socket.preference))
        }
        return .asked
    }

    /// Keeps what the configuration calls a server.
    private func note(_ uri: ICEServerURI, at address: TransportAddress) {
        if gathering.servers[address]?.contains(uri) != true { gathering.servers[address, default: []].append(uri) }
    }

    // MARK: Streams

    private func open(_ stream: ServerStream) {
        let id = takePortID()
        streams[id] = stream
        connect(stream, id)
    }

    private func connect(_ stream: ServerStream, _ id: PortID) {
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

    /// Opens a stream in place of one that has ended, in due time.
    ///
    /// It has its place meanwhile, so that no restart of ICE opens a second one.
    ///
    /// - Returns: false if that was tried often enough.
    private func reopen(_ former: ServerStream) -> Bool {
        guard !isClosed, let (next, delay) = former.replacement(at: Self.now()) else { return false }
        log.debug("the stream to the TURN server \(next.uri) is opened again in \(delay)")
        let id = takePortID()
        streams[id] = next
        eventLoop.scheduleTask(in: .nanoseconds(delay.wholeNanoseconds)) { [weak self] in
            self?.assumeIsolated { driver in
                if !driver.isClosed, let next = driver.streams[id] { driver.connect(next, id) }
            }
        }
        return true
    }

    /// Says that a stream could not be had, unless it is opened again.
    private func giveUp(_ stream: ServerStream, _ error: RTCError) {
        guard !reopen(stream) else { return log.debug("\(error)") }
        engine.relays.streamFailed(at: Self.now())
        tell(error, of: stream.uri.description, from: stream.local)
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
            let base = stream.didOpen(channel, at: now)
            engine.relays.allocate(
                from: RelayTable.Server(
                    address: stream.address,
                    transport: stream.uri.isSecure ? .tls : .tcp,
                    credentials: stream.credentials
                ),
                on: RelayTable.Socket(port: id, base: base, preference: stream.preference),
                isReopened: stream.isReopened,
                at: now
            )
        case .failure(let error):
            streams[id] = nil
            countOpenPort(-1)
            giveUp(stream, error)
        }
        drain()
    }

    /// Notes why a stream is about to end.
    func streamFailed(_ id: PortID, error: any Error) {
        log.debug("stream \(id.rawValue): \(error)")
        streams[id]?.didFail(error)
    }

    func streamEnded(_ id: PortID) {
        // What a drain writes may be what finds out.
        guard !isDraining else { return eventLoop.execute { self.assumeIsolated { $0.streamEnded(id) } } }
        countOpenPort(-1)
        let now = Self.now()
        if connectionEnded(id) { return drain() }
        if let stream = streams[id], !stream.isOpen {
            let why = stream.problem.map { ": \($0)" } ?? ""
            giveUp(stream, RTCError(.networkError, "the TURN server \(stream.uri) hangs up\(why)"))
        }
        engine.relays.streamEnded(id, at: now)
        drain()
        streams[id] = nil
    }

    func setStream(_ id: PortID, isWritable: Bool) { engine.relays.setStream(id, isBlocked: !isWritable) }

    /// Does what the relays want of streams; part of a drain.
    ///
    /// - Returns: whether there was anything, of which more may come.
    func obeyStreamCommands() -> Bool {
        var hasObeyed = false
        while let command = engine.relays.nextStreamCommand() {
            hasObeyed = true
            switch command {
            case .close(let id): streams[id]?.close()
            case .reopen(let id):
                guard let former = streams[id] else {
                    engine.relays.streamFailed(at: Self.now())
                    continue
                }
                former.close()
                giveUp(former, RTCError(.networkError, "the TURN server \(former.uri) hangs up again and again"))
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
        return hasObeyed
    }
}
