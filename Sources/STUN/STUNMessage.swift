// STUN: the message format that ICE and TURN share (RFC 8489).
//
// Messages are parsed in place over a borrowed span and written into a small array. Transactions, retransmissions and
// the meaning of attributes belong to their users.

package import SansIO

/// The class of a message. RFC 8489 §5
package enum STUNClass: UInt16, Hashable, Sendable {
    case request = 0x000
    case indication = 0x010
    case success = 0x100
    case error = 0x110
}

/// The methods in use. RFC 8489 §18.2
package enum STUNMethod {
    package static let binding: UInt16 = 0x001
}

/// Attribute types. RFC 8489 §18.3, RFC 8445 §16.1
package struct STUNAttribute: RawRepresentable, Hashable, Sendable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }
    private init(_ rawValue: UInt16) { self.rawValue = rawValue }

    package static let mappedAddress = STUNAttribute(0x0001)
    package static let username = STUNAttribute(0x0006)
    package static let messageIntegrity = STUNAttribute(0x0008)
    package static let errorCode = STUNAttribute(0x0009)
    package static let unknownAttributes = STUNAttribute(0x000A)
    package static let realm = STUNAttribute(0x0014)
    package static let nonce = STUNAttribute(0x0015)
    package static let xorMappedAddress = STUNAttribute(0x0020)
    package static let priority = STUNAttribute(0x0024)
    package static let useCandidate = STUNAttribute(0x0025)
    package static let software = STUNAttribute(0x8022)
    package static let fingerprint = STUNAttribute(0x8028)
    package static let iceControlled = STUNAttribute(0x8029)
    package static let iceControlling = STUNAttribute(0x802A)

    /// Whether a receiver must refuse a request that carries it without knowing it (RFC 8489 §14).
    package var isComprehensionRequired: Bool { rawValue < 0x8000 }
    var isKnown: Bool {
        switch self {
        case .mappedAddress, .username, .messageIntegrity, .errorCode, .unknownAttributes, .realm, .nonce,
            .xorMappedAddress, .priority, .useCandidate: true
        default: false
        }
    }
}

/// The 96 bits that tell a transaction from all others.
package struct STUNTransactionID: Hashable, Sendable {
    package let high: UInt32
    package let low: UInt64

    package init(high: UInt32, low: UInt64) {
        self.high = high
        self.low = low
    }

    package init(random: RandomSource) {
        self.init(high: UInt32(truncatingIfNeeded: random.next()), low: random.next())
    }
}

/// Why bytes are no STUN message.
package enum STUNError: Error, Hashable, Sendable {
    case tooShort
    case badMagicCookie
    case badLength
    case badAttribute(UInt16)
    case tooManyAttributes
    case badFingerprint
}

/// A message parsed in place. Attribute values stay in the span; the first of each type counts (RFC 8489 §14).
package struct STUNMessage: ~Escapable {
    package let messageClass: STUNClass
    package let method: UInt16
    package let transactionID: STUNTransactionID
    /// Types that must be understood and are not.
    package let unknownAttributes: [STUNAttribute]
    private let bytes: RawSpan
    private let entries: [(type: STUNAttribute, offset: Int, byteCount: Int)]
    /// Where MESSAGE-INTEGRITY begins, if there is one.
    private let integrityOffset: Int?

    package static let headerByteCount = 20
    package static let magicCookie: UInt32 = 0x2112_A442
    /// Attributes beyond which a message is refused; ICE uses seven.
    package static let attributeLimit = 32

    /// Parses a message and checks FINGERPRINT if it is there.
    @_lifetime(copy bytes)
    package init(_ bytes: RawSpan) throws(STUNError) {
        guard bytes.byteCount >= Self.headerByteCount else { throw .tooShort }
        let type = bytes.uint16(at: 0)
        let length = Int(bytes.uint16(at: 2))
        guard bytes.uint32(at: 4) == Self.magicCookie else { throw .badMagicCookie }
        guard type & 0xC000 == 0, length % 4 == 0, bytes.byteCount == Self.headerByteCount + length,
            let messageClass = STUNClass(rawValue: type & 0x110)
        else { throw .badLength }
        self.bytes = bytes
        self.messageClass = messageClass
        method = (type & 0x000F) | (type & 0x00E0) >> 1 | (type & 0x3E00) >> 2
        transactionID = STUNTransactionID(high: bytes.uint32(at: 8), low: bytes.uint64(at: 12))
        var entries: [(type: STUNAttribute, offset: Int, byteCount: Int)] = []
        var unknown: [STUNAttribute] = []
        var integrityOffset: Int?
        var offset = Self.headerByteCount
        while offset < bytes.byteCount {
            guard offset + 4 <= bytes.byteCount else { throw .badLength }
            let attribute = STUNAttribute(rawValue: bytes.uint16(at: offset))
            let count = Int(bytes.uint16(at: offset + 2))
            guard offset + 4 + count <= bytes.byteCount else { throw .badAttribute(attribute.rawValue) }
            guard entries.count < Self.attributeLimit else { throw .tooManyAttributes }
            if attribute == .fingerprint {
                guard count == 4 else { throw .badAttribute(attribute.rawValue) }
                guard bytes.uint32(at: offset + 4) == STUNFingerprint.value(of: bytes.extracting(0..<offset)) else {
                    throw .badFingerprint
                }
            }
            // What follows MESSAGE-INTEGRITY is not protected and is ignored, but FINGERPRINT (RFC 8489 §14.5).
            if integrityOffset == nil || attribute == .fingerprint {
                entries.append((attribute, offset + 4, count))
                if attribute == .messageIntegrity { integrityOffset = offset }
                if attribute.isComprehensionRequired && !attribute.isKnown { unknown.append(attribute) }
            }
            offset += 4 + (count + 3) & ~3
        }
        self.entries = entries
        self.integrityOffset = integrityOffset
        unknownAttributes = unknown
    }

    package func has(_ attribute: STUNAttribute) -> Bool { entries.contains { $0.type == attribute } }

    /// The value of an attribute, viewed in place.
    @_lifetime(copy self)
    package func value(_ attribute: STUNAttribute) -> RawSpan? {
        for entry in entries where entry.type == attribute {
            return bytes.extracting(entry.offset..<(entry.offset + entry.byteCount))
        }
        return nil
    }

    package func uint32(_ attribute: STUNAttribute) -> UInt32? {
        guard let value = value(attribute), value.byteCount == 4 else { return nil }
        return value.uint32(at: 0)
    }

    package func uint64(_ attribute: STUNAttribute) -> UInt64? {
        guard let value = value(attribute), value.byteCount == 8 else { return nil }
        return value.uint64(at: 0)
    }

    package func text(_ attribute: STUNAttribute) -> String? {
        guard let value = value(attribute), value.byteCount <= 763 else { return nil }
        return String(decoding: value.array(), as: UTF8.self)
    }

    /// XOR-MAPPED-ADDRESS. RFC 8489 §14.2
    package var xorMappedAddress: TransportAddress? {
        guard let value = value(.xorMappedAddress), value.byteCount >= 8 else { return nil }
        let port = value.uint16(at: 2) ^ UInt16(Self.magicCookie >> 16)
        switch (value.uint8(at: 1), value.byteCount) {
        case (1, 8): return TransportAddress(IPAddress(v4: value.uint32(at: 4) ^ Self.magicCookie), port: port)
        case (2, 20):
            let high = value.uint64(at: 4) ^ (UInt64(Self.magicCookie) << 32 | UInt64(transactionID.high))
            return TransportAddress(IPAddress(v6High: high, v6Low: value.uint64(at: 12) ^ transactionID.low), port: port)
        default: return nil
        }
    }

    /// The number in ERROR-CODE, 300 ... 699. RFC 8489 §14.8
    package var errorCode: Int? {
        guard let value = value(.errorCode), value.byteCount >= 4 else { return nil }
        let code = Int(value.uint8(at: 2) & 7) * 100 + Int(value.uint8(at: 3))
        return (300...699).contains(code) ? code : nil
    }

    /// Whether MESSAGE-INTEGRITY is there and made with `key`. RFC 8489 §14.5
    package func isAuthentic(key: [UInt8]) -> Bool {
        guard let integrityOffset, let value = value(.messageIntegrity), value.byteCount == 20 else { return false }
        var covered = bytes.extracting(0..<integrityOffset).array()
        // The length field counts up to and with MESSAGE-INTEGRITY.
        let length = UInt16(integrityOffset + 24 - Self.headerByteCount)
        covered[2] = UInt8(length >> 8)
        covered[3] = UInt8(length & 255)
        let expected = STUNIntegrity.hmacSHA1(covered, key: key)
        var difference: UInt8 = 0
        for index in 0..<20 { difference |= expected[index] ^ value.uint8(at: index) }
        return difference == 0
    }
}
