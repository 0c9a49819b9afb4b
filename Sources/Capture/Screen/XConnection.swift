internal import CXCB
internal import Glibc
internal import Media

/// A connection to an X server; belongs to one thread at a time.
@safe final class XConnection {
    /// The display's name, as `:0`.
    let display: String
    private let handle: OpaquePointer  // cxcb *

    /// What went wrong with a request.
    enum Failure: Error {
        /// The server has ended the connection.
        case broken
        /// An X error, as 8 for BadMatch.
        case refused(code: CInt)
        /// Something is not as it was said to be, as an answer that is too short.
        case unusable
        /// It will not get better, for this reason.
        case final(MediaError)
    }

    /// Connects.
    ///
    /// - Parameter named: the display, as `:0`; nil for that of the environment.
    /// - Throws: `MediaError` with what to do: `.notFound` if there is none, `.notPermitted` if it refuses this user,
    ///   `.notUsable` without libxcb, and in a session of Wayland alone.
    init(display named: String?) throws(MediaError) {
        guard let display = named ?? Self.environment("DISPLAY") else { throw Self.withoutDisplay }
        if let reason = unsafe cxcb_load() {
            throw MediaError(
                .notUsable,
                "screen",
                "libxcb cannot be loaded (\(unsafe String(cString: reason))): install the packages libxcb1, libxcb-shm0, "
                    + "libxcb-randr0, libxcb-xfixes0, libxcb-damage0 and libxcb-composite0"
            )
        }
        var reason: CInt = 0
        guard let handle = unsafe cxcb_open(display, &reason) else { throw Self.refusal(display, reason) }
        unsafe self.handle = handle
        self.display = display
    }

    deinit { unsafe cxcb_close(handle) }

    private static var withoutDisplay: MediaError {
        if environment("WAYLAND_DISPLAY") != nil {
            return MediaError(
                .notUsable,
                "screen",
                "this is a Wayland session without X, and its screen can be had by the desktop's portal only"
            )
        }
        return MediaError(
            .notFound,
            "screen",
            "there is no display (DISPLAY is not set): start the program in a desktop session; over ssh set "
                + "DISPLAY=:0, or use ssh -X; `xvfb-run` (package xvfb) gives a screen without a monitor"
        )
    }

    private static func refusal(_ display: String, _ reason: CInt) -> MediaError {
        let subject = "display \(display)"
        switch Int(reason) {
        case CXCB_BAD_NAME:
            return MediaError(.notFound, subject, "this is no name of a display: one is HOST:NUMBER, as DISPLAY=:0")
        case CXCB_NO_SCREEN: return MediaError(.notFound, subject, "the X server has no such screen")
        case CXCB_NO_MEMORY: return MediaError(.notUsable, subject, "there is no memory left for it")
        default: break
        }
        let permit =
            "the X server refuses this user: set XAUTHORITY to the session's own file, or let the session's user run "
            + "`xhost +si:localuser:\(userName)`"
        switch unsafe cxcb_probe(display) {
        case 0, EACCES, EPERM: return MediaError(.notPermitted, subject, permit)
        case -1:
            return MediaError(
                .notFound,
                subject,
                "no X server can be reached there, or it refuses this user: see whether `xdpyinfo -display \(display)` "
                    + "(package x11-utils) gets through, and whether `xauth list` has its key"
            )
        case let number:
            return MediaError(
                .notFound,
                subject,
                "no X server answers there (\(unsafe String(cString: strerror(number)))): see what DISPLAY is in the "
                    + "desktop session; the servers of this machine are in /tmp/.X11-unix"
            )
        }
    }

    private static var userName: String {
        guard let user = unsafe getpwuid(geteuid()) else { return "\(geteuid())" }
        return unsafe String(cString: user.pointee.pw_name)
    }

    static func environment(_ name: String) -> String? {
        // Read at once; the process does not change its environment.
        guard let value = unsafe getenv(name), unsafe value.pointee != 0 else { return nil }
        return unsafe String(cString: value)
    }

    private func check(_ result: CInt) throws(Failure) {
        switch result {
        case 0: return
        case -1: throw .broken
        case -2: throw .unusable
        default: throw .refused(code: result)
        }
    }

    private func has(_ flag: Int) -> Bool { unsafe Int(cxcb_extensions(handle)) & flag != 0 }

    /// Whether the server has ended the connection.
    var isBroken: Bool { unsafe cxcb_is_broken(handle) != 0 }
    /// Whether the pointer's picture can be had.
    var hasCursor: Bool { has(CXCB_XFIXES) }
    /// Whether windows can be read that others cover.
    var hasComposite: Bool { has(CXCB_COMPOSITE) }
    /// The window behind all others.
    var root: UInt32 { unsafe cxcb_root(handle) }
    /// Whether the screen is one of windows that a Wayland compositor shows one by one: it is empty itself.
    ///
    /// XWayland has an extension of that name since version 23.1; before, its outputs were called so.
    var isInsideWayland: Bool {
        guard Self.environment("WAYLAND_DISPLAY") != nil else { return false }
        return unsafe cxcb_is_xwayland(handle) != 0 || monitors().contains { $0.id.hasPrefix("XWAYLAND") }
    }

    /// Place, size and pixels of a window.
    func describe(_ window: UInt32) throws(Failure) -> cxcb_window {
        var description = cxcb_window()
        try check(unsafe cxcb_describe(handle, window, &description))
        return description
    }

    /// The monitors, the primary one first; empty if the server cannot tell.
    func monitors() -> [DisplaySurface] {
        var found = Array(repeating: cxcb_monitor(), count: Self.monitorLimit)
        let count = unsafe cxcb_monitors(handle, &found, CInt(Self.monitorLimit))
        guard count > 0 else { return [] }
        let monitors = found.prefix(Int(count)).sorted { $0.is_primary > $1.is_primary }
        return monitors.enumerated().compactMap { index, monitor in
            guard monitor.width > 0, monitor.height > 0 else { return nil }
            let name = unsafe withUnsafeBytes(of: monitor.name) { unsafe Self.text($0.prefix { $0 != 0 }) }
            let id = name.isEmpty ? "monitor-\(index)" : name
            return DisplaySurface(
                kind: .monitor,
                id: id,
                label: id,
                x: Int(monitor.x),
                y: Int(monitor.y),
                width: Int(monitor.width),
                height: Int(monitor.height),
                display: display
            )
        }
    }

    /// The windows that a person would name, the upper ones first.
    func windows() -> [DisplaySurface] {
        var found = Array(repeating: UInt32(0), count: Self.windowLimit)
        let count = unsafe cxcb_windows(handle, &found, CInt(Self.windowLimit))
        return found.prefix(max(0, Int(count))).compactMap { window in
            guard let description = try? describe(window), description.is_viewable != 0,
                description.is_override_redirect == 0, description.is_input_only == 0
            else { return nil }
            return surface(window, description)
        }
    }

    /// A window as something to capture.
    func surface(_ window: UInt32, _ description: cxcb_window) -> DisplaySurface {
        let id = "0x" + String(window, radix: 16)
        let title = title(of: window)
        return DisplaySurface(
            kind: .window,
            id: id,
            label: title.isEmpty ? id : title,
            x: Int(description.x),
            y: Int(description.y),
            width: Int(description.width),
            height: Int(description.height),
            display: display
        )
    }

    private func title(of window: UInt32) -> String {
        var isUTF8: CInt = 0
        let size = Self.titleLimit
        let bytes = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: size) { buffer -> [UInt8] in
            guard let base = buffer.baseAddress else { return [] }
            unsafe cxcb_title(handle, window, base, size, &isUTF8)
            return unsafe UnsafeRawBufferPointer(buffer).prefix { $0 != 0 }
        }
        // Latin-1 is the first part of Unicode.
        let text = isUTF8 != 0 ? Self.text(bytes) : String(String.UnicodeScalarView(bytes.map { Unicode.Scalar($0) }))
        return text
    }

    /// A name that a program gave: anything may stand there.
    private static func text(_ bytes: some Sequence<UInt8>) -> String {
        String(decoding: Array(bytes), as: UTF8.self)
    }

    /// Asks for what happens to a window: its size, its end.
    func watch(_ window: UInt32) throws(Failure) { try check(unsafe cxcb_watch_window(handle, window)) }

    /// Asks for changes of the monitors.
    func watchMonitors() { unsafe cxcb_watch_monitors(handle) }

    /// Asks for changes of the pointer's picture.
    func watchCursor() { unsafe cxcb_watch_cursor(handle) }

    /// What has happened; nil if nothing more has.
    func nextEvent() -> cxcb_event? {
        let event = unsafe cxcb_next_event(handle)
        return event.kind == CXCB_NOTHING ? nil : event
    }

    /// Asks for what is drawn in a window; nil if the server cannot tell.
    func watchDamage(of window: UInt32) -> UInt32? {
        let damage = unsafe cxcb_damage_create(handle, window)
        return damage == 0 ? nil : damage
    }

    /// What is drawn from here on is told anew.
    func forget(damage: UInt32) { unsafe cxcb_damage_forget(handle, damage) }

    /// The same, done when this returns: for what is asked on another connection next.
    func forgetNow(damage: UInt32) throws(Failure) { try check(unsafe cxcb_damage_forget_now(handle, damage)) }

    /// Gives a window memory of its own, so that it can be read when others cover it.
    func redirect(_ window: UInt32) throws(Failure) { try check(unsafe cxcb_redirect(handle, window)) }

    /// A window's memory at present, which is another one after a change of its size.
    func pixmap(of window: UInt32) throws(Failure) -> (id: UInt32, width: Int, height: Int) {
        var (id, width, height): (UInt32, UInt16, UInt16) = (0, 0, 0)
        try check(unsafe cxcb_window_pixmap(handle, window, &id, &width, &height))
        return (id, Int(width), Int(height))
    }

    /// Lets go of a window's memory.
    func free(pixmap: UInt32) { unsafe cxcb_free_pixmap(handle, pixmap) }

    /// Where the pointer is on a window; nil if it is on another screen.
    func pointer(on window: UInt32) throws(Failure) -> (x: Int, y: Int)? {
        var (x, y, isInside): (CInt, CInt, CInt) = (0, 0, 0)
        try check(unsafe cxcb_pointer(handle, window, &x, &y, &isInside))
        return isInside != 0 ? (Int(x), Int(y)) : nil
    }

    /// The pointer's picture; nil if it is hidden or larger than any should be.
    func cursorPicture() throws(Failure) -> CursorPicture? {
        var cursor = unsafe cxcb_cursor()
        try check(unsafe cxcb_cursor_picture(handle, CInt(Self.cursorLimit), &cursor))
        guard let pixels = unsafe cursor.pixels else { return nil }
        defer { unsafe Glibc.free(pixels) }
        let (width, height) = unsafe (Int(cursor.width), Int(cursor.height))
        return unsafe CursorPicture(
            width: width,
            height: height,
            hotX: Int(cursor.hot_x),
            hotY: Int(cursor.hot_y),
            argb: UnsafeBufferPointer(start: pixels, count: width * height)
        )
    }

    // MARK: Pixels

    /// Memory that this process and the server share.
    ///
    /// - Throws: `.unusable` if there can be none, as on a display of another machine.
    func makeMemory(byteCount: Int) throws(Failure) -> cxcb_memory {
        var memory = unsafe cxcb_memory()
        try check(unsafe cxcb_memory_create(handle, byteCount, &memory))
        return unsafe memory
    }

    func free(memory: inout cxcb_memory) { unsafe cxcb_memory_free(handle, &memory) }

    /// Reads a part of a drawable into shared memory.
    func read(_ drawable: UInt32, _ part: PixelRectangle, into memory: inout cxcb_memory, at offset: Int)
        throws(Failure)
    {
        let (x, y) = (CInt(clamping: part.x), CInt(clamping: part.y))
        let (width, height) = (CInt(clamping: part.width), CInt(clamping: part.height))
        try check(unsafe cxcb_read_shared(handle, drawable, x, y, width, height, &memory, offset))
    }

    /// Reads a part of a drawable through the connection, each row at its place.
    func read(_ drawable: UInt32, _ part: PixelRectangle, to target: UnsafeMutablePointer<UInt8>, bytesPerRow: Int)
        throws(Failure)
    {
        let (x, y) = (CInt(clamping: part.x), CInt(clamping: part.y))
        let (width, height) = (CInt(clamping: part.width), CInt(clamping: part.height))
        try check(unsafe cxcb_read(handle, drawable, x, y, width, height, target, bytesPerRow))
    }

    // What a server may make us hold.
    private static let monitorLimit = 64
    private static let windowLimit = 512
    private static let titleLimit = 1_024
    private static let cursorLimit = 512
}
