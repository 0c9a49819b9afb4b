internal import CALSA
internal import Glibc
internal import Locking
public import Media

/// Sound of a microphone, by ALSA, in blocks of 10 ms at 48 kHz or, if the card has another, at its own rate.
///
/// The device is open only between `start` and `stop`.
public final class ALSAMicrophone: AudioSource, FailingDevice {
    /// ALSA's name of the device.
    public let name: String
    /// ALSA's name of the device.
    public var label: String { name }
    /// Samples a second and channel.
    public let sampleRate: Int
    /// Channels, 1 or 2.
    public let channelCount: Int

    private let wantedChannels: Int
    private let thread = Mutex<DeviceThread?>(nil)
    private let failures = FailureHandlers()
    private let counts = Counts()

    /// What has happened since the microphone was made.
    public struct Statistics: Hashable, Sendable {
        /// Blocks that were delivered.
        public var blocksDelivered = 0
        /// How often sound was lost because it was not read in time.
        public var overruns = 0
    }

    /// Shared with the thread, which must not keep the microphone alive.
    private final class Counts: Sendable {
        let statistics = Mutex(Statistics())
    }

    /// The device's buffer: it adds no latency, and outlasts a thread that is not scheduled.
    private static let bufferMilliseconds = 200
    /// Longest time without any sound, in milliseconds, until the device is given up.
    private static let silenceLimit = 10_000
    private static let closeLimit = 3_000

    /// Opens a device, makes sure that it can be had, and closes it again.
    ///
    /// - Parameters:
    ///   - name: ALSA's name of it.
    ///   - channelCount: wanted, 1 or 2.
    /// - Throws: `MediaError` that says what to do: `.notFound`, `.busy`, `.notPermitted`, `.notUsable`.
    public init(name: String = "default", channelCount: Int = 1) throws(MediaError) {
        wantedChannels = min(max(channelCount, 1), 2)
        let device = try Self.open(name, channelCount: wantedChannels)
        self.name = name
        sampleRate = device.sampleRate
        self.channelCount = device.channelCount > 2 ? 1 : device.channelCount
    }

    deinit { thread.withLock { $0?.stop() } }

    private static func open(_ name: String, channelCount: Int) throws(MediaError) -> PCMDevice {
        try PCMDevice(
            name: name,
            direction: .capture,
            channelCount: channelCount,
            bufferMilliseconds: bufferMilliseconds
        )
    }

    /// What has happened so far.
    public var statistics: Statistics { counts.statistics.withLock { $0 } }

    /// Calls `handler` when the microphone ends by itself, as when it is unplugged.
    public func addFailureHandler(_ handler: @escaping @Sendable (MediaError) -> Void) { failures.add(handler) }

    /// Opens the device and reads.
    public func start(deliver: @escaping @Sendable (AudioFrame) -> Void) throws {
        let old = thread.withLock { $0 }
        old?.stop()
        old?.waitForEnd(milliseconds: Self.closeLimit)
        let device = try Self.open(name, channelCount: wantedChannels)
        try device.setWake(device.sampleRate / 100)
        try device.start()
        let handover = Handover(device)
        let new = try DeviceThread(subject: name)
        thread.withLock { $0 = new }
        let (counts, failures) = (counts, failures)
        try new.run(name: "microphone", subject: name) {
            guard let device = handover.take() else { return }
            _ = unsafe calsa_silence_thread()
            do throws(MediaError) {
                try Self.read(device, on: new, counts: counts) { block in new.deliver { deliver(block) } }
            } catch {
                if !new.isStopped { failures.tell(error) }
            }
        }
    }

    /// Stops.
    public func stop() {
        let old = thread.withLock { $0 }
        old?.stop()
    }

    /// Reads blocks until the thread is stopped.
    private static func read(
        _ device: PCMDevice,
        on thread: DeviceThread,
        counts: Counts,
        take: (AudioFrame) -> Void
    ) throws(MediaError) {
        let (rate, channels) = (device.sampleRate, device.channelCount)
        let blockSamples = rate / 100
        var samples = [Int16](repeating: 0, count: blockSamples * channels)
        var block: [Int16] = []
        var blockStart: Int64 = 0
        var lastTimestamp: Int64 = 0
        var lastSound = ScheduledThread.now()
        var hasClock = false
        var pace = SoundPace(sampleRate: rate, startNanoseconds: lastSound)
        while !thread.isStopped {
            let missing = blockSamples - block.count / channels
            // Asked first: some plug-ins wake a waiter once for all that has come.
            var available = device.available()
            if available >= 0, available < missing {
                let isReady = device.wait(thread, milliseconds: 1_000)
                if thread.isStopped { return }
                available = isReady ? device.available() : 0
            }
            if available == 0 {
                guard ScheduledThread.now() - lastSound < Int64(silenceLimit) * 1_000_000 else {
                    throw MediaError(
                        .notUsable,
                        device.name,
                        "the microphone has given no sound for \(silenceLimit / 1_000) s: plug it in again"
                    )
                }
                continue
            }
            // A shared device goes on when its buffer is full, and gives torn sound. One that is always full has no clock.
            if available < device.bufferSamples { hasClock = true } else if hasClock { available = -Int(EPIPE) }
            guard available > 0 else {
                try restart(device, available, on: thread, counts: counts)
                block = []
                continue
            }
            let now = ScheduledThread.now()
            // A sound server's own buffer lies behind what can be read.
            let behind = block.isEmpty ? max(available, device.delay()) : 0
            let count = device.read(into: &samples, limit: missing)
            guard count >= 0 else {
                try restart(device, count, on: thread, counts: counts)
                block = []
                continue
            }
            if count > 0 { lastSound = now } else { thread.pause(milliseconds: 1) }
            if block.isEmpty { blockStart = now - Int64(behind) * 1_000_000_000 / Int64(rate) }
            block += samples[..<(count * channels)]
            if block.count >= blockSamples * channels {
                lastTimestamp = max(blockStart, lastTimestamp + 1)
                let frame = AudioFrame(
                    samples: block,
                    sampleRate: rate,
                    channelCount: channels,
                    timestampNanoseconds: lastTimestamp
                )
                block = []
                block.reserveCapacity(blockSamples * channels)
                counts.statistics.withLock { $0.blocksDelivered += 1 }
                take(channels > 2 ? frame.withChannels(1) : frame)
            }
            let early = pace.advance(count, nowNanoseconds: now)
            if early > 0 { thread.pause(milliseconds: early) }
        }
    }

    /// Goes on after an overrun or the machine's sleep.
    private static func restart(
        _ device: PCMDevice,
        _ status: Int,
        on thread: DeviceThread,
        counts: Counts
    ) throws(MediaError) {
        guard case .prepared = try device.recover(status, on: thread) else {
            // Ready and yet nothing to read: some plug-ins do that for a moment.
            thread.pause(milliseconds: 1)
            return
        }
        counts.statistics.withLock { $0.overruns += 1 }
        try device.start()
    }
}
