internal import ICE
internal import NIOCore
internal import STUN
internal import SansIO
internal import UDPSockets

/// The sockets of a shared port, one for each local address, and who gets what comes in.
///
/// Confined to its event loop, as all its connections are, so nothing is locked: what may be called from elsewhere says so.
final class SharedPortCore: @unchecked Sendable {
    let eventLoop: any EventLoop

    /// A connection on this port.
    private final class Member {
        let driver: PeerDriver
        /// The connection's names of the sockets.
        var ports: [Int: PortID] = [:]
        /// Whether it has got something that it has not drained.
        var isTouched = false

        init(driver: PeerDriver) { self.driver = driver }
    }

    private struct Traffic {
        var datagrams = 0
        var bytes = 0
        /// For a connection that does not use the socket, or not yet.
        var unlistened = 0
    }

    private let demultiplexer = PortDemultiplexer()
    private var members: [PortDemultiplexer.Member: Member] = [:]
    private var sockets: [Int: UDPPort] = [:]
    private var nextSocket = 0
    /// Who waits for the socket of an address that is being bound.
    private var waiting: [IPAddress: [@Sendable (Result<Int, UDPSocketError>) -> Void]] = [:]
    private var touched: [Member] = []
    private var traffic = Traffic()
    private var number: UInt16 = 0
    private var openCount = 0
    private var isClosed = false
    /// Whether addresses that the machine gets later are bound as well.
    private(set) var followsMachine = true
    private var closedWaiters: [CheckedContinuation<Void, Never>] = []
    /// Whose datagrams came last: a burst is one connection's, mostly.
    private var lastSocket = -1
    private var lastRemote: TransportAddress?
    private var lastRevision = -1
    private var lastMember: Member?

    /// A busy port's, in bytes; the kernel may grant less.
    private static let bufferByteCount: CInt = 16 << 20
    /// How often another number is tried, if the system may choose and another program has the number at one address.
    private static let attempts = 16

    init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    // MARK: Sockets

    /// Binds one number at all addresses; 0 lets the system choose it.
    ///
    /// `isExact`: an address that the machine does not have is an error; else it is left out as long as there is another.
    func open(
        _ addresses: [IPAddress],
        port: UInt16,
        isExact: Bool,
        attempt: Int = 1,
        completion: @escaping @Sendable (Result<(UInt16, [IPAddress]), UDPSocketError>) -> Void
    ) {
        number = port
        followsMachine = !isExact
        bindNext(addresses[...], isExact: isExact) { error in
            guard let error else {
                return completion(.success((self.number, self.addresses)))
            }
            for socket in self.sockets.values { socket.close() }
            self.sockets = [:]
            if port == 0, error.isPortTaken, attempt < Self.attempts {
                self.open(addresses, port: 0, isExact: isExact, attempt: attempt + 1, completion: completion)
            } else {
                completion(.failure(error))
            }
        }
    }

    private func bindNext(
        _ addresses: ArraySlice<IPAddress>,
        isExact: Bool,
        completion: @escaping @Sendable (UDPSocketError?) -> Void
    ) {
        guard let ip = addresses.first else {
            return completion(sockets.isEmpty ? UDPSocketError(reason: "no local address to bind a UDP port on") : nil)
        }
        socket(at: ip) { result in
            if case .failure(let error) = result, isExact || !error.isAddressMissing || addresses.count == 1 {
                if isExact || error.isPortTaken || self.sockets.isEmpty { return completion(error) }
            }
            self.bindNext(addresses.dropFirst(), isExact: isExact, completion: completion)
        }
    }

    /// The socket of an address; bound if there is none yet, as for an address that came later.
    func socket(at ip: IPAddress, completion: @escaping @Sendable (Result<Int, UDPSocketError>) -> Void) {
        eventLoop.preconditionInEventLoop()
        if let known = sockets.first(where: { $0.value.localAddress.ip == ip }) {
            return completion(.success(known.key))
        }
        guard !isClosed else { return completion(.failure(UDPSocketError(reason: "the shared UDP port is closed"))) }
        if waiting[ip] != nil {
            waiting[ip]?.append(completion)
            return
        }
        makeRoom()
        guard sockets.count + waiting.count < NetworkInterfaces.addressLimit else {
            return completion(.failure(UDPSocketError(reason: "the shared UDP port has too many addresses for \(ip)")))
        }
        waiting[ip] = [completion]
        let index = nextSocket
        nextSocket += 1
        openCount += 1
        UDPPort.bind(
            ip,
            portRange: number == 0 ? nil : number...number,
            bufferByteCount: Self.bufferByteCount,
            id: PortID(rawValue: index),
            eventLoop: eventLoop,
            handler: { SharedPortHandler(core: self, socket: index) },
            onBound: { result in
                nonisolated(unsafe) let result = result  // made on this loop, handed over on this loop
                self.eventLoop.execute { unsafe self.didBind(result, ip, index) }
            }
        )
    }

    private func didBind(_ result: Result<UDPPort, UDPSocketError>, _ ip: IPAddress, _ index: Int) {
        let waiters = waiting.removeValue(forKey: ip) ?? []
        switch result {
        case .success(let port):
            if isClosed {
                port.close()
                for waiter in waiters { waiter(.failure(UDPSocketError(reason: "the shared UDP port is closed"))) }
            } else {
                sockets[index] = port
                number = port.localAddress.port
                for waiter in waiters { waiter(.success(index)) }
            }
        case .failure(let error):
            didCloseSocket()
            for waiter in waiters { waiter(.failure(error)) }
        }
    }

    /// Closes sockets of addresses that the machine has no more and that no connection has, if there are many.
    private func makeRoom() {
        guard sockets.count >= NetworkInterfaces.addressLimit else { return }
        let present = NetworkInterfaces.ownAddresses()
        for (index, socket) in sockets where !present.contains(socket.localAddress.ip) {
            guard !members.values.contains(where: { $0.ports[index] != nil }) else { continue }
            sockets[index] = nil
            socket.close()
        }
    }

    var addresses: [IPAddress] { sockets.sorted { $0.key < $1.key }.map(\.value.localAddress.ip) }

    func didCloseSocket() {
        openCount -= 1
        if isClosed, openCount <= 0 { resumeClosedWaiters() }
    }

    // MARK: Connections

    func add(_ driver: PeerDriver) -> PortDemultiplexer.Member {
        eventLoop.preconditionInEventLoop()
        let id = demultiplexer.addMember()
        members[id] = Member(driver: driver)
        return id
    }

    /// Lets a connection use a socket, by its own name for it; nil if the port was closed meanwhile.
    func join(_ index: Int, as port: PortID, _ id: PortDemultiplexer.Member) -> UDPPort? {
        guard let member = members[id], let socket = sockets[index] else { return nil }
        member.ports[index] = port
        return socket
    }

    func leave(_ index: Int, _ id: PortDemultiplexer.Member) { members[id]?.ports[index] = nil }

    /// - Returns: whether requests with this fragment reach the connection from now on.
    func register(_ fragment: String, for id: PortDemultiplexer.Member) -> Bool {
        demultiplexer.register(fragment, for: id)
    }

    func remove(_ id: PortDemultiplexer.Member) {
        eventLoop.preconditionInEventLoop()
        demultiplexer.remove(id)
        members[id] = nil
        lastMember = nil
    }

    /// Notes the requests in a train that is about to leave.
    func noteRequests(
        _ bytes: UnsafeRawBufferPointer,
        segmentByteCount: Int,
        to remote: TransportAddress,
        on socket: Int,
        of member: PortDemultiplexer.Member
    ) {
        var offset = 0
        while offset + STUNMessage.headerByteCount <= bytes.count {
            // A Binding request, RFC 8489 §5.
            if unsafe bytes[offset] == 0, unsafe bytes[offset + 1] == 1,
                unsafe UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self))
                    == STUNMessage.magicCookie
            {
                let high = unsafe bytes.loadUnaligned(fromByteOffset: offset + 8, as: UInt32.self)
                let low = unsafe bytes.loadUnaligned(fromByteOffset: offset + 12, as: UInt64.self)
                let id = STUNTransactionID(high: UInt32(bigEndian: high), low: UInt64(bigEndian: low))
                demultiplexer.noteRequest(id, to: remote, on: socket, of: member)
            }
            offset += max(1, segmentByteCount)
        }
    }

    // MARK: Reading

    /// Takes a read burst: one datagram, or several of one sender that the kernel joined (GRO).
    func receive(_ envelope: AddressedEnvelope<ByteBuffer>, on socket: Int) {
        guard let remote = TransportAddress(envelope.remoteAddress) else { return }
        let bytes = envelope.data.readableBytesSpan
        let segment = max(1, envelope.metadata?.segmentSize ?? bytes.byteCount)
        traffic.bytes += bytes.byteCount
        // Checks in between go their own way; the others are one connection's and go together.
        var first = 0
        var offset = 0
        while offset < bytes.byteCount {
            let end = min(offset + segment, bytes.byteCount)
            traffic.datagrams += 1
            if bytes.uint8(at: offset) < 4 {
                deliver(envelope.data, first..<offset, segment, from: remote, on: socket)
                receive(stun: envelope.data, offset..<end, from: remote, on: socket)
                first = end
            }
            offset = end
        }
        deliver(envelope.data, first..<offset, segment, from: remote, on: socket)
    }

    private func deliver(
        _ data: ByteBuffer,
        _ range: Range<Int>,
        _ segment: Int,
        from remote: TransportAddress,
        on socket: Int
    ) {
        guard !range.isEmpty else { return }
        if lastMember == nil || lastSocket != socket || lastRevision != demultiplexer.revision || lastRemote != remote {
            let count = (range.count + segment - 1) / segment
            guard let id = demultiplexer.ownerOrDrop(of: remote, on: socket, count: count) else { return }
            lastMember = members[id]
            (lastSocket, lastRemote, lastRevision) = (socket, remote, demultiplexer.revision)
        }
        guard let member = lastMember, let port = member.ports[socket] else {
            traffic.unlistened += 1
            return
        }
        touch(member)
        member.driver.assumeIsolated { $0.receive(data, range, segment, from: remote, on: port) }
    }

    private func receive(
        stun data: ByteBuffer,
        _ range: Range<Int>,
        from remote: TransportAddress,
        on socket: Int
    ) {
        let now = PeerDriver.now()
        let datagram = data.readableBytesSpan.extracting(range)
        guard let id = demultiplexer.route(stun: datagram, from: remote, on: socket, at: now) else { return }
        guard let member = members[id], let port = member.ports[socket] else {
            traffic.unlistened += 1
            return
        }
        touch(member)
        let proof = member.driver.assumeIsolated { $0.receive(stun: data, range, from: remote, on: port, at: now) }
        if let proof { demultiplexer.claim(remote, on: socket, by: proof, for: id, at: now) }
    }

    private func touch(_ member: Member) {
        guard !member.isTouched else { return }
        member.isTouched = true
        touched.append(member)
    }

    /// Lets every connection act that got something; after a batch of reads.
    func drain() {
        while let member = touched.popLast() {
            member.isTouched = false
            member.driver.assumeIsolated { $0.drain() }
        }
    }

    // MARK: Statistics, end

    var statistics: SharedUDPPort.Statistics {
        var result = SharedUDPPort.Statistics()
        let counts = demultiplexer.counts
        result.connections = demultiplexer.memberCount
        result.remoteAddresses = demultiplexer.addressCount
        result.packetsReceived = traffic.datagrams
        result.bytesReceived = traffic.bytes
        result.unknownUsernames = counts.unknownUsernames
        result.unknownAddresses = counts.unknownAddresses + traffic.unlistened
        result.unknownResponses = counts.unknownResponses
        result.malformed = counts.malformed
        result.conflicts = counts.conflicts
        result.movedAddresses = counts.moves
        return result
    }

    /// Closes the sockets; connections that are still there lose their paths through them.
    func close() {
        eventLoop.preconditionInEventLoop()
        guard !isClosed else { return }
        isClosed = true
        for socket in sockets.values { socket.close() }
        sockets = [:]
        for member in members.values {
            let ports = Array(member.ports.values)
            member.ports = [:]
            member.driver.assumeIsolated { $0.sharedPortClosed(ports) }
        }
        if openCount <= 0 { resumeClosedWaiters() }
    }

    /// Returns when the sockets are closed.
    func waitUntilClosed() async {
        await withCheckedContinuation { continuation in
            eventLoop.execute {
                if self.isClosed, self.openCount <= 0 {
                    continuation.resume()
                } else {
                    self.closedWaiters.append(continuation)
                }
            }
        }
    }

    private func resumeClosedWaiters() {
        for waiter in closedWaiters { waiter.resume() }
        closedWaiters = []
    }
}

/// The one handler of a shared socket's pipeline.
final class SharedPortHandler: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    private let core: SharedPortCore
    private let socket: Int
    private var offload = ReceiveOffload()

    init(core: SharedPortCore, socket: Int) {
        self.core = core
        self.socket = socket
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        offload.countRead(context.channel)
        core.receive(Self.unwrapInboundIn(data), on: socket)
    }

    func channelReadComplete(context: ChannelHandlerContext) { core.drain() }

    // NIO goes on reading after errors of a datagram socket (ECONNREFUSED of what some connection sent).
    func errorCaught(context: ChannelHandlerContext, error: any Error) {}

    func channelInactive(context: ChannelHandlerContext) { core.didCloseSocket() }
}
