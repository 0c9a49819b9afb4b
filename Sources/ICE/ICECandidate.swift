package import SansIO

/// What a candidate's address is to its agent. RFC 8445 §5.1.1
package enum ICECandidateKind: String, Hashable, Sendable {
    case host, srflx, prflx, relay

    /// The recommended type preference. RFC 8445 §5.1.2.2
    var typePreference: UInt32 {
        switch self {
        case .host: 126
        case .prflx: 110
        case .srflx: 100
        case .relay: 0
        }
    }
}

/// Why text is no usable candidate.
package enum ICEError: Error, Hashable, Sendable, CustomStringConvertible {
    case malformedCandidate(String)
    /// A host name stands for the address (mDNS): resolve it and use `ICECandidate.replacingHostname`.
    case hostname(String)

    package var description: String {
        switch self {
        case .malformedCandidate(let what): "malformed candidate: \(what)"
        case .hostname(let name): "the candidate's address is the name \(name)"
        }
    }
}

/// A transport address at which an agent may be reached. RFC 8839 §5.1
package struct ICECandidate: Hashable, Sendable {
    package enum Transport: String, Hashable, Sendable { case udp, tcp }

    package var foundation: String
    package var component: Int
    package var transport: Transport
    package var priority: UInt32
    package var address: TransportAddress
    package var kind: ICECandidateKind
    package var relatedAddress: TransportAddress?
    package var tcpType: String?
    package var usernameFragment: String?

    /// Longest candidate attribute that is read.
    package static let byteLimit = 1024

    package init(
        foundation: String, priority: UInt32, address: TransportAddress, kind: ICECandidateKind,
        relatedAddress: TransportAddress? = nil
    ) {
        self.foundation = foundation
        component = 1
        transport = .udp
        self.priority = priority
        self.address = address
        self.kind = kind
        self.relatedAddress = relatedAddress
    }

    /// Parses `candidate:…`, with or without `a=` before it.
    package init(attributeValue: some StringProtocol) throws(ICEError) {
        try self.init(attributeValue: attributeValue, resolved: nil)
    }

    /// Parses a candidate whose address is a host name that was resolved.
    package init(attributeValue: some StringProtocol, resolved: IPAddress?) throws(ICEError) {
        guard attributeValue.utf8.count <= Self.byteLimit else { throw .malformedCandidate("longer than \(Self.byteLimit) bytes") }
        var text = Substring(attributeValue)
        if text.hasPrefix("a=") { text = text.dropFirst(2) }
        guard text.hasPrefix("candidate:") else { throw .malformedCandidate("no \"candidate:\"") }
        let fields = text.dropFirst("candidate:".count).split(whereSeparator: { $0 == " " || $0 == "\r" || $0 == "\n" })
        guard fields.count >= 8 else { throw .malformedCandidate("fewer than 8 fields") }
        guard fields[0].utf8.count <= 32 else { throw .malformedCandidate("foundation") }
        guard let component = Int(fields[1]), (1...256).contains(component) else { throw .malformedCandidate("component") }
        guard let transport = Transport(rawValue: fields[2].lowercased()) else { throw .malformedCandidate("transport") }
        guard let priority = UInt32(fields[3]), priority >= 1 else { throw .malformedCandidate("priority") }
        guard let port = UInt16(fields[5]) else { throw .malformedCandidate("port") }
        guard fields[6] == "typ", let kind = ICECandidateKind(rawValue: String(fields[7])) else { throw .malformedCandidate("type") }
        guard let ip = IPAddress(fields[4]) ?? resolved else {
            guard fields[4].utf8.allSatisfy({ $0 > 32 && $0 < 127 }) else { throw .malformedCandidate("address") }
            throw .hostname(String(fields[4]))
        }
        guard !ip.isMulticast, !ip.isUnspecified || transport == .tcp else { throw .malformedCandidate("address") }
        foundation = String(fields[0])
        self.component = component
        self.transport = transport
        self.priority = priority
        address = TransportAddress(ip, port: port)
        self.kind = kind
        var relatedIP: IPAddress?
        var relatedPort: UInt16?
        var index = 8
        while index + 1 < fields.count {
            switch fields[index] {
            case "raddr": relatedIP = IPAddress(fields[index + 1])
            case "rport": relatedPort = UInt16(fields[index + 1])
            case "tcptype": tcpType = String(fields[index + 1])
            case "ufrag": usernameFragment = String(fields[index + 1])
            default: break
            }
            index += 2
        }
        if let relatedIP, let relatedPort { relatedAddress = TransportAddress(relatedIP, port: relatedPort) }
    }

    /// `candidate:…`, without `a=`.
    package var attributeValue: String {
        var text = "candidate:\(foundation) \(component) \(transport.rawValue) \(priority) \(address.ip) \(address.port) typ \(kind.rawValue)"
        if let relatedAddress { text += " raddr \(relatedAddress.ip) rport \(relatedAddress.port)" }
        if let tcpType { text += " tcptype \(tcpType)" }
        if let usernameFragment { text += " ufrag \(usernameFragment)" }
        return text
    }

    /// RFC 8445 §5.1.2.1
    package static func priority(kind: ICECandidateKind, localPreference: UInt16) -> UInt32 {
        kind.typePreference << 24 | UInt32(localPreference) << 8 | 255
    }
}

/// Short-term credentials of one generation. RFC 8445 §5.3
package struct ICECredentials: Hashable, Sendable {
    package var usernameFragment: String
    package var password: String

    package init(usernameFragment: String, password: String) {
        self.usernameFragment = usernameFragment
        self.password = password
    }

    /// 24 and 144 random bits, of which RFC 8445 asks 24 and 128.
    package init(random: RandomSource) {
        self.init(usernameFragment: random.iceCharacters(4), password: random.iceCharacters(24))
    }
}

package enum ICERole: Hashable, Sendable { case controlling, controlled }

/// As `RTCIceConnectionState` of webrtc-pc §5.6.4.
package enum ICEState: String, Hashable, Sendable {
    case new, checking, connected, completed, disconnected, failed, closed
}

package enum ICEEvent: Sendable {
    case localCandidate(ICECandidate)
    case gatheringComplete
    case stateChanged(ICEState)
    case selectedPathChanged(TransmitPath, local: ICECandidate, remote: ICECandidate)
    /// Nothing may be sent any more: consent was not renewed for 30 s.
    case consentLost
}
