internal import ICE
internal import Logging
internal import NIOCore
internal import NIOPosix
internal import PeerEngine
internal import SansIO
internal import UDPSockets

/// ICE over TCP: sockets that listen, and connections (RFC 6544).
extension PeerDriver {
    /// What there is of TCP.
    struct TCPSockets {
        /// Where candidates connect from, or listen.
        var candidates: [PortID: Candidate] = [:]
        var connections: [PortID: PeerStream] = [:]

        struct Candidate {
            var address: TransportAddress
            var preference: UInt16
            /// Of a passive candidate.
            var listener: (any Channel)?
        }

        /// More are not taken from whoever connects.
        static let connectionLimit = ICELimits.connections + ICELimits.silentConnections
        static let connectTimeout = TimeAmount.seconds(5)
    }

    // MARK: Candidates

    /// Makes the TCP candidates of an address that has a UDP socket.
    func addTCPCandidates(of ip: IPAddress, preference: UInt16) {
        // The scope of a link-local address means nothing to the peer.
        guard configuration.iceTransportPolicy == .all, configuration.tcpCandidatePolicy != .disabled,
            ip.isIPv4 || !ip.isLinkLocal
        else { return }
        if !configuration.isICELite {
            let id = takePortID()
            tcp.candidates[id] = TCPSockets.Candidate(address: TransportAddress(ip, port: 0), preference: preference)
            addTCPCandidate(id)
        }
        guard configuration.tcpCandidatePolicy == .enabled else { return }
        listen(on: ip, ports: configuration.portRange.map { Array($0).shuffled()[...] } ?? [0], preference: preference)
    }

    /// Tells ICE of all candidates again, for a new generation.
    func addTCPCandidatesAgain() {
        for id in tcp.candidates.keys.sorted(by: { $0.rawValue < $1.rawValue }) { addTCPCandidate(id) }
    }

    private func addTCPCandidate(_ id: PortID) {
        guard let candidate = tcp.candidates[id] else { return }
        engine.ice.addLocalTCP(
            candidate.address,
            isPassive: candidate.listener != nil,
            port: id,
            preference: candidate.preference,
            at: Self.now()
        )
    }

    /// Drops the candidates of an address that is gone for good.
    func removeTCPCandidates(of ip: IPAddress) {
        for (id, candidate) in tcp.candidates where candidate.address.ip == ip {
            tcp.candidates[id] = nil
            candidate.listener?.close(mode: .all, promise: nil)
            engine.ice.removeHost(id, at: Self.now())
        }
        for connection in tcp.connections.values where connection.local.ip == ip { connection.close() }
    }

    // MARK: Listening

    private func listen(on ip: IPAddress, ports: ArraySlice<UInt16>, preference: UInt16) {
        let id = takePortID()
        gathering.pendingCount += 1
        do {
            try ServerBootstrap(group: eventLoop)
                .serverChannelOption(.backlog, value: 16)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelOption(.writeBufferWaterMark, value: ServerStream.waiting)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let connection = try self.assumeIsolated { try $0.accept(channel, by: id) }
                        try channel.pipeline.syncOperations.addHandler(StreamHandler(driver: self, port: connection))
                        self.assumeIsolated { $0.connectionOpened(connection) }
                    }
                }
                .bind(to: SocketAddress(ipAddress: ip.description, port: Int(ports.first ?? 0)))
                .whenComplete { result in
                    self.eventLoop.execute {
                        self.assumeIsolated {
                            $0.didListen(id, result, on: ip, others: ports.dropFirst(), preference: preference)
                        }
                    }
                }
        } catch {
            didListen(id, .failure(error), on: ip, others: [], preference: preference)
        }
    }

    private func didListen(
        _ id: PortID,
        _ result: Result<any Channel, any Error>,
        on ip: IPAddress,
        others: ArraySlice<UInt16>,
        preference: UInt16
    ) {
        switch result {
        case .success(let channel):
            guard !isClosed else { return channel.close(mode: .all, promise: nil) }
            gathering.pendingCount -= 1
            countOpenPort(1)
            channel.closeFuture.whenComplete { _ in self.assumeIsolated { $0.countOpenPort(-1) } }
            let port = UInt16(clamping: channel.localAddress?.port ?? 0)
            tcp.candidates[id] = TCPSockets.Candidate(
                address: TransportAddress(ip, port: port),
                preference: preference,
                listener: channel
            )
            addTCPCandidate(id)
        case .failure(let error):
            gathering.pendingCount -= 1
            guard !isClosed else { return }
            if !others.isEmpty {
                listen(on: ip, ports: others, preference: preference)
            } else {
                log.warning("cannot listen on \(ip) for TCP: \(error)")
                view.deliver(
                    .iceCandidateError(
                        RTCPeerConnectionIceErrorEvent(
                            RTCError(.networkError, "no TCP port of \(ip) can be listened on: \(error)"),
                            address: ip.description
                        )
                    )
                )
            }
        }
        if gathering.pendingCount == 0, !isClosed { askServers() }
        drain()
    }

    private func accept(_ channel: any Channel, by candidate: PortID) throws(RTCError) -> PortID {
        guard !isClosed, tcp.connections.count < TCPSockets.connectionLimit,
            let local = channel.localAddress.flatMap(TransportAddress.init),
            let remote = channel.remoteAddress.flatMap(TransportAddress.init)
        else { throw RTCError(.networkError, "no more connections are taken") }
        let id = takePortID()
        tcp.connections[id] = PeerStream(channel, candidate: candidate, local: local, remote: remote)
        countOpenPort(1)
        return id
    }

    // MARK: Connections

    /// Opens a connection that ICE wants.
    func openConnection(from candidate: PortID, to remote: TransportAddress) {
        guard let local = tcp.candidates[candidate]?.address.ip else {
            return engine.ice.connectionFailed(of: candidate, to: remote, at: Self.now())
        }
        let id = takePortID()
        let ended: @Sendable (any Error) -> Void = { error in
            self.eventLoop.execute {
                self.assumeIsolated {
                    $0.log.debug("no TCP connection to \(remote): \(error)")
                    $0.engine.ice.connectionFailed(of: candidate, to: remote, at: Self.now())
                    $0.drain()
                }
            }
        }
        do {
            try ClientBootstrap(group: eventLoop)
                .bind(to: SocketAddress(ipAddress: local.description, port: 0))
                .connectTimeout(TCPSockets.connectTimeout)
                .channelOption(.writeBufferWaterMark, value: ServerStream.waiting)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(StreamHandler(driver: self, port: id))
                    }
                }
                .connect(to: SocketAddress(ipAddress: remote.ip.description, port: Int(remote.port)))
                .whenComplete { result in
                    switch result {
                    case .success(let channel):
                        // Before its first bytes are read.
                        self.assumeIsolated { $0.didConnect(channel, id, from: candidate, to: remote) }
                    case .failure(let error): ended(error)
                    }
                }
        } catch {
            ended(error)
        }
    }

    private func didConnect(_ channel: any Channel, _ id: PortID, from candidate: PortID, to remote: TransportAddress) {
        countOpenPort(1)
        guard !isClosed, let local = channel.localAddress.flatMap(TransportAddress.init) else {
            return channel.close(mode: .all, promise: nil)
        }
        tcp.connections[id] = PeerStream(channel, candidate: candidate, local: local, remote: remote)
        connectionOpened(id)
    }

    private func connectionOpened(_ id: PortID) {
        guard let connection = tcp.connections[id] else { return }
        engine.ice.connectionOpened(
            id,
            of: connection.candidate,
            local: connection.local,
            remote: connection.remote,
            at: Self.now()
        )
        drain()
    }

    /// Closes a connection that ICE has no use for.
    func closeConnection(_ id: PortID) { tcp.connections[id]?.close() }

    /// - Returns: whether it was one with the peer.
    func connectionEnded(_ id: PortID) -> Bool {
        guard tcp.connections.removeValue(forKey: id) != nil else { return false }
        engine.ice.connectionEnded(id, at: Self.now())
        return true
    }

    /// Takes bytes of a connection with the peer.
    ///
    /// - Returns: whether it is one.
    func receive(framed bytes: ByteBuffer, on id: PortID) -> Bool {
        guard let connection = tcp.connections[id] else { return false }
        let now = Self.now()
        connection.receive(bytes) { packet in
            transportCounts.packetsReceived += 1
            engine.receive(packet, from: connection.remote, on: id, at: now)
        }
        return true
    }
}
