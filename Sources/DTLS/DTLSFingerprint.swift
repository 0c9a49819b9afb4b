/// The hash of a certificate as a session description carries it. RFC 8122 §5
package struct DTLSFingerprint: Hashable, Sendable {
    /// The hash function's name in lower case, as `sha-256`.
    package let algorithm: String
    package let bytes: [UInt8]

    package init(algorithm: String, bytes: [UInt8]) {
        self.algorithm = algorithm.lowercased()
        self.bytes = bytes
    }

    /// Parses `sha-256 AB:CD:…`; nil if it is malformed or its length does not fit a known algorithm.
    package init?(attributeValue: some StringProtocol) {
        let parts = attributeValue.split(separator: " ", omittingEmptySubsequences: true)
        guard parts.count == 2, parts[1].utf8.count <= 3 * 64 else { return nil }
        var bytes: [UInt8] = []
        for pair in parts[1].split(separator: ":", omittingEmptySubsequences: false) {
            guard pair.utf8.count == 2, let byte = UInt8(pair, radix: 16) else { return nil }
            bytes.append(byte)
        }
        let algorithm = parts[0].lowercased()
        if let expected = Self.byteCounts[algorithm], expected != bytes.count { return nil }
        guard !bytes.isEmpty else { return nil }
        self.init(algorithm: algorithm, bytes: bytes)
    }

    /// Whether the hash function is one that certificates are checked with.
    package var isSupported: Bool { Self.byteCounts[algorithm] != nil }

    /// As in a description: `sha-256 AB:CD:…`.
    package var attributeValue: String {
        let digits = Array("0123456789ABCDEF")
        return algorithm + " " + bytes.map { "\(digits[Int($0 >> 4)])\(digits[Int($0 & 15)])" }.joined(separator: ":")
    }

    /// Hash functions that are accepted and their digests' lengths.
    ///
    /// MD5 and SHA-1 are not (RFC 8122 §5).
    static let byteCounts = ["sha-256": 32, "sha-384": 48, "sha-512": 64]
}
