internal import Glibc

/// A file or directory that the application named to be sent.
struct NamedPath {
    let local: String
    /// What the receiver calls it.
    let name: String
    let status: stat

    /// Looks at a path; a link is followed.
    ///
    /// - Parameters:
    ///   - path: where it is.
    ///   - shown: what it is called in errors, if not by the path.
    /// - Throws: `notFound` and the like; `unsafePath` if it has no name of its own, as `/`.
    init(_ path: String, shownAs shown: String? = nil) throws(TransferError) {
        guard !path.isEmpty else {
            throw TransferError(.notFound, "a path is empty: name a file or directory")
        }
        guard let status = FileCalls.status(of: path, in: AT_FDCWD, follows: true) else {
            throw FileCalls.failure("send", shown ?? path)
        }
        self.status = status
        local = path
        var last = Self.last(path)
        // The directory that is meant has a name, though not here.
        if last == "." || last == ".." { last = Self.resolved(path).flatMap(Self.last) }
        guard let last else {
            throw TransferError(
                .unsafePath,
                "\(printable(shown ?? path)) has no name of its own: name a file or directory in it"
            )
        }
        name = last
    }

    /// The last component.
    static func last(_ path: String) -> String? {
        path.utf8.split(separator: UInt8(ascii: "/")).last.flatMap { String($0) }
    }

    private static func resolved(_ path: String) -> String? {
        guard let resolved = unsafe realpath(path, nil) else { return nil }
        defer { unsafe free(resolved) }
        return unsafe String(validatingCString: resolved)
    }

    /// Whether two paths lead to the same file under the same name.
    func isSame(as other: NamedPath) -> Bool {
        status.st_dev == other.status.st_dev && status.st_ino == other.status.st_ino
            && name.utf8.elementsEqual(other.name.utf8)
    }

    /// Refuses what cannot be sent wherever it is in the tree: a device, a name that no receiver takes.
    func check() throws(TransferError) {
        switch status.st_mode & S_IFMT {
        case S_IFREG, S_IFDIR: break
        default: throw .unsupportedKind(local)
        }
        try Manifest.check(path: [name], limits: TransferLimits())
    }
}

extension TransferError {
    static func unsupportedKind(_ name: String) -> TransferError {
        TransferError(.unsupportedKind, "\(printable(name)) is neither a file nor a directory nor a link")
    }
}
