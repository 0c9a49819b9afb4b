package import SansIO

/// A transport address that may reach an agent.
///
/// RFC 8445 §5.1, RFC 8839 §5.1
package struct ICECandidate: Hashable, Sendable {
    package enum Kind: String, Hashable, Sendable {
        case host, srflx, prflx, relay

        /// The type preference: as RFC 8445 §5.1.2.2 recommends, and over TCP below all that is direct by UDP, since a
        /// lost segment holds up all behind it (RFC 6544 §4.2).
        func preference(over transport: Transport = .udp) -> UInt32 {
            switch (self, transport) {
            case (.host, .udp): 126
            case (.prflx, .udp): 110
            case (.srflx, .udp): 100
            case (.host, .tcp): 90
            case (.prflx, .tcp): 80
            case (.srflx, .tcp): 70
            case (.relay, _): 0
            }
        }
    }

    package enum Transport: String, Hashable, Sendable {
        case udp, tcp
    }

    /// How a TCP candidate connects (RFC 6544 §4.5).
    package enum TCPType: String, Hashable, Sendable {
        case active, passive, so
    }

    package var foundation: String
    /// 1 for RTP and everything multiplexed with it.
    package var component: Int
    package var transport: Transport
    package var priority: UInt32
    package var address: TransportAddress
    package var kind: Kind
    package var relatedAddress: TransportAddress?
    package var tcpType: TCPType?
    /// The generation to which it belongs.
    package var usernameFragment: String?

    package init(
        foundation: String,
        component: Int = 1,
        transport: Transport = .udp,
        priority: UInt32,
        address: TransportAddress,
        kind: Kind,
        relatedAddress: TransportAddress? = nil,
        tcpType: TCPType? = nil,
        usernameFragment: String? = nil
    ) {
        self.foundation = foundation
        self.component = component
        self.transport = transport
        self.priority = priority
        self.address = address
        self.kind = kind
        self.relatedAddress = relatedAddress
        self.tcpType = tcpType
        self.usernameFragment = usernameFragment
    }

    /// Parses the value of an `a=candidate` line, with or without `a=`.
    ///
    /// Unknown extensions are passed over.
    ///
    /// - Parameters:
    ///   - attributeValue: the line's value; a line end after it is passed over.
    ///   - resolved: what a host name in the address's place was looked up to be.
    /// - Throws: `ICEError.hostname` if a name stands in the address's place and `resolved` is nil, `.malformed` for
    ///   anything wrong.
    ///
    /// RFC 8839 §5.1
    package init(attributeValue: some StringProtocol, resolved: IPAddress? = nil) throws(ICEError) {
        try self.init(line: Substring(attributeValue), resolved: resolved)
    }

    private init(line: Substring, resolved: IPAddress?) throws(ICEError) {
        var line = line.utf8
        guard line.count <= Self.maximumLineByteCount else { throw .malformed(field: .line) }
        while let last = line.last, last == UInt8(ascii: "\r") || last == UInt8(ascii: "\n") { line.removeLast() }
        guard line.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) else { throw .malformed(field: .line) }
        var fields = line.split(separator: UInt8(ascii: " ")).map { Substring($0) }[...]
        guard var first = fields.popFirst() else { throw .malformed(field: .line) }
        if first.hasPrefix("a=") { first = first.dropFirst(2) }
        guard first.hasPrefix("candidate:") else { throw .malformed(field: .line) }
        first = first.dropFirst("candidate:".count)
        guard (1...Self.maximumFoundationCount).contains(first.utf8.count) else {
            throw .malformed(field: .foundation)
        }
        foundation = String(first)

        guard let component = fields.popFirst().flatMap({ UInt16($0) }), (1...256).contains(component) else {
            throw .malformed(field: .component)
        }
        self.component = Int(component)
        guard let transport = fields.popFirst().flatMap({ Transport(rawValue: $0.lowercased()) }) else {
            throw .malformed(field: .transport)
        }
        self.transport = transport
        guard let priority = fields.popFirst().flatMap({ UInt32($0) }) else { throw .malformed(field: .priority) }
        self.priority = priority
        guard let host = fields.popFirst() else { throw .malformed(field: .address) }
        guard let port = fields.popFirst().flatMap({ UInt16($0) }) else { throw .malformed(field: .port) }
        guard fields.popFirst()?.lowercased() == "typ",
            let kind = fields.popFirst().flatMap({ Kind(rawValue: $0.lowercased()) })
        else { throw .malformed(field: .kind) }
        self.kind = kind

        var relatedHost: Substring?
        var relatedPort: UInt16?
        while let name = fields.popFirst(), let value = fields.popFirst() {
            switch name {
            case "raddr": relatedHost = value
            case "rport":
                guard let port = UInt16(value) else { throw .malformed(field: .relatedAddress) }
                relatedPort = port
            case "tcptype": tcpType = TCPType(rawValue: String(value))
            case "ufrag": usernameFragment = String(value)
            default: break
            }
        }
        // A related address is told for diagnosis only; a name or nonsense in its place harms nothing.
        relatedAddress = relatedHost.flatMap { TransportAddress($0, port: relatedPort ?? 0) }
        if let ip = IPAddress(host) {
            address = TransportAddress(ip, port: port)
        } else {
            guard Self.isHostname(host) else { throw .malformed(field: .address) }
            guard let resolved else { throw .hostname(String(host)) }
            address = TransportAddress(resolved, port: port)
        }
    }

    /// The line's value as `candidate:1 1 udp 2122260223 192.0.2.1 5000 typ host`, without `a=`.
    package var attributeValue: String { attributeValue(host: address.ip.description) }

    /// The same with something else in the address's place, as a name of multicast DNS.
    package func attributeValue(host: String) -> String {
        var line = "candidate:\(foundation) \(component) \(transport.rawValue) \(priority) "
        line += "\(host) \(address.port) typ \(kind.rawValue)"
        if let relatedAddress { line += " raddr \(relatedAddress.ip) rport \(relatedAddress.port)" }
        if let tcpType { line += " tcptype \(tcpType.rawValue)" }
        if let usernameFragment { line += " ufrag \(usernameFragment)" }
        return line
    }

    /// Letters, digits, hyphens and dots with a letter among them, as a DNS or mDNS name has.
    private static func isHostname(_ text: some StringProtocol) -> Bool {
        text.utf8.count <= 253 && text.contains(where: \.isLetter)
            && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "." || $0 == "_") }
    }

    /// Longest line that is read; real ones have about 150 bytes.
    package static let maximumLineByteCount = 1024
    /// RFC 8839 §5.1: 1*32ice-char.
    package static let maximumFoundationCount = 32
}
