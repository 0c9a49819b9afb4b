package import SansIO

/// A datagram to send.
package struct MDNSTransmit: Hashable, Sendable {
    package enum Destination: Hashable, Sendable {
        /// The group of the port's family, port 5353.
        case group
        case unicast(TransportAddress)
    }

    package var destination: Destination
    /// The socket, one for each interface and family.
    package var port: PortID
    package var bytes: [UInt8]
}

/// What sockets of multicast DNS are like.
package enum MDNSPortKind: Hashable, Sendable {
    /// Bound to port 5353 and a member of the group: it hears what all say.
    case member
    /// Bound to another port: it can ask, and hears what is answered to it alone (RFC 6762 §5.1, §6.7).
    case oneShot
}

/// Where multicast DNS is spoken.
package enum MDNS {
    /// The port of all that is said to the groups. RFC 6762 §3
    package static let port: UInt16 = 5353
    /// The group of IPv4, 224.0.0.251.
    package static let groupIPv4 = IPAddress(v4: 0xE000_00FB)
    /// The group of IPv6, ff02::fb.
    package static let groupIPv6 = IPAddress(v6High: 0xFF02_0000_0000_0000, v6Low: 0xFB)
}
