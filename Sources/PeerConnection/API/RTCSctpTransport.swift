/// The state of the association under the data channels. webrtc-pc §6.1.2
public enum RTCSctpTransportState: String, Hashable, Sendable {
    /// It waits for DTLS, or is being set up.
    case connecting
    /// Channels can open.
    case connected
    /// It has ended; no channel opens any more.
    case closed
}

/// What is known of the association under the data channels, at one moment. webrtc-pc §6.1
public struct RTCSctpTransport: Hashable, Sendable {
    /// How far the association is.
    public internal(set) var state: RTCSctpTransportState
    /// The most bytes that one message may have: what the peer's description tells, 65 536 if it does not
    /// (RFC 8841 §6.1), and never more than 1 MiB, which is what this side can send.
    public internal(set) var maxMessageSize: Int
    /// How many channels there can be, so that their ids are below it; nil until the association is up.
    public internal(set) var maxChannels: Int?
}

extension RTCPeerConnection {
    /// The association under the data channels; nil until data channels are negotiated.
    public var sctp: RTCSctpTransport? { view.current.sctp }
}
