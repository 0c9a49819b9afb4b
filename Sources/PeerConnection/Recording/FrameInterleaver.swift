/// Puts the frames of several tracks into one order by time.
///
/// A frame waits until every other track has shown one that is not earlier, but no longer than ``patience``. At the
/// beginning all wait for the sender's reports, ``startPatience`` at most, so that sound and pictures are in step from
/// the first frame on.
struct FrameInterleaver {
    /// A frame whose time is fixed.
    struct Placed: Sendable {
        var track: Int
        var payload: [UInt8]
        var isKeyFrame: Bool
        /// From the recording's beginning.
        var nanoseconds: Int64
    }

    private struct Waiting {
        var payload: [UInt8]
        var isKeyFrame: Bool
        var ticks: Int64
        var arrival: Int64
        /// Fixed, since its line of timestamps has ended.
        var time: Int64?
    }

    private struct Queue {
        var frames: [Waiting] = []
        var head = 0
        var first: Waiting? { head < frames.count ? frames[head] : nil }

        mutating func removeFirst() {
            head += 1
            if head == frames.count || head > 256 {
                frames.removeFirst(head)
                head = 0
            }
        }
    }

    private var clock = RecordingClock()
    private var queues: [Int: Queue] = [:]
    private var waitingByteCount = 0
    private var isStarting = true
    /// For how long frames have been coming.
    private var waited: Int64 = 0
    private var lastNow: Int64?

    static let patience: Int64 = 2_000_000_000
    static let startPatience: Int64 = 3_000_000_000
    /// A pause of all tracks counts as no more of the patience: it is a stall, and reports come behind it.
    private static let stallShare: Int64 = 250_000_000
    /// More than this does not wait.
    static let byteLimit = 8 << 20

    mutating func addTrack(_ key: Int, isSound: Bool) {
        clock.addTrack(key, isSound: isSound)
        queues[key] = Queue()
    }

    /// Forgets a track and what of it waits.
    mutating func removeTrack(_ key: Int) {
        guard let queue = queues.removeValue(forKey: key) else { return }
        waitingByteCount -= queue.frames[queue.head...].reduce(0) { $0 + $1.payload.count }
        clock.removeTrack(key)
    }

    /// Takes in a frame; the times of its kind need not be told from one track to the other.
    mutating func add(_ payload: [UInt8], isKeyFrame: Bool, stamp: RecordingClock.Stamp, track: Int) {
        guard queues[track] != nil else { return }
        let beginsLine = clock.beginsLine(stamp, track: track)
        if beginsLine { fixTimes(track) }
        clock.note(stamp, beginsLine: beginsLine, track: track)
        queues[track]?.frames.append(
            Waiting(
                payload: payload,
                isKeyFrame: isKeyFrame,
                ticks: clock.lastTicks(track: track),
                arrival: stamp.arrival
            )
        )
        waitingByteCount += payload.count
    }

    /// The next frame in order, if it need not wait any longer.
    ///
    /// - Parameter now: nil at the end, when nothing waits.
    /// - Returns: nil if all must wait, or there is none.
    mutating func next(at now: Int64?) -> Placed? {
        if let now, isStarting {
            waited += min(max(now &- (lastNow ?? now), 0), Self.stallShare)
            lastNow = now
            let isOver = waited >= Self.startPatience || waitingByteCount > Self.byteLimit
            let isKnown = queues.allSatisfy { $0.value.first != nil && clock.hasReport($0.key) }
            guard isOver || isKnown || queues.count == 1 else { return nil }
        }
        var best: (track: Int, frame: Waiting, time: Int64)?
        var isAnyEmpty = false
        for (track, queue) in queues {
            guard let frame = queue.first else {
                isAnyEmpty = true
                continue
            }
            let time = time(of: frame, track)
            if let best, (best.time, best.track) <= (time, track) { continue }
            best = (track, frame, time)
        }
        guard let best else { return nil }
        isStarting = false
        if let now, isAnyEmpty, waitingByteCount <= Self.byteLimit, now - best.frame.arrival < Self.patience {
            return nil
        }
        queues[best.track]?.removeFirst()
        waitingByteCount -= best.frame.payload.count
        clock.place(best.time, track: best.track)
        return Placed(
            track: best.track,
            payload: best.frame.payload,
            isKeyFrame: best.frame.isKeyFrame,
            nanoseconds: max(0, best.time)
        )
    }

    private func time(of frame: Waiting, _ track: Int) -> Int64 {
        guard let time = frame.time else { return clock.time(ofTicks: frame.ticks, track: track) }
        return max(time, clock.earliestTime(track: track))
    }

    /// Gives all that waits of a track its time, as long as the clock still speaks of its timestamps.
    private mutating func fixTimes(_ track: Int) {
        guard var queue = queues[track] else { return }
        var earliest = Int64.min
        for index in queue.frames.indices.dropFirst(queue.head) {
            let time = max(time(of: queue.frames[index], track), earliest)
            queue.frames[index].time = time
            earliest = time + RecordingClock.step
        }
        queues[track] = queue
    }
}
