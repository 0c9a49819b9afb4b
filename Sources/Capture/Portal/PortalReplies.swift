internal import Media

/// What the portal's answers say, each checked: another program wrote them.
enum PortalReplies {
    /// The end of a request. org.freedesktop.portal.Request, `Response`
    enum Response {
        case success([String: DBusValue])
        /// The user said no.
        case cancelled
        /// It ended in some other way.
        case ended
    }

    /// A signal's arguments as a request's end; nil for another form.
    static func response(_ arguments: [DBusValue]) -> Response? {
        guard arguments.count >= 2, let code = arguments[0].number, let results = arguments[1].entries else {
            return nil
        }
        return switch code {
        case 0: .success(results)
        case 1: .cancelled
        default: .ended
        }
    }

    /// What can be asked for. org.freedesktop.portal.ScreenCast, its properties
    struct Abilities: Equatable {
        var version: UInt32
        /// 1 monitors, 2 windows, 4 virtual monitors.
        var sourceTypes: UInt32
        /// 1 hidden, 2 in the picture, 4 beside it.
        var cursorModes: UInt32

        /// Those of `GetAll`; nil for another form.
        init?(_ arguments: [DBusValue]) {
            guard let properties = arguments.first?.entries, let version = properties["version"]?.number else {
                return nil
            }
            self.version = version
            sourceTypes = properties["AvailableSourceTypes"]?.number ?? 1
            // Since version 2.
            cursorModes = version >= 2 ? properties["AvailableCursorModes"]?.number ?? 0 : 0
        }

        /// What the pointer can be like, nearest to a wish: the number to ask for, nil if it cannot be said, and what comes of
        /// it.
        func cursor(_ wish: CursorCapture) -> (mode: UInt32?, result: CursorCapture) {
            let modes: [(UInt32, CursorCapture)] =
                wish == .never ? [(1, .never), (2, .always)] : [(2, .always), (1, .never)]
            guard let found = modes.first(where: { cursorModes & $0.0 != 0 }) else { return (nil, .never) }
            return (found.0, found.1)
        }
    }

    /// A session's path; older portals give it as text.
    static func session(_ results: [String: DBusValue]) -> String? { results["session_handle"]?.text }

    /// What the user chose.
    struct Stream: Equatable {
        var node: UInt32
        /// As the user's desktop says; nil if it does not.
        var kind: DisplaySurface.Kind?
    }

    /// The first of the streams.
    ///
    /// - Parameters:
    ///   - results: of `Start`.
    ///   - types: those that were asked for; xdg-desktop-portal-wlr 0.7 calls a monitor a window.
    /// - Returns: nil if there is none, or they are of another form.
    static func stream(_ results: [String: DBusValue], of types: UInt32) -> Stream? {
        guard let first = results["streams"]?.elements?.first?.members, first.count >= 2, let node = first[0].number,
            let properties = first[1].entries
        else { return nil }
        let kind: DisplaySurface.Kind? =
            switch properties["source_type"]?.number {
            case 1 where types & 1 != 0: .monitor
            case 2 where types & 2 != 0: .window
            default: nil
            }
        return Stream(node: node, kind: kind)
    }

    /// The descriptor that `OpenPipeWireRemote` gave; nil for another form.
    static func descriptor(_ arguments: [DBusValue]) -> DBusValue.OwnedDescriptor? {
        guard case .descriptor(let descriptor) = arguments.first, descriptor.number >= 0 else { return nil }
        return descriptor
    }
}
