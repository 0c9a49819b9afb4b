internal import Locking
internal import Media
internal import RTP
internal import SansIO

/// Received blocks of sound, decoded on a thread of its own, on to the track.
final class AudioReceivePipeline: ReceivePipeline {
    private let worker: WorkerThread<ReceivedFrame>
    let receiver: RTCRtpReceiver
    private let counter: Counter
    private let meter: SoundMeter

    private final class Counter: Sendable {
        let decoded = Atomic<Int>(0)
    }

    init(receiver: RTCRtpReceiver) {
        self.receiver = receiver
        let counter = Counter()
        self.counter = counter
        let meter = SoundMeter()
        self.meter = meter
        let track = receiver.track
        // Touched only by the worker's thread, one job after another.
        nonisolated(unsafe) let decoding = AudioDecoding()
        worker = WorkerThread(name: "audio decoder", limit: 100) { frame in
            guard track.hasTakers else { return }
            for block in unsafe decoding.decode(frame) {
                meter.note(block)
                track.deliver(block)
            }
            counter.decoded.wrappingAdd(1, ordering: .relaxed)
        }
    }

    func receive(_ frame: ReceivedFrame) {
        receiver.deliver(RTCEncodedFrame(frame))
        worker.submit(frame)
    }

    func fill(_ entry: inout RTCStatsReport.InboundRTP) {
        entry.framesDecoded = counter.decoded.load(ordering: .relaxed)
        let reading = meter.reading
        entry.audioLevel = reading.level
        entry.totalAudioEnergy = reading.energy
        entry.totalSamplesDuration = reading.duration
    }

    func stop() { worker.stop() }
}

private final class AudioDecoding {
    private var opus: OpusDecoder?
    /// Lost blocks that are made up for at most: after 100 ms of guessing silence is better.
    private static let concealLimit = 5

    func decode(_ frame: ReceivedFrame) -> [AudioFrame] {
        switch frame.codec {
        case .opus: return decodeOpus(frame)
        case .pcmu: return [block(G711.muLaw.decode(frame.payload), rate: 8_000, channels: 1, frame)]
        case .pcma: return [block(G711.aLaw.decode(frame.payload), rate: 8_000, channels: 1, frame)]
        case .vp8, .h264: return []
        }
    }

    private func decodeOpus(_ frame: ReceivedFrame) -> [AudioFrame] {
        if opus == nil { opus = try? OpusDecoder(channelCount: 2) }
        guard let opus else { return [] }
        var blocks: [AudioFrame] = []
        let lost = min(frame.lostBefore, Self.concealLimit)
        for index in 0..<max(0, lost) {
            // The last lost block is in the redundancy of this packet.
            if let samples = try? opus.conceal(next: index == lost - 1 ? frame.payload : nil) {
                blocks.append(block(samples, rate: 48_000, channels: 2, frame))
            }
        }
        if let samples = try? opus.decode(frame.payload) {
            blocks.append(block(samples, rate: 48_000, channels: 2, frame))
        }
        return blocks
    }

    private func block(_ samples: [Int16], rate: Int, channels: Int, _ frame: ReceivedFrame) -> AudioFrame {
        AudioFrame(
            samples: samples,
            sampleRate: rate,
            channelCount: channels,
            timestampNanoseconds: frame.receiveTime.nanoseconds
        )
    }
}
