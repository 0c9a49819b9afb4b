package import SansIO

/// What one incoming source has brought.
package struct RTPInboundStatistics: Hashable, Sendable {
    package var mid = ""
    package var ssrc: UInt32 = 0
    package var rtxSSRC: UInt32?
    package var kind = RTPMediaKind.audio
    package var codec: RTPCodec?
    package var payloadType: UInt8 = 0
    package var packetsReceived: UInt64 = 0
    /// Bytes of payload, padding not counted.
    package var bytesReceived: UInt64 = 0
    package var headerBytesReceived: UInt64 = 0
    /// As RFC 3550 counts, before retransmission; may be negative.
    package var packetsLost: Int64 = 0
    package var jitter: Duration = .zero
    package var retransmittedPacketsReceived: UInt64 = 0
    package var retransmittedBytesReceived: UInt64 = 0
    package var packetsDuplicated: UInt64 = 0
    package var packetsDiscarded: UInt64 = 0
    package var packetsMalformed: UInt64 = 0
    package var nackCount: UInt64 = 0
    package var packetsNacked: UInt64 = 0
    package var pliCount: UInt64 = 0
    package var firCount: UInt64 = 0
    package var framesReceived: UInt64 = 0
    package var keyFramesReceived: UInt64 = 0
    package var framesDropped: UInt64 = 0
    /// Audio packets given up, to be concealed.
    package var packetsConcealed: UInt64 = 0
    package var lastPacketAt: Instant?
    /// The sender's own counts, of its reports.
    package var remotePacketsSent: UInt32 = 0
    package var remoteBytesSent: UInt32 = 0
    package var remoteReportsReceived: UInt64 = 0
    /// NTP time and RTP timestamp of the last sender report, to synchronise streams of one sender.
    package var lastReportNTPTime: UInt64?
    package var lastReportRTPTimestamp: UInt32?

    package init() {}
}
