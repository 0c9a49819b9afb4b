internal import Capture
internal import Media

/// A microphone's sound on its way through a voice processor: any rate and length in, blocks of 10 ms at 48 kHz out.
///
/// What is played meanwhile is taken from ``PlayedSound``. Belongs to one thread at a time; reads no clock: what belongs
/// together follows from the times of what was captured and what is heard.
struct SoundProcessing {
    private let played: PlayedSound
    private var stage: Stage?
    /// What the library refused to process for, so that it is not asked for each block.
    private var refusedChannels: Int?

    /// A source's clock that leaps by more begins afresh, in nanoseconds.
    private static let leap: UInt64 = 500_000_000

    /// A processor and what waits for it, for sound of one shape.
    private struct Stage {
        let processor: VoiceProcessor
        let inputRate: Int
        var reader: PlayedSound.Reader
        var resampler: Resampler?
        /// Less than a block.
        var pending: [Int16] = []
        var block: [Int16]
        var far = [Int16](repeating: 0, count: VoiceProcessor.samplesPerBlock)
        var nextStart: Int64?
    }

    init(played: PlayedSound) { self.played = played }

    /// How much weaker the echo is, and is made; nil before there was any.
    var echoReturn: (loss: Double, enhancement: Double)? { stage?.processor.echoReturn }

    /// The blocks that a frame completes, as one frame of one or two channels at 48 kHz; nil if it completes none.
    mutating func process(_ frame: AudioFrame, _ options: VoiceProcessor.Options) -> AudioFrame? {
        guard (8_000...192_000).contains(frame.sampleRate), (1...2).contains(frame.channelCount),
            var stage = stage(for: frame, options)
        else { return frame }
        // Not held twice while it is changed.
        self.stage = nil
        defer { self.stage = stage }
        if let expected = stage.nextStart, (frame.timestampNanoseconds &- expected).magnitude > Self.leap {
            stage.pending = []
        }
        let duration = Int64(frame.sampleCount) * 1_000_000_000 / Int64(frame.sampleRate)
        stage.nextStart = frame.timestampNanoseconds &+ duration
        let channels = frame.channelCount
        let waited = Int64(stage.pending.count / channels)
        var start = frame.timestampNanoseconds &- waited * 1_000_000_000 / Int64(VoiceProcessor.sampleRate)
        // A sample of one channel alone is no sound.
        let samples = frame.samples.count % channels == 0 ? frame.samples : Array(frame.samples.dropLast())
        stage.pending += stage.resampler?.process(samples) ?? samples
        let size = VoiceProcessor.samplesPerBlock * channels
        let count = stage.pending.count / size
        guard count > 0 else { return nil }
        var result = AudioFrame(
            samples: [],
            sampleRate: VoiceProcessor.sampleRate,
            channelCount: channels,
            timestampNanoseconds: start,
            hasVoice: false
        )
        result.samples.reserveCapacity(count * size)
        for index in 0..<count {
            stage.reader.read(&stage.far, captured: start)
            for place in 0..<size { stage.block[place] = stage.pending[index * size + place] }
            let analysis = stage.processor.process(&stage.block, played: stage.far)
            if analysis?.hasVoice == true { result.hasVoice = true }
            result.samples += stage.block
            start &+= 10_000_000
        }
        stage.pending.removeFirst(count * size)
        return result
    }

    private mutating func stage(for frame: AudioFrame, _ options: VoiceProcessor.Options) -> Stage? {
        if let stage, stage.inputRate == frame.sampleRate, stage.processor.channelCount == frame.channelCount {
            stage.processor.options = options
            return stage
        }
        guard refusedChannels != frame.channelCount else { return nil }
        guard let processor = try? VoiceProcessor(channelCount: frame.channelCount, options: options) else {
            refusedChannels = frame.channelCount
            return nil
        }
        let isResampled = frame.sampleRate != VoiceProcessor.sampleRate
        return Stage(
            processor: processor,
            inputRate: frame.sampleRate,
            reader: played.makeReader(),
            resampler: isResampled
                ? Resampler(
                    inputRate: frame.sampleRate,
                    outputRate: VoiceProcessor.sampleRate,
                    channelCount: frame.channelCount
                ) : nil,
            block: Array(repeating: 0, count: VoiceProcessor.samplesPerBlock * frame.channelCount)
        )
    }
}
