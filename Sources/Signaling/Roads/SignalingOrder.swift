/// Where a message stands among all those that one side of a connection says, so that it may come along two roads and
/// still counts once, in its turn.
///
/// docs/SIGNALING.md, "Two roads"
public struct SignalingOrder: Hashable, Sendable {
    /// Names the numbering: one for each connection and side, chosen at random.
    public var stream: String
    /// The message's number, from 1; 0 where there is no message.
    public var sequence: Int
    /// The lowest number that its sender can still repeat: nobody waits for those below.
    public var first: Int
    /// The other side's numbering, which `acknowledged` counts in; nil if none is known yet.
    public var peerStream: String?
    /// All of the other side's messages up to this number have come.
    public var acknowledged: Int

    /// Makes a place in an order.
    public init(stream: String, sequence: Int, first: Int, peerStream: String? = nil, acknowledged: Int = 0) {
        self.stream = stream
        self.sequence = sequence
        self.first = first
        self.peerStream = peerStream
        self.acknowledged = acknowledged
    }

    /// Characters that the name of a numbering may have.
    static let maxStreamLength = 64
}
