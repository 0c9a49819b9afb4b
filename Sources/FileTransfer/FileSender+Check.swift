internal import Glibc

extension FileSender {
    /// Finds what is wrong with paths before a receiver is there.
    ///
    /// One that is not there, cannot be read or has no name of its own is a mistake, and so are two files that would have
    /// the same name at the receiver; the very same one twice is not. What is more than a receiver takes, as a path too deep,
    /// is found by looking at all there is. Devices and names that no receiver takes are left
    /// out later, unless there is nothing else.
    ///
    /// - Parameter paths: as for ``init(paths:options:)``.
    /// - Throws: what is wrong with the first of them that is.
    public static func check(paths: [String]) throws(TransferError) {
        var seen: [[UInt8]: NamedPath] = [:]
        var leftOut: TransferError?
        var isAnyRight = false
        for path in paths {
            let named = try NamedPath(path)
            let isDirectory = named.status.st_mode & S_IFMT == S_IFDIR
            guard unsafe access(path, isDirectory ? R_OK | X_OK : R_OK) == 0 else {
                throw FileCalls.failure("read", path)
            }
            if let other = seen.updateValue(named, forKey: Array(named.name.utf8)), !other.isSame(as: named) {
                throw TransferError(
                    .unsafePath,
                    "\(printable(other.local)) and \(printable(path)) would both be \(printable(named.name)) "
                        + "there: send them one after the other"
                )
            }
            do throws(TransferError) {
                try named.check()
                isAnyRight = true
            } catch { leftOut = leftOut ?? error }
        }
        if isAnyRight {
            var offered = OfferedPaths(limits: TransferLimits())
            for path in paths { try offered.add(path) }
            return
        }
        throw leftOut ?? TransferError(.notFound, "there is nothing to send: name a file or directory")
    }

    /// Finds out whether a receiver would take a name for a stream.
    ///
    /// - Parameter name: as for ``init(streamFrom:name:options:)``.
    /// - Throws: `unsafePath` with the reason.
    public static func check(streamName name: String) throws(TransferError) {
        try Manifest.check(path: [name], limits: TransferLimits())
    }
}
