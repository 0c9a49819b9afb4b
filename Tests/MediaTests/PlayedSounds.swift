import Media
import Testing

@testable import Capture

/// What loudspeakers play finds the microphone's blocks by the times that the devices tell.
@Suite struct PlayedSounds {
    private static let block: Int64 = 10_000_000
    private static let lead = PlayedSound.lead

    /// A sound whose samples tell their place.
    private func ramp(_ start: Int) -> [Int16] { (start..<(start + 480)).map { Int16($0 % 30_000 + 1) } }

    @Test func `A block is what is heard shortly after it was captured`() {
        let sound = PlayedSound()
        let speaker = sound.begin()
        var reader = sound.makeReader()
        var block = [Int16](repeating: 7, count: 480)
        reader.read(&block, captured: 5)
        #expect(block.allSatisfy { $0 == 0 })
        for index in 0..<20 {
            sound.put(
                ramp(index * 480),
                sampleRate: 48_000,
                channelCount: 1,
                heard: 1_000_000_000 + Int64(index) * Self.block,
                by: speaker
            )
        }
        for index in 2..<15 {
            reader.read(&block, captured: 1_000_000_000 + Int64(index) * Self.block - Self.lead)
            #expect(block == ramp(index * 480))
        }
        sound.end(speaker)
    }

    @Test func `Times that tremble move nothing`() {
        let sound = PlayedSound()
        let speaker = sound.begin()
        var reader = sound.makeReader()
        var random = SeededGenerator(seed: 1)
        var block = [Int16](repeating: 0, count: 480)
        var last: Int?
        for index in 0..<3_000 {
            let time = 1_000_000_000 + Int64(index) * Self.block
            sound.put(
                ramp(index * 480),
                sampleRate: 48_000,
                channelCount: 1,
                heard: time + 60_000_000 + Int64.random(in: -4_000_000...4_000_000, using: &random),
                by: speaker
            )
            guard index > 10 else { continue }
            reader.read(&block, captured: time + Int64.random(in: -4_000_000...4_000_000, using: &random))
            let first = Int(block[0])
            if let last { #expect((first - last + 30_000) % 30_000 == 480, "at block \(index)") }
            last = first
        }
        #expect(reader.drift == 0)
    }

    @Test(arguments: [-300.0, -60, 0, 60, 300]) func `Clocks that differ are followed`(drift: Double) {
        var alignment = PlayedAlignment()
        var random = SeededGenerator(seed: 2)
        var errors: [Double] = []
        for index in 0..<12_000 {
            let place = Double(index) * 480 * (1 + drift / 1e6)
            let found = alignment.next(target: place + Double.random(in: -150...150, using: &random))
            errors.append(found.position - place)
        }
        #expect(abs(alignment.rate - drift / 1e6) < 15e-6, "\(alignment.rate * 1e6) millionths")
        #expect(errors.allSatisfy { abs($0) < 1_100 })
        // In the last minute it moves by less than a millisecond against what is played.
        let last = errors.suffix(6_000)
        #expect((last.max() ?? 0) - (last.min() ?? 0) < 72, "\(drift)")
    }

    @Test func `Steps of the times, as after underruns, are not taken for clocks that differ`() {
        for size in [-600.0, -95, 60, 95, 200, 600] {
            for at in stride(from: 0, to: 12_000, by: 600) {
                var alignment = PlayedAlignment()
                var random = SeededGenerator(seed: UInt64(at))
                for index in 0..<12_000 {
                    let step = index < at ? 0 : size
                    let trembling = Double.random(in: -100...100, using: &random)
                    _ = alignment.next(target: Double(index) * 480 + step + trembling)
                }
                #expect(alignment.rate == 0, "a step of \(size) at \(at)")
            }
        }
    }

    @Test func `A path that becomes longer for good is followed, a late block is not`() {
        var alignment = PlayedAlignment()
        for index in 0..<1_000 {
            let late = index == 500 ? 48_000.0 : 0
            let found = alignment.next(target: Double(index) * 480 + late)
            #expect(found.position == Double(index) * 480)
        }
        var place = 0.0
        for index in 1_000..<1_020 { place = alignment.next(target: Double(index) * 480 + 4_800).position }
        #expect(place == 1_019 * 480 + 4_800)
    }

    @Test func `Pauses are silence, and the sound after them is in its place`() {
        let sound = PlayedSound()
        let speaker = sound.begin()
        var reader = sound.makeReader()
        var block = [Int16](repeating: 0, count: 480)
        func put(_ start: Int, _ heard: Int64) {
            sound.put(ramp(start), sampleRate: 48_000, channelCount: 1, heard: heard, by: speaker)
        }
        let begin: Int64 = 1_000_000_000
        put(0, begin)
        put(480, begin + 20 * Self.block)
        reader.read(&block, captured: begin - Self.lead)
        #expect(block == ramp(0))
        for index in 1..<20 {
            reader.read(&block, captured: begin + Int64(index) * Self.block - Self.lead)
            #expect(block.allSatisfy { $0 == 0 }, "pause \(index)")
        }
        reader.read(&block, captured: begin + 20 * Self.block - Self.lead)
        #expect(block == ramp(480))
        // Minutes later, and with a clock that leaps back.
        for heard in [begin + 300_000_000_000, begin - 400_000_000_000] {
            put(960, heard)
            reader.read(&block, captured: heard - Self.lead)
            #expect(block == ramp(960))
            reader.read(&block, captured: heard + 30 * Self.block)
            #expect(block.allSatisfy { $0 == 0 })
        }
    }

    @Test func `The loudspeaker that was started last counts, then the one before, then the program`() {
        let sound = PlayedSound()
        let first = sound.begin()
        let second = sound.begin()
        func heard(_ put: (Int64) -> Void) -> Int16 {
            time += 20_000_000_000
            put(time)
            var reader = sound.makeReader()
            var block = [Int16](repeating: 0, count: 480)
            reader.read(&block, captured: time - Self.lead)
            return block[100]
        }
        var time: Int64 = 0
        let loud = [Int16](repeating: 500, count: 480)
        func speaker(_ speaker: PlayedSound.Speaker) -> Int16 {
            heard { sound.put(loud, sampleRate: 48_000, channelCount: 1, heard: $0, by: speaker) }
        }
        func program() -> Int16 {
            heard {
                sound.put(
                    AudioFrame(samples: loud, sampleRate: 48_000, channelCount: 1, timestampNanoseconds: 0),
                    heardNanoseconds: $0
                )
            }
        }
        #expect(speaker(second) == 500)
        #expect(speaker(first) == 0)
        #expect(program() == 0)
        sound.end(second)
        #expect(speaker(second) == 0)
        #expect(speaker(first) == 500)
        sound.end(first)
        #expect(program() == 500)
    }

    @Test func `Any rate, number of channels, length and time is borne`() {
        let sound = PlayedSound()
        let speaker = sound.begin()
        var reader = sound.makeReader()
        var block = [Int16](repeating: 0, count: 480)
        for rate in [0, -1, 1, 7_999, 8_000, 44_100, 192_000, 192_001, .max, .min] {
            for channels in [0, -1, 1, 2, 6, .max] {
                for count in [0, 1, 5, 480, 500_000] {
                    sound.put(
                        Array(repeating: .min, count: count),
                        sampleRate: rate,
                        channelCount: channels,
                        heard: [0, Int64.max, Int64.min, 77][count % 4],
                        by: speaker
                    )
                    reader.read(&block, captured: [Int64.min, Int64.max, 0][count % 3])
                }
            }
        }
        var odd = [Int16](repeating: 9, count: 441)
        reader.read(&odd, captured: 0)
        #expect(odd.allSatisfy { $0 == 0 })
        // Stereo at another rate comes as the mean of both at 48 kHz.
        for index in 0..<50 {
            sound.put(
                (0..<441).flatMap { _ in [Int16(1_000), 3_000] },
                sampleRate: 44_100,
                channelCount: 2,
                heard: 9_000_000_000_000 + Int64(index) * Self.block,
                by: speaker
            )
        }
        reader.read(&block, captured: 9_000_000_000_000 + 20 * Self.block - Self.lead)
        #expect(block.allSatisfy { $0 == 2_000 })
    }
}
