import Glibc

/// An IPv4 or IPv6 address.
///
/// IPv6 link-local addresses carry the interface's scope.
package struct IPAddress: Hashable, Sendable {
    /// The 16 bytes of an IPv6 address, or an IPv4 address in the last four bytes of `low`.
    package let high: UInt64
    package let low: UInt64
    package let isIPv4: Bool
    /// The interface index of a link-local IPv6 address, else 0.
    package let scopeID: UInt32

    @inlinable
    package init(v4 value: UInt32) {
        high = 0
        low = UInt64(value)
        isIPv4 = true
        scopeID = 0
    }

    @inlinable
    package init(v6High: UInt64, v6Low: UInt64, scopeID: UInt32 = 0) {
        high = v6High
        low = v6Low
        isIPv4 = false
        self.scopeID = scopeID
    }

    /// Parses dotted IPv4 or IPv6 text without brackets or zone.
    package init?(_ text: some StringProtocol) {
        var v4 = in_addr()
        var v6 = in6_addr()
        let text = String(text)
        if unsafe inet_pton(AF_INET, text, &v4) == 1 {
            self.init(v4: UInt32(bigEndian: v4.s_addr))
        } else if unsafe inet_pton(AF_INET6, text, &v6) == 1 {
            let (high, low) = unsafe withUnsafeBytes(of: &v6) { bytes in
                unsafe (
                    UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
                    UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
                )
            }
            self.init(v6High: high, v6Low: low)
        } else {
            return nil
        }
    }

    package static let anyIPv4 = IPAddress(v4: 0)
    package static let anyIPv6 = IPAddress(v6High: 0, v6Low: 0)

    package var isLoopback: Bool { isIPv4 ? low >> 24 == 127 : (high == 0 && low == 1) }
    package var isUnspecified: Bool { high == 0 && low == 0 }
    package var isLinkLocal: Bool { isIPv4 ? low >> 16 == 0xA9FE : high >> 54 == 0x3FA }
    /// Whether it means something on this machine or in its own network only (RFC 1918, RFC 4193, RFC 3927, RFC 4291).
    package var isPrivate: Bool {
        if isLoopback || isLinkLocal { return true }
        return isIPv4 ? low >> 24 == 10 || low >> 20 == 0xAC1 || low >> 16 == 0xC0A8 : high >> 57 == 0x7E
    }
    package var isMulticast: Bool { isIPv4 ? low >> 28 == 0xE : high >> 56 == 0xFF }
}

extension IPAddress: CustomStringConvertible {
    /// The text form of RFC 5952, without the scope.
    package var description: String {
        if isIPv4 {
            return "\(low >> 24 & 255).\(low >> 16 & 255).\(low >> 8 & 255).\(low & 255)"
        }
        var address = in6_addr()
        unsafe withUnsafeMutableBytes(of: &address) { bytes in
            unsafe bytes.storeBytes(of: high.bigEndian, toByteOffset: 0, as: UInt64.self)
            unsafe bytes.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
        }
        return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { buffer in
            guard let text = unsafe inet_ntop(AF_INET6, &address, buffer.baseAddress, socklen_t(buffer.count)) else {
                return "::"
            }
            return unsafe String(cString: text)
        }
    }
}

/// An IP address and a port of UDP or TCP.
package struct TransportAddress: Hashable, Sendable, CustomStringConvertible {
    package var ip: IPAddress
    package var port: UInt16

    @inlinable
    package init(_ ip: IPAddress, port: UInt16) {
        self.ip = ip
        self.port = port
    }

    /// Parses an address without a port, as `192.0.2.1` or `2001:db8::1`.
    package init?(_ host: some StringProtocol, port: UInt16) {
        guard let ip = IPAddress(host) else { return nil }
        self.init(ip, port: port)
    }

    /// `192.0.2.1:9` or `[2001:db8::1]:9`.
    package var description: String { ip.isIPv4 ? "\(ip):\(port)" : "[\(ip)]:\(port)" }
}

/// Names one of the driver's sockets.
///
/// The engine never sees a socket, only this.
package struct PortID: Hashable, Sendable {
    package let rawValue: Int

    @inlinable
    package init(rawValue: Int) { self.rawValue = rawValue }
}

/// What may happen to a datagram that a link on its way is too narrow for.
package enum Fragmentation: UInt8, Hashable, Sendable {
    /// What the system thinks right for the route.
    case asUsual
    /// It is lost: a probe of the path.
    case forbidden
    /// Whoever stands before the link cuts it up.
    case allowed
}

/// From which socket to which address a datagram goes.
package struct TransmitPath: Hashable, Sendable {
    package var port: PortID
    package var remote: TransportAddress
    package var fragmentation = Fragmentation.asUsual

    @inlinable
    package init(port: PortID, remote: TransportAddress) {
        self.port = port
        self.remote = remote
    }
}
