internal import Glibc
internal import Locking
public import Media

/// Pictures of what the desktop's user chooses: how the screen of a Wayland session is captured.
///
/// The portal of the desktop (xdg-desktop-portal) asks its user by D-Bus, and PipeWire gives the pictures. The choice is made
/// once, when this is made, and stands until it is released or ended on the desktop. A picture comes when something has
/// changed; a still one is repeated, five times a second at first and twice a second then.
public final class PortalCapture: VideoSource, FailingDevice {
    /// What was chosen, with the size that it had then.
    public let surface: DisplaySurface
    /// Pictures a second, at most.
    public let framesPerSecond: Double
    /// Whether the mouse pointer is in the picture: always or never, of which not every desktop has both.
    public let cursor: CursorCapture
    /// `monitor` or `window`: desktops do not tell its name.
    public var label: String { surface.label }

    /// The session, which runs on between `stop` and `start`; each runner takes it out.
    private let session: Mutex<Handover<Session>?>
    private let thread = Mutex<DeviceThread?>(nil)
    private let failures = FailureHandlers()
    private let counts = Counts()

    /// What has come since it was made.
    public struct Statistics: Hashable, Sendable {
        /// Pictures that were delivered because something had changed.
        public var framesCaptured = 0
        /// Pictures that were delivered again, because nothing had changed.
        public var framesRepeated = 0
        /// Buffers without a picture that can be used.
        public var framesRefused = 0
    }

    /// The portal and the stream; belongs to the thread that holds it.
    private final class Session {
        let portal: ScreenCastPortal
        /// Nil before it is asked for.
        var stream: PipeWireStream?
        /// The last picture: what a stream that goes on shows until something changes.
        var last: VideoFrame?

        init(portal: ScreenCastPortal) { self.portal = portal }
    }

    /// Whether screens are had from the desktop's portal in this session: on Wayland, and where there is no X display.
    public static var isNeeded: Bool { isWayland || XConnection.environment("DISPLAY") == nil }

    /// Whether this is a Wayland session.
    public static var isWayland: Bool { XConnection.environment("WAYLAND_DISPLAY") != nil }

    /// Asks for a portal, without asking its user; takes at most ten seconds.
    ///
    /// - Returns: what ``DisplaySurface/named(_:in:)`` finds as `portal`: what the user will choose.
    /// - Throws: `MediaError` with what to do: `.notFound` without a session of D-Bus, `.notUsable` without a portal that
    ///   captures screens, or without libdbus or libpipewire.
    public static func available() throws(MediaError) -> DisplaySurface {
        try PipeWireStream.load()
        _ = try ScreenCastPortal(token: try DeviceThread(subject: "screen"))
        return DisplaySurface(
            kind: .portal,
            id: "portal",
            label: "what the desktop's dialogue lets you choose",
            width: 0,
            height: 0,
            display: wayland
        )
    }

    /// Lets the desktop's user choose a monitor or window, and waits for the choice.
    ///
    /// Cancelling the task takes the dialogue away.
    ///
    /// - Parameters:
    ///   - framesPerSecond: pictures a second, at most; within ``ScreenCapture/rates``.
    ///   - cursor: whether the mouse pointer is in the picture; `motion` is `always` here.
    ///   - seconds: how long the user may take.
    /// - Returns: the source, not yet started.
    /// - Throws: `MediaError` with what to do, as ``available()``; `.notPermitted` if the user refuses or does not answer,
    ///   `.finished` if it was cancelled, `.notUsable` for pictures that cannot be read, `.invalidArgument` for a rate out of
    ///   range.
    public static func choose(
        framesPerSecond: Double = 30,
        cursor: CursorCapture = .always,
        seconds: Int = 180
    ) async throws(MediaError) -> PortalCapture {
        let token = try DeviceThread(subject: "screen")
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation {
                (continuation: CheckedContinuation<Result<PortalCapture, MediaError>, Never>) in
                do throws(MediaError) {
                    try ThreadStart.run(name: "portal", subject: "screen") {
                        do throws(MediaError) {
                            let capture = try PortalCapture(framesPerSecond, cursor, seconds: seconds, token: token)
                            continuation.resume(returning: .success(capture))
                        } catch {
                            continuation.resume(returning: .failure(error))
                        }
                    }
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        } onCancel: {
            token.stop()
        }
        return try result.get()
    }

    private init(
        _ framesPerSecond: Double,
        _ cursor: CursorCapture,
        seconds: Int,
        token: DeviceThread
    ) throws(MediaError) {
        guard ScreenCapture.rates.contains(framesPerSecond) else {
            throw MediaError(
                .invalidArgument,
                "screen",
                "\(framesPerSecond) pictures a second are not in \(ScreenCapture.rates.lowerBound) ... \(ScreenCapture.rates.upperBound)"
            )
        }
        try PipeWireStream.load()
        let portal = try ScreenCastPortal(token: token)
        let pointer = portal.abilities.cursor(cursor)
        let patience = Int64(min(max(1, seconds), 86_400)) * 1_000_000_000
        let chosen = try portal.choose(cursor: pointer.mode, patience: patience)
        let session = Session(portal: portal)
        let stream = try PipeWireStream(
            remote: try portal.openRemote(),
            node: chosen.node,
            framesPerSecond: framesPerSecond,
            pool: VideoFramePool()
        )
        session.stream = stream
        let (format, frame) = try Self.begin(stream, session, on: token)
        let kind = chosen.kind ?? .monitor
        surface = DisplaySurface(
            kind: kind,
            id: "portal",
            label: kind.rawValue,
            width: frame?.width ?? format.width,
            height: frame?.height ?? format.height,
            display: Self.wayland
        )
        self.framesPerSecond = framesPerSecond
        self.cursor = pointer.result
        session.last = frame
        // Active: xdg-desktop-portal-wlr 0.7 loses the picture that it works on when a stream is held back.
        stream.detach()
        self.session = Mutex(Handover(session))
    }

    deinit { thread.withLock { $0?.stop() } }

    /// What has come so far.
    public var statistics: Statistics { counts.statistics.withLock { $0 } }

    /// Calls `handler` when it ends by itself, as when the user ends the sharing.
    public func addFailureHandler(_ handler: @escaping @Sendable (MediaError) -> Void) { failures.add(handler) }

    /// Captures.
    public func start(deliver: @escaping @Sendable (VideoFrame) -> Void) throws {
        if let old = thread.withLock({ $0 }) {
            old.stop()
            // It gives the session back.
            old.waitForEnd(milliseconds: 5_000)
        }
        let new = try DeviceThread(subject: "screen")
        guard let handover = session.withLock({ $0.take() }) else {
            throw MediaError(.finished, "screen", "the sharing has ended: ask anew")
        }
        thread.withLock { $0 = new }
        let (counts, failures, interval) = (counts, failures, Int64(1e9 / framesPerSecond))
        let returned = WeakCapture(self)
        try new.run(name: "screen", subject: "screen") {
            guard let session = handover.take() else { return }
            do throws(MediaError) {
                guard let stream = session.stream else { return }
                stream.attach()
                stream.setActive(true)
                try Self.capture(session, stream, every: interval, on: new, counts: counts) { frame in
                    new.deliver { deliver(frame) }
                }
                stream.setActive(false)
                stream.detach()
                returned.give(session)
            } catch {
                if !new.isStopped { failures.tell(error) }
            }
        }
    }

    /// Stops; the user's choice stands.
    public func stop() { thread.withLock { $0 }?.stop() }

    /// Shared with the thread, which must not keep the capture alive.
    private final class Counts: Sendable {
        let statistics = Mutex(Statistics())
    }

    private final class WeakCapture: Sendable {
        /// Written once; reading a weak reference is safe on any thread.
        nonisolated(unsafe) private weak var capture: PortalCapture?
        init(_ capture: PortalCapture) { unsafe self.capture = capture }
        func give(_ session: Session) {
            let handover = Handover(session)
            unsafe capture?.session.withLock { $0 = handover }
        }
    }

    /// Waits until a stream has a format, and a moment for its first picture, from which alone the size of some windows is known.
    ///
    /// That may not come: some desktops (wlroots) give none before something changes.
    private static func begin(
        _ stream: PipeWireStream,
        _ session: Session,
        on token: DeviceThread
    ) throws(MediaError) -> (PipeWireFormat, VideoFrame?) {
        let begin = ScheduledThread.now()
        while true {
            try advance(stream, session, on: token)
            let now = ScheduledThread.now()
            if token.isStopped { throw MediaError(.finished, "screen", "it was cancelled") }
            if let format = stream.format {
                if let frame = try stream.take(at: now, after: 0) { return (format, frame) }
                guard now - begin < pictureTime else { return (format, nil) }
            } else if now - begin >= formatTime {
                throw MediaError(
                    .notUsable,
                    "screen",
                    "PipeWire does not connect it to the desktop's stream: see whether its session manager runs "
                        + "(systemctl --user status wireplumber)"
                )
            }
            let end = begin + (stream.format == nil ? formatTime : pictureTime)
            token.wait(for: [stream.descriptor, session.portal.descriptor], until: end)
        }
    }

    /// Takes what has come from both; when the stream ends, waits a moment for the desktop to say why.
    private static func advance(_ stream: PipeWireStream, _ session: Session, on token: DeviceThread) throws(MediaError)
    {
        try session.portal.check()
        do throws(MediaError) {
            try stream.advance()
        } catch {
            let deadline = ScheduledThread.now() + reasonPatience
            while !token.isStopped, ScheduledThread.now() < deadline {
                try session.portal.check()
                token.wait(for: [session.portal.descriptor], until: deadline)
            }
            throw error
        }
    }

    /// Takes pictures until the thread is stopped.
    private static func capture(
        _ session: Session,
        _ stream: PipeWireStream,
        every interval: Int64,
        on thread: DeviceThread,
        counts: Counts,
        take: (VideoFrame) -> Void
    ) throws(MediaError) {
        var repetition = Repetition()
        var due = ScheduledThread.now()
        var lastTime = due
        if let still = session.last {
            repetition.begin(at: due)
            take(still.retimed(due))
        }
        while !thread.isStopped {
            try advance(stream, session, on: thread)
            let now = ScheduledThread.now()
            // What comes sooner waits in its buffer, and makes room for what is newer.
            let hasPicture = stream.hasPicture
            if hasPicture, now >= due {
                if let frame = try stream.take(at: now, after: lastTime) {
                    (session.last, lastTime) = (frame, frame.timestampNanoseconds)
                    repetition.begin(at: now)
                    // A little early is in time: senders keep the rate themselves, not to the microsecond.
                    due = max(due + interval, now + interval / 2)
                    counts.statistics.withLock { $0.framesCaptured += 1 }
                    take(frame)
                }
                counts.statistics.withLock { $0.framesRefused = stream.refusedCount }
                continue
            }
            if !hasPicture, let still = session.last, repetition.isDue(at: now) {
                lastTime = max(now, lastTime + 1)
                counts.statistics.withLock { $0.framesRepeated += 1 }
                take(still.retimed(lastTime))
            }
            let next = hasPicture ? due : repetition.due
            thread.wait(for: [stream.descriptor, session.portal.descriptor], until: next)
        }
    }

    private static let wayland = "wayland"
    /// Nanoseconds for PipeWire to agree on a format.
    private static let formatTime: Int64 = 10_000_000_000
    /// Nanoseconds until it goes on without a picture.
    private static let pictureTime: Int64 = 1_000_000_000
    /// Nanoseconds in which the desktop says why a stream has ended.
    private static let reasonPatience: Int64 = 500_000_000
}
