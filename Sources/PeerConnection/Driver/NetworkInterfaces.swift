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
    /// - Parameter includesLoopback: nil includes loopback when there is nothing else.
    static func addresses(includesLoopback: Bool?) -> [LocalAddress] {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard unsafe getifaddrs(&list) == 0 else { return [] }
        defer { unsafe freeifaddrs(list) }
        var found: [LocalAddress] = []
        var loopback: [LocalAddress] = []
        var next = unsafe list
        while let entry = unsafe next {
            unsafe next = entry.pointee.ifa_next
            guard unsafe entry.pointee.ifa_flags & UInt32(IFF_UP.rawValue) != 0,
                let address = unsafe entry.pointee.ifa_addr, let ip = unsafe ipAddress(address),
                !ip.isUnspecified, !ip.isMulticast, !ip.isLinkLocal
            else { continue }
            let local = unsafe LocalAddress(ip: ip, interfaceName: String(cString: entry.pointee.ifa_name))
            if ip.isLoopback { loopback.append(local) } else if !found.contains(local) { found.append(local) }
        }
        if includesLoopback ?? found.isEmpty { found += loopback }
        return Array(found.prefix(addressLimit))
    }

    static func ipAddress(_ address: UnsafeMutablePointer<sockaddr>) -> IPAddress? {
        switch unsafe Int32(address.pointee.sa_family) {
        case AF_INET:
            return unsafe address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                unsafe IPAddress(v4: UInt32(bigEndian: $0.pointee.sin_addr.s_addr))
            }
        case AF_INET6:
            return unsafe address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { v6 in
                unsafe withUnsafeBytes(of: v6.pointee.sin6_addr) { bytes in
                    unsafe IPAddress(
                        v6High: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
                        v6Low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)),
                        scopeID: v6.pointee.sin6_scope_id)
                }
            }
        default: return nil
        }
    }
}
