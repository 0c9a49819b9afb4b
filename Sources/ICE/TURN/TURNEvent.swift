package import SansIO

/// Something the owner of a TURN client should know.
package enum TURNEvent: Hashable, Sendable {
    /// The server relays: `relayed` is the candidate, `mapped` this client as the server sees it.
    case allocated(relayed: TransportAddress, mapped: TransportAddress?)
    /// Peers at this IP address may send, and be sent to.
    case permissionInstalled(IPAddress)
    /// The server does not relay to or from this IP address; what waited for it is dropped.
    case permissionRefused(IPAddress, TURNError)
    /// Datagrams to this peer travel as ChannelData now.
    case channelBound(TransportAddress)
    /// Datagrams to this peer travel as Send indications, at the latest when a binding that there was ends.
    case channelRefused(TransportAddress, TURNError)
    /// The server does not prolong the allocation, which still works until its lifetime ends: look for another.
    case refreshRefused(TURNError)
    /// The client has ended: ask this server instead (300).
    ///
    /// The owner counts redirections, lest two servers send it to and fro. `domain` is the name for which a TLS
    /// certificate must be.
    case redirected(to: TransportAddress, domain: String?)
    /// The client has ended.
    case failed(TURNError)
    /// The client has ended as `close` asked.
    case closed
}

/// Where a client stands.
package enum TURNState: Hashable, Sendable {
    case idle
    case allocating
    case allocated(TURNAllocation)
    /// The allocation is being deleted; then, at the latest, the client ends without an answer.
    case closing(until: Instant)
    /// Redirected to another server.
    case redirected
    case failed(TURNError)
    case closed
}

/// What the server grants.
///
/// RFC 8656 §2.2
package struct TURNAllocation: Hashable, Sendable {
    /// Where peers send to.
    package let relayed: TransportAddress
    /// This client as the server sees it.
    package let mapped: TransportAddress?
    /// Counted from when the request left, so that the server's end never comes first.
    package internal(set) var expiry: Instant
    /// When to ask for more; nil when the server has refused for good.
    var refreshAt: Instant?
}
