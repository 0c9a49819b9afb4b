import SansIO

/// Where a STUN or TURN server is, and how to speak to it.
///
/// RFC 7064, RFC 7065
package struct ICEServerURI: Hashable, Sendable {
    package enum Scheme: String, Sendable {
        case stun, stuns, turn, turns
    }

    package enum Transport: String, Sendable {
        case udp, tcp
    }

    package let scheme: Scheme
    /// A name or an address; IPv6 without brackets.
    package let host: String
    package let port: UInt16
    /// What carries the messages, or TLS below them.
    package let transport: Transport

    /// Whether TLS, or over UDP DTLS, protects the messages.
    package var isSecure: Bool { scheme == .stuns || scheme == .turns }
    /// Whether the server relays.
    package var isRelay: Bool { scheme == .turn || scheme == .turns }

    /// Reads `turn:host:port?transport=tcp` and its like.
    ///
    /// - Parameter text: the whole of the URI.
    /// - Throws: `ICEServerURIError`, which names the part that is wrong.
    package init(_ text: some StringProtocol) throws(ICEServerURIError) {
        guard text.utf8.count <= Self.maximumByteCount else { throw .tooLong }
        guard let colon = text.firstIndex(of: ":"), let scheme = Scheme(rawValue: text[..<colon].lowercased()) else {
            throw .unknownScheme
        }
        let rest = text[text.index(after: colon)...]
        let question = rest.firstIndex(of: "?")
        let isRelay = scheme == .turn || scheme == .turns
        var transport = scheme == .stun || scheme == .turn ? Transport.udp : .tcp
        if let question {
            // A stun URI has no query at all (RFC 7064 §3.1).
            guard isRelay else { throw .malformedQuery }
            let query = rest[rest.index(after: question)...].split(separator: "=", omittingEmptySubsequences: false)
            guard query.count == 2, query[0].lowercased() == "transport", !query[1].isEmpty else {
                throw .malformedQuery
            }
            guard let named = Transport(rawValue: query[1].lowercased()) else { throw .unsupportedTransport }
            transport = named
        }
        let (host, portText) = try Self.split(rest[..<(question ?? rest.endIndex)])
        let standard: UInt16 = scheme == .stun || scheme == .turn ? 3478 : 5349
        let port = if let portText { try Self.port(portText) } else { standard }
        self.scheme = scheme
        self.host = host
        self.port = port
        self.transport = transport
    }

    /// `host`, `host:port`, `[address]`, `[address]:port`.
    private static func split<Text: StringProtocol>(
        _ authority: Text
    ) throws(ICEServerURIError) -> (host: String, port: Text.SubSequence?) {
        guard let first = authority.first else { throw .malformedHost }
        if first == "[" {
            guard let end = authority.firstIndex(of: "]") else { throw .malformedHost }
            let address = authority[authority.index(after: authority.startIndex)..<end]
            guard let ip = IPAddress(String(address)), !ip.isIPv4 else { throw .malformedHost }
            let rest = authority[authority.index(after: end)...]
            guard let colon = rest.first else { return (String(address), nil) }
            guard colon == ":" else { throw .malformedHost }
            return (String(address), rest.dropFirst())
        }
        let colon = authority.firstIndex(of: ":")
        let host = authority[..<(colon ?? authority.endIndex)]
        guard !host.isEmpty, host.utf8.count <= 253, host.utf8.allSatisfy(isHostCharacter) else {
            throw .malformedHost
        }
        return (String(host), colon.map { authority[authority.index(after: $0)...] })
    }

    private static func port(_ text: some StringProtocol) throws(ICEServerURIError) -> UInt16 {
        guard text.utf8.count <= 5, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(text),
            port != 0
        else { throw .malformedPort }
        return port
    }

    /// RFC 3986's unreserved characters: what else its grammar allows, no resolver finds.
    private static func isHostCharacter(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E: true
        default: false
        }
    }

    private static let maximumByteCount = 512
}

extension ICEServerURI: CustomStringConvertible {
    /// The URI, with the port and, of a relay, the transport.
    package var description: String {
        let authority = host.contains(":") ? "[\(host)]" : host
        return "\(scheme.rawValue):\(authority):\(port)" + (isRelay ? "?transport=\(transport.rawValue)" : "")
    }
}

/// What is wrong with the URI of a server.
package enum ICEServerURIError: Error, Hashable, Sendable {
    case tooLong
    /// Not one of stun, stuns, turn, turns.
    case unknownScheme
    /// Missing, with a user or slashes before it, or no IPv6 address in brackets.
    case malformedHost
    /// Not in 1 ... 65 535.
    case malformedPort
    /// Something else than one `transport=`, or any query of a STUN server.
    case malformedQuery
    /// Neither UDP nor TCP.
    case unsupportedTransport
}

extension ICEServerURIError: CustomStringConvertible {
    /// What is wrong, and how it looks when it is right.
    package var description: String {
        switch self {
        case .tooLong: "it is longer than any server's address; one looks like turn:turn.example.org:3478"
        case .unknownScheme:
            "begin it with stun:, turn: or turns:, as stun:stun.example.org:3478"
        case .malformedHost:
            "after the scheme comes the server's host: a name, or an address, IPv6 in brackets, as turn:turn.example.org:3478 or turn:[2001:db8::1]; no slashes, spaces or user"
        case .malformedPort:
            "the port is a number from 1 to 65535, as turn:turn.example.org:3478; an IPv6 address stands in brackets, as turn:[2001:db8::1]:3478"
        case .malformedQuery:
            "only turn: and turns: take something after a question mark, and only transport=udp or transport=tcp, as turn:turn.example.org:3478?transport=tcp"
        case .unsupportedTransport:
            "the transport is udp or tcp, as turn:turn.example.org:3478?transport=tcp"
        }
    }
}
