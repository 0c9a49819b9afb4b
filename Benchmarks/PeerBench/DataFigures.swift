import Glibc
import Locking
import PeerConnection

/// `dc SIZE SECONDS reliable|unreliable`: messages as fast as they go, above 4 MiB buffered pausing until 1 MiB.
struct Throughput {
    let size: Int
    let seconds: Double
    let isUnreliable: Bool

    static let high = 4 << 20
    static let low = 1 << 20

    init(_ arguments: [String]) {
        size = PeerBench.integer(arguments, 0)
        seconds = PeerBench.number(arguments, 1)
        isUnreliable = arguments.count > 2 && arguments[2] == "unreliable"
    }

    func offer() async throws {
        let connection = try RTCPeerConnection(configuration: PeerBench.configuration())
        var options = RTCDataChannelInit()
        if isUnreliable {
            options.ordered = false
            options.maxRetransmits = 0
        }
        let channel = try connection.createDataChannel("bench", options: options)
        try await connection.setLocalDescription()
        await Wire.putLocalDescription(of: connection)
        try await Wire.takeRemoteDescription(for: connection)
        try await channel.waitUntilOpen()
        let payload = [UInt8](repeating: 0x5A, count: size)
        channel.bufferedAmountLowThreshold = Self.low
        let start = Meter.now()
        let cpu = Meter.cpu()
        var count = 0
        while Meter.now() - start < seconds + 0.3 {
            try channel.send(payload)
            count += 1
            if channel.bufferedAmount > Self.high { await channel.waitUntilBufferedAmountIsLow() }
        }
        Wire.result([
            "tx_cpu_s": Meter.cpu() - cpu, "tx_wall_s": Meter.now() - start, "tx_bytes": Double(count * size),
            "tx_rss_mb": Meter.statusMB("VmHWM:"),
        ])
        Wire.put("done")
        _ = await Wire.get()
    }

    func answer() async throws {
        let connection = try RTCPeerConnection(configuration: PeerBench.configuration())
        let counter = Counter()
        connection.setEventHandler { event in
            if case .dataChannel(let channel) = event { channel.setMessageHandler { counter.count($0.byteCount) } }
        }
        try await Wire.takeRemoteDescription(for: connection)
        try await connection.setLocalDescription()
        await Wire.putLocalDescription(of: connection)
        await counter.measure(seconds: seconds)
        _ = await Wire.get()
        Wire.put("done")
    }
}

/// Counts what arrives.
final class Counter: Sendable {
    private let bytes = Atomic<Int>(0)
    private let messages = Atomic<Int>(0)

    func count(_ byteCount: Int) {
        bytes.wrappingAdd(byteCount, ordering: .relaxed)
        messages.wrappingAdd(1, ordering: .relaxed)
    }

    /// Waits for the first message and reports the rates after the first fifth of the time.
    func measure(seconds: Double) async {
        while messages.load(ordering: .relaxed) == 0 { try? await Task.sleep(for: .microseconds(200)) }
        let start = Meter.now()
        try? await Task.sleep(for: .seconds(seconds * 0.2))
        let (bytes0, messages0, cpu, from) = (
            bytes.load(ordering: .relaxed), messages.load(ordering: .relaxed), Meter.cpu(), Meter.now()
        )
        try? await Task.sleep(for: .seconds(max(0, seconds - (Meter.now() - start))))
        let wall = Meter.now() - from
        let megabytes = Double(bytes.load(ordering: .relaxed) - bytes0) / 1e6
        Wire.result([
            "rx_MBps": megabytes / wall, "rx_msgs_s": Double(messages.load(ordering: .relaxed) - messages0) / wall,
            "rx_cpu_s_per_GB": (Meter.cpu() - cpu) / max(megabytes / 1e3, 1e-9), "rx_wall_s": wall,
            "rx_rss_mb": Meter.statusMB("VmHWM:"), "rx_bytes_total": Double(bytes.load(ordering: .relaxed)),
        ])
    }
}

/// `ping COUNT`: 64 bytes there and back.
struct PingPong {
    let count: Int

    func offer() async throws {
        let connection = try RTCPeerConnection(configuration: PeerBench.configuration())
        let channel = try connection.createDataChannel("bench")
        let payload = [UInt8](repeating: 0x5A, count: 64)
        let state = Mutex((times: [Double](), sent: 0.0))
        let (done, finish) = AsyncStream<Void>.makeStream()
        channel.setMessageHandler { [weak channel, count] _ in
            let isLast = state.withLock { state -> Bool in
                let now = Meter.now()
                state.times.append((now - state.sent) * 1e6)
                state.sent = now
                return state.times.count >= count
            }
            if isLast { finish.finish() } else { try? channel?.send(payload) }
        }
        try await connection.setLocalDescription()
        await Wire.putLocalDescription(of: connection)
        try await Wire.takeRemoteDescription(for: connection)
        try await channel.waitUntilOpen()
        state.withLock { $0.sent = Meter.now() }
        try channel.send(payload)
        for await _ in done {}
        let times = state.withLock { $0.times }.dropFirst(count / 10).sorted()
        Wire.result([
            "rtt_us_p50": Meter.percentile(times, 0.5), "rtt_us_p99": Meter.percentile(times, 0.99),
            "n": Double(times.count),
        ])
        Wire.put("done")
        _ = await Wire.get()
    }

    func answer() async throws {
        let connection = try RTCPeerConnection(configuration: PeerBench.configuration())
        connection.setEventHandler { event in
            guard case .dataChannel(let channel) = event else { return }
            channel.setMessageHandler { [weak channel] message in
                if case .binary(let bytes) = message { try? channel?.send(bytes) }
            }
        }
        try await Wire.takeRemoteDescription(for: connection)
        try await connection.setLocalDescription()
        await Wire.putLocalDescription(of: connection)
        _ = await Wire.get()
        Wire.put("done")
    }
}
