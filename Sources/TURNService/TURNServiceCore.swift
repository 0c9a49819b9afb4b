internal import Glibc
internal import Logging
internal import NIOCore
internal import NIOPosix
internal import NIOSSL
internal import SansIO
internal import TURNServer
internal import UDPSockets

/// The server's state on its event loop: the machine, its sockets, its timer.
final class TURNServiceCore {
    private let configuration: TURNServiceConfiguration
    private let plan: ListeningPlan
    private let eventLoop: any EventLoop
    private let transmits = TransmitQueue()
    private let server: TURNServer
    private let log: Logger

    /// Listeners' and relays' sockets.
    private var ports: [PortID: UDPPort] = [:]
    private var streams: [PortID: any Channel] = [:]
    private var listeners: [any Channel] = []
    /// Streams that were written to and not flushed.
    private var written: [PortID] = []
    private var nextID = 1
    /// Sockets and streams that are open or about to be, and who waits for their end.
    private var openCount = 0
    private var closing: EventLoopPromise<Void>?
    private var timer: (at: Instant, task: Scheduled<Void>)?
    private var clock: RepeatedTask?
    private var isDraining = false
    private var isStopped = false
    /// Datagrams that the kernel did not take.
    private var unsentCount = 0

    /// How often clock and addresses are looked at: credentials may last that much longer.
    private static let clockInterval = TimeAmount.seconds(15)
    /// Bytes that wait in a stream until what peers send is dropped: a quarter of a second at 8 Mbit/s.
    private static let waiting = ChannelOptions.Types.WriteBufferWaterMark(low: 64 << 10, high: 256 << 10)

    init(configuration: TURNServiceConfiguration, plan: ListeningPlan, eventLoop: any EventLoop) {
        self.configuration = configuration
        self.plan = plan
        self.eventLoop = eventLoop
        log = configuration.logger
        var parts = TURNServerConfiguration(
            realm: configuration.realm,
            secret: configuration.secret,
            relays: plan.relays,
            policy: PeerAddressPolicy(allowed: configuration.allowed)
        )
        parts.limits = configuration.limits
        parts.limits.allocationsPerFamily = configuration.relayPorts?.count
        server = TURNServer(configuration: parts, transmits: transmits, random: RandomSource())
    }

    var allocationCount: Int { server.allocationCount }

    var statistics: TURNServerStatistics { server.statistics }

    private static func now() -> Instant {
        Instant(nanoseconds: Int64(clamping: NIODeadline.now().uptimeNanoseconds))
    }

    // MARK: Listening

    func listen() -> EventLoopFuture<TURNEndpoint> {
        lookAround()
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        clock = eventLoop.scheduleRepeatedTask(initialDelay: Self.clockInterval, delay: Self.clockInterval) { _ in
            bound.value.lookAround()
        }
        let configuration = configuration
        let host = plan.tcpHost
        let relayIPs = plan.relays.map(\.told)
        return listenUDP().flatMap { udpPort in
            // One number for both where the system chooses; a taken one is no misfortune then.
            bound.value.listenTCP(host, port: Int(udpPort), tls: nil).flatMapError { error in
                guard configuration.port == 0 else { return bound.value.eventLoop.makeFailedFuture(error) }
                return bound.value.listenTCP(host, port: 0, tls: nil)
            }.flatMap { tcpPort in
                guard let tls = configuration.tls else {
                    return bound.value.eventLoop.makeSucceededFuture(
                        TURNEndpoint(udpPort: udpPort, tcpPort: tcpPort, tlsPort: nil, relayIPs: relayIPs)
                    )
                }
                return bound.value.listenTCP(host, port: tls.port, tls: tls.context).map { tlsPort in
                    TURNEndpoint(udpPort: udpPort, tcpPort: tcpPort, tlsPort: tlsPort, relayIPs: relayIPs)
                }
            }
        }
    }

    /// Binds one socket for each address, all to one port.
    private func listenUDP() -> EventLoopFuture<UInt16> {
        let promise = eventLoop.makePromise(of: UInt16.self)
        bindNext(plan.udp[...], port: UInt16(clamping: configuration.port), lastError: nil, promise)
        return promise.futureResult
    }

    private func bindNext(
        _ addresses: ArraySlice<IPAddress>,
        port: UInt16,
        lastError: UDPSocketError?,
        _ promise: EventLoopPromise<UInt16>
    ) {
        guard let ip = addresses.first else {
            guard ports.isEmpty else { return promise.succeed(port) }
            return promise.fail(TURNServiceError(lastError?.description ?? "There is no address to listen on."))
        }
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        bind(ip, port == 0 ? nil : port...port) { result in
            let core = bound.value
            switch result {
            case .success(let opened):
                core.server.addListener(on: opened.localAddress.port)
                core.bindNext(addresses.dropFirst(), port: opened.localAddress.port, lastError: nil, promise)
            case .failure(let error) where core.ports.isEmpty && addresses.count == 1:
                promise.fail(TURNServiceError("\(error)"))
            case .failure(let error):
                core.log.warning("\(error)")
                core.bindNext(addresses.dropFirst(), port: port, lastError: error, promise)
            }
        }
    }

    /// Binds a socket of the next number, or of a relay's.
    private func bind(
        _ ip: IPAddress,
        _ range: ClosedRange<UInt16>?,
        relay: PortID? = nil,
        isEven: Bool = false,
        onResult: @escaping @Sendable (Result<UDPPort, UDPSocketError>) -> Void
    ) {
        let id = relay ?? takeID()
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        openCount += 1
        UDPPort.bind(
            ip,
            portRange: range,
            isEven: isEven,
            id: id,
            eventLoop: eventLoop,
            handler: { RelayHandler(core: bound.value, port: id) },
            onBound: { result in
                // Made on this loop, and handed over on it.
                nonisolated(unsafe) let result = result
                bound.value.eventLoop.execute {
                    switch unsafe result {
                    case .success(let port):
                        if bound.value.isStopped { port.close() } else { bound.value.ports[id] = port }
                    case .failure: bound.value.countClosed()
                    }
                    unsafe onResult(result)
                }
            }
        )
    }

    private func listenTCP(_ host: String, port: Int, tls: NIOSSLContext?) -> EventLoopFuture<UInt16> {
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        let tlsBound = tls
        return ServerBootstrap(group: eventLoop)
            .serverChannelOption(.backlog, value: 128)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.maxMessagesPerRead, value: 2)
            .childChannelOption(.writeBufferWaterMark, value: Self.waiting)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try bound.value.accept(channel, tls: tlsBound) }
            }
            .bind(host: host, port: port)
            .flatMapErrorThrowing { error in
                let why = (error as? IOError).map { unsafe String(cString: strerror($0.errnoCode)) } ?? "\(error)"
                throw TURNServiceError("cannot listen on \(host), TCP port \(port): \(why)")
            }
            .map { channel in
                bound.value.listeners.append(channel)
                return UInt16(clamping: channel.localAddress?.port ?? 0)
            }
    }

    private func accept(_ channel: any Channel, tls: NIOSSLContext?) throws {
        let id = takeID()
        guard !isStopped, let remote = channel.remoteAddress.flatMap({ TransportAddress($0) }),
            server.openStream(id, from: remote.unmapped, at: Self.now())
        else {
            log.debug("refused a connection: too many are open")
            channel.close(promise: nil)
            return
        }
        streams[id] = channel
        openCount += 1
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        channel.closeFuture.whenComplete { _ in bound.value.streamEnded(id) }
        if let tls { try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls)) }
        try channel.pipeline.syncOperations.addHandler(RelayStreamHandler(core: self, port: id))
        schedule()
    }

    private func takeID() -> PortID {
        defer { nextID += 1 }
        return PortID(rawValue: nextID)
    }

    private func lookAround() {
        var wall = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &wall)
        server.setWallClock(unixSeconds: Int64(wall.tv_sec), at: Self.now())
        server.setOwnAddresses(NetworkInterfaces.ownAddresses())
    }

    // MARK: Inputs

    /// Takes a read burst: one datagram, or several of equal length that the kernel joined (GRO).
    func receive(_ envelope: AddressedEnvelope<ByteBuffer>, on port: PortID) {
        guard let remote = TransportAddress(envelope.remoteAddress) else { return }
        let now = Self.now()
        let bytes = envelope.data.readableBytesSpan
        let segment = max(1, envelope.metadata?.segmentSize ?? bytes.byteCount)
        var offset = 0
        while offset < bytes.byteCount {
            let end = min(offset + segment, bytes.byteCount)
            server.receive(bytes.extracting(offset..<end), from: remote, on: port, at: now)
            offset = end
        }
    }

    func receive(stream bytes: ByteBuffer, on port: PortID) {
        server.receive(stream: bytes.readableBytesSpan, on: port, at: Self.now())
    }

    func setStream(_ port: PortID, isWritable: Bool) { server.setStream(port, isBlocked: !isWritable) }

    private func streamEnded(_ id: PortID) {
        streams[id] = nil
        server.closeStream(id, at: Self.now())
        drain()
        countClosed()
    }

    func portFailed(_ port: PortID, error: any Error) { log.debug("UDP port \(port.rawValue): \(error)") }

    /// A socket is closed: by us, or by NIO for an error, after which its descriptor is somebody else's.
    func portEnded(_ port: PortID) {
        if ports.removeValue(forKey: port) != nil, !isStopped {
            log.error("UDP port \(port.rawValue) was closed by an error")
            server.relayFailed(port, at: Self.now())
            drain()
        }
        countClosed()
    }

    // MARK: Outputs

    /// Carries out what the machine wants; called after every burst of input.
    func drain() {
        guard !isDraining else { return }
        isDraining = true
        defer { isDraining = false }
        // What leaves by a relay goes before the relay is closed.
        sendAll()
        while let command = server.nextCommand() { obey(command) }
        sendAll()
        for id in written { streams[id]?.flush() }
        written.removeAll(keepingCapacity: true)
        while let event = server.nextEvent() { tell(event) }
        schedule()
    }

    private func sendAll() {
        unsafe transmits.drainTrains { path, bytes, segmentByteCount in
            if let port = ports[path.port] {
                let result = unsafe port.send(
                    bytes,
                    segmentByteCount: segmentByteCount,
                    to: path.remote,
                    fragmentation: path.fragmentation
                )
                // Like a router with a full queue.
                if result == .tryLater { unsentCount += 1 }
            } else if let stream = streams[path.port] {
                var buffer = stream.allocator.buffer(capacity: bytes.count)
                unsafe buffer.writeBytes(bytes)
                stream.write(buffer, promise: nil)
                if written.last != path.port { written.append(path.port) }
            }
            return true
        }
    }

    private func obey(_ command: TURNServerCommand) {
        switch command {
        case .openRelay(let relay, let ip, let isEven):
            let bound = NIOLoopBound(self, eventLoop: eventLoop)
            bind(ip, configuration.relayPorts, relay: relay, isEven: isEven) { result in
                let core = bound.value
                switch result {
                case .success(let port): core.server.didOpenRelay(relay, at: port.localAddress, now: Self.now())
                case .failure(let error):
                    core.log.warning("no relay: \(error)")
                    core.server.relayFailed(relay, at: Self.now())
                }
                core.drain()
            }
        case .closeRelay(let relay): ports.removeValue(forKey: relay)?.close()
        case .closeStream(let id): streams[id]?.close(promise: nil)
        }
    }

    private func tell(_ event: TURNServerEvent) {
        switch event {
        case .allocated(let user, let client, let relayed):
            log.info("\(relayed) relays for \(Self.printable(user)) at \(client)")
        case .ended(let user, let client, let reason, let relayedBytes):
            log.info("\(Self.printable(user)) at \(client): \(reason), \(relayedBytes) bytes were relayed")
        case .refused(let user, let client, let code):
            log.info("refused \(Self.printable(user)) at \(client): \(code)")
        }
    }

    /// A user's name is theirs: letters, digits and some marks of it, and not too many.
    private static func printable(_ name: String) -> String {
        String(String.UnicodeScalarView(name.unicodeScalars.prefix(64).filter { (33...126).contains($0.value) }))
    }

    private func schedule() {
        guard !isStopped, let deadline = server.nextDeadline?.instant else { return }
        // An earlier call finds out that nothing is due and asks again.
        if let timer, timer.at <= deadline { return }
        timer?.task.cancel()
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        let task = eventLoop.scheduleTask(deadline: .uptimeNanoseconds(UInt64(clamping: deadline.nanoseconds))) {
            bound.value.timerFired()
        }
        timer = (deadline, task)
    }

    private func timerFired() {
        timer = nil
        server.handleTimeout(at: Self.now())
        drain()
    }

    // MARK: End

    func stop() -> EventLoopFuture<Void> {
        if let closing { return closing.futureResult }
        let promise = eventLoop.makePromise(of: Void.self)
        closing = promise
        isStopped = true
        timer?.task.cancel()
        clock?.cancel()
        server.close()
        drain()
        let open = listeners.map { $0.close() }
        for port in ports.values { port.close() }
        ports = [:]
        for stream in streams.values { stream.close(promise: nil) }
        if openCount == 0 { promise.succeed() }
        return EventLoopFuture.andAllComplete(open, on: eventLoop).flatMap { promise.futureResult }
    }

    private func countClosed() {
        openCount -= 1
        if openCount == 0, isStopped { closing?.succeed() }
    }
}

extension TransportAddress {
    /// An IPv4 client of a socket for both families, as what it is.
    fileprivate var unmapped: TransportAddress {
        guard !ip.isIPv4, ip.high == 0, ip.low >> 32 == 0xFFFF else { return self }
        return TransportAddress(IPAddress(v4: UInt32(truncatingIfNeeded: ip.low)), port: port)
    }
}
