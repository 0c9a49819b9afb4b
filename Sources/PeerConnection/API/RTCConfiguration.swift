public import NIOCore

/// A STUN or TURN server. webrtc-pc §4.2.2
public struct RTCIceServer: Hashable, Sendable {
    /// URLs as `stun:stun.example.org:3478` (RFC 7064) and `turn:turn.example.org:3478` (RFC 7065), the latter by UDP,
    /// with `?transport=tcp` by TCP, and as `turns:` by TLS.
    ///
    /// A server that cannot be used is told by `iceCandidateError`: as `SyntaxError` if its URL cannot be read, as
    /// `NotSupportedError` if it is `stuns:`, since STUN over TLS tells the address of a TCP connection, which no candidate
    /// has. The others are asked all the same.
    public var urls: [String]
    /// The user name for TURN.
    public var username: String?
    /// The password for TURN.
    public var credential: String?

    /// A server by its URLs.
    public init(urls: [String], username: String? = nil, credential: String? = nil) {
        self.urls = urls
        self.username = username
        self.credential = credential
    }
}

/// Which paths may be tried. webrtc-pc §4.2.3
public enum RTCIceTransportPolicy: String, Hashable, Sendable {
    /// All.
    case all
    /// Only those through TURN servers: the peer learns no other address of this machine.
    case relay
}

/// Which candidates over TCP there are, for networks that let no UDP through (RFC 6544).
public enum RTCTcpCandidatePolicy: String, Hashable, Sendable {
    /// None.
    case disabled
    /// Connections are opened to peers that listen, as media servers do.
    case active
    /// This side listens too, on a TCP port of each address: browsers connect to it, but never listen.
    case enabled
}

/// How a connection is set up. webrtc-pc §4.2.1
public struct RTCConfiguration: Sendable {
    /// STUN servers to learn server-reflexive candidates from, and TURN servers that relay.
    public var iceServers: [RTCIceServer] = []
    /// A PEM file of further authorities that may vouch for TURN servers by TLS, besides the system's.
    public var iceServerAuthorities: String?
    /// Which paths may be tried. webrtc-pc §4.2.1
    public var iceTransportPolicy = RTCIceTransportPolicy.all
    /// Which candidates over TCP there are.
    ///
    /// Connections are opened 200 ms after the first checks, and only while no direct path by UDP is there.
    public var tcpCandidatePolicy = RTCTcpCandidatePolicy.active
    /// Whether this side answers connectivity checks and makes none (ICE-lite), as a server that everybody reaches may.
    ///
    /// Peers must be full agents, as browsers are; only host candidates are used. RFC 8445 §2.5
    public var isICELite = false
    /// Local addresses to gather from, as text without ports; nil takes every address of the machine's interfaces
    /// that are up.
    public var localAddresses: [String]?
    /// Which of the machine's addresses are used, also of those that come later; empty for all.
    ///
    /// An address is used if it fits one of the rules that are no exclusions, or there are none, and no exclusion.
    public var networkRules: [RTCNetworkRule] = []
    /// Whether the peer is told names of multicast DNS (`….local`) in place of this machine's addresses.
    ///
    /// Only who is on the same link can look them up; whoever carries the signalling learns nothing. Server-reflexive and
    /// relayed candidates stay addresses: peers elsewhere need a STUN or TURN server.
    /// draft-ietf-mmusic-mdns-ice-candidates §3.1
    public var hidesHostAddresses = false
    /// Whether loopback addresses make candidates; nil does so only on a machine that has no others.
    public var includesLoopback: Bool?
    /// Local UDP ports to bind, and TCP ports to listen on, 1 to 65535; nil lets the system choose.
    public var portRange: ClosedRange<UInt16>?
    /// The UDP port that this connection shares with others; nil binds ports of its own.
    ///
    /// Its addresses are gathered from, or those of them that ``localAddresses`` names. The connection lives on the port's
    /// event loop. ``portRange`` then is for the sockets to TURN servers, and for TCP.
    public var sharedUDPPort: SharedUDPPort?
    /// How long a connection that had a path may be without before it asks for an ICE restart by itself, with the event
    /// `negotiationNeeded`; nil leaves that to the application, as browsers do.
    ///
    /// What sends an offer at that event, as perfect negotiation does (webrtc-pc §10.7), heals by itself.
    public var iceRestartDelay: Duration? = .seconds(1)
    /// How long checks of a path may go unanswered until the state is `disconnected`, counted from the first of them.
    ///
    /// A path is checked each second while datagrams pass along it, else every 4 to 6 s; a missing answer is noticed
    /// after half a second, or twice the round-trip time. So a dead path shows within 3 s under traffic, and within 8 s
    /// without. Paths that answer take over within 2 s, whatever this says.
    public var iceDisconnectedTimeout = Duration.seconds(2)
    /// How long after its last answer a path is given up if there is no other.
    ///
    /// The state is `failed` then, and nothing is sent any more. At most 30 s (RFC 7675 §5.1).
    public var iceFailedTimeout = Duration.seconds(30)
    /// The certificate of the DTLS handshake; nil makes one for the whole process.
    public var certificate: RTCCertificate?
    /// Whether the peer is asked to leave out silence of its sound (Opus DTX, `usedtx=1`), which saves most of the packets
    /// of who listens; browsers are not asked by default, and so it is here.
    ///
    /// What this side sends is for ``RTCRtpSender/setDiscontinuousTransmission(_:)`` and the peer. RFC 7587 §6.1
    public var prefersDTX = false
    /// The largest data channel message that is accepted, 1 024 to 1 GiB bytes (RFC 8841).
    public var maxMessageSize = 262_144
    /// The event loop on which the connection lives; nil takes one of NIO's shared group.
    public var eventLoop: (any EventLoop)?
    /// The executor on which what the application sees changes and events are delivered (webrtc-pc's "queue a
    /// task"); nil takes the connection's event loop.
    public var executor: (any SerialExecutor)?

    /// Who asks for names and answers for them; nil takes that of the process.
    package var mdns: MDNSService?

    /// The defaults.
    public init() {}
}
