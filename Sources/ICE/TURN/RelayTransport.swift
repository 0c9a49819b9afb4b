/// How a TURN server is spoken with, as webrtc-stats names it (relayProtocol).
package enum RelayTransport: String, Hashable, Sendable {
    case udp, tcp, tls

    /// Local preference of a candidate from that server, of one of the socket's interface: the fewer layers, the better.
    ///
    /// In TCP and TLS a lost segment holds up all behind it.
    func preference(_ interface: UInt16) -> UInt16 {
        switch self {
        case .udp: interface | 0xC000
        case .tcp: interface & 0x3FFF | 0x8000
        case .tls: interface & 0x3FFF | 0x4000
        }
    }
}
