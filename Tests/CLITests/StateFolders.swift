import FileTransfer
import Foundation
import PAKE
import Testing

@testable import rtc_peer

/// What transfers leave in `$XDG_STATE_HOME/rtc-peer`.
@Suite struct StateFolders {
    private static func scratch() throws -> String {
        let path = NSTemporaryDirectory() + "/state-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path + "/rtc-peer", withIntermediateDirectories: true)
        setenv("XDG_STATE_HOME", path, 1)
        return path + "/rtc-peer"
    }

    /// A file, and how old it is.
    private static func write(_ path: String, age seconds: Int = 0) {
        #expect(FileManager.default.createFile(atPath: path, contents: Data("resumption 00\n".utf8)))
        let time = timespec(tv_sec: time(nil) - seconds, tv_nsec: 0)
        #expect(utimensat(AT_FDCWD, path, [time, time], 0) == 0)
    }

    private static func names(_ path: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path).sorted()
    }

    private static let old = 31 * 24 * 3600

    @Test func whatIsOldAndHeldByNobodyGoes() async {
        await #expect(processExitsWith: .success) {
            let folder = try StateFolders.scratch()
            for name in [
                "send-4821-amber-otter-lemon", "send-to-4821-amber-otter-lemon", "receive-4821-amber-otter-lemon.lock",
                "receive-here-4821-amber-otter-lemon", "receive-here-4821-amber-otter-lemon.new",
                "receive-here-4821-amber-otter-lemon.lock", "send-9999-amber-otter-lemon", "notes", "send-list.txt",
                "send-4821-amber-otter-lemon~",
            ] { StateFolders.write(folder + "/" + name, age: StateFolders.old) }
            StateFolders.write(folder + "/receive-1234-amber-otter-lemon", age: 29 * 24 * 3600)
            // That one is under way, and for longer than a month.
            let code = try #require(TransferCode("9999-amber-otter-lemon"))
            let lock = try await TransferLock.take(.send, code)
            StateFolder.prune()
            #expect(
                try StateFolders.names(folder) == [
                    "notes", "receive-1234-amber-otter-lemon", "send-4821-amber-otter-lemon~",
                    "send-9999-amber-otter-lemon", "send-9999-amber-otter-lemon.lock", "send-list.txt",
                ]
            )
            lock?.release()
            StateFolder.prune()
            #expect(
                try StateFolders.names(folder) == [
                    "notes", "receive-1234-amber-otter-lemon", "send-4821-amber-otter-lemon~", "send-list.txt",
                ]
            )
            try FileManager.default.removeItem(atPath: folder)
        }
    }

    /// Whoever has opened the file that another one removes while letting go of it holds nothing.
    @Test func aLockIsHeldByOneAndLeavesNoFile() async {
        await #expect(processExitsWith: .success) {
            let folder = try StateFolders.scratch()
            let path = folder + "/send-4821-amber-otter-lemon.lock"
            let first = try #require(TransferLock.takeAtOnce(path))
            #expect(TransferLock.takeAtOnce(path) == nil)
            first.release()
            #expect(try StateFolders.names(folder) == [])
            try await withThrowingTaskGroup(of: Void.self) { group in
                let inside = OnlyOne()
                for _ in 0..<8 {
                    group.addTask {
                        var taken = 0
                        while taken < 200 {
                            guard let lock = TransferLock.takeAtOnce(path) else {
                                await Task.yield()
                                continue
                            }
                            taken += 1
                            #expect(await inside.enter())
                            await inside.leave()
                            lock.release()
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(try StateFolders.names(folder) == [])
        }
    }

    @Test(arguments: [FileReceiver.Existing.refuse, .overwrite, .rename])
    func aMemoryIsReadAsItWasWritten(existing: FileReceiver.Existing) async throws {
        let word = "\(existing)"
        await #expect(processExitsWith: .success) { [word = word as String] in
            _ = try StateFolders.scratch()
            let all: [FileReceiver.Existing] = [.refuse, .overwrite, .rename]
            let existing = try #require(all.first { "\($0)" == word })
            let code = try #require(TransferCode("4821-amber-otter-lemon"))
            var memory = TransferMemory(kind: .receive, code: code, resumption: [UInt8](repeating: 7, count: 32))
            memory.paths = ["/a b"]
            memory.existing = existing
            #expect(memory.save())
            let read = try #require(TransferMemory.load(.receive, code))
            #expect(read.existing == existing && read.paths == ["/a b"] && read.resumption == memory.resumption)
            TransferMemory.forget(.receive, code)
        }
    }
}

/// Notices two at once.
private actor OnlyOne {
    private var isIn = false

    func enter() -> Bool {
        defer { isIn = true }
        return !isIn
    }

    func leave() { isIn = false }
}
