import Glibc
import Testing

@testable import FileTransfer

/// What is wrong with paths before anybody is there to take them.
@Suite struct CheckingPaths {
    private func error(_ paths: [String]) -> TransferError? {
        do throws(TransferError) {
            try FileSender.check(paths: paths)
            return nil
        } catch { return error }
    }

    @Test func mistakesAreToldInWords() throws {
        let here = try ScratchDirectory()
        let (n, other) = (try here.write("n", [1]), try here.write("x/n", [2]))
        #expect(error(["/dev/null"])?.code == .unsupportedKind)
        #expect(error(["/dev/null", "/dev/zero"])?.message.contains("/dev/null") == true)
        #expect(error(["/"])?.code == .unsafePath && error(["/"])?.message.contains("no name of its own") == true)
        #expect(error([""])?.code == .notFound)
        #expect(error([])?.code == .notFound)
        #expect(error([here.file("nowhere")])?.code == .notFound)
        #expect(error([n, here.file("nowhere")])?.message.contains("nowhere") == true)
        #expect(error([try here.write("line\nfeed", [1])])?.code == .unsafePath)
        let twice = try #require(error([n, other]))
        #expect(twice.code == .unsafePath && twice.message.contains(n) && twice.message.contains(other))
        #expect(throws: TransferError.self) { try FileSender.check(streamName: "a/b") }
        #expect(throws: TransferError.self) { try FileSender.check(streamName: "") }
        #expect(throws: TransferError.self) { try FileSender.check(streamName: "..") }
    }

    /// Found before anybody is there, and named.
    @Test func whatIsTooDeepIsNamed() throws {
        let here = try ScratchDirectory()
        let levels = (1...63).map { "d\($0)" }.joined(separator: "/")
        try here.write("top/" + levels + "/n", [1])
        #expect(error([here.file("top/d1")]) == nil)
        let deep = try #require(error([here.file("top")]))
        #expect(
            deep.code == .limitExceeded && deep.message.contains("top/" + levels + "/n is more than 64 levels deep")
        )
    }

    @Test func whatCanBeSentIsNotRefused() throws {
        let here = try ScratchDirectory()
        let n = try here.write("n", [1])
        #expect(error([n, n]) == nil)
        #expect(error([n, here.path + "/./n", "/dev/null"]) == nil)
        #expect(error([here.path, n]) == nil)
        #expect(error([here.path + "/"]) == nil)
        #expect(error([here.path + "/."]) == nil)
        // Two spellings of one character are two files.
        #expect(try error([here.write("\u{E9}", [1]), here.write("e\u{301}", [1])]) == nil)
        try FileSender.check(streamName: "backup.tar")
    }

    @Test(.timeLimit(.minutes(10))) func whatIsNamedTwiceGoesOnce() async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        let n = try here.write("n", [1])
        let run = await TransferRun.run(
            FileSender(paths: [n, n]),
            FileReceiver(target: there.path),
            MemoryChannel.pair()
        )
        #expect(try run.sender.get().failures.isEmpty && run.receiver.get().files == 1)
    }

    @Test(.timeLimit(.minutes(10)), arguments: ["d/.", "d/x/..", "d/x/../"])
    func aFolderHasItsNameHoweverItIsCalled(path: String) async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        try here.write("d/x/n", [1])
        let run = await TransferRun.run(
            FileSender(paths: [here.file(path)]),
            FileReceiver(target: there.path),
            MemoryChannel.pair()
        )
        #expect(try run.sender.get().failures.isEmpty)
        #expect(there.names() == ["d", "d/x", "d/x/n"])
    }
}
