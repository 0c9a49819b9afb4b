internal import CXCB
internal import Glibc
internal import Locking
public import Media

/// Pictures of an X display: of the whole screen, a monitor or a window.
///
/// The display is connected to, and watched, only between `start` and `stop`. A picture comes at each interval in which
/// something has changed; a still one is repeated, five times a second at first and twice a second then, so that whoever
/// comes later sees it, too, and encoders sharpen it.
public final class ScreenCapture: VideoSource, FailingDevice {
    /// What is captured, as it was when this was made.
    public let surface: DisplaySurface
    /// Pictures a second, at most.
    public let framesPerSecond: Double
    /// Whether the mouse pointer is in the picture.
    public let cursor: CursorCapture
    /// A window's title, a monitor's name, or `screen`.
    public let label: String
    /// Whether the server writes pictures into this process's memory (MIT-SHM); without that they come through the
    /// connection, which costs about twice as much on one machine, and the network between two.
    public let isMemoryShared: Bool

    private let thread = Mutex<DeviceThread?>(nil)
    private let pool = VideoFramePool()
    private let failures = FailureHandlers()
    private let counts = Counts()

    /// What has come since it was made.
    public struct Statistics: Hashable, Sendable {
        /// Pictures that were read and delivered.
        public var framesCaptured = 0
        /// Pictures that were delivered again, because nothing had changed.
        public var framesRepeated = 0
    }

    /// The rates that can be asked for.
    public static let rates = 0.1...120.0

    /// What there is to capture on a display: the screen first, then its monitors, then its windows, the upper ones first.
    ///
    /// A screen of XWayland, which is empty, and its monitors are left out.
    ///
    /// - Parameter display: as `:0`; nil for that of the environment (`DISPLAY`).
    /// - Returns: the surfaces, with the places and sizes that they have at present.
    /// - Throws: `MediaError` with what to do: `.notFound` without a display, `.notPermitted` if it refuses this user,
    ///   `.notUsable` without libxcb, and in a session of Wayland alone.
    public static func surfaces(display: String? = nil) throws(MediaError) -> [DisplaySurface] {
        let connection = try XConnection(display: display)
        let windows = connection.windows()
        if connection.isInsideWayland { return windows }
        do throws(XConnection.Failure) {
            let root = try connection.describe(connection.root)
            let screen = DisplaySurface(
                kind: .screen,
                id: "screen",
                label: "screen",
                width: Int(root.width),
                height: Int(root.height),
                display: connection.display
            )
            // Xvfb calls its only monitor so.
            return [screen] + connection.monitors().filter { $0.id != screen.id } + windows
        } catch {
            throw MediaError(.unplugged, "display \(connection.display)", "the X server has closed the connection")
        }
    }

    /// Connects, finds the surface, makes sure that it can be read, and lets go of it again.
    ///
    /// - Parameters:
    ///   - surface: one of ``surfaces(display:)``.
    ///   - framesPerSecond: pictures a second, at most; within ``rates``.
    ///   - cursor: whether the mouse pointer is in the picture.
    /// - Throws: `MediaError` with what to do, as ``surfaces(display:)``; `.notFound` for a surface that is gone,
    ///   `.notUsable` for pixels that cannot be read, `.invalidArgument` for a rate out of range.
    public init(
        _ surface: DisplaySurface,
        framesPerSecond: Double = 30,
        cursor: CursorCapture = .always
    ) throws(MediaError) {
        guard Self.rates.contains(framesPerSecond) else {
            throw MediaError(
                .invalidArgument,
                "screen",
                "\(framesPerSecond) pictures a second are not in \(Self.rates.lowerBound) ... \(Self.rates.upperBound)"
            )
        }
        let reader = try ScreenReader(surface, cursor: cursor, pool: pool)
        // What changes its size just now is refused once.
        var attempts = 0
        while try reader.next(at: ScheduledThread.now()) == nil {
            attempts += 1
            guard attempts < 5 else {
                throw MediaError(.notUsable, surface.subject, "the X server does not let its pixels be read at present")
            }
        }
        self.surface = surface
        self.framesPerSecond = framesPerSecond
        self.cursor = cursor
        label = surface.label
        isMemoryShared = reader.isShared
    }

    deinit { thread.withLock { $0?.stop() } }

    /// What has come so far.
    public var statistics: Statistics { counts.statistics.withLock { $0 } }

    /// Calls `handler` when it ends by itself, as when the window is closed.
    public func addFailureHandler(_ handler: @escaping @Sendable (MediaError) -> Void) { failures.add(handler) }

    /// Connects and captures.
    public func start(deliver: @escaping @Sendable (VideoFrame) -> Void) throws {
        thread.withLock { $0 }?.stop()
        let handover = Handover(try ScreenReader(surface, cursor: cursor, pool: pool))
        let new = try DeviceThread(subject: surface.subject)
        thread.withLock { $0 = new }
        let (counts, failures) = (counts, failures)
        let interval = Int64(1e9 / framesPerSecond)
        try new.run(name: "screen", subject: surface.subject) {
            guard let reader = handover.take() else { return }
            do throws(MediaError) {
                try Self.capture(reader, every: interval, on: new, counts: counts) { frame in
                    new.deliver { deliver(frame) }
                }
            } catch {
                if !new.isStopped { failures.tell(error) }
            }
        }
    }

    /// Stops.
    public func stop() { thread.withLock { $0 }?.stop() }

    /// Shared with the thread, which must not keep the capture alive.
    private final class Counts: Sendable {
        let statistics = Mutex(Statistics())
    }

    /// Takes pictures until the thread is stopped.
    private static func capture(
        _ reader: ScreenReader,
        every interval: Int64,
        on thread: DeviceThread,
        counts: Counts,
        take: (VideoFrame) -> Void
    ) throws(MediaError) {
        var repetition = Repetition()
        var last: VideoFrame?
        var due = ScheduledThread.now()
        while !thread.isStopped {
            let now = ScheduledThread.now()
            if let frame = try reader.next(at: now) {
                last = frame
                repetition.begin(at: now)
                counts.statistics.withLock { $0.framesCaptured += 1 }
                take(frame)
            } else if let still = last, repetition.isDue(at: now) {
                counts.statistics.withLock { $0.framesRepeated += 1 }
                take(still.retimed(now))
            }
            // What came too late is left out: a server that is slow is not asked without a pause.
            let end = ScheduledThread.now()
            due += max(1, (end - due) / interval + 1) * interval
            thread.pause(milliseconds: Int((due - end) / 1_000_000))
            if !thread.isStopped { ScheduledThread.sleep(until: due) }
        }
    }
}

/// When a picture that stays the same is given again.
struct Repetition {
    /// When it is due next, as long as nothing new comes.
    private(set) var due: Int64 = .max
    private var count = 0

    /// A new picture was given.
    mutating func begin(at now: Int64) {
        count = 0
        due = now + Self.firstInterval
    }

    /// Whether it is time, for this once.
    mutating func isDue(at now: Int64) -> Bool {
        guard now >= due else { return false }
        count += 1
        due = now + (count < Self.quickCount ? Self.firstInterval : Self.interval)
        return true
    }

    /// Nanoseconds between the first repetitions.
    static let firstInterval: Int64 = 200_000_000
    /// How many of those there are.
    static let quickCount = 5
    /// Nanoseconds between all others: what somebody who comes later waits for, and a key frame that was asked for.
    static let interval: Int64 = 500_000_000
}
