/// What a session description is for. webrtc-pc §4.7.1
public enum RTCSdpType: String, Hashable, Sendable {
    /// The first of an exchange.
    case offer
    /// A provisional answer.
    case pranswer
    /// The final answer.
    case answer
    /// Takes an open offer back; its text is empty.
    case rollback
}

/// An offer or answer. webrtc-pc §4.7.2
public struct RTCSessionDescription: Hashable, Sendable {
    /// What it is for.
    public var type: RTCSdpType
    /// The text, in the form of RFC 8866.
    public var sdp: String

    /// A description of the given type and text.
    public init(type: RTCSdpType, sdp: String) {
        self.type = type
        self.sdp = sdp
    }
}

/// A candidate as it goes through the signalling channel. webrtc-pc §4.8.1
public struct RTCIceCandidate: Hashable, Sendable {
    /// The candidate attribute, `candidate:…`; empty for the end of candidates.
    public var candidate: String
    /// The `mid` of the m-section it belongs to.
    public var sdpMid: String?
    /// The index of the m-section it belongs to, from 0.
    public var sdpMLineIndex: Int?
    /// The ufrag of the ICE generation it belongs to.
    public var usernameFragment: String?

    /// A candidate with its parts.
    ///
    /// One of `sdpMid` and `sdpMLineIndex` is needed, as the W3C text says, unless
    /// `candidate` is empty.
    public init(
        candidate: String,
        sdpMid: String? = nil,
        sdpMLineIndex: Int? = nil,
        usernameFragment: String? = nil
    ) {
        self.candidate = candidate
        self.sdpMid = sdpMid
        self.sdpMLineIndex = sdpMLineIndex
        self.usernameFragment = usernameFragment
    }
}
