internal import Glibc

/// A generator of random numbers that always gives the same ones.
public struct SceneGenerator {
    private var state: UInt64

    /// Another seed gives other numbers.
    public init(seed: UInt64) { state = seed }

    /// 64 random bits.
    public mutating func bits() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }

    /// Evenly spread from 0 to 1.
    public mutating func uniform() -> Double { Double(bits() >> 11) / 9_007_199_254_740_992.0 }

    /// Evenly spread over a range.
    public mutating func uniform(_ range: ClosedRange<Double>) -> Double {
        range.lowerBound + uniform() * (range.upperBound - range.lowerBound)
    }

    /// Normally distributed, of variance 1.
    public mutating func normal() -> Double {
        (-2 * log(max(1e-12, uniform()))).squareRoot() * cos(2 * .pi * uniform())
    }
}

/// Sound that is to a canceller what speech is: syllables of pulses and noise through moving resonances, with pauses.
public enum SpeechLike {
    /// - Parameters:
    ///   - seconds: its length.
    ///   - pitch: of the voice in Hz, as 110 or 200.
    ///   - seed: another one speaks otherwise.
    /// - Returns: samples at 48 kHz of a level near -20 dBFS while it speaks.
    public static func samples(seconds: Double, pitch: Double, seed: UInt64) -> [Float] {
        var random = SceneGenerator(seed: seed)
        let count = Int(seconds * 48_000)
        var result: [Float] = []
        result.reserveCapacity(count)
        var syllables = 0
        var phase = 0.0
        while result.count < count {
            // Two to three seconds of phrase, then a breath.
            if syllables == 0 {
                result += repeatElement(0, count: Int(random.uniform(0.15...0.4) * 48_000))
                syllables = Int(random.uniform(8...14))
            }
            syllables -= 1
            let isVoiced = random.uniform() < 0.8
            let length = Int(random.uniform(0.11...0.22) * 48_000)
            let height = pitch * random.uniform(0.85...1.2)
            let formants =
                isVoiced
                ? [
                    (random.uniform(280...800), 90.0, 1.0), (random.uniform(900...2_300), 120, 0.6),
                    (random.uniform(2_300...3_200), 180, 0.3),
                ] : [(random.uniform(3_500...6_500), 900, 1.5)]
            var resonators = formants.map { Resonator(frequency: $0.0, bandwidth: $0.1, gain: $0.2) }
            for index in 0..<length {
                let place = Double(index) / Double(length)
                let envelope = sin(.pi * place) * sin(.pi * place)
                var source: Double
                if isVoiced {
                    phase += height * (1 - 0.08 * place) / 48_000
                    source = 0.02 * random.normal()
                    if phase >= 1 {
                        phase -= 1
                        source += 8
                    }
                } else {
                    source = 0.3 * random.normal()
                }
                var sample = 0.0
                for number in resonators.indices { sample += resonators[number].next(source) }
                result.append(Float(sample * envelope))
            }
        }
        return Array(result[..<count]).scaled(toLevel: -20)
    }

    private struct Resonator {
        let (a, b, gain): (Double, Double, Double)
        var (one, two) = (0.0, 0.0)

        init(frequency: Double, bandwidth: Double, gain: Double) {
            let radius = exp(-.pi * bandwidth / 48_000)
            a = 2 * radius * cos(2 * .pi * frequency / 48_000)
            b = -radius * radius
            self.gain = gain * (1 - radius)
        }

        mutating func next(_ input: Double) -> Double {
            let output = gain * input + a * one + b * two
            two = one
            one = output
            return output
        }
    }
}

extension [Float] {
    /// The level while there is any sound, in decibels of full scale: of blocks within 30 dB of the loudest.
    public var activeLevel: Double {
        let blocks = stride(from: 0, to: Swift.max(0, count - 959), by: 960).map { self[$0..<($0 + 960)].meanSquare }
        let loudest = blocks.max() ?? 0
        let active = blocks.filter { $0 > loudest / 1_000 }
        guard loudest > 0, !active.isEmpty else { return -127 }
        return 10 * log10(active.reduce(0, +) / Double(active.count))
    }

    /// The same sound at another level.
    public func scaled(toLevel level: Double) -> [Float] {
        let factor = Float(pow(10, (level - activeLevel) / 20))
        return map { $0 * factor }
    }

    /// As 16-bit samples.
    public var pcm: [Int16] { map { Int16(clamping: Int((Swift.min(2, Swift.max(-2, $0)) * 32_768).rounded())) } }
}

extension ArraySlice<Float> {
    /// The mean of the squares.
    public var meanSquare: Double {
        guard !isEmpty else { return 0 }
        var sum: Float = 0
        for sample in self { sum += sample * sample }
        return Double(sum) / Double(count)
    }
}
