/// When the pictures of an IVF file are played, of the timestamps that are written in it.
///
/// Any numbers are taken. Played from 0 on and always forward: a timestamp that goes back, stays, or has no meaning follows
/// at the nominal rate, and a jump that is too far is shortened.
struct IVFTimes {
    /// The longest time from one picture to the next: what is longer is shortened to it.
    static let longestStep: Int64 = 10_000_000_000
    /// Where the header says nothing of use: 30 a second.
    private static let usualStep: Int64 = 33_333_333

    /// A tick is `scale / rate` seconds.
    private let rate: UInt64
    private let scale: UInt64
    private let nominalStep: Int64
    private var last: UInt64?
    /// When the picture that came last is due, in nanoseconds from the beginning.
    private(set) var position: Int64 = 0
    private var step: Int64

    /// Times in units of `scale / rate` seconds, as the header has them.
    init(rate: Int, scale: Int) {
        let isUsable = rate > 0 && scale > 0
        self.rate = isUsable ? UInt64(rate) : 30
        self.scale = isUsable ? UInt64(scale) : 1
        let tick = Self.nanoseconds(ticks: 1, rate: self.rate, scale: self.scale)
        // Ticks of a millisecond and the like are units of time, not a rate.
        nominalStep = (4_000_000...1_000_000_000).contains(tick) ? tick : Self.usualStep
        step = nominalStep
    }

    /// Takes the timestamp of the next picture that is shown, and moves ``position`` there.
    mutating func advance(to timestamp: UInt64) {
        defer { last = timestamp }
        guard let last else { return }
        step = timestamp > last ? Self.nanoseconds(ticks: timestamp - last, rate: rate, scale: scale) : nominalStep
        position += step
    }

    /// How long all of it takes, when it has come to its end.
    var period: Int64 { position + step }

    private static func nanoseconds(ticks: UInt64, rate: UInt64, scale: UInt64) -> Int64 {
        let (product, isOver) = ticks.multipliedReportingOverflow(by: scale)
        // Before the multiplication by 10⁹, which would be too much for more.
        guard !isOver, product / rate < UInt64(longestStep) / 1_000_000_000 else { return longestStep }
        // `rate` has 32 bits: the rest times 10⁹ fits into 64.
        let time = product / rate * 1_000_000_000 + product % rate * 1_000_000_000 / rate
        return max(1_000_000, Int64(clamping: time))
    }
}
