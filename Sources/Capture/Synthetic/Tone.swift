internal import Glibc
public import Media

/// A sine tone at 48 kHz, mono, in blocks of 20 ms.
public final class Tone: AudioSource {
    /// Hertz.
    public let frequency: Double
    /// Peak, 0 to 32 767.
    public let amplitude: Double
    /// `tone`.
    public let label = "tone"
    private let thread = ThreadSlot()

    /// A tone.
    ///
    /// - Parameters:
    ///   - frequency: 20 ... 20 000 Hz; others are clamped.
    ///   - amplitude: peak, 0 ... 32 767; others are clamped.
    public init(frequency: Double = 440, amplitude: Double = 8_000) {
        self.frequency = min(max(frequency, 20), 20_000)
        self.amplitude = min(max(amplitude, 0), 32_767)
    }

    /// Starts at phase 0.
    public func start(deliver: @escaping @Sendable (AudioFrame) -> Void) throws {
        let new = try ScheduledThread(name: "tone", subject: label, intervalNanoseconds: 20_000_000) {
            [weak self] index, time in
            guard let self else { return false }
            deliver(self.block(index, timestampNanoseconds: time))
            return true
        }
        thread.replace(with: new)
    }

    /// Stops.
    public func stop() { thread.stop() }

    /// Block number `index`.
    public func block(_ index: Int, timestampNanoseconds: Int64) -> AudioFrame {
        let step = 2 * Double.pi * frequency / 48_000
        let (turn, stay) = (sin(step), cos(step))
        // By rotation from one sample to the next: a sine for each would cost a tenth of their encoding.
        var (sine, cosine) = (sin(step * Double(index * 960)), cos(step * Double(index * 960)))
        var samples: [Int16] = []
        samples.reserveCapacity(960)
        for _ in 0..<960 {
            samples.append(Int16(amplitude * sine))
            (sine, cosine) = (sine * stay + cosine * turn, cosine * stay - sine * turn)
        }
        return AudioFrame(
            samples: samples,
            sampleRate: 48_000,
            channelCount: 1,
            timestampNanoseconds: timestampNanoseconds
        )
    }

    /// The loudest frequency of `samples` (one channel) in Hz within a range, to half the step.
    public static func dominantFrequency(
        _ samples: [Int16],
        sampleRate: Int,
        range: ClosedRange<Double> = 100...4_000,
        step: Double = 5
    ) -> Double {
        var best = (frequency: 0.0, power: -1.0)
        for frequency in stride(from: range.lowerBound, through: range.upperBound, by: step) {
            // Goertzel's algorithm.
            let coefficient = 2 * cos(2 * Double.pi * frequency / Double(sampleRate))
            var (before, last) = (0.0, 0.0)
            for sample in samples { (before, last) = (last, Double(sample) + coefficient * last - before) }
            let power = before * before + last * last - coefficient * before * last
            if power > best.power { best = (frequency, power) }
        }
        return best.frequency
    }
}
