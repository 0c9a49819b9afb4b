import FileTransfer
import Glibc
import PAKE

/// What a transfer that was broken off needs to go on: kept in a file of the user's alone until it is done.
///
/// One line for each fact, `NAME VALUE`, in `$XDG_STATE_HOME/rtc-peer` (`~/.local/state/rtc-peer`).
struct TransferMemory: Sendable {
    /// Whose memory it is, and what its file's name begins with: two sides may be on one machine.
    enum Kind: String, Sendable, CaseIterable {
        /// Sends, and printed the code.
        case send = "send"
        /// Sends, and was told the code.
        case sendTo = "send-to"
        /// Receives, and printed the code.
        case receiveHere = "receive-here"
        /// Receives, and was told the code.
        case receive = "receive"
    }

    let kind: Kind
    let code: TransferCode
    /// What lets the two pair again without the code.
    var resumption: [UInt8]
    /// The signalling server, if it is another's.
    var server: String?
    var serverFingerprint: String?
    /// Where our own server listened.
    var port: Int?
    /// Absolute paths of what is sent, or of the folder that files go into.
    var paths: [String] = []
    /// What was chosen to happen to files whose names are taken.
    var existing = FileReceiver.Existing.refuse

    private static let byteLimit = 1 << 20
    private static let existing: [String: FileReceiver.Existing] = ["overwrite": .overwrite, "rename": .rename]

    /// The directory of all memories; nil for a user without a home, who is remembered nothing.
    static var directory: String? {
        if let state = unsafe getenv("XDG_STATE_HOME").map({ unsafe String(cString: $0) }), state.hasPrefix("/") {
            return state + "/rtc-peer"
        }
        guard let home = unsafe getenv("HOME").map({ unsafe String(cString: $0) }), home.hasPrefix("/") else {
            return nil
        }
        return home + "/.local/state/rtc-peer"
    }

    private static func path(_ kind: Kind, _ code: TransferCode) -> String? {
        directory.map { "\($0)/\(kind.rawValue)-\(code)" }
    }

    /// Of what is locked while a process takes this side; its directory is made.
    static func lockPath(_ kind: Kind, _ code: TransferCode) -> String? {
        guard let directory, let path = path(kind, code) else { return nil }
        makeDirectories(directory)
        return path + ".lock"
    }

    /// What is remembered of a code; nil if nothing is, or if the file cannot be read.
    static func load(_ kind: Kind, _ code: TransferCode) -> TransferMemory? {
        guard let path = path(kind, code), let text = read(path) else { return nil }
        var memory = TransferMemory(kind: kind, code: code, resumption: [])
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: " ", maxSplits: 1).map(String.init)
            guard parts.count == 2 else { continue }
            switch parts[0] {
            case "resumption": memory.resumption = Hexadecimal.bytes(parts[1]) ?? []
            case "server": memory.server = parts[1]
            case "fingerprint": memory.serverFingerprint = parts[1]
            case "port": memory.port = Int(parts[1]).flatMap { (1...65_535).contains($0) ? $0 : nil }
            case "existing": memory.existing = Self.existing[parts[1]] ?? .refuse
            case "path": memory.paths.append(parts[1])
            default: break
            }
        }
        return memory.resumption.count == 32 ? memory : nil
    }

    /// Writes the memory whole or not at all.
    ///
    /// - Returns: false if it cannot be written: the transfer goes on, but not after this process has ended.
    @discardableResult
    func save() -> Bool {
        // A path with a line end in it could not be read back.
        guard !paths.contains(where: { $0.contains("\n") }) else { return false }
        var text = "resumption \(Hexadecimal.text(resumption))\n"
        if let server { text += "server \(server)\n" }
        if let serverFingerprint { text += "fingerprint \(serverFingerprint)\n" }
        if let port { text += "port \(port)\n" }
        if let word = Self.existing.first(where: { $0.value == existing })?.key { text += "existing \(word)\n" }
        for path in paths { text += "path \(path)\n" }
        guard let directory = Self.directory, let path = Self.path(kind, code) else { return false }
        Self.makeDirectories(directory)
        let new = path + ".new"
        let descriptor = unsafe open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { return false }
        let bytes = Array(text.utf8)
        let written = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
        let isSafe = written == bytes.count && fsync(descriptor) == 0
        close(descriptor)
        guard isSafe else { return false }
        return unsafe Glibc.rename(new, path) == 0
    }

    /// Forgets it: the transfer is done.
    static func forget(_ kind: Kind, _ code: TransferCode) {
        if let path = path(kind, code) { unsafe unlink(path) }
    }

    private static func read(_ path: String) -> String? {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: byteLimit)
        let count = unsafe bytes.withUnsafeMutableBytes { unsafe Glibc.read(descriptor, $0.baseAddress, $0.count) }
        return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
    }

    private static func makeDirectories(_ path: String) {
        var made = ""
        for part in path.split(separator: "/") {
            made += "/\(part)"
            unsafe mkdir(made, 0o700)
        }
    }
}
