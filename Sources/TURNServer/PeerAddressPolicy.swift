package import SansIO

/// To which addresses the server relays.
///
/// Whatever a client's datagrams could reach from the server and not from the internet is out of bounds: the server itself,
/// its private networks, what listens on loopback. The ranges that an operator names are open.
///
/// RFC 8656 §21.1.5, §21.1.4
package struct PeerAddressPolicy: Sendable {
    /// Ranges that are open although they would not be.
    package var allowed: [IPNetwork]
    /// Addresses of the server's machine.
    package var own: Set<IPAddress> = []

    package init(allowed: [IPNetwork] = []) { self.allowed = allowed }

    /// Whether datagrams may be relayed to an address.
    package func permits(_ ip: IPAddress) -> Bool {
        // Nobody's address, everybody's, and those that need an interface: no range opens them.
        if ip.isUnspecified || ip.isMulticast || ip == Self.broadcast { return false }
        if allowed.contains(where: { $0.contains(ip) }) { return true }
        return !own.contains(ip) && !Self.isReserved(ip) && embedded(in: ip).allSatisfy(permitsEmbedded)
    }

    private func permitsEmbedded(_ ip: IPAddress) -> Bool { !own.contains(ip) && !Self.isReserved(ip) }

    private static func isReserved(_ ip: IPAddress) -> Bool { reserved.contains { $0.contains(ip) } }

    /// The IPv4 addresses that an IPv6 address leads to by translation or tunnel.
    private func embedded(in ip: IPAddress) -> [IPAddress] {
        guard !ip.isIPv4 else { return [] }
        let last = IPAddress(v4: UInt32(truncatingIfNeeded: ip.low))
        var found: [IPAddress] = []
        // …:0:5efe:a.b.c.d under any prefix, ISATAP, whatever its bits for "universal" and "group" say (RFC 5214 §6.1).
        if ip.low >> 32 & 0xFCFF_FFFF == 0x0000_5EFE { found.append(last) }
        // ::ffff:0:0/96, IPv4-mapped (RFC 4291 §2.5.5.2); ::/96, IPv4-compatible (§2.5.5.1).
        if ip.high == 0, ip.low >> 32 == 0xFFFF || ip.low >> 32 == 0 { found.append(last) }
        // ::ffff:0:0:0/96, IPv4-translated (RFC 2765).
        if ip.high == 0, ip.low >> 32 == 0xFFFF_0000 { found.append(last) }
        // 64:ff9b::/96, NAT64 (RFC 6052 §2.1).
        if ip.high == 0x0064_FF9B_0000_0000, ip.low >> 32 == 0 { found.append(last) }
        // 2002::/16, 6to4 (RFC 3056).
        if ip.high >> 48 == 0x2002 { found.append(IPAddress(v4: UInt32(truncatingIfNeeded: ip.high >> 16))) }
        return found
    }

    private static let broadcast = IPAddress(v4: 0xFFFF_FFFF)

    /// What is no host of the internet (RFC 6890 and its registries); documentation's addresses lead nowhere anyway.
    private static let reserved: [IPNetwork] = [
        "0.0.0.0/8",  // this network
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  // private (RFC 1918)
        "100.64.0.0/10",  // shared by a provider's customers (RFC 6598)
        "127.0.0.0/8",  // loopback
        "169.254.0.0/16",  // link-local; cloud machines find their secrets there
        "192.0.0.0/24",  // protocol assignments
        "198.18.0.0/15",  // benchmarks
        "224.0.0.0/4", "240.0.0.0/4",  // multicast, reserved
        "::/127",  // unspecified, loopback
        "fe80::/10", "fec0::/10",  // link-local, site-local
        "fc00::/7",  // unique local (RFC 4193)
        "ff00::/8",  // multicast
        "64:ff9b:1::/48",  // NAT64 of a network's own (RFC 8215)
        "100::/64",  // discard
        "2001::/32",  // Teredo hides an IPv4 address
    ].compactMap { IPNetwork($0) }
}
