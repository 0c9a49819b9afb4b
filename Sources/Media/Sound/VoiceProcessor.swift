internal import CSpeexDSP

/// Makes the sound of a microphone fit for a call: without the echo of what the loudspeaker plays, without noise, at an
/// even level.
///
/// Blocks of 10 ms at 48 kHz go in and come out; it reads no clock and knows no device: each block of the microphone comes
/// with what was played when it was heard, or shortly before. It holds speexdsp's canceller and preprocessor; why those,
/// docs/SOUND.md has the figures. No block allocates memory. Belongs to one thread at a time.
public final class VoiceProcessor {
    /// What is done to the sound.
    public struct Options: Hashable, Sendable {
        /// Whether the echo of what the loudspeaker plays is taken out.
        public var echoCancellation: Bool
        /// Whether even noise, as a fan's, is taken out.
        public var noiseSuppression: Bool
        /// Whether the level is kept even.
        public var autoGainControl: Bool

        /// Everything, as in browsers, unless told otherwise.
        public init(echoCancellation: Bool = true, noiseSuppression: Bool = true, autoGainControl: Bool = true) {
            self.echoCancellation = echoCancellation
            self.noiseSuppression = noiseSuppression
            self.autoGainControl = autoGainControl
        }

        /// Nothing is done.
        public static var none: Options {
            Options(echoCancellation: false, noiseSuppression: false, autoGainControl: false)
        }

        /// Whether anything is done.
        public var isActive: Bool { echoCancellation || noiseSuppression || autoGainControl }
    }

    /// What a block was found to be.
    public struct Analysis: Hashable, Sendable {
        /// Whether somebody speaks in it.
        public var hasVoice: Bool
        /// Its level after processing, in decibels below full scale: 0 for a full-scale square wave, -127 for silence.
        public var level: Double
    }

    /// Samples a second and channel.
    public static let sampleRate = 48_000
    /// Samples of a block in each channel.
    public static let samplesPerBlock = 480
    /// The longest time from a sound that is told as played to the end of its echo, in milliseconds.
    public static let echoMilliseconds = 120

    /// Channels of the microphone, 1 or 2.
    public let channelCount: Int
    private var channels: [VoiceChannel] = []
    private var applied: Options
    /// Whether the block before had voice: it takes more to begin than to go on.
    private var hadVoice = false
    /// How likely speech must be, in percent, to begin and to go on: even noise is at 35 to 55, speech at 90 and more.
    private static let voiceLimits: (begin: Int, goOn: Int) = (85, 65)

    /// A processor for microphones of one or two channels.
    ///
    /// - Throws: `MediaError.invalidArgument` for other numbers of channels, `.notUsable` without memory.
    public init(channelCount: Int = 1, options: Options = Options()) throws(MediaError) {
        guard channelCount == 1 || channelCount == 2 else {
            throw MediaError(.invalidArgument, "sound processing", "\(channelCount) channels: 1 or 2 can be processed")
        }
        self.channelCount = channelCount
        applied = options
        for _ in 0..<channelCount { channels.append(try VoiceChannel(options)) }
    }

    /// What is done; may change between any two blocks.
    ///
    /// Echo cancellation that is turned on learns the room anew, within a second or two of sound.
    public var options: Options {
        get { applied }
        set {
            guard newValue != applied else { return }
            for channel in channels { channel.apply(newValue, before: applied) }
            applied = newValue
        }
    }

    /// Cleans a block of the microphone in its place: 480 samples of each channel, interleaved.
    ///
    /// - Parameters:
    ///   - samples: changed in their place; left as they are if nothing is on, or their number is another.
    ///   - played: 480 samples of one channel that the loudspeaker played when these were heard, or shortly before:
    ///     their echo must begin in this block or up to ``echoMilliseconds`` later. Empty, or of another number, is
    ///     silence.
    /// - Returns: what was found; nil for a block of another length.
    public func process(_ samples: inout [Int16], played: [Int16]) -> Analysis? {
        guard samples.count == Self.samplesPerBlock * channelCount else { return nil }
        var likelihood = 0
        for index in 0..<channelCount {
            let channel = channels[index]
            unsafe samples.withUnsafeMutableBufferPointer { samples in
                unsafe played.withUnsafeBufferPointer { played in
                    unsafe channel.process(samples, at: index, of: channelCount, played: played, applied)
                }
            }
            likelihood = max(likelihood, channel.voiceLikelihood)
        }
        hadVoice = likelihood >= (hadVoice ? Self.voiceLimits.goOn : Self.voiceLimits.begin)
        return Analysis(hasVoice: hadVoice, level: SoundLevel.decibels(samples))
    }

    /// How much weaker than what is played the microphone's sound is, and how much weaker that is made, in decibels, over
    /// the last seconds in which something was played; nil before, or if no echo is taken out.
    ///
    /// What is said here counts as echo, so this is right while only the other side speaks.
    ///
    /// webrtc-stats, `echoReturnLoss` and `echoReturnLossEnhancement`
    public var echoReturn: (loss: Double, enhancement: Double)? {
        applied.echoCancellation ? channels.first?.echoReturn : nil
    }
}
