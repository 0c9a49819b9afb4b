/// The class of a message.
///
/// RFC 8489 §5
package enum STUNClass: UInt16, Sendable {
    case request = 0b00
    case indication = 0b01
    case success = 0b10
    case failure = 0b11
}

/// The method of a message: 12 bits, an open set.
///
/// RFC 8489 §18.2, RFC 8656 §17
package struct STUNMethod: RawRepresentable, Hashable, Sendable {
    package let rawValue: UInt16

    /// Takes the lower 12 bits.
    package init(rawValue: UInt16) { self.rawValue = rawValue & 0xFFF }

    package static let binding = STUNMethod(rawValue: 0x001)
    package static let allocate = STUNMethod(rawValue: 0x003)
    package static let refresh = STUNMethod(rawValue: 0x004)
    package static let send = STUNMethod(rawValue: 0x006)
    package static let data = STUNMethod(rawValue: 0x007)
    package static let createPermission = STUNMethod(rawValue: 0x008)
    package static let channelBind = STUNMethod(rawValue: 0x009)
}

/// The first two bytes of a message: method and class, interleaved.
///
/// RFC 8489 §5, figure 3
package struct STUNMessageType: Hashable, Sendable {
    package var method: STUNMethod
    package var messageClass: STUNClass

    package init(_ messageClass: STUNClass, _ method: STUNMethod) {
        self.method = method
        self.messageClass = messageClass
    }

    /// Splits the wire's 14 bits; nil if one of the upper two is set.
    package init?(wireValue: UInt16) {
        guard wireValue & 0xC000 == 0 else { return nil }
        let classBits = (wireValue >> 4 & 1) | (wireValue >> 7 & 2)
        guard let messageClass = STUNClass(rawValue: classBits) else { return nil }
        self.messageClass = messageClass
        method = STUNMethod(rawValue: (wireValue & 0x000F) | (wireValue >> 1 & 0x0070) | (wireValue >> 2 & 0x0F80))
    }

    package var wireValue: UInt16 {
        let method = self.method.rawValue
        let classBits = messageClass.rawValue
        return (method & 0x000F) | (method & 0x0070) << 1 | (method & 0x0F80) << 2
            | (classBits & 1) << 4 | (classBits & 2) << 7
    }
}
