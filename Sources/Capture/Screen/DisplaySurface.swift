public import Media

/// Something that can be captured: the whole screen of an X display, one monitor, one window, or what the desktop lets its user
/// choose.
public struct DisplaySurface: Hashable, Sendable {
    /// What kind of thing it is.
    public enum Kind: String, CaseIterable, Hashable, Sendable {
        /// All monitors together.
        case screen
        /// One monitor.
        case monitor
        /// One program's window.
        case window
        /// Whatever its user chooses in the desktop's dialogue: what there is on Wayland.
        case portal
    }

    /// What kind of thing it is.
    public let kind: Kind
    /// Its name while it exists: `screen`, a monitor's name as `HDMI-1`, a window's number as `0x1a00003`, or `portal`.
    public let id: String
    /// What people call it: a window's title, else the same as ``id``.
    public let label: String
    /// Left edge on the screen, in pixels.
    public let x: Int
    /// Upper edge on the screen, in pixels.
    public let y: Int
    /// Width in pixels at present; 0 as long as nothing was chosen in the desktop's dialogue.
    public let width: Int
    /// Height in pixels at present; 0 as long as nothing was chosen in the desktop's dialogue.
    public let height: Int
    /// The X display, as `:0`; `wayland` for what comes through the desktop's portal.
    public let display: String

    /// A surface with its parts.
    public init(
        kind: Kind,
        id: String,
        label: String,
        x: Int = 0,
        y: Int = 0,
        width: Int,
        height: Int,
        display: String
    ) {
        self.kind = kind
        self.id = id
        self.label = label
        self.x = x
        self.y = y
        self.width = width
        self.height = height
        self.display = display
    }

    /// W3C's name of the kind: `monitor` also for all of them together, or `window`. screen-capture,
    /// `DisplayCaptureSurfaceType`
    public var displaySurface: String { kind == .window ? "window" : "monitor" }

    /// The window's number; nil for what is no window.
    var window: UInt32? { kind == .window ? UInt32(id.dropFirst(2), radix: 16) : nil }

    /// The surface that a user calls `name`: by its id, a window's number in any form, its title, or a part of that which no
    /// other has.
    ///
    /// - Throws: `MediaError.notFound` if there is none, `.invalidArgument` if there are several; both say which there are.
    public static func named(_ name: String, in surfaces: [DisplaySurface]) throws(MediaError) -> DisplaySurface {
        if let surface = surfaces.first(where: { $0.id == name }) { return surface }
        let number = name.lowercased().hasPrefix("0x") ? UInt32(name.dropFirst(2), radix: 16) : UInt32(name)
        if let number, let surface = surfaces.first(where: { $0.window == number }) { return surface }
        let titled = surfaces.filter { $0.label == name }
        if titled.count == 1 { return titled[0] }
        let wanted = name.lowercased()
        let similar = name.isEmpty ? [] : surfaces.filter { $0.label.lowercased().contains(wanted) }
        if similar.count == 1 { return similar[0] }
        let candidates = titled.isEmpty ? similar : titled
        let listed = candidates.isEmpty ? surfaces : candidates
        let names = listed.prefix(12).map { $0.label == $0.id ? $0.id : "\($0.id) (\($0.label))" }
        let list = names.joined(separator: ", ") + (listed.count > 12 ? ", …" : "")
        if candidates.isEmpty {
            throw MediaError(.notFound, "screen", "there is no monitor or window called \(name); there are: \(list)")
        }
        throw MediaError(.invalidArgument, "screen", "\(name) may be any of: \(list). Take its number")
    }
}

/// Whether the mouse pointer is in the picture. screen-capture, `CursorCaptureConstraint`
public enum CursorCapture: String, CaseIterable, Hashable, Sendable {
    /// It always is.
    case always
    /// It is while it moves, and two seconds longer.
    case motion
    /// It never is.
    case never
}
