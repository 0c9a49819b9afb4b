internal import CLinux
internal import Glibc

/// How complete files, and the transfer, come to their end.
extension ReceiverDisk {
    /// Makes complete files safe, records them, and gives them their names.
    func placeFinished() throws(TransferError) {
        guard !finishing.isEmpty else { return }
        let batch = finishing
        finishing = []
        let files = batch.compactMap(\.file)
        for item in batch {
            guard let file = item.file else { continue }
            let entry = entries[item.index]
            // Neither set-user-ID nor set-group-ID nor sticky: the manifest has no more than permissions.
            fchmod(file.descriptor, mode_t(entry.mode & 0o777) & ~withheldPermissions)
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
                // One that only lacked its name was not counted yet.
                if item.file != nil { takeBack(item.index, item.size) }
                fail(item.index, error, isTold: true)
            }
        }
        for (_, parent) in parents where fsync(parent.descriptor) != 0 {
            throw FileCalls.failure("write the directory of", first)
        }
        summary.files += done.count
        // Those that only lacked their name were reported with the answer.
        let news = Set(batch.filter { $0.file != nil }.map(\.index))
        for index in done {
            if !news.contains(index) { countThere(index, entries[index].size ?? 0) }
            tell(.done(name: entries[index].name))
        }
        done.removeAll { !news.contains($0) }
        if !done.isEmpty { send(.done(done)) }
    }

    func giveName(_ item: Finished) throws(TransferError) {
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
            for number in Self.numbers where errno == EEXIST {
                let other = Self.numbered(name, number)
                if FileCalls.renameWithoutReplacing(item.temporaryName, in: directory, to: other) == 0 { return }
            }
            throw FileCalls.failure("name", full)
        }
    }

    static func setTime(_ time: TransferEntry.Time?, of file: OpenFile) {
        guard let time else { return }
        let value = timespec(tv_sec: time.seconds, tv_nsec: time.nanoseconds)
        let times = [value, value]
        _ = unsafe futimens(file.descriptor, times)
    }

    func finish() throws(TransferError) {
        try placeFinished()
        for index in madeDirectories.reversed() {
            guard let directory = target?.open(placed(entries[index].path)) else { continue }
            fchmod(directory.descriptor, mode_t(entries[index].mode & 0o777) & ~withheldPermissions)
            Self.setTime(entries[index].modified, of: directory)
            fsync(directory.descriptor)
        }
        if let target {
            // It stays until the sender knows: else the same offer would meet its own files.
            if !leavesPartialFiles { try journal?.append([.finished]) }
            fsync(target.root.descriptor)
        }
        summary.keepsParts = leavesPartialFiles
        hasSentFinished = true
        send(.finished(done: summary.files, failed: summary.failures.count))
    }
}
