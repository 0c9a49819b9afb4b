import ICE
import Testing

@Suite struct TURNServerURIs {
    @Test(arguments: [
        ("stun:stun.example.org", "stun:stun.example.org:3478", "stun.example.org"),
        ("stuns:stun.example.org", "stuns:stun.example.org:5349", "stun.example.org"),
        ("turn:example.org", "turn:example.org:3478?transport=udp", "example.org"),
        ("turn:example.org:8000", "turn:example.org:8000?transport=udp", "example.org"),
        ("turn:example.org?transport=tcp", "turn:example.org:3478?transport=tcp", "example.org"),
        ("turns:example.org", "turns:example.org:5349?transport=tcp", "example.org"),
        ("turns:example.org:443?transport=tcp", "turns:example.org:443?transport=tcp", "example.org"),
        ("turns:example.org?transport=udp", "turns:example.org:5349?transport=udp", "example.org"),
        ("TURN:192.0.2.1:65535?Transport=TCP", "turn:192.0.2.1:65535?transport=tcp", "192.0.2.1"),
        ("turn:[2001:db8::1]", "turn:[2001:db8::1]:3478?transport=udp", "2001:db8::1"),
        ("stun:[2001:db8::1]:19302", "stun:[2001:db8::1]:19302", "2001:db8::1"),
        ("stun:host_1.local~", "stun:host_1.local~:3478", "host_1.local~"),
    ])
    func `Schemes, ports and transports are read, with their defaults`(
        text: String,
        whole: String,
        host: String
    ) throws {
        let uri = try ICEServerURI(text)
        #expect(uri.description == whole)
        #expect(uri.host == host)
        #expect(uri.isSecure == text.lowercased().contains("s:"))
        #expect(uri.isRelay == text.lowercased().hasPrefix("turn"))
        #expect(try ICEServerURI(whole) == uri)
    }

    @Test(arguments: [
        ("", ICEServerURIError.unknownScheme), ("example.org", .unknownScheme), ("http:example.org", .unknownScheme),
        ("turn", .unknownScheme), (" turn:example.org", .unknownScheme),
        ("turn:", .malformedHost), ("turn:?transport=udp", .malformedHost), ("turn::3478", .malformedHost),
        ("turn://example.org", .malformedHost), ("turn:user@example.org", .malformedHost),
        ("turn:exa mple.org", .malformedHost), ("turn:2001:db8::1", .malformedPort),
        ("turn:[2001:db8::1", .malformedHost), ("turn:[192.0.2.1]", .malformedHost),
        ("turn:[2001:db8::1]3478", .malformedHost), ("turn:[fe80::1%eth0]", .malformedHost),
        ("turn:b\u{00FC}cher.example", .malformedHost), ("turn:example.org/path", .malformedHost),
        ("turn:example.org:", .malformedPort), ("turn:example.org:0", .malformedPort),
        ("turn:example.org:65536", .malformedPort), ("turn:example.org:+1", .malformedPort),
        ("turn:example.org:12a", .malformedPort), ("turn:example.org:000080", .malformedPort),
        ("stun:example.org?transport=udp", .malformedQuery), ("turn:example.org?", .malformedQuery),
        ("turn:example.org?transport", .malformedQuery), ("turn:example.org?transport=", .malformedQuery),
        ("turn:example.org?ttl=1", .malformedQuery), ("turn:example.org?transport=udp=tcp", .malformedQuery),
        ("turn:example.org?transport=sctp", .unsupportedTransport),
        ("turn:example.org?transport=udp&a", .unsupportedTransport),
        ("turn:" + String(repeating: "a", count: 254), .malformedHost),
        ("turn:" + String(repeating: "a", count: 600), .tooLong),
    ])
    func `What is no such URI has its error`(text: String, error: ICEServerURIError) {
        #expect(throws: error) { try ICEServerURI(text) }
    }
}
