import Glibc
import Testing

@testable import FileTransfer

@Suite struct ManifestChecks {
    private func entry(_ path: [String], _ kind: TransferEntry.Kind = .file(size: 1), mode: Int = 0o644)
        -> TransferEntry
    {
        TransferEntry(path: path, kind: kind, mode: mode, modified: nil)
    }

    private func code(_ entries: [TransferEntry], limits: TransferLimits = TransferLimits()) -> TransferError.Code? {
        var manifest = Manifest(limits: limits)
        do throws(TransferError) {
            for entry in entries { try manifest.append(entry) }
            return nil
        } catch { return error.code }
    }

    @Test(arguments: [
        [], [""], ["."], [".."], ["a", ".."], ["a/b"], ["/a"], ["a\u{0}"], ["a\n"], ["\u{7F}"], ["\u{85}"],
        [String(repeating: "x", count: 256)], [".transfer-0123456789abcdef.journal"],
        // A slash with a combining mark is one character to Swift.
        ["a/\u{301}b"],
    ])
    func pathsThatLeadElsewhere(path: [String]) {
        #expect(code([entry(["a"], .directory), entry(path)]) == .unsafePath)
    }

    @Test func pathsThatAreFine() {
        let names = [[String(repeating: "x", count: 255)], ["..."], ["a b"], ["größe 🧀"], ["-rf"], ["\u{202E}x"]]
        #expect(code(names.map { entry($0) }) == nil)
        // Two spellings of one character are two files.
        #expect(code([entry(["\u{E9}"]), entry(["e\u{301}"])]) == nil)
    }

    @Test func structure() {
        #expect(code([entry(["a"]), entry(["a"])]) == .unsafePath)
        #expect(code([entry(["a", "b"])]) == .unsafePath)
        #expect(code([entry(["a"]), entry(["a", "b"])]) == .unsafePath)
        #expect(code([entry(["a"], .symlink(target: "b")), entry(["a", "b"])]) == .unsafePath)
        #expect(code([entry(["a"], .directory), entry(["a", "b"])]) == nil)
        #expect(code([entry(["a"], mode: 0o4755)]) == .unsafePath)
        #expect(code([entry(["a"], mode: -1)]) == .unsafePath)
    }

    @Test(arguments: [
        "/etc", "..", "../x", "b/../../x", "b/..", "", "b\n", "..\u{2F}\u{301}x", String(repeating: "x", count: 4096),
    ])
    func linksThatLeadOut(target: String) {
        #expect(code([entry(["a"], .symlink(target: target))]) == .unsafePath)
    }

    @Test func linksThatStay() {
        #expect(code([entry(["a"], .symlink(target: "b/c"))]) == nil)
        let inside = [entry(["d"], .directory), entry(["d", "a"], .symlink(target: "../b"))]
        #expect(code(inside) == nil)
        #expect(code([inside[0], entry(["d", "a"], .symlink(target: "../../b"))]) == .unsafePath)
    }

    @Test func limits() {
        var limits = TransferLimits()
        limits.entries = 2
        #expect(code([entry(["a"]), entry(["b"])], limits: limits) == nil)
        #expect(code([entry(["a"]), entry(["b"]), entry(["c"])], limits: limits) == .limitExceeded)
        limits = TransferLimits()
        limits.nameBytes = 3
        #expect(code([entry(["ab"]), entry(["c"])], limits: limits) == nil)
        #expect(code([entry(["ab"]), entry(["cd"])], limits: limits) == .limitExceeded)
        limits = TransferLimits()
        limits.depth = 2
        let deep = [entry(["a"], .directory), entry(["a", "b"], .directory)]
        #expect(code(deep, limits: limits) == nil)
        #expect(code(deep + [entry(["a", "b", "c"])], limits: limits) == .limitExceeded)
        limits = TransferLimits()
        limits.bytes = 10
        #expect(code([entry(["a"], .file(size: 10))], limits: limits) == nil)
        #expect(code([entry(["a"], .file(size: 10)), entry(["b"])], limits: limits) == .limitExceeded)
        #expect(code([entry(["a"], .file(size: DataFrame.maxFileSize)), entry(["b"])]) == .limitExceeded)
    }
}

@Suite struct JournalReading {
    private func digest(_ byte: UInt8) -> Digest { Digest([UInt8](repeating: byte, count: 32)) ?? .chainStart }

    private var records: [Journal.Record] {
        [
            .transfer(digest(1)), .done(file: 3, size: 0, seconds: 0), .foreign(file: 9), .ready,
            .progress(file: 4_000_000_000, bytes: 1 << 40, chain: digest(2)),
            .done(file: 5, size: 1 << 52, seconds: -7),
            .finished, .renamed(file: 7, number: 12),
        ]
    }

    /// Whatever was written last when the process died.
    @Test func cutAtEveryByte() throws {
        let bytes = try records.flatMap { try Journal.encode($0) }
        for length in 0...bytes.count {
            let read = try Journal.read(bytes.prefix(length))
            #expect(read.records == Array(records.prefix(length / Journal.recordSize)))
            #expect(read.length == length / Journal.recordSize * Journal.recordSize)
        }
    }

    @Test func aDamagedByteEndsTheReading() throws {
        let bytes = try records.flatMap { try Journal.encode($0) }
        for index in bytes.indices {
            var damaged = bytes
            damaged[index] ^= 0x10
            let read = try Journal.read(damaged)
            #expect(read.records == Array(records.prefix(index / Journal.recordSize)), "byte \(index)")
        }
    }

    @Test func aTornRecordOnDiskIsOverwritten() throws {
        let scratch = try ScratchDirectory()
        let directory = try #require(FileCalls.open(scratch.path, O_RDONLY | O_DIRECTORY))
        var name = ""
        do {
            var journal = try Journal(transfer: digest(1), in: directory)
            name = journal.name
            #expect(journal.isNew)
            try journal.append([.ready, .progress(file: 1, bytes: 1 << 20, chain: digest(3))])
        }
        let whole = try #require(scratch.read(name))
        for length in 0...whole.count {
            try scratch.write(name, Array(whole.prefix(length)))
            do {
                var journal = try Journal(transfer: digest(1), in: directory)
                #expect(journal.isNew == (length < 128))
                #expect(journal.states[1] == (length < 192 ? nil : .progress(bytes: 1 << 20, chain: digest(3))))
                try journal.append([.ready, .done(file: 2, size: 5, seconds: 6)])
            }
            let journal = try Journal(transfer: digest(1), in: directory)
            #expect(!journal.isNew && journal.states[2] == .done(size: 5, seconds: 6), "cut at \(length)")
        }
        // Another transfer's journal under that name is not believed.
        try scratch.write(name, whole)
        let other = Digest(digest(1).bytes.prefix(31) + [2]) ?? .chainStart
        #expect(try Journal(transfer: other, in: directory).states.isEmpty)
    }
}

@Suite struct HostilePeers {
    /// What an honest sender says of two files, of 1 MiB + 2 and of 1 byte.
    private func script() throws -> [TransferMessage] {
        let block = [UInt8](repeating: 7, count: DataFrame.blockSize)
        var chain = try HashChain()
        try chain.update(block)
        let first = chain.value
        try chain.update([8, 9])
        let (root, _) = try chain.finish()
        try chain.start(wantsWhole: false)
        try chain.update([1])
        let (small, _) = try chain.finish()
        var manifest = Manifest(limits: TransferLimits())
        try manifest.append(TransferEntry(path: ["a"], kind: .file(size: block.count + 2), mode: 0o600, modified: nil))
        try manifest.append(
            TransferEntry(path: ["b"], kind: .file(size: 1), mode: 0o600, modified: .init(seconds: 5, nanoseconds: 6))
        )
        let offer = ControlMessage.Offer(
            transfer: try manifest.identity(),
            entries: 2,
            files: 2,
            bytes: block.count + 3,
            hasFileDigests: false
        )
        let half = DataFrame.blockSize / 2
        return [
            .text(ControlMessage.hello(isSender: true, version: 1, limits: nil).text),
            .text(ControlMessage.offer(offer).text),
            .text(ControlMessage.manifest(first: 0, entries: [manifest.entries[0]]).text),
            .text(ControlMessage.manifest(first: 1, entries: [manifest.entries[1]]).text),
            .binary(DataFrame.chunkMessage(file: 0, offset: 0, bytes: block[..<half])),
            .binary(DataFrame.chunkMessage(file: 0, offset: half, bytes: block[half...])),
            .binary(DataFrame.blockMessage(file: 0, offset: block.count, chain: first)),
            .binary(DataFrame.chunkMessage(file: 0, offset: block.count, bytes: [8, 9])),
            .text(ControlMessage.end(file: 0, bytes: block.count + 2, root: root, whole: nil).text),
            .binary(DataFrame.chunkMessage(file: 1, offset: 0, bytes: [1])),
            .text(ControlMessage.end(file: 1, bytes: 1, root: small, whole: nil).text),
            .text(ControlMessage.finish.text),
            .text(ControlMessage.bye.text),
        ]
    }

    private func receive(_ messages: [TransferMessage], into scratch: ScratchDirectory) async -> TransferError? {
        let (here, there) = MemoryChannel.pair(maxMessageSize: 1 << 21, room: 1 << 24)
        let receiver = FileReceiver(target: scratch.path)
        async let outcome = { () async -> TransferError? in
            do throws(TransferError) {
                try await receiver.run(over: there)
                return nil
            } catch { return error }
        }()
        for message in messages { try? await here.send(message) }
        here.closeSending()
        return await outcome
    }

    @Test(.timeLimit(.minutes(10))) func theHonestScript() async throws {
        let scratch = try ScratchDirectory()
        #expect(await receive(try script(), into: scratch) == nil)
        #expect(scratch.names() == ["a", "b"])
        #expect(scratch.read("b") == [1] && scratch.read("a")?.count == DataFrame.blockSize + 2)
    }

    /// Each message left out, twice, or exchanged with the next: refused, or as if the channel had ended.
    @Test(.timeLimit(.minutes(10))) func messagesOutOfOrder() async throws {
        let script = try script()
        for index in 0..<(script.count - 1) {
            var without = script
            without.remove(at: index)
            var twice = script
            twice.insert(script[index], at: index)
            var exchanged = script
            exchanged.swapAt(index, index + 1)
            for (kind, messages) in [("without", without), ("twice", twice), ("exchanged", exchanged)] {
                let scratch = try ScratchDirectory()
                let error = await receive(messages, into: scratch)
                #expect(error?.code == .protocolViolation, "\(kind) \(index): \(error?.description ?? "no error")")
            }
        }
    }

    @Test(.timeLimit(.minutes(10))) func bytesAfterTheEndAndForUnknownFiles() async throws {
        let script = try script()
        let bad: [TransferMessage] = [
            .binary(DataFrame.chunkMessage(file: 2, offset: 0, bytes: [1])),
            .binary(DataFrame.chunkMessage(file: 0xFFFF_FFFF, offset: 0, bytes: [1])),
            .binary(DataFrame.chunkMessage(file: 1, offset: 1, bytes: [1])),
            .binary(DataFrame.chunkMessage(file: 0, offset: 1 << 53, bytes: [1])),
            .binary(DataFrame.chunkMessage(file: 0, offset: -1, bytes: [1])),
            .binary([]), .binary([1]), .binary([UInt8](repeating: 0, count: 16)),
            .text(ControlMessage.begin(file: 0, offset: 0).text),
            .text(ControlMessage.begin(file: 0, offset: 1 << 20).text),
            .text(ControlMessage.accept(asStream: false).text), .text(""), .text("[]"), .text("{\"type\":\"end\"}"),
        ]
        for at in [4, 5, 9, 11, 12] {
            for (number, message) in bad.enumerated() {
                var messages = script
                messages.insert(message, at: at)
                let error = await receive(messages, into: try ScratchDirectory())
                #expect(error?.code == .protocolViolation, "\(number) at \(at): \(error?.description ?? "no error")")
            }
        }
    }

    @Test(.timeLimit(.minutes(10))) func liesAboutHashes() async throws {
        let script = try script()
        for index in [5, 6, 7, 8] {
            var messages = script
            switch messages[index] {
            case .binary(var bytes):
                bytes[bytes.count - 1] ^= 1
                messages[index] = .binary(bytes)
            case .text:
                messages[index] = .text(
                    ControlMessage.end(file: 0, bytes: DataFrame.blockSize + 2, root: .chainStart, whole: nil).text
                )
            }
            let scratch = try ScratchDirectory()
            let (here, there) = MemoryChannel.pair(maxMessageSize: 1 << 21, room: 1 << 24)
            for message in messages { try await here.send(message) }
            let summary = try await FileReceiver(target: scratch.path).run(over: there)
            #expect(summary.failures.map(\.error.code) == [.hashMismatch] && summary.failures.first?.name == "a")
            #expect(!scratch.exists("a") && scratch.read("b") == [1])
            // Nothing of it stays, whatever was right before: neither its part nor what a journal would promise.
            #expect(!scratch.exists("a.part") && !summary.keepsParts)
        }
    }

    /// The end of a file that is gone on with has another hash than the sender names: the next run starts it anew.
    @Test(.timeLimit(.minutes(10))) func whatHadTheWrongHashIsStartedAnew() async throws {
        let script = try script()
        var messages = script
        messages[8] = .text(
            ControlMessage.end(file: 0, bytes: DataFrame.blockSize + 2, root: .chainStart, whole: nil).text
        )
        let scratch = try ScratchDirectory()
        // Recorded as safe after its first block, as after an interruption.
        let (here, there) = MemoryChannel.pair(maxMessageSize: 1 << 21, room: 1 << 24)
        for message in script[..<7] { try await here.send(message) }
        here.closeSending()
        _ = try? await FileReceiver(target: scratch.path).run(over: there)
        #expect(scratch.exists("a.part"))
        let begin = TransferMessage.text(ControlMessage.begin(file: 0, offset: DataFrame.blockSize).text)
        let summary = try await answer(Array(messages[..<4]) + [begin] + messages[7...], in: scratch)
        #expect(summary.summary.failures.map(\.error.code) == [.hashMismatch] && !summary.summary.keepsParts)
        #expect(summary.answers.contains { $0.contains(#""bytes":1048576"#) && $0.contains(#""have""#) })
        #expect(!scratch.exists("a.part"))
        // No part is reported, and all of it is taken.
        let again = try await answer(Array(script[..<9]) + script[11...], in: scratch)
        #expect(again.answers.contains { $0.contains(#""have""#) && $0.contains(#""partial":[]"#) })
        #expect(again.summary.failures == [] && again.summary.files == 2)
        #expect(scratch.read("a")?.count == DataFrame.blockSize + 2)
    }

    /// What a receiver says, and comes to.
    private func answer(
        _ messages: [TransferMessage],
        in scratch: ScratchDirectory
    ) async throws -> (summary: TransferSummary, answers: [String]) {
        let (here, there) = MemoryChannel.pair(maxMessageSize: 1 << 21, room: 1 << 24)
        for message in messages { try await here.send(message) }
        let summary = try await FileReceiver(target: scratch.path).run(over: there)
        there.close()
        var answers: [String] = []
        for await case .text(let text) in here.incoming { answers.append(text) }
        return (summary, answers)
    }

    @Test func namesAreShownInOneDirection() {
        let shown = printable("photo\u{202E}gpj.exe\u{2066}\u{200F}\u{2028}é")
        #expect(shown == "photo\u{FFFD}gpj.exe\u{FFFD}\u{FFFD}\u{FFFD}é")
    }

    /// Less than a block of a file is of no use to anybody; the journal is, if another file went through.
    @Test(.timeLimit(.minutes(10)), arguments: [false, true])
    func nothingIsLeftOfAFileThatWasSkippedAtOnce(both: Bool) async throws {
        let script = try script()
        let changed = TransferError(.changed, "it changed")
        var messages = Array(script[..<5])
        messages.append(.text(ControlMessage.skip(file: 0, changed).text))
        messages += both ? [.text(ControlMessage.skip(file: 1, changed).text)] : Array(script[9...10])
        messages += script[11...]
        let scratch = try ScratchDirectory()
        #expect(await receive(messages, into: scratch) == nil)
        let journals = scratch.names().filter { $0.hasSuffix(".journal") }
        #expect(journals.count == (both ? 0 : 1))
        #expect(scratch.names().filter { !journals.contains($0) } == (both ? [] : ["b"]))
    }

    private func leftOut(_ name: String) -> TransferMessage {
        .text(ControlMessage.leftOut(name: name, TransferError(.unsupportedKind, "a pipe")).text)
    }

    @Test(.timeLimit(.minutes(10))) func namesOfWhatIsLeftOutAreNoPaths() async throws {
        var messages = try script()
        let names = [
            "b", "../outside", "/etc/passwd", "", "a\u{0}\n", String(repeating: "x", count: 500_000), "a/../../b",
        ]
        for name in names { messages.insert(leftOut(name), at: 4) }
        messages.insert(.text(ControlMessage.leftOutMore(DataFrame.maxFileSize).text), at: messages.count - 2)
        let scratch = try ScratchDirectory()
        let (here, there) = MemoryChannel.pair(maxMessageSize: 1 << 21, room: 1 << 24)
        for message in messages { try await here.send(message) }
        let summary = try await FileReceiver(target: scratch.path).run(over: there)
        #expect(summary.files == 2 && summary.failures.count == names.count + 1)
        #expect(summary.failures.allSatisfy { $0.name.unicodeScalars.count <= 300 && !$0.name.contains("\n") })
        #expect(scratch.names() == ["a", "b"] && scratch.read("b") == [1])
    }

    @Test(.timeLimit(.minutes(10))) func moreIsLeftOutThanMayBeTold() async throws {
        let script = try script()
        func error(_ messages: [TransferMessage], at place: Int) async throws -> TransferError.Code? {
            var all = script
            all.insert(contentsOf: messages, at: place)
            return await receive(all, into: try ScratchDirectory())?.code
        }
        let more = TransferMessage.text(ControlMessage.leftOutMore(7).text)
        let thousand = Array(repeating: leftOut("x"), count: 1000)
        #expect(try await error(thousand + [more], at: 4) == nil)
        #expect(try await error(thousand + [leftOut("x")], at: 4) == .protocolViolation)
        #expect(try await error([more, more], at: 4) == .protocolViolation)
        #expect(try await error([more, leftOut("x")], at: 4) == .protocolViolation)
        for place in [0, 1, 2, 3, 12] {
            #expect(try await error([leftOut("x")], at: place) == .protocolViolation, "\(place)")
        }
        for text in [
            #"{"type":"left-out"}"#, #"{"type":"left-out","name":1,"code":"x","reason":"y"}"#,
            #"{"type":"left-out","name":"x"}"#, #"{"type":"left-out","more":-1}"#, #"{"type":"left-out","more":"1"}"#,
        ] { #expect(try await error([.text(text)], at: 4) == .protocolViolation, "\(text)") }
    }

    /// Random bytes of random messages changed: nothing traps, and no damaged file gets its name.
    @Test(.timeLimit(.minutes(10)), arguments: 0..<20) func mutationsOfTheSender(seed: UInt64) async throws {
        let script = try script()
        var random = SplitMix(seed: seed)
        for _ in 0..<15 {
            var messages = script
            messages.insert(
                .text(ControlMessage.leftOut(name: "c", TransferError(.unsupportedKind, "a pipe")).text),
                at: 4
            )
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                mutate(&messages, &random)
            }
            let scratch = try ScratchDirectory()
            _ = await receive(messages, into: scratch)
            for name in scratch.names() where !name.hasSuffix(".part") && !name.hasPrefix(".transfer-") {
                guard let bytes = scratch.read(name) else { continue }
                #expect(bytes == [1] || bytes == [UInt8](repeating: 7, count: DataFrame.blockSize) + [8, 9], "\(name)")
            }
        }
    }

    private func mutate(_ messages: inout [TransferMessage], _ random: inout SplitMix) {
        let index = Int.random(in: 0..<messages.count, using: &random)
        var bytes: [UInt8]
        let isText: Bool
        switch messages[index] {
        case .text(let text): (bytes, isText) = (Array(text.utf8), true)
        case .binary(let binary): (bytes, isText) = (binary, false)
        }
        guard !bytes.isEmpty else { return }
        for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
            let place = Int.random(in: 0..<min(bytes.count, 400), using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
            case 1: bytes.remove(at: place)
            case 2: bytes.insert(UInt8(ascii: "9"), at: place)
            default: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            }
        }
        messages[index] = isText ? .text(String(decoding: bytes, as: UTF8.self)) : .binary(bytes)
    }

    // MARK: Receivers

    private func sender(of sizes: [Int]) -> SenderMachine {
        var machine = SenderMachine()
        machine.didOffer(
            sizes.enumerated().map {
                TransferEntry(path: ["\($0.offset)"], kind: .file(size: $0.element), mode: 0, modified: nil)
            }
        )
        return machine
    }

    private func refuses(_ machine: SenderMachine, _ messages: [ControlMessage]) -> Bool {
        var machine = machine
        do throws(TransferError) {
            for message in messages { _ = try machine.receive(.text(message.text)) }
            return false
        } catch { return error.code == .protocolViolation }
    }

    @Test func receiversThatClaimTooMuch() throws {
        let mebibyte = DataFrame.blockSize
        let machine = sender(of: [3 * mebibyte, 5])
        let root = Digest.chainStart
        func partial(_ file: Int, _ bytes: Int) -> ControlMessage {
            .have(done: [], partial: [.init(file: file, bytes: bytes, root: root)])
        }
        #expect(!refuses(machine, [partial(0, mebibyte), .accept(asStream: false)]))
        #expect(refuses(machine, [partial(0, 4 * mebibyte)]))
        #expect(refuses(machine, [partial(0, 5)]))
        #expect(refuses(machine, [partial(0, 0)]))
        #expect(refuses(machine, [partial(2, mebibyte)]))
        #expect(refuses(machine, [partial(1, mebibyte)]))
        #expect(refuses(machine, [partial(0, mebibyte), partial(0, mebibyte)]))
        #expect(!refuses(machine, [.have(done: [0...1], partial: [])]))
        #expect(refuses(machine, [.have(done: [0...2], partial: [])]))
        #expect(refuses(machine, [.have(done: [0...1, 1...1], partial: [])]))
        #expect(refuses(machine, [partial(0, mebibyte), .have(done: [0...0], partial: [])]))
        #expect(refuses(machine, [.accept(asStream: false), .ack(file: 0, bytes: 0)]))
        #expect(refuses(machine, [.accept(asStream: false), .done([0])]))
        #expect(refuses(machine, [.accept(asStream: false), .finished(done: 0, failed: 0)]))
        #expect(refuses(machine, [.accept(asStream: false), .accept(asStream: false)]))
        #expect(refuses(machine, [.accept(asStream: false), .failed(file: 9, TransferError(.system, ""))]))
        #expect(refuses(machine, [.ack(file: 0, bytes: 0)]))
        #expect(refuses(machine, [.hello(isSender: false, version: 1, limits: nil)]))
        #expect(refuses(machine, [.finish]))
        var sending = machine
        _ = try sending.receive(.text(ControlMessage.accept(asStream: false).text))
        sending.didSend(file: 0, through: 2 * mebibyte)
        #expect(!refuses(sending, [.ack(file: 0, bytes: mebibyte), .ack(file: 0, bytes: 2 * mebibyte)]))
        #expect(refuses(sending, [.ack(file: 0, bytes: 2 * mebibyte), .ack(file: 0, bytes: mebibyte)]))
        #expect(refuses(sending, [.ack(file: 0, bytes: 2 * mebibyte + 1)]))
        #expect(refuses(sending, [.ack(file: 1, bytes: 0)]))
        #expect(refuses(sending, [.done([0])]))
        sending.didEnd(file: 0, bytes: 3 * mebibyte)
        #expect(!refuses(sending, [.done([0])]))
        #expect(refuses(sending, [.done([0]), .done([0])]))
        #expect(refuses(sending, [.done([0, 1])]))
        sending.didEnd(file: 1, bytes: 5)
        sending.didFinish()
        #expect(!refuses(sending, [.done([0, 1]), .finished(done: 2, failed: 0)]))
        #expect(refuses(sending, [.done([0]), .finished(done: 2, failed: 0)]))
        #expect(refuses(SenderMachine(), [.accept(asStream: false)]))
        #expect(refuses(SenderMachine(), [.hello(isSender: true, version: 1, limits: nil)]))
    }

    @Test(.timeLimit(.minutes(10)), arguments: 0..<10) func mutationsOfTheReceiver(seed: UInt64) throws {
        var random = SplitMix(seed: seed)
        let script: [TransferMessage] = [
            .text(
                ControlMessage.have(
                    done: [2...4],
                    partial: [.init(file: 0, bytes: 1 << 20, root: .chainStart)]
                ).text
            ),
            .text(ControlMessage.failed(file: 1, TransferError(.exists, "is there")).text),
            .text(ControlMessage.accept(asStream: false).text), .text(ControlMessage.ack(file: 0, bytes: 1 << 20).text),
            .text(ControlMessage.done([0]).text), .text(ControlMessage.finished(done: 4, failed: 1).text),
        ]
        for _ in 0..<2000 {
            var messages = script
            mutate(&messages, &random)
            var machine = sender(of: [3 << 20, 1, 2, 3, 4])
            do throws(TransferError) {
                for (index, message) in messages.enumerated() {
                    if index == 3, machine.wants(0) {
                        machine.didSend(file: 0, through: 3 << 20)
                        machine.didEnd(file: 0, bytes: 3 << 20)
                        machine.didFinish()
                    }
                    switch try machine.receive(message) {
                    case .stored(let file, let bytes): #expect(file == 0 && bytes <= 3 << 20)
                    case .done(let files): #expect(files == [0] || files.isEmpty)
                    case .failed(let file, _): #expect((0..<5).contains(file))
                    default: break
                    }
                }
            } catch {
                #expect(!error.message.isEmpty)
            }
        }
    }
}
