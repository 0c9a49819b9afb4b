/// Keeps a device that has no clock, as ALSA's `null` and `file`, at the pace of time.
///
/// Devices with one never wait.
struct SoundPace {
    private let sampleRate: Int
    /// When the sound that has gone through would end if a loudspeaker played it; never in the past.
    private var end: Int64

    /// How far a device may be ahead of time, in nanoseconds: more than a buffer holds after a stall.
    static let tolerance: Int64 = 250_000_000
    /// A card's clock may be too fast by one part in so many.
    private static let slack: Int64 = 500

    init(sampleRate: Int, startNanoseconds: Int64) {
        self.sampleRate = max(1, sampleRate)
        end = startNanoseconds
    }

    /// Counts samples of each channel that went through.
    ///
    /// - Returns: milliseconds to wait before more go through, 0 for a device with a clock.
    mutating func advance(_ samples: Int, nowNanoseconds: Int64) -> Int {
        let duration = Int64(max(0, samples)) * 1_000_000_000 / Int64(sampleRate)
        end = max(end + duration - duration / Self.slack, nowNanoseconds)
        let early = end - nowNanoseconds - Self.tolerance
        return early > 0 ? Int((early + 999_999) / 1_000_000) : 0
    }
}
