internal import CALSA
internal import Glibc
internal import Locking
public import Media

/// A loudspeaker, by ALSA.
///
/// Any number of inputs, one for each participant of a call, are mixed.
///
/// On its way sound waits 40 ms, at most 200, in the input's buffer, and 40 ms in the card's, or more if this machine is
/// often late. What is written to the card is told to ``PlayedSound``, so that microphones lose its echo.
public final class ALSASpeaker: FailingDevice {
    /// ALSA's name of the device.
    public let name: String
    /// Samples a second and channel.
    public let sampleRate: Int
    /// Channels.
    public let channelCount: Int

    private let shared: Shared
    private let thread = Mutex<DeviceThread?>(nil)
    private let failures = FailureHandlers()

    /// What has happened since the loudspeaker was made.
    public struct Statistics: Hashable, Sendable {
        /// How often the card ran dry because it was not written in time.
        public var deviceUnderruns = 0
        /// How often an input ran dry.
        public var inputUnderruns = 0
        /// Samples in each channel that were dropped because they came faster than they were played.
        public var samplesDropped = 0
    }

    /// Between the inputs' threads and the device's.
    fileprivate final class Shared: Sendable {
        let mixer: Mutex<SoundMixer>
        let deviceUnderruns = Atomic<Int>(0)
        let played: PlayedSound
        init(_ mixer: SoundMixer, _ played: PlayedSound) {
            self.mixer = Mutex(mixer)
            self.played = played
        }
    }

    /// What waits in the card at first, in milliseconds.
    ///
    /// Every underrun adds 10, up to the card's buffer.
    private static let queueMilliseconds = 40
    private static let bufferMilliseconds = 160
    private static let closeLimit = 3_000

    /// Opens a device, makes sure that it can be had, and closes it again.
    ///
    /// - Parameters:
    ///   - name: ALSA's name of it.
    ///   - played: is told what is played.
    /// - Throws: `MediaError` that says what to do: `.notFound`, `.busy`, `.notPermitted`, `.notUsable`.
    public init(name: String = "default", played: PlayedSound = .shared) throws(MediaError) {
        let device = try Self.open(name)
        self.name = name
        sampleRate = device.sampleRate
        channelCount = device.channelCount
        shared = Shared(SoundMixer(sampleRate: device.sampleRate, channelCount: device.channelCount), played)
    }

    deinit { thread.withLock { $0?.stop() } }

    private static func open(_ name: String) throws(MediaError) -> PCMDevice {
        try PCMDevice(name: name, direction: .playback, channelCount: 2, bufferMilliseconds: bufferMilliseconds)
    }

    /// What has happened so far.
    public var statistics: Statistics {
        let mixed = shared.mixer.withLock { $0.statistics }
        return Statistics(
            deviceUnderruns: shared.deviceUnderruns.load(ordering: .relaxed),
            inputUnderruns: mixed.underruns,
            samplesDropped: mixed.samplesDropped
        )
    }

    /// From the arrival of sound, as its frames tell, until it is written.
    package var playoutDelays: DelayHistogram { shared.mixer.withLock { $0.statistics.delays } }

    /// Calls `handler` when the loudspeaker ends by itself, as when it is unplugged.
    public func addFailureHandler(_ handler: @escaping @Sendable (MediaError) -> Void) { failures.add(handler) }

    /// A place to put sound, which is mixed with that of the others until the input is released.
    public func makeInput() -> SpeakerInput { SpeakerInput(shared) }

    /// Opens the device and plays what the inputs get, or silence.
    public func start() throws(MediaError) {
        let old = thread.withLock { $0 }
        old?.stop()
        old?.waitForEnd(milliseconds: Self.closeLimit)
        let device = try Self.open(name)
        guard device.sampleRate == sampleRate, device.channelCount == channelCount else {
            throw MediaError(.notUsable, name, "the loudspeaker has changed its format: open it again")
        }
        let handover = Handover(device)
        let new = try DeviceThread(subject: name)
        thread.withLock { $0 = new }
        let (shared, failures) = (shared, failures)
        try new.run(name: "loudspeaker", subject: name) {
            guard let device = handover.take() else { return }
            _ = unsafe calsa_silence_thread()
            let speaker = shared.played.begin()
            defer { shared.played.end(speaker) }
            do throws(MediaError) {
                try Self.write(device, on: new, from: shared, as: speaker)
            } catch {
                if !new.isStopped { failures.tell(error) }
            }
        }
    }

    /// Stops and waits until the device is closed, or for 3 s.
    public func stop() {
        let old = thread.withLock { $0 }
        old?.stop()
        old?.waitForEnd(milliseconds: Self.closeLimit)
    }

    /// Writes until the thread is stopped.
    private static func write(
        _ device: PCMDevice,
        on thread: DeviceThread,
        from shared: Shared,
        as speaker: PlayedSound.Speaker
    ) throws(MediaError) {
        let block = device.sampleRate / 100
        // What is kept waiting in the card: less than its buffer, and enough for its periods.
        var queue = min(
            device.bufferSamples,
            max(device.sampleRate * queueMilliseconds / 1_000, 2 * device.periodSamples + block)
        )
        try device.setWake(device.bufferSamples - queue + block)
        try fill(device, queue, shared, speaker)
        var pace = SoundPace(sampleRate: device.sampleRate, startNanoseconds: ScheduledThread.now())
        var pending: [Int16] = []
        var pendingOffset = 0
        while !thread.isStopped {
            _ = device.wait(thread, milliseconds: 100)
            if thread.isStopped { return }
            let available = device.available()
            guard available >= 0 else {
                try restart(device, available, on: thread, queue: &queue, shared, speaker)
                continue
            }
            var room = available - (device.bufferSamples - queue)
            // The room of a card that is gone stays as it was, and is no error.
            if room < block { try device.checkPresence() }
            // Not every plug-in waits until there is room.
            if room < block { thread.pause(milliseconds: max(1, (block - room) * 1_000 / device.sampleRate)) }
            while room >= block || pendingOffset * device.channelCount < pending.count {
                if pendingOffset * device.channelCount >= pending.count {
                    pending = shared.mixer.withLock { $0.mix(block, at: ScheduledThread.now()) }
                    pendingOffset = 0
                    tell(shared.played, pending, device, speaker)
                }
                let left = pending.count / device.channelCount - pendingOffset
                let written = device.write(pending, from: pendingOffset, count: left)
                guard written > 0 else {
                    if written < 0 { try restart(device, written, on: thread, queue: &queue, shared, speaker) }
                    break
                }
                pendingOffset += written
                room -= written
                let early = pace.advance(written, nowNanoseconds: ScheduledThread.now())
                if early > 0 { thread.pause(milliseconds: early) }
                if thread.isStopped { return }
            }
        }
    }

    /// What is about to be written will be heard after what waits in the card.
    private static func tell(
        _ played: PlayedSound,
        _ samples: [Int16],
        _ device: PCMDevice,
        _ speaker: PlayedSound.Speaker
    ) {
        let wait = Int64(device.delay()) * 1_000_000_000 / Int64(device.sampleRate)
        played.put(
            samples,
            sampleRate: device.sampleRate,
            channelCount: device.channelCount,
            heard: ScheduledThread.now() + wait,
            by: speaker
        )
    }

    /// Silence for what shall wait in the card, then the clock starts.
    private static func fill(
        _ device: PCMDevice,
        _ queue: Int,
        _ shared: Shared,
        _ speaker: PlayedSound.Speaker
    ) throws(MediaError) {
        let silence = [Int16](repeating: 0, count: queue * device.channelCount)
        tell(shared.played, silence, device, speaker)
        var written = 0
        while written < queue {
            let count = device.write(silence, from: written, count: queue - written)
            guard count > 0 else { break }
            written += count
        }
        try device.start()
    }

    private static func restart(
        _ device: PCMDevice,
        _ status: Int,
        on thread: DeviceThread,
        queue: inout Int,
        _ shared: Shared,
        _ speaker: PlayedSound.Speaker
    ) throws(MediaError) {
        guard case .prepared = try device.recover(status, on: thread) else {
            thread.pause(milliseconds: 2)
            return
        }
        shared.deviceUnderruns.wrappingAdd(1, ordering: .relaxed)
        queue = min(device.bufferSamples, queue + device.sampleRate / 100)
        try fill(device, queue, shared, speaker)
    }
}

/// One participant's sound on its way to a loudspeaker.
///
/// What it holds is bounded in time: the oldest goes first.
public final class SpeakerInput: AudioSink {
    private let shared: ALSASpeaker.Shared
    private let key: Int?

    fileprivate init(_ shared: ALSASpeaker.Shared) {
        self.shared = shared
        key = shared.mixer.withLock { $0.addInput() }
    }

    deinit {
        guard let key else { return }
        shared.mixer.withLock { $0.removeInput(key) }
    }

    /// Queues a block; any rate, one channel or two.
    public func take(_ frame: AudioFrame) {
        guard let key else { return }
        shared.mixer.withLock { $0.put(frame, into: key) }
    }
}
