internal import CLinux
internal import Glibc
package import SansIO

/// A local address that may become a host candidate.
package struct LocalAddress: Hashable {
    package var ip: IPAddress
    package var interfaceName: String

    package init(ip: IPAddress, interfaceName: String) {
        self.ip = ip
        self.interfaceName = interfaceName
    }
}

package enum NetworkInterfaces {
    /// Most addresses that are gathered from, so that a machine with hundreds of bridges still connects.
    package static let addressLimit = 16

    /// The addresses that candidates are gathered from, of ``all(includesLoopback:)``: if there are too many, those that
    /// default routes leave with, then one of each family and interface, then the others.
    ///
    /// `rules` that name loopback include it where `includesLoopback` is nil.
    package static func addresses(includesLoopback: Bool?, rules: [NetworkRule] = []) -> [LocalAddress] {
        let found = all(includesLoopback: includesLoopback ?? (rules.nameLoopback ? true : nil)).filter(rules.permit)
        guard found.count > addressLimit else { return found }
        let routed = [true, false].compactMap { routedAddress(isIPv4: $0) }
        return Array(ranked(found, routed: routed).prefix(addressLimit))
    }

    /// Those that lead farthest first, else in their order.
    package static func ranked(_ addresses: [LocalAddress], routed: [IPAddress]) -> [LocalAddress] {
        struct Network: Hashable {
            let interfaceName: String
            let isIPv4: Bool
        }
        var seen: Set<Network> = []
        var ranks: [[LocalAddress]] = [[], [], []]
        for address in addresses {
            let isFirst = seen.insert(Network(interfaceName: address.interfaceName, isIPv4: address.ip.isIPv4)).inserted
            ranks[routed.contains(address.ip) ? 0 : isFirst ? 1 : 2].append(address)
        }
        return ranks.flatMap(\.self)
    }

    /// Addresses of interfaces that are up: never unspecified, multicast or IPv4 link-local ones; loopback as asked;
    /// IPv6 link-local ones are left out, since their scope means nothing to a peer (RFC 8835 §3.1).
    ///
    /// `includesLoopback`: nil includes loopback when there is nothing else.
    package static func all(includesLoopback: Bool?) -> [LocalAddress] {
        // Running: with a carrier, a cable that is plugged in. netdevice(7)
        let upAndRunning = UInt32(IFF_UP) | UInt32(IFF_RUNNING)
        var list: UnsafeMutablePointer<ifaddrs>?
        guard unsafe getifaddrs(&list) == 0 else { return [] }
        defer { unsafe freeifaddrs(list) }
        var found: [LocalAddress] = []
        var loopback: [LocalAddress] = []
        var next = unsafe list
        while let entry = unsafe next {
            unsafe next = entry.pointee.ifa_next
            guard unsafe entry.pointee.ifa_flags & upAndRunning == upAndRunning,
                let address = unsafe entry.pointee.ifa_addr, let ip = unsafe TransportAddress(sockaddrAt: address)?.ip,
                !ip.isUnspecified, !ip.isMulticast, !ip.isLinkLocal
            else { continue }
            let local = unsafe LocalAddress(ip: ip, interfaceName: String(cString: entry.pointee.ifa_name))
            if ip.isLoopback { loopback.append(local) } else if !found.contains(local) { found.append(local) }
        }
        if includesLoopback ?? found.isEmpty { found += loopback }
        return found
    }

    /// Every address of the machine: what goes to one of them stays here, whatever its interface's state.
    package static func ownAddresses() -> Set<IPAddress> {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard unsafe getifaddrs(&list) == 0 else { return [] }
        defer { unsafe freeifaddrs(list) }
        var found: Set<IPAddress> = []
        var next = unsafe list
        while let entry = unsafe next {
            unsafe next = entry.pointee.ifa_next
            guard let address = unsafe entry.pointee.ifa_addr, let ip = unsafe TransportAddress(sockaddrAt: address)?.ip
            else { continue }
            found.insert(IPAddress.withoutScope(ip))
        }
        return found
    }

    /// The address that datagrams to the internet leave with; nil without a route there.
    package static func routedAddress(isIPv4: Bool) -> IPAddress? {
        // Addresses of documentation (RFC 5737, RFC 3849), which every default route leads to.
        let target = isIPv4 ? IPAddress(v4: 0xC000_0201) : IPAddress(v6High: 0x2001_0DB8 << 32, v6Low: 1)
        return source(for: TransportAddress(target, port: 9))
    }

    /// The address that datagrams to another one leave with; nil without a route there.
    ///
    /// Nothing is sent: connecting a UDP socket only looks the route up (RFC 8835 §3.3).
    package static func source(for remote: TransportAddress) -> IPAddress? {
        let descriptor = socket(
            remote.ip.isIPv4 ? AF_INET : AF_INET6,
            Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue),
            0
        )
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        let isRouted = unsafe remote.withSockaddr { unsafe connect(descriptor, $0, $1) == 0 }
        guard isRouted, let ip = TransportAddress(ofSocket: descriptor)?.ip, !ip.isUnspecified else { return nil }
        return ip
    }
}

extension IPAddress {
    fileprivate static func withoutScope(_ ip: IPAddress) -> IPAddress {
        ip.isIPv4 ? ip : IPAddress(v6High: ip.high, v6Low: ip.low)
    }
}
