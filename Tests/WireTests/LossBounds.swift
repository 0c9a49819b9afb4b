import Testing

@testable import SCTP

@Suite struct LossBounds {
    private let flight = 1_000_000

    /// Rounds with so many bytes under way, of which a part is lost; the first reaction ends them.
    private func reactions(
        _ bound: inout LossBound,
        rounds: Int,
        isStarting: Bool = false,
        lossOf: (_ present: Int) -> Double
    ) -> [Int?] {
        var all: [Int?] = []
        for _ in 0..<rounds {
            let present = min(flight * 13 / 10, bound.byteCount ?? .max)
            let lost = Int(Double(present) * lossOf(present))
            bound.didLose(byteCount: lost)
            bound.didArrive(byteCount: present - lost)
            if bound.endRound(present: present, best: flight, isStarting: isStarting) { all.append(bound.byteCount) }
        }
        return all
    }

    /// A short queue: what is beyond the path's own capacity is lost.
    @Test func lossesThatLessUnderWayEndsBoundIt() throws {
        var bound = LossBound()
        let all = reactions(&bound, rounds: 7) { present in max(0, Double(present - 1_050_000) / Double(present)) }
        #expect(all == [1_170_000, 1_053_000])
        #expect(bound.byteCount == 1_053_000)
    }

    @Test func theBoundIsTriedAgainAfterAWhile() {
        var bound = LossBound()
        _ = reactions(&bound, rounds: 1) { _ in 0.2 }
        #expect(bound.byteCount == 1_170_000)
        _ = reactions(&bound, rounds: 8) { _ in 0 }
        #expect(bound.byteCount == 1_170_000)
        _ = reactions(&bound, rounds: 8) { _ in 0 }
        #expect(bound.byteCount == nil)
    }

    /// A radio link loses as much whatever is under way; that is tried again now and then.
    @Test func lossesThatStayTheSameBoundNothing() {
        var bound = LossBound()
        let all = reactions(&bound, rounds: 40) { _ in 0.07 }
        #expect(all.count == 2)
        #expect(bound.byteCount == nil)
    }

    @Test func fewPacketsSayNothing() {
        var bound = LossBound()
        for _ in 0..<18 {
            bound.didLose(byteCount: 1_400)
            bound.didArrive(byteCount: 12_600)
            let isLower = bound.endRound(present: 14_000, best: 14_000, isStarting: false)
            #expect(!isLower)
        }
        bound.didLose(byteCount: 14_000)
        bound.didArrive(byteCount: 14_000)
        let isLower = bound.endRound(present: 14_000, best: 14_000, isStarting: false)
        #expect(isLower)
    }

    @Test func whatHadOnlyBeenLateWasNotLost() {
        var bound = LossBound()
        bound.didLose(byteCount: 300_000)
        bound.didLose(byteCount: -290_000)
        bound.didArrive(byteCount: 1_000_000)
        let isLower = bound.endRound(present: flight, best: flight, isStarting: false)
        #expect(!isLower)
    }

    @Test func aStartIsNotEndedByWhatARadioLinkLoses() {
        var bound = LossBound()
        let few = reactions(&bound, rounds: 40, isStarting: true) { _ in 0.1 }
        #expect(few.isEmpty)
        let many = reactions(&bound, rounds: 1, isStarting: true) { _ in 0.3 }
        #expect(many.count == 1)
    }
}
