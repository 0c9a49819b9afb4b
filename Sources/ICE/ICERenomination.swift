import STUN
import SansIO

/// How a peer's description says that its agent takes a second nomination for an order, and not for a mistake: by which
/// the two of them can agree at any time to move to another pair.
///
/// Three forms are about. libwebrtc offers `renomination`, sends the attribute 0xC001 in place of USE-CANDIDATE, and
/// takes it with or without; Pion offers the same, and looks for 0x0030 beside USE-CANDIDATE; the draft's present text
/// says `renomination2`, 0x0030 and USE-CANDIDATE. This side offers both options and understands every form. It sends
/// USE-CANDIDATE with the attribute of the peer's option: to an old Pion that is a nomination without a number.
///
/// draft-thatcher-tsvwg-renomination-00, draft-thatcher-ice-renomination-01
package enum ICERenomination: Hashable, Sendable {
    /// Nominations have no numbers; as RFC 8445 §8.1.1 wants, the first should stay the only one while it works.
    case none
    /// As libwebrtc does it.
    case libwebrtc
    /// As the draft says.
    case draft

    /// What a description's `a=ice-options` mean.
    package init(options: [String]) {
        if options.contains("renomination2") {
            self = .draft
        } else if options.contains("renomination") {
            self = .libwebrtc
        } else {
            self = .none
        }
    }

    /// What this side's descriptions say.
    package static let options = ["renomination", "renomination2"]
}

/// What a check says of nomination.
struct ICENominationAttributes {
    /// USE-CANDIDATE.
    var usesCandidate: Bool
    /// NOMINATION of the draft.
    var number: UInt32?
    /// What may be libwebrtc's.
    var numberOfLibwebrtc: UInt32?

    enum Meaning: Equatable {
        case none, plain
        /// The largest counts, whatever came later. Never 0.
        case numbered(UInt32)
    }

    init(_ message: STUNMessage, _ bytes: RawSpan) {
        usesCandidate = message.contains(.useCandidate)
        number = message.uint32(.nomination, in: bytes)
        numberOfLibwebrtc = message.uint32(.nominationOfLibwebrtc, in: bytes)
    }

    /// What it means from a peer that offers this.
    ///
    /// Deviates from draft-thatcher-tsvwg-renomination-00 §4.1, which ignores USE-CANDIDATE without a number once both
    /// offer: an old Pion nominates first without, and counts then.
    func meaning(_ renomination: ICERenomination) -> Meaning {
        let agreed: UInt32? = renomination == .none ? nil : number ?? numberOfLibwebrtc
        if let agreed, agreed > 0 { return .numbered(agreed) }
        return usesCandidate ? .plain : .none
    }

    /// Says less than another check of the same pair.
    func isWeaker(than other: Self) -> Bool {
        let (own, others) = (number ?? numberOfLibwebrtc ?? 0, other.number ?? other.numberOfLibwebrtc ?? 0)
        return own < others || own == others && other.usesCandidate && !usesCandidate
    }
}

/// The numbers of one generation's nominations.
struct ICENominations {
    /// As controlling agent: the last number that was given, and to which pair.
    var lastNumber: UInt32 = 0
    var lastNominated: ICECandidatePair?
    /// As controlled agent: the largest number that came, and of which pair.
    var highest: UInt32 = 0
    var peersChoice: ICECandidatePair?
}

extension ICEAgent {
    // MARK: Controlling

    /// Gives a pair's nomination a number, larger than all before; one that is only repeated keeps its own.
    func number(_ pair: ICECandidatePair) {
        guard current.nominations.lastNominated !== pair else { return }
        current.nominations.lastNumber &+= 1
        current.nominations.lastNominated = pair
        pair.nominationNumber = current.nominations.lastNumber
    }

    /// Writes what nominates a pair, or, in a check of the nominated one's consent, says it again.
    func addNomination(
        of pair: ICECandidatePair,
        _ renomination: ICERenomination,
        to message: inout STUNMessageWriter
    ) {
        guard renomination != .none else { return message.addFlag(.useCandidate) }
        guard let number = pair.nominationNumber else { return }
        message.addFlag(.useCandidate)
        message.add(renomination == .draft ? .nomination : .nominationOfLibwebrtc, number)
    }

    // MARK: Controlled

    /// Follows the peer's nomination, unless a larger number came before.
    func receiveNomination(_ attributes: ICENominationAttributes, of pair: ICECandidatePair, at now: Instant) {
        switch attributes.meaning(current.remote?.renomination ?? .none) {
        case .none: return
        case .numbered(let number):
            let former = current.nominations
            guard number > former.highest || number == former.highest && former.peersChoice === pair else {
                counters.dropped.staleNominations += 1
                return
            }
            current.nominations.highest = number
            current.nominations.peersChoice = pair
            for other in current.pairs where other !== pair {
                if case .onSuccess = other.nomination { other.nomination = .none }
            }
        case .plain:
            guard current.nominations.peersChoice == nil else {
                counters.dropped.staleNominations += 1
                return
            }
            if current.isLongConcluded(at: now), pair.nominationReceivedAt.map({ $0 + Self.memory < now }) ?? true {
                pair.isPeersNewChoice = true
            }
        }
        pair.nominationReceivedAt = now
        if pair.isValid(at: now) {
            nominate(pair, at: now)
        } else {
            pair.nomination = .onSuccess
        }
    }

    /// A nomination after a pause as long was not made at the beginning, when a peer may nominate several pairs.
    private static var memory: Duration { .seconds(10) }
}
