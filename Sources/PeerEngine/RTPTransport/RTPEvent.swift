package import RTP

/// What an `RTPTransport` tells its owner.
package enum RTPEvent: Sendable {
    /// The next frame of an m-section, in decoding order.
    case frame(mid: String, ReceivedFrame)
    /// The remote side cannot go on without a key frame.
    case keyFrameRequested(mid: String)
    /// The rate at which the encoder should work has moved by more than 5 %.
    case targetBitRate(mid: String, bitsPerSecond: Int)
    /// The first media packet of an m-section has arrived: its track unmutes.
    case firstPacket(mid: String)
    /// A source of the m-section has left: its track mutes.
    case bye(mid: String)
}

/// Counts of one `RTPTransport`.
package struct RTPTransportStatistics: Hashable, Sendable {
    /// One for each source that was heard.
    package var inbound: [RTPInboundStatistics] = []
    /// One for each m-section that sends.
    package var outbound: [RTPOutboundStatistics] = []
    package var rtpPacketsReceived: UInt64 = 0
    package var rtpBytesReceived: UInt64 = 0
    package var rtcpPacketsReceived: UInt64 = 0
    package var rtpPacketsSent: UInt64 = 0
    package var rtpBytesSent: UInt64 = 0
    package var rtcpPacketsSent: UInt64 = 0
    package var transportFeedbackSent: UInt64 = 0
    package var transportFeedbackReceived: UInt64 = 0
    /// Datagrams dropped, by reason.
    package var droppedBeforeStart: UInt64 = 0
    package var droppedReplayed: UInt64 = 0
    package var droppedUnauthenticated: UInt64 = 0
    package var droppedMalformed: UInt64 = 0
    package var droppedUnknownSource: UInt64 = 0
    package var droppedForMemory: UInt64 = 0
    /// Packets that SRTP refused to protect.
    package var protectionFailures: UInt64 = 0
    package var roundTripTime: Duration?
    /// Bits per second that the path carries, as estimated.
    package var availableOutgoingBitRate: Int = 0
    package var deliveredBitRate: Int?
    package var queueingDelay: Duration = .zero
    package var pacerQueuedBytes: Int = 0

    package init() {}
}
