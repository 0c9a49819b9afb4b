internal import CLinux
internal import Glibc
internal import MDNS
internal import NIOPosix
package import STUN
package import SansIO
internal import UDPSockets

/// Looks at the network as a connection would find it, for `rtc-peer doctor`.
package enum NetworkDiagnosis {
    /// An address that a connection would gather from.
    package struct Address: Hashable, Sendable {
        package var interfaceName: String
        package var ip: IPAddress
        /// Whether what goes far away leaves by it.
        package var isDefault: Bool
        /// Whether it fits the rules; false for one that is left out by them.
        package var isUsed: Bool

        package init(interfaceName: String, ip: IPAddress, isDefault: Bool, isUsed: Bool = true) {
            self.interfaceName = interfaceName
            self.ip = ip
            self.isDefault = isDefault
            self.isUsed = isUsed
        }
    }

    /// The addresses that make host candidates, as `RTCConfiguration`'s defaults and these rules have it, then those that
    /// the rules leave out.
    package static func addresses(rules: [RTCNetworkRule]) -> [Address] {
        let defaults = [true, false].compactMap { NetworkInterfaces.routedAddress(isIPv4: $0) }
        let used = NetworkInterfaces.addresses(includesLoopback: nil, rules: rules.map(\.rule))
        let leftOut = NetworkInterfaces.all(includesLoopback: nil).filter { !rules.map(\.rule).permit($0) }
        return (used + leftOut).map {
            Address(
                interfaceName: $0.interfaceName,
                ip: $0.ip,
                isDefault: defaults.contains($0.ip),
                isUsed: used.contains($0)
            )
        }
    }

    /// How many more addresses there are, which make no candidates since there are too many.
    package static func leftOutCount(rules: [RTCNetworkRule]) -> Int {
        let found = NetworkInterfaces.all(includesLoopback: nil).filter(rules.map(\.rule).permit)
        return max(0, found.count - NetworkInterfaces.addressLimit)
    }

    /// The addresses of a server's name; empty when there are none.
    package static func resolve(_ host: String) async -> [IPAddress] {
        await withCheckedContinuation { continuation in
            Resolver.addresses(of: host) { continuation.resume(returning: $0) }
        }
    }

    /// What a STUN server tells about the way to it, within about three seconds.
    package static func discover(server: TransportAddress, second: TransportAddress?) async -> NATFindings {
        await withCheckedContinuation { continuation in
            NIOThreadPool.singleton.submit { state in
                guard case .active = state else { return continuation.resume(returning: NATFindings()) }
                continuation.resume(returning: DiscoverySockets.run(server: server, second: second))
            }
        }
    }

    /// The address from which the kernel would send to another one.
    package static func source(for remote: TransportAddress) -> IPAddress? { NetworkInterfaces.source(for: remote) }

    /// Whether a name that one part of this process publishes is found by another, through the kernel's multicast.
    package static func isMulticastDNSHeard() async -> Bool {
        guard let name = DNSName("\(HiddenAddresses.uuid(RandomSource())).local") else { return false }
        let (publisher, asker) = (MDNSService(onlyLoopback: false), MDNSService(onlyLoopback: false))
        let address = IPAddress(v4: 0xC000_0201)
        publisher.publish(name, address: address)
        let found = await withCheckedContinuation { continuation in
            asker.resolve(name) { continuation.resume(returning: $0) }
        }
        publisher.withdraw([name])
        return found == [address]
    }
}

/// The sockets of a discovery, on a thread that may wait.
private struct DiscoverySockets: ~Copyable {
    private var descriptors: [CInt] = []

    deinit { for descriptor in descriptors { Glibc.close(descriptor) } }

    static func run(server: TransportAddress, second: TransportAddress?) -> NATFindings {
        var sockets = DiscoverySockets()
        guard sockets.open(isIPv4: server.ip.isIPv4) else { return NATFindings() }
        let discovery = NATDiscovery(server: server, second: second, random: RandomSource(), at: PeerDriver.now())
        while true {
            while let transmit = discovery.nextTransmit() { sockets.send(transmit) }
            guard let deadline = discovery.nextDeadline else { return discovery.findings }
            let wait = deadline.instant - PeerDriver.now()
            sockets.receive(within: wait, into: discovery)
            discovery.handleTimeout(at: PeerDriver.now())
        }
    }

    private mutating func open(isIPv4: Bool) -> Bool {
        for kind in NATDiscovery.Socket.allCases {
            let descriptor = socket(
                isIPv4 ? AF_INET : AF_INET6,
                Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue),
                0
            )
            guard descriptor >= 0 else { return false }
            descriptors.append(descriptor)
            guard kind == .sizes else { continue }
            // Nothing is cut up, and what the kernel believes of the path does not count (ip(7)).
            var value = IP_PMTUDISC_PROBE
            let (level, option) =
                isIPv4 ? (Int32(IPPROTO_IP), IP_MTU_DISCOVER) : (Int32(IPPROTO_IPV6), IPV6_MTU_DISCOVER)
            let size = socklen_t(MemoryLayout<CInt>.size)
            guard unsafe setsockopt(descriptor, level, option, &value, size) == 0 else { return false }
        }
        return true
    }

    /// What the kernel refuses, as too long for the interface, is as good as lost.
    private func send(_ transmit: NATDiscovery.Transmit) {
        let descriptor = descriptors[transmit.socket.rawValue]
        unsafe transmit.bytes.withUnsafeBytes { bytes in
            unsafe transmit.destination.withRawSockaddr { address, length in
                let address = unsafe address.assumingMemoryBound(to: sockaddr.self)
                _ = unsafe clinux_sendmsg(descriptor, bytes.baseAddress, bytes.count, address, length, 0)
            }
        }
    }

    private func receive(within wait: Duration, into discovery: NATDiscovery) {
        var polled = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        let milliseconds = Int32(clamping: max(0, wait.wholeMilliseconds) + 1)
        guard unsafe poll(&polled, nfds_t(polled.count), milliseconds) > 0 else { return }
        var buffer = [UInt8](repeating: 0, count: 2_048)
        for kind in NATDiscovery.Socket.allCases where polled[kind.rawValue].revents != 0 {
            for _ in 0..<64 {
                var storage = sockaddr_storage()
                var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
                let count = unsafe withUnsafeMutablePointer(to: &storage) { pointer in
                    unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        unsafe recvfrom(descriptors[kind.rawValue], &buffer, buffer.count, 0, $0, &length)
                    }
                }
                // An ICMP answer is one error; what waits behind it is read next time.
                guard count > 0,
                    let remote = unsafe withUnsafeBytes(of: &storage, { unsafe TransportAddress(sockaddr: $0) })
                else { break }
                unsafe discovery.receive(
                    buffer.span.bytes.extracting(0..<count),
                    from: remote,
                    on: kind,
                    at: PeerDriver.now()
                )
            }
        }
    }
}
