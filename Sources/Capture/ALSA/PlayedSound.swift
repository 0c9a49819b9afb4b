internal import Locking
public import Media

/// What this process plays, for those who take its echo out of a microphone's sound.
///
/// Loudspeakers put in what they write to the card, with the time at which it will be heard; a microphone's thread takes
/// out what was heard when its block was captured. A second is kept; the lock is held for the copy of a block, and the
/// network knows nothing of it. Of several loudspeakers the one that was started last counts.
public final class PlayedSound: Sendable {
    /// What ``ALSASpeaker`` plays.
    public static let shared = PlayedSound()

    /// A loudspeaker that puts sound in.
    package struct Speaker: Hashable, Sendable { fileprivate let key: Int }

    private struct State {
        /// The last second, of one channel at 48 kHz; sample `n` of all is at `n` modulo the capacity.
        var ring = [Int16](repeating: 0, count: PlayedSound.capacity)
        /// Samples put in so far, pauses included.
        var end: Int64 = 0
        /// When the sample after the last one will be heard, in nanoseconds of the monotonic clock; nil before any.
        var endHeard: Int64?
        /// Grows when the times leap.
        var epoch = 0
        var speakers: [Int] = []
        var nextKey = 0
        var resampler: Resampler?
    }

    private static let capacity = 48_000
    /// Of a block that is put in, the first second counts.
    private static let blockLimit = 192_000
    /// By how much the times that a card tells tremble, in nanoseconds.
    private static let trembling: Int64 = 15_000_000
    /// A longer pause is no pause of the same sound.
    private static let pauseLimit: Int64 = 1_000_000_000
    /// By how much earlier what is played is taken than it is heard, in nanoseconds: times that are wrong by less leave
    /// the echo behind its cause.
    package static let lead: Int64 = 20_000_000

    private let state = Mutex(State())

    /// Nothing is played yet.
    public init() {}

    // MARK: Loudspeakers

    /// A loudspeaker begins to play; what others put in counts no more, until it ends.
    package func begin() -> Speaker {
        state.withLock { state in
            defer { state.nextKey += 1 }
            state.speakers.append(state.nextKey)
            return Speaker(key: state.nextKey)
        }
    }

    /// A loudspeaker plays nothing more.
    package func end(_ speaker: Speaker) { state.withLock { $0.speakers.removeAll { $0 == speaker.key } } }

    /// Puts in what a loudspeaker plays next.
    ///
    /// - Parameters:
    ///   - samples: interleaved.
    ///   - sampleRate: of them, 8 000 to 192 000.
    ///   - channelCount: of them.
    ///   - heard: when the first of them will be heard, in nanoseconds of the monotonic clock.
    ///   - speaker: who plays them.
    package func put(_ samples: [Int16], sampleRate: Int, channelCount: Int, heard: Int64, by speaker: Speaker) {
        state.withLock { state in
            guard state.speakers.last == speaker.key else { return }
            Self.append(samples, sampleRate, channelCount, heard, to: &state)
        }
    }

    /// Tells what a program plays by means of its own, so that microphones lose its echo, too.
    ///
    /// It counts while no ``ALSASpeaker`` runs.
    ///
    /// - Parameters:
    ///   - frame: any rate and number of channels; no longer than a second.
    ///   - heard: when its first sample will be heard, in nanoseconds of the monotonic clock.
    public func put(_ frame: AudioFrame, heardNanoseconds heard: Int64) {
        state.withLock { state in
            guard state.speakers.isEmpty else { return }
            Self.append(frame.samples, frame.sampleRate, frame.channelCount, heard, to: &state)
        }
    }

    private static func append(
        _ samples: [Int16],
        _ sampleRate: Int,
        _ channelCount: Int,
        _ heard: Int64,
        to state: inout State
    ) {
        guard channelCount > 0, (8_000...192_000).contains(sampleRate) else { return }
        let count = min(samples.count / channelCount, sampleRate, blockLimit)
        guard count > 0 else { return }
        place(heard, in: &state)
        state.endHeard = heard &+ Int64(count) * 1_000_000_000 / Int64(sampleRate)
        guard sampleRate != VoiceProcessor.sampleRate else {
            for index in 0..<count { push(mono(samples, index, channelCount), &state) }
            return
        }
        if state.resampler?.inputRate != sampleRate {
            state.resampler = Resampler(inputRate: sampleRate, outputRate: VoiceProcessor.sampleRate, channelCount: 1)
        }
        let mixed = (0..<count).map { mono(samples, $0, channelCount) }
        for sample in state.resampler?.process(mixed) ?? [] { push(sample, &state) }
    }

    /// Puts in silence for a time in which nothing was played.
    private static func place(_ heard: Int64, in state: inout State) {
        guard let end = state.endHeard else { return }
        let gap = heard &- end
        guard gap.magnitude > trembling.magnitude else { return }
        guard gap > 0, gap <= pauseLimit else {
            // Sound that will not be heard as it was told, or a long time without any.
            state.epoch += 1
            for index in state.ring.indices { state.ring[index] = 0 }
            return
        }
        for _ in 0..<(gap * Int64(VoiceProcessor.sampleRate) / 1_000_000_000) { push(0, &state) }
    }

    /// The first two channels' average: further ones are silent.
    private static func mono(_ samples: [Int16], _ index: Int, _ channelCount: Int) -> Int16 {
        guard channelCount > 1 else { return samples[index] }
        let (left, right) = (Int(samples[index * channelCount]), Int(samples[index * channelCount + 1]))
        return Int16(clamping: (left + right) / 2)
    }

    private static func push(_ sample: Int16, _ state: inout State) {
        state.ring[Int(state.end % Int64(capacity))] = sample
        state.end += 1
    }

    // MARK: Microphones

    /// Gives a microphone's thread what was heard when its blocks were captured, in step with its clock.
    package struct Reader {
        private let sound: PlayedSound
        private var alignment = PlayedAlignment()
        private var epoch = 0

        init(_ sound: PlayedSound) { self.sound = sound }

        /// By how much faster the loudspeaker's clock was found to be than the microphone's.
        package var drift: Double { alignment.rate }

        /// Fills a block of 480 samples with what is heard 20 ms after it was captured, silence where nothing is.
        ///
        /// Early by 20 ms, so that the echo comes after it also where the devices' times are wrong.
        ///
        /// - Parameters:
        ///   - block: overwritten; of another length it becomes silence.
        ///   - captured: when the first sample of the microphone's next block was heard, in nanoseconds of the monotonic
        ///     clock.
        package mutating func read(_ block: inout [Int16], captured: Int64) {
            sound.read(&block, captured: captured, &alignment, &epoch)
        }
    }

    /// Reads what is played.
    package func makeReader() -> Reader { Reader(self) }

    private func read(_ block: inout [Int16], captured: Int64, _ alignment: inout PlayedAlignment, _ epoch: inout Int) {
        state.withLock { state in
            guard let endHeard = state.endHeard, block.count == PlayedAlignment.block else {
                for index in block.indices { block[index] = 0 }
                return
            }
            if epoch != state.epoch {
                epoch = state.epoch
                alignment.restart()
            }
            // Within a day: times of a program's own may be anything, and must not lose a Double's precision.
            let ahead = min(max((captured &+ Self.lead) &- endHeard, -86_400_000_000_000), 86_400_000_000_000)
            let place = alignment.next(
                target: Double(state.end) + Double(ahead) * Double(VoiceProcessor.sampleRate) / 1e9
            )
            for index in block.indices {
                block[index] = Self.sample(place.position + Double(index) * place.step, state)
            }
        }
    }

    /// What is played at a place between two samples, by the cubic through the four around it.
    private static func sample(_ place: Double, _ state: borrowing State) -> Int16 {
        let whole = place.rounded(.down)
        let part = place - whole
        let first = Int64(whole)
        guard part > 0 else { return sample(at: first, state) }
        let (a, b) = (Double(sample(at: first - 1, state)), Double(sample(at: first, state)))
        let (c, d) = (Double(sample(at: first + 1, state)), Double(sample(at: first + 2, state)))
        let value =
            -part * (part - 1) * (part - 2) / 6 * a + (part + 1) * (part - 1) * (part - 2) / 2 * b
            - (part + 1) * part * (part - 2) / 2 * c + (part + 1) * part * (part - 1) / 6 * d
        return Int16(clamping: Int(value.rounded()))
    }

    private static func sample(at index: Int64, _ state: borrowing State) -> Int16 {
        guard index >= 0, index < state.end, index >= state.end - Int64(capacity) else { return 0 }
        return state.ring[Int(index % Int64(capacity))]
    }
}
