/// Times and limits of an agent.
package struct ICEConfiguration: Sendable {
    /// Between two ordinary checks. RFC 8445 §14.2: "Ta … SHOULD be 50 ms".
    package var pacing = Duration.milliseconds(50)
    /// First retransmission of a check; doubles each time.
    package var initialTimeout = Duration.milliseconds(100)
    /// Longest time between two retransmissions of a check.
    package var maximumTimeout = Duration.milliseconds(1_600)
    /// Sendings of one check before its pair fails. RFC 8489 §6.2.1: "Rc … SHOULD have a default of 7".
    package var attempts = 7
    /// How long the controlling side waits for a better pair after the first works.
    package var nominationGrace = Duration.milliseconds(100)
    /// Between consent checks, times 0.8 ... 1.2. RFC 7675 §5.1
    package var consentInterval = Duration.seconds(5)
    /// Without an answer for so long the state is `disconnected`.
    package var disconnectedTimeout = Duration.seconds(8)
    /// Without an answer for so long sending stops and the state is `failed`. RFC 7675 §5.1: "30 seconds".
    package var failedTimeout = Duration.seconds(30)
    /// The agent does not fail before this long after checks began. RFC 8863 §4
    package var patience = Duration.milliseconds(39_500)
    /// When a STUN server that does not answer is given up.
    package var gatheringTimeout = Duration.seconds(5)

    package init() {}

    static let remoteCandidateLimit = 64
    static let pairLimit = 256
    static let earlyCheckLimit = 16
    /// Checks that an incoming check triggers at once, before they too are paced.
    static let triggeredBurst = 4
}

/// Counts of one candidate pair. webrtc-stats §8.12
package struct ICEPairStatistics: Sendable {
    package var local: ICECandidate
    package var remote: ICECandidate
    package var state: String
    package var isNominated: Bool
    package var isSelected: Bool
    package var currentRoundTripTime: Duration?
    package var totalRoundTripTime: Duration
    package var requestsSent: Int
    package var responsesReceived: Int
    package var requestsReceived: Int
    package var responsesSent: Int
    package var consentRequestsSent: Int
}

package struct ICEStatistics: Sendable {
    package var pairs: [ICEPairStatistics] = []
    /// Messages that were dropped: no STUN, wrong credentials, unknown transactions.
    package var malformedCount = 0
    package var unauthenticCount = 0
    package var strayResponseCount = 0
    package var roleConflictCount = 0
}
