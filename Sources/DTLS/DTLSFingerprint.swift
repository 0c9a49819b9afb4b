/// The hash of a certificate, as `a=fingerprint` carries it.
///
/// RFC 8122 §5
package struct DTLSFingerprint: Hashable, Sendable {
    /// The hash function's registered name in lower case, as `sha-256`.
    package let algorithm: String
    package let bytes: [UInt8]

    package init(algorithm: String, bytes: [UInt8]) {
        self.algorithm = algorithm.lowercased()
        self.bytes = bytes
    }

    /// Parses `sha-256 4A:AD:…`.
    ///
    /// - Returns: nil if the text has another form, or if the number of bytes is not that of a known hash function.
    package init?(attributeValue: some StringProtocol) {
        let parts = attributeValue.split(separator: " ", omittingEmptySubsequences: true)
        guard parts.count == 2, parts[0].utf8.count <= Self.maximumNameLength else { return nil }
        guard parts[1].utf8.count <= 3 * Self.maximumByteCount else { return nil }
        var bytes: [UInt8] = []
        for pair in parts[1].utf8.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false) {
            guard pair.count == 2 else { return nil }
            var value: UInt8 = 0
            for character in pair {
                guard let digit = Self.hexDigit(character) else { return nil }
                value = value << 4 | digit
            }
            bytes.append(value)
        }
        self.init(algorithm: String(parts[0]), bytes: bytes)
        if let known = CertificateHash(rawValue: algorithm), known.byteCount != bytes.count { return nil }
    }

    /// Whether the hash function is one that certificates are checked with.
    package var isSupported: Bool { CertificateHash(rawValue: algorithm) != nil }

    /// The text after `a=fingerprint:`, with upper-case digits as RFC 8122 demands.
    package var attributeValue: String {
        let digits = Array("0123456789ABCDEF".utf8)
        var text = Array(algorithm.utf8)
        for (index, byte) in bytes.enumerated() {
            text.append(UInt8(ascii: index == 0 ? " " : ":"))
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    private static func hexDigit(_ character: UInt8) -> UInt8? {
        switch character {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
        case UInt8(ascii: "A")...UInt8(ascii: "F"): character - UInt8(ascii: "A") + 10
        case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
        default: nil
        }
    }

    private static let maximumNameLength = 32
    private static let maximumByteCount = 64
}

/// A hash function that is good enough to identify a certificate; larger is preferred.
///
/// RFC 8122 §5 also names MD2, MD5 (which it forbids) and SHA-1, for which collisions can be bought.
package enum CertificateHash: String, CaseIterable, Comparable, Sendable {
    case sha224 = "sha-224"
    case sha256 = "sha-256"
    case sha384 = "sha-384"
    case sha512 = "sha-512"

    package var byteCount: Int {
        switch self {
        case .sha224: 28
        case .sha256: 32
        case .sha384: 48
        case .sha512: 64
        }
    }

    package static func < (left: CertificateHash, right: CertificateHash) -> Bool { left.byteCount < right.byteCount }
}
