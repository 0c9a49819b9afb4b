package import SansIO

/// Builds a message, attribute by attribute; integrity and fingerprint come last.
package struct STUNWriter {
    private var writer = ByteWriter(reserving: 160)
    private let transactionID: STUNTransactionID

    package init(_ messageClass: STUNClass, method: UInt16 = STUNMethod.binding, transactionID: STUNTransactionID) {
        self.transactionID = transactionID
        let type = (method & 0x000F) | (method & 0x0070) << 1 | (method & 0x0F80) << 2 | messageClass.rawValue
        writer.write(type)
        writer.write(UInt16(0))
        writer.write(STUNMessage.magicCookie)
        writer.write(transactionID.high)
        writer.write(transactionID.low)
    }

    package mutating func add(_ attribute: STUNAttribute, _ value: [UInt8] = []) {
        writer.write(attribute.rawValue)
        writer.write(UInt16(value.count))
        writer.write(value)
        writer.pad(to: 4)
        setLength(writer.count - STUNMessage.headerByteCount)
    }

    package mutating func add(_ attribute: STUNAttribute, _ text: String) { add(attribute, Array(text.utf8)) }

    package mutating func add(_ attribute: STUNAttribute, _ value: UInt32) {
        add(attribute, (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) })
    }

    package mutating func add(_ attribute: STUNAttribute, _ value: UInt64) {
        add(attribute, (0..<8).map { UInt8(truncatingIfNeeded: value >> (56 - 8 * $0)) })
    }

    /// XOR-MAPPED-ADDRESS. RFC 8489 §14.2
    package mutating func addXORMappedAddress(_ address: TransportAddress) {
        var value = ByteWriter(reserving: 20)
        value.write(UInt8(0))
        value.write(UInt8(address.ip.isIPv4 ? 1 : 2))
        value.write(address.port ^ UInt16(STUNMessage.magicCookie >> 16))
        if address.ip.isIPv4 {
            value.write(UInt32(truncatingIfNeeded: address.ip.low) ^ STUNMessage.magicCookie)
        } else {
            value.write(address.ip.high ^ (UInt64(STUNMessage.magicCookie) << 32 | UInt64(transactionID.high)))
            value.write(address.ip.low ^ transactionID.low)
        }
        add(.xorMappedAddress, value.bytes)
    }

    /// ERROR-CODE. RFC 8489 §14.8
    package mutating func addErrorCode(_ code: Int, reason: String) {
        add(.errorCode, [0, 0, UInt8(code / 100), UInt8(code % 100)] + Array(reason.utf8))
    }

    /// Adds MESSAGE-INTEGRITY if there is a key, and FINGERPRINT, and returns the message.
    package mutating func finish(key: [UInt8]?) -> [UInt8] {
        if let key {
            setLength(writer.count + 24 - STUNMessage.headerByteCount)
            add(.messageIntegrity, STUNIntegrity.hmacSHA1(writer.bytes, key: key))
        }
        setLength(writer.count + 8 - STUNMessage.headerByteCount)
        let fingerprint = unsafe STUNFingerprint.value(of: writer.bytes.span.bytes)
        add(.fingerprint, fingerprint)
        return writer.bytes
    }

    private mutating func setLength(_ length: Int) { writer.replace(at: 2, with: UInt16(length)) }
}
