internal import Glibc

/// What there is at the paths that the application named: entries to offer, and what cannot be one.
struct OfferedPaths {
    private(set) var manifest: Manifest
    /// For each entry, the path in this system.
    private(set) var localPaths: [String] = []
    /// For each entry, which file that was.
    private(set) var identities: [FileIdentity?] = []
    /// The names are for people.
    private(set) var leftOut: [TransferSummary.Failure] = []
    private var named: [[UInt8]: NamedPath] = [:]

    init(limits: TransferLimits) { manifest = Manifest(limits: limits) }

    mutating func addStream(named name: String) throws(TransferError) {
        try manifest.append(TransferEntry(path: [name], kind: .file(size: nil), mode: 0o644, modified: nil))
        localPaths.append("")
        identities.append(nil)
    }

    /// Adds what the application named, with all below it; what is gone by now is left out.
    ///
    /// - Parameter path: as for ``FileSender/init(paths:options:)``.
    /// - Throws: `limitExceeded` with the name of what is beyond a limit, `cancelled`.
    mutating func add(_ path: String) throws(TransferError) {
        // The receiver is told too, and need not know where it was.
        let shown = NamedPath.last(path) ?? path
        let found: NamedPath
        do throws(TransferError) {
            found = try NamedPath(path, shownAs: shown)
        } catch {
            return leaveOut([shown], error)
        }
        let key = Array(found.name.utf8)
        if let other = named[key], other.isSame(as: found) { return }
        named[key] = found
        try add([found.name], at: path, found.status)
    }

    private mutating func add(_ path: [String], at local: String, _ status: stat) throws(TransferError) {
        if Task.isCancelled { throw .cancelledByTask }
        let name = path.joined(separator: "/")
        let kind: TransferEntry.Kind
        var content: (names: [String], foreign: [String]) = ([], [])
        switch status.st_mode & S_IFMT {
        case S_IFREG: kind = .file(size: Int(status.st_size))
        case S_IFDIR:
            // Looked at first: one that cannot be listed is not to arrive as an empty one.
            guard let listed = FileNames.list(local) else { return leaveOut(path, FileCalls.failure("list", name)) }
            content = listed
            kind = .directory
        case S_IFLNK:
            guard let target = FileCalls.link(local, in: AT_FDCWD) else {
                return leaveOut(
                    path,
                    TransferError(.unsafePath, "the link \(printable(name)) cannot be read as UTF-8")
                )
            }
            do throws(TransferError) {
                try Manifest.check(link: target, at: path, above: path.count - 2)
            } catch {
                return leaveOut(path, error)
            }
            kind = .symlink(target: target)
        default:
            return leaveOut(path, .unsupportedKind(name))
        }
        let entry = TransferEntry(
            path: path,
            kind: kind,
            mode: Int(status.st_mode & 0o777),
            modified: TransferEntry.Time(seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec)
        )
        do throws(TransferError) {
            try manifest.append(entry)
        } catch {
            guard error.code == .unsafePath else { throw error }
            return leaveOut(path, error)
        }
        localPaths.append(local)
        identities.append(FileIdentity(status))
        for component in content.foreign {
            leaveOut(
                path + [component],
                TransferError(.unsafePath, "the name \"\(printable(component))\" is not UTF-8: rename it")
            )
        }
        for component in content.names {
            let below = local + "/" + component
            guard let status = FileCalls.status(of: below, in: AT_FDCWD) else {
                leaveOut(path + [component], FileCalls.failure("send", name + "/" + component))
                continue
            }
            try add(path + [component], at: below, status)
        }
    }

    private mutating func leaveOut(_ path: [String], _ error: TransferError) {
        leftOut.append(TransferSummary.Failure(name: printable(path.joined(separator: "/")), error: error))
    }
}
