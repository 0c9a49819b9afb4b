internal import Media

/// Adds the sound of several takers' inputs at the pace of a loudspeaker.
///
/// Each input has a buffer that absorbs jitter and the difference between two clocks, and is bounded in time.
struct SoundMixer {
    let sampleRate: Int
    let channelCount: Int
    private var inputs: [Int: Input] = [:]
    private var nextKey = 0

    /// What the buffers have done since the mixer was made.
    private(set) var statistics = Statistics()

    struct Statistics {
        /// How often an input ran dry.
        var underruns = 0
        /// Samples in each channel that were dropped because they came faster than they were played.
        var samplesDropped = 0
        /// From a block's arrival to the taking of its first sample.
        var delays = DelayHistogram()
    }

    /// Sound an input holds before it is played, in milliseconds: two blocks of 20 ms.
    static let targetMilliseconds = 40
    /// What an input holds at most; beyond it the oldest is dropped.
    static let limitMilliseconds = 200
    /// A deviation of the average fill from the target that is left alone.
    private static let marginMilliseconds = 15
    /// Calls with more participants than this lose the rest.
    private static let inputLimit = 64

    private struct Input {
        var queue = SampleQueue()
        var resampler: Resampler?
        var isPlaying = false
        /// Average of the fill, in samples of each channel.
        var level = 0.0
        /// When the blocks in the queue came.
        var arrivals = Arrivals()
    }

    /// When blocks came whose first sample still waits.
    private struct Arrivals {
        private var blocks: [(start: Int, nanoseconds: Int64)] = []
        /// Samples that have left the queue.
        private var takenCount = 0

        /// Notes a block that is appended to a queue of so many samples.
        mutating func put(at nanoseconds: Int64, behind count: Int) { blocks.append((takenCount + count, nanoseconds)) }

        /// Notes that samples leave the queue; calls `record` with the arrival of each block that begins among them.
        mutating func take(_ count: Int, _ record: (Int64) -> Void) {
            takenCount += count
            let begun = blocks.prefix { $0.start < takenCount }
            for block in begun { record(block.nanoseconds) }
            blocks.removeFirst(begun.count)
        }
    }

    init(sampleRate: Int, channelCount: Int) {
        self.sampleRate = max(8_000, sampleRate)
        self.channelCount = max(1, channelCount)
    }

    /// A new input; nil if there are too many.
    mutating func addInput() -> Int? {
        guard inputs.count < Self.inputLimit else { return nil }
        defer { nextKey += 1 }
        inputs[nextKey] = Input()
        return nextKey
    }

    mutating func removeInput(_ key: Int) { inputs[key] = nil }

    /// Queues sound of an input, at any rate and with one or two channels.
    mutating func put(_ frame: AudioFrame, into key: Int) {
        guard var input = inputs[key], (8_000...192_000).contains(frame.sampleRate),
            frame.sampleCount <= frame.sampleRate
        else { return }
        // Not held twice while it is changed.
        inputs[key] = nil
        let wanted = min(channelCount, 2)
        if input.resampler?.inputRate != frame.sampleRate {
            input.resampler = Resampler(inputRate: frame.sampleRate, outputRate: sampleRate, channelCount: wanted)
        }
        let held = input.queue.count
        input.queue.append(input.resampler?.process(frame.withChannels(wanted).samples) ?? [])
        if input.queue.count > held { input.arrivals.put(at: frame.timestampNanoseconds, behind: held) }
        let (limit, target) = (samples(Self.limitMilliseconds) * wanted, samples(Self.targetMilliseconds) * wanted)
        if input.queue.count > limit {
            statistics.samplesDropped += (input.queue.count - target) / wanted
            input.arrivals.take(input.queue.count - target) { _ in }
            input.queue.removeFirst(input.queue.count - target)
            input.level = Double(target / wanted)
        }
        inputs[key] = input
    }

    /// The next `count` samples of each channel, interleaved, of all inputs together.
    ///
    /// `now`, the time of the frames' clock, is for the statistics of delays; nil for none.
    mutating func mix(_ count: Int, at now: Int64? = nil) -> [Int16] {
        let wanted = min(channelCount, 2)
        var sum = [Int32](repeating: 0, count: count * wanted)
        for key in Array(inputs.keys) {
            guard var input = inputs.removeValue(forKey: key) else { continue }
            add(&input, to: &sum, count: count, channels: wanted, at: now)
            inputs[key] = input
        }
        guard channelCount != wanted else { return sum.map { Int16(clamping: $0) } }
        // Front left and right first, silence on the others.
        var result = [Int16](repeating: 0, count: count * channelCount)
        for index in 0..<count {
            for channel in 0..<wanted {
                result[index * channelCount + channel] = Int16(clamping: sum[index * wanted + channel])
            }
        }
        return result
    }

    private mutating func add(
        _ input: inout Input,
        to sum: inout [Int32],
        count: Int,
        channels: Int,
        at now: Int64?
    ) {
        let target = samples(Self.targetMilliseconds)
        let held = input.queue.count / channels
        if !input.isPlaying {
            guard held >= target else { return }
            input.isPlaying = true
            input.level = Double(held)
        }
        guard held > count else {
            // Too little: what is there is played, and the buffer fills again.
            note(held * channels, of: &input, at: now)
            for (index, sample) in input.queue.takeFirst(held * channels).enumerated() where index < sum.count {
                sum[index] += Int32(sample)
            }
            input.isPlaying = false
            statistics.underruns += 1
            return
        }
        input.level += (Double(held) - input.level) / 64
        // Clocks differ by some 0.01 %, and congestion leaves sound behind: one sample in a block more or less, evenly
        // spread, brings the fill back unheard.
        let margin = Double(samples(Self.marginMilliseconds))
        var taken = count
        if input.level > Double(target) + margin {
            taken += 1
        } else if input.level < Double(target) - margin {
            taken -= 1
        }
        let block = input.queue.peek((max(taken, count) + 1) * channels)
        if taken == count {
            for index in 0..<(count * channels) { sum[index] += Int32(block[index]) }
        } else {
            for index in 0..<count {
                let position = index * taken
                let (whole, part) = (position / count, position % count)
                for channel in 0..<channels {
                    let before = Int(block[whole * channels + channel])
                    let after = Int(block[min(whole + 1, block.count / channels - 1) * channels + channel])
                    sum[index * channels + channel] += Int32(before + (after - before) * part / count)
                }
            }
        }
        input.queue.removeFirst(taken * channels)
        note(taken * channels, of: &input, at: now)
    }

    private mutating func note(_ takenCount: Int, of input: inout Input, at now: Int64?) {
        input.arrivals.take(takenCount) { arrival in
            // A program's own times may be anything.
            if let now { statistics.delays.record(nanoseconds: now &- arrival) }
        }
    }

    private func samples(_ milliseconds: Int) -> Int { sampleRate * milliseconds / 1_000 }
}

/// Samples, first in first out.
struct SampleQueue {
    private var samples: [Int16] = []
    private var head = 0

    var count: Int { samples.count - head }

    mutating func append(_ new: [Int16]) {
        if head > samples.count / 2 {
            samples.removeFirst(head)
            head = 0
        }
        samples += new
    }

    /// The first `count` samples, with silence for what is missing.
    func peek(_ count: Int) -> [Int16] {
        let end = min(samples.count, head + count)
        let found = Array(samples[head..<end])
        return found.count == count ? found : found + Array(repeating: 0, count: count - found.count)
    }

    mutating func removeFirst(_ count: Int) { head = min(samples.count, head + max(0, count)) }

    mutating func takeFirst(_ count: Int) -> [Int16] {
        defer { removeFirst(count) }
        return peek(min(count, self.count))
    }
}
