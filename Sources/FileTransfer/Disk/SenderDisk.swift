internal import Glibc

/// The sender's files and the state of its side of the protocol, on the transfer's thread.
actor SenderDisk {
    enum Source: Sendable {
        case paths([String])
        case stream(descriptor: CInt, name: String)
    }

    /// What is read ahead at a time.
    private static let batchBytes = DataFrame.blockSize
    /// Small files in a batch at most.
    private static let batchFiles = 128
    /// Bytes of a prefix that are hashed between two looks for cancellation.
    private static let prefixSlice = 8 << 20

    private struct Reading {
        var index: Int
        var file: OpenFile
        var before: stat?
        var offset = 0
        /// Bytes of a partial file that are still to be compared.
        var prefix: ControlMessage.Partial?
    }

    private let thread: DiskThread
    private let source: Source
    private let options: FileSender.Options
    private var machine = SenderMachine()
    private var entries: [TransferEntry] = []
    /// For each entry, the path in this system.
    private var localPaths: [String] = []
    /// Which files were looked at for the offer: what stands in their place later is not sent.
    private var identities: [FileIdentity?] = []
    private var chain: HashChain
    private var chunkSize = 0
    private var next = 0
    private var reading: Reading?
    /// Bytes of the whole so far: of files that are there, were sent, or are under way.
    private var total = 0
    /// What of it is of a file that is not done yet.
    private var counted: [Int: Int] = [:]
    private var leftOut: [TransferSummary.Failure] = []
    private var isSentToEnd = false
    private(set) var summary = TransferSummary()

    nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe thread.asUnownedSerialExecutor() }

    init(source: Source, options: FileSender.Options, thread: DiskThread) throws(TransferError) {
        self.source = source
        self.options = options
        self.thread = thread
        chain = try HashChain()
    }

    private func tell(_ event: TransferEvent) { options.onEvent(event) }

    // MARK: The offer

    /// Looks at the files.
    ///
    /// - Returns: the messages of the offer.
    func offer(limits: TransferLimits, maxMessageSize: Int) throws(TransferError) -> [TransferMessage] {
        guard maxMessageSize >= 16_384 else {
            throw .violation("messages of at most \(maxMessageSize) bytes are too small for a transfer")
        }
        chunkSize = DataFrame.chunkSize(maxMessageSize: min(maxMessageSize, DataFrame.blockSize / 2))
        var offered = OfferedPaths(limits: limits)
        switch source {
        case .paths(let paths): for path in paths { try offered.add(path) }
        case .stream(_, let name): try offered.addStream(named: name)
        }
        let manifest = offered.manifest
        entries = manifest.entries
        localPaths = offered.localPaths
        identities = offered.identities
        leftOut = offered.leftOut
        summary.failures += leftOut
        for failure in leftOut { tell(.leftOut(name: failure.name, failure.error)) }
        guard !entries.isEmpty else { throw nothingToSend }
        let transfer = try manifest.identity()
        machine.didOffer(entries)
        tell(
            .offered(
                TransferOffer(
                    transfer: transfer.hexadecimal,
                    entries: entries,
                    files: manifest.files,
                    bytes: manifest.bytes
                )
            )
        )
        let offer = ControlMessage.Offer(
            transfer: transfer,
            entries: entries.count,
            files: manifest.files,
            bytes: manifest.bytes,
            hasFileDigests: options.includesFileDigests
        )
        var messages: [TransferMessage] = [.text(ControlMessage.offer(offer).text)]
        var first = 0
        var cost = 0
        for index in entries.indices {
            // Twice the name, for what JSON has to escape, and the member's names and numbers.
            var entryCost = 2 * entries[index].name.utf8.count + 200
            if case .symlink(let target) = entries[index].kind { entryCost += 2 * target.utf8.count }
            if index > first, cost + entryCost > min(maxMessageSize, 65_536) - 200 || index - first == 1000 {
                messages.append(
                    .text(ControlMessage.manifest(first: first, entries: Array(entries[first..<index])).text)
                )
                first = index
                cost = 0
            }
            cost += entryCost
        }
        messages.append(.text(ControlMessage.manifest(first: first, entries: Array(entries[first...])).text))
        return messages
    }

    private var nothingToSend: TransferError {
        guard let first = leftOut.first else { return TransferError(.notFound, "there is nothing to send") }
        let others = leftOut.count > 1 ? " (and \(leftOut.count - 1) more)" : ""
        return TransferError(
            first.error.code,
            "there is nothing to send, all is left out: \(first.error.message)\(others)"
        )
    }

    /// What the receiver is told of those left out, once.
    private func takeLeftOut() -> [TransferMessage] {
        var messages = leftOut.prefix(ControlMessage.maxLeftOut).map { failure in
            TransferMessage.text(ControlMessage.leftOut(name: failure.name, failure.error).text)
        }
        if leftOut.count > ControlMessage.maxLeftOut {
            messages.append(.text(ControlMessage.leftOutMore(leftOut.count - ControlMessage.maxLeftOut).text))
        }
        leftOut = []
        return messages
    }

    // MARK: What the receiver says

    func receive(_ message: TransferMessage) throws(TransferError) -> SenderMachine.Effect {
        let effect = try machine.receive(message)
        switch effect {
        case .start(let isStream):
            countThoseThere()
            tell(.accepted(asStream: isStream))
        case .stored(let file, let bytes): tell(.stored(name: entries[file].name, bytes: bytes))
        case .done(let files):
            summary.files += files.count
            for file in files {
                counted[file] = nil
                tell(.done(name: entries[file].name))
            }
        case .failed(let file, let error): fail(file, error)
        case .makeOffer, .finished, .nothing: break
        }
        return effect
    }

    /// What the receiver had before counts at once, as it does there.
    private func countThoseThere() {
        for index in entries.indices where entries[index].isFile && machine.isDone(index) {
            let (name, size) = (entries[index].name, entries[index].size ?? 0)
            summary.files += 1
            summary.resumedBytes += size
            total += size
            tell(.resumed(name: name, bytes: size))
            tell(.done(name: name))
        }
    }

    private func count(_ file: Int, _ bytes: Int) {
        total += bytes
        counted[file, default: 0] += bytes
    }

    private func fail(_ file: Int, _ error: TransferError) {
        let name = printable(entries[file].name)
        summary.failures.append(TransferSummary.Failure(name: name, error: error))
        if let bytes = counted.removeValue(forKey: file), bytes > 0 {
            total -= bytes
            tell(.progress(name: entries[file].name, bytes: 0, total: total))
        }
        tell(.failed(name: name, error))
    }

    // MARK: The files

    /// Reads and hashes what comes next: about a block of bytes, or many small files.
    ///
    /// - Returns: messages to send in this order, perhaps none; nil after the last.
    func nextBatch() throws(TransferError) -> [TransferMessage]? {
        var batch = takeLeftOut()
        var bytes = 0
        var files = 0
        while bytes < Self.batchBytes, files < Self.batchFiles {
            if Task.isCancelled { throw .cancelledByTask }
            if reading == nil {
                guard try openNext(&batch) else {
                    if isSentToEnd { return batch.isEmpty ? nil : batch }
                    isSentToEnd = true
                    machine.didFinish()
                    batch.append(.text(ControlMessage.finish.text))
                    return batch
                }
                files += 1
                continue
            }
            guard var current = reading else { break }
            if machine.hasFailed(current.index) {
                reading = nil
                skip(current.index, TransferError(.cancelled, "the receiver gave it up"), &batch)
                continue
            }
            if current.prefix != nil {
                try comparePrefix(&current, &batch)
                reading = current
                // A slice is work enough for a batch: acknowledgements and cancellation get their turn.
                if current.prefix != nil { return batch }
                continue
            }
            let count = try readChunk(&current, &batch)
            if reading != nil { reading = current }
            bytes += count
        }
        return batch
    }

    /// Opens the next file that the receiver wants.
    ///
    /// - Returns: false if there is none.
    private func openNext(_ batch: inout [TransferMessage]) throws(TransferError) -> Bool {
        while next < entries.count, !machine.wants(next) { next += 1 }
        guard next < entries.count else { return false }
        let index = next
        next += 1
        try chain.start(wantsWhole: options.includesFileDigests)
        if case .stream(let descriptor, _) = source {
            let copy = dup(descriptor)
            guard copy >= 0 else { throw FileCalls.failure("read", entries[index].name) }
            if machine.partial(of: index) != nil {
                batch.append(.text(ControlMessage.begin(file: index, offset: 0).text))
            }
            reading = Reading(index: index, file: OpenFile(copy))
            return true
        }
        guard let file = FileCalls.open(localPaths[index], O_RDONLY | O_NONBLOCK | O_NOCTTY),
            let status = FileCalls.status(of: file)
        else {
            skip(index, FileCalls.failure("read", entries[index].name), &batch)
            return true
        }
        guard identities[index] == FileIdentity(status), status.st_mode & S_IFMT == S_IFREG,
            Int(status.st_size) == entries[index].size,
            entries[index].modified
                == TransferEntry.Time(seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec)
        else {
            skip(index, Self.changed(entries[index].name), &batch)
            return true
        }
        reading = Reading(index: index, file: file, before: status, prefix: machine.partial(of: index))
        return true
    }

    private static func changed(_ name: String) -> TransferError {
        TransferError(.changed, "\(printable(name)) changed since it was offered: send it again when it is at rest")
    }

    /// As the files of /proc do, which say that they are empty.
    private static func oversized(_ name: String) -> TransferError {
        TransferError(
            .changed,
            "\(printable(name)) has more in it than its size says: send what comes out of it, by `rtc-peer send - < FILE`"
        )
    }

    private static func hasMore(_ file: OpenFile, from offset: Int) -> Bool {
        var byte = [UInt8](repeating: 0, count: 1)
        return unsafe byte.withUnsafeMutableBytes { unsafe FileCalls.read(file, into: $0, at: offset) } > 0
    }

    private func skip(_ index: Int, _ error: TransferError, _ batch: inout [TransferMessage]) {
        if !machine.hasFailed(index) {
            machine.didSkip(file: index)
            fail(index, error)
        }
        batch.append(.text(ControlMessage.skip(file: index, error).text))
    }

    /// Hashes a slice of what the receiver says it has; at its end tells where the file goes on.
    private func comparePrefix(_ current: inout Reading, _ batch: inout [TransferMessage]) throws(TransferError) {
        guard let prefix = current.prefix else { return }
        var buffer = [UInt8](repeating: 0, count: DataFrame.blockSize)
        let stop = min(prefix.bytes, current.offset + Self.prefixSlice)
        while current.offset < stop {
            let offset = current.offset
            let file = current.file
            let count = unsafe buffer.withUnsafeMutableBytes { unsafe FileCalls.read(file, into: $0, at: offset) }
            guard count == buffer.count else { break }
            try add(buffer, skipping: 0)
            current.offset += count
        }
        if current.offset == stop, stop < prefix.bytes { return }
        current.prefix = nil
        let name = entries[current.index].name
        if current.offset == prefix.bytes, chain.value == prefix.root {
            summary.resumedBytes += prefix.bytes
            count(current.index, prefix.bytes)
            tell(.resumed(name: name, bytes: prefix.bytes))
        } else {
            tell(.restarted(name: name))
            try chain.start(wantsWhole: options.includesFileDigests)
            current.offset = 0
        }
        machine.didSend(file: current.index, through: current.offset)
        batch.append(.text(ControlMessage.begin(file: current.index, offset: current.offset).text))
    }

    private func add(_ bytes: [UInt8], skipping skip: Int) throws(TransferError) {
        try chain.update(bytes, skipping: skip)
    }

    /// Reads one chunk into a message, with the block's hash or the file's end where they are due.
    ///
    /// - Returns: the bytes read.
    private func readChunk(_ current: inout Reading, _ batch: inout [TransferMessage]) throws(TransferError) -> Int {
        let index = current.index
        let name = entries[index].name
        let room = DataFrame.blockSize - current.offset % DataFrame.blockSize
        let size = entries[index].size
        let wanted = min(chunkSize, room, (size ?? Int.max) - current.offset)
        var count = 0
        if wanted > 0 {
            let (file, offset) = (current.file, current.offset)
            var code: CInt = 0
            var message = unsafe [UInt8](unsafeUninitializedCapacity: DataFrame.headerSize + wanted) { buffer, filled in
                unsafe buffer[..<DataFrame.headerSize].initialize(repeating: 0)
                let rest = unsafe UnsafeMutableRawBufferPointer(
                    rebasing: UnsafeMutableRawBufferPointer(buffer)[DataFrame.headerSize...]
                )
                count =
                    size == nil
                    ? unsafe FileCalls.readStream(file, into: rest)
                    : unsafe FileCalls.read(file, into: rest, at: offset)
                code = errno
                filled = DataFrame.headerSize + max(0, count)
            }
            if count < 0 {
                // Nothing there yet: the next batch looks again.
                if size == nil, code == EAGAIN { return DataFrame.blockSize }
                reading = nil
                skip(index, FileCalls.failure("read", name, code), &batch)
                return 0
            }
            if count > 0 {
                DataFrame.writeChunkHeader(file: index, offset: offset, into: &message)
                try add(message, skipping: DataFrame.headerSize)
                current.offset += count
                self.count(index, count)
                summary.bytes += count
                machine.didSend(file: index, through: current.offset)
                batch.append(.binary(message))
                if current.offset % DataFrame.blockSize == 0 {
                    batch.append(
                        .binary(DataFrame.blockMessage(file: index, offset: current.offset, chain: chain.value))
                    )
                    tell(.progress(name: name, bytes: current.offset, total: total))
                }
            }
        }
        let isAtEnd = size.map { current.offset >= $0 } ?? (count == 0)
        if isAtEnd {
            reading = nil
            if let before = current.before, !Self.isUnchanged(current.file, before) {
                skip(index, Self.changed(name), &batch)
                return count
            }
            if size != nil, Self.hasMore(current.file, from: current.offset) {
                skip(index, Self.oversized(name), &batch)
                return count
            }
            let (root, whole) = try chain.finish()
            machine.didEnd(file: index, bytes: current.offset)
            let end = ControlMessage.end(file: index, bytes: current.offset, root: root, whole: whole)
            batch.append(.text(end.text))
            tell(.progress(name: name, bytes: current.offset, total: total))
        } else if count < wanted, size != nil {
            // The file is shorter than it was.
            reading = nil
            skip(index, Self.changed(name), &batch)
        }
        return count
    }

    private static func isUnchanged(_ file: OpenFile, _ before: stat) -> Bool {
        guard let after = FileCalls.status(of: file) else { return false }
        return after.st_size == before.st_size && after.st_mtim.tv_sec == before.st_mtim.tv_sec
            && after.st_mtim.tv_nsec == before.st_mtim.tv_nsec && after.st_ctim.tv_sec == before.st_ctim.tv_sec
            && after.st_ctim.tv_nsec == before.st_ctim.tv_nsec
    }
}
