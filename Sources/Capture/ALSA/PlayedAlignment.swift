/// Where a microphone is in what is played: by the times that two devices tell, which tremble, and with clocks that differ.
///
/// An echo canceller needs the two in step to a fraction of a sample, and learns anew after each step. So the place
/// advances evenly by the microphone's own samples; the times are averaged, and used only where that shows that the two
/// run apart: then the pace is changed, by as much as they were found to differ, and only if they are far apart, the place.
struct PlayedAlignment {
    /// The place of the next block, in samples of what is played; nil before the first.
    private(set) var position: Double?
    /// By how much faster the loudspeaker's clock is than the microphone's: 0.0001 is usual for two devices.
    private(set) var rate = 0.0
    private var blocks = 0
    private var sum = 0.0
    private var count = 0
    /// The mean error that the pace is judged from, and the block of that time.
    private var reference: (error: Double, block: Int)?
    /// Blocks in a row that were far off.
    private var farCount = 0

    /// Samples of a block.
    static let block = 480
    /// Blocks that are averaged: two seconds.
    static let window = 200
    /// Blocks between two judgements of the pace: ten seconds.
    private static let patience = 1_000
    /// Errors that grow by less are the times' trembling: two milliseconds.
    private static let noise = 96.0
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
        blocks += 1
        guard count == Self.window else { return advance(from: place) }
        let mean = sum / Double(count)
        (sum, count) = (0, 0)
        guard abs(mean) <= Self.limit else {
            reference = nil
            return advance(from: (place + mean).rounded())
        }
        guard let reference else {
            self.reference = (mean, blocks)
            return advance(from: place)
        }
        let change = mean - reference.error
        if blocks - reference.block >= Self.patience, abs(change) >= Self.noise {
            rate += change / Double((blocks - reference.block) * Self.block)
            rate = min(max(rate, -Self.largestRate), Self.largestRate)
            self.reference = (mean, blocks)
        }
        return advance(from: place)
    }

    /// The times mean something else from now on; the pace is kept.
    mutating func restart() {
        position = nil
        (sum, count) = (0, 0)
        farCount = 0
        reference = nil
    }

    private mutating func advance(from place: Double) -> (position: Double, step: Double) {
        position = place + Double(Self.block) * (1 + rate)
        return (place, 1 + rate)
    }
}
