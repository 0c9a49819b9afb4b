import STUN
import SansIO

/// One IP address that the server lets through.
///
/// RFC 8656 §9
struct TURNPermission {
    enum State {
        /// Asked for, not answered: what is to be sent waits.
        case requested
        case installed(expiry: Instant, refreshAt: Instant)
        /// Nothing is sent and nothing asked until then.
        case refused(until: Instant)
    }

    let ip: IPAddress
    var state: State
    /// Whether to refresh it; else it ends by itself.
    var isKept = true

    /// Whether another may take its place: nobody wants it any more, and nothing waits for it.
    var isReplaceable: Bool {
        if case .requested = state { false } else { !isKept }
    }
}

/// A number that stands for a peer.
///
/// RFC 8656 §12
struct TURNChannel {
    let number: UInt16
    let peer: TransportAddress
    /// nil until the server has agreed for the first time.
    var expiry: Instant?
    var refreshAt: Instant?
    /// Whether to refresh it; else it ends by itself.
    var isKept = true

    func isBound(at now: Instant) -> Bool { expiry.map { now < $0 } ?? false }
}

/// A datagram that waits for a permission.
struct TURNQueuedDatagram {
    let peer: TransportAddress
    let bytes: [UInt8]
}

/// A request under way.
struct TURNRequest {
    enum Purpose: Hashable {
        case allocate
        case refresh
        /// A Refresh with lifetime 0.
        case delete
        case permission(IPAddress)
        case channel(TransportAddress)
    }

    let purpose: Purpose
    var transaction: STUNTransaction
    /// What it was signed with; nil without MESSAGE-INTEGRITY.
    let authentication: TURNAuthentication?
    /// Times it was made anew.
    let staleCount: Int
}

/// What a request is signed with.
///
/// RFC 8489 §9.2
struct TURNAuthentication {
    let realm: [UInt8]
    var nonce: [UInt8]
    let key: STUNKey
}

/// The timers of a client.
enum TURNTimer: Int, CaseIterable {
    case retransmission, refresh, expiry, permission, channel, keepalive, closing

    var reason: StaticString {
        switch self {
        case .retransmission: "TURN retransmission"
        case .refresh: "TURN refresh"
        case .expiry: "TURN expiry"
        case .permission: "TURN permission"
        case .channel: "TURN channel"
        case .keepalive: "TURN keepalive"
        case .closing: "TURN closing"
        }
    }
}
