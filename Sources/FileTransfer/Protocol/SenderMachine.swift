/// The sender's side of the protocol, without disk and channel: checks what the receiver says against what was sent.
struct SenderMachine {
    /// What a message of the receiver brings about.
    enum Effect: Hashable {
        /// The offer may be made.
        case makeOffer(TransferLimits)
        /// Sending may begin; whether the receiver writes a stream, which cannot be gone on with.
        case start(asStream: Bool)
        /// So much of a file is safely stored.
        case stored(file: Int, bytes: Int)
        /// These files are done.
        case done([Int])
        /// The receiver gave one entry up.
        case failed(file: Int, TransferError)
        /// All is done.
        case finished
        case nothing
    }

    private enum Phase { case hello, offer, answer, sending, finishing, finished }
    private enum FileState: UInt8 { case waiting, started, ended, done, skipped, failed }

    private var phase = Phase.hello
    private var entries: [TransferEntry] = []
    private var states: [FileState] = []
    private var partials: [Int: ControlMessage.Partial] = [:]
    /// The file that is being sent, and up to which byte it was.
    private var current: (file: Int, bytes: Int)?
    private var storedBytes: (file: Int, bytes: Int)?

    init() {}

    /// The offer of these entries is being sent.
    mutating func didOffer(_ entries: [TransferEntry]) {
        self.entries = entries
        states = Array(repeating: .waiting, count: entries.count)
        phase = .answer
    }

    /// Whether a file is still to be sent.
    func wants(_ file: Int) -> Bool { entries[file].isFile && states[file] == .waiting }
    /// Whether the receiver has given a file up.
    func hasFailed(_ file: Int) -> Bool { states[file] == .failed }
    /// Whether the receiver reported a file as done before it was sent.
    func isDone(_ file: Int) -> Bool { states[file] == .done }
    /// What the receiver has of a file.
    func partial(of file: Int) -> ControlMessage.Partial? { partials[file] }

    mutating func didSend(file: Int, through bytes: Int) {
        if states[file] == .waiting { states[file] = .started }
        current = (file, bytes)
    }

    mutating func didEnd(file: Int, bytes: Int) {
        if states[file] != .failed { states[file] = .ended }
        current = (file, bytes)
    }

    mutating func didSkip(file: Int) {
        if states[file] != .failed { states[file] = .skipped }
    }

    mutating func didFinish() { phase = .finishing }

    /// Takes a message of the receiver.
    mutating func receive(_ message: TransferMessage) throws(TransferError) -> Effect {
        guard case .text(let text) = message else { throw .violation("the receiver sent a binary message") }
        let message = try ControlMessage(text)
        switch (message, phase) {
        case (.error(let error), _): throw error
        case (.hello(let isSender, let version, let limits), .hello):
            guard version == ControlMessage.version else {
                throw TransferError(
                    .unsupportedVersion,
                    "the receiver speaks version \(version) of the protocol, this side \(ControlMessage.version)"
                )
            }
            guard !isSender else { throw .violation("both sides want to send: let one of them receive") }
            phase = .offer
            return .makeOffer(limits ?? TransferLimits())
        case (.refuse(let error), .answer): throw error.asRefusal()
        case (.have(let done, let partial), .answer):
            try note(done: done, partial: partial)
            return .nothing
        case (.accept(let isStream), .answer):
            phase = .sending
            return .start(asStream: isStream)
        case (.failed(let file, let error), .answer), (.failed(let file, let error), .sending),
            (.failed(let file, let error), .finishing):
            guard states.indices.contains(file), states[file] != .done, states[file] != .failed else {
                throw .violation("the receiver failed at entry \(file), which is not under way")
            }
            states[file] = .failed
            return .failed(file: file, error)
        case (.ack(let file, let bytes), .sending), (.ack(let file, let bytes), .finishing):
            guard let current, current.file == file ? bytes <= current.bytes : file < current.file,
                states.indices.contains(file), states[file] != .waiting, states[file] != .done,
                bytes <= entries[file].size ?? DataFrame.maxFileSize
            else { throw .violation("the receiver acknowledged \(bytes) bytes of entry \(file), which were not sent") }
            if let storedBytes, storedBytes.file == file, bytes < storedBytes.bytes {
                throw .violation("the receiver took back an acknowledgement of entry \(file)")
            }
            storedBytes = (file, bytes)
            return .stored(file: file, bytes: bytes)
        case (.done(let files), .sending), (.done(let files), .finishing):
            for file in files {
                guard states.indices.contains(file), states[file] == .ended else {
                    throw .violation("the receiver says that entry \(file) is done, which did not end")
                }
                states[file] = .done
            }
            return .done(files)
        case (.finished, .finishing):
            if let open = states.indices.first(where: { entries[$0].isFile && states[$0] == .ended }) {
                throw .violation("the receiver finished without a word on \(printable(entries[open].name))")
            }
            phase = .finished
            return .finished
        default: throw .violation("the receiver sent \"\(text.prefix(60))\" out of turn")
        }
    }

    private mutating func note(done: [ClosedRange<Int>], partial: [ControlMessage.Partial]) throws(TransferError) {
        for range in done {
            guard range.upperBound < states.count else {
                throw .violation("the receiver says that it has entry \(range.upperBound), which was not offered")
            }
            for file in range {
                // Each entry once: no message costs more than the manifest is long.
                guard states[file] == .waiting, partials[file] == nil else {
                    throw .violation("the receiver reports entry \(file) twice")
                }
                states[file] = .done
            }
        }
        for part in partial {
            guard states.indices.contains(part.file), states[part.file] == .waiting, entries[part.file].isFile,
                part.bytes > 0, part.bytes % DataFrame.blockSize == 0,
                part.bytes <= entries[part.file].size ?? DataFrame.maxFileSize,
                partials.updateValue(part, forKey: part.file) == nil
            else { throw .violation("the receiver has \(part.bytes) bytes of entry \(part.file), which cannot be") }
        }
    }
}
