import AllocationCounter
import Glibc
import PeerConnection
import Testing

/// What a process holds.
struct Footprint: Sendable {
    /// Bytes allocated and not freed.
    var heapByteCount: Int
    var descriptorCount: Int
    var threadCount: Int

    static func now() -> Footprint {
        Footprint(
            heapByteCount: Int(allocation_counter_heap_bytes()),
            descriptorCount: entryCount(of: "/proc/self/fd"),
            threadCount: entryCount(of: "/proc/self/task")
        )
    }

    private static func entryCount(of directory: String) -> Int {
        guard let stream = opendir(directory) else { return -1 }
        defer { closedir(stream) }
        var count = 0
        while readdir(stream) != nil { count += 1 }
        return count
    }
}

@Suite(.enabled(if: allocation_counter_counts(), "a sanitizer has its own heap")) struct OpeningAndClosing {
    /// In a process of its own, where nothing else allocates.
    @Test(.timeLimit(.minutes(10))) func twoHundredConnectionsLeaveNothing() async {
        await #expect(processExitsWith: .success) {
            // The first ones fill pools and caches, start threads and load libraries.
            for _ in 0..<30 { try await openAndClose() }
            let before = try await settled()
            for _ in 0..<100 { try await openAndClose() }
            let after = try await settled()
            #expect(after.descriptorCount <= before.descriptorCount)
            #expect(after.threadCount <= before.threadCount)
            // 200 connections, each of which holds over 100 kB while it is open.
            #expect(after.heapByteCount - before.heapByteCount < 200 * 4_096, "\(before) \(after)")
        }
    }
}

/// A connected pair with a data channel, a picture and a tone, closed again.
private func openAndClose() async throws {
    let pair = try ConnectedPair()
    let channel = try pair.first.createDataChannel("data")
    try pair.first.addTransceiver(.audio)
    try pair.first.addTransceiver(.video)
    try await pair.negotiate()
    try await channel.waitUntilOpen()
    try channel.send("x")
    pair.first.close()
    pair.second.close()
    await pair.first.closed()
    await pair.second.closed()
}

/// The footprint once threads that are ending have ended.
private func settled() async throws -> Footprint {
    var last = Footprint.now()
    for _ in 0..<20 {
        try await Task.sleep(for: .milliseconds(100))
        let next = Footprint.now()
        if next.threadCount == last.threadCount, next.heapByteCount == last.heapByteCount { return next }
        last = next
    }
    return last
}
