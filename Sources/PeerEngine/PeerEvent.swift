package import DTLS
package import ICE
internal import RTP
package import SCTP

/// The states of ICE and DTLS together. webrtc-pc §4.3.3
package enum PeerConnectionState: String, Sendable {
    case new, connecting, connected, disconnected, failed, closed
}

/// Why a connection failed for good.
package enum PeerFailure: Error, Sendable, CustomStringConvertible {
    case dtls(DTLSError)
    case srtp(String)

    package var description: String {
        switch self {
        case .dtls(let error): "DTLS: \(error)"
        case .srtp(let error): "SRTP: \(error)"
        }
    }
}

/// What an engine tells its owner.
package enum PeerEvent {
    case ice(ICEEvent)
    case connectionStateChanged(PeerConnectionState)
    case failed(PeerFailure)
    /// A TURN server does not relay, or will soon not any more.
    case relayFailed(RelayFailure)
    /// The peer sent close_notify: it has hung up.
    case remoteClosed
    case channel(DataChannelEvent)
    case rtp(RTPEvent)
}

/// Datagrams that were dropped before any protocol took them, by reason.
package struct DroppedDatagrams: Hashable, Sendable {
    /// First byte of no protocol that may share the port.
    package var unknown = 0
    /// TURN ChannelData without an allocation.
    package var channelData = 0
    /// DTLS and SRTP from a path on which the peer has not shown itself by an authentic check.
    package var unknownPath = 0
    /// SCTP packets that DTLS could not send.
    package var unsentSCTP = 0

    package init() {}

    /// Each reason by its name here.
    package var byReason: [(name: String, count: Int)] {
        [
            ("unknown", unknown), ("channelData", channelData), ("unknownPath", unknownPath),
            ("unsentSCTP", unsentSCTP),
        ]
    }
}

/// A first-in-first-out queue that keeps its memory.
struct EventQueue<Event> {
    private var events: [Event] = []
    private var head = 0

    var isEmpty: Bool { head == events.count }

    mutating func push(_ event: Event) { events.append(event) }

    mutating func pop() -> Event? {
        guard head < events.count else {
            if head > 0 {
                events.removeAll(keepingCapacity: true)
                head = 0
            }
            return nil
        }
        defer { head += 1 }
        return events[head]
    }
}
