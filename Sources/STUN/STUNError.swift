/// Why bytes are not an acceptable STUN message.
package enum STUNError: Error, Hashable, Sendable {
    /// Shorter than a header, or the two upper bits or the magic cookie are wrong.
    case notSTUN
    /// The header's length is not a multiple of four, or not that of the datagram.
    case wrongLength
    /// An attribute reaches over the message's end.
    case truncatedAttribute
    /// More attributes than `STUNMessage.maximumAttributeCount`.
    case tooManyAttributes
    /// FINGERPRINT has not four bytes, is not the last attribute, or does not match.
    case wrongFingerprint
    /// MESSAGE-INTEGRITY has not twenty bytes.
    case malformedIntegrity
}

/// An error code of an error response, from 300 to 699, an open set.
///
/// RFC 8489 §14.8, RFC 8445 §16.2, RFC 8656 §19
package struct STUNErrorCode: RawRepresentable, Hashable, Sendable {
    package let rawValue: UInt16

    package init(rawValue: UInt16) { self.rawValue = rawValue }

    package static let tryAlternate = Self(rawValue: 300)
    package static let badRequest = Self(rawValue: 400)
    package static let unauthenticated = Self(rawValue: 401)
    package static let forbidden = Self(rawValue: 403)
    package static let unknownAttribute = Self(rawValue: 420)
    package static let allocationMismatch = Self(rawValue: 437)
    package static let staleNonce = Self(rawValue: 438)
    package static let addressFamilyNotSupported = Self(rawValue: 440)
    package static let wrongCredentials = Self(rawValue: 441)
    package static let unsupportedTransport = Self(rawValue: 442)
    package static let peerAddressFamilyMismatch = Self(rawValue: 443)
    package static let allocationQuotaReached = Self(rawValue: 486)
    package static let roleConflict = Self(rawValue: 487)
    package static let serverError = Self(rawValue: 500)
    package static let insufficientCapacity = Self(rawValue: 508)

    /// The recommended text.
    package var reasonPhrase: StaticString {
        switch self {
        case .tryAlternate: "Try Alternate"
        case .badRequest: "Bad Request"
        case .unauthenticated: "Unauthenticated"
        case .forbidden: "Forbidden"
        case .unknownAttribute: "Unknown Attribute"
        case .allocationMismatch: "Allocation Mismatch"
        case .staleNonce: "Stale Nonce"
        case .addressFamilyNotSupported: "Address Family not Supported"
        case .wrongCredentials: "Wrong Credentials"
        case .unsupportedTransport: "Unsupported Transport Protocol"
        case .peerAddressFamilyMismatch: "Peer Address Family Mismatch"
        case .allocationQuotaReached: "Allocation Quota Reached"
        case .roleConflict: "Role Conflict"
        case .serverError: "Server Error"
        case .insufficientCapacity: "Insufficient Capacity"
        default: ""
        }
    }
}
