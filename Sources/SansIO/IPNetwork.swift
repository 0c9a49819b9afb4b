/// A range of addresses with a common prefix, as `10.0.0.0/8`.
package struct IPNetwork: Hashable, Sendable {
    /// The first address; bits behind the prefix count for nothing.
    package let address: IPAddress
    /// 0 to 32, or 0 to 128.
    package let prefixLength: Int

    package init(_ address: IPAddress, prefixLength: Int) {
        self.address = address
        self.prefixLength = max(0, min(prefixLength, address.isIPv4 ? 32 : 128))
    }

    /// Reads `10.0.0.0/8`, `fd00::/8`, or one address.
    package init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let address = IPAddress(first) else { return nil }
        let longest = address.isIPv4 ? 32 : 128
        guard parts.count == 2 else {
            self.init(address, prefixLength: longest)
            return
        }
        guard parts[1].utf8.count <= 3, parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let length = Int(parts[1]), length <= longest
        else { return nil }
        self.init(address, prefixLength: length)
    }

    package func contains(_ ip: IPAddress) -> Bool {
        guard ip.isIPv4 == address.isIPv4 else { return false }
        if ip.isIPv4 {
            return (ip.low ^ address.low) >> UInt64(32 - prefixLength) == 0
        }
        let high = ip.high ^ address.high
        let low = ip.low ^ address.low
        if prefixLength == 0 { return true }
        if prefixLength <= 64 { return high >> UInt64(64 - prefixLength) == 0 }
        return high == 0 && low >> UInt64(128 - prefixLength) == 0
    }
}

extension IPNetwork: CustomStringConvertible {
    package var description: String { "\(address)/\(prefixLength)" }
}
