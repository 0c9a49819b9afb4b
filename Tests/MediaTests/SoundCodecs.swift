import Capture
import Media
import Testing

/// Sound through Opus, G.711 and the resampler.
@Suite struct SoundCodecs {
    @Test(arguments: [1, 2]) func `Opus gives a tone back at its frequency and level`(channels: Int) throws {
        let tone = Tone(frequency: 1_000)
        let encoder = try OpusEncoder(channelCount: channels, bitRate: 48_000)
        let decoder = try OpusDecoder(channelCount: channels)
        var result: [Int16] = []
        for index in 0..<50 {
            let block = tone.block(index, timestampNanoseconds: 0).withChannels(channels)
            let packet = try encoder.encode(block.samples)
            #expect(packet.count < 400)
            let samples = try decoder.decode(packet)
            #expect(samples.count == 960 * channels)
            result +=
                AudioFrame(samples: samples, sampleRate: 48_000, channelCount: channels, timestampNanoseconds: 0)
                .withChannels(1).samples
        }
        let settled = Array(result[9_600...])
        #expect(Tone.dominantFrequency(Array(settled[..<9_600]), sampleRate: 48_000) == 1_000)
        #expect(abs(level(settled) - 8_000 / 2.0.squareRoot()) < 600)
        #expect(signalToNoise(settled, frequency: 1_000, sampleRate: 48_000) > 15)
    }

    @Test func `Opus makes up for a lost packet, by the next one or by guessing`() throws {
        let tone = Tone(frequency: 500)
        let encoder = try OpusEncoder(bitRate: 32_000)
        encoder.setExpectedLoss(percent: 20)
        let packets = try (0..<20).map { try encoder.encode(tone.block($0, timestampNanoseconds: 0).samples) }
        let decoder = try OpusDecoder(channelCount: 1)
        for packet in packets[..<15] { _ = try decoder.decode(packet) }
        let recovered = try decoder.conceal(next: packets[16])
        #expect(recovered.count == 960)
        #expect(level(recovered) > 2_000)
        _ = try decoder.decode(packets[16])
        let guessed = try decoder.conceal(next: nil)
        #expect(guessed.count == 960)
        #expect(level(guessed) > 500)
    }

    @Test func `Opus refuses blocks of the wrong length and broken packets`() throws {
        #expect(throws: MediaError.self) { try OpusEncoder().encode(Array(repeating: 0, count: 959)) }
        #expect(throws: MediaError.self) { try OpusEncoder(channelCount: 3) }
        let decoder = try OpusDecoder()
        #expect(throws: MediaError.self) { try decoder.decode([]) }
        #expect(throws: MediaError.self) { try decoder.decode([0xFF, 0xFF]) }
        var random = SeededGenerator(seed: 3)
        for _ in 0..<500 {
            let packet = (0..<Int.random(in: 1...200, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            if let samples = try? decoder.decode(packet) { #expect(samples.count <= 5_760 * 2) }
        }
    }

    @Test func `Opus leaves out silence only where it is told to`() throws {
        for isOn in [false, true] {
            let encoder = try OpusEncoder()
            #expect(!encoder.discontinuousTransmission)
            encoder.discontinuousTransmission = isOn
            #expect(encoder.discontinuousTransmission == isOn)
            let silence = [Int16](repeating: 0, count: 960)
            let left = try (0..<100).count { _ in encoder.isLeftOut(try encoder.encode(silence)) }
            #expect(isOn ? left > 80 : left == 0, "\(left) of 100 blocks")
            let tone = Tone(frequency: 440)
            for index in 0..<5 { _ = try encoder.encode(tone.block(index, timestampNanoseconds: 0).samples) }
            #expect(!encoder.isLeftOut(try encoder.encode(tone.block(6, timestampNanoseconds: 0).samples)))
        }
    }

    @Test func `G_711 has the values of its tables`() {
        // ITU-T G.711, tables 1a to 2b, scaled to 16 bits: the ends, the middle and one inside.
        #expect(G711.muLaw.decode([0x80, 0x00, 0xFF, 0x7F, 0xEF]) == [32_124, -32_124, 0, 0, 132])
        #expect(G711.aLaw.decode([0xAA, 0x2A, 0xD5, 0x55]) == [32_256, -32_256, 8, -8])
        #expect(G711.muLaw.encode([0, 32_767, -32_768]) == [0xFF, 0x80, 0x00])
        #expect(G711.aLaw.encode([0, 32_767, -32_768]) == [0xD5, 0xAA, 0x2A])
    }

    @Test(arguments: [G711.muLaw, .aLaw]) func `G_711 keeps every value within its step, and every byte`(law: G711) {
        let samples = stride(from: -32_768, through: 32_767, by: 7).map { Int16($0) }
        for (sample, back) in zip(samples, law.decode(law.encode(samples))) {
            // A step is a sixteenth of the segment; the ends are clipped.
            let step = max(16.0, abs(Double(sample)) / 16)
            #expect(
                abs(Double(sample) - Double(back)) <= max(step, 650 * (abs(Double(sample)) > 32_000 ? 1 : 0)),
                "\(sample) \(back)"
            )
        }
        let bytes = (0...255).map { UInt8($0) }
        let again = law.encode(law.decode(bytes))
        for (byte, other) in zip(bytes, again) where byte != other {
            // Only the two zeros of µ-law are the same sample.
            #expect(law.decode([byte]) == law.decode([other]))
        }
    }

    @Test func `G_711 carries a tone with 30 dB or more`() {
        var resampler = Resampler(inputRate: 48_000, outputRate: 8_000, channelCount: 1)
        let tone = Tone(frequency: 440)
        let samples = (0..<50).flatMap { resampler.process(tone.block($0, timestampNanoseconds: 0).samples) }
        for law in [G711.muLaw, .aLaw] {
            let back = law.decode(law.encode(samples))
            // Behind what the resampler's filter begins with.
            #expect(signalToNoise(Array(back.dropFirst(160)), frequency: 440, sampleRate: 8_000) > 30)
        }
    }

    @Test(arguments: [8_000, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000])
    func `Resampling keeps a tone's frequency, level and length, in any blocks`(rate: Int) {
        var there = Resampler(inputRate: 48_000, outputRate: rate, channelCount: 1)
        let tone = Tone(frequency: 440)
        let all = (0..<100).flatMap { tone.block($0, timestampNanoseconds: 0).samples }
        var result: [Int16] = []
        var random = SeededGenerator(seed: UInt64(rate))
        var offset = 0
        while offset < all.count {
            let count = min(Int.random(in: 1...1_500, using: &random), all.count - offset)
            result += there.process(Array(all[offset..<(offset + count)]))
            offset += count
        }
        #expect(abs(result.count - all.count * rate / 48_000) <= 1)
        #expect(abs(level(result) - level(all)) < level(all) * 0.03)
        #expect(signalToNoise(Array(result.dropFirst(rate / 50)), frequency: 440, sampleRate: rate) > 60)
    }

    @Test func `Resampling keeps channels apart`() {
        var resampler = Resampler(inputRate: 44_100, outputRate: 48_000, channelCount: 2)
        let samples = (0..<441).flatMap { _ in [Int16(1_000), Int16(-2_000)] }
        let result = (0..<10).flatMap { _ in resampler.process(samples) }
        #expect(result.count % 2 == 0)
        #expect(
            stride(from: 400, to: result.count, by: 2).allSatisfy { index in
                abs(Int(result[index]) - 1_000) < 2 && abs(Int(result[index + 1]) + 2_000) < 2
            }
        )
        #expect(resampler.process([]).isEmpty)
    }

    @Test func `Channels are doubled, averaged and silenced`() {
        let stereo = AudioFrame(
            samples: [10, 20, -30, 30],
            sampleRate: 48_000,
            channelCount: 2,
            timestampNanoseconds: 5
        )
        #expect(stereo.sampleCount == 2)
        #expect(stereo.withChannels(1).samples == [15, 0])
        #expect(stereo.withChannels(1).withChannels(2).samples == [15, 15, 0, 0])
        #expect(stereo.silenced().samples == [0, 0, 0, 0])
        #expect(stereo.silenced().timestampNanoseconds == 5)
    }
}
