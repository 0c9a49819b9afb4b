internal import ICE
internal import SansIO
internal import UDPSockets

/// A UDP socket as one connection knows it: its own, or one of a port that it shares with others.
///
/// Confined to the event loop.
struct PeerSocket {
    enum Kind: Sendable {
        /// Read by the connection alone.
        case own
        /// Read by a shared port; the number names the socket there.
        case shared(SharedPortCore, Int, PortDemultiplexer.Member)
        /// The connection's own beside a shared port, for TURN servers alone: such a server knows its clients by their
        /// addresses, so two connections can have no allocations from one socket (RFC 8656 §5).
        case forRelays
    }

    let id: PortID
    let port: UDPPort
    let kind: Kind

    var localAddress: TransportAddress { port.localAddress }

    /// Whether it makes host and server-reflexive candidates.
    var makesCandidates: Bool { if case .forRelays = kind { false } else { true } }
    /// Whether TURN servers are asked from it.
    var reachesRelays: Bool { if case .shared = kind { false } else { true } }

    func close() {
        switch kind {
        case .own, .forRelays: port.close()
        case .shared: break
        }
    }
}
