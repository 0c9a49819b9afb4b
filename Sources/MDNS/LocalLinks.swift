package import SansIO

/// The networks that this machine is attached to: what comes from elsewhere is no multicast DNS.
///
/// RFC 6762 §11: an address is on the local link if it has "the same network prefix" as one of the interface's own.
package struct LocalLinks: Hashable, Sendable {
    package struct Network: Hashable, Sendable {
        package let address: IPAddress
        package let prefixLength: Int

        package init(_ address: IPAddress, prefixLength: Int) {
            self.address = address
            self.prefixLength = min(max(prefixLength, 0), address.isIPv4 ? 32 : 128)
        }

        func contains(_ other: IPAddress) -> Bool {
            guard other.isIPv4 == address.isIPv4 else { return false }
            if address.isIPv4 { return Self.differingBits(address.low << 32, other.low << 32) >= prefixLength }
            let high = Self.differingBits(address.high, other.high)
            return high < 64 ? high >= prefixLength : 64 + Self.differingBits(address.low, other.low) >= prefixLength
        }

        /// How many leading bits are equal.
        private static func differingBits(_ left: UInt64, _ right: UInt64) -> Int { (left ^ right).leadingZeroBitCount }
    }

    package var networks: [Network]

    package init(_ networks: [Network]) { self.networks = networks }

    /// Whether a sender is on one of the links.
    package func contains(_ ip: IPAddress) -> Bool {
        if ip.isUnspecified || ip.isMulticast { return false }
        return ip.isLinkLocal || networks.contains { $0.contains(ip) }
    }
}
