/// The type of an attribute, an open set.
///
/// RFC 8489 §18.3, RFC 8445 §21.2, RFC 8656 §18, RFC 5780 §9.1, draft-thatcher-tsvwg-renomination §5
package struct STUNAttributeType: RawRepresentable, Hashable, Sendable {
    package let rawValue: UInt16

    package init(rawValue: UInt16) { self.rawValue = rawValue }

    /// Whether a receiver that does not know the type must refuse the message.
    ///
    /// RFC 8489 §14
    package var isComprehensionRequired: Bool { rawValue < 0x8000 }

    package static let mappedAddress = Self(rawValue: 0x0001)
    package static let username = Self(rawValue: 0x0006)
    package static let messageIntegrity = Self(rawValue: 0x0008)
    package static let errorCode = Self(rawValue: 0x0009)
    package static let unknownAttributes = Self(rawValue: 0x000A)
    package static let channelNumber = Self(rawValue: 0x000C)
    package static let lifetime = Self(rawValue: 0x000D)
    package static let xorPeerAddress = Self(rawValue: 0x0012)
    package static let data = Self(rawValue: 0x0013)
    package static let realm = Self(rawValue: 0x0014)
    package static let nonce = Self(rawValue: 0x0015)
    package static let xorRelayedAddress = Self(rawValue: 0x0016)
    package static let requestedAddressFamily = Self(rawValue: 0x0017)
    package static let evenPort = Self(rawValue: 0x0018)
    package static let requestedTransport = Self(rawValue: 0x0019)
    package static let dontFragment = Self(rawValue: 0x001A)
    package static let messageIntegritySHA256 = Self(rawValue: 0x001C)
    package static let passwordAlgorithm = Self(rawValue: 0x001D)
    package static let userhash = Self(rawValue: 0x001E)
    package static let xorMappedAddress = Self(rawValue: 0x0020)
    package static let reservationToken = Self(rawValue: 0x0022)
    package static let priority = Self(rawValue: 0x0024)
    package static let useCandidate = Self(rawValue: 0x0025)
    package static let nomination = Self(rawValue: 0x0030)
    /// What libwebrtc takes for NOMINATION; IANA gave it to something else, so it means that only between two who have
    /// agreed on it.
    package static let nominationOfLibwebrtc = Self(rawValue: 0xC001)
    package static let changeRequest = Self(rawValue: 0x0003)
    package static let otherAddress = Self(rawValue: 0x802C)
    package static let additionalAddressFamily = Self(rawValue: 0x8000)
    package static let addressErrorCode = Self(rawValue: 0x8001)
    package static let software = Self(rawValue: 0x8022)
    package static let alternateDomain = Self(rawValue: 0x8003)
    package static let alternateServer = Self(rawValue: 0x8023)
    package static let fingerprint = Self(rawValue: 0x8028)
    package static let iceControlled = Self(rawValue: 0x8029)
    package static let iceControlling = Self(rawValue: 0x802A)
}
