/// Where a microphone is in what is played: by the times that two devices tell, which tremble, and with clocks that differ.
///
/// An echo canceller needs the two in step to a fraction of a sample, and learns anew after each step. So the place
/// advances evenly by the microphone's own samples; the times are averaged, and used only where that shows that the two
/// run apart: evenly, then the pace is changed by as much as they differ, or far, then the place.
struct PlayedAlignment {
    /// The place of the next block, in samples of what is played; nil before the first.
    private(set) var position: Double?
    /// By how much faster the loudspeaker's clock is than the microphone's: 0.0001 is usual for two devices.
    private(set) var rate = 0.0
    private var sum = 0.0
    private var count = 0
    /// Errors of the last spans of two seconds, each an average.
    private var means: [Double] = []
    /// Blocks in a row that were far off.
    private var farCount = 0

    /// Samples of a block.
    static let block = 480
    /// Blocks that are averaged: two seconds.
    static let window = 200
    /// Averages that are looked at: at least ten seconds, at most two minutes.
    private static let meansRange = 5...60
    /// Errors that grow by less are the times' trembling: 1.5 milliseconds.
    private static let noise = 72.0
    /// How far averages may be from a line that is taken for the clocks' difference, as a share of what it rises by: a
    /// step, as after an underrun, is further.
    private static let unevenness = 0.2
    /// An average error that the canceller's filter should not bridge: 15 ms.
    private static let limit = 720.0
    /// Clocks that differ by more are broken.
    private static let largestRate = 0.001

    /// The place of the next block.
    ///
    /// - Parameter target: where the block should be by the devices' times.
    /// - Returns: the place of its first sample, and the step from each sample to the next.
    mutating func next(target: Double) -> (position: Double, step: Double) {
        let place = position ?? target.rounded()
        let error = target - place
        farCount = abs(error) > 4 * Self.limit ? farCount + 1 : 0
        // What is far off for a tenth of a second is no trembling.
        guard farCount < 10 else {
            restart()
            return advance(from: target.rounded())
        }
        sum += error
        count += 1
        guard count == Self.window else { return advance(from: place) }
        let mean = sum / Double(count)
        (sum, count) = (0, 0)
        guard abs(mean) <= Self.limit else {
            means = []
            return advance(from: (place + mean).rounded())
        }
        means.append(mean)
        if let growth {
            rate = min(max(rate + growth / Double(Self.window * Self.block), -Self.largestRate), Self.largestRate)
            means = [mean]
        } else if means.count >= Self.meansRange.upperBound {
            means.removeFirst(means.count / 2)
        }
        return advance(from: place)
    }

    /// The times mean something else from now on; the pace is kept.
    mutating func restart() {
        position = nil
        (sum, count) = (0, 0)
        farCount = 0
        means = []
    }

    private mutating func advance(from place: Double) -> (position: Double, step: Double) {
        position = place + Double(Self.block) * (1 + rate)
        return (place, 1 + rate)
    }

    /// By how much the error grows from one average to the next, if it grows evenly and by more than times tremble.
    private var growth: Double? {
        guard means.count >= Self.meansRange.lowerBound else { return nil }
        let middle = Double(means.count - 1) / 2
        let average = means.reduce(0, +) / Double(means.count)
        var (rise, spread) = (0.0, 0.0)
        for (index, mean) in means.enumerated() {
            let place = Double(index) - middle
            rise += place * (mean - average)
            spread += place * place
        }
        // The line with the least squares.
        let slope = rise / spread
        let total = abs(slope) * Double(means.count - 1)
        guard total >= Self.noise else { return nil }
        let farthest = means.enumerated().reduce(0.0) { farthest, entry in
            max(farthest, abs(entry.element - average - slope * (Double(entry.offset) - middle)))
        }
        return farthest <= Self.unevenness * total ? slope : nil
    }
}
