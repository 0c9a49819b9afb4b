internal import CSpeexDSP

/// One channel of a microphone: speexdsp's echo canceller, and its preprocessor for what is left of the echo, for noise
/// and level.
@safe final class VoiceChannel {
    private let echo: OpaquePointer  // SpeexEchoState *
    private let preprocessor: OpaquePointer  // SpeexPreprocessState *
    private var heard = [Int16](repeating: 0, count: VoiceProcessor.samplesPerBlock)
    private var clean = [Int16](repeating: 0, count: VoiceProcessor.samplesPerBlock)
    /// Means of squares of what was played, heard, and left, over the last seconds with something played.
    private var energies: (played: Double, heard: Double, left: Double) = (0, 0, 0)

    /// How much even noise is weakened, in decibels.
    private static let noiseSuppression: Int32 = -18
    /// How much of the echo that the canceller leaves is weakened, in decibels: while nobody speaks here, and while
    /// somebody does.
    private static let echoSuppression: (Int32, Int32) = (-40, -15)
    /// The level to come to, in the library's measure of loudness, and the most that sound is raised, in decibels.
    private static let (gainTarget, gainLimit): (Int32, Int32) = (8_000, 12)
    /// Below it nothing counts as played, as a mean of squares, full scale being 1: -60 dBFS.
    private static let audible = 1e-6
    /// The weight of a block in the means: two seconds of sound.
    private static let weight = 1.0 / 200

    init(_ options: VoiceProcessor.Options) throws(MediaError) {
        let block = Int32(VoiceProcessor.samplesPerBlock)
        let length = VoiceProcessor.sampleRate / 1_000 * VoiceProcessor.echoMilliseconds
        guard let echo = unsafe speex_echo_state_init(block, Int32(length)) else { throw Self.noMemory }
        guard let preprocessor = unsafe speex_preprocess_state_init(block, Int32(VoiceProcessor.sampleRate)) else {
            unsafe speex_echo_state_destroy(echo)
            throw Self.noMemory
        }
        unsafe self.echo = echo
        unsafe self.preprocessor = preprocessor
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
    }

    private static var noMemory: MediaError { MediaError(.notUsable, "sound processing", "no memory for it") }

    func apply(_ options: VoiceProcessor.Options, before: VoiceProcessor.Options) {
        if options.echoCancellation, !before.echoCancellation {
            unsafe speex_echo_state_reset(echo)
            energies = (0, 0, 0)
        }
        _ = unsafe cspeexdsp_speex_preprocess_set_echo_state(preprocessor, options.echoCancellation ? echo : nil)
        set(SPEEX_PREPROCESS_SET_NOISE_SUPPRESS, options.noiseSuppression ? Self.noiseSuppression : 0)
        set(SPEEX_PREPROCESS_SET_AGC, options.autoGainControl ? 1 : 0)
    }

    private func set(_ request: Int32, _ value: Int32) {
        _ = unsafe cspeexdsp_speex_preprocess_ctl_set(preprocessor, request, value)
    }

    /// Cleans every `count`-th sample from `place` on.
    func process(
        _ samples: inout [Int16],
        at place: Int,
        of count: Int,
        played: [Int16],
        _ options: VoiceProcessor.Options
    ) {
        for index in heard.indices { heard[index] = samples[index * count + place] }
        if options.echoCancellation {
            unsafe clean.withUnsafeMutableBufferPointer { clean in
                unsafe speex_echo_cancellation(echo, heard, played, clean.baseAddress)
            }
        } else {
            for index in heard.indices { clean[index] = heard[index] }
        }
        _ = unsafe clean.withUnsafeMutableBufferPointer { clean in
            unsafe speex_preprocess_run(preprocessor, clean.baseAddress)
        }
        guard options.isActive else { return }
        if options.echoCancellation { note(played) }
        for index in clean.indices { samples[index * count + place] = clean[index] }
    }

    private func note(_ played: [Int16]) {
        let block = Double(VoiceProcessor.samplesPerBlock)
        let energy = SoundLevel.energy(played) / block
        guard energy > Self.audible else { return }
        energies.played += (energy - energies.played) * Self.weight
        energies.heard += (SoundLevel.energy(heard) / block - energies.heard) * Self.weight
        energies.left += (SoundLevel.energy(clean) / block - energies.left) * Self.weight
    }

    /// Of the means: see ``VoiceProcessor/echoReturn``.
    var echoReturn: (loss: Double, enhancement: Double)? {
        guard energies.played > 0, energies.heard > 0 else { return nil }
        let heard = SoundLevel.decibels(meanSquare: energies.heard)
        return (
            SoundLevel.decibels(meanSquare: energies.played) - heard,
            heard - SoundLevel.decibels(meanSquare: energies.left)
        )
    }

    /// How likely speech is in the block that was processed last, in percent.
    var voiceLikelihood: Int {
        var likelihood: Int32 = 0
        _ = unsafe cspeexdsp_speex_preprocess_ctl_get(preprocessor, SPEEX_PREPROCESS_GET_PROB, &likelihood)
        return Int(likelihood)
    }
}
