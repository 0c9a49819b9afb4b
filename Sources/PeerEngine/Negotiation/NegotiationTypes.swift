package import DTLS
package import ICE
package import RTP
package import SDP

/// Names a transceiver inside one engine; never reused.
package struct TransceiverID: Hashable, Sendable {
    package let rawValue: Int
}

package enum SignalingState: String, Hashable, Sendable {
    case stable
    case haveLocalOffer = "have-local-offer"
    case haveRemoteOffer = "have-remote-offer"
    case haveLocalPranswer = "have-local-pranswer"
    case haveRemotePranswer = "have-remote-pranswer"
}

package enum DescriptionType: String, Hashable, Sendable { case offer, pranswer, answer, rollback }

/// Why a description was refused.
package enum NegotiationError: Error, Hashable, Sendable, CustomStringConvertible {
    case wrongState(SignalingState, String)
    case syntax(SDPError)
    /// Something that every description needs is missing; where and what.
    case missing(String)
    /// A local description was altered in what this side does not support.
    case modified(String)
    case inconsistent(String)

    package var description: String {
        switch self {
        case .wrongState(let state, let what): "\(what) in signalling state \(state.rawValue)"
        case .syntax(let error): "\(error)"
        case .missing(let what): "the description lacks \(what)"
        case .modified(let what): "the local description was altered: \(what)"
        case .inconsistent(let what): what
        }
    }
}

/// Whether an m-section of video lists H.264, which this side neither encodes nor decodes.
package enum H264Place: Hashable, Sendable {
    /// Not at all.
    case none
    /// This side can send it: the peer goes on sending what stands before.
    case afterOthers
    /// It is what the peer is to send.
    case first
}

/// One transceiver as the negotiator sees it.
package struct TransceiverState: Sendable {
    package let id: TransceiverID
    package let kind: RTPMediaKind
    package internal(set) var mid: String?
    package internal(set) var direction: SDPDirection
    package internal(set) var currentDirection: SDPDirection?
    package internal(set) var isStopped = false
    package internal(set) var trackID: String
    package internal(set) var streamIDs: [String]
    let ssrc: UInt32
    let rtxSSRC: UInt32
    var wasAddedByTrack: Bool
    var wasMadeByRemote = false
    /// What the last description said of this side's wishes, to tell whether a new one is needed.
    var describedDirection: SDPDirection?
    var describedStreamIDs: [String]?
    /// Whether the peer's sending was told to the application.
    var isReceiving = false
    var maxBitRate: Int?
    var h264 = H264Place.none
    var hasSent = false
}

/// What a description changed.
package struct NegotiationOutcome {
    package struct Transport {
        package var usernameFragment: String
        package var password: String
        package var isLite: Bool
        package var renomination: ICERenomination
        package var fingerprints: [DTLSFingerprint]
        /// `candidate:…`, each.
        package var candidates: [String]
        package var hasEndOfCandidates: Bool
        /// Whether the credentials differ from the peer's former ones.
        package var isRestart: Bool
    }

    package struct DataPlan: Equatable {
        package var remotePort: UInt16
        package var remoteMaxMessageSize: Int
    }

    package var remoteTransport: Transport?
    /// Known once an answer is set.
    package var dtlsRole: DTLSRole?
    package var data: DataPlan?
    /// Sending of each mid: parameters, or nil to stop.
    package var sends: [(mid: String, id: TransceiverID, parameters: RTPSendParameters?)] = []
    /// Receiving of each mid: parameters, or nil to stop.
    package var receives: [(mid: String, id: TransceiverID, parameters: RTPReceiveParameters?)] = []
    /// Transceivers that the peer's offer made.
    package var added: [TransceiverID] = []
    /// Transceivers that a rollback took away.
    package var removed: [TransceiverID] = []
    /// Transceivers on which the peer begins to send, with the streams.
    package var tracks: [(id: TransceiverID, streamIDs: [String])] = []
    /// Transceivers on which the peer stopped sending.
    package var endedTracks: [TransceiverID] = []
    /// Whether this was a local description, which starts gathering.
    package var isLocal = false
}

/// What this side can do, in the order of preference.
package struct NegotiatorConfiguration: Sendable {
    package var fingerprint: String
    package var cname: String
    package var maxMessageSize: Int
    /// Whether this side answers checks and makes none. RFC 8839 §5.3
    package var isICELite = false
    package var audioCodecs: [SDPCodec] = [
        SDPCodec(
            payloadType: 111,
            name: "opus",
            clockRate: 48_000,
            channels: 2,
            fmtp: "minptime=10;useinbandfec=1",
            feedback: ["transport-cc"]
        ),
        SDPCodec(payloadType: 0, name: "PCMU", clockRate: 8_000),
        SDPCodec(payloadType: 8, name: "PCMA", clockRate: 8_000),
    ]
    package var videoCodecs: [SDPCodec] = [
        SDPCodec(
            payloadType: 96,
            name: "VP8",
            clockRate: 90_000,
            feedback: ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"]
        ),
        SDPCodec(payloadType: 97, name: "rtx", clockRate: 90_000, fmtp: "apt=96"),
    ]
    /// Listed where a transceiver wants it: what all browsers have (RFC 7742 §6.2).
    package var h264Codecs: [SDPCodec] = [
        SDPCodec(
            payloadType: 98,
            name: "H264",
            clockRate: 90_000,
            fmtp: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
            feedback: ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"]
        ),
        SDPCodec(payloadType: 99, name: "rtx", clockRate: 90_000, fmtp: "apt=98"),
    ]
    package var audioExtensions: [SDPExtensionMap] = [
        SDPExtensionMap(id: 4, uri: HeaderExtensionURI.mid),
        SDPExtensionMap(id: 3, uri: HeaderExtensionURI.transportCC),
        SDPExtensionMap(id: 1, uri: HeaderExtensionURI.audioLevel),
    ]
    package var videoExtensions: [SDPExtensionMap] = [
        SDPExtensionMap(id: 4, uri: HeaderExtensionURI.mid),
        SDPExtensionMap(id: 3, uri: HeaderExtensionURI.transportCC),
        SDPExtensionMap(id: 2, uri: HeaderExtensionURI.absSendTime),
    ]

    /// Asks the peer to leave out silence. RFC 7587 §6.1: "specifies if the decoder prefers the use of DTX"
    mutating func preferDTX() {
        for index in audioCodecs.indices where audioCodecs[index].name == "opus" {
            audioCodecs[index].fmtp = (audioCodecs[index].fmtp.map { $0 + ";" } ?? "") + "usedtx=1"
        }
    }

    package static func standard(certificate: DTLSCertificate, cname: String, maxMessageSize: Int)
        -> NegotiatorConfiguration
    {
        NegotiatorConfiguration(
            fingerprint: certificate.fingerprint.attributeValue,
            cname: cname,
            maxMessageSize: maxMessageSize
        )
    }
}

/// The header extensions that are used.
package enum HeaderExtensionURI {
    package static let mid = "urn:ietf:params:rtp-hdrext:sdes:mid"
    package static let transportCC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
    package static let absSendTime = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
    package static let audioLevel = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
}

extension RTPMediaKind {
    var name: String { self == .audio ? "audio" : "video" }
}
