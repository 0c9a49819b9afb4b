/// A block of sound: 16-bit PCM, interleaved.
public struct AudioFrame: Hashable, Sendable {
    /// Samples, `sampleCount × channelCount` of them, channels interleaved.
    public var samples: [Int16]
    /// Samples a second and channel, 8 000 to 192 000.
    public var sampleRate: Int
    /// Channels, 1 or 2.
    public var channelCount: Int
    /// Capture time in nanoseconds of the monotonic clock.
    public var timestampNanoseconds: Int64
    /// Whether somebody speaks in it; nil where nobody has looked.
    public var hasVoice: Bool?

    /// A block with its parts.
    public init(
        samples: [Int16],
        sampleRate: Int,
        channelCount: Int,
        timestampNanoseconds: Int64,
        hasVoice: Bool? = nil
    ) {
        self.samples = samples
        self.sampleRate = sampleRate
        self.channelCount = max(1, channelCount)
        self.timestampNanoseconds = timestampNanoseconds
        self.hasVoice = hasVoice
    }

    /// Samples in each channel.
    public var sampleCount: Int { samples.count / channelCount }

    /// The same length of silence.
    public func silenced() -> AudioFrame {
        AudioFrame(
            samples: Array(repeating: 0, count: samples.count),
            sampleRate: sampleRate,
            channelCount: channelCount,
            timestampNanoseconds: timestampNanoseconds,
            hasVoice: hasVoice.map { _ in false }
        )
    }

    /// The block with another number of channels: mono is doubled, stereo averaged.
    public func withChannels(_ count: Int) -> AudioFrame {
        guard count != channelCount, count == 1 || count == 2 else { return self }
        var result = self
        result.channelCount = count
        if count == 2 {
            result.samples = samples.flatMap { [$0, $0] }
        } else {
            result.samples = (0..<sampleCount).map { index in
                let sum = (0..<channelCount).reduce(0) { $0 + Int(samples[index * channelCount + $1]) }
                return Int16(clamping: sum / channelCount)
            }
        }
        return result
    }
}
