import Glibc
import NIOCore
import NIOPosix
import PeerConnection

/// Where the connections of a figure live and its tasks run.
enum Threads: String {
    /// All on one event loop, tasks too: the shortest way.
    case loop
    /// Connections on NIO's shared loops, tasks in Swift's pool: what a program has that chooses nothing.
    case shared
}

/// Two connections in this process, candidates handed over as they come, a data channel open on both sides.
final class Pair: Sendable {
    let first: RTCPeerConnection
    let second: RTCPeerConnection
    let milliseconds: Double

    /// Two that are connected.
    ///
    /// - Parameter loop: The event loop of both connections, on which the tasks run too; nil chooses nothing.
    /// - Throws: What a connection refuses.
    init(on loop: (any EventLoop)? = nil) async throws {
        let start = Meter.now()
        var configuration = PeerBench.configuration()
        configuration.eventLoop = loop
        let executor = loop.map { EventLoopTaskExecutor($0) }
        let first = try RTCPeerConnection(configuration: configuration)
        let second = try RTCPeerConnection(configuration: configuration)
        self.first = first
        self.second = second
        let (opened, open) = AsyncStream<Void>.makeStream()
        let channel = try first.createDataChannel("b")
        second.setEventHandler { [weak first] event in
            switch event {
            case .iceCandidate(let candidate):
                Task(executorPreference: executor) { try? await first?.addIceCandidate(candidate) }
            case .dataChannel: open.yield()
            default: break
            }
        }
        // Candidates of the first go with its offer or after the second has it.
        let (candidates, candidate) = AsyncStream<RTCIceCandidate?>.makeStream()
        first.setEventHandler { event in
            if case .iceCandidate(let found) = event { candidate.yield(found) }
        }
        try await first.setLocalDescription()
        guard let offer = first.localDescription else { throw RTCError(.operationError, "no offer") }
        try await second.setRemoteDescription(offer)
        let trickle = Task(executorPreference: executor) { [weak second] in
            for await found in candidates { try? await second?.addIceCandidate(found) }
        }
        try await second.setLocalDescription()
        guard let answer = second.localDescription else { throw RTCError(.operationError, "no answer") }
        try await first.setRemoteDescription(answer)
        try await channel.waitUntilOpen()
        for await _ in opened { break }
        milliseconds = (Meter.now() - start) * 1e3
        trickle.cancel()
    }

    func close() async {
        first.close()
        second.close()
        await first.closed()
        await second.closed()
    }
}

/// `setup COUNT`: one pair after another.
struct SetUp {
    let count: Int
    let threads: Threads

    func run() async throws {
        switch threads {
        case .shared: try await measure(on: nil)
        case .loop:
            let loop = MultiThreadedEventLoopGroup.singleton.next()
            try await withTaskExecutorPreference(EventLoopTaskExecutor(loop)) { try await measure(on: loop) }
        }
    }

    private func measure(on loop: (any EventLoop)?) async throws {
        var times: [Double] = []
        var start = Meter.now()
        for index in 0..<count {
            if index == 3 {
                times = []
                start = Meter.now()
            }
            let pair = try await Pair(on: loop)
            times.append(pair.milliseconds)
            await pair.close()
        }
        let wall = Meter.now() - start
        let rate = Double(times.count) / wall
        times.sort()
        Wire.result([
            "setup_ms_p50": Meter.percentile(times, 0.5), "setup_ms_p90": Meter.percentile(times, 0.9), "per_s": rate,
            "n": Double(times.count),
        ])
    }
}

/// `idle PAIRS SECONDS`: all pairs at once, then nothing.
struct Idle {
    let pairCount: Int
    let seconds: Double

    func run() async throws {
        await (try Pair()).close()
        try await Task.sleep(for: .milliseconds(300))
        let rss = Meter.statusMB("VmRSS:")
        var cpu = Meter.cpu()
        let start = Meter.now()
        let pairs = try await withThrowingTaskGroup(of: Pair.self) { group in
            for _ in 0..<pairCount { group.addTask { try await Pair() } }
            var pairs: [Pair] = []
            for try await pair in group { pairs.append(pair) }
            return pairs
        }
        let wall = Meter.now() - start
        let setUpCPU = Meter.cpu() - cpu
        try await Task.sleep(for: .milliseconds(1500))
        let grown = Meter.statusMB("VmRSS:") - rss
        cpu = Meter.cpu()
        try await Task.sleep(for: .seconds(seconds))
        let idleCPU = Meter.cpu() - cpu
        let count = Double(2 * pairs.count)
        Wire.result([
            "parallel_s": wall, "parallel_per_s": Double(pairs.count) / wall,
            "setup_cpu_ms_per_pair": setUpCPU / Double(pairs.count) * 1e3, "rss_kb_per_pc": grown * 1024 / count,
            "idle_cpu_ms_per_s_per_pc": idleCPU / seconds / count * 1e3, "n_pairs": Double(pairs.count),
        ])
        for pair in pairs { await pair.close() }
    }
}
