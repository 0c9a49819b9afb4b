internal import CLinux
internal import Glibc
internal import MDNS
internal import NIOCore
internal import NIOPosix
internal import SansIO
internal import UDPSockets

/// One UDP socket for multicast DNS on one interface, for one family: NIO reads it, this type writes it, as ``UDPPort``.
final class MDNSSocket {
    let id: PortID
    let interface: UInt32
    let isIPv4: Bool
    let kind: MDNSPortKind
    private let descriptor: CInt
    private var channel: (any Channel)?
    private var isClosed = false

    private init(id: PortID, interface: UInt32, isIPv4: Bool, kind: MDNSPortKind, descriptor: CInt) {
        self.id = id
        self.interface = interface
        self.isIPv4 = isIPv4
        self.kind = kind
        self.descriptor = descriptor
    }

    /// Opens a socket on port 5353 that is in the group; where that is not possible (a program that does not share the
    /// port, a container), one that can only ask.
    ///
    /// - Returns: nil if there is not even that, and the number of the last error.
    static func open(id: PortID, interface: UInt32, isIPv4: Bool) -> (socket: MDNSSocket?, errorNumber: CInt) {
        var errorNumber: CInt = 0
        for kind in [MDNSPortKind.member, .oneShot] {
            switch makeDescriptor(interface: interface, isIPv4: isIPv4, kind: kind) {
            case .success(let descriptor):
                let socket = MDNSSocket(
                    id: id,
                    interface: interface,
                    isIPv4: isIPv4,
                    kind: kind,
                    descriptor: descriptor
                )
                return (socket, errorNumber)
            case .failure(let error): errorNumber = error.number
            }
        }
        return (nil, errorNumber)
    }

    /// Begins to read; the socket can send before.
    func read(on eventLoop: any EventLoop, handler: @escaping @Sendable () -> any ChannelHandler) {
        let opening = DatagramBootstrap(group: eventLoop)
            .channelOption(.receivePacketInfo, value: true)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: DNSMessage.byteLimit))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(handler()) }
            }
            .withBoundSocket(descriptor)
        opening.assumeIsolated().whenSuccess { channel in
            if self.isClosed { channel.close(mode: .all, promise: nil) } else { self.channel = channel }
        }
    }

    /// What cannot be sent is lost like a datagram: it is sent again.
    func send(_ bytes: [UInt8], to destination: MDNSTransmit.Destination) {
        guard !isClosed else { return }
        let remote: TransportAddress
        switch destination {
        case .group where isIPv4: remote = TransportAddress(MDNS.groupIPv4, port: MDNS.port)
        case .group:
            let group = IPAddress(v6High: MDNS.groupIPv6.high, v6Low: MDNS.groupIPv6.low, scopeID: interface)
            remote = TransportAddress(group, port: MDNS.port)
        case .unicast(let address): remote = address
        }
        guard remote.ip.isIPv4 == isIPv4 else { return }
        unsafe bytes.withUnsafeBytes { bytes in
            unsafe remote.withRawSockaddr { address, length in
                let address = unsafe address.assumingMemoryBound(to: sockaddr.self)
                _ = unsafe clinux_sendmsg(descriptor, bytes.baseAddress, bytes.count, address, length, 0)
            }
        }
    }

    /// The channel owns the descriptor as soon as it is asked to take it; it closes when it is there.
    func close() {
        isClosed = true
        channel?.close(mode: .all, promise: nil)
        channel = nil
    }

    // MARK: Making

    private struct SystemError: Error {
        var number: CInt
    }

    private static func makeDescriptor(
        interface: UInt32,
        isIPv4: Bool,
        kind: MDNSPortKind
    ) -> Result<CInt, SystemError> {
        let descriptor = socket(
            isIPv4 ? AF_INET : AF_INET6,
            Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue),
            0
        )
        guard descriptor >= 0 else { return .failure(SystemError(number: errno)) }
        do throws(SystemError) {
            if isIPv4 {
                try prepareIPv4(descriptor, interface: interface, kind: kind)
            } else {
                try prepareIPv6(descriptor, interface: interface, kind: kind)
            }
        } catch {
            Glibc.close(descriptor)
            return .failure(error)
        }
        return .success(descriptor)
    }

    private static func prepareIPv4(_ descriptor: CInt, interface: UInt32, kind: MDNSPortKind) throws(SystemError) {
        let level = Int32(IPPROTO_IP)
        var request = ip_mreqn()
        request.imr_multiaddr.s_addr = UInt32(truncatingIfNeeded: MDNS.groupIPv4.low).bigEndian
        request.imr_ifindex = Int32(bitPattern: interface)
        try set(descriptor, level, IP_MULTICAST_IF, request)
        try set(descriptor, level, IP_MULTICAST_TTL, 255 as CInt)
        try set(descriptor, level, IP_TTL, 255 as CInt)
        // Two programs of one machine find each other.
        try set(descriptor, level, IP_MULTICAST_LOOP, 1 as CInt)
        // Only what comes by this interface.
        try set(descriptor, level, IP_MULTICAST_ALL, 0 as CInt)
        try bind(descriptor, .anyIPv4, kind: kind)
        if kind == .member { try set(descriptor, level, IP_ADD_MEMBERSHIP, request) }
    }

    private static func prepareIPv6(_ descriptor: CInt, interface: UInt32, kind: MDNSPortKind) throws(SystemError) {
        let level = Int32(IPPROTO_IPV6)
        try set(descriptor, level, IPV6_V6ONLY, 1 as CInt)
        try set(descriptor, level, IPV6_MULTICAST_IF, interface)
        try set(descriptor, level, IPV6_MULTICAST_HOPS, 255 as CInt)
        try set(descriptor, level, IPV6_UNICAST_HOPS, 255 as CInt)
        try set(descriptor, level, IPV6_MULTICAST_LOOP, 1 as CInt)
        // Since Linux 4.20; without it the messages of other interfaces come as well, and do no harm.
        try? set(descriptor, level, multicastAllIPv6, 0 as CInt)
        try bind(descriptor, .anyIPv6, kind: kind)
        guard kind == .member else { return }
        var request = ipv6_mreq()
        unsafe withUnsafeMutableBytes(of: &request) { bytes in
            unsafe bytes.storeBytes(of: MDNS.groupIPv6.high.bigEndian, toByteOffset: 0, as: UInt64.self)
            unsafe bytes.storeBytes(of: MDNS.groupIPv6.low.bigEndian, toByteOffset: 8, as: UInt64.self)
        }
        request.ipv6mr_interface = interface
        let byteCount = socklen_t(MemoryLayout<ipv6_mreq>.size)
        guard unsafe setsockopt(descriptor, level, IPV6_JOIN_GROUP, &request, byteCount) == 0 else {
            throw SystemError(number: errno)
        }
    }

    private static func bind(_ descriptor: CInt, _ ip: IPAddress, kind: MDNSPortKind) throws(SystemError) {
        if kind == .member {
            // RFC 6762 §15.1: with other programs that speak multicast DNS.
            try set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1 as CInt)
            try set(descriptor, SOL_SOCKET, SO_REUSEPORT, 1 as CInt)
        }
        let address = TransportAddress(ip, port: kind == .member ? MDNS.port : 0)
        let status = unsafe address.withRawSockaddr { address, length in
            unsafe Glibc.bind(descriptor, address.assumingMemoryBound(to: sockaddr.self), length)
        }
        guard status == 0 else { throw SystemError(number: errno) }
    }

    private static func set<Value: BitwiseCopyable>(
        _ descriptor: CInt,
        _ level: CInt,
        _ option: CInt,
        _ value: Value
    ) throws(SystemError) {
        var value = value
        guard unsafe setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Value>.size)) == 0 else {
            throw SystemError(number: errno)
        }
    }

    /// IPV6_MULTICAST_ALL, which older headers lack.
    private static let multicastAllIPv6: CInt = 29
}
