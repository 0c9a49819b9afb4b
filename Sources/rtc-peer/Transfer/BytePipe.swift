import JSON
import Locking
import PeerConnection

/// A stream of bytes each way over data channels that may break and be replaced; nothing is lost or doubled.
///
/// Bytes go as binary messages. Text: a hello, first on every channel, by which other commands know what the code is
/// for; then `at N`, how many bytes this side has taken in: the other goes on from there; `ack N`, the same later on, so
/// that the other can forget them; `end N`, no more follow after the first N. docs/CODES.md. Used by one task at a time in
/// each direction.
final class BytePipe: Sendable {
    enum Failure: Error, CustomStringConvertible {
        case malformed(String)
        /// The other side is another command, of this role in its hello.
        case otherCommand(role: String)
        var description: String {
            switch self {
            case .otherCommand("sender"):
                "the code is of a transfer of files: have `rtc-peer send` started again there, and take them by `rtc-peer receive CODE`"
            case .otherCommand("receiver"):
                "the code is of a transfer of files: have `rtc-peer receive` started again there, and send them by `rtc-peer send --to CODE`"
            case .otherCommand: "the code is of another command than rtc-peer pipe"
            case .malformed(let what): "the other side does not speak as a pipe does: \(what)"
            }
        }
    }

    private struct State {
        /// Sent and not acknowledged, from the byte number `firstKept`.
        var kept: [[UInt8]] = []
        var keptByteCount = 0
        var firstKept = 0
        var ended: Int?
        var channel: RTCDataChannel?
        var received = 0
        var acknowledged = 0
        var peerEnd: Int?
        var waiters: [CheckedContinuation<Void, Never>] = []
        var isOver = false
    }

    /// Bytes that are kept until the other side has them; more wait to be read.
    static let window = 8 << 20
    private static let hello = #"{"type":"hello","protocol":1,"role":"pipe"}"#
    private static let chunkByteCount = 64 << 10
    private static let acknowledgementDistance = 1 << 20
    private let state = Mutex(State())

    /// Whether both directions have come to their end, as both sides know.
    var isFinished: Bool {
        state.withLock { $0.ended != nil && $0.firstKept == $0.ended && $0.peerEnd == $0.received }
    }

    /// Takes bytes to send; waits while too much is under way.
    func write(_ bytes: [UInt8]) async {
        var offset = 0
        while offset < bytes.count {
            await waitForRoom()
            let chunk = Array(bytes[offset..<min(offset + Self.chunkByteCount, bytes.count)])
            offset += chunk.count
            // Sent while the lock is held, so that nothing overtakes what a new channel begins with. What a channel
            // refuses that has just broken goes again over the next.
            state.withLock { state in
                state.kept.append(chunk)
                state.keptByteCount += chunk.count
                try? state.channel?.send(chunk)
            }
        }
    }

    /// Says that nothing follows.
    func finish() {
        state.withLock { state in
            let end = state.firstKept + state.keptByteCount
            state.ended = end
            try? state.channel?.send("end \(end)")
        }
    }

    /// Lets everybody go who waits.
    func stop() {
        let waiters = state.withLock { state -> [CheckedContinuation<Void, Never>] in
            state.isOver = true
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Uses a channel until it ends or the pipe is finished.
    ///
    /// - Parameters:
    ///   - channel: an open channel.
    ///   - take: is given what comes, in order; returns when it has taken it.
    /// - Throws: `Failure` if the other side does not speak as agreed, and what `take` throws.
    func run(over channel: RTCDataChannel, take: ([UInt8]) async throws -> Void) async throws {
        try? channel.send(Self.hello)
        try? channel.send("at \(state.withLock { $0.received })")
        for await message in channel.messages {
            switch message {
            case .binary(let bytes):
                try await take(bytes)
                let acknowledgement = state.withLock { state -> Int? in
                    state.received += bytes.count
                    guard state.received - state.acknowledged >= Self.acknowledgementDistance else { return nil }
                    state.acknowledged = state.received
                    return state.received
                }
                if let acknowledgement { try? channel.send("ack \(acknowledgement)") }
            case .text(let text): try handle(text, on: channel)
            }
            if isFinished { break }
        }
        state.withLock { if $0.channel === channel { $0.channel = nil } }
    }

    private func handle(_ text: String, on channel: RTCDataChannel) throws {
        if text == Self.hello { return }
        if let role = Self.role(text) { throw Failure.otherCommand(role: role) }
        let fields = text.utf8.count <= 40 ? text.split(separator: " ") : []
        guard fields.count == 2, let number = Int(fields[1]), number >= 0 else {
            throw Failure.malformed("“\(text.prefix(40))”")
        }
        switch fields[0] {
        case "at":
            // Once for each channel: what is sent again would else pile up at the other side's will.
            guard state.withLock({ $0.channel !== channel }) else { throw Failure.malformed("a second “at”") }
            try forget(upTo: number, exactly: true)
            state.withLock { state in
                state.channel = channel
                for chunk in state.kept { try? channel.send(chunk) }
                if let end = state.ended { try? channel.send("end \(end)") }
            }
        case "ack": try forget(upTo: number, exactly: false)
        case "end":
            let received = try state.withLock { state -> Int in
                guard state.peerEnd == nil || state.peerEnd == number, number >= state.received else {
                    throw Failure.malformed("an end at \(number)")
                }
                state.peerEnd = number
                return state.received
            }
            try? channel.send("ack \(received)")
        default: throw Failure.malformed("“\(fields[0].prefix(16))”")
        }
    }

    /// Who says hello, if that is what it is.
    static func role(_ text: String) -> String? {
        guard text.utf8.count <= 1000, let value = try? JSONValue(parsing: text.utf8, maxValues: 100),
            value["type"]?.string == "hello"
        else { return nil }
        return value["role"]?.string ?? ""
    }

    /// The other side has the first `count` bytes.
    private func forget(upTo count: Int, exactly: Bool) throws {
        let waiters = try state.withLock { state -> [CheckedContinuation<Void, Never>] in
            guard count >= state.firstKept, count <= state.firstKept + state.keptByteCount else {
                throw Failure.malformed("it claims to have \(count) bytes")
            }
            while let first = state.kept.first, state.firstKept + first.count <= count {
                state.kept.removeFirst()
                state.firstKept += first.count
                state.keptByteCount -= first.count
            }
            // Within a chunk only when a channel begins: acknowledgements of a running one end with messages.
            let rest = count - state.firstKept
            if rest > 0, let first = state.kept.first {
                guard exactly else { throw Failure.malformed("it acknowledges a part of a message") }
                state.kept[0] = Array(first[rest...])
                state.firstKept += rest
                state.keptByteCount -= rest
            }
            guard state.keptByteCount < Self.window else { return [] }
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    private func waitForRoom() async {
        await withCheckedContinuation { continuation in
            let hasRoom = state.withLock { state -> Bool in
                if state.keptByteCount < Self.window || state.isOver { return true }
                state.waiters.append(continuation)
                return false
            }
            if hasRoom { continuation.resume() }
        }
    }
}
