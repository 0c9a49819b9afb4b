import Media
import Testing

@testable import Capture

/// The loudspeaker's mixer in virtual time: jitter, clocks that differ, bounds.
@Suite struct SoundMixing {
    private func block(_ value: Int16, milliseconds: Int = 20, rate: Int = 48_000, channels: Int = 1) -> AudioFrame {
        AudioFrame(
            samples: Array(repeating: value, count: rate * milliseconds / 1_000 * channels),
            sampleRate: rate,
            channelCount: channels,
            timestampNanoseconds: 0
        )
    }

    private func input(_ mixer: inout SoundMixer) throws -> Int {
        let key = mixer.addInput()
        return try #require(key)
    }

    @Test func `The delay of a block is from its arrival to the taking of its first sample`() throws {
        var mixer = SoundMixer(sampleRate: 48_000, channelCount: 1)
        let input = try input(&mixer)
        for (index, milliseconds) in [1_000, 1_025].enumerated() {
            let samples = Array(repeating: Int16(index), count: 960)
            let time = Int64(milliseconds) * 1_000_000
            mixer.put(
                AudioFrame(samples: samples, sampleRate: 48_000, channelCount: 1, timestampNanoseconds: time),
                into: input
            )
        }
        // The first block waits 30 ms, the second 30 - 25 + 20.
        for step in 0..<4 { _ = mixer.mix(480, at: 1_030_000_000 + Int64(step) * 10_000_000) }
        let delays = mixer.statistics.delays
        #expect(delays.count == 2)
        #expect(delays.percentile(0.5) == 25.5)
        #expect(delays.percentile(1) == 30.5)
        #expect(DelayHistogram().percentile(0.5) == nil)
        var others = DelayHistogram()
        for delay in [-1, 0, .max] as [Int64] { others.record(nanoseconds: delay) }
        #expect(others.count == 2)
        #expect(others.percentile(0) == 0.5)
        #expect(others.percentile(1) == 512)
        // What is empty leaves no trace.
        for _ in 0..<100 { mixer.put(block(1, milliseconds: 0), into: input) }
        _ = mixer.mix(480, at: 2_000_000_000)
        #expect(mixer.statistics.delays.count == 2)
    }

    @Test func `A program's own sound may have any time`() throws {
        var mixer = SoundMixer(sampleRate: 48_000, channelCount: 1)
        let input = try input(&mixer)
        for time in [Int64.min, .max, 0, .min] {
            let samples = Array(repeating: Int16(1), count: 1_920)
            mixer.put(
                AudioFrame(samples: samples, sampleRate: 48_000, channelCount: 1, timestampNanoseconds: time),
                into: input
            )
        }
        for _ in 0..<16 { _ = mixer.mix(480, at: 1_000_000_000) }
        // The one that came before it was taken.
        #expect(mixer.statistics.delays.count == 1)
    }

    @Test func `Sound is played after the buffer has filled, and all of it`() throws {
        var mixer = SoundMixer(sampleRate: 48_000, channelCount: 2)
        let input = try input(&mixer)
        #expect(mixer.mix(480) == Array(repeating: 0, count: 960))
        mixer.put(block(100), into: input)
        #expect(mixer.mix(480).allSatisfy { $0 == 0 })
        mixer.put(block(200), into: input)
        let played = (0..<4).flatMap { _ in mixer.mix(480) }
        #expect(played == Array(repeating: 100, count: 1_920) + Array(repeating: 200, count: 1_920))
    }

    @Test func `Inputs are added, clipped, and gone when they are removed`() throws {
        var mixer = SoundMixer(sampleRate: 48_000, channelCount: 1)
        let (one, two) = (try input(&mixer), try input(&mixer))
        for _ in 0..<3 {
            mixer.put(block(1_000), into: one)
            mixer.put(block(-300, channels: 2), into: two)
        }
        #expect(mixer.mix(480).allSatisfy { $0 == 700 })
        mixer.removeInput(one)
        #expect(mixer.mix(480).allSatisfy { $0 == -300 })
        let three = try input(&mixer)
        for _ in 0..<3 { mixer.put(block(-32_768), into: three) }
        #expect(mixer.mix(480).allSatisfy { $0 == -32_768 })
        mixer.put(block(1), into: 999)
    }

    @Test func `A tone passes through another rate`() throws {
        var mixer = SoundMixer(sampleRate: 44_100, channelCount: 1)
        let input = try input(&mixer)
        let tone = Tone(frequency: 440)
        var played: [Int16] = []
        for index in 0..<150 {
            mixer.put(tone.block(index, timestampNanoseconds: 0), into: input)
            for _ in 0..<2 { played += mixer.mix(441) }
        }
        let settled = Array(played[8_820..<(8_820 + 44_100)])
        #expect(signalToNoise(settled, frequency: 440, sampleRate: 44_100) > 30)
    }

    @Test(arguments: [-500, 0, 500]) func `Clocks that differ are followed without a click or a loss`(
        partsPerMillion: Int
    ) throws {
        var mixer = SoundMixer(sampleRate: 48_000, channelCount: 1)
        let input = try input(&mixer)
        let tone = Tone(frequency: 440)
        var (played, put): ([Int16], Int) = ([], 0)
        // A minute of the loudspeaker's clock; the sender's is a little fast or slow.
        for step in 0..<6_000 {
            let due = Double(step) * 0.01 * (1 + Double(partsPerMillion) / 1e6)
            while Double(put) * 0.02 <= due {
                mixer.put(tone.block(put % 50, timestampNanoseconds: 0), into: input)
                put += 1
            }
            let block = mixer.mix(480)
            if step > 100 { played += block }
        }
        #expect(mixer.statistics.underruns == 0)
        #expect(mixer.statistics.samplesDropped == 0)
        var steepest = 0
        for index in 1..<played.count { steepest = max(steepest, abs(Int(played[index]) - Int(played[index - 1]))) }
        // 8000·2π·440/48000 is 461 from one sample to the next.
        #expect(steepest < 520, "\(steepest)")
    }

    @Test func `Jitter of 30 ms is not heard`() throws {
        var mixer = SoundMixer(sampleRate: 48_000, channelCount: 1)
        let input = try input(&mixer)
        var random = SeededGenerator(seed: 5)
        var arrivals = (0..<500).map { Double($0) * 0.02 + Double.random(in: 0...0.03, using: &random) }.sorted()
        for step in 0..<900 {
            while let first = arrivals.first, first <= Double(step) * 0.01 {
                mixer.put(block(500), into: input)
                arrivals.removeFirst()
            }
            _ = mixer.mix(480)
        }
        #expect(mixer.statistics.underruns <= 2)
        #expect(mixer.statistics.samplesDropped == 0)
    }

    @Test func `A burst is bounded to 200 ms, and the newest is kept`() throws {
        var mixer = SoundMixer(sampleRate: 48_000, channelCount: 1)
        let input = try input(&mixer)
        for value in 0..<100 { mixer.put(block(Int16(value)), into: input) }
        #expect(mixer.statistics.samplesDropped > 48_000)
        var played: [Int16] = []
        for _ in 0..<40 { played += mixer.mix(480) }
        let heard = played.filter { $0 != 0 }
        #expect(heard.count <= 48_000 / 5 + 480)
        #expect(heard.max() == 99)
        #expect(heard.first.map { $0 > 85 } == true)
    }

    @Test func `Silence and then sound again costs one underrun`() throws {
        var mixer = SoundMixer(sampleRate: 48_000, channelCount: 1)
        let input = try input(&mixer)
        for _ in 0..<2 {
            for _ in 0..<3 { mixer.put(block(9), into: input) }
            for _ in 0..<50 { _ = mixer.mix(480) }
        }
        #expect(mixer.statistics.underruns == 2)
    }

    @Test func `Nonsense and crowds are refused`() throws {
        var mixer = SoundMixer(sampleRate: 48_000, channelCount: 6)
        let input = try input(&mixer)
        mixer.put(block(1, rate: 8), into: input)
        mixer.put(AudioFrame(samples: [], sampleRate: 48_000, channelCount: 1, timestampNanoseconds: 0), into: input)
        mixer.put(
            AudioFrame(
                samples: Array(repeating: 1, count: 100_000),
                sampleRate: 48_000,
                channelCount: 1,
                timestampNanoseconds: 0
            ),
            into: input
        )
        #expect(mixer.mix(480).count == 2_880)
        for _ in 0..<3 { mixer.put(block(50), into: input) }
        // Left and right first, nothing on the other four.
        #expect(mixer.mix(480).prefix(12) == [50, 50, 0, 0, 0, 0, 50, 50, 0, 0, 0, 0])
        var count = 1
        while mixer.addInput() != nil { count += 1 }
        #expect(count == 64)
    }

    @Test func `A device without a clock is held back, one with a clock never is`() {
        var pace = SoundPace(sampleRate: 48_000, startNanoseconds: 0)
        var now: Int64 = 0
        var read = 0
        while now < 10_000_000_000 {
            let wait = pace.advance(480, nowNanoseconds: now)
            read += 480
            now += Int64(wait) * 1_000_000 + 10_000
        }
        #expect(abs(read - 480_000) < 48_000 / 3)
        for partsPerMillion in [-500, 0, 500] {
            var pace = SoundPace(sampleRate: 48_000, startNanoseconds: 0)
            let waits = (1...100_000).filter { block in
                let time = Double(block) * 0.01 * (1 - Double(partsPerMillion) / 1e6)
                return pace.advance(480, nowNanoseconds: Int64(time * 1e9)) > 0
            }
            #expect(waits.isEmpty)
        }
    }
}
