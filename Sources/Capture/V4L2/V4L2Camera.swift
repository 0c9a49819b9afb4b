// For `pollfd`, which ALSA's header brings in: the compiler takes it for ALSA's.
internal import CALSA
internal import Glibc
internal import Locking
public import Media

/// Pictures of a camera, by V4L2.
///
/// The device is open, and its lamp on, only between `start` and `stop`.
public final class V4L2Camera: VideoSource, FailingDevice {
    /// Its device node, as `/dev/video0`.
    public let path: String
    /// What its driver calls it.
    public let label: String
    /// Format, size and rate that were chosen.
    public let mode: CameraMode
    /// The chosen rate; nil if the camera does not tell.
    public let interval: FrameInterval?
    /// What its own encoder gives in the place of ``mode``: of each codec the mode nearest to it.
    public let encodedModes: [CameraEncodedMode]
    /// Whether its encoder makes a key frame when it is asked to; else it is stopped and started for one.
    public let forcesKeyFrames: Bool
    /// The bits a second that its encoder can be told to make; nil if it decides that by itself.
    public let encoderBitRates: ClosedRange<Int>?

    private let orders = CameraEncoderOrders()
    private let thread = Mutex<DeviceThread?>(nil)
    private let pool = VideoFramePool()
    private let failures = FailureHandlers()
    private let counts = Counts()

    /// What has come since the camera was made.
    public struct Statistics: Hashable, Sendable {
        /// Pictures that were delivered.
        public var framesDelivered = 0
        /// Pictures that were broken.
        public var framesDamaged = 0
        /// Pictures that the driver counted and we did not get in time.
        public var framesMissed = 0
        /// Of those delivered, key frames of the camera's encoder.
        public var keyFramesDelivered = 0
        /// How often its encoder was started anew for a key frame.
        public var encoderRestarts = 0
    }

    /// Longest time without any picture, in milliseconds, until the camera is given up.
    private static let silenceLimit = 10_000
    /// Broken pictures in a row until the camera is given up.
    private static let damageLimit = 300
    /// How long a stopped camera may take to close, in milliseconds, when it is started again.
    private static let closeLimit = 3_000

    /// Opens a camera, chooses what serves the wish best and makes sure that it can be had; then closes it again.
    ///
    /// - Throws: `MediaError` that says what to do: `.notFound`, `.busy`, `.notPermitted`, `.unplugged`, `.notUsable`.
    public convenience init(path: String, wish: CameraWish = CameraWish()) throws(MediaError) {
        let device = try V4L2Device(path)
        guard let mode = CameraMode.best(of: Camera.modes(of: device, wish: wish), for: wish) else {
            throw MediaError(.notUsable, path, "the camera has no picture format that can be read")
        }
        try self.init(device, mode: mode, interval: mode.interval(for: wish))
    }

    /// Opens a camera in one of its modes, makes sure that it can be had, and closes it again.
    ///
    /// - Throws: as ``init(path:wish:)``.
    package convenience init(path: String, mode: CameraMode, interval: FrameInterval?) throws(MediaError) {
        try self.init(try V4L2Device(path), mode: mode, interval: interval)
    }

    private init(_ device: V4L2Device, mode: CameraMode, interval wanted: FrameInterval?) throws(MediaError) {
        let stream = try V4L2Stream(device, mode: mode, interval: wanted)
        let wish = CameraWish(
            width: mode.width,
            height: mode.height,
            framesPerSecond: Int((stream.interval?.framesPerSecond ?? 30).rounded())
        )
        let encoded = Camera.encodedModes(of: device, wish: wish)
        encodedModes = VideoCodec.allCases.compactMap { CameraEncodedMode.best(of: encoded, in: $0, for: wish) }
        let controls = CameraEncoderControls(device)
        forcesKeyFrames = controls.forcesKeyFrames
        encoderBitRates = controls.bitRates
        guard case .picture(let layout) = stream.contents else {
            throw MediaError(.notUsable, device.path, "gives no pictures")
        }
        path = device.path
        label = device.name.isEmpty ? device.path : device.name
        interval = stream.interval
        self.mode = CameraMode(
            format: layout.format,
            width: layout.width,
            height: layout.height,
            intervals: mode.intervals
        )
    }

    deinit { thread.withLock { $0?.stop() } }

    /// What has come so far.
    public var statistics: Statistics { counts.statistics.withLock { $0 } }

    /// Calls `handler` when the camera ends by itself, as when it is unplugged.
    public func addFailureHandler(_ handler: @escaping @Sendable (MediaError) -> Void) { failures.add(handler) }

    /// Opens the camera and streams.
    public func start(deliver: @escaping @Sendable (VideoFrame) -> Void) throws {
        stopAndClose()
        let stream = try V4L2Stream(try V4L2Device(path), mode: mode, interval: interval)
        let (pool, counts) = (pool, counts)
        try run(stream) { stream, new throws(MediaError) in
            try Self.read(stream, on: new, pool: pool, counts: counts) { outcome in
                guard case .frame(let frame, _) = outcome else { return .skipped }
                new.deliver { deliver(frame) }
                return .delivered
            }
        }
    }

    private func stopAndClose() {
        let old = thread.withLock { $0 }
        old?.stop()
        old?.waitForEnd(milliseconds: Self.closeLimit)
    }

    /// Starts a stream and reads it on a thread of its own.
    private func run(
        _ stream: V4L2Stream,
        _ read: @escaping @Sendable (V4L2Stream, DeviceThread) throws(MediaError) -> Void
    ) throws(MediaError) {
        try stream.start()
        let handover = Handover(stream)
        let new = try DeviceThread(subject: path)
        thread.withLock { $0 = new }
        let failures = failures
        try new.run(name: "camera", subject: path) {
            guard let stream = handover.take() else { return }
            do throws(MediaError) {
                try read(stream, new)
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

    /// Returns when the device is closed after ``stop()``, or after 3 s.
    package func waitUntilClosed() {
        let old = thread.withLock { $0 }
        old?.waitForEnd(milliseconds: Self.closeLimit)
    }

    /// Shared with the thread, which must not keep the camera alive.
    private final class Counts: Sendable {
        let statistics = Mutex(Statistics())
    }

    /// What became of what the driver gave.
    private enum Reading { case delivered, skipped, damaged }

    /// Reads pictures until the thread is stopped.
    ///
    /// `take` gets each picture, and is called with nil after one that was broken, and at least once a second.
    private static func read(
        _ stream: V4L2Stream,
        on thread: DeviceThread,
        pool: VideoFramePool,
        counts: Counts,
        take: (V4L2Stream.Outcome?) throws(MediaError) -> Reading
    ) throws(MediaError) {
        var lastSequence: UInt32?
        var damagedInARow = 0
        var lastPicture = ScheduledThread.now()
        while !thread.isStopped {
            var entries = [
                pollfd(fd: thread.stopDescriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: stream.device.descriptor, events: Int16(POLLIN), revents: 0),
            ]
            let ready = unsafe poll(&entries, 2, 1_000)
            if thread.isStopped { return }
            if ready < 0 && errno != EINTR { throw stream.device.error(errno, "cannot wait for the camera") }
            if ScheduledThread.now() - lastPicture > Int64(silenceLimit) * 1_000_000 {
                if stream.device.isUnplugged { throw stream.device.error(ENODEV, "") }
                throw MediaError(
                    .notUsable,
                    stream.device.path,
                    "the camera has given no picture for \(silenceLimit / 1_000) s: open its shutter, or plug it in again"
                )
            }
            guard ready > 0, entries[1].revents != 0 else {
                _ = try take(nil)
                continue
            }
            let outcome = try stream.next(pool: pool)
            switch outcome {
            case .frame(_, let sequence), .encoded(_, _, let sequence):
                lastPicture = ScheduledThread.now()
                let reading = try take(outcome)
                if reading == .damaged {
                    try noteDamage(&damagedInARow, stream, counts)
                    continue
                }
                // Broken ones came, and are counted already.
                let missed = lastSequence.map { Int(sequence &- $0 &- 1) - damagedInARow } ?? 0
                damagedInARow = 0
                lastSequence = sequence
                counts.statistics.withLock { counts in
                    if reading == .delivered { counts.framesDelivered += 1 }
                    // A driver that counts backwards or leaps does not count.
                    if (0..<1_000).contains(missed) { counts.framesMissed += missed }
                }
            case .damaged:
                try noteDamage(&damagedInARow, stream, counts)
                _ = try take(nil)
            case .empty:
                // POLLERR with nothing to take would turn this into a busy loop.
                if entries[1].revents & Int16(POLLERR) != 0 {
                    if stream.device.isUnplugged { throw stream.device.error(ENODEV, "") }
                    thread.pause(milliseconds: 100)
                }
            }
        }
    }

    private static func noteDamage(
        _ damagedInARow: inout Int,
        _ stream: V4L2Stream,
        _ counts: Counts
    ) throws(MediaError) {
        damagedInARow += 1
        counts.statistics.withLock { $0.framesDamaged += 1 }
        guard damagedInARow < damageLimit else {
            throw MediaError(
                .notUsable,
                stream.device.path,
                "the camera gives broken pictures only: plug it in again"
            )
        }
    }
}

extension V4L2Camera: EncodedVideoSource {
    /// The codecs of the camera's own encoder; empty for most cameras.
    public var codecs: [VideoCodec] { encodedModes.map(\.codec) }

    /// Opens the camera and streams what its encoder makes, in the mode of ``encodedModes``.
    public func startEncoded(
        _ codec: VideoCodec,
        deliver: @escaping @Sendable (EncodedVideoFrame) -> Void
    ) throws {
        guard let mode = encodedModes.first(where: { $0.codec == codec }) else {
            throw MediaError(.notUsable, path, "the camera does not encode in \(codec.rawValue)")
        }
        stopAndClose()
        let wish = CameraWish(
            width: mode.width,
            height: mode.height,
            framesPerSecond: Int((interval?.framesPerSecond ?? 30).rounded())
        )
        let stream = try V4L2Stream(try V4L2Device(path), encoded: mode, interval: mode.interval(for: wish))
        guard case .encoded(let settled) = stream.contents else { return }
        let (pool, counts, orders) = (pool, counts, orders)
        try run(stream) { stream, new throws(MediaError) in
            var reader = EncodedReader(mode: settled, controls: CameraEncoderControls(stream.device), orders: orders)
            try Self.read(stream, on: new, pool: pool, counts: counts) { outcome throws(MediaError) in
                let pictures = reader.take(outcome, at: ScheduledThread.now(), stream.device)
                var reading = Reading.skipped
                switch pictures {
                case .frame(let frame):
                    reading = .delivered
                    if frame.isKeyFrame { counts.statistics.withLock { $0.keyFramesDelivered += 1 } }
                    new.deliver { deliver(frame) }
                case .damaged: reading = .damaged
                case .incomplete: break
                }
                if reader.mustRestart(at: ScheduledThread.now()) {
                    counts.statistics.withLock { $0.encoderRestarts += 1 }
                    stream.stop()
                    try stream.start()
                }
                return reading
            }
        }
    }

    /// Asks the camera's encoder for a key frame; a camera that cannot be asked is stopped and started for one, unless one
    /// comes within a second by itself.
    public func requestKeyFrame() { orders.requestKeyFrame() }

    /// Whether the camera's encoder can be told a rate.
    public var takesBitRate: Bool { encoderBitRates != nil }

    /// Tells the camera's encoder what rate to make, within ``encoderBitRates``; a camera without ignores it.
    public func setBitRate(_ bitsPerSecond: Int) { orders.setBitRate(bitsPerSecond) }
}

/// Reads a camera's encoder: what it gives, and what it is told between two pictures.
struct EncodedReader {
    private let controls: CameraEncoderControls
    private let orders: CameraEncoderOrders
    private var pictures: EncodedPictures
    /// Since when a key frame is awaited that cannot be forced.
    private var awaitedSince: Int64?
    private var restartedAt: Int64?
    private var rateSetAt: Int64?
    private var wantedRate: Int?
    private var wasAwaiting = true

    /// How long a key frame may take to come by itself, and between two new starts for one, in nanoseconds.
    static let patience: Int64 = 1_000_000_000
    static let restartInterval: Int64 = 3_000_000_000
    /// Between two changes of the rate, in nanoseconds: some encoders begin anew with each.
    static let rateInterval: Int64 = 1_000_000_000

    init(mode: CameraEncodedMode, controls: CameraEncoderControls, orders: CameraEncoderOrders) {
        self.controls = controls
        self.orders = orders
        pictures = EncodedPictures(mode: mode)
    }

    /// Takes what the driver gave; nil for nothing, or for something that it says is broken.
    mutating func take(_ outcome: V4L2Stream.Outcome?, at now: Int64, _ device: V4L2Device) -> EncodedPictures.Outcome {
        var result = EncodedPictures.Outcome.incomplete
        if case .encoded(let bytes, let timestamp, let sequence) = outcome {
            result = pictures.take(bytes, sequence: sequence, timestampNanoseconds: timestamp)
        }
        if case .frame(let frame) = result, frame.isKeyFrame { awaitedSince = nil }
        // What was lost on the way from the camera is asked for as what the peer has lost.
        let isLost = pictures.awaitsKeyFrame && !wasAwaiting
        wasAwaiting = pictures.awaitsKeyFrame
        if orders.takeKeyFrameRequest() || isLost, !controls.forceKeyFrame(device) {
            awaitedSince = awaitedSince ?? now
        }
        wantedRate = orders.takeBitRate() ?? wantedRate
        if let rate = wantedRate, rateSetAt.map({ now - $0 >= Self.rateInterval }) ?? true {
            controls.setBitRate(rate, device)
            wantedRate = nil
            rateSetAt = now
        }
        return result
    }

    /// Whether the encoder is to be started anew, since a key frame is wanted and does not come.
    mutating func mustRestart(at now: Int64) -> Bool {
        guard let since = awaitedSince, now - since >= Self.patience,
            restartedAt.map({ now - $0 >= Self.restartInterval }) ?? true
        else { return false }
        restartedAt = now
        awaitedSince = nil
        pictures.restart()
        wasAwaiting = true
        return true
    }
}
