package import SansIO

/// Counters of an agent since it was made.
package struct ICEStatistics: Sendable {
    /// The pairs of the present generation, best first; before the new generation of a restart selects a pair,
    /// the last one is that of the old.
    package var pairs: [ICEPairStatistics] = []
    package var localCandidates: [ICECandidate] = []
    package var remoteCandidates: [ICECandidate] = []
    package var dropped = ICEDropCounts()
    package var roleConflicts = 0
    package var selectedPathChanges = 0
}

/// Counters of one candidate pair, as W3C's `RTCIceCandidatePairStats` has them.
package struct ICEPairStatistics: Sendable {
    package enum State: String, Sendable {
        case frozen, waiting, inProgress = "in-progress", failed, succeeded
    }

    package var local: ICECandidate
    package var remote: ICECandidate
    package var path: TransmitPath
    package var priority: UInt64
    package var state: State
    package var isNominated: Bool
    package var isSelected: Bool
    package var requestsSent = 0
    package var requestsReceived = 0
    package var responsesSent = 0
    package var responsesReceived = 0
    package var retransmissionsSent = 0
    package var consentRequestsSent = 0
    package var currentRoundTripTime: Duration?
    package var totalRoundTripTime: Duration = .zero
    /// When consent ends unless an answer comes; nil if there was none yet.
    package var consentExpiry: Instant?
    package var lastRequestReceivedAt: Instant?
    package var lastResponseReceivedAt: Instant?
}

/// What an agent did not use, by reason.
package struct ICEDropCounts: Hashable, Sendable {
    /// Not STUN, or structure, length or fingerprint wrong.
    package var malformed = 0
    /// Requests and responses of methods other than Binding.
    package var wrongMethod = 0
    /// Indications; they only keep NATs open.
    package var indications = 0
    /// Requests without user name, integrity or priority, answered with 400.
    package var incompleteRequests = 0
    /// Requests for another user name, answered with 401.
    package var wrongUsername = 0
    /// Requests whose integrity is not by our password, answered with 401.
    package var wrongPassword = 0
    /// Requests with unknown attributes, answered with 420.
    package var unknownAttributes = 0
    /// Responses to nothing that is outstanding.
    package var unknownTransactions = 0
    /// Responses without, or with wrong, integrity.
    package var unauthenticResponses = 0
    /// Responses from another address than was asked.
    package var asymmetricResponses = 0
    /// Datagrams after the agent failed or was closed.
    package var afterEnd = 0
    /// Requests answered and otherwise ignored since a limit was reached.
    package var limitedRequests = 0
    /// TCP connections that gave way to others, or found no room.
    package var limitedConnections = 0
    /// Pairs that found no room.
    package var limitedPairs = 0
    /// Candidates of the peer beyond the limit.
    package var limitedCandidates = 0
    /// Candidates of the peer of another generation.
    package var staleCandidates = 0
    /// Candidates of the peer for simultaneous open over TCP, of component 2, with port 0, multicast or unspecified address.
    package var unusableCandidates = 0
    /// Nominations that came after one with a larger number, or without a number after one with.
    package var staleNominations = 0
    /// Own candidates and servers beyond the limit.
    package var limitedGathering = 0

    package init() {}

    /// Each reason by its name here.
    package var byReason: [(name: String, count: Int)] {
        [
            ("malformed", malformed), ("wrongMethod", wrongMethod), ("indications", indications),
            ("incompleteRequests", incompleteRequests), ("wrongUsername", wrongUsername),
            ("wrongPassword", wrongPassword), ("unknownAttributes", unknownAttributes),
            ("unknownTransactions", unknownTransactions), ("unauthenticResponses", unauthenticResponses),
            ("asymmetricResponses", asymmetricResponses), ("afterEnd", afterEnd),
            ("limitedRequests", limitedRequests), ("limitedConnections", limitedConnections),
            ("limitedPairs", limitedPairs), ("limitedCandidates", limitedCandidates),
            ("staleCandidates", staleCandidates), ("unusableCandidates", unusableCandidates),
            ("staleNominations", staleNominations), ("limitedGathering", limitedGathering),
        ]
    }
}
