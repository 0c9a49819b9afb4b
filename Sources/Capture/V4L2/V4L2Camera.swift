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
        path = device.path
        label = device.name.isEmpty ? device.path : device.name
        interval = stream.interval
        self.mode = CameraMode(
            format: stream.layout.format,
            width: stream.layout.width,
            height: stream.layout.height,
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
        let old = thread.withLock { $0 }
        old?.stop()
        old?.waitForEnd(milliseconds: Self.closeLimit)
        let stream = try V4L2Stream(try V4L2Device(path), mode: mode, interval: interval)
        try stream.start()
        let handover = Handover(stream)
        let new = try DeviceThread(subject: path)
        thread.withLock { $0 = new }
        let (pool, counts, failures) = (pool, counts, failures)
        try new.run(name: "camera", subject: path) {
            guard let stream = handover.take() else { return }
            do throws(MediaError) {
                try Self.read(stream, on: new, pool: pool, counts: counts) { frame in
                    new.deliver { deliver(frame) }
                }
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

    /// Reads pictures until the thread is stopped.
    private static func read(
        _ stream: V4L2Stream,
        on thread: DeviceThread,
        pool: VideoFramePool,
        counts: Counts,
        take: (VideoFrame) -> Void
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
            guard ready > 0, entries[1].revents != 0 else { continue }
            switch try stream.next(pool: pool) {
            case .frame(let frame, let sequence):
                lastPicture = ScheduledThread.now()
                // Broken ones came, and are counted already.
                let missed = lastSequence.map { Int(sequence &- $0 &- 1) - damagedInARow } ?? 0
                damagedInARow = 0
                lastSequence = sequence
                counts.statistics.withLock { counts in
                    counts.framesDelivered += 1
                    // A driver that counts backwards or leaps does not count.
                    if (0..<1_000).contains(missed) { counts.framesMissed += missed }
                }
                take(frame)
            case .damaged:
                damagedInARow += 1
                counts.statistics.withLock { $0.framesDamaged += 1 }
                guard damagedInARow < damageLimit else {
                    throw MediaError(
                        .notUsable,
                        stream.device.path,
                        "the camera gives broken pictures only: plug it in again"
                    )
                }
            case .empty:
                // POLLERR with nothing to take would turn this into a busy loop.
                if entries[1].revents & Int16(POLLERR) != 0 {
                    if stream.device.isUnplugged { throw stream.device.error(ENODEV, "") }
                    thread.pause(milliseconds: 100)
                }
            }
        }
    }
}
