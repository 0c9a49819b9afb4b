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
    package init?(attributeValue: String) {
        // Byte by byte: splitting allocates for each pair of digits, and each description is read twice.
        let text = attributeValue.utf8
        let space = UInt8(ascii: " ")
        guard let nameStart = text.firstIndex(where: { $0 != space }) else { return nil }
        let nameEnd = text[nameStart...].firstIndex(of: space) ?? text.endIndex
        let name = text[nameStart..<nameEnd]
        guard name.count <= Self.maximumNameLength else { return nil }
        var rest = text[nameEnd...].drop { $0 == space }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.maximumByteCount)
        repeat {
            guard bytes.count < Self.maximumByteCount, let high = rest.popFirst().flatMap(Self.hexDigit),
                let low = rest.popFirst().flatMap(Self.hexDigit)
            else { return nil }
            bytes.append(high << 4 | low)
            guard let separator = rest.popFirst() else { break }
            if separator == space {
                guard rest.allSatisfy({ $0 == space }) else { return nil }
                break
            }
            guard separator == UInt8(ascii: ":") else { return nil }
        } while true
        self.init(algorithm: String(decoding: name, as: UTF8.self), bytes: bytes)
        if let known = CertificateHash(rawValue: algorithm), known.byteCount != bytes.count { return nil }
    }

    /// Whether the hash function is one that certificates are checked with.
    package var isSupported: Bool { CertificateHash(rawValue: algorithm) != nil }

    /// The text after `a=fingerprint:`, with upper-case digits as RFC 8122 demands.
    package var attributeValue: String {
        var text = Array(algorithm.utf8)
        text.reserveCapacity(text.count + 3 * bytes.count)
        for (index, byte) in bytes.enumerated() {
            text.append(UInt8(ascii: index == 0 ? " " : ":"))
            text.append(Self.digit(byte >> 4))
            text.append(Self.digit(byte & 15))
        }
        return String(decoding: text, as: UTF8.self)
    }

    private static func digit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "A") - 10 + value
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
