internal import Glibc

/// What is left in the target directory of files that did not go through.
extension ReceiverDisk {
    /// Ends a file that failed: what a later run can go on with stays, with the journal that tells of it; the rest goes.
    func clearUp(_ index: Int) {
        let isUnderWay = writing?.index == index
        if isUnderWay {
            try? makeSafe()
            writing = nil
        }
        // Without either the temporary name is somebody else's.
        guard let journal, isUnderWay || !journal.isNew, entries[index].isFile,
            let parent = target?.open(placed(entries[index].path.dropLast()))
        else { return }
        let name = temporaryName(index)
        guard FileCalls.status(of: name, in: parent.descriptor) != nil else { return }
        switch journal.states[index] {
        case .foreign: break
        case .done: leavesPartialFiles = true
        case .progress(let bytes, _) where bytes > 0 && entries[index].size != nil: leavesPartialFiles = true
        case .progress, nil:
            _ = unsafe unlinkat(parent.descriptor, name, 0)
            if isUnderWay { hasFailedUnderWay = true }
        }
    }

    /// Drops all of a file that did not have the hash that the sender named, and what the journal says of it: whatever
    /// was wrong, the next run starts it anew.
    func discard(_ index: Int) throws(TransferError) {
        guard let current = writing, current.index == index, let parent = current.parent else { return }
        writing = nil
        hasFailedUnderWay = true
        _ = unsafe unlinkat(parent.descriptor, current.temporaryName, 0)
        guard case .progress(let bytes, _) = journal?.states[index], bytes > 0 else { return }
        try journal?.append([.progress(file: index, bytes: 0, chain: .chainStart)])
    }

    /// Leaves a state that can be resumed when the transfer ends before its end.
    func leave() {
        outgoing = []
        try? placeFinished()
        try? makeSafe()
        defer { writing = nil }
        // A stream, or less than a block: no run goes on with that.
        if let current = writing, let parent = current.parent,
            current.synced == 0 || entries[current.index].size == nil
        {
            _ = unsafe unlinkat(parent.descriptor, current.temporaryName, 0)
        }
        guard let journal, let target, journal.isNew, journal.tellsNothing,
            !entries.contains(where: { if case .symlink = $0.kind { true } else { false } })
        else { return }
        journal.remove(from: target.root)
    }

    /// Whether nothing can go on with the journal: offered again, what did go through need not go once more.
    var isJournalOfNoUse: Bool { !leavesPartialFiles && !(hasFailedUnderWay && hasDoneFiles) }

    private var hasDoneFiles: Bool {
        guard let journal else { return false }
        return entries.indices.contains { index in
            guard entries[index].isFile, case .done = journal.states[index] else { return false }
            return true
        }
    }
}
