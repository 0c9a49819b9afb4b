import Foundation
import Glibc
import Locking
import Testing

@testable import FileTransfer

/// What a side's events were.
final class EventLog: Sendable {
    private let log = Mutex<[TransferEvent]>([])
    var events: [TransferEvent] { log.withLock { $0 } }
    func add(_ event: TransferEvent) { log.withLock { $0.append(event) } }
}

@Suite struct WholeTransfers {
    @Test(.timeLimit(.minutes(10)), arguments: [false, true]) func oneFileArrives(digests: Bool) async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        var random = SplitMix(seed: 1)
        let bytes = random.bytes(3_500_000)
        let path = try here.write("a.bin", bytes)
        var options = FileSender.Options()
        options.includesFileDigests = digests
        let run = await TransferRun.run(
            FileSender(paths: [path], options: options),
            FileReceiver(target: there.path),
            MemoryChannel.pair()
        )
        let sent = try run.sender.get()
        let received = try run.receiver.get()
        #expect(sent.files == 1 && sent.bytes == bytes.count && sent.failures.isEmpty)
        #expect(received.files == 1 && received.bytes == bytes.count && received.failures.isEmpty)
        #expect(there.names() == ["a.bin"])
        #expect(there.read("a.bin") == bytes)
    }

    @Test(.timeLimit(.minutes(10))) func aTreeArrivesAsItIs() async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        var random = SplitMix(seed: 2)
        var contents: [String: [UInt8]] = [
            "tree/empty": [], "tree/block": random.bytes(1 << 20), "tree/two": random.bytes(2 << 20),
            "tree/more": random.bytes((1 << 20) + 1), "tree/sub/größe 🧀.txt": random.bytes(77),
            "tree/sub/x": [1], "tree/sub/x.part": [2], "tree/sub/x.part.part": [3],
            "tree/" + String(repeating: "n", count: 255): [4],
        ]
        for number in 0..<300 { contents["tree/many/\(number)"] = random.bytes(number) }
        for (name, bytes) in contents { try here.write(name, bytes) }
        try FileManager.default.createDirectory(atPath: here.file("tree/void"), withIntermediateDirectories: true)
        #expect(symlink("sub/x", here.file("tree/link")) == 0)
        #expect(symlink("../block", here.file("tree/sub/up")) == 0)
        #expect(symlink("../../elsewhere", here.file("tree/sub/out")) == 0)
        #expect(symlink("/etc/passwd", here.file("tree/absolute")) == 0)
        #expect(mkfifo(here.file("tree/pipe"), 0o600) == 0)
        #expect(chmod(here.file("tree/two"), 0o4751) == 0)
        #expect(chmod(here.file("tree/void"), 0o555) == 0)
        let times = [
            timespec(tv_sec: 1_000_000_000, tv_nsec: 123_456_789), timespec(tv_sec: 1_000_000_000, tv_nsec: 5),
        ]
        #expect(utimensat(AT_FDCWD, here.file("tree/two"), times, 0) == 0)
        #expect(utimensat(AT_FDCWD, here.file("tree/sub"), times, 0) == 0)

        let run = await TransferRun.run(
            FileSender(paths: [here.file("tree")]),
            FileReceiver(target: there.path),
            MemoryChannel.pair(maxMessageSize: 65_536)
        )
        let sent = try run.sender.get()
        let received = try run.receiver.get()
        #expect(sent.files == contents.count && received.files == contents.count)
        for summary in [sent, received] {
            #expect(Set(summary.failures.map(\.name)) == ["tree/sub/out", "tree/absolute", "tree/pipe"])
        }
        for (name, bytes) in contents { #expect(there.read(name) == bytes, "\(name.prefix(20))") }
        #expect(FileCalls.link(there.file("tree/link"), in: AT_FDCWD) == "sub/x")
        #expect(FileCalls.link(there.file("tree/sub/up"), in: AT_FDCWD) == "../block")
        let two = try #require(FileCalls.status(of: there.file("tree/two"), in: AT_FDCWD))
        #expect(two.st_mode & 0o7777 == 0o751)
        #expect(two.st_mtim.tv_sec == 1_000_000_000 && two.st_mtim.tv_nsec == 5)
        let sub = try #require(FileCalls.status(of: there.file("tree/sub"), in: AT_FDCWD))
        #expect(sub.st_mtim.tv_sec == 1_000_000_000)
        let void = try #require(FileCalls.status(of: there.file("tree/void"), in: AT_FDCWD))
        #expect(void.st_mode & 0o777 == 0o555)
        // Neither a journal nor a partial file is left.
        #expect(there.names().count == contents.count + 2 + 4)
        #expect(!there.exists("tree/absolute") && !there.exists("tree/pipe") && !there.exists("tree/sub/out"))
    }

    @Test(.timeLimit(.minutes(10))) func tenThousandSmallFiles() async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        for number in 0..<10_000 { try here.write("d/\(number % 100)/\(number)", Array("file \(number)".utf8)) }
        let run = await TransferRun.run(
            FileSender(paths: [here.file("d")]),
            FileReceiver(target: there.path),
            MemoryChannel.pair()
        )
        #expect(try run.sender.get().files == 10_000)
        #expect(try run.receiver.get().files == 10_000)
        for number in stride(from: 0, to: 10_000, by: 97) {
            #expect(there.read("d/\(number % 100)/\(number)") == Array("file \(number)".utf8))
        }
        #expect(there.names().count == 10_101)
    }

    @Test(.timeLimit(.minutes(10)), arguments: [FileReceiver.Existing.refuse, .overwrite, .rename])
    func whatExistsIsTreatedAsChosen(existing: FileReceiver.Existing) async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        let path = try here.write("a.txt", [1, 2, 3])
        let other = try here.write("b.txt", [4])
        try there.write("a.txt", [9])
        try there.write("b.txt.part", [8])
        var options = FileReceiver.Options()
        options.existing = existing
        let run = await TransferRun.run(
            FileSender(paths: [path, other]),
            FileReceiver(target: there.path, options: options),
            MemoryChannel.pair()
        )
        let sent = try run.sender.get()
        // A file of somebody else's with the temporary name is never touched.
        #expect(there.read("b.txt.part") == [8] && !there.exists("b.txt"))
        #expect(sent.failures.last?.error.code == .exists)
        switch existing {
        case .refuse:
            #expect(there.read("a.txt") == [9])
            #expect(sent.failures.first?.name == "a.txt" && sent.failures.first?.error.code == .exists)
            #expect(sent.failures.first?.error.message.contains("overwrite or rename") == true)
            #expect(sent.failures.first?.error.isFromPeer == true)
            #expect(there.names() == ["a.txt", "b.txt.part"])
        case .overwrite:
            #expect(there.read("a.txt") == [1, 2, 3])
            #expect(there.names() == ["a.txt", "b.txt.part"])
        case .rename:
            #expect(there.read("a.txt") == [9] && there.read("a (1).txt") == [1, 2, 3])
            #expect(there.names() == ["a (1).txt", "a.txt", "b.txt.part"])
        }
    }

    /// Whoever can write where is sent from must not have other files sent, however like they are by size and time.
    @Test(.timeLimit(.minutes(10)), arguments: [true, false]) func aFileThatAnotherTookThePlaceOfIsNotSent(
        byLink: Bool
    ) async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        var random = SplitMix(seed: 3)
        let first = try here.write("d/a", random.bytes(9 << 20))
        let second = try here.write("d/b", [1, 2, 3])
        let secret = try here.write("secret", [4, 5, 6])
        var times = stat()
        #expect(unsafe lstat(second, &times) == 0)
        #expect(unsafe utimensat(AT_FDCWD, secret, [times.st_atim, times.st_mtim], 0) == 0)
        let isChanged = Mutex(false)
        var options = FileSender.Options()
        options.onEvent = { event in
            guard case .progress = event, isChanged.withLock({ !$0 }) else { return }
            isChanged.withLock { $0 = true }
            if byLink {
                unlink(second)
                symlink("../secret", second)
            } else {
                rename(secret, second)
            }
        }
        let run = await TransferRun.run(
            FileSender(paths: [String(first.dropLast(2))], options: options),
            FileReceiver(target: there.path),
            MemoryChannel.pair()
        )
        let sent = try run.sender.get()
        #expect(isChanged.withLock { $0 })
        #expect(sent.failures.map(\.error.code) == [.changed])
        #expect(there.exists("d/a") && !there.exists("d/b"))
    }

    /// As most files of /proc: their size is 0, and there is something to read.
    @Test(.timeLimit(.minutes(10))) func aFileThatHoldsMoreThanItSaysIsNotSentAsEmpty() async throws {
        let there = try ScratchDirectory()
        let run = await TransferRun.run(
            FileSender(paths: ["/proc/self/status"]),
            FileReceiver(target: there.path),
            MemoryChannel.pair()
        )
        let sent = try run.sender.get()
        let received = try run.receiver.get()
        #expect(sent.failures.map(\.error.code) == [.changed] && received.failures.map(\.error.code) == [.changed])
        #expect(sent.failures.first?.error.message.contains("rtc-peer send -") == true)
        #expect(!there.exists("status"))
    }

    @Test(.timeLimit(.minutes(10))) func aFileThatChangesMeanwhileIsNotDone() async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        var random = SplitMix(seed: 3)
        let path = try here.write("log", random.bytes(9 << 20))
        let rest = try here.write("rest", [1])
        let isChanged = Mutex(false)
        var options = FileSender.Options()
        options.onEvent = { event in
            guard case .progress("log", _, _) = event, isChanged.withLock({ !$0 }) else { return }
            isChanged.withLock { $0 = true }
            let descriptor = open(path, O_WRONLY | O_APPEND)
            _ = write(descriptor, "x", 1)
            close(descriptor)
        }
        let run = await TransferRun.run(
            FileSender(paths: [path, rest], options: options),
            FileReceiver(target: there.path),
            MemoryChannel.pair()
        )
        let sent = try run.sender.get()
        let received = try run.receiver.get()
        #expect(sent.failures.map(\.error.code) == [.changed] && received.failures.map(\.error.code) == [.changed])
        #expect(sent.files == 1 && received.files == 1)
        #expect(!there.exists("log") && there.read("rest") == [1])
        // At rest again, it arrives whole, and the rest is not sent again.
        let again = await TransferRun.run(
            FileSender(paths: [path, rest]),
            FileReceiver(target: there.path),
            MemoryChannel.pair()
        )
        let summary = try again.sender.get()
        #expect(summary.failures.isEmpty && summary.files == 2 && summary.resumedBytes > 8 << 20)
        #expect(there.read("log") == here.read("log"))
        #expect(there.names() == ["log", "rest"])
    }

    @Test(.timeLimit(.minutes(10))) func aStreamOfUnknownLength() async throws {
        let there = try ScratchDirectory()
        var random = SplitMix(seed: 4)
        let bytes = random.bytes(2_345_678)
        for toStream in [false, true] {
            var ends: [CInt] = [0, 0]
            var outEnds: [CInt] = [0, 0]
            #expect(pipe(&ends) == 0 && pipe(&outEnds) == 0)
            let (input, output) = (ends, outEnds)
            Thread.detachNewThread {
                var offset = 0
                while offset < bytes.count {
                    let count = bytes[offset...].withUnsafeBytes {
                        write(input[1], $0.baseAddress, min($0.count, 10_000))
                    }
                    guard count > 0 else { break }
                    offset += count
                }
                close(input[1])
            }
            let collected = Mutex<[UInt8]>([])
            let isRead = AsyncStream<Void>.makeStream()
            Thread.detachNewThread {
                var buffer = [UInt8](repeating: 0, count: 65_536)
                while true {
                    let count = read(output[0], &buffer, buffer.count)
                    guard count > 0 else { break }
                    collected.withLock { $0.append(contentsOf: buffer[..<count]) }
                }
                isRead.continuation.finish()
            }
            let run = await TransferRun.run(
                FileSender(streamFrom: input[0], name: "out"),
                toStream ? FileReceiver(streamTo: output[1]) : FileReceiver(target: there.path),
                MemoryChannel.pair()
            )
            for descriptor in [input[0], output[1]] { close(descriptor) }
            for await _ in isRead.stream {}
            close(output[0])
            #expect(try run.sender.get().files == 1 && run.receiver.get().bytes == bytes.count)
            if toStream {
                #expect(collected.withLock { $0 } == bytes)
            } else {
                #expect(there.read("out") == bytes)
            }
        }
    }

    /// What was read once is gone: a second run must not send the rest as if it were all, and neither side waits for it.
    @Test(.timeLimit(.minutes(10))) func aStreamIsNotSentTwice() async throws {
        let there = try ScratchDirectory()
        var ends: [CInt] = [0, 0]
        #expect(pipe(&ends) == 0 && write(ends[1], "abc", 3) == 3)
        close(ends[1])
        let sender = FileSender(streamFrom: ends[0], name: "out")
        let channels = MemoryChannel.pair()
        // hello, offer, manifest, and one chunk without its end.
        channels.0.cut(after: 4)
        let first = await TransferRun.run(sender, FileReceiver(target: there.path), channels)
        #expect(first.sender.error?.code == .notResumable)
        #expect(first.receiver.error?.code == .notResumable)
        let again = await TransferRun.run(sender, FileReceiver(target: there.path), MemoryChannel.pair())
        #expect(again.sender.error?.code == .notResumable && again.sender.error?.isFromPeer == false)
        #expect(again.receiver.error?.code == .notResumable && again.receiver.error?.isFromPeer == true)
        close(ends[0])
        // What came of it is of no use to anybody.
        #expect(there.names().isEmpty)
    }

    /// Not even when told to overwrite; and what is advised is not what was chosen already.
    @Test(.timeLimit(.minutes(10))) func aFolderIsNotOverwritten() async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        try here.write("d/a", [1])
        #expect(symlink("a", here.file("d/link")) == 0)
        try there.write("d/a/mine", [2])
        try there.write("d/link/mine", [2])
        var options = FileReceiver.Options()
        options.existing = .overwrite
        let run = await TransferRun.run(
            FileSender(paths: [here.file("d")]),
            FileReceiver(target: there.path, options: options),
            MemoryChannel.pair()
        )
        let failures = try run.sender.get().failures
        #expect(failures.map(\.error.code) == [.exists, .exists])
        #expect(
            failures.map(\.error.message)
                == ["d/a", "d/link"].map {
                    "\($0) exists already and is a folder: choose rename, or move it away"
                }
        )
        #expect(there.read("d/a/mine") == [2] && there.read("d/link/mine") == [2])
    }

    private func run(
        _ here: ScratchDirectory,
        _ there: ScratchDirectory,
        _ existing: FileReceiver.Existing,
        cutAfter messages: Int? = nil
    ) async -> TransferRun {
        var options = FileReceiver.Options()
        options.existing = existing
        let channels = MemoryChannel.pair()
        if let messages { channels.0.cut(after: messages) }
        return await TransferRun.run(
            FileSender(paths: [here.file("d")]),
            FileReceiver(target: there.path, options: options),
            channels
        )
    }

    /// On both sides the bytes of a file that failed are taken back, so that the whole comes out even.
    @Test(.timeLimit(.minutes(10))) func whatFailsLeavesTheTotals() async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        try here.write("d/a", [UInt8](repeating: 1, count: 3 << 20))
        try here.write("d/b", [UInt8](repeating: 2, count: 2 << 20))
        let (sent, received) = (EventLog(), EventLog())
        var (sending, receiving) = (FileSender.Options(), FileReceiver.Options())
        sending.onEvent = { sent.add($0) }
        receiving.onEvent = { event in
            received.add(event)
            // Somebody else takes the name meanwhile.
            if case .accepted = event { _ = try? there.write("d/a", [9]) }
        }
        let run = await TransferRun.run(
            FileSender(paths: [here.file("d")], options: sending),
            FileReceiver(target: there.path, options: receiving),
            MemoryChannel.pair()
        )
        #expect(try run.sender.get().failures.map(\.error.code) == [.exists])
        for log in [sent, received] {
            let totals = log.events.compactMap { event -> Int? in
                if case .progress(_, _, let total) = event { total } else { nil }
            }
            #expect(totals.contains { $0 >= 3 << 20 } && totals.last == 2 << 20, "\(totals)")
        }
    }

    /// A folder in a file's place gets a number, with all that is in it, as a file in a folder's does; and goes on there.
    @Test(.timeLimit(.minutes(10)), arguments: [false, true])
    func foldersAndFilesInEachOthersPlaceAreRenamed(isCut: Bool) async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        var random = SplitMix(seed: 14)
        let bytes = random.bytes(3 << 20)
        try here.write("d/f/in/deep", bytes)
        try here.write("d/f/shallow", [2])
        try here.write("d/g", [3])
        // What is offered by the next name keeps it.
        try here.write("d/f (1)/x", [4])
        try there.write("d/f", [9])
        try there.write("d/g/mine", [8])
        if isCut {
            // hello, offer, manifest, and 9 messages for the first block.
            let cut = await run(here, there, .rename, cutAfter: 3 + 9)
            #expect(cut.sender.error?.code == .channelClosed)
            #expect(there.exists("d/f (2)/in/deep.part"))
        }
        let run = await run(here, there, .rename)
        let sent = try run.sender.get()
        #expect(sent.failures == [] && sent.resumedBytes == (isCut ? 1 << 20 : 0))
        #expect(there.read("d/f") == [9] && there.read("d/g/mine") == [8] && there.read("d/g (1)") == [3])
        #expect(there.read("d/f (2)/in/deep") == bytes && there.read("d/f (2)/shallow") == [2])
        #expect(there.read("d/f (1)/x") == [4])
        #expect(
            there.names() == [
                "d", "d/f", "d/f (1)", "d/f (1)/x", "d/f (2)", "d/f (2)/in", "d/f (2)/in/deep", "d/f (2)/shallow",
                "d/g",
                "d/g (1)", "d/g/mine",
            ]
        )
    }

    @Test(.timeLimit(.minutes(10)), arguments: [FileReceiver.Existing.refuse, .overwrite])
    func aFileIsNotReplacedByAFolder(existing: FileReceiver.Existing) async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        try here.write("d/f/x", [1])
        try there.write("d/f", [9])
        let failures = try await run(here, there, existing).sender.get().failures
        #expect(
            failures.first?.error.code == .exists && failures.first?.error.message.contains("choose rename") == true
        )
        #expect(there.read("d/f") == [9])
    }

    /// What was written there cannot be taken back: the sender knows that it cannot go on, however it breaks off.
    @Test(.timeLimit(.minutes(10))) func theSenderKnowsThatTheReceiverTakesAStream() async throws {
        let (here, log) = (try ScratchDirectory(), EventLog())
        let path = try here.write("a", [UInt8](repeating: 3, count: 3 << 20))
        let null = open("/dev/null", O_WRONLY)
        defer { close(null) }
        var options = FileSender.Options()
        options.onEvent = { log.add($0) }
        let sender = FileSender(paths: [path], options: options)
        let channels = MemoryChannel.pair()
        channels.0.cut(after: 3 + 9)
        let run = await TransferRun.run(sender, FileReceiver(streamTo: null), channels)
        #expect(log.events.contains(.accepted(asStream: true)))
        #expect(run.sender.error?.code == .notResumable && run.sender.error?.isFromPeer == false)
        let again = await TransferRun.run(sender, FileReceiver(streamTo: null), MemoryChannel.pair())
        #expect(again.sender.error?.code == .notResumable && again.receiver.error?.isFromPeer == true)
    }

    /// The reader of what was received has gone: the sender is told that nothing will come of it.
    @Test(.timeLimit(.minutes(10))) func whatCannotBeWrittenToAStreamEndsBothSides() async throws {
        signal(SIGPIPE, SIG_IGN)
        let here = try ScratchDirectory()
        let path = try here.write("a", [UInt8](repeating: 3, count: 8 << 20))
        var ends: [CInt] = [0, 0]
        #expect(pipe(&ends) == 0)
        var options = FileReceiver.Options()
        let reader = Mutex(Optional(ends[0]))
        options.onEvent = { event in
            guard case .offered = event else { return }
            reader.withLock { $0.take() }.map { _ = close($0) }
        }
        let run = await TransferRun.run(
            FileSender(paths: [path]),
            FileReceiver(streamTo: ends[1], options: options),
            MemoryChannel.pair()
        )
        close(ends[1])
        #expect(run.receiver.error?.code == .notResumable)
        #expect(run.sender.error?.code == .notResumable && run.sender.error?.isFromPeer == true)
        #expect(run.sender.error?.message.contains("Broken pipe") == true)
    }

    /// A disk slower than the channel: the sender waits, and what is under way stays bounded.
    @Test(.timeLimit(.minutes(10))) func aSlowDiskSlowsTheSender() async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        let path = try here.write("a", [UInt8](repeating: 3, count: 64 << 20))
        let sent = Mutex(0)
        let lead = Mutex(0)
        var sending = FileSender.Options()
        sending.onEvent = { event in
            if case .progress(_, let bytes, _) = event { sent.withLock { $0 = bytes } }
        }
        var receiving = FileReceiver.Options()
        receiving.onEvent = { event in
            guard case .progress(_, let bytes, _) = event else { return }
            usleep(20_000)
            let ahead = sent.withLock { $0 } - bytes
            lead.withLock { $0 = max($0, ahead) }
        }
        let run = await TransferRun.run(
            FileSender(paths: [path], options: sending),
            FileReceiver(target: there.path, options: receiving),
            MemoryChannel.pair()
        )
        #expect(try run.receiver.get().files == 1)
        // Two fillings of the receiver's queue, one being written; the channel; two batches of the sender.
        #expect(lead.withLock { $0 } <= 16 << 20)
    }

    @Test(.timeLimit(.minutes(10))) func anApplicationMayRefuse() async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        let path = try here.write("a", [1])
        var options = FileReceiver.Options()
        options.refusal = { offer in "no \(offer.entries.map(\.name)) today" }
        let run = await TransferRun.run(
            FileSender(paths: [path]),
            FileReceiver(target: there.path, options: options),
            MemoryChannel.pair()
        )
        #expect(throws: TransferError.self) { try run.receiver.get() }
        guard case .failure(let error) = run.sender else { Issue.record("not refused"); return }
        #expect(error.code == .refused && error.isFromPeer && error.message == "no [\"a\"] today")
        #expect(error.isRefusal)
        #expect(there.names().isEmpty)
    }

    @Test(.timeLimit(.minutes(10))) func aLinkInTheTargetIsNotFollowed() async throws {
        let (here, there, elsewhere) = (try ScratchDirectory(), try ScratchDirectory(), try ScratchDirectory())
        try here.write("d/a", [1])
        #expect(symlink(elsewhere.path, there.file("d")) == 0)
        let run = await TransferRun.run(
            FileSender(paths: [here.file("d")]),
            FileReceiver(target: there.path),
            MemoryChannel.pair()
        )
        let sent = try run.sender.get()
        #expect(sent.files == 0 && sent.failures.count == 2)
        #expect(elsewhere.names().isEmpty)
    }

    @Test(.timeLimit(.minutes(10))) func cancellingLeavesAStateToResumeFrom() async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        var random = SplitMix(seed: 5)
        let path = try here.write("a", random.bytes(12 << 20))
        for side in 0..<2 {
            let channels = MemoryChannel.pair(room: 1 << 18)
            let progress = AsyncStream<Void>.makeStream()
            var options = FileReceiver.Options()
            options.onEvent = { event in
                if case .progress(_, let bytes, _) = event, bytes >= (3 + side * 4) << 20 {
                    progress.continuation.yield()
                }
            }
            let (sender, receiver) = (FileSender(paths: [path]), FileReceiver(target: there.path, options: options))
            let sending = Task { try await sender.run(over: channels.0) }
            let receiving = Task { try await receiver.run(over: channels.1) }
            for await _ in progress.stream { break }
            (side == 0 ? sending : receiving).cancel()
            let outcomes = [await sending.result, await receiving.result]
            let codes = outcomes.map { outcome -> TransferError.Code? in
                if case .failure(let error as TransferError) = outcome { error.code } else { nil }
            }
            #expect(codes == [.cancelled, .cancelled])
            #expect(there.exists("a.part"))
        }
        let run = await TransferRun.run(
            FileSender(paths: [path]),
            FileReceiver(target: there.path),
            MemoryChannel.pair()
        )
        #expect(try run.sender.get().resumedBytes >= 7 << 20)
        #expect(there.read("a") == here.read("a"))
        #expect(there.names() == ["a"])
    }
}
