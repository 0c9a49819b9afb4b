internal import CDBus
internal import Glibc
internal import Media

/// A connection to the session bus; belongs to one thread at a time.
///
/// Nothing waits without an end: each call has a deadline, and the token that it was made with ends it at once.
@safe final class DBusConnection {
    /// What came without having been asked for.
    struct Signal {
        let path: String
        let interface: String
        let member: String
        let sender: String
        let arguments: [DBusValue]
    }

    /// Why a call has no result.
    enum Failure: Error {
        /// The bus has ended the connection.
        case disconnected
        /// Nobody answered in time.
        case timedOut
        /// Stopped by the token.
        case stopped
        /// The service refused, with an error's name and words.
        case refused(name: String, words: String)
        /// Something is not as D-Bus has it, or memory is out.
        case malformed
    }

    private let handle: OpaquePointer  // cdbus *
    private let token: DeviceThread
    /// As `:1.42`.
    private(set) var name = ""
    private var signals: [Signal] = []

    /// Connects and greets.
    ///
    /// - Parameters:
    ///   - token: ends what waits.
    ///   - given: the bus; nil for that of the session.
    /// - Throws: `MediaError` with what to do: `.notFound` without a bus, `.notUsable` without libdbus.
    init(token: DeviceThread, address given: String? = nil) throws(MediaError) {
        if let reason = unsafe cdbus_load() {
            throw MediaError(
                .notUsable,
                "screen",
                "libdbus cannot be loaded (\(unsafe String(cString: reason))), without which the desktop's portal cannot be "
                    + "asked for the screen: install the package libdbus-1-3"
            )
        }
        guard let address = given ?? Self.address else {
            throw MediaError(
                .notFound,
                "screen",
                "there is no D-Bus session (DBUS_SESSION_BUS_ADDRESS is not set, and XDG_RUNTIME_DIR has no bus): start the "
                    + "program in the desktop session"
            )
        }
        self.token = token
        var words = [CChar](repeating: 0, count: 256)
        guard let handle = unsafe cdbus_open(address, &words, words.count) else {
            let reason = String(decoding: words.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
            throw MediaError(
                .notFound,
                "screen",
                "the D-Bus session at \(address) cannot be reached (\(reason)): start the program in the desktop session, as "
                    + "its user"
            )
        }
        unsafe self.handle = handle
        do throws(Failure) {
            let reply = try call(Self.bus, "Hello", [])
            guard let unique = reply.first?.text, unique.hasPrefix(":") else { throw .malformed }
            name = unique
            unsafe cdbus_set_name(handle, unique)
        } catch {
            throw Self.error(error, doing: "its greeting")
        }
    }

    deinit { unsafe cdbus_close(handle) }

    private static var address: String? {
        if let address = XConnection.environment("DBUS_SESSION_BUS_ADDRESS") { return address }
        guard let folder = XConnection.environment("XDG_RUNTIME_DIR") else { return nil }
        let path = folder + "/bus"
        guard unsafe access(path, F_OK) == 0 else { return nil }
        // What may not stand in an address as it is. D-Bus Specification, "Server Addresses"
        let plain = Set("-_/.\\*".utf8)
        let escaped = path.utf8.map { byte in
            let isPlain = plain.contains(byte) || (48...57).contains(byte) || (65...90).contains(byte & ~0x20)
            let digits = String(byte, radix: 16)
            return isPlain ? String(Unicode.Scalar(byte)) : "%" + (byte < 16 ? "0" : "") + digits
        }
        return "unix:path=" + escaped.joined()
    }

    /// To be polled for input.
    var descriptor: CInt { unsafe cdbus_descriptor(handle) }
    /// Whether the bus is there.
    var isConnected: Bool { unsafe cdbus_is_connected(handle) != 0 }

    /// Whom a call is for.
    struct Target {
        var service: String
        var path: String
        var interface: String
    }

    /// The bus itself.
    static let bus = Target(
        service: "org.freedesktop.DBus",
        path: "/org/freedesktop/DBus",
        interface: "org.freedesktop.DBus"
    )

    /// Calls a method and waits for its reply; signals that come meanwhile are kept.
    func call(
        _ target: Target,
        _ member: String,
        _ arguments: [DBusValue],
        patience: Int64 = replyPatience
    ) throws(Failure) -> [DBusValue] {
        let serial = try send(target, member, arguments)
        let deadline = ScheduledThread.now() + patience
        while true {
            if let reply = try take(replyTo: serial) { return reply }
            try wait(until: deadline)
        }
    }

    /// Calls a method without waiting for anything.
    @discardableResult
    func send(_ target: Target, _ member: String, _ arguments: [DBusValue]) throws(Failure) -> UInt32 {
        guard isConnected else { throw .disconnected }
        guard let message = unsafe cdbus_call(target.service, target.path, target.interface, member) else {
            throw .malformed
        }
        defer { unsafe cdbus_free(message) }
        var iterator = cdbus_iterator()
        unsafe cdbus_begin(message, &iterator)
        for argument in arguments where !argument.append(to: &iterator) { throw .malformed }
        let serial = unsafe cdbus_send(handle, message)
        guard serial != 0 else { throw .malformed }
        unsafe cdbus_pump(handle)
        return serial
    }

    /// The next signal of those that a condition allows; others that came before it are dropped.
    func signal(patience: Int64, where isWanted: (Signal) -> Bool) throws(Failure) -> Signal {
        let deadline = ScheduledThread.now() + patience
        while true {
            if let signal = takeSignals().first(where: isWanted) { return signal }
            try wait(until: deadline)
        }
    }

    /// The signals that have come, without waiting.
    func takeSignals() -> [Signal] {
        // An answer to nothing that waits is dropped.
        _ = try? take(replyTo: 0)
        defer { signals = [] }
        return signals
    }

    /// Reads what has come.
    ///
    /// - Returns: the reply's arguments; nil if it has not come.
    private func take(replyTo serial: UInt32) throws(Failure) -> [DBusValue]? {
        unsafe cdbus_pump(handle)
        while let message = unsafe cdbus_next(handle) {
            defer { unsafe cdbus_free(message) }
            let kind = Int(unsafe cdbus_kind(message))
            if kind == CDBUS_SIGNAL {
                unsafe keep(message)
            } else if serial != 0, unsafe cdbus_reply_serial(message) == serial {
                let arguments = unsafe DBusReader.arguments(of: message)
                if kind == CDBUS_REPLY {
                    guard let arguments else { throw .malformed }
                    return arguments
                }
                let name = unsafe cdbus_error_name(message).map { unsafe String(cString: $0) } ?? ""
                throw .refused(name: name, words: arguments?.first?.text ?? "")
            }
        }
        return nil
    }

    private func keep(_ message: OpaquePointer) {
        guard signals.count < Self.signalLimit, let arguments = unsafe DBusReader.arguments(of: message) else { return }
        signals.append(
            Signal(
                path: unsafe cdbus_path(message).map { unsafe String(cString: $0) } ?? "",
                interface: unsafe cdbus_interface(message).map { unsafe String(cString: $0) } ?? "",
                member: unsafe cdbus_member(message).map { unsafe String(cString: $0) } ?? "",
                sender: unsafe cdbus_sender(message).map { unsafe String(cString: $0) } ?? "",
                arguments: arguments
            )
        )
    }

    private func wait(until deadline: Int64) throws(Failure) {
        if token.isStopped { throw .stopped }
        guard isConnected else { throw .disconnected }
        let now = ScheduledThread.now()
        guard now < deadline else { throw .timedOut }
        // What did not go out at once is tried again soon.
        let soon = unsafe cdbus_has_output(handle) != 0 ? now + 10_000_000 : deadline
        token.wait(for: [descriptor], until: min(deadline, soon))
    }

    /// What a user is told.
    static func error(_ failure: Failure, doing what: String) -> MediaError {
        switch failure {
        case .disconnected:
            MediaError(.unplugged, "screen", "the D-Bus session has ended, during \(what): log in again")
        case .timedOut:
            MediaError(.notUsable, "screen", "the desktop did not answer in time, during \(what): try again")
        case .stopped: MediaError(.finished, "screen", "it was cancelled, during \(what)")
        case .malformed:
            MediaError(.notUsable, "screen", "the desktop's answer is not of the expected form, during \(what)")
        case .refused(let name, let words):
            MediaError(.notUsable, "screen", "the desktop refuses \(what): \(words.isEmpty ? name : words)")
        }
    }

    /// Nanoseconds for an answer that no person must give.
    static let replyPatience: Int64 = 10_000_000_000
    // What others on the bus may make us hold.
    private static let signalLimit = 256
}
