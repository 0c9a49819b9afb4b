import Foundation
import Glibc
import Testing

@testable import FileTransfer

/// What a sender cannot send, and what both sides say of it.
@Suite struct LeavingOut {
    private func touch(_ path: [UInt8]) {
        let descriptor = open(path.map { CChar(bitPattern: $0) } + [0], O_CREAT | O_WRONLY, 0o600)
        #expect(descriptor >= 0)
        close(descriptor)
    }

    private func codes(_ summary: TransferSummary) -> [String: TransferError.Code] {
        Dictionary(summary.failures.map { ($0.name, $0.error.code) }) { first, _ in first }
    }

    /// A folder with a good file and one of each kind that no receiver gets.
    private func folder() throws -> ScratchDirectory {
        let here = try ScratchDirectory()
        try here.write("d/good", [1, 2, 3])
        #expect(mkfifo(here.file("d/pipe"), 0o600) == 0)
        #expect(symlink("/etc/passwd", here.file("d/out")) == 0)
        touch(Array(here.file("d/bad").utf8) + [0xFF] + Array("é.txt".utf8))
        touch(Array(here.file("d/line\nfeed").utf8))
        return here
    }

    @Test(.timeLimit(.minutes(10))) func theReceiverIsTold() async throws {
        let (here, there) = (try folder(), try ScratchDirectory())
        let log = EventLog()
        var options = FileReceiver.Options()
        options.onEvent = { log.add($0) }
        let run = await TransferRun.run(
            FileSender(paths: [here.file("d")]),
            FileReceiver(target: there.path, options: options),
            MemoryChannel.pair(maxMessageSize: 16_384)
        )
        let (sent, received) = (try run.sender.get(), try run.receiver.get())
        #expect(
            codes(sent) == [
                "d/pipe": .unsupportedKind, "d/out": .unsafePath, "d/bad\\xffé.txt": .unsafePath,
                "d/line\u{FFFD}feed": .unsafePath,
            ]
        )
        #expect(codes(received) == codes(sent) && received.failures.count == 4 && received.files == 1)
        #expect(received.failures.allSatisfy { $0.error.isFromPeer && !$0.error.message.contains(here.path) })
        #expect(received.failures.map(\.error.message) == sent.failures.map(\.error.message))
        let failed = log.events.filter { if case .failed = $0 { true } else { false } }
        #expect(failed.count == 4)
        #expect(there.names() == ["d", "d/good"])
    }

    /// It does not arrive as an empty one either.
    @Test(.timeLimit(.minutes(10))) func aFolderThatCannotBeListedDoesNotArrive() async throws {
        await #expect(processExitsWith: .success) {
            // Whoever is root may list all.
            if getuid() == 0 { #expect(setuid(65_534) == 0) }
            let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
            try here.write("d/good", [1])
            #expect(mkdir(here.file("d/closed"), 0) == 0)
            let run = await TransferRun.run(
                FileSender(paths: [here.file("d")]),
                FileReceiver(target: there.path),
                MemoryChannel.pair()
            )
            let (sent, received) = (try run.sender.get(), try run.receiver.get())
            #expect(sent.failures.map(\.name) == ["d/closed"] && received.failures.map(\.name) == ["d/closed"])
            #expect(there.names() == ["d", "d/good"])
        }
    }

    @Test(.timeLimit(.minutes(10))) func aNameThatIsNotUTF8IsSpelledOut() async throws {
        let (here, there) = (try folder(), try ScratchDirectory())
        let run = await TransferRun.run(
            FileSender(paths: [here.file("d")]),
            FileReceiver(target: there.path),
            MemoryChannel.pair()
        )
        let failure = try #require(run.sender.get().failures.first { $0.name == "d/bad\\xffé.txt" })
        #expect(failure.error.message == "the name \"bad\\xffé.txt\" is not UTF-8: rename it")
    }

    @Test(
        arguments: [
            ([0xFF], "\\xff"), ([0x61, 0xC3], "a\\xc3"), ([0xC3, 0xA9, 0x80], "é\\x80"),
            ([0xED, 0xA0, 0x80], "\\xed\\xa0\\x80"), ([0xF0, 0x9F, 0xA7, 0x80, 0xF0, 0x9F], "🧀\\xf0\\x9f"),
        ] as [([UInt8], String)]
    )
    func escapes(bytes: [UInt8], text: String) { #expect(FileNames.escaped(bytes) == text) }

    @Test(.timeLimit(.minutes(10))) func beyondAThousandTheyAreCounted() async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        try here.write("d/good", [1])
        for number in 0..<1012 { #expect(mkfifo(here.file("d/\(number)"), 0o600) == 0) }
        let run = await TransferRun.run(
            FileSender(paths: [here.file("d")]),
            FileReceiver(target: there.path),
            MemoryChannel.pair()
        )
        let (sent, received) = (try run.sender.get(), try run.receiver.get())
        #expect(sent.failures.count == 1012 && sent.files == 1)
        #expect(received.failures.count == 1001 && received.failures.last?.name == "12 more" && received.files == 1)
        #expect(there.names() == ["d", "d/good"])
    }

    /// Each run tells them anew, and counts them once.
    @Test(.timeLimit(.minutes(10))) func aResumedRunTellsThemAgain() async throws {
        let (here, there) = (try folder(), try ScratchDirectory())
        var random = SplitMix(seed: 1)
        let bytes = random.bytes(5 << 20)
        try here.write("d/large", bytes)
        let sender = FileSender(paths: [here.file("d")])
        let receiver = FileReceiver(target: there.path)
        let channels = MemoryChannel.pair()
        // hello, offer, manifest, four that are left out, the good file, and 9 messages for each of 3 blocks.
        channels.0.cut(after: 3 + 4 + 2 + 3 * 9)
        let first = await TransferRun.run(sender, receiver, channels)
        #expect(throws: TransferError.self) { try first.sender.get() }
        #expect(throws: TransferError.self) { try first.receiver.get() }
        let again = await TransferRun.run(sender, receiver, MemoryChannel.pair())
        let (sent, received) = (try again.sender.get(), try again.receiver.get())
        #expect(sent.failures.count == 4 && received.failures.count == 4)
        #expect(received.files == 2 && received.resumedBytes >= 3 << 20)
        #expect(there.read("d/large") == bytes && there.names() == ["d", "d/good", "d/large"])
    }

    @Test(.timeLimit(.minutes(10))) func nothingElseIsAnError() async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        #expect(mkfifo(here.file("pipe"), 0o600) == 0)
        let run = await TransferRun.run(
            FileSender(paths: [here.file("pipe")]),
            FileReceiver(target: there.path),
            MemoryChannel.pair()
        )
        for (outcome, isTold) in [(run.sender, false), (run.receiver, true)] {
            guard case .failure(let error) = outcome else { Issue.record("no error"); return }
            #expect(error.code == .unsupportedKind && error.isFromPeer == isTold)
            #expect(error.message.contains("nothing to send") && error.message.contains("pipe"))
        }
        #expect(there.names().isEmpty)
    }

    /// A person may take a while to type the code there.
    @Test(.timeLimit(.minutes(10))) func whatIsGoneBeforeTheOfferIsLeftOut() async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        let paths = try ["a", "b", "c"].map { try here.write($0, [1]) }
        let sender = FileSender(paths: paths)
        #expect(unlink(paths[1]) == 0)
        let run = await TransferRun.run(sender, FileReceiver(target: there.path), MemoryChannel.pair())
        let (sent, received) = (try run.sender.get(), try run.receiver.get())
        #expect(codes(sent) == ["b": .notFound] && codes(received) == ["b": .notFound])
        #expect(sent.files == 2 && there.names() == ["a", "c"])
        // Only what is left counts.
        for path in paths { unlink(path) }
        let nothing = await TransferRun.run(sender, FileReceiver(target: there.path), MemoryChannel.pair())
        guard case .failure(let error) = nothing.sender else { Issue.record("no error"); return }
        #expect(error.code == .notFound && error.message.contains("and 2 more"))
    }

    @Test(.timeLimit(.minutes(10))) func whatIsGoneAfterTheOfferIsSkipped() async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        for name in ["a", "b", "c"] { try here.write("d/\(name)", [1]) }
        let gone = here.file("d/b")
        var options = FileSender.Options()
        options.onEvent = { event in
            if case .offered = event { unlink(gone) }
        }
        let run = await TransferRun.run(
            FileSender(paths: [here.file("d")], options: options),
            FileReceiver(target: there.path),
            MemoryChannel.pair()
        )
        let (sent, received) = (try run.sender.get(), try run.receiver.get())
        #expect(codes(sent) == ["d/b": .notFound] && codes(received) == ["d/b": .notFound])
        #expect(there.names() == ["d", "d/a", "d/c"])
    }
}
