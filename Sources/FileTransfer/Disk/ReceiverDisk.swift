internal import CLinux
internal import Glibc

/// The receiver's files and the state of its side of the protocol, on the transfer's thread.
actor ReceiverDisk {
    enum Destination: Sendable {
        case directory(String)
        case stream(descriptor: CInt)
    }

    /// Complete files that wait to be made safe together.
    static let finishingLimit = 128
    /// Complete files from which on one sync of the file system is cheaper than one each.
    static let wholeSyncFiles = 8

    /// The file that is being written.
    struct Writing {
        var index: Int
        /// Nil for a stream.
        var parent: OpenFile?
        var temporaryName = ""
        var file: OpenFile
        /// Chunks of the block under way, as messages with their headers.
        var pending: [[UInt8]] = []
        var pendingOffset: Int
        var offset: Int
        /// Up to where the sender's hashes were right, and the chain value there.
        var verified: Int
        var verifiedChain: Digest
        var synced: Int
    }

    /// A complete file that still has its temporary name.
    struct Finished {
        var index: Int
        var parent: OpenFile
        var temporaryName: String
        /// Nil: safe already, from an earlier run.
        var file: OpenFile?
        var size: Int
    }

    let thread: DiskThread
    let destination: Destination
    let options: FileReceiver.Options
    var machine: ReceiverMachine
    var target: TargetDirectory?
    var journal: Journal?
    var chain: HashChain
    var hasDigests = false
    var writing: Writing?
    /// The file whose remaining messages are dropped because it failed here.
    var dropped: Int?
    var finishing: [Finished] = []
    var madeDirectories: [Int] = []
    /// Names here of folders whose own were taken, by their paths in the offer.
    var otherNames: [[UInt8]: String] = [:]
    var failedEntries: Set<Int> = []
    var leavesPartialFiles = false
    /// Whether a file failed of which nothing is left, and which may well come when it is sent again.
    var hasFailedUnderWay = false
    /// Bytes of the whole so far: of files that are here or under way.
    var total = 0
    /// What of it is of the file under way.
    var counted: (file: Int, bytes: Int)?
    var outgoing: [TransferMessage] = []
    var isFinished = false
    var hasSentFinished = false
    var summary = TransferSummary()
    /// As the process's umask has it: the sender does not decide who else may write here.
    let withheldPermissions = FileCalls.withheldPermissions()

    nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe thread.asUnownedSerialExecutor() }

    init(destination: Destination, options: FileReceiver.Options, thread: DiskThread) throws(TransferError) {
        self.destination = destination
        self.options = options
        self.thread = thread
        machine = ReceiverMachine(limits: options.limits)
        chain = try HashChain()
    }

    var entries: [TransferEntry] { machine.manifest.entries }
    /// Whether what has come cannot come again, or cannot be taken back.
    var holdsStream: Bool {
        if case .stream = destination { return summary.bytes > 0 }
        return writing.map { entries[$0.index].size == nil } ?? false
    }
    /// Whether an error of this side's ends an offer of which nothing is here: there is nothing to go on with.
    ///
    /// What can be gone on with, once there is room for it, is not refused for good.
    func refusesOffer(_ error: TransferError) -> Bool {
        guard machine.isAnswering, !error.isFromPeer, journal?.isNew ?? true else { return false }
        return ![.cancelled, .channelClosed, .busy, .protocolViolation].contains(error.code)
    }
    func tell(_ event: TransferEvent) { options.onEvent(event) }
    func send(_ message: ControlMessage) { outgoing.append(.text(message.text)) }

    // MARK: Messages

    /// Does what messages of the sender ask for.
    ///
    /// - Returns: answers to send, in this order.
    func receive(_ messages: [TransferMessage]) async throws(TransferError) -> [TransferMessage] {
        outgoing = []
        for message in messages {
            let effect = try machine.receive(message)
            switch effect {
            case .nothing: break
            case .offered(let offer): try await answer(offer)
            case .begin(let file, let offset):
                try perform(file) { () throws(TransferError) in try begin(file, at: offset) }
            case .write(let file, let offset, let message):
                try perform(file) { () throws(TransferError) in try write(file, at: offset, message) }
            case .block(let file, let offset, let expected):
                try perform(file) { () throws(TransferError) in try checkBlock(file, at: offset, expected) }
            case .end(let file, let bytes, let root, let whole):
                try perform(file) { () throws(TransferError) in
                    try end(file, bytes: bytes, root: root, whole: whole)
                }
                if dropped == file { dropped = nil }
            case .skip(let file, let error): skip(file, error)
            case .leftOut(let name, let error): fail(named: name, error)
            case .finish: try finish()
            case .bye:
                if let target, isJournalOfNoUse { journal?.remove(from: target.root) }
                isFinished = true
            }
        }
        try placeFinished()
        return outgoing
    }

    /// Does a piece of work on a file; what concerns this file alone fails it alone.
    func perform(_ file: Int, _ work: () throws(TransferError) -> Void) throws(TransferError) {
        guard dropped != file else { return }
        do throws(TransferError) {
            try work()
        } catch {
            switch error.code {
            case .noSpace, .readOnly, .system, .cancelled: throw error
            default: break
            }
            guard case .directory = destination else { throw error }
            if error.code == .hashMismatch { try discard(file) } else { clearUp(file) }
            takeBack(file)
            dropped = file
            fail(file, error, isTold: true)
        }
    }

    func fail(_ file: Int, _ error: TransferError, isTold: Bool) {
        fail(named: printable(entries[file].name), error)
        if isTold { send(.failed(file: file, error)) }
    }

    /// Counts a failure; the name is for people.
    func fail(named name: String, _ error: TransferError) {
        summary.failures.append(TransferSummary.Failure(name: name, error: error))
        tell(.failed(name: name, error))
    }

    /// Adds bytes of a file to the whole.
    func count(_ index: Int, _ bytes: Int) {
        total += bytes
        counted = (index, (counted.map { $0.file == index ? $0.bytes : 0 } ?? 0) + bytes)
    }

    /// Takes the bytes of a file that failed out of the whole again.
    func takeBack(_ index: Int) {
        guard let last = counted, last.file == index, last.bytes > 0 else { return }
        counted = nil
        takeBack(index, last.bytes)
    }

    func takeBack(_ index: Int, _ bytes: Int) {
        total -= bytes
        tell(.progress(name: entries[index].name, bytes: 0, total: total))
    }

    /// Counts what was there of a file before this run.
    func countThere(_ index: Int, _ bytes: Int) {
        summary.resumedBytes += bytes
        count(index, bytes)
        tell(.resumed(name: entries[index].name, bytes: bytes))
    }

    // MARK: Bytes

    func begin(_ index: Int, at offset: Int) throws(TransferError) {
        guard case .directory = destination else {
            writing = try openStream(index)
            return
        }
        guard let parent = target?.open(placed(entries[index].path.dropLast())) else {
            throw FileCalls.failure("open the directory of", entries[index].name)
        }
        let temporaryName = temporaryName(index)
        let file: OpenFile?
        var start = Digest.chainStart
        if offset > 0 {
            file = FileCalls.open(temporaryName, in: parent.descriptor, O_RDWR | O_NOFOLLOW | O_NONBLOCK)
            if let file {
                guard case .progress(offset, let value) = journal?.states[index],
                    ftruncate(file.descriptor, offset) == 0
                else { throw FileCalls.failure("resume", temporaryName) }
                start = value
                try chain.start(wantsWhole: hasDigests, after: hasDigests ? .chainStart : value)
                if hasDigests, try !hash(file, through: offset) { throw FileCalls.failure("resume", temporaryName) }
                countThere(index, offset)
            }
        } else {
            let state = journal?.states[index]
            var isOther = false
            switch state {
            case .done, .foreign: isOther = true
            case .progress(let bytes, _) where bytes > 0:
                tell(.restarted(name: entries[index].name))
                try journal?.append([.progress(file: index, bytes: 0, chain: .chainStart)])
            case .progress, nil: break
            }
            // A leftover of this transfer's goes; what may be somebody else's stays, and the file fails.
            if journal?.isNew == false, !isOther { _ = unsafe unlinkat(parent.descriptor, temporaryName, 0) }
            file = FileCalls.open(temporaryName, in: parent.descriptor, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW)
            // From now on the temporary name is this transfer's.
            if file != nil, isOther { try journal?.append([.progress(file: index, bytes: 0, chain: .chainStart)]) }
            try chain.start(wantsWhole: hasDigests)
        }
        guard let file else { throw FileCalls.failure("write", entries[index].name + ".part") }
        writing = Writing(
            index: index,
            parent: parent,
            temporaryName: temporaryName,
            file: file,
            pendingOffset: offset,
            offset: offset,
            verified: offset,
            verifiedChain: start,
            synced: offset
        )
    }

    func openStream(_ index: Int) throws(TransferError) -> Writing {
        guard case .stream(let descriptor) = destination else { throw .violation("no stream") }
        let copy = dup(descriptor)
        guard copy >= 0 else { throw FileCalls.streamFailure() }
        try chain.start(wantsWhole: hasDigests)
        return Writing(
            index: index,
            file: OpenFile(copy),
            pendingOffset: 0,
            offset: 0,
            verified: 0,
            verifiedChain: .chainStart,
            synced: 0
        )
    }

    func write(_ index: Int, at offset: Int, _ message: [UInt8]) throws(TransferError) {
        if writing == nil { try begin(index, at: 0) }
        let count = message.count - DataFrame.headerSize
        try chain.update(message, skipping: DataFrame.headerSize)
        writing?.pending.append(message)
        writing?.offset += count
        self.count(index, count)
        summary.bytes += count
        // Whole blocks at a time; a stream goes on at once.
        if (offset + count) % DataFrame.blockSize == 0 || writing?.parent == nil { try writePending() }
        // Hostile chunks of one byte: their headers count too.
        if let pending = writing?.pending.count, pending >= 1024 { try writePending() }
    }

    func writePending() throws(TransferError) {
        guard var current = writing, !current.pending.isEmpty else { return }
        let name = entries[current.index].name
        let isWritten: Bool
        if current.parent == nil {
            isWritten = FileCalls.writeStream(current.pending, skipping: DataFrame.headerSize, to: current.file)
        } else {
            isWritten = FileCalls.write(
                current.pending,
                skipping: DataFrame.headerSize,
                to: current.file,
                at: current.pendingOffset
            )
        }
        let code = errno
        current.pending = []
        current.pendingOffset = current.offset
        writing = current
        guard isWritten else {
            throw current.parent == nil ? FileCalls.streamFailure(code) : FileCalls.failure("write", name, code)
        }
        tell(.progress(name: name, bytes: current.offset, total: total))
    }

    func checkBlock(_ index: Int, at offset: Int, _ expected: Digest) throws(TransferError) {
        guard let current = writing else { return }
        guard chain.value == expected else {
            throw TransferError(
                .hashMismatch,
                "the block before byte \(offset) of \(printable(entries[index].name)) arrived damaged: run it again"
            )
        }
        writing?.verified = offset
        writing?.verifiedChain = expected
        if offset - current.synced >= options.syncBytes { try makeSafe() }
    }

    /// Makes what is verified of the file under way safe, records and acknowledges it.
    func makeSafe() throws(TransferError) {
        guard let current = writing, current.parent != nil, current.verified > current.synced else { return }
        let name = entries[current.index].name
        guard fdatasync(current.file.descriptor) == 0 else { throw FileCalls.failure("write", name) }
        let progress = Journal.Record.progress(
            file: current.index,
            bytes: current.verified,
            chain: current.verifiedChain
        )
        try journal?.append([progress])
        writing?.synced = current.verified
        send(.ack(file: current.index, bytes: current.verified))
        tell(.stored(name: name, bytes: current.verified))
    }

    func end(_ index: Int, bytes: Int, root: Digest, whole: Digest?) throws(TransferError) {
        if writing == nil { try begin(index, at: 0) }
        try writePending()
        guard let current = writing else { return }
        let name = entries[index].name
        let result = try chain.finish()
        guard result.root == root, whole == nil || result.whole == whole else {
            throw TransferError(.hashMismatch, "\(printable(name)) arrived damaged: run it again")
        }
        writing = nil
        guard let parent = current.parent else {
            summary.files += 1
            send(.done([index]))
            tell(.done(name: name))
            return
        }
        finishing.append(
            Finished(
                index: index,
                parent: parent,
                temporaryName: current.temporaryName,
                file: current.file,
                size: bytes
            )
        )
        if finishing.count >= Self.finishingLimit { try placeFinished() }
    }

    func skip(_ index: Int, _ error: TransferError) {
        if dropped == index {
            // It failed here, and the sender has been told.
            dropped = nil
        } else {
            clearUp(index)
            takeBack(index)
            fail(index, error, isTold: false)
        }
    }
}
