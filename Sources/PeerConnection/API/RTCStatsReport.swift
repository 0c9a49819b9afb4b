package import Media

/// What a connection has counted, as of webrtc-stats, in typed form.
///
/// Counters run from the connection's start.
public struct RTCStatsReport: Sendable {
    /// One received RTP stream. webrtc-stats §8.3
    public struct InboundRTP: Sendable {
        /// The m-section.
        public var mid = ""
        /// Audio or video.
        public var kind = MediaKind.audio
        /// The stream's source.
        public var ssrc: UInt32 = 0
        /// The codec's name, `VP8`, `opus`, `PCMU`, `PCMA`.
        public var codec = ""
        /// RTP packets received.
        public var packetsReceived = 0
        /// Payload bytes received.
        public var bytesReceived = 0
        /// Packets lost; negative when duplicates arrived.
        public var packetsLost = 0
        /// Interarrival jitter in seconds (RFC 3550 §6.4.1).
        public var jitter = 0.0
        /// NACK packets sent.
        public var nackCount = 0
        /// PLI packets sent.
        public var pliCount = 0
        /// Complete frames that came out of reassembly.
        public var framesReceived = 0
        /// Frames decoded.
        public var framesDecoded = 0
        /// Frames that the decoder or the queue before it dropped.
        public var framesDropped = 0
        /// Width of the last decoded picture in pixels, 0 for audio.
        public var frameWidth = 0
        /// Height of the last decoded picture in pixels, 0 for audio.
        public var frameHeight = 0
        /// How loud the last decoded block was: the root mean square of its samples, full scale being 1; 0 for video.
        public var audioLevel = 0.0
        /// The integral of the squared level over the time of all decoded sound, in seconds: what differs between two
        /// reports, divided by the difference of ``totalSamplesDuration``, is the square of the level between them.
        public var totalAudioEnergy = 0.0
        /// Seconds of sound decoded.
        public var totalSamplesDuration = 0.0
    }

    /// The source of a sound that is sent. webrtc-stats §8.7 (`RTCAudioSourceStats`)
    public struct AudioSource: Sendable {
        /// The m-section that it is sent in.
        public var mid = ""
        /// The track's ``MediaStreamTrack/id``.
        public var trackIdentifier = ""
        /// How loud the last block was: the root mean square of its samples, full scale being 1.
        public var audioLevel = 0.0
        /// The integral of the squared level over the time of all sound, in seconds.
        public var totalAudioEnergy = 0.0
        /// Seconds of sound that the source gave.
        public var totalSamplesDuration = 0.0
        /// Whether somebody spoke in the last block; nil for sound that is not processed, where nobody looks.
        public var voiceActivityFlag: Bool?
        /// How much weaker than what is played the echo is, in dB; nil if no echo is taken out or there was none.
        public var echoReturnLoss: Double?
        /// How much weaker the echo is made, in dB; nil if no echo is taken out or there was none.
        public var echoReturnLossEnhancement: Double?
    }

    /// One sent RTP stream. webrtc-stats §8.5
    public struct OutboundRTP: Sendable {
        /// The m-section.
        public var mid = ""
        /// Audio or video.
        public var kind = MediaKind.audio
        /// The stream's source.
        public var ssrc: UInt32 = 0
        /// The codec's name.
        public var codec = ""
        /// RTP packets sent.
        public var packetsSent = 0
        /// Payload bytes sent.
        public var bytesSent = 0
        /// Packets sent again.
        public var retransmittedPacketsSent = 0
        /// NACK packets received.
        public var nackCount = 0
        /// PLI and FIR packets received.
        public var pliCount = 0
        /// Frames encoded.
        public var framesEncoded = 0
        /// Bits a second that the encoder is asked for.
        public var targetBitrate = 0
        /// Round-trip time by RTCP in seconds, nil before the first report.
        public var roundTripTime: Double?
        /// The share of packets that the peer reports lost, 0 to 1.
        public var fractionLost = 0.0
        /// Packets that the peer reports lost.
        public var remotePacketsLost = 0
        /// Jitter that the peer reports, in seconds.
        public var remoteJitter = 0.0
        /// Width of the last encoded picture in pixels, 0 for audio.
        public var frameWidth = 0
        /// Height of the last encoded picture in pixels, 0 for audio.
        public var frameHeight = 0
        /// From the capture of pictures to their encoder.
        package var captureDelays = DelayHistogram()
    }

    /// The selected candidate pair. webrtc-stats §8.12
    public struct CandidatePair: Sendable {
        /// Local address and port.
        public var localAddress = ""
        /// Local kind: host, srflx, prflx, relay.
        public var localType = ""
        /// What goes between the two, or between this side's TURN server and the other: udp, tcp.
        public var `protocol` = "udp"
        /// How the TURN server of a local relayed candidate is spoken with: udp, tcp, tls.
        public var relayProtocol: String?
        /// Remote address and port.
        public var remoteAddress = ""
        /// Remote kind.
        public var remoteType = ""
        /// Whether the pair was nominated.
        public var isNominated = false
        /// The last round-trip time by STUN in seconds, nil before the first.
        public var currentRoundTripTime: Double?
    }

    /// Transport below all. webrtc-stats §8.11
    public struct Transport: Sendable {
        /// Bytes of datagrams sent.
        public var bytesSent = 0
        /// Bytes of datagrams received.
        public var bytesReceived = 0
        /// Datagrams sent.
        public var packetsSent = 0
        /// Datagrams received.
        public var packetsReceived = 0
        /// The DTLS version, as `DTLSv1.2`.
        public var dtlsVersion: String?
        /// The DTLS cipher.
        public var dtlsCipher: String?
        /// The SRTP profile, as `AEAD_AES_128_GCM`.
        public var srtpCipher: String?
        /// Datagrams dropped since they belonged to no protocol of the session.
        public var packetsDiscarded = 0
        /// Names in the peer's candidates for which an address was found.
        public var candidateNamesResolved = 0
        /// Names in the peer's candidates that nobody answered for: those candidates are dropped.
        public var candidateNamesUnresolved = 0
    }

    /// When the report was made, in nanoseconds of the monotonic clock.
    public var timestampNanoseconds: Int64 = 0
    /// Received streams.
    public var inboundRTP: [InboundRTP] = []
    /// Sent streams.
    public var outboundRTP: [OutboundRTP] = []
    /// The sources of the sounds that are sent.
    public var audioSources: [AudioSource] = []
    /// The selected pair, nil before there is one.
    public var selectedCandidatePair: CandidatePair?
    /// Every pair that ICE knows.
    public var candidatePairs: [CandidatePair] = []
    /// The transport.
    public var transport = Transport()
    /// What came from the network or the peer, or was to be sent, and was not used: how often for each reason.
    ///
    /// Named by protocol and reason, as `ice.wrongPassword`, `ice.staleCandidates`, `turn.malformed`, `dtls.replayed`; only
    /// reasons that occurred. An attack, a broken middlebox or a peer with a fault shows here.
    public var discards: [String: Int] = [:]
    /// Data channels that are open.
    public var dataChannelsOpened = 0
}
