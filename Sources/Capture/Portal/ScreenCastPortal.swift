internal import CDBus
internal import Glibc
internal import Media

/// The desktop's portal, and a session of it: what its user lets be captured. org.freedesktop.portal.ScreenCast
///
/// The session ends with this, and when the desktop says so. Belongs to one thread at a time.
final class ScreenCastPortal {
    typealias Failure = DBusConnection.Failure

    private let connection: DBusConnection
    /// What can be asked for.
    let abilities: PortalReplies.Abilities
    private var session: String?

    /// Connects to the session bus and asks the portal what it can do.
    ///
    /// - Parameter token: ends what waits.
    /// - Throws: `MediaError` with what to do: `.notFound` without a bus, `.notUsable` without a portal that captures screens.
    init(token: DeviceThread) throws(MediaError) {
        connection = try DBusConnection(token: token)
        do throws(Failure) {
            let target = DBusConnection.Target(
                service: Self.service,
                path: Self.path,
                interface: "org.freedesktop.DBus.Properties"
            )
            let reply = try connection.call(target, "GetAll", [.string(Self.screenCast)])
            guard let abilities = PortalReplies.Abilities(reply) else { throw Failure.malformed }
            self.abilities = abilities
        } catch .refused(_, let words) {
            throw MediaError(
                .notUsable,
                "screen",
                "this desktop has no portal that captures screens (\(words)): install xdg-desktop-portal and that of the desktop "
                    + "(xdg-desktop-portal-gnome, -kde, -wlr), and log in again"
            )
        } catch {
            throw DBusConnection.error(error, doing: "the question for its portal")
        }
    }

    deinit {
        guard let session else { return }
        // With the connection it would end as well; this is at once.
        _ = try? connection.send(
            .init(service: Self.service, path: session, interface: "org.freedesktop.portal.Session"),
            "Close",
            []
        )
    }

    /// To be polled for input.
    var descriptor: CInt { connection.descriptor }

    /// Lets the desktop's user choose, and waits for that.
    ///
    /// - Parameters:
    ///   - mode: the portal's number for how the pointer is shown; nil to say nothing.
    ///   - patience: nanoseconds for the user.
    /// - Returns: what was chosen.
    /// - Throws: `MediaError`: `.notPermitted` if the user said no, or nothing in time.
    func choose(cursor mode: UInt32?, patience: Int64) throws(MediaError) -> PortalReplies.Stream {
        do throws(Failure) {
            for rule in [
                "type='signal',sender='\(Self.service)',interface='\(Self.request)',member='Response'",
                "type='signal',sender='\(Self.service)',interface='org.freedesktop.portal.Session',member='Closed'",
                "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='\(Self.service)'",
            ] { _ = try connection.call(DBusConnection.bus, "AddMatch", [.string(rule)]) }
        } catch {
            throw DBusConnection.error(error, doing: "listening to the portal")
        }
        let created = try ask(
            "CreateSession",
            [],
            ["session_handle_token": .string(Self.token())],
            patience: DBusConnection.replyPatience
        )
        guard let session = PortalReplies.session(created), unsafe cdbus_is_path(session) != 0 else {
            throw DBusConnection.error(.malformed, doing: "CreateSession")
        }
        self.session = session
        // Monitors and windows, as far as there are such.
        let types = abilities.sourceTypes & 3 == 0 ? 1 : abilities.sourceTypes & 3
        var options: [String: DBusValue] = ["types": .uint32(types), "multiple": .boolean(false)]
        if let mode { options["cursor_mode"] = .uint32(mode) }
        // Some desktops show their dialogue here, others with Start.
        _ = try ask("SelectSources", [.objectPath(session)], options, patience: patience)
        let results = try ask("Start", [.objectPath(session), .string("")], [:], patience: patience)
        guard let stream = PortalReplies.stream(results, of: types) else {
            throw DBusConnection.error(.malformed, doing: "Start")
        }
        return stream
    }

    /// A connection to PipeWire that sees the session's streams alone; the caller closes it.
    func openRemote() throws(MediaError) -> CInt {
        guard let session else { throw Self.closed }
        do throws(Failure) {
            let reply = try connection.call(
                Self.target,
                "OpenPipeWireRemote",
                [.objectPath(session), .dictionary([:])]
            )
            guard let descriptor = PortalReplies.descriptor(reply) else { throw Failure.malformed }
            let number = descriptor.duplicate()
            guard number >= 0 else {
                throw Failure.refused(name: "", words: unsafe String(cString: strerror(errno)))
            }
            return number
        } catch {
            throw DBusConnection.error(error, doing: "OpenPipeWireRemote")
        }
    }

    /// Looks whether the session has ended, without waiting.
    ///
    /// - Throws: `MediaError` with the reason if it has.
    func check() throws(MediaError) {
        for signal in connection.takeSignals() {
            switch (signal.interface, signal.member) {
            case ("org.freedesktop.portal.Session", "Closed") where signal.path == session:
                session = nil
                throw Self.closed
            case _ where Self.isPortalsEnd(signal):
                session = nil
                throw MediaError(.unplugged, "screen", "the desktop's portal has ended, or was restarted")
            default: break
            }
        }
        guard connection.isConnected else {
            throw MediaError(.unplugged, "screen", "the D-Bus session has ended: the user has logged out")
        }
        if session == nil { throw Self.closed }
    }

    /// Calls a method that answers with a request, and waits for the request's end.
    private func ask(
        _ member: String,
        _ arguments: [DBusValue],
        _ options: [String: DBusValue],
        patience: Int64
    ) throws(MediaError) -> [String: DBusValue] {
        let token = Self.token()
        var options = options
        options["handle_token"] = .string(token)
        // The path is known before, so that an end that comes at once is not missed.
        let sender = connection.name.dropFirst().replacing(".", with: "_")
        var paths: Set<String> = ["\(Self.path)/request/\(sender)/\(token)"]
        var asksUser = false
        do throws(Failure) {
            let reply = try connection.call(Self.target, member, arguments + [.dictionary(options)])
            // Portals before 0.9 chose it themselves.
            if let path = reply.first?.text { paths.insert(path) }
            asksUser = patience > DBusConnection.replyPatience
            let request = paths
            let mine = session
            let end = try connection.signal(patience: patience) { signal in
                signal.interface == Self.request && signal.member == "Response" && request.contains(signal.path)
                    || signal.member == "Closed" && signal.path == mine
                    || Self.isPortalsEnd(signal)
            }
            if end.member == "Closed" { throw Failure.refused(name: "", words: "the session was closed") }
            if Self.isPortalsEnd(end) { throw Failure.refused(name: "", words: "the portal has ended") }
            switch PortalReplies.response(end.arguments) {
            case .success(let results): return results
            case .cancelled: break
            case .ended: throw Failure.refused(name: "", words: Self.endedWords)
            case nil: throw Failure.malformed
            }
        } catch .timedOut where asksUser {
            let seconds = patience / 1_000_000_000
            throw MediaError(
                .notPermitted,
                "screen",
                "nobody answered the desktop's dialogue within \(seconds) s: choose there what may be captured"
            )
        } catch {
            throw DBusConnection.error(error, doing: member)
        }
        throw MediaError(
            .notPermitted,
            "screen",
            "the desktop's user refused that the screen be captured: choose a monitor or window in its dialogue, and allow it"
        )
    }

    /// Whether the bus says that nobody has the portal's name any more.
    private static func isPortalsEnd(_ signal: DBusConnection.Signal) -> Bool {
        signal.member == "NameOwnerChanged" && signal.sender == DBusConnection.bus.service
            && signal.arguments.last?.text == ""
    }

    private static let endedWords =
        "it ended without a choice: the desktop's portal has no monitor to give, or its dialogue cannot be shown "
        + "(journalctl --user -u xdg-desktop-portal)"

    private static var closed: MediaError {
        MediaError(
            .finished,
            "screen",
            "the desktop has ended the sharing: its user pressed stop, or what was shared is gone"
        )
    }

    /// A name that nobody guesses.
    private static func token() -> String { "peerconnection\(UInt64.random(in: 0...UInt64.max))" }

    private static let service = "org.freedesktop.portal.Desktop"
    private static let path = "/org/freedesktop/portal/desktop"
    private static let screenCast = "org.freedesktop.portal.ScreenCast"
    private static let request = "org.freedesktop.portal.Request"
    private static let target = DBusConnection.Target(service: service, path: path, interface: screenCast)
}
