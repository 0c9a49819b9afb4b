import Glibc
import Media
import Testing

/// What another sample rate must not add to a sound, nor take from it.
@Suite struct Resampling {
    private func tone(_ frequency: Double, rate: Int, seconds: Int = 1) -> [Int16] {
        (0..<(rate * seconds)).map { Int16(10_000 * sin(2 * Double.pi * frequency * Double($0) / Double(rate))) }
    }

    /// The sound at another rate, without what begins and ends it.
    private func resampled(_ samples: [Int16], from rate: Int, to other: Int) -> [Int16] {
        var resampler = Resampler(inputRate: rate, outputRate: other, channelCount: 1)
        var result: [Int16] = []
        for start in stride(from: 0, to: samples.count, by: rate / 50) {
            result += resampler.process(Array(samples[start..<min(start + rate / 50, samples.count)]))
        }
        return Array(result.dropFirst(other / 20).dropLast(other / 20))
    }

    @Test(arguments: [
        (48_000, 8_000, 7_000.0), (48_000, 16_000, 15_000), (44_100, 8_000, 5_000), (96_000, 48_000, 30_000),
    ])
    func `What the lower rate cannot hold is gone, not heard as something else`(from: Int, to: Int, frequency: Double) {
        #expect(level(resampled(tone(frequency, rate: from), from: from, to: to)) < 10)
    }

    @Test(arguments: [
        (8_000, 48_000, 3_000.0), (16_000, 48_000, 7_000), (22_050, 48_000, 9_000), (44_100, 48_000, 18_000),
        (48_000, 44_100, 18_000), (48_000, 16_000, 6_500), (48_000, 8_000, 3_000), (96_000, 48_000, 18_000),
    ])
    func `What both rates hold stays as it is`(from: Int, to: Int, frequency: Double) {
        let before = tone(frequency, rate: from)
        let after = resampled(before, from: from, to: to)
        #expect(abs(level(after) - level(before)) < level(before) * 0.02)
        #expect(signalToNoise(after, frequency: frequency, sampleRate: to) > 50)
    }

    @Test func `Odd and absurd rates are no harm`() {
        for (rate, other) in [(44_101, 47_999), (1, 48_000), (0, 48_000), (-5, 48_000), (.max, 48_000), (48_000, .max)]
        {
            var resampler = Resampler(inputRate: rate, outputRate: other, channelCount: 2)
            #expect(resampler.inputRate == max(1, rate) && resampler.outputRate == max(1, other))
            #expect(resampler.process(Array(repeating: 100, count: 960)).count < 960 * 100)
            #expect(resampler.process([1]).isEmpty)
        }
        var resampler = Resampler(inputRate: 44_101, outputRate: 47_999, channelCount: 1)
        let count = (0..<100).reduce(0) { count, _ in count + resampler.process(Array(repeating: 5, count: 441)).count }
        #expect(abs(count - 44_100 * 47_999 / 44_101) <= 1)
    }

    @Test func `A full scale tone is clipped, and does not wrap`() {
        let loud = (0..<8_000).map { $0 / 8 % 2 == 0 ? Int16.max : Int16.min }
        let result = resampled(loud, from: 8_000, to: 48_000)
        // The overshoot of a square wave's edge is cut off on its own side.
        #expect(zip(result, result.dropFirst()).allSatisfy { abs(Int($0) - Int($1)) < 32_768 })
    }
}
