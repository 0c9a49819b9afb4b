/// What a connection tells the application, in the order in which it happened. webrtc-pc §4.4.2
public enum RTCPeerConnectionEvent: Sendable {
    /// A new offer is needed for what was added or changed.
    case negotiationNeeded
    /// The signalling state changed.
    case signalingStateChange(RTCSignalingState)
    /// The gathering state changed.
    case iceGatheringStateChange(RTCIceGatheringState)
    /// The ICE state changed.
    case iceConnectionStateChange(RTCIceConnectionState)
    /// The connection state changed.
    case connectionStateChange(RTCPeerConnectionState)
    /// A local candidate to send to the peer; nil when there are no more in this generation.
    case iceCandidate(RTCIceCandidate?)
    /// A local address, a STUN or a TURN server could not be used; the rest goes on.
    case iceCandidateError(RTCPeerConnectionIceErrorEvent)
    /// The peer sends media on this transceiver from now on.
    case track(RTCTrackEvent)
    /// The peer opened a data channel; it is open.
    case dataChannel(RTCDataChannel)
    /// The peer ended the session in an orderly way (DTLS close_notify).
    case remoteClosed
    /// Something failed for good, and the connection state tells what remains; or, as `NotReadableError`, a track's
    /// camera or microphone cannot be opened just now, as one that another program has: it is tried again.
    case error(RTCError)
}

/// Media that the peer begins to send. webrtc-pc §5.7
public struct RTCTrackEvent: Sendable {
    /// The transceiver that carries it.
    public let transceiver: RTCRtpTransceiver
    /// The identities of the streams that the peer put the track into.
    public let streamIDs: [String]
    /// The receiving side of the transceiver.
    public var receiver: RTCRtpReceiver { transceiver.receiver }
    /// The received track.
    public var track: MediaStreamTrack { transceiver.receiver.track }
}
