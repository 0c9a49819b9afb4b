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
    private var start: Int64?
    private var isStarting = true

    static let patience: Int64 = 500_000_000
    static let startPatience: Int64 = 3_000_000_000
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
        clock.note(stamp, track: track)
        if start == nil { start = stamp.arrival }
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
            let isOver = now - (start ?? now) >= Self.startPatience || waitingByteCount > Self.byteLimit
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
            let time = clock.time(ofTicks: frame.ticks, track: track)
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
}
