import Display
import Glibc
import JSON
import Signaling
import TerminalUI

/// What the user asks for while the call runs.
enum CallRequest: Sendable {
    case chat(String)
    case sendFile(String)
    /// Sends sound or none; nil changes it.
    case microphone(Bool?)
    /// Sends pictures or none; nil changes it.
    case camera(Bool?)
    case hangUp
    case unknown(String)
}

extension CallRequest {
    /// What a key in a view stands for.
    init(_ request: ViewRequest) {
        switch request {
        case .toggleMicrophone: self = .microphone(nil)
        case .toggleCamera: self = .camera(nil)
        case .hangUp: self = .hangUp
        }
    }
}

/// Lines of standard input as commands.
///
/// Its end is no command: the call goes on.
enum CallInput {
    /// What a chat message may be long.
    private static let byteLimit = 65_536

    /// - Parameters:
    ///   - isJSON: whether they come as JSON.
    ///   - entered: gets each line, whatever it says; called on a thread of its own.
    /// - Returns: what is asked for, in order.
    static func commands(
        isJSON: Bool,
        entered: @escaping @Sendable (String) -> Void = { _ in }
    ) -> AsyncStream<CallRequest> {
        AsyncStream { continuation in
            // Blocking reads have a thread of their own; it ends with the process.
            let thread = WorkerLoop {
                var lines = BoundedLines(byteLimit: byteLimit)
                while let line = lines.next() {
                    if case .text(let line) = line { entered(line) } else { entered("") }
                    guard case .text(let line) = line else {
                        continuation.yield(.unknown("a line of more than \(byteLimit) bytes is left out"))
                        continue
                    }
                    guard !line.isEmpty else { continue }
                    continuation.yield(isJSON ? parseJSON(line) : parse(line))
                }
            }
            thread.start()
        }
    }

    private static func parseJSON(_ line: String) -> CallRequest {
        guard let value = try? JSONValue(parsing: line.utf8) else {
            return .unknown("not a JSON object: \(line.prefix(80))")
        }
        if let text = value["chat"]?.string { return .chat(text) }
        if let path = value["sendFile"]?.string { return .sendFile(path) }
        if let isOn = value["microphone"]?.bool { return .microphone(isOn) }
        if let isOn = value["camera"]?.bool { return .camera(isOn) }
        if value["hangup"]?.bool == true { return .hangUp }
        return .unknown(
            "expected {\"chat\":…}, {\"sendFile\":…}, {\"microphone\":…}, {\"camera\":…} or {\"hangup\":true}, got \(line.prefix(80))"
        )
    }

    private static func parse(_ line: String) -> CallRequest {
        if line == "/quit" || line == "/hangup" { return .hangUp }
        if line == "/mute" { return .microphone(nil) }
        if line == "/video" { return .camera(nil) }
        if line.hasPrefix("/send ") { return .sendFile(String(line.dropFirst("/send ".count))) }
        if line.hasPrefix("/") {
            return .unknown("commands are /send FILE, /mute, /video and /quit; anything else is chat")
        }
        return .chat(line)
    }
}

/// A detached thread.
private final class WorkerLoop: Sendable {
    private let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }

    func start() {
        var thread = pthread_t()
        let context = unsafe Unmanaged.passRetained(self).toOpaque()
        let status = unsafe pthread_create(
            &thread,
            nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                // Passed as retained below, taken over here once.
                unsafe Unmanaged<WorkerLoop>.fromOpaque(argument).takeRetainedValue().body()
                return nil
            },
            context
        )
        if status == 0 { pthread_detach(thread) } else { unsafe Unmanaged<WorkerLoop>.fromOpaque(context).release() }
    }
}
