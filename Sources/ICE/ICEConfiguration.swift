/// The constants of an agent.
///
/// The defaults are those to use; tests shorten some.
package struct ICEConfiguration: Sendable {
    /// Whether the agent answers checks and makes none: for programs with an address that everybody reaches.
    ///
    /// The peer must be a full agent, and nominates. RFC 8445 §2.5
    package var isLite = false

    /// Ta, the time between two ordinary checks.
    ///
    /// RFC 8445 §14.2
    package var pacing: Duration = .milliseconds(50)

    /// So many ordinary checks may go out at once, if none went before; then one each Ta.
    ///
    /// Deviates from RFC 8445 §14.2, which has one: the best pair of hosts that are far apart is one of private addresses,
    /// which nothing answers, and the one that works should not wait for Ta behind it. Three datagrams of a hundred bytes
    /// are less than what any connection begins with.
    package var ordinaryBurst = 3

    /// The same for the first check of each way: of each address family, with and without a relay on either side.
    package var firstOfWayBurst = 8

    /// Checks that answer something authentic (triggered checks, nominations) may run ahead of `pacing` by as many.
    ///
    /// Deviates from RFC 8445 §6.1.4.2, which paces them too: at one round trip of 0.1 ms the wait of 50 ms for
    /// the nomination would be most of the set-up time.
    package var triggeredBurst = 8

    /// Shortest time until a check is sent again; the interval is MAX(this, Ta · checks under way or waiting).
    ///
    /// Deviates from RFC 8445 §14.3, which has 500 ms: a check lost while the peer's NAT was still closed should
    /// not cost half a second.
    package var initialRetransmission: Duration = .milliseconds(100)

    /// Longest time between two transmissions of one check.
    package var maximumRetransmission: Duration = .milliseconds(3200)

    /// Time that a check is tried, and time since the start of checks before which the agent does not fail.
    ///
    /// RFC 8863 §4: "When using default values for retransmission timeout (RTO) and Rc, this amounts to 39.5 seconds".
    package var patience: Duration = .milliseconds(39_500)

    /// Time after the first valid pair at which the controlling agent stops waiting for a better one.
    ///
    /// It does not wait if the best pair known joins two host candidates or is near, or if there is nothing left to
    /// wait for.
    package var nominationGrace: Duration = .milliseconds(50)

    /// Round-trip time up to which a direct pair is near: no other one can be so much better that a wait pays.
    package var nearRoundTripTime: Duration = .milliseconds(5)

    /// The same if the best valid pair is relayed.
    ///
    /// Data flows meanwhile.
    package var relayedNominationGrace: Duration = .milliseconds(500)

    /// Time since the start of checks until TCP connections are opened: what datagrams reach sooner needs none.
    package var connectionDelay: Duration = .milliseconds(200)

    /// Whether a server-reflexive candidate is told even if it equals a host candidate.
    ///
    /// Where host candidates are told by names, peers that cannot look those up would else learn no address at all of a
    /// machine that is behind no NAT.
    package var tellsRedundantReflexive = false

    /// Mean time between two consent checks.
    ///
    /// Each is drawn from 0.8 to 1.2 times as much, so as not to beat in step with others. RFC 7675 §5.1
    package var consentInterval: Duration = .seconds(5)

    /// Consent checks fall on multiples of this on the monotonic clock.
    ///
    /// The checks of all connections of a program then share their wake-ups, which are most of what an idle
    /// connection costs; which multiple it is stays random. Zero or less: any instant.
    package var consentGrid: Duration = .milliseconds(250)

    /// The same while other datagrams pass along the path: what is lost is missed then.
    ///
    /// Deviates from RFC 7675 §5.1 (4...6 s), as browsers do: a dead path is to be noticed within two seconds.
    package var busyConsentInterval: Duration = .seconds(1)

    /// Time after a consent check without answer until another is sent; twice the round-trip time if that is longer.
    ///
    /// Deviates from RFC 7675 §5.1 (4...6 s) while answers are missing, so that `disconnected` shows soon.
    package var consentProbeInterval: Duration = .milliseconds(500)

    /// Consecutive unanswered consent checks after which the nominated pair gives way to another that answers.
    package var givingWayMisses = 2

    /// Time after which a connection through a relay looks for a direct path, first; later up to eight times as long.
    package var directPathInterval: Duration = .seconds(10)

    /// Longest time between two transmissions of a check once a pair was nominated: a path that comes back is to be
    /// noticed soon.
    package var healingRetransmission: Duration = .seconds(1)

    /// Consecutive unanswered consent checks that make the agent `disconnected`.
    package var missedConsentLimit = 4

    /// Time since the last answer at which consent is lost.
    ///
    /// RFC 7675 §5.1
    package var consentTimeout: Duration = .seconds(30)

    /// Time after which a STUN server counts as dead.
    package var gatheringTimeout: Duration = .seconds(5)

    /// Time between two requests that keep a server-reflexive candidate's NAT binding open until a pair is
    /// nominated.
    ///
    /// Tr of RFC 8445 §11, whose least value it is.
    package var reflexiveKeepalive: Duration = .seconds(15)

    package init() {}

    /// Sets after what silence a path is disconnected and failed, as far as the protocol allows.
    package mutating func setTimeouts(disconnected: Duration, failed: Duration) {
        consentTimeout = min(max(failed, .seconds(1)), .seconds(30))
        let misses = max(disconnected, .zero) / consentProbeInterval
        missedConsentLimit = max(1, Int(min(misses, 1_000).rounded()))
    }
}

/// Limits on what the peer, or a careless owner, can make an agent hold.
package enum ICELimits {
    /// Candidates of the peer in one generation, peer-reflexive ones included.
    package static let remoteCandidates = 64
    /// Own candidates in one generation, reflexive ones included.
    package static let localCandidates = 32
    /// TCP connections of one generation, those included that have not shown whose they are.
    package static let connections = 64
    /// Accepted TCP connections that have not shown whose they are.
    package static let silentConnections = 16
    /// TCP connections that are opened to different candidates of the peer.
    package static let connectionRequests = 16
    /// How often a TCP connection to one candidate is opened.
    package static let connectionAttempts = 4
    /// Pairs in one checklist, the default of RFC 8445 §6.1.2.5.
    package static let pairs = 100
    /// Checks remembered that came before the peer's credentials.
    package static let earlyChecks = 32
    /// Requests whose answer is still accepted, in one generation.
    package static let outstandingRequests = 512
    /// Paths remembered along which something authentic came.
    package static let authenticPaths = 64
    /// STUN servers asked, counted per base.
    package static let gatherings = 64
    /// Longest user name fragment and password of the peer (RFC 8839 §5.4).
    package static let credentialCharacters = 256
    /// Events not yet taken.
    package static let events = 1024
}
