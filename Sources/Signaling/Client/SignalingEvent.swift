/// What a client tells its owner.
public enum SignalingEvent: Sendable {
    /// The room was joined; `isResumed` if this is the same place as before a broken connection.
    case joined(SignalingPlace, isResumed: Bool)
    /// Somebody joined after us.
    case peerJoined(SignalingPeer)
    /// The servers to use from now on, in the place of those of `joined`, whose credentials may expire.
    case iceServers([SignalingICEServer])
    /// Somebody is no longer there.
    case peerLeft(SignalingPeerID, SignalingLeaveReason)
    /// Somebody sent a message; `order` as it was given to `SignalingClient.send`.
    case message(SignalingMessage, from: SignalingPeerID, order: SignalingOrder?)
    /// The connection broke; it is being tried again.
    case disconnected(SignalingError)
    /// The server said something in words; the session goes on.
    case error(SignalingError)
    /// The session is over: after `leave`, or for an error that trying again does not cure.
    case closed(SignalingError?)
}
