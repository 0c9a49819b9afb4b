internal import CXCB
internal import CYUV
internal import Media

/// Makes pictures of one surface, of what has changed there.
///
/// The server tells what is drawn (DAMAGE), and that alone is read (MIT-SHM) and turned into I420; the rest is taken from the
/// picture before. Without DAMAGE all is read each time. Belongs to one thread at a time.
final class ScreenReader {
    typealias Failure = XConnection.Failure

    private let surface: DisplaySurface
    private let cursorCapture: CursorCapture
    private let pool: VideoFramePool
    private let connection: XConnection
    /// Hears of damage: another connection where pixels come through the first.
    ///
    /// GetImage takes a software cursor off the screen while its reply is on the way, which X.Org's servers tell as damage in
    /// the middle of that reply (found with Xvfb 21.1.7): nothing that follows can be read then.
    private let watcher: XConnection
    /// The window, or the root.
    private let window: UInt32
    private let damage: UInt32?
    private let layout: PixelLayout
    private var area: Area
    private var pixels: ScreenPixels
    /// What must be read anew, in the picture's coordinates.
    private var stale: PixelRectangle
    private var mustMeasure = false
    private var lastMeasured: Int64 = 0
    private var picture: VideoFrame?
    private var cursor = Cursor()
    /// Attempts in a row that the server has refused.
    private var refusals = 0
    /// Since when a monitor is not there, which may be a change of its mode; nil while it is.
    private var missingSince: Int64?
    /// Whether the window is hidden, and gives no new pictures.
    private var isHidden = false

    /// Where the surface's pixels are.
    private struct Area {
        var drawable: UInt32
        /// Whether the drawable is a window's memory, to be let go.
        var isPixmap = false
        var x = 0
        var y = 0
        var width: Int
        var height: Int

        var whole: PixelRectangle { PixelRectangle(x: 0, y: 0, width: width, height: height) }
    }

    private struct Cursor {
        var picture: CursorPicture?
        /// Counts pictures.
        var version = 0
        var mustFetch = true
        var position: (x: Int, y: Int)?
        var lastMotion: Int64 = .min
        /// What the last picture shows.
        var drawn: Drawn?

        struct Drawn: Equatable {
            var x: Int
            var y: Int
            var version: Int
            var part: PixelRectangle
        }
    }

    /// Connects and finds the surface.
    ///
    /// - Throws: `MediaError` with what to do, as ``XConnection/init(display:)``; `.notFound` for a surface that is not
    ///   there, `.notUsable` for pixels of another depth than 24 or 32 bits.
    init(_ surface: DisplaySurface, cursor: CursorCapture, pool: VideoFramePool) throws(MediaError) {
        self.surface = surface
        cursorCapture = cursor
        self.pool = pool
        let connection = try XConnection(display: surface.display)
        self.connection = connection
        if surface.kind != .window, connection.isInsideWayland {
            throw MediaError(
                .notUsable,
                "display \(surface.display)",
                "is XWayland's, whose screen is empty: in a Wayland session windows of X programs can be captured here, and the "
                    + "screen by the desktop's portal"
            )
        }
        do throws(Failure) {
            (window, layout, area) = try Self.open(surface, connection)
            pixels = try ScreenPixels(connection, width: area.width, height: area.height)
        } catch {
            throw Self.error(error, surface)
        }
        stale = area.whole
        watcher = pixels.isShared ? connection : try XConnection(display: surface.display)
        damage = watcher.watchDamage(of: window)
        if cursor != .never, connection.hasCursor { connection.watchCursor() }
    }

    deinit { if area.isPixmap { connection.free(pixmap: area.drawable) } }

    /// Whether the server writes into memory of this process.
    var isShared: Bool { pixels.isShared }

    private static func open(
        _ surface: DisplaySurface,
        _ connection: XConnection
    ) throws(Failure) -> (UInt32, PixelLayout, Area) {
        let window = surface.window ?? connection.root
        let description: cxcb_window
        do throws(Failure) {
            description = try connection.describe(window)
        } catch .refused {
            throw .final(
                MediaError(.notFound, surface.subject, "there is no such window: `rtc-peer devices` lists them")
            )
        }
        guard let layout = PixelLayout(description.pixels) else {
            throw .final(
                MediaError(
                    .notUsable,
                    surface.subject,
                    "its pixels have \(description.pixels.depth) bits of colour, and only 24 and 32 can be read, 8 of each "
                        + "colour: start the X server with -depth 24"
                )
            )
        }
        if surface.kind == .window {
            guard connection.hasComposite else {
                throw .final(
                    MediaError(
                        .notUsable,
                        surface.subject,
                        "the X server has no Composite extension, without which a window cannot be read when others cover "
                            + "it: capture the screen"
                    )
                )
            }
            guard description.is_viewable != 0 else {
                throw .final(
                    MediaError(.notUsable, surface.subject, "the window is minimised or on another desktop: restore it")
                )
            }
            try connection.redirect(window)
        }
        // Before it is measured, so that no change falls between the two.
        try connection.watch(window)
        if surface.kind == .monitor { connection.watchMonitors() }
        guard let area = try measure(surface, window, connection) else {
            throw .final(
                MediaError(.notFound, surface.subject, "there is no such monitor: `rtc-peer devices` lists them")
            )
        }
        return (window, layout, area)
    }

    /// Where the surface is now.
    ///
    /// - Returns: nil for a monitor that is not there.
    private static func measure(
        _ surface: DisplaySurface,
        _ window: UInt32,
        _ connection: XConnection
    ) throws(Failure) -> Area? {
        var area: Area
        switch surface.kind {
        case .screen:
            let root = try connection.describe(window)
            area = Area(drawable: window, width: Int(root.width), height: Int(root.height))
        // Given by a caller's mistake alone: it is not of this display.
        case .portal: return nil
        case .monitor:
            guard let monitor = connection.monitors().first(where: { $0.id == surface.id }) else {
                if connection.isBroken { throw .broken }
                return nil
            }
            // A monitor may be said to reach beyond the screen, where there is nothing to read.
            let root = try connection.describe(window)
            let whole = PixelRectangle(x: 0, y: 0, width: Int(root.width), height: Int(root.height))
            let part = PixelRectangle(x: monitor.x, y: monitor.y, width: monitor.width, height: monitor.height)
                .intersection(whole)
            area = Area(drawable: window, x: part.x, y: part.y, width: part.width, height: part.height)
        case .window:
            let border = Int(try connection.describe(window).border)
            let pixmap = try connection.pixmap(of: window)
            area = Area(
                drawable: pixmap.id,
                isPixmap: true,
                x: border,
                y: border,
                width: pixmap.width - 2 * border,
                height: pixmap.height - 2 * border
            )
        }
        let limits = 1...VideoFrame.dimensionLimit
        guard limits.contains(area.width), limits.contains(area.height) else {
            if area.isPixmap { connection.free(pixmap: area.drawable) }
            throw .final(
                MediaError(
                    .notUsable,
                    surface.subject,
                    "shows \(area.width)x\(area.height), and from 1 to \(limits.upperBound) each way can be captured: take another "
                        + "monitor or window"
                )
            )
        }
        return area
    }

    // MARK: Pictures

    /// A picture of what there is now.
    ///
    /// - Returns: nil if it would be the same as the one before, or nothing can be read at present.
    /// - Throws: `MediaError` when it is over: `.finished` for a window that was closed, `.unplugged` for a monitor that was
    ///   switched off and a server that has ended.
    func next(at now: Int64) throws(MediaError) -> VideoFrame? {
        do throws(Failure) {
            let frame = try read(at: now)
            refusals = 0
            return frame
        } catch .refused(let code) where refusals < Self.refusalLimit {
            // What changes its size between two requests is refused once.
            _ = code
            refusals += 1
            mustMeasure = true
            return nil
        } catch {
            throw Self.error(error, surface)
        }
    }

    private func read(at now: Int64) throws(Failure) -> VideoFrame? {
        try takeEvents()
        if connection.isBroken { throw .broken }
        if isHidden { return nil }
        // A window that comes back to a desktop gets other memory, which nothing tells in every case.
        let isOld = surface.kind == .window && now - lastMeasured > Self.windowInterval
        if mustMeasure || isOld, try !remeasure(at: now) { return nil }
        if damage == nil { stale = area.whole }
        let dirty = stale.intersection(area.whole)
        if !dirty.isEmpty {
            // First, so that what is drawn while it is read is told once more.
            if let damage { try forget(damage) }
            try pixels.read(area.drawable, dirty, origin: (area.x, area.y))
        }
        stale = PixelRectangle(x: 0, y: 0, width: 0, height: 0)
        let before = cursor.drawn
        let after = try cursorNow(at: now)
        guard !dirty.isEmpty || before != after || picture == nil else { return nil }
        do throws(MediaError) {
            let frame = try draw(dirty, before: before, after: after, at: now)
            (picture, cursor.drawn) = (frame, after)
            return frame
        } catch {
            throw .final(error)
        }
    }

    private func forget(_ damage: UInt32) throws(Failure) {
        if watcher === connection {
            watcher.forget(damage: damage)
        } else {
            try watcher.forgetNow(damage: damage)
        }
    }

    private func takeEvents() throws(Failure) {
        try takeEvents(of: connection)
        guard watcher !== connection else { return }
        try takeEvents(of: watcher)
        if watcher.isBroken { throw .broken }
    }

    private func takeEvents(of connection: XConnection) throws(Failure) {
        // What a server sends faster than it is read waits for the next picture.
        for _ in 0..<Self.eventLimit {
            guard let event = connection.nextEvent() else { return }
            switch event.kind {
            case CXCB_DAMAGED:
                // A window's damage is told from inside its border; the root has none.
                let isWindow = surface.kind == .window
                let part = PixelRectangle(
                    x: Int(event.x) - (isWindow ? 0 : area.x),
                    y: Int(event.y) - (isWindow ? 0 : area.y),
                    width: Int(event.width),
                    height: Int(event.height)
                )
                stale = stale.union(part.intersection(area.whole))
            case CXCB_CHANGED where event.window == window:
                isHidden = false
                mustMeasure = true
            case CXCB_MONITORS: mustMeasure = true
            case CXCB_UNMAPPED where event.window == window: isHidden = true
            case CXCB_DESTROYED where event.window == window:
                throw .final(MediaError(.finished, surface.subject, "the window was closed"))
            case CXCB_CURSOR: cursor.mustFetch = true
            default: break
            }
        }
    }

    /// Follows a surface that has changed its size or place.
    ///
    /// - Returns: false while it is not there.
    private func remeasure(at now: Int64) throws(Failure) -> Bool {
        guard let new = try Self.measure(surface, window, connection) else {
            let since = missingSince ?? now
            missingSince = since
            guard now - since < Self.monitorPatience else {
                throw .final(MediaError(.unplugged, surface.subject, "the monitor was switched off or unplugged"))
            }
            return false
        }
        missingSince = nil
        if area.isPixmap { connection.free(pixmap: area.drawable) }
        area = new
        if new.width != pixels.width || new.height != pixels.height {
            picture = nil
            cursor.drawn = nil
            let wasShared = pixels.isShared
            pixels = try ScreenPixels(connection, width: new.width, height: new.height)
            guard pixels.isShared || !wasShared else {
                throw .final(
                    MediaError(.notUsable, surface.subject, "no memory can be shared with the X server any more")
                )
            }
        }
        stale = new.whole
        mustMeasure = false
        lastMeasured = now
        return true
    }

    /// The pointer as the next picture shows it; nil if it does not.
    private func cursorNow(at now: Int64) throws(Failure) -> Cursor.Drawn? {
        guard cursorCapture != .never, connection.hasCursor else { return nil }
        let position = try connection.pointer(on: window)
        let isMoved = cursor.position.map { old in position.map { $0 != old } ?? true } ?? false
        if isMoved { cursor.lastMotion = now }
        cursor.position = position
        if cursor.mustFetch {
            cursor.picture = try connection.cursorPicture()
            cursor.version += 1
            cursor.mustFetch = false
        }
        if cursorCapture == .motion, cursor.lastMotion == .min || now - cursor.lastMotion > Self.motionTime {
            return nil
        }
        guard let position, let picture = cursor.picture else { return nil }
        let origin = surface.kind == .window ? (x: 0, y: 0) : (x: area.x, y: area.y)
        let (x, y) = (position.x - origin.x, position.y - origin.y)
        let part = picture.rectangle(pointingAt: x, y).intersection(area.whole)
        return part.isEmpty ? nil : Cursor.Drawn(x: x, y: y, version: cursor.version, part: part)
    }

    private func draw(
        _ dirty: PixelRectangle,
        before: Cursor.Drawn?,
        after: Cursor.Drawn?,
        at now: Int64
    ) throws(MediaError) -> VideoFrame {
        let (whole, last) = (area.whole, picture)
        // Where the pointer was, the pixels under it come back.
        let parts = last == nil ? [whole] : [dirty, before?.part].compactMap { $0 }.filter { !$0.isEmpty }
        return try VideoFrame(width: area.width, height: area.height, timestampNanoseconds: now, pool: pool) {
            planes throws(MediaError) in
            if let last, !parts.contains(whole) { Self.copy(last, to: planes) }
            for part in parts {
                let part = part.alignedToChroma(width: whole.width, height: whole.height)
                guard pixels.convert(part, layout, to: planes) else {
                    throw MediaError(.codec, surface.subject, "cannot be turned into I420")
                }
            }
            guard let after else { return }
            cursor.picture?.draw(
                pointingAt: after.x,
                after.y,
                on: planes,
                width: whole.width,
                height: whole.height
            )
        }
    }

    private static func copy(_ frame: VideoFrame, to target: borrowing VideoFrame.Planes) {
        frame.withPlanes { source in
            _ = unsafe I420Copy(
                source.y,
                CInt(source.strideY),
                source.u,
                CInt(source.strideUV),
                source.v,
                CInt(source.strideUV),
                target.y,
                CInt(target.strideY),
                target.u,
                CInt(target.strideUV),
                target.v,
                CInt(target.strideUV),
                CInt(frame.width),
                CInt(frame.height)
            )
        }
    }

    private static func error(_ failure: Failure, _ surface: DisplaySurface) -> MediaError {
        switch failure {
        case .final(let error): error
        case .broken:
            MediaError(.unplugged, "display \(surface.display)", "the X server has ended, or has closed the connection")
        case .refused(let code):
            MediaError(.notUsable, surface.subject, "the X server does not let it be read (X error \(code))")
        case .unusable:
            MediaError(.notUsable, surface.subject, "the X server gives less than was asked for")
        }
    }

    /// How long the pointer is shown after it has moved, in nanoseconds.
    private static let motionTime: Int64 = 2_000_000_000
    /// How long a monitor may be away, in nanoseconds: a change of its mode takes it off for a moment.
    private static let monitorPatience: Int64 = 3_000_000_000
    /// After how many nanoseconds a window's memory is asked for anew.
    private static let windowInterval: Int64 = 1_000_000_000
    private static let refusalLimit = 100
    private static let eventLimit = 1_000
}

extension DisplaySurface {
    /// What errors call it: `window 0x1a00003 (Editor)`.
    var subject: String {
        switch kind {
        case .screen: "display \(display)"
        case .monitor: "monitor \(id) of display \(display)"
        case .window: label == id ? "window \(id)" : "window \(id) (\(label))"
        case .portal: "screen"
        }
    }
}
