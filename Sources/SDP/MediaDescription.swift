/// Which way an m-section's media flows. RFC 8866 §6.7
package enum SDPDirection: String, Hashable, Sendable {
    case sendrecv, sendonly, recvonly, inactive

    package init(sends: Bool, receives: Bool) {
        self = sends ? (receives ? .sendrecv : .sendonly) : (receives ? .recvonly : .inactive)
    }

    package var sends: Bool { self == .sendrecv || self == .sendonly }
    package var receives: Bool { self == .sendrecv || self == .recvonly }
    /// The same flow as the other side names it.
    package var reversed: SDPDirection { SDPDirection(sends: receives, receives: sends) }
}

/// Who opens the DTLS connection. RFC 4145 §4
package enum SDPSetup: String, Hashable, Sendable {
    case active, passive, actpass, holdconn
}

/// One payload type: `a=rtpmap`, `a=fmtp`, `a=rtcp-fb`.
package struct SDPCodec: Hashable, Sendable {
    package var payloadType: UInt8
    package var name: String
    package var clockRate: Int
    package var channels: Int
    package var fmtp: String?
    package var feedback: [String]

    package init(
        payloadType: UInt8,
        name: String,
        clockRate: Int,
        channels: Int = 1,
        fmtp: String? = nil,
        feedback: [String] = []
    ) {
        self.payloadType = payloadType
        self.name = name
        self.clockRate = clockRate
        self.channels = channels
        self.fmtp = fmtp
        self.feedback = feedback
    }

    /// The parameters of `a=fmtp` by their names in lower case.
    package var parameters: [String: String] {
        var parameters: [String: String] = [:]
        for part in (fmtp ?? "").split(separator: ";") {
            let pair = part.split(separator: "=", maxSplits: 1)
            guard let key = pair.first else { continue }
            let trimmed = key.filter { $0 != " " }.lowercased()
            parameters[trimmed] = pair.count > 1 ? String(pair[1]) : ""
        }
        return parameters
    }
}

/// `a=extmap`. RFC 8285 §8
package struct SDPExtensionMap: Hashable, Sendable {
    package var id: UInt8
    package var uri: String
    package var direction: SDPDirection?

    package init(id: UInt8, uri: String, direction: SDPDirection? = nil) {
        self.id = id
        self.uri = uri
        self.direction = direction
    }
}

/// `a=ssrc-group`. RFC 5576 §4.2
package struct SDPSourceGroup: Hashable, Sendable {
    package var semantics: String
    package var ssrcs: [UInt32]

    package init(semantics: String, ssrcs: [UInt32]) {
        self.semantics = semantics
        self.ssrcs = ssrcs
    }
}

/// One m-section with the attributes that WebRTC uses. RFC 8829 §5.2
package struct MediaDescription: Hashable, Sendable {
    /// `audio`, `video`, `application` or another word.
    package var kind: String
    package var port: UInt16
    package var transport: String
    package var formats: [String]
    package var mid: String?
    package var direction = SDPDirection.sendrecv
    package var iceUsernameFragment: String?
    package var icePassword: String?
    package var iceOptions: [String] = []
    /// `sha-256 AB:CD…`, each.
    package var fingerprints: [String] = []
    package var setup: SDPSetup?
    package var isRTCPMux = false
    package var isRTCPReducedSize = false
    package var isBundleOnly = false
    package var codecs: [SDPCodec] = []
    package var extensionMaps: [SDPExtensionMap] = []
    /// Source, then its CNAME.
    package var sources: [(ssrc: UInt32, cname: String)] = []
    package var sourceGroups: [SDPSourceGroup] = []
    /// Stream and track identities of `a=msid`; the stream is `-` for none.
    package var msids: [(stream: String, track: String)] = []
    /// `candidate:…`, each.
    package var candidates: [String] = []
    package var hasEndOfCandidates = false
    package var sctpPort: UInt16?
    package var maxMessageSize: Int?

    package init(kind: String, port: UInt16, transport: String, formats: [String]) {
        self.kind = kind
        self.port = port
        self.transport = transport
        self.formats = formats
    }

    /// Whether the section is refused or was stopped: port 0 without `a=bundle-only`.
    package var isRejected: Bool { port == 0 && !isBundleOnly }

    package static func == (left: MediaDescription, right: MediaDescription) -> Bool { left.text == right.text }
    package func hash(into hasher: inout Hasher) { hasher.combine(text) }
}
