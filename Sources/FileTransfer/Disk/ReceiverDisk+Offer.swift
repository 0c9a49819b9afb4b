internal import CLinux
internal import Glibc

/// What of an offer is wanted, and what is there of it already.
extension ReceiverDisk {
    func answer(_ offer: ControlMessage.Offer) async throws(TransferError) {
        let description = TransferOffer(
            transfer: offer.transfer.hexadecimal,
            entries: entries,
            files: offer.files,
            bytes: offer.bytes
        )
        tell(.offered(description))
        if let reason = await options.refusal(description) {
            throw TransferError(.refused, reason)
        }
        hasDigests = offer.hasFileDigests
        var wanted = entries.map(\.isFile)
        var partials: [ControlMessage.Partial] = []
        switch destination {
        case .stream:
            guard entries.count == 1, wanted[0] else {
                throw TransferError(
                    .refused,
                    "the receiver takes one file, as a stream: send one file, as tar makes it, or receive into a folder"
                )
            }
        case .directory(let path):
            let target = try TargetDirectory(path: path)
            self.target = target
            journal = try Journal(transfer: offer.transfer, in: target.root)
            try prepare(&wanted, &partials)
            // Those that only lack their names get them before anything is said of them.
            try placeFinished()
            try checkSpace(wanted: wanted, partials: partials)
        }
        sendHave(wanted: wanted, partials: partials)
        machine.answer(
            wanted: wanted,
            partials: Dictionary(partials.map { ($0.file, $0.bytes) }) { first, _ in first }
        )
        var isStream = false
        if case .stream = destination { isStream = true }
        send(.accept(asStream: isStream))
        tell(.accepted(asStream: isStream))
    }

    func sendHave(wanted: [Bool], partials: [ControlMessage.Partial]) {
        var ranges: [ClosedRange<Int>] = []
        for index in entries.indices where !wanted[index] && !failedEntries.contains(index) {
            if let last = ranges.last, last.upperBound == index - 1 {
                ranges[ranges.count - 1] = last.lowerBound...index
            } else {
                ranges.append(index...index)
            }
        }
        var partials = partials[...]
        var rest = ranges[...]
        while !rest.isEmpty || !partials.isEmpty {
            let some = rest.prefix(ControlMessage.maxItems / 8)
            let parts = partials.prefix(ControlMessage.maxItems / 8)
            rest = rest.dropFirst(some.count)
            partials = partials.dropFirst(parts.count)
            send(.have(done: Array(some), partial: Array(parts)))
        }
    }

    func refuse(_ index: Int, _ error: TransferError, _ wanted: inout [Bool]) {
        wanted[index] = false
        failedEntries.insert(index)
        clearUp(index)
        fail(index, error, isTold: true)
    }

    /// Makes directories and links, and finds out what is there of each file.
    func prepare(
        _ wanted: inout [Bool],
        _ partials: inout [ControlMessage.Partial]
    ) throws(TransferError) {
        guard var target, var journal else { return }
        defer {
            self.target = target
            self.journal = journal
        }
        takeUpNames(of: journal)
        if journal.isNew {
            // Before anything is made: which directories will be this transfer's, which temporary names are not.
            var records: [Journal.Record] = []
            for (index, state) in journal.states {
                guard case .done(let size, let seconds) = state else { continue }
                records.append(.done(file: index, size: size, seconds: seconds))
            }
            for (index, number) in journal.numbers { records.append(.renamed(file: index, number: number)) }
            var missing: Set<[String]> = []
            for (index, entry) in entries.enumerated() {
                let parent = Array(entry.path.dropLast())
                if missing.contains(parent) {
                    if entry.kind == .directory { missing.insert(entry.path) }
                } else if let directory = target.open(placed(parent)) {
                    switch entry.kind {
                    case .directory:
                        if FileCalls.status(of: name(index), in: directory.descriptor) == nil {
                            missing.insert(entry.path)
                        }
                    case .file:
                        if case .done = journal.states[index] { break }
                        if FileCalls.status(of: temporaryName(index), in: directory.descriptor) != nil {
                            records.append(.foreign(file: index))
                        }
                    case .symlink: break
                    }
                }
                if missing.contains(entry.path) { records.append(.done(file: index, size: 0, seconds: 0)) }
            }
            records.append(.ready)
            try journal.append(records)
            fsync(target.root.descriptor)
        }
        for (index, entry) in entries.enumerated() {
            if Task.isCancelled { throw .cancelledByTask }
            guard let parent = target.open(placed(entry.path.dropLast())) else {
                refuse(index, FileCalls.failure("open the directory of", entry.name), &wanted)
                continue
            }
            do throws(TransferError) {
                switch entry.kind {
                case .directory: try makeDirectory(index, in: parent, &journal)
                case .symlink(let link): try makeLink(index, to: link, in: parent)
                case .file:
                    let found = try look(for: index, in: parent, state: journal.states[index])
                    if found.isDone { wanted[index] = false }
                    if let partial = found.partial { partials.append(partial) }
                }
            } catch {
                guard error.code != .cancelled, error.code != .noSpace, error.code != .readOnly else { throw error }
                refuse(index, error, &wanted)
            }
        }
    }

    /// The name of a file until it is complete: `NAME.part`, or a shorter one where that is too long or taken.
    func temporaryName(_ index: Int) -> String {
        let path = entries[index].path
        let name = name(index)
        let plain = name + ".part"
        if plain.utf8.count <= Manifest.maxNameBytes, !machine.manifest.contains(path.dropLast() + [plain]) {
            return plain
        }
        var short = name
        while short.utf8.count > 200 { short.unicodeScalars.removeLast() }
        var number = index
        while true {
            let candidate = "\(short).\(number).part"
            if !machine.manifest.contains(path.dropLast() + [candidate]) { return candidate }
            number += entries.count
        }
    }

    func makeDirectory(_ index: Int, in parent: OpenFile, _ journal: inout Journal) throws(TransferError) {
        // Writable for us until the end, when it gets its own mode.
        if unsafe mkdirat(parent.descriptor, name(index), 0o700) != 0 {
            guard errno == EEXIST else { throw FileCalls.failure("make the directory", entries[index].name) }
            let present = FileCalls.status(of: name(index), in: parent.descriptor)
            if present.map({ $0.st_mode & S_IFMT != S_IFDIR }) ?? true {
                guard options.existing == .rename else {
                    throw TransferError(
                        .exists,
                        "\(printable(entries[index].name)) exists already and is no folder: choose rename, or move it away"
                    )
                }
                try makeNumberedDirectory(index, in: parent, &journal)
            }
        }
        if journal.states[index] != nil || isElsewhere(index) { madeDirectories.append(index) }
    }

    func makeLink(_ index: Int, to link: String, in parent: OpenFile) throws(TransferError) {
        let name = name(index)
        if unsafe symlinkat(link, parent.descriptor, name) == 0 { return }
        guard errno == EEXIST else { throw FileCalls.failure("make the link", entries[index].name) }
        if FileCalls.link(name, in: parent.descriptor) == link { return }
        switch options.existing {
        case .refuse: throw exists(index)
        case .overwrite:
            if let present = FileCalls.status(of: name, in: parent.descriptor), present.st_mode & S_IFMT == S_IFDIR {
                throw exists(index, asDirectory: true)
            }
            guard unsafe unlinkat(parent.descriptor, name, 0) == 0, unsafe symlinkat(link, parent.descriptor, name) == 0
            else { throw FileCalls.failure("make the link", entries[index].name) }
        case .rename:
            for number in Self.numbers {
                if unsafe symlinkat(link, parent.descriptor, Self.numbered(name, number)) == 0 { return }
                guard errno == EEXIST else { break }
            }
            throw FileCalls.failure("make the link", entries[index].name)
        }
    }

    func exists(_ index: Int, asDirectory isDirectory: Bool = false) -> TransferError {
        let advice = "choose \(isDirectory ? "" : "overwrite or ")rename, or move it away"
        return TransferError(
            .exists,
            "\(printable(entries[index].name)) exists already\(isDirectory ? " and is a folder" : ""): \(advice)"
        )
    }

    /// What is there of a file from earlier runs.
    func look(
        for index: Int,
        in parent: OpenFile,
        state: Journal.FileState?
    ) throws(TransferError) -> (isDone: Bool, partial: ControlMessage.Partial?) {
        let entry = entries[index]
        let temporaryName = temporaryName(index)
        let present = FileCalls.status(of: name(index), in: parent.descriptor)
        let temporary = FileCalls.status(of: temporaryName, in: parent.descriptor)
        if state == .foreign, temporary != nil {
            throw TransferError(
                .exists,
                "\(printable(temporaryName)) exists already and is not of this transfer: move it away"
            )
        }
        if case .done(let size, let seconds) = state, size == entry.size, seconds == entry.modified?.seconds ?? 0 {
            if journal?.isNew == false, let temporary, temporary.st_mode & S_IFMT == S_IFREG,
                Int(temporary.st_size) == size
            {
                // Complete and safe, but the process died before it got its name.
                finishing.append(
                    Finished(index: index, parent: parent, temporaryName: temporaryName, file: nil, size: size)
                )
                return (true, nil)
            }
            let isThere = present.map { $0.st_mode & S_IFMT == S_IFREG && Int($0.st_size) == size } ?? false
            if temporary == nil || journal?.isNew == true, isThere || options.existing == .rename {
                summary.files += 1
                countThere(index, size)
                tell(.done(name: entry.name))
                return (true, nil)
            }
        }
        if let present {
            let isDirectory = present.st_mode & S_IFMT == S_IFDIR
            if options.existing == .refuse || (options.existing == .overwrite && isDirectory) {
                throw exists(index, asDirectory: isDirectory)
            }
        }
        guard case .progress(let bytes, let expected) = state, bytes > 0, bytes <= entry.size ?? DataFrame.maxFileSize,
            let temporary, temporary.st_mode & S_IFMT == S_IFREG, Int(temporary.st_size) >= bytes,
            let file = FileCalls.open(temporaryName, in: parent.descriptor, O_RDWR | O_NOFOLLOW | O_NONBLOCK)
        else { return (false, nil) }
        try chain.start(wantsWhole: false)
        guard try hash(file, through: bytes), chain.value == expected else { return (false, nil) }
        return (false, ControlMessage.Partial(file: index, bytes: bytes, root: expected))
    }

    /// Adds whole blocks of a file to the chain.
    ///
    /// - Returns: false if the file is shorter.
    func hash(_ file: OpenFile, through bytes: Int) throws(TransferError) -> Bool {
        var buffer = [UInt8](repeating: 0, count: DataFrame.blockSize)
        var offset = 0
        while offset < bytes {
            if Task.isCancelled { throw .cancelledByTask }
            let start = offset
            let count = unsafe buffer.withUnsafeMutableBytes { unsafe FileCalls.read(file, into: $0, at: start) }
            guard count == buffer.count else { return false }
            try chain.update(buffer)
            offset += count
        }
        return true
    }

    func checkSpace(wanted: [Bool], partials: [ControlMessage.Partial]) throws(TransferError) {
        guard let target else { return }
        var needed = 0
        for (index, entry) in entries.enumerated() where wanted[index] { needed += entry.size ?? 0 }
        for partial in partials { needed -= partial.bytes }
        var status = statvfs()
        guard unsafe fstatvfs(target.root.descriptor, &status) == 0 else { return }
        let (free, isHuge) = Int(status.f_bavail).multipliedReportingOverflow(by: Int(status.f_frsize))
        guard !isHuge, needed > free else { return }
        throw TransferError(
            .noSpace,
            "\(needed) bytes are to come, and the target directory has room for \(free): make room or choose another"
        )
    }
}
