internal import CLinux
internal import Glibc

/// The receiver's files and the state of its side of the protocol, on the transfer's thread.
actor ReceiverDisk {
    enum Destination: Sendable {
        case directory(String)
        case stream(descriptor: CInt)
    }

    /// Complete files that wait to be made safe together.
    private static let finishingLimit = 128
    /// Complete files from which on one sync of the file system is cheaper than one each.
    private static let wholeSyncFiles = 8

    /// The file that is being written.
    private struct Writing {
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
    private struct Finished {
        var index: Int
        var parent: OpenFile
        var temporaryName: String
        /// Nil: safe already, from an earlier run.
        var file: OpenFile?
        var size: Int
    }

    private let thread: DiskThread
    private let destination: Destination
    private let options: FileReceiver.Options
    private var machine: ReceiverMachine
    private var target: TargetDirectory?
    private var journal: Journal?
    private var chain: HashChain
    private var hasDigests = false
    private var writing: Writing?
    /// The file whose remaining messages are dropped because it failed here.
    private var dropped: Int?
    private var finishing: [Finished] = []
    private var madeDirectories: [Int] = []
    private var leavesPartialFiles = false
    private var total = 0
    private var outgoing: [TransferMessage] = []
    private(set) var isFinished = false
    private(set) var hasSentFinished = false
    private(set) var summary = TransferSummary()

    nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe thread.asUnownedSerialExecutor() }

    init(destination: Destination, options: FileReceiver.Options, thread: DiskThread) throws(TransferError) {
        self.destination = destination
        self.options = options
        self.thread = thread
        machine = ReceiverMachine(limits: options.limits)
        chain = try HashChain()
    }

    private var entries: [TransferEntry] { machine.manifest.entries }
    private func tell(_ event: TransferEvent) { options.onEvent(event) }
    private func send(_ message: ControlMessage) { outgoing.append(.text(message.text)) }

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
            case .finish: try finish()
            case .bye:
                if let target, !leavesPartialFiles { journal?.remove(from: target.root) }
                isFinished = true
            }
        }
        try placeFinished()
        return outgoing
    }

    /// Does a piece of work on a file; what concerns this file alone fails it alone.
    private func perform(_ file: Int, _ work: () throws(TransferError) -> Void) throws(TransferError) {
        guard dropped != file else { return }
        do throws(TransferError) {
            try work()
        } catch {
            switch error.code {
            case .noSpace, .readOnly, .system, .cancelled: throw error
            default: break
            }
            guard case .directory = destination else { throw error }
            if writing?.index == file {
                try? makeSafe()
                writing = nil
                leavesPartialFiles = true
            }
            dropped = file
            fail(file, error, isTold: true)
        }
    }

    private func fail(_ file: Int, _ error: TransferError, isTold: Bool) {
        let name = printable(entries[file].name)
        summary.failures.append(TransferSummary.Failure(name: name, error: error))
        tell(.failed(name: name, error))
        if isTold { send(.failed(file: file, error)) }
    }

    // MARK: The offer

    private func answer(_ offer: ControlMessage.Offer) async throws(TransferError) {
        let description = TransferOffer(
            transfer: offer.transfer.hexadecimal,
            entries: entries,
            files: offer.files,
            bytes: offer.bytes
        )
        tell(.offered(description))
        if let reason = await options.refusal(description) {
            throw TransferError(.refused, reason)
        }
        hasDigests = offer.hasFileDigests
        var wanted = entries.map(\.isFile)
        var partials: [ControlMessage.Partial] = []
        switch destination {
        case .stream:
            guard entries.count == 1, wanted[0] else {
                throw TransferError(
                    .refused,
                    "this side takes one file, as a stream: send one file, or receive into a directory"
                )
            }
        case .directory(let path):
            let target = try TargetDirectory(path: path)
            self.target = target
            journal = try Journal(transfer: offer.transfer, in: target.root)
            try prepare(&wanted, &partials)
            // Those that only lack their names get them before anything is said of them.
            try placeFinished()
            try checkSpace(wanted: wanted, partials: partials)
        }
        sendHave(wanted: wanted, partials: partials)
        machine.answer(
            wanted: wanted,
            partials: Dictionary(partials.map { ($0.file, $0.bytes) }) { first, _ in first }
        )
        send(.accept)
        tell(.accepted)
    }

    private func sendHave(wanted: [Bool], partials: [ControlMessage.Partial]) {
        var ranges: [ClosedRange<Int>] = []
        for index in entries.indices where !wanted[index] && !failedEntries.contains(index) {
            if let last = ranges.last, last.upperBound == index - 1 {
                ranges[ranges.count - 1] = last.lowerBound...index
            } else {
                ranges.append(index...index)
            }
        }
        var partials = partials[...]
        var rest = ranges[...]
        while !rest.isEmpty || !partials.isEmpty {
            let some = rest.prefix(ControlMessage.maxItems / 8)
            let parts = partials.prefix(ControlMessage.maxItems / 8)
            rest = rest.dropFirst(some.count)
            partials = partials.dropFirst(parts.count)
            send(.have(done: Array(some), partial: Array(parts)))
        }
    }

    private var failedEntries: Set<Int> = []

    private func refuse(_ index: Int, _ error: TransferError, _ wanted: inout [Bool]) {
        wanted[index] = false
        failedEntries.insert(index)
        fail(index, error, isTold: true)
    }

    /// Makes directories and links, and finds out what is there of each file.
    private func prepare(
        _ wanted: inout [Bool],
        _ partials: inout [ControlMessage.Partial]
    ) throws(TransferError) {
        guard var target, var journal else { return }
        defer {
            self.target = target
            self.journal = journal
        }
        if journal.isNew {
            // Before anything is made: which directories will be this transfer's, which temporary names are not.
            var records: [Journal.Record] = []
            for (index, state) in journal.states {
                guard case .done(let size, let seconds) = state else { continue }
                records.append(.done(file: index, size: size, seconds: seconds))
            }
            var missing: Set<[String]> = []
            for (index, entry) in entries.enumerated() {
                let parent = Array(entry.path.dropLast())
                if missing.contains(parent) {
                    if entry.kind == .directory { missing.insert(entry.path) }
                } else if let directory = target.open(parent) {
                    switch entry.kind {
                    case .directory:
                        if FileCalls.status(of: name(index), in: directory.descriptor) == nil {
                            missing.insert(entry.path)
                        }
                    case .file:
                        if journal.states[index] == nil,
                            FileCalls.status(of: temporaryName(index), in: directory.descriptor) != nil
                        {
                            records.append(.foreign(file: index))
                        }
                    case .symlink: break
                    }
                }
                if missing.contains(entry.path) { records.append(.done(file: index, size: 0, seconds: 0)) }
            }
            records.append(.ready)
            try journal.append(records)
            fsync(target.root.descriptor)
        }
        for (index, entry) in entries.enumerated() {
            if Task.isCancelled { throw .cancelledByTask }
            guard let parent = target.open(entry.path.dropLast()) else {
                refuse(index, FileCalls.failure("open the directory of", entry.name), &wanted)
                continue
            }
            do throws(TransferError) {
                switch entry.kind {
                case .directory: try makeDirectory(index, in: parent, isOurs: journal.states[index] != nil)
                case .symlink(let link): try makeLink(index, to: link, in: parent)
                case .file:
                    let found = try look(for: index, in: parent, state: journal.states[index])
                    if found.isDone { wanted[index] = false }
                    if let partial = found.partial { partials.append(partial) }
                }
            } catch {
                guard error.code != .cancelled, error.code != .noSpace, error.code != .readOnly else { throw error }
                refuse(index, error, &wanted)
            }
        }
    }

    private func name(_ index: Int) -> String { entries[index].path.last ?? "" }

    /// The name of a file until it is complete: `NAME.part`, or a shorter one where that is too long or taken.
    private func temporaryName(_ index: Int) -> String {
        let path = entries[index].path
        let name = name(index)
        let plain = name + ".part"
        if plain.utf8.count <= Manifest.maxNameBytes, !machine.manifest.contains(path.dropLast() + [plain]) {
            return plain
        }
        var short = name
        while short.utf8.count > 200 { short.unicodeScalars.removeLast() }
        var number = index
        while true {
            let candidate = "\(short).\(number).part"
            if !machine.manifest.contains(path.dropLast() + [candidate]) { return candidate }
            number += entries.count
        }
    }

    private func makeDirectory(_ index: Int, in parent: OpenFile, isOurs: Bool) throws(TransferError) {
        // Writable for us until the end, when it gets its own mode.
        if unsafe mkdirat(parent.descriptor, name(index), 0o700) != 0 {
            guard errno == EEXIST else { throw FileCalls.failure("make the directory", entries[index].name) }
            guard let status = FileCalls.status(of: name(index), in: parent.descriptor),
                status.st_mode & S_IFMT == S_IFDIR
            else {
                throw TransferError(.exists, "\(printable(entries[index].name)) exists already and is no directory")
            }
        }
        if isOurs { madeDirectories.append(index) }
    }

    private func makeLink(_ index: Int, to link: String, in parent: OpenFile) throws(TransferError) {
        let name = name(index)
        if unsafe symlinkat(link, parent.descriptor, name) == 0 { return }
        guard errno == EEXIST else { throw FileCalls.failure("make the link", entries[index].name) }
        if FileCalls.link(name, in: parent.descriptor) == link { return }
        switch options.existing {
        case .refuse: throw exists(index)
        case .overwrite:
            guard unsafe unlinkat(parent.descriptor, name, 0) == 0, unsafe symlinkat(link, parent.descriptor, name) == 0
            else { throw FileCalls.failure("make the link", entries[index].name) }
        case .rename:
            for number in 1...999 {
                if unsafe symlinkat(link, parent.descriptor, Self.numbered(name, number)) == 0 { return }
                guard errno == EEXIST else { break }
            }
            throw FileCalls.failure("make the link", entries[index].name)
        }
    }

    private func exists(_ index: Int) -> TransferError {
        TransferError(
            .exists,
            "\(printable(entries[index].name)) exists already: choose overwrite or rename, or move it away"
        )
    }

    /// `report (1).pdf`.
    static func numbered(_ name: String, _ number: Int) -> String {
        let bytes = Array(name.utf8)
        guard let dot = bytes.lastIndex(of: UInt8(ascii: ".")), dot > 0 else { return "\(name) (\(number))" }
        return String(decoding: bytes[..<dot], as: UTF8.self) + " (\(number))"
            + String(decoding: bytes[dot...], as: UTF8.self)
    }

    /// What is there of a file from earlier runs.
    private func look(
        for index: Int,
        in parent: OpenFile,
        state: Journal.FileState?
    ) throws(TransferError) -> (isDone: Bool, partial: ControlMessage.Partial?) {
        let entry = entries[index]
        let temporaryName = temporaryName(index)
        let present = FileCalls.status(of: name(index), in: parent.descriptor)
        let temporary = FileCalls.status(of: temporaryName, in: parent.descriptor)
        if state == .foreign, temporary != nil {
            throw TransferError(
                .exists,
                "\(printable(temporaryName)) exists already and is not of this transfer: move it away"
            )
        }
        if case .done(let size, let seconds) = state, size == entry.size, seconds == entry.modified?.seconds ?? 0 {
            if journal?.isNew == false, let temporary, temporary.st_mode & S_IFMT == S_IFREG,
                Int(temporary.st_size) == size
            {
                // Complete and safe, but the process died before it got its name.
                finishing.append(
                    Finished(index: index, parent: parent, temporaryName: temporaryName, file: nil, size: size)
                )
                return (true, nil)
            }
            let isThere = present.map { $0.st_mode & S_IFMT == S_IFREG && Int($0.st_size) == size } ?? false
            if temporary == nil || journal?.isNew == true, isThere || options.existing == .rename {
                summary.files += 1
                summary.resumedBytes += size
                return (true, nil)
            }
        }
        if let present {
            let isDirectory = present.st_mode & S_IFMT == S_IFDIR
            if options.existing == .refuse || (options.existing == .overwrite && isDirectory) { throw exists(index) }
        }
        guard case .progress(let bytes, let expected) = state, bytes > 0, bytes <= entry.size ?? DataFrame.maxFileSize,
            let temporary, temporary.st_mode & S_IFMT == S_IFREG, Int(temporary.st_size) >= bytes,
            let file = FileCalls.open(temporaryName, in: parent.descriptor, O_RDWR | O_NOFOLLOW | O_NONBLOCK)
        else { return (false, nil) }
        try chain.start(wantsWhole: false)
        guard try hash(file, through: bytes), chain.value == expected else { return (false, nil) }
        return (false, ControlMessage.Partial(file: index, bytes: bytes, root: expected))
    }

    /// Adds whole blocks of a file to the chain.
    ///
    /// - Returns: false if the file is shorter.
    private func hash(_ file: OpenFile, through bytes: Int) throws(TransferError) -> Bool {
        var buffer = [UInt8](repeating: 0, count: DataFrame.blockSize)
        var offset = 0
        while offset < bytes {
            if Task.isCancelled { throw .cancelledByTask }
            let start = offset
            let count = unsafe buffer.withUnsafeMutableBytes { unsafe FileCalls.read(file, into: $0, at: start) }
            guard count == buffer.count else { return false }
            try chain.update(buffer)
            offset += count
        }
        return true
    }

    private func checkSpace(wanted: [Bool], partials: [ControlMessage.Partial]) throws(TransferError) {
        guard let target else { return }
        var needed = 0
        for (index, entry) in entries.enumerated() where wanted[index] { needed += entry.size ?? 0 }
        for partial in partials { needed -= partial.bytes }
        var status = statvfs()
        guard unsafe fstatvfs(target.root.descriptor, &status) == 0 else { return }
        let (free, isHuge) = Int(status.f_bavail).multipliedReportingOverflow(by: Int(status.f_frsize))
        guard !isHuge, needed > free else { return }
        throw TransferError(
            .noSpace,
            "\(needed) bytes are to come, and the target directory has room for \(free): make room or choose another"
        )
    }

    // MARK: Bytes

    private func begin(_ index: Int, at offset: Int) throws(TransferError) {
        guard case .directory = destination else {
            writing = try openStream(index)
            return
        }
        guard let parent = target?.open(entries[index].path.dropLast()) else {
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
                summary.resumedBytes += offset
                total += offset
                tell(.resumed(name: entries[index].name, bytes: offset))
            }
        } else {
            let state = journal?.states[index]
            var isOther = false
            switch state {
            case .done, .foreign: isOther = true
            case .progress:
                tell(.restarted(name: entries[index].name))
                try journal?.append([.progress(file: index, bytes: 0, chain: .chainStart)])
            case nil: break
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

    private func openStream(_ index: Int) throws(TransferError) -> Writing {
        guard case .stream(let descriptor) = destination else { throw .violation("no stream") }
        let copy = dup(descriptor)
        guard copy >= 0 else { throw FileCalls.failure("write", entries[index].name) }
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

    private func write(_ index: Int, at offset: Int, _ message: [UInt8]) throws(TransferError) {
        if writing == nil { try begin(index, at: 0) }
        let count = message.count - DataFrame.headerSize
        try chain.update(message, skipping: DataFrame.headerSize)
        writing?.pending.append(message)
        writing?.offset += count
        total += count
        summary.bytes += count
        // Whole blocks at a time; a stream goes on at once.
        if (offset + count) % DataFrame.blockSize == 0 || writing?.parent == nil { try writePending() }
        // Hostile chunks of one byte: their headers count too.
        if let pending = writing?.pending.count, pending >= 1024 { try writePending() }
    }

    private func writePending() throws(TransferError) {
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
        guard isWritten else { throw FileCalls.failure("write", name, code) }
        tell(.progress(name: name, bytes: current.offset, total: total))
    }

    private func checkBlock(_ index: Int, at offset: Int, _ expected: Digest) throws(TransferError) {
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
    private func makeSafe() throws(TransferError) {
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

    private func end(_ index: Int, bytes: Int, root: Digest, whole: Digest?) throws(TransferError) {
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

    private func skip(_ index: Int, _ error: TransferError) {
        if writing?.index == index {
            try? makeSafe()
            writing = nil
            leavesPartialFiles = true
        }
        if dropped == index {
            // It failed here, and the sender has been told.
            dropped = nil
        } else {
            fail(index, error, isTold: false)
        }
    }

    // MARK: The end of files

    /// Makes complete files safe, records them, and gives them their names.
    private func placeFinished() throws(TransferError) {
        guard !finishing.isEmpty else { return }
        let batch = finishing
        finishing = []
        let files = batch.compactMap(\.file)
        for item in batch {
            guard let file = item.file else { continue }
            let entry = entries[item.index]
            // Neither set-user-ID nor set-group-ID nor sticky: the manifest has no more than permissions.
            fchmod(file.descriptor, mode_t(entry.mode & 0o777))
            Self.setTime(entry.modified, of: file)
        }
        let first = batch.first.map { entries[$0.index].name } ?? ""
        if files.count >= Self.wholeSyncFiles, let target {
            guard clinux_syncfs(target.root.descriptor) == 0 else { throw FileCalls.failure("write", first) }
        } else {
            for file in files {
                guard fsync(file.descriptor) == 0 else { throw FileCalls.failure("write", first) }
            }
        }
        // Recorded before the name is given: a file that has its name is known to be this transfer's.
        try journal?.append(
            batch.filter { $0.file != nil }.map {
                .done(file: $0.index, size: $0.size, seconds: entries[$0.index].modified?.seconds ?? 0)
            }
        )
        var done: [Int] = []
        var parents: [ObjectIdentifier: OpenFile] = [:]
        for item in batch {
            do throws(TransferError) {
                try giveName(item)
                parents[ObjectIdentifier(item.parent)] = item.parent
                done.append(item.index)
            } catch {
                leavesPartialFiles = true
                failedEntries.insert(item.index)
                fail(item.index, error, isTold: true)
            }
        }
        for (_, parent) in parents where fsync(parent.descriptor) != 0 {
            throw FileCalls.failure("write the directory of", first)
        }
        summary.files += done.count
        for index in done { tell(.done(name: entries[index].name)) }
        // Those that only lacked their name were reported with the answer.
        let news = Set(batch.filter { $0.file != nil }.map(\.index))
        done.removeAll { !news.contains($0) }
        if !done.isEmpty { send(.done(done)) }
    }

    private func giveName(_ item: Finished) throws(TransferError) {
        let name = name(item.index)
        let directory = item.parent.descriptor
        let full = entries[item.index].name
        switch options.existing {
        case .overwrite:
            guard unsafe renameat(directory, item.temporaryName, directory, name) == 0 else {
                throw FileCalls.failure("name", full)
            }
        case .refuse:
            guard FileCalls.renameWithoutReplacing(item.temporaryName, in: directory, to: name) == 0 else {
                if errno == EEXIST { throw exists(item.index) }
                throw FileCalls.failure("name", full)
            }
        case .rename:
            if FileCalls.renameWithoutReplacing(item.temporaryName, in: directory, to: name) == 0 { return }
            for number in 1...999 where errno == EEXIST {
                let other = Self.numbered(name, number)
                if FileCalls.renameWithoutReplacing(item.temporaryName, in: directory, to: other) == 0 { return }
            }
            throw FileCalls.failure("name", full)
        }
    }

    private static func setTime(_ time: TransferEntry.Time?, of file: OpenFile) {
        guard let time else { return }
        let value = timespec(tv_sec: time.seconds, tv_nsec: time.nanoseconds)
        let times = [value, value]
        _ = unsafe futimens(file.descriptor, times)
    }

    private func finish() throws(TransferError) {
        try placeFinished()
        for index in madeDirectories.reversed() {
            guard let directory = target?.open(entries[index].path) else { continue }
            fchmod(directory.descriptor, mode_t(entries[index].mode & 0o777))
            Self.setTime(entries[index].modified, of: directory)
            fsync(directory.descriptor)
        }
        if let target {
            // It stays until the sender knows: else the same offer would meet its own files.
            if !leavesPartialFiles { try journal?.append([.finished]) }
            fsync(target.root.descriptor)
        }
        hasSentFinished = true
        send(.finished(done: summary.files, failed: summary.failures.count))
    }

    /// Leaves a state that can be resumed when the transfer ends before its end.
    func leave() {
        outgoing = []
        try? placeFinished()
        try? makeSafe()
        writing = nil
    }
}
