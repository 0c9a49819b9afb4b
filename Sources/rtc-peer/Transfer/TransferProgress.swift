import FileTransfer
import Locking
import PeerConnection
import TerminalUI

/// Shows how a transfer of files goes: a line for each file that is done, and one live line.
final class TransferProgress: Sendable {
    private struct State {
        var files = 0
        var filesDone = 0
        var bytes = 0
        /// Bytes of the whole so far, with those that were there already.
        var total = 0
        var name = ""
        var nameBytes = 0
        var sizes: [String: Int] = [:]
        var hasStream = false
        /// When counting began, and from how many bytes: what was there already took no time.
        var start: (at: ContinuousClock.Instant, total: Int)?
        var lastShown: ContinuousClock.Instant?
        var path = ""
        var samples: [(at: ContinuousClock.Instant, total: Int)] = []
    }

    private let state = Mutex(State())
    private let show: TransferOutput
    private let verb: String
    /// More entries than this are not remembered by size: their share is not shown.
    private static let sizeLimit = 10_000
    private static let interval = Duration.milliseconds(200)
    private static let rateSpan = Duration.seconds(3)

    /// Shows nothing yet.
    ///
    /// - Parameters:
    ///   - show: where it is shown.
    ///   - verb: `sending` or `receiving`.
    init(_ show: TransferOutput, verb: String) {
        self.show = show
        self.verb = verb
    }

    /// The path of the connection in words, for the live line.
    func setPath(_ path: String) {
        state.withLock { state in
            state.path = path
            state.samples = []
        }
    }

    /// Whether what is moved is a stream, which cannot be gone on with.
    var hasStream: Bool { state.withLock(\.hasStream) }

    /// Takes an event; returns at once.
    func take(_ event: TransferEvent) {
        switch event {
        case .offered(let offer):
            let hasStream = offer.entries.contains { $0.kind == .file(size: nil) }
            state.withLock { state in
                state.hasStream = hasStream
                state.files = offer.files
                state.bytes = offer.bytes
                for entry in offer.entries.prefix(Self.sizeLimit) {
                    if case .file(let size?) = entry.kind { state.sizes[entry.name] = size }
                }
            }
            show.emit("offered", ["files": .integer(Int64(offer.files)), "bytes": .integer(Int64(offer.bytes))])
            let what = offer.files == 1 ? "1 file" : "\(offer.files) files"
            let size = hasStream ? "of unknown size" : Amount.bytes(offer.bytes)
            show.say("\(verb.prefix(1).uppercased())\(verb.dropFirst()) \(what), \(size)")
        case .accepted: break
        case .leftOut(let name, let error):
            failed(name, error, words: "\(name) is left out")
        case .resumed(let name, let bytes):
            state.withLock { state in
                state.total += bytes
                state.start = nil
            }
            show.emit("resumed", ["name": .string(name), "bytes": .integer(Int64(bytes))])
            show.say("Going on with \(name): \(Amount.bytes(bytes)) are there")
        case .restarted(let name):
            show.problem("\(name) is not what the other side has a part of: it goes again from its start")
        case .progress(let name, let bytes, let total): progress(name, bytes: bytes, total: total)
        case .stored: break
        case .done(let name):
            let size = state.withLock { state -> Int? in
                state.filesDone += 1
                return state.sizes[name]
            }
            var members: [(String, JSONLine.Value)] = [("name", .string(name)), ("state", "done")]
            if let size { members.append(("bytes", .integer(Int64(size)))) }
            show.emit("file", members)
        case .failed(let name, let error): failed(name, error, words: name)
        }
    }

    private func failed(_ name: String, _ error: TransferError, words: String) {
        show.emit(
            "file",
            [
                "name": .string(name), "state": "failed", "code": .string(error.code.rawValue),
                "message": .string(error.message),
            ]
        )
        show.say("! \(words): \(error.message)")
    }

    private func progress(_ name: String, bytes: Int, total: Int) {
        let now = ContinuousClock.now
        let shown = state.withLock { state -> State? in
            state.name = name
            state.nameBytes = bytes
            state.total = total
            if state.start == nil { state.start = (now, total) }
            if let last = state.lastShown, now - last < Self.interval { return nil }
            state.lastShown = now
            state.samples.append((now, total))
            while let first = state.samples.first, now - first.at > Self.rateSpan, state.samples.count > 2 {
                state.samples.removeFirst()
            }
            return state
        }
        guard let shown else { return }
        show.emit(
            "progress",
            [
                "name": .string(name), "bytes": .integer(Int64(bytes)), "total": .integer(Int64(total)),
                "of": .integer(Int64(shown.bytes)), "rate": .number(Self.rate(shown)),
            ]
        )
        guard !show.isJSON else { return }
        var segments = [verb]
        if shown.bytes > 0 {
            let share = Double(total) / Double(shown.bytes)
            segments.append("\(Amount.bar(share, columns: 20)) \(Amount.percent(share))")
        } else {
            segments.append(Amount.bytes(total))
        }
        segments.append(Amount.byteRate(perSecond: Self.rate(shown)))
        if let start = shown.start,
            let left = Amount.remaining(
                done: total - start.total,
                total: shown.bytes - start.total,
                elapsed: now - start.at
            )
        {
            segments.append("\(Amount.clock(left)) left")
        }
        if shown.files > 1 { segments.append("file \(min(shown.filesDone + 1, shown.files)) of \(shown.files)") }
        if let size = shown.sizes[name], size > 0, shown.files > 1 {
            segments.append("\(name) \(Amount.percent(Double(bytes) / Double(size)))")
        }
        if !shown.path.isEmpty { segments.append(shown.path) }
        show.statusLine.show(segments, at: now)
    }

    /// Bytes a second over the last few.
    private static func rate(_ state: State) -> Double {
        guard let first = state.samples.first, let last = state.samples.last, last.at > first.at else { return 0 }
        return Double(last.total - first.total) / ((last.at - first.at) / .seconds(1))
    }

    /// One sentence, and an event, on how it ended.
    func summarise(_ summary: TransferSummary) {
        show.emit(
            "summary",
            [
                "files": .integer(Int64(summary.files)), "bytes": .integer(Int64(summary.bytes)),
                "resumedBytes": .integer(Int64(summary.resumedBytes)),
                "failures": .integer(Int64(summary.failures.count)),
            ]
        )
    }
}
