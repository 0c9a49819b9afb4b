package import SansIO

/// How a server behaves.
package struct TURNServerConfiguration: Sendable {
    /// What users are asked to authenticate for; only a name.
    package var realm: String
    package var secret: TURNSharedSecret
    /// At which addresses of the machine to relay: one of a family at most.
    ///
    /// Without any the server does STUN alone.
    package var relays: [TURNRelayAddress]
    /// Which peers may be relayed to; the machine's own addresses belong into it.
    package var policy: PeerAddressPolicy
    package var limits = TURNServerLimits()
    /// How long a nonce is taken.
    ///
    /// RFC 8656 §5: "the nonce [SHOULD] be changed at least once every hour".
    package var nonceLifetime: Duration = .seconds(3600)

    package init(
        realm: String,
        secret: TURNSharedSecret,
        relays: [TURNRelayAddress],
        policy: PeerAddressPolicy = PeerAddressPolicy()
    ) {
        self.realm = realm
        self.secret = secret
        self.relays = relays
        self.policy = policy
    }
}

/// Where relayed addresses are.
package struct TURNRelayAddress: Hashable, Sendable {
    /// What sockets are bound to.
    package var local: IPAddress
    /// What clients are told: another one behind a NAT that translates addresses one to one.
    package var told: IPAddress

    package init(local: IPAddress, told: IPAddress? = nil) {
        self.local = local
        self.told = told ?? local
    }
}

/// What clients may take.
package struct TURNServerLimits: Sendable {
    /// Allocations of one user's name.
    ///
    /// A browser makes one for each of its addresses, each connection and each URL of the server.
    package var allocationsPerUser = 64
    /// Allocations from one host (an IPv6 host has a /64).
    package var allocationsPerHost = 256
    /// Allocations in all.
    package var allocations = 1024
    /// Allocations with a relayed address of one family; nil for as many as there may be in all.
    ///
    /// Where ports are given, each family has as many.
    package var allocationsPerFamily: Int?
    /// Permissions of one allocation.
    package var permissions = 128
    /// Channels of one allocation.
    package var channels = 64
    /// Streams in all.
    package var streams = 1024
    /// Streams from one host.
    package var streamsPerHost = 128
    /// How long a stream may be without an allocation.
    package var idleStream: Duration = .seconds(30)
    /// Answers to requests while a stream's client takes nothing; then the stream is closed.
    package var answersToBlockedStream = 32
    /// Answers a second to Binding requests by UDP that seem to come from one host, in the long run.
    ///
    /// This and `challengesPerSecond` bound what somebody who forges a host's address can have sent there. They do not
    /// concern streams, nor requests with a nonce that was sent to the address that they come from.
    package var bindingsPerSecond = 20
    /// Such answers at once.
    package var bindingBurst = 200
    /// Answers a second to other requests by UDP that show no nonce, or none that is good, and seem to come from one host.
    ///
    /// They are counted apart from Binding's, and there are more of them, so that who forges requests keeps nobody from
    /// the first answer, which has the nonce. As a packet it has thrice the request's length at most, for the usual realm.
    package var challengesPerSecond = 100
    /// Such answers at once.
    package var challengeBurst = 200
    /// Requests a second of one allocation, on one stream, and by UDP of one host that has a nonce and no allocation yet.
    ///
    /// Those beyond are dropped before their integrity is computed. Data is not concerned.
    package var requestsPerSecond = 100
    /// Such requests at once.
    package var requestBurst = 200
    /// Hosts whose allowances are counted one by one; all others share one.
    package var countedHosts = 4096
    /// Bytes a second that one allocation relays, both ways together; nil for as many as come.
    package var bytesPerSecond: Int?

    package init() {}

    var bindingRate: TokenRate { TokenRate(perSecond: bindingsPerSecond, burst: bindingBurst) }
    var challengeRate: TokenRate { TokenRate(perSecond: challengesPerSecond, burst: challengeBurst) }
    var requestRate: TokenRate { TokenRate(perSecond: requestsPerSecond, burst: requestBurst) }

    /// Longest lifetime given, and the one that is given unless asked for more (RFC 8656 §7.2).
    static let lifetimes: ClosedRange<UInt32> = 600...3600
    /// What a permission lives for (RFC 8656 §3.3).
    static let permissionLifetime: Duration = .seconds(300)
    /// What a channel lives for (RFC 8656 §3.5).
    static let channelLifetime: Duration = .seconds(600)
    /// Longest user name (RFC 8489 §14.3: "less than 509 bytes").
    static let usernameByteCount = 508
    /// Events that nobody took.
    static let events = 1024
}
