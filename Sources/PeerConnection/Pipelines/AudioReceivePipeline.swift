internal import Capture
internal import Locking
internal import Media
internal import RTP
internal import SansIO

/// Received blocks of sound, decoded on a thread of its own, on to the track; comfort noise in the peer's pauses.
final class AudioReceivePipeline: ReceivePipeline {
    private enum Job: Sendable {
        case frame(ReceivedFrame)
        /// 20 ms are over in which the peer may have sent nothing; the time is that of the monotonic clock.
        case silence(nanoseconds: Int64)
    }

    private let worker: WorkerThread<Job>
    private let pause: PauseClock
    let receiver: RTCRtpReceiver
    private let counter: Counter
    private let meter: SoundMeter

    private final class Counter: Sendable {
        let decoded = Atomic<Int>(0)
    }

    init(receiver: RTCRtpReceiver) {
        self.receiver = receiver
        let counter = Counter()
        self.counter = counter
        let meter = SoundMeter()
        self.meter = meter
        let track = receiver.track
        // Touched only by the worker's thread, one job after another.
        nonisolated(unsafe) let decoding = AudioDecoding()
        let pause = PauseClock()
        self.pause = pause
        worker = WorkerThread(name: "audio decoder", limit: 100) { job in
            guard track.hasTakers else { return pause.set(false) }
            let blocks: [AudioFrame]
            switch job {
            case .frame(let frame):
                blocks = unsafe decoding.decode(frame)
                counter.decoded.wrappingAdd(1, ordering: .relaxed)
            case .silence(let nanoseconds): blocks = unsafe decoding.silence(at: nanoseconds)
            }
            for block in blocks {
                meter.note(block)
                track.deliver(block)
            }
            pause.set(unsafe decoding.needsClock)
        }
        pause.tick = { [weak worker] time in worker?.submit(.silence(nanoseconds: time)) }
    }

    func receive(_ frame: ReceivedFrame) {
        receiver.deliver(RTCEncodedFrame(frame))
        worker.submit(.frame(frame))
    }

    func fill(_ entry: inout RTCStatsReport.InboundRTP) {
        entry.framesDecoded = counter.decoded.load(ordering: .relaxed)
        let reading = meter.reading
        entry.audioLevel = reading.level
        entry.totalAudioEnergy = reading.energy
        entry.totalSamplesDuration = reading.duration
    }

    func stop() {
        pause.stop()
        worker.stop()
    }
}

/// Tells every 20 ms that they are over, while the peer may be in a pause.
private final class PauseClock: Sendable {
    private struct State {
        var thread: ScheduledThread?
        var isStopped = false
        var tick: (@Sendable (Int64) -> Void)?
    }
    private let state = Mutex(State())

    /// Called on a thread of its own.
    var tick: (@Sendable (Int64) -> Void)? {
        get { state.withLock { $0.tick } }
        set { state.withLock { $0.tick = newValue } }
    }

    /// Runs, or not; called by the decoder's thread, and at the end.
    func set(_ isOn: Bool) {
        let old = state.withLock { state -> ScheduledThread? in
            if isOn, state.thread == nil, !state.isStopped {
                let tick = state.tick
                // Where no thread can be had the pause is silent; the next packet of it tries again.
                state.thread = try? ScheduledThread(
                    name: "audio pause",
                    subject: "comfort noise",
                    intervalNanoseconds: 20_000_000
                ) { index, time in
                    // The first is due at once: the packet that began the pause has filled that.
                    if index > 0 { tick?(time) }
                    return true
                }
            }
            guard !isOn else { return nil }
            return state.thread.take()
        }
        old?.stop()
    }

    func stop() {
        state.withLock { $0.isStopped = true }
        set(false)
    }
}
