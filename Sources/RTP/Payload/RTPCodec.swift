/// The kinds of media.
package enum RTPMediaKind: Hashable, Sendable {
    case audio
    case video
}

/// The codecs whose payload formats we know.
package enum RTPCodec: Hashable, Sendable, CaseIterable {
    case vp8
    case h264
    case opus
    case pcmu
    case pcma

    /// The encoding name of `a=rtpmap`; compared without regard to case.
    package var name: String {
        switch self {
        case .vp8: "VP8"
        case .h264: "H264"
        case .opus: "opus"
        case .pcmu: "PCMU"
        case .pcma: "PCMA"
        }
    }

    /// Ticks of the RTP timestamp per second.
    package var clockRate: Int {
        switch self {
        case .vp8, .h264: 90_000
        case .opus: 48_000
        case .pcmu, .pcma: 8_000
        }
    }

    package var kind: RTPMediaKind { self == .vp8 || self == .h264 ? .video : .audio }

    /// The codec that `a=rtpmap` names, if we know it.
    package init?(name: some StringProtocol, clockRate: Int) {
        let lowercased = name.lowercased()
        guard
            let codec = Self.allCases.first(where: { $0.name.lowercased() == lowercased && $0.clockRate == clockRate })
        else { return nil }
        self = codec
    }
}

/// The RTCP feedback that was negotiated for a payload type (`a=rtcp-fb`).
package struct RTPFeedback: Hashable, Sendable {
    package var nack: Bool
    package var nackPLI: Bool
    package var ccmFIR: Bool
    package var googREMB: Bool
    package var transportCC: Bool

    package init(
        nack: Bool = false,
        nackPLI: Bool = false,
        ccmFIR: Bool = false,
        googREMB: Bool = false,
        transportCC: Bool = false
    ) {
        self.nack = nack
        self.nackPLI = nackPLI
        self.ccmFIR = ccmFIR
        self.googREMB = googREMB
        self.transportCC = transportCC
    }

    /// All that a browser offers for video.
    package static let all = RTPFeedback(
        nack: true,
        nackPLI: true,
        ccmFIR: true,
        googREMB: true,
        transportCC: true
    )
}

/// A negotiated payload type.
package struct RTPCodecParameters: Hashable, Sendable {
    package var payloadType: UInt8
    package var codec: RTPCodec
    /// The payload type of retransmissions (`apt`), if any.
    package var rtxPayloadType: UInt8?
    package var feedback: RTPFeedback
    package var fmtp: [String: String]
    package var channels: Int

    package init(
        payloadType: UInt8,
        codec: RTPCodec,
        rtxPayloadType: UInt8? = nil,
        feedback: RTPFeedback = RTPFeedback(),
        fmtp: [String: String] = [:],
        channels: Int = 1
    ) {
        self.payloadType = payloadType
        self.codec = codec
        self.rtxPayloadType = rtxPayloadType
        self.feedback = feedback
        self.fmtp = fmtp
        self.channels = channels
    }
}

/// What one m-section sends.
package struct RTPSendParameters: Hashable, Sendable {
    package var mid: String
    package var ssrc: UInt32
    package var rtxSSRC: UInt32?
    package var codec: RTPCodecParameters
    /// All that were agreed on, in the order of preference: the sender may change from one to another at any time.
    package var codecs: [RTPCodecParameters]
    package var extensions: RTPHeaderExtensionIDs
    package var cname: String
    /// Most bits per second for this stream, or nil for the transport's own limit.
    package var maxBitRate: Int?

    package init(
        mid: String,
        ssrc: UInt32,
        rtxSSRC: UInt32? = nil,
        codec: RTPCodecParameters,
        codecs: [RTPCodecParameters] = [],
        extensions: RTPHeaderExtensionIDs = .init(),
        cname: String,
        maxBitRate: Int? = nil
    ) {
        self.mid = mid
        self.ssrc = ssrc
        self.rtxSSRC = rtxSSRC
        self.codec = codec
        self.codecs = codecs.isEmpty ? [codec] : codecs
        self.extensions = extensions
        self.cname = cname
        self.maxBitRate = maxBitRate
    }
}

/// What one m-section receives.
package struct RTPReceiveParameters: Hashable, Sendable {
    package var mid: String
    package var codecs: [RTPCodecParameters]
    package var extensions: RTPHeaderExtensionIDs
    /// The media sources that `a=ssrc` names; may be empty.
    package var ssrcs: [UInt32]
    /// The retransmission source of each media source, as `a=ssrc-group:FID media rtx` gives them.
    package var rtxSSRCs: [UInt32: UInt32]

    package init(
        mid: String,
        codecs: [RTPCodecParameters],
        extensions: RTPHeaderExtensionIDs = .init(),
        ssrcs: [UInt32] = [],
        rtxSSRCs: [UInt32: UInt32] = [:]
    ) {
        self.mid = mid
        self.codecs = codecs
        self.extensions = extensions
        self.ssrcs = ssrcs
        self.rtxSSRCs = rtxSSRCs
    }
}
