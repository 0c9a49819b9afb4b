/// How often a delay was how long: in steps of half a millisecond, longer ones than half a second together.
///
/// Its memory is fixed: 4 KiB from the first record on.
package struct DelayHistogram: Hashable, Sendable {
    private var counts: [UInt32] = []
    /// Delays recorded.
    package private(set) var count = 0

    private static let stepNanoseconds: Int64 = 500_000
    private static let stepCount = 1_024

    /// Of nothing yet.
    package init() {}

    /// Counts a delay; what is negative is the difference of two clocks and does not count.
    package mutating func record(nanoseconds: Int64) {
        guard nanoseconds >= 0 else { return }
        if counts.isEmpty { counts = Array(repeating: 0, count: Self.stepCount) }
        let step = min(Int(nanoseconds / Self.stepNanoseconds), Self.stepCount - 1)
        counts[step] &+= 1
        count += 1
    }

    /// The delay that a share of them does not exceed.
    ///
    /// - Parameter share: 0 ... 1, 0.5 for the median.
    /// - Returns: milliseconds, to the half; nil without any.
    package func percentile(_ share: Double) -> Double? {
        guard count > 0 else { return nil }
        let wanted = max(1, Int((Double(count) * min(max(share, 0), 1)).rounded(.up)))
        var sum = 0
        for (step, number) in counts.enumerated() {
            sum += Int(number)
            if sum >= wanted { return Double(step + 1) / 2 }
        }
        return Double(Self.stepCount) / 2
    }
}
