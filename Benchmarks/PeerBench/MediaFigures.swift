import Capture
import Glibc
import Locking
import PeerConnection

/// `media WxH SECONDS`: VP8 at 30 frames a second and Opus, both ways.
struct MediaCall {
    let role: String
    let width: Int
    let height: Int
    let seconds: Double

    init(role: String, _ arguments: [String]) {
        self.role = role
        let size = (arguments.first ?? "").split(separator: "x").compactMap { Int($0) }
        width = size.first ?? 640
        height = size.last ?? 360
        seconds = PeerBench.number(arguments, 1)
    }

    private struct Received {
        var frames = 0
        var width = 0
        var first: Double?
    }

    func run() async throws {
        let connection = try RTCPeerConnection(configuration: PeerBench.configuration())
        let received = Mutex(Received())
        let subscriptions = Mutex<[MediaSubscription]>([])
        let connectedAt = Mutex<Double?>(nil)
        let (connected, finish) = AsyncStream<Void>.makeStream()
        let box = Box(received: received, subscriptions: subscriptions, connectedAt: connectedAt)
        connection.setEventHandler { event in
            switch event {
            case .connectionStateChange(.connected):
                box.connectedAt.withLock { $0 = Meter.now() }
                finish.finish()
            case .track(let event):
                if event.track.kind == .video {
                    let subscription = try? event.track.addVideoTaker { frame in
                        box.received.withLock { received in
                            received.frames += 1
                            received.width = frame.width
                            if received.first == nil { received.first = Meter.now() }
                        }
                    }
                    if let subscription { box.subscriptions.withLock { $0.append(subscription) } }
                } else if let subscription = try? event.track.addAudioTaker({ _ in }) {
                    box.subscriptions.withLock { $0.append(subscription) }
                }
            default: break
            }
        }
        let video = MediaStreamTrack(try RecordedFrames(width: width, height: height))
        let audio = MediaStreamTrack(Tone())
        if role == "offer" {
            try connection.addTrack(video)
            try connection.addTrack(audio)
            try await connection.setLocalDescription()
            await Wire.putLocalDescription(of: connection)
            try await Wire.takeRemoteDescription(for: connection)
        } else {
            try await Wire.takeRemoteDescription(for: connection)
            try connection.addTrack(video)
            try connection.addTrack(audio)
            try await connection.setLocalDescription()
            await Wire.putLocalDescription(of: connection)
        }
        for await _ in connected {}
        try await Task.sleep(for: .seconds(seconds * 0.2))
        let before = await connection.getStats()
        let (cpu, start, frames) = (Meter.cpu(), Meter.now(), box.received.withLock { $0.frames })
        try await Task.sleep(for: .seconds(seconds * 0.8))
        let after = await connection.getStats()
        let wall = Meter.now() - start
        func sent(_ report: RTCStatsReport) -> Double {
            Double(report.outboundRTP.filter { $0.kind == .video }.reduce(0) { $0 + $1.bytesSent })
        }
        let (count, lastWidth, first) = box.received.withLock { ($0.frames, $0.width, $0.first) }
        let connectedTime = box.connectedAt.withLock { $0 }
        let prefix = role
        var values: [(String, Double?)] = [
            ("cpu_cores", (Meter.cpu() - cpu) / wall), ("rx_fps", Double(count - frames) / wall),
            ("tx_video_kbps", (sent(after) - sent(before)) * 8 / wall / 1e3), ("rx_width", Double(lastWidth)),
            ("rss_mb", Meter.statusMB("VmHWM:")),
        ]
        if let first, let connectedTime {
            values.append(("first_frame_ms_after_connected", (first - connectedTime) * 1e3))
        }
        Wire.result(values.map { ("\(prefix)_\($0.0)", $0.1) })
        Wire.put("done")
        _ = await Wire.get()
    }

    private final class Box: Sendable {
        let received: Mutex<Received>
        let subscriptions: Mutex<[MediaSubscription]>
        let connectedAt: Mutex<Double?>

        init(
            received: consuming sending Mutex<Received>,
            subscriptions: consuming sending Mutex<[MediaSubscription]>,
            connectedAt: consuming sending Mutex<Double?>
        ) {
            self.received = received
            self.subscriptions = subscriptions
            self.connectedAt = connectedAt
        }
    }
}

/// The 30 pictures that every stack is given (BENCH_SCRATCH), in a loop at 30 a second; the test pattern
/// where the file is not there.
final class RecordedFrames: VideoSource {
    let label = "recorded frames"
    let frames: [VideoFrame]
    private let thread = Mutex<ScheduledThread?>(nil)

    init(width: Int, height: Int) throws {
        let scratch = getenv("BENCH_SCRATCH").map { String(cString: $0) } ?? "/tmp/peer-bench"
        let path = "\(scratch)/frames_\(width)x\(height).i420"
        let pattern = try TestPattern(width: width, height: height)
        guard let file = fopen(path, "r") else {
            frames = try (0..<30).map { try pattern.frame($0, timestampNanoseconds: 0) }
            return
        }
        defer { fclose(file) }
        let size = width * height * 3 / 2
        var made: [VideoFrame] = []
        while true {
            let bytes = [UInt8](unsafeUninitializedCapacity: size) { $1 = fread($0.baseAddress, 1, size, file) }
            guard bytes.count == size else { break }
            made.append(
                try VideoFrame(width: width, height: height, timestampNanoseconds: 0) { planes throws(MediaError) in
                    bytes.withUnsafeBufferPointer { source in
                        guard let base = source.baseAddress else { return }
                        for row in 0..<height {
                            (planes.y + row * planes.strideY).update(from: base + row * width, count: width)
                        }
                        let u = base + width * height
                        for row in 0..<(height / 2) {
                            (planes.u + row * planes.strideUV).update(from: u + row * width / 2, count: width / 2)
                            (planes.v + row * planes.strideUV).update(
                                from: u + width * height / 4 + row * width / 2,
                                count: width / 2
                            )
                        }
                    }
                }
            )
        }
        frames = made
    }

    func start(deliver: @escaping @Sendable (VideoFrame) -> Void) throws {
        let frames = frames
        let new = try ScheduledThread(name: "recorded frames", subject: label, intervalNanoseconds: 33_333_333) {
            index,
            time in
            deliver(frames[index % frames.count].retimed(time))
            return true
        }
        thread.withLock { $0 = new }
    }

    func stop() { thread.withLock { $0?.stop() } }
}

/// `rtp SECONDS`: 1200-byte packets through SRTP as fast as they go.
struct PacketRate {
    let seconds: Double

    /// The longest that fits beside header, extensions and SRTP's tag into a datagram of 1200 bytes.
    private static let payloadByteCount = 1_140

    func offer() async throws {
        let connection = try RTCPeerConnection(configuration: PeerBench.configuration())
        let transceiver = try connection.addTransceiver(.video, options: .init(direction: .sendonly))
        try await connection.setLocalDescription()
        await Wire.putLocalDescription(of: connection)
        let events = connection.events
        try await Wire.takeRemoteDescription(for: connection)
        if connection.connectionState != .connected {
            for await event in events { if case .connectionStateChange(.connected) = event { break } }
        }
        let (start, cpu) = (Meter.now(), Meter.cpu())
        var count = 0
        while Meter.now() - start < seconds {
            let sent = await transceiver.sender.sendTestPackets(count: 256, byteCount: Self.payloadByteCount)
            guard sent > 0 else { throw RTCError(.operationError, "no packet was sent") }
            count += sent
        }
        Wire.result([
            "tx_pps": Double(count) / (Meter.now() - start),
            "tx_cpu_us_per_pkt": (Meter.cpu() - cpu) / Double(count) * 1e6,
        ])
        Wire.put("done")
        _ = await Wire.get()
    }

    func answer() async throws {
        let connection = try RTCPeerConnection(configuration: PeerBench.configuration())
        try await Wire.takeRemoteDescription(for: connection)
        try await connection.setLocalDescription()
        await Wire.putLocalDescription(of: connection)
        func packets() async -> Int { await connection.getStats().transport.packetsReceived }
        while await packets() < 100 { try await Task.sleep(for: .milliseconds(5)) }
        try await Task.sleep(for: .seconds(seconds * 0.2))
        let (before, start) = (await packets(), Meter.now())
        try await Task.sleep(for: .seconds(seconds * 0.8))
        Wire.result(["rx_msgs_s": Double(await packets() - before) / (Meter.now() - start)])
        _ = await Wire.get()
        Wire.put("done")
    }
}
