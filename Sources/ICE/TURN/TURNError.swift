package import STUN

/// Why a server did not do what was asked of it.
package enum TURNError: Error, Hashable, Sendable {
    /// The server's error response: its code and its own words.
    case refused(STUNErrorCode, reason: String)
    /// No acceptable answer within `TURNConfiguration.requestTimeout`.
    case timeout
    /// An answer that is authentic and makes no sense, as an allocation without an address.
    case malformedResponse
    /// The server wants credentials and there are none.
    case credentialsMissing
    /// The lifetime ended and no Refresh had succeeded.
    case expired
    /// The stream to the server ended, brings no answers any more, or carries something else than TURN.
    case connectionLost
    /// The limit of permissions or channels is reached, or the address is of the other family: nothing was asked.
    case notAsked

    /// What helps.
    package var remedy: TURNRemedy {
        switch self {
        case .refused(let code, _): Self.remedy(for: code)
        case .timeout, .connectionLost, .expired, .malformedResponse: .tryAnotherServer
        case .credentialsMissing: .checkCredentials
        case .notAsked: .giveUp
        }
    }

    /// Whether the server has no allocation for this client any more.
    var meansAllocationIsGone: Bool {
        if case .refused(.allocationMismatch, _) = self { true } else { false }
    }

    /// What the RFC has a client do.
    ///
    /// RFC 8656 §7.4, §8.3, §10.3, §12.3
    private static func remedy(for code: STUNErrorCode) -> TURNRemedy {
        switch code {
        // 403 to an Allocate is a matter of the user's rights, to a permission one of the peer's address.
        case .unauthenticated, .wrongCredentials: .checkCredentials
        case .forbidden, .peerAddressFamilyMismatch: .giveUp
        // "The client SHOULD pick another client transport address" (RFC 8656 §7.4).
        case .allocationMismatch: .tryAnotherLocalPort
        case .addressFamilyNotSupported: .tryOtherAddressFamily
        case .allocationQuotaReached, .insufficientCapacity, .serverError, .staleNonce: .tryLater
        default: .tryAnotherServer
        }
    }
}

/// What helps against a `TURNError`.
package enum TURNRemedy: Hashable, Sendable {
    /// User name or password are wrong, or their time is over.
    case checkCredentials
    /// The server has an allocation for this 5-tuple already.
    case tryAnotherLocalPort
    /// The server relays no addresses of the family asked for.
    case tryOtherAddressFamily
    /// The server is full, or the user's quota is used up: a minute later, or another server.
    case tryLater
    case tryAnotherServer
    /// The server will not relay to this peer, or the user may not relay.
    case giveUp
}
