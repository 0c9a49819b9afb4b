package import SansIO

/// The formulas of priorities.
package enum ICEPriority {
    /// Priority of a candidate of component 1.
    ///
    /// - Parameters:
    ///   - kind: gives the type preference.
    ///   - localPreference: 0 ... 65 535, larger is better.
    /// - Returns: 2²⁴·type preference + 2⁸·local preference + 255.
    ///
    /// RFC 8445 §5.1.2.1
    package static func candidate(_ kind: ICECandidate.Kind, localPreference: UInt16) -> UInt32 {
        kind.preference() << 24 | UInt32(localPreference) << 8 | 255
    }

    /// Priority of a host candidate over TCP: who connects is tried before who waits.
    ///
    /// RFC 6544 §4.2
    package static func tcpHost(isPassive: Bool, preference: UInt16) -> UInt32 {
        let direction: UInt32 = isPassive ? 4 : 6
        let other = UInt32(preference) & 0x1FFF
        return ICECandidate.Kind.host.preference(over: .tcp) << 24 | (direction << 13 | other) << 8 | 255
    }

    /// Priority of a candidate pair; larger is tried earlier.
    ///
    /// - Parameters:
    ///   - controlling: priority of the controlling agent's candidate; clamped to 2³¹ − 1.
    ///   - controlled: priority of the controlled agent's candidate; clamped likewise.
    /// - Returns: 2³²·min + 2·max + (controlling > controlled ? 1 : 0).
    ///
    /// RFC 8445 §6.1.2.3
    package static func pair(controlling: UInt32, controlled: UInt32) -> UInt64 {
        let controlling = UInt64(min(controlling, UInt32(Int32.max)))
        let controlled = UInt64(min(controlled, UInt32(Int32.max)))
        return min(controlling, controlled) << 32 + 2 * max(controlling, controlled)
            + (controlling > controlled ? 1 : 0)
    }

    /// Local preferences, one for each address, in which IPv6 and IPv4 alternate, IPv6 first.
    ///
    /// Within a family the given order stays; loopback and link-local addresses come after all others.
    ///
    /// RFC 8421 §4
    package static func interleavedPreferences(_ addresses: [IPAddress]) -> [UInt16] {
        func isNear(_ index: Int) -> Bool { addresses[index].isLoopback || addresses[index].isLinkLocal }
        var order: [Int] = []
        for near in [false, true] {
            var v6 = addresses.indices.filter { !addresses[$0].isIPv4 && isNear($0) == near }[...]
            var v4 = addresses.indices.filter { addresses[$0].isIPv4 && isNear($0) == near }[...]
            while !v6.isEmpty || !v4.isEmpty {
                if let index = v6.popFirst() { order.append(index) }
                if let index = v4.popFirst() { order.append(index) }
            }
        }
        var preferences = [UInt16](repeating: 0, count: addresses.count)
        for (rank, index) in order.enumerated() { preferences[index] = UInt16(max(0, 65_535 - rank)) }
        return preferences
    }
}
