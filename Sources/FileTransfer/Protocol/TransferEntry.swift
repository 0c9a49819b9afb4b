/// A file, directory or symbolic link of a transfer.
public struct TransferEntry: Hashable, Sendable {
    /// What an entry is.
    public enum Kind: Hashable, Sendable {
        /// A regular file; nil: a stream of unknown length.
        case file(size: Int?)
        /// A directory.
        case directory
        /// A symbolic link, with the path that it holds.
        case symlink(target: String)
    }

    /// A time since 1970.
    public struct Time: Hashable, Sendable {
        /// Whole seconds.
        public var seconds: Int
        /// Nanoseconds, 0 to 999 999 999.
        public var nanoseconds: Int

        /// A time.
        ///
        /// - Parameters:
        ///   - seconds: whole seconds since 1970.
        ///   - nanoseconds: 0 to 999 999 999.
        public init(seconds: Int, nanoseconds: Int) {
            self.seconds = seconds
            self.nanoseconds = nanoseconds
        }
    }

    /// The components of the path below the target directory.
    public var path: [String]
    /// What it is.
    public var kind: Kind
    /// The permission bits, at most `0o777`.
    public var mode: Int
    /// When it was last changed, if known.
    public var modified: Time?

    /// An entry with its parts.
    ///
    /// - Parameters:
    ///   - path: components, the entry's own name last.
    ///   - kind: what it is.
    ///   - mode: permission bits.
    ///   - modified: when it was last changed.
    public init(path: [String], kind: Kind, mode: Int, modified: Time?) {
        self.path = path
        self.kind = kind
        self.mode = mode
        self.modified = modified
    }

    /// The path with slashes.
    public var name: String { path.joined(separator: "/") }

    /// The size of a file, if known; 0 of all else.
    var size: Int? {
        if case .file(let size) = kind { size } else { 0 }
    }

    var isFile: Bool {
        if case .file = kind { true } else { false }
    }
}

/// What a receiver takes at most.
public struct TransferLimits: Hashable, Sendable {
    /// Entries of one transfer.
    public var entries = 200_000
    /// Bytes of all paths and link targets together.
    public var nameBytes = 32 << 20
    /// Components of a path.
    public var depth = 64
    /// Bytes of all files together.
    public var bytes = DataFrame.maxFileSize

    /// The usual limits.
    public init() {}
}

/// The entries of a transfer as they arrive, each checked.
struct Manifest: Sendable {
    static let maxNameBytes = 255
    static let maxPathBytes = 4095
    static let journalPrefix = ".transfer-"
    static let journalSuffix = ".journal"

    private(set) var entries: [TransferEntry] = []
    /// Whether each path is a directory; by bytes, since Swift's strings compare equal in other spellings.
    private var paths: [[UInt8]: Bool] = [:]
    private var nameBytes = 0
    private(set) var bytes = 0
    private(set) var files = 0
    let limits: TransferLimits

    init(limits: TransferLimits) { self.limits = limits }

    /// Whether an entry has that path.
    func contains(_ path: [String]) -> Bool { paths[Self.key(path)] != nil }

    private static func key(_ path: some Sequence<String>) -> [UInt8] { Array(path.joined(separator: "/").utf8) }

    /// Adds an entry.
    ///
    /// - Throws: `unsafePath` or `limitExceeded` with the entry's name; nothing was added then.
    mutating func append(_ entry: TransferEntry) throws(TransferError) {
        guard entries.count < limits.entries else {
            throw TransferError(.limitExceeded, "more than \(limits.entries) entries: send them in parts")
        }
        try Self.check(path: entry.path, limits: limits)
        let name = entry.name
        var cost = name.utf8.count
        if case .symlink(let target) = entry.kind {
            try Self.check(link: target, at: entry.path)
            cost += target.utf8.count
        }
        guard nameBytes + cost <= limits.nameBytes else {
            throw TransferError(.limitExceeded, "more than \(limits.nameBytes) bytes of names: send them in parts")
        }
        let key = Self.key(entry.path)
        guard paths[key] == nil else {
            throw TransferError(.unsafePath, "\(printable(name)) is there twice")
        }
        // What lies in a directory comes after it: a file or link can then have nothing below it.
        if entry.path.count > 1 {
            guard paths[Self.key(entry.path.dropLast())] == true else {
                throw TransferError(.unsafePath, "\(printable(name)) comes before its directory, or below a file")
            }
        }
        let size = entry.size ?? 0
        guard size >= 0, size <= DataFrame.maxFileSize, bytes + size <= limits.bytes else {
            throw TransferError(.limitExceeded, "more than \(limits.bytes) bytes of files")
        }
        guard entry.mode >= 0, entry.mode <= 0o777 else {
            throw TransferError(.unsafePath, "\(printable(name)) has a mode beyond permissions")
        }
        bytes += size
        nameBytes += cost
        if entry.isFile { files += 1 }
        paths[key] = entry.kind == .directory
        entries.append(entry)
    }

    /// Refuses a path that could lead out of the target or that no file system has.
    static func check(path: [String], limits: TransferLimits) throws(TransferError) {
        guard !path.isEmpty else { throw TransferError(.unsafePath, "an entry without a name") }
        guard path.count <= limits.depth else {
            throw TransferError(
                .limitExceeded,
                "\(printable(path.joined(separator: "/"))) is more than \(limits.depth) levels deep: send a part of it, or an archive"
            )
        }
        var byteCount = path.count - 1
        for name in path {
            try check(name: name)
            byteCount += name.utf8.count
        }
        guard byteCount <= maxPathBytes else {
            throw TransferError(
                .limitExceeded,
                "the path \(printable(path.joined(separator: "/")))… has more than \(maxPathBytes) bytes"
            )
        }
        if path.count == 1, path[0].hasPrefix(journalPrefix), path[0].hasSuffix(journalSuffix) {
            throw TransferError(.unsafePath, "\(printable(path[0])) is the name of a transfer's journal")
        }
    }

    static func check(name: String) throws(TransferError) {
        let reason: String? =
            if name.isEmpty {
                "is empty"
            } else if name == "." || name == ".." {
                "leads elsewhere"
            } else if name.utf8.count > maxNameBytes {
                "has more than \(maxNameBytes) bytes"
            } else if name.utf8.contains(UInt8(ascii: "/")) {
                "has a slash"
            } else if hasControlCharacter(name) {
                "has a control character"
            } else {
                nil
            }
        if let reason { throw TransferError(.unsafePath, "the name \"\(printable(name))\" \(reason)") }
    }

    /// Refuses a link that leaves the target directory.
    ///
    /// `..` may only stand at the front: after another name, which may itself be a link, it could lead anywhere.
    static func check(link target: String, at path: [String], above levels: Int? = nil) throws(TransferError) {
        let name = printable(path.joined(separator: "/"))
        guard !target.isEmpty, target.utf8.count <= maxPathBytes, !hasControlCharacter(target) else {
            throw TransferError(.unsafePath, "the symbolic link \(name) is empty, too long or has control characters")
        }
        // Bytes, not characters: a slash with a combining mark is one character, and still a slash to the kernel.
        let parent = Array("..".utf8)[...]
        var rest = Array(target.utf8).split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)[...]
        guard rest.first?.isEmpty == false else {
            throw TransferError(.unsafePath, "the symbolic link \(name) leads to an absolute path")
        }
        var up = 0
        while rest.first == parent {
            up += 1
            rest.removeFirst()
        }
        guard up <= levels ?? (path.count - 1), !rest.contains(parent) else {
            throw TransferError(.unsafePath, "the symbolic link \(name) leads out of the directory")
        }
    }

    private static func hasControlCharacter(_ text: String) -> Bool {
        text.unicodeScalars.contains { $0.value < 0x20 || (0x7F..<0xA0).contains($0.value) }
    }

    /// What both sides call the transfer: SHA-256 over kinds and paths, one line each.
    ///
    /// Sizes and times do not count, so that a file that grew can still be resumed.
    func identity() throws(TransferError) -> Digest {
        var hash = try SHA256()
        for entry in entries {
            let kind =
                switch entry.kind {
                case .file: "file"
                case .directory: "directory"
                case .symlink: "symlink"
                }
            hash.update(Array("\(kind) \(entry.name)\n".utf8)[...])
        }
        return try hash.finish()
    }
}

/// A name for messages to people: control characters are replaced and the length is bounded.
func printable(_ name: String) -> String {
    var text = ""
    for scalar in name.unicodeScalars.prefix(300) {
        switch scalar.value {
        // Controls, line ends, and what turns the direction of what follows, as to make "exe.jpg" of "gpj.exe".
        case 0..<0x20, 0x7F..<0xA0, 0x200E...0x200F, 0x2028...0x202E, 0x2066...0x2069:
            text.unicodeScalars.append("\u{FFFD}")
        default: text.unicodeScalars.append(scalar)
        }
    }
    return text
}
