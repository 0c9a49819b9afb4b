internal import CSpeexDSP

/// One channel of a microphone: speexdsp's echo canceller, and its preprocessor for what is left of the echo, for noise
/// and level.
@safe final class VoiceChannel {
    private let echo: OpaquePointer  // SpeexEchoState *
    private let preprocessor: OpaquePointer  // SpeexPreprocessState *
    /// What was played, what was heard and what is left of it: three blocks, freed in `deinit`.
    private let played: UnsafeMutablePointer<Int16>
    private let heard: UnsafeMutablePointer<Int16>
    private let clean: UnsafeMutablePointer<Int16>
    /// Means of squares of the three, over the last seconds with something played.
    private var meanPlayed = 0.0
    private var meanHeard = 0.0
    private var meanLeft = 0.0
    /// Blocks in a row that the canceller made louder.
    private var worseCount = 0

    private static let block = VoiceProcessor.samplesPerBlock
    /// How much even noise is weakened, in decibels.
    private static let noiseSuppression: Int32 = -18
    /// How much of the echo that the canceller leaves is weakened, in decibels: while nobody speaks here, and while
    /// somebody does.
    private static let echoSuppression: (Int32, Int32) = (-40, -15)
    /// The level to come to, in the library's measure of loudness (speech near -20 dBFS), and the most that sound is
    /// raised, in decibels.
    private static let (gainTarget, gainLimit): (Int32, Int32) = (24_000, 12)
    /// Below it nothing counts as played, as a mean of squares, full scale being 1: -60 dBFS.
    private static let audible = 1e-6
    /// Above it the microphone is overdriven, and no echo can be found in it: -5 dBFS.
    private static let overdriven = 0.3
    /// The weight of a block in the means: two seconds of sound.
    private static let weight = 1.0 / 200
    /// The library begins anew by itself after 50 such blocks, and writes a line to standard error, which is ours.
    private static let worseLimit = 25
    /// Blocks in a row to whose heights the canceller added: what the library counts by itself, to 50.
    private var addedCount = 0
    private static let addedLimit = 40
    /// A mean of squares: half of what the library counts from (`N * 10000` for a block, speexdsp's mdf.c).
    private static let added = 0.5 * 960 * 10_000 / 480 / (32_768.0 * 32_768.0)

    init(_ options: VoiceProcessor.Options) throws(MediaError) {
        let length = VoiceProcessor.sampleRate / 1_000 * VoiceProcessor.echoMilliseconds
        guard let echo = unsafe speex_echo_state_init(Int32(Self.block), Int32(length)) else { throw Self.noMemory }
        guard let state = unsafe speex_preprocess_state_init(Int32(Self.block), Int32(VoiceProcessor.sampleRate)) else {
            unsafe speex_echo_state_destroy(echo)
            throw Self.noMemory
        }
        unsafe self.echo = echo
        unsafe preprocessor = state
        unsafe played = .allocate(capacity: Self.block)
        unsafe heard = .allocate(capacity: Self.block)
        unsafe clean = .allocate(capacity: Self.block)
        unsafe played.initialize(repeating: 0, count: Self.block)
        unsafe heard.initialize(repeating: 0, count: Self.block)
        unsafe clean.initialize(repeating: 0, count: Self.block)
        _ = unsafe cspeexdsp_speex_echo_ctl_set(echo, SPEEX_ECHO_SET_SAMPLING_RATE, Int32(VoiceProcessor.sampleRate))
        // What suppresses noise suppresses what is left of the echo, too, so it is always on.
        set(SPEEX_PREPROCESS_SET_DENOISE, 1)
        set(SPEEX_PREPROCESS_SET_ECHO_SUPPRESS, Self.echoSuppression.0)
        set(SPEEX_PREPROCESS_SET_ECHO_SUPPRESS_ACTIVE, Self.echoSuppression.1)
        set(SPEEX_PREPROCESS_SET_AGC_TARGET, Self.gainTarget)
        set(SPEEX_PREPROCESS_SET_AGC_MAX_GAIN, Self.gainLimit)
        apply(options, before: .none)
    }

    deinit {
        unsafe speex_preprocess_state_destroy(preprocessor)
        unsafe speex_echo_state_destroy(echo)
        unsafe played.deallocate()
        unsafe heard.deallocate()
        unsafe clean.deallocate()
    }

    private static var noMemory: MediaError { MediaError(.notUsable, "sound processing", "no memory for it") }

    func apply(_ options: VoiceProcessor.Options, before: VoiceProcessor.Options) {
        if options.echoCancellation, !before.echoCancellation {
            forget()
            (meanPlayed, meanHeard, meanLeft) = (0, 0, 0)
        }
        _ = unsafe cspeexdsp_speex_preprocess_set_echo_state(preprocessor, options.echoCancellation ? echo : nil)
        set(SPEEX_PREPROCESS_SET_NOISE_SUPPRESS, options.noiseSuppression ? Self.noiseSuppression : 0)
        set(SPEEX_PREPROCESS_SET_AGC, options.autoGainControl ? 1 : 0)
    }

    private func set(_ request: Int32, _ value: Int32) {
        _ = unsafe cspeexdsp_speex_preprocess_ctl_set(preprocessor, request, value)
    }

    /// Learns the room anew.
    private func forget() {
        unsafe speex_echo_state_reset(echo)
        (worseCount, addedCount) = (0, 0)
    }

    /// Cleans every `count`-th of `count` blocks' samples from `place` on.
    ///
    /// `far` is a block that is played, of one channel; another number of samples is silence.
    func process(
        _ samples: UnsafeMutableBufferPointer<Int16>,
        at place: Int,
        of count: Int,
        played far: UnsafeBufferPointer<Int16>,
        _ options: VoiceProcessor.Options
    ) {
        let isPlayed = far.count == Self.block
        for index in 0..<Self.block {
            unsafe heard[index] = samples[index * count + place]
            // Half: the library gives up what is louder than a full-scale sine, which the other side may send.
            unsafe played[index] = isPlayed ? far[index] / 2 : 0
        }
        let energy = unsafe Self.energy(heard)
        if options.echoCancellation, energy < Self.overdriven {
            unsafe speex_echo_cancellation(echo, heard, played, clean)
            // A hum may hide it from the comparison below.
            let isAdded = unsafe Self.heights(clean) > Self.heights(heard) + Self.added
            addedCount = isAdded ? addedCount + 1 : 0
        } else {
            unsafe clean.update(from: heard, count: Self.block)
        }
        let cancelled = unsafe Self.energy(clean)
        // A microphone that is switched off by a key, or a loudspeaker by its knob: what was learnt is wrong.
        worseCount = cancelled > 1.5 * energy + 1e-9 ? worseCount + 1 : 0
        if worseCount >= Self.worseLimit || addedCount >= Self.addedLimit { forget() }
        _ = unsafe speex_preprocess_run(preprocessor, clean)
        guard options.isActive else { return }
        if options.echoCancellation { note(heard: energy) }
        for index in 0..<Self.block { unsafe samples[index * count + place] = clean[index] }
    }

    private func note(heard energy: Double) {
        let far = unsafe 4 * Self.energy(played)
        guard far > Self.audible else { return }
        meanPlayed += (far - meanPlayed) * Self.weight
        meanHeard += (energy - meanHeard) * Self.weight
        meanLeft += (unsafe Self.energy(clean) - meanLeft) * Self.weight
    }

    /// The mean of the squares of a block, full scale being 1.
    private static func energy(_ samples: UnsafeMutablePointer<Int16>) -> Double {
        unsafe SoundLevel.energy(UnsafeBufferPointer(start: samples, count: block)) / Double(block)
    }

    /// Of the means: see ``VoiceProcessor/echoReturn``.
    var echoReturn: (loss: Double, enhancement: Double)? {
        guard meanPlayed > 0, meanHeard > 0 else { return nil }
        let heard = SoundLevel.decibels(meanSquare: meanHeard)
        return (
            SoundLevel.decibels(meanSquare: meanPlayed) - heard, heard - SoundLevel.decibels(meanSquare: meanLeft)
        )
    }

    /// The same of what differs from one sample to the next, as the canceller weighs sound.
    private static func heights(_ samples: UnsafeMutablePointer<Int16>) -> Double {
        var sum = 0.0
        for index in 1..<block {
            let difference = unsafe Double(samples[index]) - 0.9 * Double(samples[index - 1])
            sum += difference * difference
        }
        return sum / Double(block) / (32_768.0 * 32_768.0)
    }

    /// How likely speech is in the block that was processed last, in percent; 0 in one that nobody can hear.
    var voiceLikelihood: Int {
        guard unsafe Self.energy(clean) > Self.audible else { return 0 }
        var likelihood: Int32 = 0
        _ = unsafe cspeexdsp_speex_preprocess_ctl_get(preprocessor, SPEEX_PREPROCESS_GET_PROB, &likelihood)
        return Int(likelihood)
    }
}
