import Capture
import Glibc
import Locking
import Media
import PeerConnection

/// `capture PATH FORMAT WxH@RATE SECONDS`: pictures of a camera, turned into I420 and forgotten.
struct CameraCost {
    let path: String
    let wish: CameraWish
    let seconds: Double

    init(_ arguments: [String]) {
        guard arguments.count == 4, let format = CameraPixelFormat(rawValue: arguments[1]) else {
            print("usage: capture PATH FORMAT WxH@RATE SECONDS")
            exit(2)
        }
        path = arguments[0]
        wish = Self.wish(arguments[2], [format])
        seconds = PeerBench.number(arguments, 3)
    }

    static func wish(_ text: String, _ formats: Set<CameraPixelFormat>) -> CameraWish {
        let numbers = text.split { $0 == "x" || $0 == "@" }.compactMap { Int($0) }
        guard numbers.count == 3 else {
            print("WxH@RATE, not \(text)")
            exit(2)
        }
        var wish = CameraWish(width: numbers[0], height: numbers[1], framesPerSecond: numbers[2])
        wish.formats = formats
        return wish
    }

    func run() async throws {
        let camera = try V4L2Camera(path: path, wish: wish)
        let delays = Delays()
        try camera.start { delays.record($0.timestampNanoseconds) }
        try await Task.sleep(for: .seconds(seconds))
        camera.stop()
        camera.waitUntilClosed()
        let (histogram, statistics) = (delays.histogram.withLock { $0 }, camera.statistics)
        Wire.result([
            ("frames", Double(statistics.framesDelivered)), ("missed", Double(statistics.framesMissed)),
            ("delivery_ms_p50", histogram.percentile(0.5)), ("delivery_ms_p95", histogram.percentile(0.95)),
        ])
    }

    /// From the driver's time stamp to the program.
    private final class Delays: Sendable {
        let histogram = Mutex(DelayHistogram())

        func record(_ capture: Int64) {
            let now = Int64(Meter.now() * 1e9)
            histogram.withLock { $0.record(nanoseconds: now - capture) }
        }
    }
}

/// `latency PATH WxH@RATE SPEAKER SECONDS`: a call between two ends in this process, from a camera and a tone to a
/// loudspeaker: how old pictures are when their encoder gets them, and sound when the card does.
struct DeviceLatency {
    let camera: String
    let wish: CameraWish
    let speaker: String
    let seconds: Double

    init(_ arguments: [String]) {
        guard arguments.count == 4 else {
            print("usage: latency PATH WxH@RATE SPEAKER SECONDS")
            exit(2)
        }
        camera = arguments[0]
        wish = CameraCost.wish(arguments[1], Set(CameraPixelFormat.allCases))
        speaker = arguments[2]
        seconds = PeerBench.number(arguments, 3)
    }

    func run() async throws {
        let offerer = try RTCPeerConnection(configuration: PeerBench.configuration())
        let answerer = try RTCPeerConnection(configuration: PeerBench.configuration())
        let loudspeaker = try ALSASpeaker(name: speaker)
        try loudspeaker.start()
        let taken = Mutex<[MediaSubscription]>([])
        let input = loudspeaker.makeInput()
        let box = Box(taken)
        answerer.setEventHandler { event in
            guard case .track(let event) = event else { return }
            let subscription =
                event.track.kind == .audio
                ? try? event.track.addAudioTaker { input.take($0) } : try? event.track.addVideoTaker { _ in }
            if let subscription { box.taken.withLock { $0.append(subscription) } }
        }
        try offerer.addTrack(MediaStreamTrack(try V4L2Camera(path: camera, wish: wish)))
        try offerer.addTrack(MediaStreamTrack(Tone()))
        try await offerer.setLocalDescription()
        try await exchange(from: offerer, to: answerer)
        try await answerer.setLocalDescription()
        try await exchange(from: answerer, to: offerer)
        try await Task.sleep(for: .seconds(seconds))
        let pictures = await offerer.getStats().outboundRTP.first { $0.kind == .video }?.captureDelays
        let sound = loudspeaker.playoutDelays
        Wire.result([
            ("pictures", pictures.map { Double($0.count) }), ("camera_to_encoder_ms_p50", pictures?.percentile(0.5)),
            ("camera_to_encoder_ms_p95", pictures?.percentile(0.95)), ("blocks", Double(sound.count)),
            ("network_to_speaker_ms_p50", sound.percentile(0.5)), ("network_to_speaker_ms_p95", sound.percentile(0.95)),
            ("input_underruns", Double(loudspeaker.statistics.inputUnderruns)),
            ("device_underruns", Double(loudspeaker.statistics.deviceUnderruns)),
        ])
        loudspeaker.stop()
        offerer.close()
        answerer.close()
    }

    /// Hands the whole description over, with its candidates.
    private func exchange(from one: RTCPeerConnection, to other: RTCPeerConnection) async throws {
        await Wire.waitForGathering(of: one)
        guard let description = one.localDescription else { return }
        try await other.setRemoteDescription(description)
    }

    private final class Box: Sendable {
        let taken: Mutex<[MediaSubscription]>
        init(_ taken: consuming sending Mutex<[MediaSubscription]>) { self.taken = taken }
    }
}
