/// What one peer may take of a server: everything that somebody outside can make grow has a limit here.
public struct SignalingLimits: Hashable, Sendable {
    /// Bytes of one message.
    ///
    /// A session description with video, audio and data has 5 000 to 10 000.
    public var maxMessageBytes = 256 * 1024
    /// Rooms with at least one peer.
    public var maxRooms = 256
    /// Peers in one room.
    ///
    /// Each holds a connection to each other one, so more is seldom usable.
    public var maxPeersPerRoom = 8
    /// Connections, joined or not, HTTP or WebSocket.
    public var maxConnections = 1024
    /// Connections from one address.
    ///
    /// Browsers open six for a page.
    public var maxConnectionsPerAddress = 64
    /// Messages a second that one connection may send in the long run.
    public var messagesPerSecond = 50
    /// Messages that may come at once: 7 peers with 20 candidates and some descriptions each.
    public var messageBurst = 400
    /// Bytes a second that one connection may send in the long run.
    public var bytesPerSecond = 512 * 1024
    /// Bytes that may come at once.
    public var byteBurst = 4 * 1024 * 1024
    /// Messages kept for a peer until it acknowledged them, so that it can resume.
    public var maxQueuedMessages = 512
    /// Bytes kept for a peer until it acknowledged them.
    public var maxQueuedBytes = 2 * 1024 * 1024
    /// Bytes that wait because the peer does not read; above it is cut off.
    public var maxUnsentBytes = 4 * 1024 * 1024
    /// How often each side asks the other for a sign of life.
    public var heartbeatInterval: Duration = .seconds(5)
    /// A connection that was silent that long is broken.
    public var heartbeatTimeout: Duration = .seconds(15)
    /// How long a WebSocket may stay without `join`, and an HTTP connection without a request.
    public var joinTimeout: Duration = .seconds(10)
    /// How long the place of a broken connection is kept.
    public var resumeGrace: Duration = .seconds(10)

    /// The limits as stated.
    public init() {}
}
