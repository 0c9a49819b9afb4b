import STUN
import SansIO

/// How far the gathering of one generation is.
enum ICEGatheringState {
    /// Addresses may still be added.
    case open
    /// All addresses were added; STUN servers may still answer.
    case closing
    /// End-of-candidates was told.
    case complete
}

/// One STUN server asked from one base.
///
/// RFC 8445 §5.1.1.2
struct ICEGathering {
    enum State {
        case asking(STUNTransaction)
        /// Answered: the NAT's binding is kept open.
        case keepingAlive(nextRequest: Instant, id: STUNTransactionID)
        /// Dead, or no longer needed.
        case over
    }

    let server: TransportAddress
    let port: PortID
    let base: TransportAddress
    /// Of the candidate that comes out.
    let preference: UInt16
    var state: State
    /// Whether the server has told an address: it is asked again when the path falls silent.
    var wasAnswered = false

    var isAsking: Bool { if case .asking = state { true } else { false } }

    var nextInstant: Instant? {
        switch state {
        case .asking(let transaction): transaction.nextInstant
        case .keepingAlive(let next, _): next
        case .over: nil
        }
    }
}
