internal import Glibc
internal import Logging
package import MDNS
internal import NIOCore
internal import NIOPosix
package import SansIO
internal import UDPSockets

/// Multicast DNS of this process: its sockets, its resolver and its responder, shared by all connections.
///
/// Sockets are opened with the first name and closed some seconds after the last. Nothing here fails: without sockets,
/// without a group or without an answer a name has no addresses.
package actor MDNSService {
    /// The one that all connections use.
    package static let shared = MDNSService(onlyLoopback: false)

    private nonisolated let eventLoop: any EventLoop
    private let onlyLoopback: Bool
    private let log = Logger(label: "PeerConnection.mdns")
    private let resolver = MDNSResolver(random: RandomSource())
    private let responder = MDNSResponder()
    private var sockets: [PortID: MDNSSocket] = [:]
    private var nextPortID = 0
    private var links = LocalLinks([])
    private var isOpen = false
    private var networkListener: Int?
    private var waiters: [DNSName: [@Sendable ([IPAddress]) -> Void]] = [:]
    private var timer: Scheduled<Void>?
    private var idleTimer: Scheduled<Void>?

    package nonisolated var unownedExecutor: UnownedSerialExecutor {
        unsafe eventLoop.executor.asUnownedSerialExecutor()
    }

    /// A service of its own, for tests, which must not be heard on real networks.
    package init(onlyLoopback: Bool) {
        self.onlyLoopback = onlyLoopback
        eventLoop = MultiThreadedEventLoopGroup.singleton.next()
    }

    // MARK: From any thread

    /// Looks a name up; `onResult` hears of no addresses if there are none after three seconds.
    package nonisolated func resolve(_ name: DNSName, onResult: @escaping @Sendable ([IPAddress]) -> Void) {
        eventLoop.execute { self.assumeIsolated { $0.startResolving(name, onResult) } }
    }

    /// Answers for a name until it is withdrawn.
    package nonisolated func publish(_ name: DNSName, address: IPAddress) {
        eventLoop.execute { self.assumeIsolated { $0.startPublishing(name, address) } }
    }

    /// Answers for names no more.
    package nonisolated func withdraw(_ names: [DNSName]) {
        guard !names.isEmpty else { return }
        eventLoop.execute { self.assumeIsolated { $0.stopPublishing(names) } }
    }

    // MARK: On the loop

    private func startResolving(_ name: DNSName, _ onResult: @escaping @Sendable ([IPAddress]) -> Void) {
        open()
        waiters[name, default: []].append(onResult)
        resolver.resolve(name, at: PeerDriver.now())
        drain()
    }

    private func startPublishing(_ name: DNSName, _ address: IPAddress) {
        open()
        if !responder.publish(name, address: address) {
            log.warning("too many names are published: \(name) is not")
        }
        drain()
    }

    private func stopPublishing(_ names: [DNSName]) {
        for name in names { responder.withdraw(name) }
        drain()
    }

    fileprivate func receive(_ envelope: AddressedEnvelope<ByteBuffer>, on port: PortID) {
        guard let remote = TransportAddress(envelope.remoteAddress) else { return }
        let destination = envelope.metadata?.packetInfo.flatMap { TransportAddress($0.destinationAddress) }
        let message: DNSMessage
        do throws(DNSError) {
            message = try DNSMessage(envelope.data.readableBytesSpan)
        } catch {
            return log.debug("a datagram from \(remote) is no mDNS message: \(error)")
        }
        // RFC 6762 §11: a response to the group comes from the local link in any case; anything else, and what is to be
        // answered to its sender, must prove by its address that it does.
        guard message.isResponse && destination?.ip.isMulticast == true || links.contains(remote.ip) else {
            return log.debug("a datagram from \(remote), which is not on the local link, is ignored")
        }
        let now = PeerDriver.now()
        if message.isResponse {
            resolver.receive(message, from: remote, on: port, at: now)
        } else {
            responder.receive(message, from: remote, on: port, at: now)
        }
    }

    fileprivate func drain() {
        while let transmit = resolver.nextTransmit() ?? responder.nextTransmit() {
            sockets[transmit.port]?.send(transmit.bytes, to: transmit.destination)
        }
        while let event = resolver.nextEvent() {
            switch event {
            case .resolved(let name, let addresses): tell(name, addresses)
            case .failed(let name): tell(name, [])
            }
        }
        schedule()
    }

    private func tell(_ name: DNSName, _ addresses: [IPAddress]) {
        for waiter in waiters.removeValue(forKey: name) ?? [] { waiter(addresses) }
    }

    private func schedule() {
        timer?.cancel()
        timer = nil
        if let deadline = Deadline.earlier(resolver.nextDeadline, responder.nextDeadline) {
            let instant = NIODeadline.uptimeNanoseconds(UInt64(clamping: deadline.instant.nanoseconds))
            timer = eventLoop.scheduleTask(deadline: instant) { self.assumeIsolated { $0.timerFired() } }
        }
        if resolver.isBusy || responder.isBusy {
            idleTimer?.cancel()
            idleTimer = nil
        } else if isOpen, idleTimer == nil {
            idleTimer = eventLoop.scheduleTask(in: Self.idleTime) { self.assumeIsolated { $0.close() } }
        }
    }

    private func timerFired() {
        timer = nil
        let now = PeerDriver.now()
        resolver.handleTimeout(at: now)
        responder.handleTimeout(at: now)
        drain()
    }

    // MARK: Sockets

    private func open() {
        guard !isOpen else { return }
        isOpen = true
        networkListener = NetworkMonitor.shared.addListener { [weak self] in
            guard let self else { return }
            self.eventLoop.execute { self.assumeIsolated { $0.matchInterfaces() } }
        }
        matchInterfaces()
    }

    /// Opens sockets on interfaces that have come and closes those of interfaces that are gone.
    private func matchInterfaces() {
        guard isOpen else { return }
        let running = MulticastInterface.running()
        let interfaces = onlyLoopback ? running.filter(\.isLoopback) : MulticastInterface.used(of: running)
        // This machine may speak to itself with any of its addresses.
        let own = running.flatMap(\.networks).map { LocalLinks.Network($0.address, prefixLength: .max) }
        links = LocalLinks(interfaces.flatMap(\.networks) + own)
        for (id, socket) in sockets {
            let isWanted = interfaces.contains {
                $0.index == socket.interface && (socket.isIPv4 ? $0.hasIPv4 : $0.hasIPv6)
            }
            guard !isWanted else { continue }
            socket.close()
            sockets[id] = nil
        }
        for interface in interfaces {
            if interface.hasIPv4 { openSocket(on: interface, isIPv4: true) }
            if interface.hasIPv6 { openSocket(on: interface, isIPv4: false) }
        }
        tellPorts()
    }

    private func openSocket(on interface: MulticastInterface, isIPv4: Bool) {
        let isOpen = sockets.values.contains { $0.interface == interface.index && $0.isIPv4 == isIPv4 }
        guard !isOpen else { return }
        let id = PortID(rawValue: nextPortID)
        nextPortID += 1
        let family = isIPv4 ? "IPv4" : "IPv6"
        let (socket, errorNumber) = MDNSSocket.open(id: id, interface: interface.index, isIPv4: isIPv4)
        let reason = unsafe String(cString: strerror(errorNumber))
        guard let socket else { return log.debug("no mDNS by \(family) on \(interface.name): \(reason)") }
        if socket.kind == .oneShot {
            log.debug("port 5353 cannot be shared by \(family) on \(interface.name): \(reason); this side asks only")
        }
        socket.read(on: eventLoop, handler: { MDNSHandler(service: self, port: id) })
        sockets[id] = socket
    }

    /// Forgets a socket that has ended by itself: its descriptor may be another's soon.
    fileprivate func socketEnded(_ port: PortID) {
        guard let socket = sockets.removeValue(forKey: port) else { return }
        log.debug("an mDNS socket on interface \(socket.interface) has ended")
        socket.close()
        tellPorts()
        drain()
    }

    private func tellPorts() {
        resolver.setPorts(sockets.mapValues(\.kind))
        responder.setPorts(Set(sockets.values.filter { $0.kind == .member }.map(\.id)))
    }

    /// Until somebody needs a name again.
    private func close() {
        idleTimer = nil
        guard !resolver.isBusy, !responder.isBusy else { return }
        isOpen = false
        if let networkListener { NetworkMonitor.shared.removeListener(networkListener) }
        networkListener = nil
        for socket in sockets.values { socket.close() }
        sockets = [:]
        tellPorts()
    }

    private static let idleTime = TimeAmount.seconds(10)
}

/// Hands what a socket reads to the service, on its event loop.
private final class MDNSHandler: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    private let service: MDNSService
    private let port: PortID

    init(service: MDNSService, port: PortID) {
        self.service = service
        self.port = port
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let envelope = Self.unwrapInboundIn(data)
        service.assumeIsolated { [port] in $0.receive(envelope, on: port) }
    }

    func channelReadComplete(context: ChannelHandlerContext) { service.assumeIsolated { $0.drain() } }

    func channelInactive(context: ChannelHandlerContext) { service.assumeIsolated { [port] in $0.socketEnded(port) } }

    /// One error, as the ICMP answer to a datagram, does not end the socket's use.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {}
}
