internal import SansIO
import STUN

/// A local and a remote candidate and what is known of the way between them. RFC 8445 §6.1.2
final class CandidatePair {
    enum State: String {
        case waiting, inProgress = "in-progress", succeeded, failed
    }

    let id: Int
    var local: ICECandidate
    var remote: ICECandidate
    let path: TransmitPath
    var state = State.waiting
    var isNominated = false
    /// Controlled: a check with USE-CANDIDATE came before this pair worked. RFC 8445 §7.3.1.5
    var isNominatedByPeer = false
    /// The check that is under way.
    var check: Check?
    var roundTripTime: Duration?
    var totalRoundTripTime = Duration.zero
    var requestsSent = 0
    var responsesReceived = 0
    var requestsReceived = 0
    var responsesSent = 0
    var consentRequestsSent = 0

    struct Check {
        var transactionID: STUNTransactionID
        var isNomination: Bool
        var attempts: Int
        var sentAt: Instant
        var retransmitAt: Instant
        var timeout: Duration
    }

    init(id: Int, local: ICECandidate, remote: ICECandidate, path: TransmitPath) {
        self.id = id
        self.local = local
        self.remote = remote
        self.path = path
    }

    /// RFC 8445 §6.1.2.3
    func priority(role: ICERole) -> UInt64 {
        let controlling = UInt64(role == .controlling ? local.priority : remote.priority)
        let controlled = UInt64(role == .controlling ? remote.priority : local.priority)
        return min(controlling, controlled) << 32 + 2 * max(controlling, controlled) + (controlling > controlled ? 1 : 0)
    }

    func didMeasure(_ roundTrip: Duration) {
        totalRoundTripTime += roundTrip
        roundTripTime = roundTripTime.map { $0 * 3 / 4 + roundTrip / 4 } ?? roundTrip
    }
}
