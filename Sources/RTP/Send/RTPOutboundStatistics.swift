/// What one stream has sent, and what the remote side said about it.
package struct RTPOutboundStatistics: Hashable, Sendable {
    package var mid = ""
    package var ssrc: UInt32 = 0
    package var rtxSSRC: UInt32?
    package var codec = RTPCodec.opus
    package var payloadType: UInt8 = 0
    /// Packets and payload bytes sent, retransmissions included.
    package var packetsSent: UInt64 = 0
    package var bytesSent: UInt64 = 0
    package var headerBytesSent: UInt64 = 0
    package var retransmittedPacketsSent: UInt64 = 0
    package var retransmittedBytesSent: UInt64 = 0
    package var framesSent: UInt64 = 0
    package var keyFramesSent: UInt64 = 0
    /// Packets dropped since they waited too long to leave, or for want of memory.
    package var packetsDiscarded: UInt64 = 0
    /// Frames of another codec than the one that is being sent, and units of H.264 that no stream may hold.
    package var framesOfOtherCodecs: UInt64 = 0
    package var unitsDropped: UInt64 = 0
    package var nackCount: UInt64 = 0
    /// Sequence numbers asked for again, and those no longer in the cache.
    package var nackedPackets: UInt64 = 0
    package var nackMisses: UInt64 = 0
    package var pliCount: UInt64 = 0
    package var firCount: UInt64 = 0
    package var targetBitRate: Int = 0
    /// Of the remote receiver's reports.
    package var remotePacketsLost: Int64 = 0
    /// From 0 to 1, of the last report.
    package var remoteFractionLost: Double = 0
    package var remoteJitter: Duration = .zero
    package var roundTripTime: Duration?
    package var totalRoundTripTime: Duration = .zero
    package var roundTripTimeMeasurements: UInt64 = 0
    package var reportsReceived: UInt64 = 0

    package init() {}
}
