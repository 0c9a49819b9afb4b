import Foundation
import Glibc
import Testing

@testable import FileTransfer

/// A small file system in memory, if this process may mount one.
final class SmallFileSystem: Sendable {
    let path: String

    init?(bytes: Int) {
        path = NSTemporaryDirectory() + "/small-" + UUID().uuidString
        guard mkdir(path, 0o700) == 0 else { return nil }
        guard mount("none", path, "tmpfs", 0, "size=\(bytes)") == 0 else {
            rmdir(path)
            return nil
        }
    }

    deinit {
        umount2(path, Int32(MNT_DETACH))
        rmdir(path)
    }

    static let isPossible = SmallFileSystem(bytes: 1 << 20) != nil
}

@Suite struct FullDisks {
    @Test(.timeLimit(.minutes(10)), .enabled(if: SmallFileSystem.isPossible, "mounting needs root"))
    func anOfferWithoutRoomIsRefused() async throws {
        let here = try ScratchDirectory()
        let small = try #require(SmallFileSystem(bytes: 4 << 20))
        let path = try here.write("a", [UInt8](repeating: 1, count: 6 << 20))
        let run = await TransferRun.run(
            FileSender(paths: [path]),
            FileReceiver(target: small.path),
            MemoryChannel.pair()
        )
        guard case .failure(let error) = run.sender else { Issue.record("not refused"); return }
        #expect(error.code == .noSpace && error.isFromPeer && error.message.contains("room for"))
        #expect(error.isRefusal && run.receiver.error?.isRefusal == true)
    }

    /// What is there already can be gone on with once there is room: that is no refusal.
    @Test(.timeLimit(.minutes(10)), .enabled(if: SmallFileSystem.isPossible, "mounting needs root"))
    func whatHasNoRoomToGoOnIsNotRefused() async throws {
        let here = try ScratchDirectory()
        let small = try #require(SmallFileSystem(bytes: 8 << 20))
        var random = SplitMix(seed: 21)
        let path = try here.write("a", random.bytes(6 << 20))
        let channels = MemoryChannel.pair()
        // hello, offer, manifest, and 9 messages for each of 3 blocks.
        channels.0.cut(after: 3 + 3 * 9)
        _ = await TransferRun.run(FileSender(paths: [path]), FileReceiver(target: small.path), channels)
        let descriptor = open(small.path + "/other", O_WRONLY | O_CREAT, 0o600)
        let piece = [UInt8](repeating: 0, count: 4 << 20)
        #expect(write(descriptor, piece, piece.count) == piece.count)
        close(descriptor)
        let run = await TransferRun.run(
            FileSender(paths: [path]),
            FileReceiver(target: small.path),
            MemoryChannel.pair()
        )
        for error in [run.sender.error, run.receiver.error] {
            #expect(error?.code == .noSpace && error?.isRefusal == false, "\(String(describing: error))")
        }
    }

    @Test(.timeLimit(.minutes(10)), .enabled(if: SmallFileSystem.isPossible, "mounting needs root"))
    func aDiskThatFillsUpLeavesAStateToResumeFrom() async throws {
        let here = try ScratchDirectory()
        let small = try #require(SmallFileSystem(bytes: 8 << 20))
        var random = SplitMix(seed: 20)
        let bytes = random.bytes(6 << 20)
        let path = try here.write("a", bytes)
        // Somebody else fills the disk after the offer was accepted.
        var options = FileReceiver.Options()
        options.onEvent = { event in
            guard case .accepted = event else { return }
            let descriptor = open(small.path + "/other", O_WRONLY | O_CREAT, 0o600)
            let piece = [UInt8](repeating: 0, count: 9 << 19)
            _ = write(descriptor, piece, piece.count)
            close(descriptor)
        }
        let run = await TransferRun.run(
            FileSender(paths: [path]),
            FileReceiver(target: small.path, options: options),
            MemoryChannel.pair()
        )
        guard case .failure(let error) = run.receiver, case .failure(let told) = run.sender else {
            Issue.record("did not fail")
            return
        }
        #expect(error.code == .noSpace && error.message.contains("make room"))
        #expect(told.code == .noSpace && told.isFromPeer)
        #expect(unlink(small.path + "/other") == 0)
        let again = await TransferRun.run(
            FileSender(paths: [path]),
            FileReceiver(target: small.path),
            MemoryChannel.pair()
        )
        #expect(try again.sender.get().resumedBytes >= 2 << 20)
        #expect(FileManager.default.contents(atPath: small.path + "/a").map { Array($0) } == bytes)
    }

    /// Refused at its start: nothing is left behind.
    @Test(.timeLimit(.minutes(10))) func whatHasNoRoomLeavesNothing() async throws {
        let there = try ScratchDirectory()
        let here = try ScratchDirectory()
        let path = here.file("vast")
        let file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        #expect(ftruncate(file, 1 << 50) == 0 || ftruncate(file, 1 << 43) == 0)
        close(file)
        let run = await TransferRun.run(
            FileSender(paths: [path]),
            FileReceiver(target: there.path),
            MemoryChannel.pair()
        )
        guard case .failure(let error) = run.receiver else { Issue.record("did not fail"); return }
        #expect(error.code == .noSpace)
        #expect(there.names() == [])
    }

    /// A limit of the process's on the size of files: that file fails alone.
    @Test(.timeLimit(.minutes(10))) func aFileAboveTheLimitFailsAlone() async throws {
        await #expect(processExitsWith: .success) {
            let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
            let big = try here.write("big", [UInt8](repeating: 1, count: 5 << 20))
            let small = try here.write("small", [2])
            signal(SIGXFSZ, SIG_IGN)
            var limit = rlimit(rlim_cur: 3 << 20, rlim_max: 3 << 20)
            #expect(setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0)
            let run = await TransferRun.run(
                FileSender(paths: [big, small]),
                FileReceiver(target: there.path),
                MemoryChannel.pair()
            )
            let sent = try run.sender.get()
            #expect(sent.failures.map(\.error.code) == [.fileTooLarge] && sent.files == 1)
            #expect(there.read("small") == [2] && !there.exists("big"))
        }
    }

    @Test(.timeLimit(.minutes(10))) func aTargetThatIsNotThere() async throws {
        let here = try ScratchDirectory()
        let path = try here.write("a", [1])
        let run = await TransferRun.run(
            FileSender(paths: [path]),
            FileReceiver(target: here.file("nowhere")),
            MemoryChannel.pair()
        )
        guard case .failure(let error) = run.receiver else { Issue.record("did not fail"); return }
        #expect(error.code == .notFound && error.message.contains("nowhere"))
        guard case .failure(let told) = run.sender else { Issue.record("did not fail"); return }
        #expect(told.code == .notFound && told.isFromPeer && told.isRefusal && error.isRefusal)
    }
}
