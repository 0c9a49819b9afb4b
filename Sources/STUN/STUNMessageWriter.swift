package import SansIO

/// Writes one message, attribute by attribute.
///
/// RFC 8489 §5, §14
package struct STUNMessageWriter {
    private var writer: ByteWriter
    private let transactionID: STUNTransactionID

    package init(_ messageClass: STUNClass, _ method: STUNMethod, _ transactionID: STUNTransactionID) {
        writer = ByteWriter(reserving: 128)
        self.transactionID = transactionID
        writer.write(STUNMessageType(messageClass, method).wireValue)
        writer.write(UInt16(0))  // length, set by `finish`
        writer.write(STUNMessage.magicCookie)
        writer.write(transactionID.high)
        writer.write(transactionID.low)
    }

    /// Appends an attribute without a value, as USE-CANDIDATE.
    package mutating func addFlag(_ type: STUNAttributeType) {
        writer.write(type.rawValue)
        writer.write(UInt16(0))
    }

    package mutating func add(_ type: STUNAttributeType, _ value: UInt32) {
        writer.write(type.rawValue)
        writer.write(UInt16(4))
        writer.write(value)
    }

    package mutating func add(_ type: STUNAttributeType, _ value: UInt64) {
        writer.write(type.rawValue)
        writer.write(UInt16(8))
        writer.write(value)
    }

    /// Appends bytes, of which at most 65 535 less what is written already fit; more are cut off.
    package mutating func add(_ type: STUNAttributeType, _ value: some Collection<UInt8>) {
        let room = max(0, 65_000 - writer.count)
        writer.write(type.rawValue)
        writer.write(UInt16(min(value.count, room)))
        writer.write(value.prefix(room))
        writer.pad(to: 4)
    }

    package mutating func add(_ type: STUNAttributeType, text: some StringProtocol) {
        add(type, Array(text.utf8))
    }

    /// Appends an address XOR-ed as XOR-MAPPED-ADDRESS wants it.
    package mutating func add(_ type: STUNAttributeType, xor address: TransportAddress) {
        let masked = address.applyingSTUNMask(transactionID)
        writer.write(type.rawValue)
        writer.write(UInt16(masked.ip.isIPv4 ? 8 : 20))
        writer.write(UInt16(masked.ip.isIPv4 ? 1 : 2))
        writer.write(masked.port)
        if masked.ip.isIPv4 {
            writer.write(UInt32(truncatingIfNeeded: masked.ip.low))
        } else {
            writer.write(masked.ip.high)
            writer.write(masked.ip.low)
        }
    }

    /// Appends ERROR-CODE with the recommended reason phrase.
    package mutating func add(_ code: STUNErrorCode) {
        var value: [UInt8] = [0, 0, UInt8(truncatingIfNeeded: code.rawValue / 100), UInt8(code.rawValue % 100)]
        value += Array("\(code.reasonPhrase)".utf8)
        add(.errorCode, value)
    }

    /// Appends ADDRESS-ERROR-CODE: why there is no second relayed address of that family (RFC 8656 §18.13).
    package mutating func addAddressError(family: UInt8, _ code: STUNErrorCode) {
        var value: [UInt8] = [
            family, 0, UInt8(truncatingIfNeeded: code.rawValue / 100), UInt8(code.rawValue % 100),
        ]
        value += Array("\(code.reasonPhrase)".utf8)
        add(.addressErrorCode, value)
    }

    /// Appends UNKNOWN-ATTRIBUTES.
    package mutating func add(unknown types: [STUNAttributeType]) {
        writer.write(STUNAttributeType.unknownAttributes.rawValue)
        writer.write(UInt16(truncatingIfNeeded: types.count * 2))
        for type in types { writer.write(type.rawValue) }
        writer.pad(to: 4)
    }

    /// Ends the message with MESSAGE-INTEGRITY, if there is a key, and FINGERPRINT.
    package consuming func finish(key: STUNKey? = nil, fingerprint: Bool = true) -> [UInt8] {
        if let key {
            let end = writer.count
            let length = UInt16(truncatingIfNeeded: end + 24 - STUNMessage.headerByteCount)
            writer.replace(at: 2, with: length)
            // The span borrows the array for this one call.
            let code = unsafe key.authenticationCode(of: writer.bytes.span.bytes, first: end, headerLength: length)
            writer.write(STUNAttributeType.messageIntegrity.rawValue)
            writer.write(UInt16(HMACSHA1.byteCount))
            writer.write(code?.first ?? 0)
            writer.write(code?.second ?? 0)
            writer.write(code?.third ?? 0)
        }
        let end = writer.count
        guard fingerprint else {
            writer.replace(at: 2, with: UInt16(truncatingIfNeeded: end - STUNMessage.headerByteCount))
            return writer.bytes
        }
        writer.replace(at: 2, with: UInt16(truncatingIfNeeded: end + 8 - STUNMessage.headerByteCount))
        // The span borrows the array for this one call.
        let checksum = unsafe CRC32.checksum(of: writer.bytes.span.bytes, first: end)
        add(.fingerprint, checksum ^ STUNMessage.fingerprintMask)
        return writer.bytes
    }
}
