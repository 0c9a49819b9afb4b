import Foundation
import Glibc
import Locking
import Testing

@testable import FileTransfer

@Suite struct Resuming {
    /// Cuts at random messages, over and over, until all is there.
    @Test(.timeLimit(.minutes(10)), arguments: 0..<200) func cutsAnywhere(seed: Int) async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        var random = SplitMix(seed: UInt64(seed))
        var contents: [String: [UInt8]] = [:]
        for number in 0..<Int.random(in: 1...12, using: &random) {
            let count =
                Int.random(in: 0...3, using: &random) == 0 ? Int.random(in: 0...(5 << 19), using: &random) : number
            contents["d/\(number % 3)/\(number)"] = random.bytes(count)
        }
        for (name, bytes) in contents { try here.write(name, bytes) }
        var rounds = 0
        while true {
            rounds += 1
            let channels = MemoryChannel.pair(maxMessageSize: 65_536, room: 1 << 17)
            // The further, the longer: it has to end.
            if rounds < 60 {
                channels.0.cut(after: Int.random(in: 0...(10 + 4 * rounds), using: &random))
                if Bool.random(using: &random) {
                    channels.1.cut(after: Int.random(in: 0...(2 + rounds), using: &random))
                }
            }
            var options = FileSender.Options()
            options.includesFileDigests = Bool.random(using: &random)
            let run = await TransferRun.run(
                FileSender(paths: [here.file("d")], options: options),
                FileReceiver(target: there.path),
                channels
            )
            for outcome in [run.sender, run.receiver] {
                if case .failure(let error) = outcome { #expect(error.code == .channelClosed, "\(error)") }
            }
            if case .success(let summary) = run.sender {
                #expect(summary.failures.isEmpty && summary.files == contents.count)
                break
            }
            if rounds > 100 { Issue.record("seed \(seed) does not end"); break }
        }
        for (name, bytes) in contents { #expect(there.read(name) == bytes, "\(name)") }
        // Only the last good-bye may be missing, so that the receiver has nothing more to do.
        #expect(there.names().filter { $0.hasSuffix(".part") }.isEmpty)
    }

    private func interrupted(_ path: String, _ there: ScratchDirectory, after messages: Int) async throws {
        let channels = MemoryChannel.pair()
        channels.0.cut(after: messages)
        let run = await TransferRun.run(FileSender(paths: [path]), FileReceiver(target: there.path), channels)
        #expect(throws: TransferError.self) { try run.sender.get() }
        #expect(throws: TransferError.self) { try run.receiver.get() }
    }

    @Test(.timeLimit(.minutes(10))) func onlyTheMissingPartIsSentAgain() async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        var random = SplitMix(seed: 7)
        let bytes = random.bytes(10 << 20)
        let path = try here.write("a", bytes)
        // hello, offer, manifest, and 9 messages for each of 6 blocks.
        try await interrupted(path, there, after: 3 + 6 * 9)
        #expect(there.exists("a.part"))
        let run = await TransferRun.run(
            FileSender(paths: [path]),
            FileReceiver(target: there.path),
            MemoryChannel.pair()
        )
        let sent = try run.sender.get()
        #expect(sent.resumedBytes == 6 << 20 && sent.bytes == 4 << 20)
        #expect(there.read("a") == bytes)
        #expect(there.names() == ["a"])
    }

    /// What was there counts from the start, on both sides alike, file by file.
    @Test(.timeLimit(.minutes(10)), arguments: [false, true])
    func bothSidesTellWhatWasThere(lacksItsName: Bool) async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        var random = SplitMix(seed: 9)
        try here.write("d/a", [1])
        try here.write("d/b", [2, 2])
        try here.write("d/c", random.bytes(5 << 20))
        // hello, offer, manifest, two messages for each small file, and 9 for each of 3 blocks.
        try await interrupted(here.file("d"), there, after: 3 + 2 * 2 + 3 * 9)
        // As after a kill between the journal's record and the name.
        if lacksItsName { #expect(rename(there.file("d/a"), there.file("d/a.part")) == 0) }
        let (here2, there2) = (EventLog(), EventLog())
        var (sending, receiving) = (FileSender.Options(), FileReceiver.Options())
        sending.onEvent = { here2.add($0) }
        receiving.onEvent = { there2.add($0) }
        let run = await TransferRun.run(
            FileSender(paths: [here.file("d")], options: sending),
            FileReceiver(target: there.path, options: receiving),
            MemoryChannel.pair()
        )
        let (sent, received) = (try run.sender.get(), try run.receiver.get())
        #expect(sent.resumedBytes == 3 + 3 << 20 && received.resumedBytes == sent.resumedBytes)
        #expect(sent.bytes == 2 << 20 && received.bytes == sent.bytes && received.files == 3)
        for log in [here2, there2] {
            let events = log.events.filter {
                switch $0 {
                case .resumed, .done, .accepted: true
                default: false
                }
            }
            // Those that lack their name get it after the others were looked at.
            let whole: [TransferEvent] = [
                .resumed(name: "d/a", bytes: 1), .done(name: "d/a"), .resumed(name: "d/b", bytes: 2),
                .done(name: "d/b"),
            ]
            #expect(Set(events.prefix(4)) == Set(whole))
            #expect(
                events.dropFirst(4) == [
                    .accepted(asStream: false), .resumed(name: "d/c", bytes: 3 << 20), .done(name: "d/c"),
                ]
            )
            let totals = log.events.compactMap { event -> Int? in
                if case .progress(_, _, let total) = event { total } else { nil }
            }
            #expect(totals.first.map { $0 > 3 + 3 << 20 } == true && totals.last == 3 + 5 << 20)
        }
    }

    @Test(.timeLimit(.minutes(10))) func anotherBeginningStartsAgain() async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        var random = SplitMix(seed: 8)
        let path = try here.write("a", random.bytes(5 << 20))
        try await interrupted(path, there, after: 3 + 4 * 9)
        let bytes = random.bytes(5 << 20)
        try here.write("a", bytes)
        let run = await TransferRun.run(
            FileSender(paths: [path]),
            FileReceiver(target: there.path),
            MemoryChannel.pair()
        )
        let sent = try run.sender.get()
        #expect(sent.resumedBytes == 0 && sent.bytes == 5 << 20)
        #expect(there.read("a") == bytes)
    }

    @Test(.timeLimit(.minutes(10))) func aFileThatGrewGoesOn() async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        var random = SplitMix(seed: 9)
        let bytes = random.bytes(5 << 20)
        let path = try here.write("a", bytes)
        try await interrupted(path, there, after: 3 + 4 * 9)
        let longer = bytes + random.bytes(123_456)
        try here.write("a", longer)
        let run = await TransferRun.run(
            FileSender(paths: [path]),
            FileReceiver(target: there.path),
            MemoryChannel.pair()
        )
        #expect(try run.sender.get().resumedBytes == 4 << 20)
        #expect(there.read("a") == longer)
    }

    /// What is on disk is read again: damage there is not built upon.
    @Test(.timeLimit(.minutes(10))) func aDamagedPartStartsAgain() async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        var random = SplitMix(seed: 10)
        let bytes = random.bytes(5 << 20)
        let path = try here.write("a", bytes)
        try await interrupted(path, there, after: 3 + 4 * 9)
        var part = try #require(there.read("a.part"))
        part[1_234_567] ^= 1
        try there.write("a.part", part)
        let run = await TransferRun.run(
            FileSender(paths: [path]),
            FileReceiver(target: there.path),
            MemoryChannel.pair()
        )
        #expect(try run.sender.get().resumedBytes == 0)
        #expect(there.read("a") == bytes)
    }

    /// The part stays this transfer's, whoever failed at the file.
    @Test(.timeLimit(.minutes(10)), arguments: [false, true])
    func aFileThatCannotGoOnGoesOnLater(isTaken: Bool) async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        var random = SplitMix(seed: 13)
        let bytes = random.bytes(5 << 20)
        let path = try here.write("a", bytes)
        try await interrupted(path, there, after: 3 + 4 * 9)
        if isTaken { try there.write("a", [9]) }
        var options = FileSender.Options()
        options.onEvent = { event in
            if case .accepted = event, !isTaken { rename(path, path + ".away") }
        }
        let failing = await TransferRun.run(
            FileSender(paths: [path], options: options),
            FileReceiver(target: there.path),
            MemoryChannel.pair()
        )
        #expect(try failing.receiver.get().keepsParts)
        #expect(try failing.sender.get().failures.map(\.error.code) == [isTaken ? .exists : .notFound])
        _ = isTaken ? unlink(there.file("a")) : rename(path + ".away", path)
        let run = await TransferRun.run(
            FileSender(paths: [path]),
            FileReceiver(target: there.path),
            MemoryChannel.pair()
        )
        #expect(try run.sender.get().resumedBytes == 4 << 20)
        #expect(there.read("a") == bytes && there.names() == ["a"])
    }

    /// The process died after the record and before the name.
    @Test(.timeLimit(.minutes(10))) func aCompleteFileWithoutItsNameGetsIt() async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        var random = SplitMix(seed: 11)
        let bytes = random.bytes(100)
        let path = try here.write("a", bytes)
        let other = try here.write("b", random.bytes(3 << 20))
        let channels = MemoryChannel.pair()
        channels.0.cut(after: 3 + 2 + 9)
        let run = await TransferRun.run(FileSender(paths: [path, other]), FileReceiver(target: there.path), channels)
        #expect(throws: TransferError.self) { try run.sender.get() }
        #expect(there.read("a") == bytes)
        #expect(rename(there.file("a"), there.file("a.part")) == 0)
        let again = await TransferRun.run(
            FileSender(paths: [path, other]),
            FileReceiver(target: there.path),
            MemoryChannel.pair()
        )
        let sent = try again.sender.get()
        #expect(sent.files == 2 && sent.resumedBytes == (1 << 20) + 100)
        #expect(there.read("a") == bytes && there.names() == ["a", "b"])
    }

    /// The process is killed at one event after another; what it left is always enough to go on from, and never wrong.
    @Test(.timeLimit(.minutes(10))) func killedAtAnyMoment() async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        var random = SplitMix(seed: 12)
        var contents = ["d/a": random.bytes((6 << 20) + 5), "d/z": random.bytes(3 << 20)]
        for number in 0..<30 { contents["d/m/\(number)"] = random.bytes(number * 100) }
        for (name, bytes) in contents { try here.write(name, bytes) }
        for event in [3, 5, 8, 11, 12, 20, 30, 45] {
            await #expect(processExitsWith: .signal(SIGKILL)) {
                [
                    from = here.path as String, to = there.path as String, event = event as Int
                ] in
                let count = Mutex(0)
                var options = FileReceiver.Options()
                options.syncBytes = 1 << 20
                options.onEvent = { _ in
                    count.withLock { $0 += 1 }
                    if count.withLock({ $0 }) == event { kill(getpid(), SIGKILL) }
                }
                let (sender, receiver) = (
                    FileSender(paths: [from + "/d"]), FileReceiver(target: to, options: options)
                )
                _ = await TransferRun.run(sender, receiver, MemoryChannel.pair())
            }
        }
        let run = await TransferRun.run(
            FileSender(paths: [here.file("d")]),
            FileReceiver(target: there.path),
            MemoryChannel.pair()
        )
        let sent = try run.sender.get()
        #expect(sent.files == contents.count && sent.failures.isEmpty && sent.resumedBytes >= 3 << 20)
        for (name, bytes) in contents { #expect(there.read(name) == bytes, "\(name)") }
        #expect(there.names().count == contents.count + 2)
    }

    @Test(.timeLimit(.minutes(10))) func oneReceiverAtATime() async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        let path = try here.write("a", [1])
        let directory = try #require(FileCalls.open(there.path, O_RDONLY | O_DIRECTORY))
        var manifest = Manifest(limits: TransferLimits())
        try manifest.append(TransferEntry(path: ["a"], kind: .file(size: 1), mode: 0o644, modified: nil))
        let journal = try Journal(transfer: manifest.identity(), in: directory)
        let run = await TransferRun.run(
            FileSender(paths: [path]),
            FileReceiver(target: there.path),
            MemoryChannel.pair()
        )
        guard case .failure(let error) = run.sender else { Issue.record("not refused"); return }
        #expect(error.code == .busy && error.isFromPeer)
        journal.remove(from: directory)
    }
}
