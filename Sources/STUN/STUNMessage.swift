package import SansIO

/// A received message: its header and where its attributes lie.
///
/// Parsing checks the whole structure once. The value holds no bytes: accessors take the same bytes again, and
/// answer nil for bytes too short to be those. Attributes behind MESSAGE-INTEGRITY, which it does not protect,
/// are left out, except FINGERPRINT.
///
/// RFC 8489 §5, §14
package struct STUNMessage: Sendable {
    /// Where an attribute's value lies.
    package struct Attribute: Sendable {
        package let type: STUNAttributeType
        /// Offset of the value from the message's first byte.
        package let offset: Int
        package let byteCount: Int
    }

    package let type: STUNMessageType
    package let transactionID: STUNTransactionID
    /// In the order on the wire.
    package let attributes: [Attribute]
    /// Whether FINGERPRINT is there; then it is right.
    package let hasFingerprint: Bool
    /// Offset of the MESSAGE-INTEGRITY attribute's header.
    private let integrityOffset: Int?

    package var messageClass: STUNClass { type.messageClass }
    package var method: STUNMethod { type.method }
    package var hasIntegrity: Bool { integrityOffset != nil }

    /// Reads a message that fills `bytes`.
    package init(_ bytes: RawSpan) throws(STUNError) {
        guard Self.isSTUN(bytes), let type = STUNMessageType(wireValue: bytes.uint16(at: 0)) else { throw .notSTUN }
        let length = Int(bytes.uint16(at: 2))
        guard length % 4 == 0, length == bytes.byteCount - Self.headerByteCount else { throw .wrongLength }
        self.type = type
        transactionID = STUNTransactionID(high: bytes.uint32(at: 8), low: bytes.uint64(at: 12))

        var found: [Attribute] = []
        found.reserveCapacity(length / 12)
        var integrityOffset: Int?
        var hasFingerprint = false
        var offset = Self.headerByteCount
        var count = 0
        while offset < bytes.byteCount {
            // The length is a multiple of four, so a whole attribute header is there.
            let attributeType = STUNAttributeType(rawValue: bytes.uint16(at: offset))
            let valueCount = Int(bytes.uint16(at: offset + 2))
            let valueOffset = offset + Self.attributeHeaderByteCount
            let end = valueOffset + (valueCount + 3) & ~3
            guard end <= bytes.byteCount else { throw .truncatedAttribute }
            count += 1
            guard count <= Self.maximumAttributeCount else { throw .tooManyAttributes }
            if attributeType == .fingerprint {
                guard valueCount == 4, end == bytes.byteCount,
                    bytes.uint32(at: valueOffset)
                        == CRC32.checksum(of: bytes, first: offset) ^ Self.fingerprintMask
                else { throw .wrongFingerprint }
                hasFingerprint = true
            } else if integrityOffset == nil {
                if attributeType == .messageIntegrity {
                    guard valueCount == HMACSHA1.byteCount else { throw .malformedIntegrity }
                    integrityOffset = offset
                } else {
                    found.append(Attribute(type: attributeType, offset: valueOffset, byteCount: valueCount))
                }
            }
            offset = end
        }
        attributes = found
        self.integrityOffset = integrityOffset
        self.hasFingerprint = hasFingerprint
    }

    /// Whether the first bytes are those of a STUN header with the magic cookie.
    package static func isSTUN(_ bytes: RawSpan) -> Bool {
        bytes.byteCount >= headerByteCount && bytes.uint8(at: 0) < 4 && bytes.uint32(at: 4) == magicCookie
    }

    /// Whether MESSAGE-INTEGRITY is there and `key` made it.
    ///
    /// A key without bytes makes nothing authentic: it is what is left where libcrypto refuses MD5, and everybody has it.
    ///
    /// RFC 8489 §14.5
    package func isAuthentic(_ bytes: RawSpan, key: STUNKey) -> Bool {
        guard let integrityOffset, integrityOffset + 24 <= bytes.byteCount, !key.bytes.isEmpty else { return false }
        let received = HMACSHA1(
            first: bytes.uint64(at: integrityOffset + 4),
            second: bytes.uint64(at: integrityOffset + 12),
            third: bytes.uint32(at: integrityOffset + 20)
        )
        // RFC 8489 §14.5: the length that went into the HMAC ends with MESSAGE-INTEGRITY itself.
        let length = UInt16(truncatingIfNeeded: integrityOffset + 24 - Self.headerByteCount)
        guard let made = key.authenticationCode(of: bytes, first: integrityOffset, headerLength: length) else {
            return false
        }
        return made.matches(received)
    }

    /// The first attribute of a type; later ones may be ignored (RFC 8489 §14).
    package func attribute(_ type: STUNAttributeType) -> Attribute? {
        attributes.first { $0.type == type }
    }

    package func contains(_ type: STUNAttributeType) -> Bool { attribute(type) != nil }

    /// Attribute types that must be understood and are not in `known`, each once.
    package func unknownRequired(besides known: (STUNAttributeType) -> Bool) -> [STUNAttributeType] {
        var unknown: [STUNAttributeType] = []
        for attribute in attributes
        where attribute.type.isComprehensionRequired && !known(attribute.type) && !unknown.contains(attribute.type) {
            unknown.append(attribute.type)
        }
        return unknown
    }

    // MARK: Values

    /// The value's bytes, copied.
    package func bytes(_ type: STUNAttributeType, in bytes: RawSpan) -> [UInt8]? {
        value(type, in: bytes).map { bytes.extracting($0.offset..<($0.offset + $0.byteCount)).array() }
    }

    /// The value as text; wrong UTF-8 is repaired.
    package func text(_ type: STUNAttributeType, in bytes: RawSpan) -> String? {
        self.bytes(type, in: bytes).map { String(decoding: $0, as: UTF8.self) }
    }

    /// The value of an attribute of exactly four bytes.
    package func uint32(_ type: STUNAttributeType, in bytes: RawSpan) -> UInt32? {
        value(type, in: bytes, byteCount: 4).map { bytes.uint32(at: $0.offset) }
    }

    /// The value of an attribute of exactly eight bytes.
    package func uint64(_ type: STUNAttributeType, in bytes: RawSpan) -> UInt64? {
        value(type, in: bytes, byteCount: 8).map { bytes.uint64(at: $0.offset) }
    }

    /// An address XOR-ed with the magic cookie and the transaction identifier.
    ///
    /// RFC 8489 §14.2
    package func xorAddress(_ type: STUNAttributeType, in bytes: RawSpan) -> TransportAddress? {
        attribute(type).flatMap { xorAddress($0, in: bytes) }
    }

    /// The XOR-ed address in one of several attributes of a type.
    package func xorAddress(_ attribute: Attribute, in bytes: RawSpan) -> TransportAddress? {
        address(attribute, in: bytes)?.applyingSTUNMask(transactionID)
    }

    /// An address in the clear, as MAPPED-ADDRESS and ALTERNATE-SERVER have it.
    ///
    /// RFC 8489 §14.1
    package func address(_ type: STUNAttributeType, in bytes: RawSpan) -> TransportAddress? {
        attribute(type).flatMap { address($0, in: bytes) }
    }

    private func address(_ value: Attribute, in bytes: RawSpan) -> TransportAddress? {
        guard value.byteCount >= 8, value.offset + value.byteCount <= bytes.byteCount else { return nil }
        let port = bytes.uint16(at: value.offset + 2)
        switch (bytes.uint8(at: value.offset + 1), value.byteCount) {
        case (1, 8):
            return TransportAddress(IPAddress(v4: bytes.uint32(at: value.offset + 4)), port: port)
        case (2, 20):
            let ip = IPAddress(
                v6High: bytes.uint64(at: value.offset + 4),
                v6Low: bytes.uint64(at: value.offset + 12)
            )
            return TransportAddress(ip, port: port)
        default:
            return nil
        }
    }

    /// The code of an error response, from 300 to 699.
    ///
    /// RFC 8489 §14.8
    package func errorCode(in bytes: RawSpan) -> STUNErrorCode? {
        guard let value = value(.errorCode, in: bytes), value.byteCount >= 4 else { return nil }
        let hundreds = UInt16(bytes.uint8(at: value.offset + 2) & 7)
        let number = UInt16(bytes.uint8(at: value.offset + 3))
        guard (3...6).contains(hundreds), number < 100 else { return nil }
        return STUNErrorCode(rawValue: hundreds * 100 + number)
    }

    /// The reason phrase of an error response, cut to the length that the RFC allows, without control characters.
    ///
    /// RFC 8489 §14.8: "a UTF-8 encoded sequence of fewer than 128 characters".
    package func errorReason(in bytes: RawSpan) -> String? {
        guard let value = value(.errorCode, in: bytes), value.byteCount >= 4 else { return nil }
        let end = value.offset + min(value.byteCount, 4 + 763)
        let text = String(decoding: bytes.extracting((value.offset + 4)..<end).array(), as: UTF8.self)
        let scalars = text.unicodeScalars.filter { $0.properties.generalCategory != .control }
        return String(String(String.UnicodeScalarView(scalars)).prefix(127))
    }

    private func value(_ type: STUNAttributeType, in bytes: RawSpan, byteCount: Int? = nil) -> Attribute? {
        guard let attribute = attribute(type), attribute.offset + attribute.byteCount <= bytes.byteCount,
            byteCount.map({ $0 == attribute.byteCount }) ?? true
        else { return nil }
        return attribute
    }

    package static let headerByteCount = 20
    package static let attributeHeaderByteCount = 4
    package static let magicCookie: UInt32 = 0x2112_A442
    /// What FINGERPRINT is XOR-ed with, "STUN" (RFC 8489 §14.7).
    static let fingerprintMask: UInt32 = 0x5354_554E
    /// Real messages have about ten.
    package static let maximumAttributeCount = 64
}

extension TransportAddress {
    /// This address XOR-ed with the magic cookie and, for IPv6, the transaction identifier; its own inverse.
    ///
    /// RFC 8489 §14.2
    package func applyingSTUNMask(_ id: STUNTransactionID) -> TransportAddress {
        let cookie = STUNMessage.magicCookie
        let port = self.port ^ UInt16(cookie >> 16)
        if ip.isIPv4 {
            return TransportAddress(IPAddress(v4: UInt32(truncatingIfNeeded: ip.low) ^ cookie), port: port)
        }
        let high = ip.high ^ (UInt64(cookie) << 32 | UInt64(id.high))
        return TransportAddress(IPAddress(v6High: high, v6Low: ip.low ^ id.low), port: port)
    }
}
