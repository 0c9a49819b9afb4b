/// When the frames of a WebM file are played, of the times that are written in it.
///
/// Any times are taken. The file's first frame, of any track, is played at once. Where no track has anything for long, less
/// of that is waited. All tracks are counted together, so that each of them, read for itself, stays in step with the others.
struct WebMTimes {
    /// The longest time without a frame: what is longer is shortened to it.
    static let longestStep: Int64 = 10_000_000_000

    /// The latest time that was written.
    private var latest: Int64?
    /// When that is played.
    private var reached: Int64 = 0

    /// Takes the next frame of any track.
    ///
    /// - Parameter written: its time in the file, not negative, in nanoseconds.
    /// - Returns: when it is played, in nanoseconds from the beginning.
    mutating func played(_ written: Int64) -> Int64 {
        guard let latest else {
            latest = written
            return 0
        }
        let step = written - latest
        // The frames of several tracks lie only roughly in order.
        if step < 0, step > -Self.longestStep { return max(0, reached + step) }
        // Further back: the file begins anew, as two that were put together.
        self.latest = written
        if step > 0 { reached += min(step, Self.longestStep) }
        return reached
    }
}
