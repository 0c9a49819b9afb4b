/// The receiver's side of the protocol, without disk and channel: lets through only what fits what was agreed.
struct ReceiverMachine {
    /// What a message of the sender brings about.
    enum Effect: Hashable {
        /// The whole manifest is here: answer, then tell ``answer(wanted:partials:)``.
        case offered(ControlMessage.Offer)
        /// A file goes on from a partial one, or begins anew.
        case begin(file: Int, offset: Int)
        /// Bytes of a file; `message` holds them after its header.
        case write(file: Int, offset: Int, message: [UInt8])
        /// The chain value at the end of a block.
        case block(file: Int, offset: Int, chain: Digest)
        /// A file is complete.
        case end(file: Int, bytes: Int, root: Digest, whole: Digest?)
        /// The sender gives a file up.
        case skip(file: Int, TransferError)
        /// Something that the sender was to send is not in its offer; the name is for people alone.
        case leftOut(name: String, TransferError)
        /// Nothing more comes.
        case finish
        /// The sender knows that all is done.
        case bye
        case nothing
    }

    private enum Phase {
        case hello, offer
        case manifest(ControlMessage.Offer)
        case answering(ControlMessage.Offer)
        case receiving
        case finishing, left
    }

    private struct Current {
        var file: Int
        var offset: Int
        /// Whether the chain value of the block that ended at `offset` is still to come.
        var owesBlock = false
    }

    private var phase = Phase.hello
    private(set) var manifest: Manifest
    private var hasDigests = false
    private var isWanted: [Bool] = []
    private var partials: [Int: Int] = [:]
    private var current: Current?
    /// The next file in order that may come.
    private var next = 0
    private var received = 0
    /// How many messages may still tell what was left out.
    private var leftOutRoom = ControlMessage.maxLeftOut + 1

    init(limits: TransferLimits) { manifest = Manifest(limits: limits) }

    /// Whether `finish` has come.
    var isFinishing: Bool {
        if case .finishing = phase { true } else { false }
    }

    /// Whether an offer has come that was not answered yet.
    var isAnswering: Bool {
        switch phase {
        case .manifest, .answering: true
        default: false
        }
    }

    /// The answer to the offer.
    ///
    /// - Parameters:
    ///   - wanted: for each entry, whether its bytes are to come.
    ///   - partials: what there is already of some wanted files, in bytes.
    mutating func answer(wanted: [Bool], partials: [Int: Int]) {
        guard case .answering = phase, wanted.count == manifest.entries.count else { return }
        isWanted = wanted
        self.partials = partials
        phase = .receiving
        skipUnwanted()
    }

    private mutating func skipUnwanted() {
        while next < isWanted.count, !isWanted[next] { next += 1 }
    }

    /// Takes a message of the sender.
    mutating func receive(_ message: TransferMessage) throws(TransferError) -> Effect {
        switch message {
        case .text(let text): try receive(ControlMessage(text), text: text)
        case .binary(let bytes): try receive(DataFrame(bytes))
        }
    }

    private mutating func receive(_ message: ControlMessage, text: String) throws(TransferError) -> Effect {
        switch (message, phase) {
        case (.error(let error), _): throw error
        case (.hello(let isSender, let version, _), .hello):
            guard version == ControlMessage.version else {
                throw TransferError(
                    .unsupportedVersion,
                    "the sender speaks version \(version) of the protocol, this side \(ControlMessage.version)"
                )
            }
            guard isSender else { throw .violation("both sides want to receive: let one of them send") }
            phase = .offer
            return .nothing
        case (.offer(let offer), .offer):
            guard offer.entries > 0 else { throw .violation("an offer of nothing") }
            guard offer.entries <= manifest.limits.entries else {
                throw TransferError(
                    .limitExceeded,
                    "\(offer.entries) entries are more than the \(manifest.limits.entries) that this side takes"
                )
            }
            guard offer.bytes <= manifest.limits.bytes else {
                throw TransferError(
                    .limitExceeded,
                    "\(offer.bytes) bytes are more than the \(manifest.limits.bytes) that this side takes"
                )
            }
            phase = .manifest(offer)
            return .nothing
        case (.manifest(let first, let entries), .manifest(let offer)):
            guard first == manifest.entries.count, !entries.isEmpty, first + entries.count <= offer.entries else {
                throw .violation("a part of the manifest out of order, empty or too long")
            }
            for entry in entries { try manifest.append(entry) }
            guard manifest.entries.count == offer.entries else { return .nothing }
            guard manifest.files == offer.files, manifest.bytes == offer.bytes,
                try manifest.identity() == offer.transfer
            else { throw .violation("the manifest is not what the offer said") }
            hasDigests = offer.hasFileDigests
            phase = .answering(offer)
            return .offered(offer)
        case (.begin(let file, let offset), .receiving):
            guard current == nil, file == next, let partial = partials[file], offset == 0 || offset == partial else {
                throw .violation("entry \(file) begins at \(offset), which nobody asked for")
            }
            partials[file] = nil
            try count(offset)
            current = Current(file: file, offset: offset)
            return .begin(file: file, offset: offset)
        case (.end(let file, let bytes, let root, let whole), .receiving):
            try startIfNew(file, at: 0)
            guard let current, current.file == file, current.offset == bytes, !current.owesBlock else {
                throw .violation("entry \(file) ends at \(bytes), which is not where it is")
            }
            guard let size = manifest.entries[file].size, size != bytes else {
                guard (whole != nil) == hasDigests else { throw .violation("an end with or without \"sha256\"") }
                leave()
                return .end(file: file, bytes: bytes, root: root, whole: whole)
            }
            throw .violation("entry \(file) ends after \(bytes) of \(size) bytes")
        case (.skip(let file, let error), .receiving):
            guard file == current?.file ?? next, isWanted.indices.contains(file) else {
                throw .violation("entry \(file) is skipped out of order")
            }
            leave()
            return .skip(file: file, error)
        case (.leftOut(let name, let error), .receiving):
            guard leftOutRoom > 1 else {
                throw .violation("more than \(ControlMessage.maxLeftOut) entries that are left out")
            }
            leftOutRoom -= 1
            return .leftOut(name: name, error)
        case (.leftOutMore(let count), .receiving):
            guard leftOutRoom > 0 else { throw .violation("the number of those left out comes twice") }
            leftOutRoom = 0
            var error = TransferError(.limitExceeded, "left out as well, more than are named one by one")
            error.isFromPeer = true
            return .leftOut(name: count == 1 ? "1 more" : "\(count) more", error)
        case (.finish, .receiving):
            guard current == nil, next == isWanted.count else {
                throw .violation("the sender finished before all files came")
            }
            phase = .finishing
            return .finish
        case (.bye, .finishing):
            phase = .left
            return .bye
        default: throw .violation("the sender sent \"\(text.prefix(60))\" out of turn")
        }
    }

    private mutating func receive(_ frame: DataFrame) throws(TransferError) -> Effect {
        guard case .receiving = phase else { throw .violation("the sender sent bytes that nobody asked for") }
        switch frame {
        case .chunk(let file, let offset, let message):
            try startIfNew(file, at: offset)
            let count = message.count - DataFrame.headerSize
            guard var current, current.file == file, current.offset == offset, !current.owesBlock else {
                throw .violation("a chunk of entry \(file) at \(offset) is not the next one")
            }
            guard offset % DataFrame.blockSize + count <= DataFrame.blockSize else {
                throw .violation("a chunk of entry \(file) at \(offset) goes beyond its block")
            }
            guard offset + count <= manifest.entries[file].size ?? DataFrame.maxFileSize else {
                throw .violation("a chunk of entry \(file) at \(offset) goes beyond the file's end")
            }
            try self.count(count)
            current.offset += count
            current.owesBlock = current.offset % DataFrame.blockSize == 0
            self.current = current
            return .write(file: file, offset: offset, message: message)
        case .block(let file, let offset, let chain):
            guard var current, current.file == file, current.offset == offset, current.owesBlock else {
                throw .violation("the hash of a block of entry \(file) at \(offset) out of order")
            }
            current.owesBlock = false
            self.current = current
            return .block(file: file, offset: offset, chain: chain)
        }
    }

    /// A file without a partial one begins with its first chunk or its end.
    private mutating func startIfNew(_ file: Int, at offset: Int) throws(TransferError) {
        guard current == nil else { return }
        guard file == next, isWanted.indices.contains(file), offset == 0, partials[file] == nil else {
            throw .violation("bytes of entry \(file) at \(offset), which is not the next one")
        }
        current = Current(file: file, offset: 0)
    }

    private mutating func leave() {
        current = nil
        next += 1
        skipUnwanted()
    }

    /// Streams of unknown length count towards the limit as they come.
    private mutating func count(_ bytes: Int) throws(TransferError) {
        received += bytes
        guard received <= manifest.limits.bytes else {
            throw TransferError(.limitExceeded, "more than the \(manifest.limits.bytes) bytes that this side takes")
        }
    }
}
