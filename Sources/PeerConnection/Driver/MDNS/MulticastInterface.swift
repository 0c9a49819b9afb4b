internal import CLinux
internal import Glibc
internal import MDNS
internal import SansIO
internal import UDPSockets

/// An interface on whose link names are asked for and told.
struct MulticastInterface: Hashable, Sendable {
    var name: String
    var index: UInt32
    var hasIPv4 = false
    var hasIPv6 = false
    /// What is on its link.
    var networks: [LocalLinks.Network] = []

    /// Most interfaces that are used, so that a machine with hundreds of bridges sends no hundreds of datagrams.
    static let limit = 16

    /// Those to use: loopback, which does not say that it takes multicast but does, only when there is no other.
    static func used(of running: [MulticastInterface]) -> [MulticastInterface] {
        let others = running.filter { !$0.isLoopback }
        return Array((others.isEmpty ? running : others).prefix(limit))
    }

    var isLoopback: Bool { networks.contains { $0.address.isLoopback } }

    /// Interfaces that are up and take multicast, with all their addresses, loopback among them.
    static func running() -> [MulticastInterface] {
        let upAndRunning = UInt32(IFF_UP) | UInt32(IFF_RUNNING)
        var list: UnsafeMutablePointer<ifaddrs>?
        guard unsafe getifaddrs(&list) == 0 else { return [] }
        defer { unsafe freeifaddrs(list) }
        var found: [MulticastInterface] = []
        var next = unsafe list
        while let entry = unsafe next {
            unsafe next = entry.pointee.ifa_next
            let flags = unsafe entry.pointee.ifa_flags
            guard flags & upAndRunning == upAndRunning,
                flags & (UInt32(IFF_MULTICAST) | UInt32(IFF_LOOPBACK)) != 0,
                let address = unsafe entry.pointee.ifa_addr, let ip = unsafe TransportAddress(sockaddrAt: address)?.ip,
                let mask = unsafe entry.pointee.ifa_netmask, let maskIP = unsafe TransportAddress(sockaddrAt: mask)?.ip
            else { continue }
            let index = unsafe if_nametoindex(entry.pointee.ifa_name)
            guard index != 0 else { continue }
            if !found.contains(where: { $0.index == index }) {
                found.append(unsafe MulticastInterface(name: String(cString: entry.pointee.ifa_name), index: index))
            }
            guard let place = found.firstIndex(where: { $0.index == index }) else { continue }
            if ip.isIPv4 { found[place].hasIPv4 = true } else { found[place].hasIPv6 = true }
            let length = maskIP.high.nonzeroBitCount + maskIP.low.nonzeroBitCount
            found[place].networks.append(LocalLinks.Network(ip, prefixLength: length))
        }
        return found
    }
}
