internal import Glibc

/// What a receiver has safely on disk, in a file that only grows: 64 bytes a record, each with its own check.
///
/// A record that is torn or damaged ends the reading, and is overwritten by the next: whatever moment the process dies
/// at, what was recorded before is readable.
///
/// ```
/// 0       1 … 3   4      8                16                     48            56        64
/// │ kind │ 0 0 0 │ file │ bytes or size  │ chain value or mtime │ 0 …         │ check   │
/// ```
struct Journal {
    enum Record: Hashable {
        /// Whose journal it is; first, once.
        case transfer(Digest)
        /// So many bytes of a file are safely stored; their chain value.
        case progress(file: Int, bytes: Int, chain: Digest)
        /// The file is complete and safely stored; it may still have its temporary name.
        case done(file: Int, size: Int, seconds: Int)
        /// The temporary name was taken by a file of somebody else's before the transfer began.
        case foreign(file: Int)
        /// All entries are in the foreign list that have to: the journal is ready.
        case ready
        /// The transfer ended, and no temporary name is this transfer's any more; only the sender may not know it.
        case finished
        /// The name of a directory was taken: it has this number behind its name.
        case renamed(file: Int, number: Int)
    }

    static let recordSize = 64

    /// The records up to the first that is torn or damaged, and the length of those.
    static func read(_ bytes: some RandomAccessCollection<UInt8>) throws(TransferError) -> (
        records: [Record], length: Int
    ) {
        var hash = try SHA256()
        let bytes = Array(bytes)
        var records: [Record] = []
        var start = 0
        while start + recordSize <= bytes.count {
            let slice = bytes[start..<start + recordSize]
            guard let record = try decode(slice, &hash) else { break }
            if case .transfer = record, start > 0 { break }
            if start == 0 { guard case .transfer = record else { break } }
            records.append(record)
            start += recordSize
        }
        return (records, start)
    }

    static func encode(_ record: Record) throws(TransferError) -> [UInt8] {
        var bytes: [UInt8]
        switch record {
        case .transfer(let digest): bytes = head(kind: 0x46, file: 1, number: 0) + digest.bytes
        case .progress(let file, let count, let chain): bytes = head(kind: 1, file: file, number: count) + chain.bytes
        case .done(let file, let size, let seconds):
            bytes = head(kind: 2, file: file, number: size)
            appendNumber(seconds, to: &bytes)
        case .foreign(let file): bytes = head(kind: 3, file: file, number: 0)
        case .ready: bytes = head(kind: 4, file: 0, number: 0)
        case .finished: bytes = head(kind: 5, file: 0, number: 0)
        case .renamed(let file, let number): bytes = head(kind: 6, file: file, number: number)
        }
        bytes.append(contentsOf: [UInt8](repeating: 0, count: recordSize - 8 - bytes.count))
        var hash = try SHA256()
        hash.update(bytes[...])
        return bytes + (try hash.finish()).bytes.prefix(8)
    }

    private static func head(kind: UInt8, file: Int, number: Int) -> [UInt8] {
        var bytes: [UInt8] = [kind, 0, 0, 0]
        for shift in [24, 16, 8, 0] { bytes.append(UInt8(truncatingIfNeeded: file >> shift)) }
        appendNumber(number, to: &bytes)
        return bytes
    }

    private static func appendNumber(_ number: Int, to bytes: inout [UInt8]) {
        for index in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: number >> (56 - 8 * index))) }
    }

    private static func decode(_ slice: ArraySlice<UInt8>, _ hash: inout SHA256) throws(TransferError) -> Record? {
        let bytes = Array(slice)
        hash.update(bytes[..<(recordSize - 8)])
        guard try hash.finish().bytes.prefix(8).elementsEqual(bytes[(recordSize - 8)...]) else { return nil }
        var file = 0
        for byte in bytes[4..<8] { file = file << 8 | Int(byte) }
        let number = readNumber(bytes[8..<16])
        switch bytes[0] {
        case 0x46 where file == 1: return Digest(bytes[16..<48]).map { .transfer($0) }
        case 1:
            guard number >= 0, number <= DataFrame.maxFileSize, let chain = Digest(bytes[16..<48]) else { return nil }
            return .progress(file: file, bytes: number, chain: chain)
        case 2: return .done(file: file, size: number, seconds: readNumber(bytes[16..<24]))
        case 3: return .foreign(file: file)
        case 4: return .ready
        case 5: return .finished
        case 6: return .renamed(file: file, number: number)
        default: return nil
        }
    }

    private static func readNumber(_ bytes: ArraySlice<UInt8>) -> Int {
        var number: UInt64 = 0
        for byte in bytes { number = number << 8 | UInt64(byte) }
        return Int(truncatingIfNeeded: number)
    }

    // MARK: On disk

    /// What the records say of a file.
    enum FileState: Hashable {
        case progress(bytes: Int, chain: Digest)
        case done(size: Int, seconds: Int)
        case foreign
    }

    private let file: OpenFile
    private var length: Int
    let name: String
    private static let lockAttempts = 25
    /// Microseconds.
    private static let lockPause: UInt32 = 20_000
    private(set) var states: [Int: FileState] = [:]
    /// The numbers behind the names of directories.
    private(set) var numbers: [Int: Int] = [:]
    /// Whether no temporary file can be this transfer's: there was no usable journal, or it was finished.
    private(set) var isNew: Bool

    /// Opens or makes the journal of a transfer in a directory, for this process alone.
    ///
    /// - Throws: `busy` if another process has it.
    init(transfer: Digest, in directory: OpenFile) throws(TransferError) {
        name = Manifest.journalPrefix + transfer.hexadecimal.prefix(16) + Manifest.journalSuffix
        guard let file = FileCalls.open(name, in: directory.descriptor, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK),
            let status = FileCalls.status(of: file)
        else { throw FileCalls.failure("open the journal", name) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw TransferError(.unsafePath, "the journal \(name) is no regular file: remove it")
        }
        guard Self.lock(file) else {
            throw TransferError(
                .busy,
                "another process receives this transfer into the same directory: wait or stop it"
            )
        }
        self.file = file
        // A record per 64 MiB and two per file: a journal of a hostile length is not read whole.
        var bytes = [UInt8](repeating: 0, count: min(Int(status.st_size), 64 << 20))
        let count = unsafe bytes.withUnsafeMutableBytes { unsafe FileCalls.read(file, into: $0, at: 0) }
        guard count >= 0 else { throw FileCalls.failure("read the journal", name) }
        let (records, length) = try Self.read(bytes[..<count])
        isNew = records.first != .transfer(transfer) || !records.contains(.ready) || records.contains(.finished)
        self.length = isNew ? 0 : length
        if !isNew || records.contains(.finished) { records.forEach { note($0) } }
        guard ftruncate(file.descriptor, self.length) == 0 else { throw FileCalls.failure("write the journal", name) }
        if isNew { try append([.transfer(transfer)]) }
    }

    /// Waits a moment for one who just lets go: a process that is being ended, or a child that was forked and not yet replaced.
    private static func lock(_ file: OpenFile) -> Bool {
        for attempt in 0..<lockAttempts {
            if attempt > 0 { usleep(lockPause) }
            if flock(file.descriptor, LOCK_EX | LOCK_NB) == 0 { return true }
        }
        return false
    }

    private mutating func note(_ record: Record) {
        switch record {
        case .transfer, .ready, .finished: break
        case .progress(let file, let bytes, let chain): states[file] = .progress(bytes: bytes, chain: chain)
        case .done(let file, let size, let seconds): states[file] = .done(size: size, seconds: seconds)
        case .foreign(let file): states[file] = .foreign
        case .renamed(let file, let number): numbers[file] = number
        }
    }

    /// Adds records and waits until they are safely stored.
    mutating func append(_ records: [Record]) throws(TransferError) {
        var bytes: [UInt8] = []
        for record in records { bytes.append(contentsOf: try Self.encode(record)) }
        guard FileCalls.write([bytes], skipping: 0, to: file, at: length), fdatasync(file.descriptor) == 0 else {
            throw FileCalls.failure("write the journal", name)
        }
        length += bytes.count
        for record in records { note(record) }
    }

    /// Whether no later run learns anything from it.
    var tellsNothing: Bool { states.values.allSatisfy { $0 == .foreign } }

    /// Removes the journal of a transfer with which nothing goes on.
    func remove(from directory: OpenFile) { _ = unsafe unlinkat(directory.descriptor, name, 0) }
}
