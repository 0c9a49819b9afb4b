internal import Locking
internal import Logging
internal import Media
internal import RTP
internal import SansIO

/// Sound of a track, cut into blocks of 20 ms and encoded on a thread of its own.
final class AudioSendPipeline: SendPipeline {
    private struct State {
        var subscription: MediaSubscription?
        var track: MediaStreamTrack?
        var isActive = false
        var isStopped = false
        var framesEncoded = 0
    }

    let mid: String
    private let state = Mutex(State())
    private let worker: WorkerThread<AudioFrame>
    private let counter: Counter
    private let log = Logger(label: "PeerConnection.audio")

    /// Blocks encoded so far, counted by the worker.
    final class Counter: Sendable {
        let count = Atomic<Int>(0)
    }

    init(mid: String, codec: RTPCodec, send: @escaping @Sendable (EncodedFrame) -> Void) {
        self.mid = mid
        let counter = Counter()
        self.counter = counter
        // Touched only by the worker's thread, one job after another.
        nonisolated(unsafe) let encoding = AudioEncoding(codec: codec)
        worker = WorkerThread(name: "audio encoder", limit: 25) { frame in
            for block in unsafe encoding.encode(frame) {
                counter.count.wrappingAdd(1, ordering: .relaxed)
                send(block)
            }
        }
    }

    func setTrack(_ track: MediaStreamTrack?) {
        let isChanged = state.withLock { state -> Bool in
            guard state.track !== track else { return false }
            state.track = track
            state.subscription = nil
            return true
        }
        if isChanged { subscribe() }
    }

    func setActive(_ isActive: Bool) {
        state.withLock { $0.isActive = isActive }
        subscribe()
    }

    private func subscribe() {
        let track = state.withLock { state -> MediaStreamTrack? in
            guard state.isActive, !state.isStopped, state.subscription == nil else { return nil }
            return state.track
        }
        guard let track else { return }
        do {
            let subscription = try track.addAudioTaker { [worker] frame in worker.submit(frame) }
            state.withLock { $0.subscription = subscription }
        } catch {
            log.error("\(track.label) does not start: \(error)")
        }
    }

    func setBitRate(_ bitsPerSecond: Int) {}
    func requestKeyFrame() {}

    func fill(_ entry: inout RTCStatsReport.OutboundRTP) {
        entry.framesEncoded = counter.count.load(ordering: .relaxed)
    }

    func stop() {
        let subscription = state.withLock { state in
            state.isStopped = true
            defer { state.subscription = nil }
            return state.subscription
        }
        subscription?.cancel()
        worker.stop()
    }
}

/// Blocks of 20 ms out of sound of any rate and length.
private final class AudioEncoding {
    private let codec: RTPCodec
    private var opus: OpusEncoder?
    private var resampler: Resampler?
    private var pending: [Int16] = []
    private var channelCount = 1
    private var timestamp: UInt32 = 0

    init(codec: RTPCodec) { self.codec = codec }

    func encode(_ frame: AudioFrame) -> [EncodedFrame] {
        let wanted = codec == .opus ? min(frame.channelCount, 2) : 1
        let frame = frame.withChannels(wanted)
        let rate = codec.clockRate
        if wanted != channelCount || resampler?.inputRate != frame.sampleRate {
            channelCount = wanted
            resampler = Resampler(inputRate: frame.sampleRate, outputRate: rate, channelCount: wanted)
            pending = []
            opus = nil
        }
        guard var converter = resampler else { return [] }
        pending += converter.process(frame.samples)
        resampler = converter
        let blockSamples = rate / 50
        var blocks: [EncodedFrame] = []
        var offset = 0
        while pending.count - offset >= blockSamples * channelCount {
            let block = Array(pending[offset..<(offset + blockSamples * channelCount)])
            offset += block.count
            if let payload = payload(block) {
                blocks.append(
                    EncodedFrame(
                        payload: payload,
                        rtpTimestamp: timestamp,
                        captureTime: Instant(nanoseconds: frame.timestampNanoseconds),
                        audioLevel: level(block),
                        startsTalkspurt: timestamp == 0
                    )
                )
            }
            timestamp &+= UInt32(blockSamples)
        }
        pending.removeFirst(offset)
        return blocks
    }

    private func payload(_ block: [Int16]) -> [UInt8]? {
        switch codec {
        case .opus:
            if opus == nil { opus = try? OpusEncoder(channelCount: channelCount) }
            return try? opus?.encode(block)
        case .pcmu: return G711.muLaw.encode(block)
        case .pcma: return G711.aLaw.encode(block)
        case .vp8: return nil
        }
    }

    /// Decibels below full scale, 0 to 127. RFC 6464 §3
    private func level(_ block: [Int16]) -> UInt8 {
        var sum: Int64 = 0
        for sample in block { sum += Int64(sample) * Int64(sample) }
        let mean = Double(sum) / Double(max(1, block.count)) / (32_768.0 * 32_768.0)
        guard mean > 0 else { return 127 }
        // 10·log10 by the exponent and a quadratic for the mantissa: half a decibel is enough here.
        let log2 = Double(mean.exponent) + (mean.significand - 1) * (1.3466 - 0.3466 * (mean.significand - 1))
        return UInt8(min(127, max(0, -3.0103 * log2)))
    }
}
