import FileTransfer
import Locking
import PeerConnection
import TerminalUI

/// Shows how a transfer of files goes: a line for each file that is done, and one live line.
final class TransferProgress: Sendable {
    private struct State {
        var isOffered = false
        var isAccepted = false
        var files = 0
        var filesDone = 0
        var failures = 0
        /// Bytes of all files but those that failed.
        var bytes = 0
        /// The sizes of those that may still fail, by name; made at the first that does.
        var sizes: [String: Int]?
        /// Bytes of the whole so far, with those that were there already.
        var total = 0
        var resumedBytes = 0
        /// Bytes that came, or were there, of files that failed.
        var failedBytes = 0
        /// Files that were there whole, to be told in one line.
        var filesThere = 0
        var name = ""
        var nameBytes = 0
        /// The file of `name`, and the last one that was done: the two come in order, each at its own pace.
        var current = EntryCursor()
        var done = EntryCursor()
        var hasStream = false
        /// When counting began, and from how many bytes: what was there already took no time.
        var start: (at: ContinuousClock.Instant, total: Int)?
        var lastShown: (at: ContinuousClock.Instant, total: Int)?
        var samples: [(at: ContinuousClock.Instant, total: Int)] = []

        /// Measures from now on.
        mutating func startCounting(at now: ContinuousClock.Instant) {
            start = (now, total)
            samples = [(now, total)]
        }

        /// Bytes that were there count, but not as fast ones: what has taken so long was looking at them.
        mutating func addThere(_ bytes: Int, at now: ContinuousClock.Instant) {
            total += bytes
            resumedBytes += bytes
            guard isAccepted else { return }
            startCounting(at: now)
            // A rate takes some time to be known.
            lastShown = (now, total)
        }

        /// Takes the whole so far; of less than before a file has failed.
        mutating func setTotal(_ new: Int) {
            let lost = max(0, total - new)
            failedBytes += lost
            start?.total -= lost
            for index in samples.indices { samples[index].total -= lost }
            total = new
        }

        /// Takes a file that failed out of what is to come.
        mutating func leaveOut(_ name: String, of entries: [TransferEntry]) {
            var left =
                sizes
                ?? Dictionary(
                    entries.compactMap { entry in
                        if case .file(let size?) = entry.kind { (entry.name, size) } else { nil }
                    },
                    uniquingKeysWith: { first, _ in first }
                )
            bytes -= left.removeValue(forKey: name) ?? 0
            sizes = left
        }

        /// How long it has been counting, if that is long enough to tell a rate.
        func knownSpan(at now: ContinuousClock.Instant) -> Duration? {
            start.flatMap { now - $0.at >= TransferProgress.rateKnown ? now - $0.at : nil }
        }

        /// Bytes a second over the last few.
        var rate: Int {
            guard let first = samples.first, let last = samples.last, last.at > first.at else { return 0 }
            return Int(min(Double(last.total - first.total) / ((last.at - first.at) / .seconds(1)), 1e15))
        }
    }

    private let state = Mutex(State())
    private let path = Mutex("")
    private let show: TransferOutput
    private let verb: String
    private static let interval = Duration.milliseconds(200)
    private static let rateSpan = Duration.seconds(3)
    /// What a rate, and the time that is left, take to be known.
    private static let rateKnown = Duration.seconds(1)

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
    func setPath(_ words: String) { path.withLock { $0 = words } }

    /// Whether what is moved is a stream, on either side, which cannot be gone on with.
    var hasStream: Bool { state.withLock(\.hasStream) }

    /// Takes an event of this moment; returns at once.
    func take(_ event: TransferEvent, at now: ContinuousClock.Instant = .now) {
        switch event {
        case .offered(let offer): offered(offer)
        case .accepted(let isStream): accepted(asStream: isStream, at: now)
        case .leftOut(let name, let error): failed(name, error, words: "\(name) is left out")
        case .resumed(let name, let bytes): resumed(name, bytes, at: now)
        case .restarted(let name):
            show.problem("\(name) is not what the other side has a part of: it goes again from its start")
        case .progress(let name, let bytes, let total): progress(name, bytes: bytes, total: total, at: now)
        case .stored: break
        case .done(let name):
            let size = state.withLock { state -> Int? in
                state.filesDone += 1
                return state.done.move(to: name)
            }
            var members: [(String, JSONLine.Value)] = [("name", .string(name)), ("state", "done")]
            if let size { members.append(("bytes", .integer(Int64(size)))) }
            show.emit("file", members)
        case .failed(let name, let error): failed(name, error, words: name)
        }
    }

    /// Each connection begins with an offer of all there is.
    private func offered(_ offer: TransferOffer) {
        let hasStream = offer.entries.contains { $0.kind == .file(size: nil) }
        state.withLock { state in
            state = State()
            state.isOffered = true
            state.hasStream = hasStream
            state.files = offer.files
            state.bytes = offer.bytes
            state.current = EntryCursor(offer.entries)
            state.done = state.current
        }
        show.emit("offered", ["files": .integer(Int64(offer.files)), "bytes": .integer(Int64(offer.bytes))])
        let size = hasStream ? "of unknown size" : Amount.bytes(offer.bytes)
        show.say("\(verb.prefix(1).uppercased())\(verb.dropFirst()) \(Self.count(offer.files)), \(size)")
    }

    private func accepted(asStream isStream: Bool, at now: ContinuousClock.Instant) {
        let (files, bytes) = state.withLock { state -> (Int, Int) in
            state.isAccepted = true
            state.hasStream = state.hasStream || isStream
            state.startCounting(at: now)
            // A rate takes some time to be known.
            state.lastShown = (now, state.total)
            return (state.filesThere, state.resumedBytes)
        }
        guard files > 0 else { return }
        show.say("\(Self.count(files)) \(files == 1 ? "is" : "are") there already, \(Amount.bytes(bytes))")
    }

    private func resumed(_ name: String, _ bytes: Int, at now: ContinuousClock.Instant) {
        let isPart = state.withLock { state -> Bool in
            state.addThere(bytes, at: now)
            if !state.isAccepted { state.filesThere += 1 }
            return state.isAccepted
        }
        show.emit("resumed", ["name": .string(name), "bytes": .integer(Int64(bytes))])
        if isPart { show.say("Going on with \(name): \(Amount.bytes(bytes)) are there") }
    }

    private static func count(_ files: Int) -> String { files == 1 ? "1 file" : "\(files) files" }

    private func failed(_ name: String, _ error: TransferError, words: String) {
        state.withLock { state in
            state.failures += 1
            state.leaveOut(name, of: state.done.entries)
        }
        show.emit(
            "file",
            [
                "name": .string(name), "state": "failed", "code": .string(error.code.rawValue),
                "message": .string(error.message),
            ]
        )
        show.say("! \(words): \(error.message)")
    }

    private func progress(_ name: String, bytes: Int, total: Int, at now: ContinuousClock.Instant) {
        let shown = state.withLock { state -> State? in
            state.name = name
            state.nameBytes = bytes
            state.setTotal(total)
            // The last bytes of all do not wait.
            let isWhole = total > 0 && total == state.bytes
            if let last = state.lastShown, now - last.at < Self.interval, !isWhole { return nil }
            return Self.mark(&state, at: now)
        }
        if let shown { draw(shown, at: now) }
    }

    /// Notes that what the state tells is shown.
    private static func mark(_ state: inout State, at now: ContinuousClock.Instant) -> State {
        state.lastShown = (now, state.total)
        state.samples.append((now, state.total))
        while let first = state.samples.first, now - first.at > rateSpan, state.samples.count > 2 {
            state.samples.removeFirst()
        }
        _ = state.current.move(to: state.name)
        return state
    }

    private func draw(_ shown: State, at now: ContinuousClock.Instant) {
        let (name, bytes, total) = (shown.name, shown.nameBytes, shown.total)
        show.emit(
            "progress",
            [
                "name": .string(name), "bytes": .integer(Int64(bytes)), "total": .integer(Int64(total)),
                "of": .integer(Int64(shown.bytes)), "rate": .integer(Int64(shown.rate)),
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
        if let span = shown.knownSpan(at: now), let start = shown.start {
            segments.append(Amount.byteRate(perSecond: Double(shown.rate)))
            let left = Amount.remaining(done: total - start.total, total: shown.bytes - start.total, elapsed: span)
            if let left { segments.append("\(Amount.clock(left)) left") }
        }
        if shown.files > 1 {
            segments.append("file \(shown.current.fileNumber) of \(shown.files)")
            if let size = shown.current.size, size > 0 {
                segments.append("\(name) \(Amount.percent(Double(bytes) / Double(size)))")
            }
        }
        segments.append(path.withLock { $0 })
        show.statusLine.show(segments, at: now)
    }

    /// How far it came, and an event on what that is in all: of a transfer that came to its end its own summary.
    func summarise(_ summary: TransferSummary?, at now: ContinuousClock.Instant = .now) {
        let (last, present) = state.withLock { state -> (State?, State) in
            let isShown = state.name.isEmpty || state.lastShown?.total == state.total
            return (isShown ? nil : Self.mark(&state, at: now), state)
        }
        if let last { draw(last, at: now) }
        guard summary != nil || present.isOffered else { return }
        func event(_ files: Int, _ bytes: Int, _ resumedBytes: Int, _ failures: Int) {
            show.emit(
                "summary",
                [
                    "files": .integer(Int64(files)), "bytes": .integer(Int64(bytes)),
                    "resumedBytes": .integer(Int64(resumedBytes)), "failures": .integer(Int64(failures)),
                ]
            )
        }
        if let summary {
            event(summary.files, summary.bytes, summary.resumedBytes, summary.failures.count)
        } else {
            let bytes = max(0, present.total + present.failedBytes - present.resumedBytes)
            event(present.filesDone, bytes, present.resumedBytes, present.failures)
        }
    }
}

/// A place among the entries of an offer, found by name: at once for those that come in their order.
private struct EntryCursor {
    let entries: [TransferEntry]
    private var index = 0
    /// Files before it.
    private var filesBefore = 0

    init(_ entries: [TransferEntry] = []) { self.entries = entries }

    /// Counted from 1.
    var fileNumber: Int { filesBefore + 1 }

    /// Of the file here, if it is known.
    var size: Int? {
        guard entries.indices.contains(index), case .file(let size) = entries[index].kind else { return nil }
        return size
    }

    /// Goes to a name, and stays if there is none such.
    ///
    /// - Returns: its size, if it is known.
    mutating func move(to name: String) -> Int? {
        var to = (index: index, files: filesBefore)
        for _ in entries.indices {
            if to.index == entries.count { to = (0, 0) }
            if entries[to.index].name.utf8.elementsEqual(name.utf8) {
                (index, filesBefore) = (to.index, to.files)
                return size
            }
            if case .file = entries[to.index].kind { to.files += 1 }
            to.index += 1
        }
        return nil
    }
}
