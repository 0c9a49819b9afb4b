internal import CLinux
internal import Glibc
internal import SansIO

/// A local address that may become a host candidate.
struct LocalAddress: Hashable {
    var ip: IPAddress
    var interfaceName: String
}

enum NetworkInterfaces {
    /// Most addresses that are gathered from, so that a machine with hundreds of bridges still connects.
    static let addressLimit = 16

    /// Addresses of interfaces that are up: never unspecified, multicast or IPv4 link-local ones; loopback as asked;
    /// IPv6 link-local ones are left out, since their scope means nothing to a peer (RFC 8835 §3.1).
    ///
    /// `includesLoopback`: nil includes loopback when there is nothing else.
    static func addresses(includesLoopback: Bool?) -> [LocalAddress] {
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
                let address = unsafe entry.pointee.ifa_addr, let ip = unsafe TransportAddress(address)?.ip,
                !ip.isUnspecified, !ip.isMulticast, !ip.isLinkLocal
            else { continue }
            let local = unsafe LocalAddress(ip: ip, interfaceName: String(cString: entry.pointee.ifa_name))
            if ip.isLoopback { loopback.append(local) } else if !found.contains(local) { found.append(local) }
        }
        if includesLoopback ?? found.isEmpty { found += loopback }
        return Array(found.prefix(addressLimit))
    }
}
