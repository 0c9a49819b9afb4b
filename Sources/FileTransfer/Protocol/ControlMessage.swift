internal import JSON

/// The text messages of the protocol; see docs/FILE-TRANSFER.md.
enum ControlMessage: Hashable {
    static let version = 1
    /// Longer texts are refused unread.
    static let maxBytes = 1 << 20
    /// Values in one text: a manifest message has some thousands.
    static let maxValues = 32_768
    /// Items in one list of a message.
    static let maxItems = 2000
    /// What was left out is named in so many messages; the rest is a number.
    static let maxLeftOut = 1000

    struct Offer: Hashable {
        var transfer: Digest
        var entries: Int
        var files: Int
        /// Bytes of all files; a stream of unknown length counts as 0.
        var bytes: Int
        /// Whether `end` carries SHA-256 of each whole file.
        var hasFileDigests: Bool
    }

    struct Partial: Hashable {
        var file: Int
        var bytes: Int
        var root: Digest
    }

    // Both.
    case hello(isSender: Bool, version: Int, limits: TransferLimits?)
    case error(TransferError)
    // The sender's.
    case offer(Offer)
    case manifest(first: Int, entries: [TransferEntry])
    case begin(file: Int, offset: Int)
    case end(file: Int, bytes: Int, root: Digest, whole: Digest?)
    case skip(file: Int, TransferError)
    /// An entry that is not in the manifest, since it cannot be sent.
    case leftOut(name: String, TransferError)
    /// So many more of those, which are not named.
    case leftOutMore(Int)
    case finish
    case bye
    // The receiver's.
    case have(done: [ClosedRange<Int>], partial: [Partial])
    case failed(file: Int, TransferError)
    case accept(asStream: Bool)
    case refuse(TransferError)
    case ack(file: Int, bytes: Int)
    case done([Int])
    case finished(done: Int, failed: Int)

    /// The message as text.
    var text: String { json.text }

    private var json: JSONValue {
        switch self {
        case .hello(let isSender, let version, let limits):
            var members: [String: JSONValue] = [
                "type": "hello", "protocol": .int(version), "role": isSender ? "sender" : "receiver",
            ]
            if let limits {
                members["limits"] = [
                    "entries": .int(limits.entries), "nameBytes": .int(limits.nameBytes), "depth": .int(limits.depth),
                    "bytes": .int(limits.bytes),
                ]
            }
            return .object(members)
        case .error(let error): return Self.report("error", nil, error)
        case .offer(let offer):
            return [
                "type": "offer", "transfer": .string(offer.transfer.hexadecimal), "entries": .int(offer.entries),
                "files": .int(offer.files), "bytes": .int(offer.bytes), "digests": .bool(offer.hasFileDigests),
            ]
        case .manifest(let first, let entries):
            return ["type": "manifest", "first": .int(first), "entries": .array(entries.map(Self.json))]
        case .begin(let file, let offset): return ["type": "begin", "file": .int(file), "offset": .int(offset)]
        case .end(let file, let bytes, let root, let whole):
            var members: [String: JSONValue] = [
                "type": "end", "file": .int(file), "bytes": .int(bytes), "root": .string(root.hexadecimal),
            ]
            if let whole { members["sha256"] = .string(whole.hexadecimal) }
            return .object(members)
        case .skip(let file, let error): return Self.report("skip", file, error)
        case .leftOut(let name, let error):
            return [
                "type": "left-out", "name": .string(name), "code": .string(error.code.rawValue),
                "reason": .string(printable(error.message)),
            ]
        case .leftOutMore(let count): return ["type": "left-out", "more": .int(count)]
        case .finish: return ["type": "finish"]
        case .bye: return ["type": "bye"]
        case .have(let done, let partial):
            return [
                "type": "have",
                "done": .array(done.map { [.int($0.lowerBound), .int($0.upperBound)] }),
                "partial": .array(
                    partial.map {
                        ["file": .int($0.file), "bytes": .int($0.bytes), "root": .string($0.root.hexadecimal)]
                    }
                ),
            ]
        case .failed(let file, let error): return Self.report("failed", file, error)
        case .accept(let isStream):
            return .object(isStream ? ["type": "accept", "stream": .bool(true)] : ["type": "accept"])
        case .refuse(let error): return Self.report("refuse", nil, error)
        case .ack(let file, let bytes): return ["type": "ack", "file": .int(file), "bytes": .int(bytes)]
        case .done(let files): return ["type": "done", "files": .array(files.map { .int($0) })]
        case .finished(let done, let failed):
            return ["type": "finished", "done": .int(done), "failed": .int(failed)]
        }
    }

    private static func report(_ type: String, _ file: Int?, _ error: TransferError) -> JSONValue {
        var members: [String: JSONValue] = [
            "type": .string(type), "code": .string(error.code.rawValue), "reason": .string(error.message),
        ]
        if let file { members["file"] = .int(file) }
        return .object(members)
    }

    static func json(_ entry: TransferEntry) -> JSONValue {
        var members: [String: JSONValue] = [
            "path": .array(entry.path.map { .string($0) }), "mode": .int(entry.mode),
        ]
        switch entry.kind {
        case .file(let size):
            members["kind"] = "file"
            if let size { members["size"] = .int(size) }
        case .directory: members["kind"] = "directory"
        case .symlink(let target):
            members["kind"] = "symlink"
            members["target"] = .string(target)
        }
        if let time = entry.modified { members["mtime"] = [.int(time.seconds), .int(time.nanoseconds)] }
        return .object(members)
    }

    /// Reads a text message.
    ///
    /// - Throws: `protocolViolation` with the reason.
    init(_ text: String) throws(TransferError) {
        guard text.utf8.count <= Self.maxBytes else {
            throw .violation("a text message of \(text.utf8.count) bytes is longer than \(Self.maxBytes)")
        }
        let value: JSONValue
        do {
            value = try JSONValue(parsing: text.utf8, maxValues: Self.maxValues)
        } catch {
            throw .violation("a text message is not JSON: \(error.reason) at byte \(error.offset)")
        }
        let reader = MemberReader(value: value)
        switch value["type"]?.string {
        case "hello":
            let role = try reader.string("role")
            guard role == "sender" || role == "receiver" else {
                throw .violation("the other side does not move files: it is a \(printable(role))")
            }
            var limits: TransferLimits?
            if let members = value["limits"] {
                let reader = MemberReader(value: members)
                var read = TransferLimits()
                read.entries = try reader.count("entries")
                read.nameBytes = try reader.count("nameBytes")
                read.depth = try reader.count("depth")
                read.bytes = try reader.count("bytes")
                limits = read
            }
            self = .hello(isSender: role == "sender", version: try reader.count("protocol"), limits: limits)
        case "error": self = .error(try reader.report())
        case "offer":
            self = .offer(
                Offer(
                    transfer: try reader.digest("transfer"),
                    entries: try reader.count("entries"),
                    files: try reader.count("files"),
                    bytes: try reader.count("bytes"),
                    hasFileDigests: value["digests"]?.bool ?? false
                )
            )
        case "manifest":
            var entries: [TransferEntry] = []
            for entry in try reader.array("entries") { entries.append(try Self.entry(entry)) }
            self = .manifest(first: try reader.count("first"), entries: entries)
        case "begin": self = .begin(file: try reader.count("file"), offset: try reader.count("offset"))
        case "end":
            self = .end(
                file: try reader.count("file"),
                bytes: try reader.count("bytes"),
                root: try reader.digest("root"),
                whole: value["sha256"] == nil ? nil : try reader.digest("sha256")
            )
        case "skip": self = .skip(file: try reader.count("file"), try reader.report())
        case "left-out":
            if value["more"].map({ !$0.isNull }) ?? false {
                self = .leftOutMore(try reader.count("more"))
            } else {
                self = .leftOut(name: printable(try reader.string("name")), try reader.report())
            }
        case "finish": self = .finish
        case "bye": self = .bye
        case "have":
            var done: [ClosedRange<Int>] = []
            for range in try reader.array("done") {
                guard let bounds = range.array, bounds.count == 2, let low = bounds[0].integer,
                    let high = bounds[1].integer, low >= 0, low <= high
                else { throw .violation("a range that is not [first, last]") }
                done.append(low...high)
            }
            var partial: [Partial] = []
            for value in try reader.array("partial") {
                let reader = MemberReader(value: value)
                partial.append(
                    Partial(
                        file: try reader.count("file"),
                        bytes: try reader.count("bytes"),
                        root: try reader.digest("root")
                    )
                )
            }
            self = .have(done: done, partial: partial)
        case "failed": self = .failed(file: try reader.count("file"), try reader.report())
        case "accept": self = .accept(asStream: value["stream"]?.bool ?? false)
        case "refuse": self = .refuse(try reader.report())
        case "ack": self = .ack(file: try reader.count("file"), bytes: try reader.count("bytes"))
        case "done":
            var files: [Int] = []
            for file in try reader.array("files") {
                guard let file = file.integer, file >= 0 else { throw .violation("a file that is no number") }
                files.append(file)
            }
            self = .done(files)
        case "finished": self = .finished(done: try reader.count("done"), failed: try reader.count("failed"))
        case let type?: throw .violation("a message of the unknown type \"\(printable(type))\"")
        case nil: throw .violation("a message without a type")
        }
    }

    private static func entry(_ value: JSONValue) throws(TransferError) -> TransferEntry {
        let reader = MemberReader(value: value)
        var path: [String] = []
        for name in try reader.array("path") {
            guard let name = name.string else { throw .violation("a path with a component that is no text") }
            path.append(name)
        }
        let kind: TransferEntry.Kind
        switch try reader.string("kind") {
        case "file":
            let isKnown = value["size"].map { !$0.isNull } ?? false
            kind = .file(size: isKnown ? try reader.count("size") : nil)
        case "directory": kind = .directory
        case "symlink": kind = .symlink(target: try reader.string("target"))
        case let other: throw TransferError(.unsupportedKind, "an entry of the unknown kind \"\(printable(other))\"")
        }
        var modified: TransferEntry.Time?
        if let parts = value["mtime"]?.array {
            guard parts.count == 2, let seconds = parts[0].integer, let nanoseconds = parts[1].integer,
                (0..<1_000_000_000).contains(nanoseconds)
            else { throw .violation("an mtime that is not [seconds, nanoseconds]") }
            modified = TransferEntry.Time(seconds: seconds, nanoseconds: nanoseconds)
        }
        let isDirectory = kind == .directory
        let mode = value["mode"] == nil ? (isDirectory ? 0o755 : 0o644) : try reader.count("mode")
        return TransferEntry(path: path, kind: kind, mode: mode, modified: modified)
    }
}

/// Typed members of a JSON object; what is missing or of another type is a violation that names it.
private struct MemberReader {
    let value: JSONValue

    func string(_ name: String) throws(TransferError) -> String {
        guard let text = value[name]?.string else { throw .violation("no text \"\(name)\" in a message") }
        return text
    }

    func count(_ name: String) throws(TransferError) -> Int {
        guard let number = value[name]?.integer, number >= 0, number <= DataFrame.maxFileSize else {
            throw .violation("no whole number \"\(name)\" in a message")
        }
        return number
    }

    func array(_ name: String) throws(TransferError) -> [JSONValue] {
        guard let elements = value[name]?.array else { throw .violation("no list \"\(name)\" in a message") }
        return elements
    }

    func digest(_ name: String) throws(TransferError) -> Digest {
        guard let digest = Digest(hexadecimal: try string(name)) else {
            throw .violation("\"\(name)\" is not 64 small hexadecimal digits")
        }
        return digest
    }

    func report() throws(TransferError) -> TransferError {
        var error = TransferError(
            TransferError.Code(rawValue: String(printable(try string("code")).prefix(64))),
            printable(try string("reason"))
        )
        error.isFromPeer = true
        return error
    }
}

extension JSONValue {
    fileprivate static func int(_ value: Int) -> JSONValue { .number(Double(value)) }
}
