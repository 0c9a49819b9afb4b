/// How messages travel between client and server.
package enum TURNTransport: Hashable, Sendable {
    /// UDP: each datagram one message, requests are sent again.
    case datagram
    /// TCP or TLS: messages follow one another, padded to four bytes; nothing is sent again.
    case stream
}

/// The constants of a TURN client.
///
/// The defaults are those to use; tests change some.
package struct TURNConfiguration: Sendable {
    /// Whether to ask for an IPv6 relayed address; else IPv4, which every server has.
    package var wantsIPv6 = false

    /// Time until a request is sent again, over UDP; each next time it is twice as long.
    ///
    /// Deviates from RFC 8489 §6.2.1, which has 500 ms: two round trips stand before the first relayed candidate,
    /// and a lost one should not cost the call a second. As in ICE's gathering.
    package var initialRetransmission: Duration = .milliseconds(200)

    /// Longest time between two transmissions of one request.
    package var maximumRetransmission: Duration = .milliseconds(3200)

    /// Time after which a request has failed.
    ///
    /// Deviates from RFC 8489 §6.2.1 (39.5 s): a dead server should be known while the call is still being set up.
    package var requestTimeout: Duration = .seconds(10)

    /// Time that the server has to confirm the end; afterwards the lifetime will end what is left.
    package var closeTimeout: Duration = .seconds(2)

    /// The allocation is refreshed so long before its end, or in its middle if that comes later.
    package var refreshMargin: Duration = .seconds(60)

    /// Time between two refreshes of a permission, which lives for five minutes.
    ///
    /// RFC 8656 §9
    package var permissionRefresh: Duration = .seconds(240)

    /// Time between two refreshes of a channel, which lives for ten minutes.
    ///
    /// RFC 8656 §12
    package var channelRefresh: Duration = .seconds(540)

    /// Time until something is asked again that the server could not do just then (500, 508), and as long a peer
    /// that it refused is not asked for again.
    package var retryInterval: Duration = .seconds(10)

    /// Longest silence towards the server over UDP: a NAT before it might forget this client.
    ///
    /// Tr of RFC 8445 §11, whose least value it is.
    package var keepalive: Duration = .seconds(15)

    package init() {}
}

/// Limits on what a server, a peer, or a careless owner can make a client hold.
package enum TURNLimits {
    /// Permissions at once; as many as ICE has candidates of the peer.
    package static let permissions = ICELimits.remoteCandidates
    /// Channels at once.
    package static let channels = 64
    /// Datagrams that wait for a permission, of all peers together.
    package static let queuedDatagrams = 64
    /// Bytes in them.
    package static let queuedBytes = 65_536
    /// Times that one request is made anew because its nonce was stale or its realm another.
    package static let staleNonces = 3
    /// Longest REALM and NONCE, and reason phrase: fewer than 128 characters (RFC 8489 §14.8 … §14.10).
    package static let textBytes = 763
    /// Longest lifetime believed.
    package static let lifetime: Duration = .seconds(86_400)
    /// Events not yet taken.
    package static let events = 1024
    /// Refreshes in a row without an answer after which a stream has ended: half a minute, in which consent ends, too.
    package static let unansweredRefreshes = 3

    /// What a permission lives for (RFC 8656 §3.3).
    static let permissionLifetime: Duration = .seconds(300)
    /// What a channel binding lives for (RFC 8656 §3.5).
    static let channelLifetime: Duration = .seconds(600)
    /// Time after the end of a channel in which peer and number may not be bound otherwise (RFC 8656 §12).
    static let channelQuarantine: Duration = .seconds(300)
}
