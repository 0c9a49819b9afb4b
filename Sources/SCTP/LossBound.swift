/// A bound on what is under way, where more would only be lost: the path's queue is short, or others share it.
///
/// Losses that do not become fewer with less under way are those of a radio link: they bound nothing.
struct LossBound {
    private(set) var byteCount: Int?
    /// What was lost and what arrived since it was last judged.
    private var lost = 0
    private var arrived = 0
    /// The part of the packets that may be lost without a reaction.
    private var tolerated = LossBound.tolerated.lowerBound
    /// What was lost when the bound was set.
    private var reactedTo: Double?
    private var growth = LossBound.growth
    private var roundsSinceReaction = LossBound.reactionRounds

    private static let tolerated = 0.05...0.15
    /// A start that overruns a queue loses up to a third.
    private static let startingPart = 0.12
    /// Fewer bytes, about 180 packets, say nothing: one of ten lost would be a tenth.
    private static let sampleByteCount = 256 << 10
    private static let gain = 0.9
    /// Rounds until the effect of a smaller bound is seen, and until a larger one is tried.
    private static let reactionRounds = 3
    private static let quietRounds = 8
    /// The bound grows by this part, and by twice as much in each round after it.
    private static let growth = 1.0 / 64
    private static let decay = 0.98

    /// So many bytes were lost, or fewer than was thought.
    mutating func didLose(byteCount: Int) { lost = max(0, lost + byteCount) }

    /// So many bytes arrived.
    mutating func didArrive(byteCount: Int) { arrived += byteCount }

    /// A round-trip time is over, with `present` bytes under way and at best `best` arriving in one.
    ///
    /// - Returns: whether less may be under way from now on.
    mutating func endRound(present: Int, best: Int, isStarting: Bool) -> Bool {
        roundsSinceReaction += 1
        if roundsSinceReaction < Self.reactionRounds {
            lost = 0
            arrived = 0
            return false
        }
        if let bound = byteCount, roundsSinceReaction > Self.quietRounds {
            let next = bound + Int(Double(bound) * growth)
            byteCount = next > 2 * best ? nil : next
            growth = min(growth * 2, 1)
        }
        guard lost + arrived >= Self.sampleByteCount else { return false }
        let part = Double(lost) / Double(lost + arrived)
        lost = 0
        arrived = 0
        guard part > (isStarting ? Self.startingPart : tolerated) else {
            reactedTo = nil
            tolerated = max(tolerated * Self.decay, Self.tolerated.lowerBound)
            return false
        }
        if let reactedTo, part > reactedTo * 0.7 {
            self.reactedTo = nil
            tolerated = min(part * 1.5, Self.tolerated.upperBound)
            byteCount = nil
            return false
        }
        byteCount = max(Int(Double(min(present, byteCount ?? .max)) * Self.gain), best)
        reactedTo = part
        growth = Self.growth
        roundsSinceReaction = 0
        return true
    }
}
