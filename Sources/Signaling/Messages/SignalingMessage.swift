/// What one peer says to another through the server.
public enum SignalingMessage: Hashable, Sendable {
    /// A session description that offers.
    case offer(sdp: String)
    /// A session description that answers.
    case answer(sdp: String)
    /// A candidate; nil says that this generation has no more.
    case candidate(SignalingCandidate?)
    /// A step of a key exchange, by which two who know a code find out that they do; the text is theirs.
    case pake(String)
    /// Hangs up with that peer alone; the room is left by `SignalingClient.leave`.
    case bye
}

/// A trickled candidate, as W3C's `RTCIceCandidateInit`.
public struct SignalingCandidate: Hashable, Sendable {
    /// "candidate:…"; empty for the end of candidates of one m-section.
    public var candidate: String
    /// The m-section's identification tag.
    public var sdpMid: String?
    /// The m-section's index, from 0.
    public var sdpMLineIndex: Int?
    /// The generation, since a restart changes it.
    public var usernameFragment: String?

    /// Makes a candidate.
    public init(candidate: String, sdpMid: String? = nil, sdpMLineIndex: Int? = nil, usernameFragment: String? = nil) {
        self.candidate = candidate
        self.sdpMid = sdpMid
        self.sdpMLineIndex = sdpMLineIndex
        self.usernameFragment = usernameFragment
    }
}

/// Names a peer of a room; given by the server, to nobody else.
///
/// Who joins again after the server was started anew has the same.
public struct SignalingPeerID: Hashable, Sendable, CustomStringConvertible {
    /// As it stands in messages.
    public var rawValue: String

    /// Wraps a name from a message.
    public init(_ rawValue: String) { self.rawValue = rawValue }

    /// The name.
    public var description: String { rawValue }
}

/// Another peer of the room, as one peer sees it.
public struct SignalingPeer: Hashable, Sendable {
    /// Its name in messages.
    public var id: SignalingPeerID
    /// What its user calls it; any text, so do not show it as HTML.
    public var name: String
    /// Whether the one who was told is the polite side towards it: it came later.
    public var isPolite: Bool

    /// Makes a description of a peer.
    public init(id: SignalingPeerID, name: String, isPolite: Bool) {
        self.id = id
        self.name = name
        self.isPolite = isPolite
    }
}

/// A STUN or TURN server that peers are told to use, as W3C's `RTCIceServer`.
public struct SignalingICEServer: Hashable, Sendable {
    /// As "stun:stun.example.net:3478".
    public var urls: [String]
    /// For TURN.
    public var username: String?
    /// For TURN.
    public var credential: String?

    /// Makes a description of a server.
    public init(urls: [String], username: String? = nil, credential: String? = nil) {
        self.urls = urls
        self.username = username
        self.credential = credential
    }
}

/// A place in a room, as the server gave it.
public struct SignalingPlace: Hashable, Sendable {
    /// The room.
    public var room: String
    /// This peer's own name in messages.
    public var id: SignalingPeerID
    /// Who was in the room before; the newcomer offers to each.
    public var peers: [SignalingPeer]
    /// What the server's operator recommends.
    public var iceServers: [SignalingICEServer]

    /// Makes a place.
    public init(room: String, id: SignalingPeerID, peers: [SignalingPeer], iceServers: [SignalingICEServer]) {
        self.room = room
        self.id = id
        self.peers = peers
        self.iceServers = iceServers
    }
}

/// Why a peer is no longer in the room.
public enum SignalingLeaveReason: String, Hashable, Sendable {
    /// It said so, or its page was closed.
    case bye
    /// Its connection to the server broke and did not come back in time; the connection between the two may well go on.
    case lost
    /// Its page was reloaded: another one comes in its place.
    case replaced
}
