/// Places the frames of one peer's tracks on one line of time.
///
/// By their RTP timestamps, which neither jitter nor drift against each other once sender reports have come, and by
/// their arrival before. What arrives late, as after a stall of
/// the network or of this machine, keeps the place that its timestamp gives it.
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
        /// The least time between a frame's timestamp and its arrival, on a scale of the track's own.
        var transitFloor: Int64 = 0
        /// Since when frames have been far behind that, and how far.
        var late: (since: Int64, by: Int64)?
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

        func transit(of ticks: Int64, arrival: Int64) -> Int64 { arrival &- nanoseconds(ticks) }
    }

    private var tracks: [Int: Track] = [:]
    /// Arrival of the first frame of all: the recording's beginning.
    private var origin: Int64?
    /// Whose clock the others follow.
    private var reference: Int?

    /// Timestamps that run ahead of arrival by more, or back, mean that the sender began anew.
    private static let jumpLimit: Int64 = 5_000_000_000
    /// What is behind by more than ``jumpLimit`` and does not catch up for so long is late no more: the sender paused,
    /// and its timestamps with it.
    private static let lateness: Int64 = 2_000_000_000
    /// Faster than any two clocks drift apart: a thousandth.
    private static let driftDivisor: Int64 = 1_000
    /// Reports that would shift a track by more do not belong to one clock.
    private static let shiftLimit: Int64 = 30_000_000_000
    /// The longest pause that a new source leaves in the recording: a day.
    private static let longestSilence: Int64 = 86_400_000_000_000
    /// Reports of which the middle one counts.
    private static let reportCount = 5
    /// Least distance between two frames of one track.
    static let step: Int64 = 1_000_000

    /// Adds a track.
    mutating func addTrack(_ key: Int, isSound: Bool) { tracks[key] = Track(isSound: isSound) }

    /// Forgets a track.
    mutating func removeTrack(_ key: Int) {
        tracks[key] = nil
        if reference == key { reference = nil }
    }

    /// Whether the track's place is known from a sender report.
    func hasReport(_ key: Int) -> Bool { tracks[key]?.clocks.isEmpty == false }

    /// Whether a frame's timestamps have nothing to do with those before: to be asked once for each, before ``note``.
    mutating func beginsLine(_ stamp: Stamp, track key: Int) -> Bool {
        guard let track = tracks[key], track.hasBegun else { return false }
        return track.ssrc != stamp.ssrc || isJump(stamp, key)
    }

    /// Takes in what a frame tells of its sender's clock, as it arrives and before it is placed.
    ///
    /// - Parameters:
    ///   - stamp: of the frame.
    ///   - beginsLine: as ``beginsLine(_:track:)`` said: it goes on where the arrival puts it. Frames of the track that
    ///     are not placed yet must have got their times before.
    ///   - key: its track.
    mutating func note(_ stamp: Stamp, beginsLine: Bool, track key: Int) {
        guard var track = tracks[key], stamp.clockRate > 0 else { return }
        if origin == nil { origin = stamp.arrival }
        if !track.hasBegun {
            track.clockRate = Int64(stamp.clockRate)
            track.lastRaw = stamp.rtpTimestamp
            track.base = stamp.arrival - (origin ?? 0)
            track.transitFloor = stamp.arrival
            track.hasBegun = true
        } else if beginsLine {
            var elapsed = max(stamp.arrival &- track.lastArrival, Self.step)
            // One that stopped to be late is where it would have been without the pause.
            if let late = track.late { elapsed = elapsed &+ late.by }
            elapsed = min(elapsed, Self.longestSilence)
            track.lastTicks = track.lastTicks &+ elapsed / 1_000 * track.clockRate / 1_000_000
            track.lastRaw = stamp.rtpTimestamp
            track.clocks = []
            track.lastReport = nil
            track.late = nil
        }
        track.ssrc = stamp.ssrc
        let ticks = track.ticks(of: stamp.rtpTimestamp)
        track.lastRaw = stamp.rtpTimestamp
        track.lastTicks = ticks
        let drift = max(stamp.arrival &- track.lastArrival, 0) / Self.driftDivisor
        track.transitFloor = min(track.transitFloor &+ drift, track.transit(of: ticks, arrival: stamp.arrival))
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
    ///   - ticks: what ``lastTicks(track:)`` gave when it was noted.
    ///   - key: its track.
    /// - Returns: a time after all that were placed.
    func time(ofTicks ticks: Int64, track key: Int) -> Int64 {
        guard let track = tracks[key] else { return 0 }
        let own = track.base &+ track.nanoseconds(ticks)
        return max(own &+ correction(of: track, key), earliestTime(track: key))
    }

    /// The earliest time that a frame of a track may still get.
    func earliestTime(track key: Int) -> Int64 { (tracks[key]?.lastTime ?? -Self.step) + Self.step }

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
        guard let reference, let leader = tracks[reference], let theirs = leader.clock else { return 0 }
        let leaderBase = leader.base &+ startCorrection(of: leader, clock: theirs)
        if key == reference { return leaderBase &- leader.base }
        guard let ours = track.clock else { return 0 }
        // Tick 0 of the leader lies at its base; the track's lies as much later as the sender's clock was.
        return Self.limited(leaderBase &+ (ours &- theirs) &- track.base)
    }

    /// A leader of which nothing is placed yet goes by the track that came with the least delay.
    private func startCorrection(of leader: Track, clock theirs: Int64) -> Int64 {
        guard leader.lastTime < 0 else { return 0 }
        let corrections = tracks.values.compactMap { track -> Int64? in
            guard let ours = track.clock else { return nil }
            return Self.limited(track.base &+ (theirs &- ours) &- leader.base)
        }
        return min(0, corrections.min() ?? 0)
    }

    private static func limited(_ correction: Int64) -> Int64 {
        correction.magnitude <= UInt64(shiftLimit) ? correction : 0
    }

    /// The unwrapped timestamp of the frame that was noted last.
    func lastTicks(track key: Int) -> Int64 { tracks[key]?.lastTicks ?? 0 }

    private mutating func isJump(_ stamp: Stamp, _ key: Int) -> Bool {
        guard let track = tracks[key] else { return false }
        let ticks = track.ticks(of: stamp.rtpTimestamp)
        guard track.nanoseconds(ticks &- track.lastTicks) >= -Self.jumpLimit else { return forgetLateness(key) }
        let behind = track.transit(of: ticks, arrival: stamp.arrival) &- track.transitFloor
        guard behind >= -Self.jumpLimit else { return forgetLateness(key) }
        guard behind > Self.jumpLimit else {
            tracks[key]?.late = nil
            return false
        }
        // A stall, of which the rest comes faster than it was made; or a pause.
        guard let late = track.late, behind > late.by - Self.lateness / 2 else {
            tracks[key]?.late = (stamp.arrival, behind)
            return false
        }
        return stamp.arrival - late.since > Self.lateness
    }

    /// - Returns: true: what begins anew is not late.
    private mutating func forgetLateness(_ key: Int) -> Bool {
        tracks[key]?.late = nil
        return true
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
