import PAKE

/// SHA-256 fingerprints of certificates as SDP has them. RFC 8122 §5
enum SessionFingerprint {
    /// The bytes of `sha-256 AB:CD:…`; nil for anything else.
    static func bytes(_ attribute: some StringProtocol) -> [UInt8]? {
        let parts = attribute.split(separator: " ")
        guard parts.count == 2, parts[0].lowercased() == "sha-256",
            let bytes = Hexadecimal.bytes(String(parts[1].filter { $0 != ":" })), bytes.count == 32
        else { return nil }
        return bytes
    }

    /// Whether every fingerprint of a description, and there is one at least, is this one.
    static func isOnly(_ expected: [UInt8], in sdp: String) -> Bool {
        let prefix = "a=fingerprint:"
        var found = false
        for line in sdp.utf8.split(whereSeparator: { $0 == 10 || $0 == 13 }) {
            let text = String(decoding: line, as: UTF8.self)
            guard text.lowercased().hasPrefix(prefix) else { continue }
            guard bytes(text.dropFirst(prefix.count)) == expected else { return false }
            found = true
        }
        return found
    }
}
