package import SansIO

/// Something the owner of an agent should know.
package enum ICEEvent: Hashable, Sendable {
    /// A candidate to signal to the peer.
    case localCandidate(ICECandidate)
    /// No more candidates of this generation will come: signal end-of-candidates.
    case gatheringComplete
    /// Gathering was complete and goes on: an address has come, or a server has forgotten a relayed one.
    case gatheringResumed
    case stateChanged(ICEState)
    /// Where to send from now on. Before nomination it is the best valid pair so far.
    case selectedPathChanged(TransmitPath, local: ICECandidate, remote: ICECandidate)
    /// No socket has had an answer from a STUN server, or a usable one.
    case serverSilent(TransportAddress)
    /// A relayed candidate was paired with an address of the peer's: the server is to let it through, since the peer's
    /// checks come before this side's own.
    case relayPaired(PortID, IPAddress)
    /// The selected path has missed an answer: whether servers still relay is to be asked.
    case pathSilent
    /// A TCP connection is to be opened from an active candidate to a passive one; `connectionOpened` or
    /// `connectionFailed` follows.
    case connect(PortID, TransportAddress)
    /// A TCP connection is of no use any more.
    case connectionUnneeded(PortID)
    /// The peer no longer answers on the selected path: nothing may be sent on it (RFC 7675 §5.1).
    case consentLost
}

/// The states of W3C's `RTCIceConnectionState`.
///
/// webrtc-pc §5.6.3
package enum ICEState: String, Hashable, Sendable {
    case new, checking, connected, completed, disconnected, failed, closed
}
