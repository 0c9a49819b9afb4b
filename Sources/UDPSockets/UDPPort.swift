internal import CLinux
internal import Glibc
package import NIOCore
internal import NIOPosix
package import SansIO

/// One bound UDP socket: NIO reads it, this type writes it.
///
/// Writes do not go through NIO: its datagram channel closes itself on ENETUNREACH, EINVAL or EPERM, which any
/// candidate of the peer can provoke, and a train of segments can leave straight from the engine's slab. Confined
/// to the event loop.
package final class UDPPort {
    package let id: PortID
    package let localAddress: TransportAddress
    package let channel: any Channel
    private let descriptor: CInt
    /// Whether the kernel segments trains for this port (UDP GSO); off for good after the first refusal.
    package private(set) var offloadsSegmentation = true
    /// Datagrams that the kernel refused, by the last error number.
    package private(set) var refusedCount = 0
    package private(set) var lastErrorNumber: CInt = 0

    package enum SendResult { case sent, tryLater }

    /// Room for a datagram until they come joined (``ReceiveOffload``): few connections carry much, and each keeps its
    /// buffer.
    private static let firstReadByteCount = 2_048

    /// The kernel's buffers of a port, in bytes (it may grant less).
    package static let bufferByteCount: CInt = 4 << 20

    private init(id: PortID, localAddress: TransportAddress, channel: any Channel, descriptor: CInt) {
        self.id = id
        self.localAddress = localAddress
        self.channel = channel
        self.descriptor = descriptor
    }

    /// Binds a socket and starts reading it.
    ///
    /// `isEven` asks for an even port, of `portRange` or of the dynamic ones (RFC 6335 §6). `onBound` gets the system's words when the address or port cannot be bound.
    package static func bind(
        _ ip: IPAddress,
        portRange: ClosedRange<UInt16>?,
        isEven: Bool = false,
        bufferByteCount: CInt = UDPPort.bufferByteCount,
        id: PortID,
        eventLoop: any EventLoop,
        handler: @escaping @Sendable () -> any ChannelHandler,
        onBound: @escaping @Sendable (Result<UDPPort, UDPSocketError>) -> Void
    ) {
        let descriptor: CInt
        let local: TransportAddress
        switch makeSocket(ip, ports: ports(portRange, isEven: isEven), bufferByteCount: bufferByteCount) {
        case .success(let made): (descriptor, local) = made
        case .failure(let error): return onBound(.failure(error))
        }
        DatagramBootstrap(group: eventLoop)
            .channelOption(.datagramReceiveSegmentSize, value: true)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: firstReadByteCount))
            .channelOption(.maxMessagesPerRead, value: 4)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(handler()) }
            }
            .withBoundSocket(descriptor)
            .whenComplete { result in
                switch result {
                case .success(let channel):
                    onBound(.success(UDPPort(id: id, localAddress: local, channel: channel, descriptor: descriptor)))
                case .failure(let error):
                    onBound(.failure(UDPSocketError(reason: "cannot use UDP port \(local): \(error)")))
                }
            }
    }

    /// Sends a train of datagrams of `segmentByteCount` bytes each but the last.
    package func send(
        _ bytes: UnsafeRawBufferPointer,
        segmentByteCount: Int,
        to remote: TransportAddress,
        fragmentation: Fragmentation
    ) -> SendResult {
        guard fragmentation != .asUsual else {
            return unsafe send(bytes, segmentByteCount: segmentByteCount, to: remote)
        }
        setPathMTUDiscovery(fragmentation == .forbidden ? IP_PMTUDISC_PROBE : IP_PMTUDISC_DONT)
        defer { setPathMTUDiscovery(IP_PMTUDISC_WANT) }
        return unsafe sendSingly(bytes, segmentByteCount: segmentByteCount, to: remote)
    }

    private func send(_ bytes: UnsafeRawBufferPointer, segmentByteCount: Int, to remote: TransportAddress) -> SendResult
    {
        guard remote.ip.isIPv4 == localAddress.ip.isIPv4 else {
            refusedCount += 1
            return .sent
        }
        let isTrain = bytes.count > segmentByteCount
        if isTrain && !offloadsSegmentation {
            return unsafe sendSingly(bytes, segmentByteCount: segmentByteCount, to: remote)
        }
        let result = unsafe write(bytes, segment: isTrain ? UInt16(segmentByteCount) : 0, to: remote)
        if result >= 0 { return .sent }
        switch CInt(-result) {
        case EAGAIN, ENOBUFS: return .tryLater
        case EIO where isTrain, EINVAL where isTrain, EOPNOTSUPP where isTrain, EMSGSIZE where isTrain:
            // No checksum offload on this path, or a tunnel: RFC-conforming single datagrams always work.
            offloadsSegmentation = false
            return unsafe sendSingly(bytes, segmentByteCount: segmentByteCount, to: remote)
        case let number:
            refusedCount += 1
            lastErrorNumber = number
            return .sent
        }
    }

    /// Sets whether what is sent may be cut up on its way (ip(7), IP_MTU_DISCOVER; its values are those of ipv6(7)).
    private func setPathMTUDiscovery(_ value: CInt) {
        if localAddress.ip.isIPv4 {
            Self.set(descriptor, Int32(IPPROTO_IP), IP_MTU_DISCOVER, value)
        } else {
            Self.set(descriptor, Int32(IPPROTO_IPV6), IPV6_MTU_DISCOVER, value)
        }
    }

    package func close() { channel.close(mode: .all, promise: nil) }

    private func sendSingly(
        _ bytes: UnsafeRawBufferPointer,
        segmentByteCount: Int,
        to remote: TransportAddress
    ) -> SendResult {
        var offset = 0
        while offset < bytes.count {
            let end = min(offset + segmentByteCount, bytes.count)
            let result = unsafe write(UnsafeRawBufferPointer(rebasing: bytes[offset..<end]), segment: 0, to: remote)
            if result < 0 {
                refusedCount += 1
                lastErrorNumber = CInt(-result)
            }
            offset = end
        }
        return .sent
    }

    private func write(_ bytes: UnsafeRawBufferPointer, segment: UInt16, to remote: TransportAddress) -> Int {
        unsafe remote.withSockaddr { address, length in
            unsafe clinux_sendmsg(descriptor, bytes.baseAddress, bytes.count, address, length, segment)
        }
    }

    /// The ports to try, in this order; 0 leaves it to the system.
    private static func ports(_ range: ClosedRange<UInt16>?, isEven: Bool) -> [UInt16] {
        guard isEven else { return range.map { Array($0).shuffled() } ?? [0] }
        return (range ?? 49_152...65_535).filter { $0 % 2 == 0 }.shuffled()
    }

    private static func makeSocket(
        _ ip: IPAddress,
        ports: [UInt16],
        bufferByteCount: CInt
    ) -> Result<(CInt, TransportAddress), UDPSocketError> {
        let family = ip.isIPv4 ? AF_INET : AF_INET6
        let descriptor = socket(
            family,
            Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue),
            0
        )
        guard descriptor >= 0 else { return .failure(systemError("cannot open a UDP socket")) }
        if !ip.isIPv4 { set(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 1) }
        set(descriptor, SOL_SOCKET, SO_RCVBUF, bufferByteCount)
        set(descriptor, SOL_SOCKET, SO_SNDBUF, bufferByteCount)
        for port in ports {
            let bound = unsafe TransportAddress(ip, port: port).withSockaddr { unsafe Glibc.bind(descriptor, $0, $1) }
            if bound == 0 {
                guard let local = TransportAddress(ofSocket: descriptor) else { break }
                return .success((descriptor, local))
            }
            guard errno == EADDRINUSE else { break }
        }
        let wanted = ports.count == 1 && ports[0] != 0 ? "the UDP port \(ports[0])" : "a UDP port"
        let error = systemError("cannot bind \(wanted) on \(ip)")
        Glibc.close(descriptor)
        return .failure(error)
    }

    private static func set(_ descriptor: CInt, _ level: CInt, _ option: CInt, _ value: CInt) {
        var value = value
        _ = unsafe setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<CInt>.size))
    }

    private static func systemError(_ what: String) -> UDPSocketError {
        let number = errno
        return UDPSocketError(reason: unsafe "\(what): \(String(cString: strerror(number)))", errorNumber: number)
    }
}

/// Why a socket cannot be had, in the system's words.
package struct UDPSocketError: Error, Hashable, CustomStringConvertible {
    package let description: String
    private let errorNumber: CInt

    package init(reason: String, errorNumber: CInt = 0) {
        description = reason
        self.errorNumber = errorNumber
    }

    /// Whether another socket has the port.
    package var isPortTaken: Bool { errorNumber == EADDRINUSE }
    /// Whether the machine does not have the address, or not yet.
    package var isAddressMissing: Bool { errorNumber == EADDRNOTAVAIL }
}
