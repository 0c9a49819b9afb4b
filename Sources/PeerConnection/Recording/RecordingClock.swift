/// Places the frames of one peer's tracks on one line of time: by their RTP timestamps, which neither jitter nor drift
/// against each other once sender reports have come, and by their arrival before.
///
/// Sound leads, since a shift in it is heard; pictures follow. A correction never leads backwards: where pictures were
/// placed too late, they crowd until they are in step.
struct RecordingClock {
    /// What is known of a frame.
    struct Stamp: Hashable, Sendable {
        var ssrc: UInt32
        var rtpTimestamp: UInt32
        var clockRate: Int
        /// When its first packet came, in nanoseconds.
        var arrival: Int64
        var senderClock: RTCEncodedFrame.SenderClock?
    }

    private struct Track {
        let isSound: Bool
        var ssrc: UInt32 = 0
        var clockRate: Int64 = 1
        /// The last frame's timestamp, and its unwrapped value.
        var lastRaw: UInt32 = 0
        var lastTicks: Int64 = 0
        var lastArrival: Int64 = 0
        /// Where tick 0 lies in the recording.
        var base: Int64 = 0
        var lastTime: Int64 = -RecordingClock.step
        var hasBegun = false
        /// The sender's clock at tick 0, as each of the last reports had it.
        var clocks: [Int64] = []
        var lastReport: RTCEncodedFrame.SenderClock?

        /// The sender's clock at tick 0: the one in the middle, so that a report which was made late moves nothing.
        var clock: Int64? { clocks.isEmpty ? nil : clocks.sorted()[clocks.count / 2] }

        func ticks(of raw: UInt32) -> Int64 { lastTicks &+ Int64(Int32(bitPattern: raw &- lastRaw)) }

        func nanoseconds(_ ticks: Int64) -> Int64 {
            let (seconds, rest) = ticks.quotientAndRemainder(dividingBy: clockRate)
            return seconds &* 1_000_000_000 &+ rest &* 1_000_000_000 / clockRate
        }
    }

    private var tracks: [Int: Track] = [:]
    /// Arrival of the first frame of all: the recording's beginning.
    private var origin: Int64?
    /// Whose clock the others follow.
    private var reference: Int?

    /// A difference between timestamps and arrival beyond it means that the sender began anew.
    private static let jumpLimit: Int64 = 5_000_000_000
    /// Reports that would shift a track by more do not belong to one clock.
    private static let shiftLimit: Int64 = 10_000_000_000
    /// The longest pause that a new source leaves in the recording: a day.
    private static let longestSilence: Int64 = 86_400_000_000_000
    /// Reports of which the middle one counts.
    private static let reportCount = 5
    /// Least distance between two frames of one track.
    private static let step: Int64 = 1_000_000

    /// Adds a track.
    mutating func addTrack(_ key: Int, isSound: Bool) { tracks[key] = Track(isSound: isSound) }

    /// Forgets a track.
    mutating func removeTrack(_ key: Int) {
        tracks[key] = nil
        if reference == key { reference = nil }
    }

    /// Whether the track's place is known from a sender report.
    func hasReport(_ key: Int) -> Bool { tracks[key]?.clocks.isEmpty == false }

    /// Takes in what a frame tells of its sender's clock, as it arrives and before it is placed.
    mutating func note(_ stamp: Stamp, track key: Int) {
        guard var track = tracks[key], stamp.clockRate > 0 else { return }
        if origin == nil { origin = stamp.arrival }
        if !track.hasBegun {
            track.clockRate = Int64(stamp.clockRate)
            track.lastRaw = stamp.rtpTimestamp
            track.base = stamp.arrival - (origin ?? 0)
            track.hasBegun = true
        } else if track.ssrc != stamp.ssrc || isJump(stamp, in: track) {
            // Another line of timestamps: it goes on where the arrival puts it.
            let elapsed = min(max(stamp.arrival &- track.lastArrival, Self.step), Self.longestSilence)
            track.lastTicks = track.lastTicks &+ elapsed / 1_000 * track.clockRate / 1_000_000
            track.lastRaw = stamp.rtpTimestamp
            track.clocks = []
            track.lastReport = nil
        }
        track.ssrc = stamp.ssrc
        let ticks = track.ticks(of: stamp.rtpTimestamp)
        track.lastRaw = stamp.rtpTimestamp
        track.lastTicks = ticks
        track.lastArrival = stamp.arrival
        if let report = stamp.senderClock, report != track.lastReport {
            track.lastReport = report
            let atZero =
                Self.nanoseconds(ntp: report.ntpTimestamp) &- track.nanoseconds(track.ticks(of: report.rtpTimestamp))
            track.clocks = track.clocks.suffix(Self.reportCount - 1) + [atZero]
        }
        tracks[key] = track
        chooseReference()
    }

    /// The time of a frame that was noted, in nanoseconds from the beginning; nothing changes by asking.
    ///
    /// - Parameters:
    ///   - ticks: what ``ticks(of:track:)`` gave when it was noted.
    ///   - key: its track.
    /// - Returns: a time after all that were placed.
    func time(ofTicks ticks: Int64, track key: Int) -> Int64 {
        guard let track = tracks[key] else { return 0 }
        let own = track.base &+ track.nanoseconds(ticks)
        return max(own &+ correction(of: track, key), track.lastTime + Self.step)
    }

    /// Fixes a frame's time: no later frame of the track comes before it.
    mutating func place(_ time: Int64, track key: Int) {
        guard var track = tracks[key] else { return }
        // What reports have taught stays when they fail to come.
        track.base = track.base &+ correction(of: track, key)
        track.lastTime = time
        tracks[key] = track
    }

    /// What must be added to a track's times for it to be in step with the reference.
    private func correction(of track: Track, _ key: Int) -> Int64 {
        guard let reference, key != reference, let leader = tracks[reference], let theirs = leader.clock,
            let ours = track.clock
        else { return 0 }
        // Tick 0 of the leader lies at its base; the track's lies as much later as the sender's clock was.
        let correction = leader.base &+ (ours &- theirs) &- track.base
        return correction.magnitude <= UInt64(Self.shiftLimit) ? correction : 0
    }

    /// The unwrapped timestamp of the frame that was noted last.
    func lastTicks(track key: Int) -> Int64 { tracks[key]?.lastTicks ?? 0 }

    private func isJump(_ stamp: Stamp, in track: Track) -> Bool {
        let elapsed = track.nanoseconds(track.ticks(of: stamp.rtpTimestamp) &- track.lastTicks)
        return (elapsed &- (stamp.arrival &- track.lastArrival)).magnitude > UInt64(Self.jumpLimit)
    }

    /// The first track of sound, else the first that there is; it stays while it has reports.
    private mutating func chooseReference() {
        if let reference, let track = tracks[reference], track.isSound { return }
        let begun = tracks.filter(\.value.hasBegun)
        reference = begun.filter(\.value.isSound).keys.min() ?? reference ?? begun.keys.min()
    }

    private static func nanoseconds(ntp: UInt64) -> Int64 {
        // 32 bits of seconds fit into nanoseconds of 63 bits.
        Int64(ntp >> 32) * 1_000_000_000 + Int64(((ntp & 0xFFFF_FFFF) * 1_000_000_000) >> 32)
    }
}
