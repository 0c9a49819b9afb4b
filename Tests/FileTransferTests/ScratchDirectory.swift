import FileTransfer
import Foundation
import Glibc

/// A directory of a test's own, removed with it.
final class ScratchDirectory: Sendable {
    let path: String

    init(in parent: String = NSTemporaryDirectory()) throws {
        path = parent + "/transfer-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { path + "/" + name }

    @discardableResult func write(_ name: String, _ bytes: [UInt8]) throws -> String {
        let path = file(name)
        let parent = (path as NSString).deletingLastPathComponent
        try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        return path
    }

    func read(_ name: String) -> [UInt8]? { FileManager.default.contents(atPath: file(name)).map { Array($0) } }

    func exists(_ name: String) -> Bool {
        var status = stat()
        return lstat(file(name), &status) == 0
    }

    func names() -> [String] { ((try? FileManager.default.subpathsOfDirectory(atPath: path)) ?? []).sorted() }
}

/// A reproducible source of bytes and choices.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 8)
        while bytes.count < count { withUnsafeBytes(of: next()) { bytes.append(contentsOf: $0) } }
        return Array(bytes.prefix(count))
    }
}

/// One run of both sides; each side's end.
struct TransferRun {
    var sender: Result<TransferSummary, TransferError>
    var receiver: Result<TransferSummary, TransferError>

    static func run(
        _ sender: FileSender,
        _ receiver: FileReceiver,
        _ channels: (MemoryChannel, MemoryChannel)
    ) async -> TransferRun {
        async let sent = result { () async throws(TransferError) in try await sender.run(over: channels.0) }
        async let received = result { () async throws(TransferError) in try await receiver.run(over: channels.1) }
        return await TransferRun(sender: sent, receiver: received)
    }

    private static func result(
        _ body: () async throws(TransferError) -> TransferSummary
    ) async -> Result<TransferSummary, TransferError> {
        do throws(TransferError) { return .success(try await body()) } catch { return .failure(error) }
    }
}

extension Result {
    /// Why it failed, if it did.
    var error: Failure? {
        if case .failure(let error) = self { error } else { nil }
    }
}
