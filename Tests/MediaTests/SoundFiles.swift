import Foundation
import Media
import Testing

@testable import Capture

/// WAV files as sources and as recordings, good ones and hostile ones.
@Suite struct SoundFiles {
    /// A WAV file with chunks of our choice.
    private static func wav(
        kind: Int = 1,
        channels: Int = 1,
        rate: Int = 48_000,
        bits: Int = 16,
        extra: [UInt8] = [],
        dataLength: Int? = nil,
        samples: [Int16]
    ) -> [UInt8] {
        let format: [UInt8] =
            .number(kind, bytes: 2) + .number(channels, bytes: 2) + .number(rate, bytes: 4)
            + .number(rate * channels * 2, bytes: 4) + .number(channels * 2, bytes: 2) + .number(bits, bytes: 2)
        let data = samples.flatMap { [UInt8].number(Int($0), bytes: 2) }
        return Array("RIFF".utf8) + .number(36 + data.count, bytes: 4) + Array("WAVEfmt ".utf8) + .number(16, bytes: 4)
            + format
            + extra + Array("data".utf8) + .number(dataLength ?? data.count, bytes: 4) + data
    }

    private func play(_ path: String, blocks: Int, isLooping: Bool = true) async throws -> [AudioFrame] {
        let source = try AudioFile(path: path, isLooping: isLooping)
        let gathering = Gathering<AudioFrame>(blocks)
        try source.start { gathering.add($0) }
        let result = await gathering.result()
        source.stop()
        return result
    }

    @Test func `A file is played in blocks of 20 ms and begins again`() async throws {
        let folder = try TemporaryFolder()
        let samples = (0..<400).map { Int16($0) }
        let path = try folder.file("a.wav", Self.wav(rate: 8_000, samples: samples))
        let blocks = try await play(path, blocks: 4)
        #expect(blocks.allSatisfy { $0.sampleRate == 8_000 && $0.channelCount == 1 && $0.samples.count == 160 })
        #expect(blocks[0].samples == Array(samples[..<160]))
        // The last block is filled up with silence.
        #expect(blocks[2].samples == Array(samples[320...]) + Array(repeating: 0, count: 80))
        #expect(blocks[3].samples == blocks[0].samples)
    }

    @Test(arguments: [8_000, 8_049, 11_025, 22_050, 44_100, 48_000, 96_001])
    func `A second of any rate lasts a second`(rate: Int) throws {
        let folder = try TemporaryFolder()
        let samples = (0..<2 * 2 * rate).map { Int16(truncatingIfNeeded: $0) }
        let path = try folder.file("a.wav", Self.wav(channels: 2, rate: rate, samples: samples))
        let reader = try WAVReader(try FileBytes(path, mode: "r"))
        var blocks: [[Int16]] = []
        while let block = try reader.nextBlock() { blocks.append(block) }
        #expect(blocks.count == 100)
        #expect(blocks.allSatisfy { abs($0.count / 2 - rate / 50) <= 1 && $0.count % 2 == 0 })
        #expect(blocks.prefix(50).reduce(0) { $0 + $1.count } == 2 * rate)
        #expect(Array(blocks.joined()) == samples)
    }

    @Test func `Other chunks are skipped, and a length that is too long is not believed`() async throws {
        let folder = try TemporaryFolder()
        let list = Array("LIST".utf8) + [UInt8].number(5, bytes: 4) + Array(repeating: 7, count: 6)
        let stereo = (0..<1_920).map { Int16($0) }
        let path = try folder.file(
            "a.wav",
            Self.wav(kind: 0xFFFE, channels: 2, extra: list, dataLength: 0xFFFF_FFFF, samples: stereo)
        )
        let blocks = try await play(path, blocks: 1)
        #expect(blocks[0].channelCount == 2)
        #expect(blocks[0].samples == stereo)
    }

    @Test func `A recording is played back as it was, with gaps as silence`() async throws {
        let folder = try TemporaryFolder()
        let writer = try WAVWriter(path: folder.path + "/a.wav")
        let tone = Tone(frequency: 440)
        for index in [0, 1, 2, 52, 53] {
            writer.take(tone.block(index, timestampNanoseconds: Int64(index) * 20_000_000))
        }
        writer.close()
        // Closed: nothing more is taken.
        writer.take(tone.block(0, timestampNanoseconds: 0))
        let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: writer.path)))
        let seconds = Double(bytes.count - 44) / 96_000
        #expect(abs(seconds - 54 * 0.02) < 0.001)
        #expect(bytes.littleEndian32(at: 40) == bytes.count - 44)
        let blocks = try await play(writer.path, blocks: 4)
        #expect(blocks[0].samples == tone.block(0, timestampNanoseconds: 0).samples)
        #expect(blocks[3].samples.allSatisfy { $0 == 0 })
    }

    @Test func `A file is read as it is played`() async throws {
        let folder = try TemporaryFolder()
        let before = Self.wav(samples: Array(repeating: 1, count: 960))
        let after = Self.wav(samples: Array(repeating: 2, count: 960))
        let source = try AudioFile(path: try folder.file("a.wav", before))
        _ = try folder.file("a.wav", after)
        let gathering = Gathering<AudioFrame>(1)
        try source.start { gathering.add($0) }
        let blocks = await gathering.result()
        source.stop()
        #expect(blocks.first?.samples == Array(repeating: 2, count: 960))
    }

    @Test func `A file of two gigabytes is played whole, without being held in memory`() throws {
        let folder = try TemporaryFolder()
        // Most of it is a hole.
        let byteCount = 0x7FFF_0000
        let path = try folder.file(
            "a.wav",
            Self.wav(channels: 2, dataLength: byteCount, samples: Array(repeating: 1, count: 1_920))
        )
        let file = try #require(FileHandle(forWritingAtPath: path))
        try file.truncate(atOffset: UInt64(44 + byteCount))
        try file.close()
        let source = try FileBytes(path, mode: "r")
        let reader = try WAVReader(source)
        #expect(try reader.nextBlock() == Array(repeating: 1, count: 1_920))
        #expect(reader.remainingByteCount == byteCount - 3_840)
        #expect(source.offset == 44 + 3_840)
    }

    @Test func `A file that is cut is played up to there and says so, looping or not`() async throws {
        let folder = try TemporaryFolder()
        let path = try folder.file(
            "cut.wav",
            Self.wav(dataLength: 40_000, samples: Array(repeating: 7, count: 1_500))
        )
        let source = try AudioFile(path: path, isLooping: true)
        let errors = Gathering<MediaError>(1)
        let blocks = Gathering<AudioFrame>(1)
        source.addFailureHandler { errors.add($0) }
        try source.start { blocks.add($0) }
        let error = try #require(await errors.result().first)
        source.stop()
        #expect(error.kind == .malformed && error.subject == path && error.message.contains("is cut short"), "\(error)")
        #expect(blocks.count == 2)
    }

    /// Made by ffmpeg, which writes 24 and 32 bits as WAVE_FORMAT_EXTENSIBLE.
    @Test(arguments: [
        ("pcm_u8", 255), ("pcm_s16le", 0), ("pcm_s24le", 1), ("pcm_s32le", 1), ("pcm_f32le", 1), ("pcm_f64le", 1),
        ("pcm_mulaw", 600), ("pcm_alaw", 600),
    ])
    func `Samples of any kind are played as what they are`(codec: String, tolerance: Int) throws {
        let folder = try TemporaryFolder()
        // 440 Hz at an eighth of the full scale, in both channels at different heights.
        let source = ["-v", "error", "-f", "lavfi", "-i", "sine=duration=1:sample_rate=48000"]
        let kinds = [("pcm_s16le", "plain.wav"), (codec, "a.wav")]
        for (kind, name) in kinds {
            _ = try Tool.run(
                "ffmpeg",
                source + ["-af", "pan=stereo|c0=4*c0|c1=c0", "-c:a", kind, folder.path + "/" + name]
            )
        }
        let played = try kinds.map { kind in
            let reader = try WAVReader(try FileBytes(folder.path + "/" + kind.1, mode: "r"))
            #expect(reader.channelCount == 2 && reader.sampleRate == 48_000)
            var samples: [Int16] = []
            while let block = try reader.nextBlock() { samples += block }
            return samples
        }
        #expect(played[0].count == 96_000 && played[1].count == 96_000)
        #expect(played[0].contains { abs(Int($0)) > 12_000 })
        let differences = zip(played[0], played[1]).map { abs(Int($0) - Int($1)) }
        #expect(try #require(differences.max()) <= tolerance)
    }

    @Test func `Floating point beyond full scale is cut, and what is no number is silent`() {
        let floats: [Float] = [0, 1, -1, 2, -.infinity, .nan, 0.5]
        let bytes = floats.flatMap { [UInt8].number(Int($0.bitPattern), bytes: 4) }
        #expect(WAVSampleFormat.float.samples(bytes) == [0, 32_767, -32_767, 32_767, -32_767, 0, 16_384])
        let doubles = floats.flatMap { withUnsafeBytes(of: Double($0).bitPattern.littleEndian) { Array($0) } }
        #expect(WAVSampleFormat.double.samples(doubles) == [0, 32_767, -32_767, 32_767, -32_767, 0, 16_384])
        let three: [UInt8] = [0xFF, 0xFF, 0x7F, 0, 0, 0x80, 0x80, 0, 0, 9, 9]
        #expect(WAVSampleFormat.integer(byteCount: 3).samples(three) == [32_767, -32_768, 1])
        #expect(WAVSampleFormat.integer(byteCount: 1).samples([0, 128, 255]) == [-32_768, 0, 32_512])
    }

    @Test(arguments: [0, 0xFFFF_FFFF])
    func `A stream's length means that sound goes up to the end of the file`(length: Int) throws {
        let folder = try TemporaryFolder()
        let path = try folder.file("a.wav", Self.wav(dataLength: length, samples: Array(repeating: 7, count: 1_500)))
        let reader = try WAVReader(try FileBytes(path, mode: "r"))
        #expect(try reader.nextBlock() == Array(repeating: 7, count: 960))
        #expect(try reader.nextBlock() == Array(repeating: 7, count: 540) + Array(repeating: 0, count: 420))
        #expect(try reader.nextBlock() == nil)
    }

    @Test func `A pause of days in a recording is a minute of silence, once`() throws {
        let folder = try TemporaryFolder()
        let writer = try WAVWriter(path: folder.path + "/a.wav")
        let days: Int64 = 60 * 3_600 * 1_000_000_000
        for time in [0, days, days + 20_000_000, .max, .min, .max] as [Int64] {
            let block = AudioFrame(
                samples: Array(repeating: 1, count: 160),
                sampleRate: 8_000,
                channelCount: 1,
                timestampNanoseconds: time
            )
            try writer.write(block)
        }
        writer.close()
        let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: writer.path)))
        // Two pauses; the block that goes back is no pause.
        #expect((bytes.count - 44) / 2 == 6 * 160 + 2 * 60 * 8_000)
    }

    @Test(
        arguments: [
            (9_223_372_037, 48_000, 192_153_584_104_166), (9_223_372_036, 1, 9_223_372_036_000_000_000),
            (.max, 1, .max),
            (960, 48_000, 20_000_000), (0, 0, 0),
        ] as [(Int, Int, Int64)]
    )
    func `The length of a recording is known after days`(samples: Int, sampleRate: Int, nanoseconds: Int64) {
        #expect(WAVWriter.nanoseconds(samples: samples, sampleRate: sampleRate) == nanoseconds)
    }

    @Test func `A full disk ends a recording, which is told once`() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/a.wav"
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: "/dev/full")
        let writer = try WAVWriter(path: path)
        let errors = Gathering<MediaError>(1)
        writer.addFailureHandler { errors.add($0) }
        let tone = Tone()
        for index in 0..<50 { writer.take(tone.block(index, timestampNanoseconds: Int64(index) * 20_000_000)) }
        #expect(errors.count == 1)
        // What is smaller than the buffer fails when it is closed.
        let short = try WAVWriter(path: path)
        short.addFailureHandler { errors.add($0) }
        short.take(tone.block(0, timestampNanoseconds: 0))
        #expect(errors.count == 1)
        short.close()
        #expect(errors.count == 2)
    }

    @Test(arguments: [(0, 1), (-1, 1), (.max, 1), (48_000, 3)] as [(Int, Int)])
    func `A block that cannot be stored is refused`(sampleRate: Int, channelCount: Int) throws {
        let folder = try TemporaryFolder()
        let writer = try WAVWriter(path: folder.path + "/a.wav")
        let block = AudioFrame(
            samples: [1, 2, 3],
            sampleRate: sampleRate,
            channelCount: channelCount,
            timestampNanoseconds: 0
        )
        #expect(throws: MediaError.self) { try writer.write(block) }
        writer.close()
    }

    @Test func `Files of another form are refused with words`() throws {
        let folder = try TemporaryFolder()
        let sound: [Int16] = [1, 2, 3, 4]
        let good = Self.wav(samples: sound)
        let bad: [[UInt8]] = [
            [], Array("RIFF".utf8), Array(good.prefix(20)), Array(good.prefix(40)),
            Array("RIFX".utf8) + good.dropFirst(4),
            Self.wav(kind: 3, samples: sound), Self.wav(kind: 2, bits: 4, samples: sound),
            Self.wav(channels: 0, samples: sound),
            Self.wav(channels: 3, samples: sound),
            Self.wav(rate: 1, samples: sound), Self.wav(rate: 4_000_000, samples: sound),
            Self.wav(bits: 24, samples: sound + sound), Self.wav(bits: 12, samples: sound),
            Self.wav(kind: 0x55, samples: sound),
            Self.wav(samples: []), Self.wav(bits: 32, samples: [1]),
            Array("RIFF".utf8) + .number(0, bytes: 4) + Array("WAVEdata".utf8) + .number(4, bytes: 4) + [1, 2, 3, 4],
            Array("RIFF".utf8) + .number(0, bytes: 4) + Array("WAVEfmt ".utf8) + .number(0xFFFF_FFFF, bytes: 4) + [
                1, 2, 3, 4,
            ],
            Array("RIFF".utf8) + .number(0, bytes: 4) + Array("WAVEjunk".utf8) + .number(0xFFFF_FFFF, bytes: 4) + [
                1, 2, 3, 4,
            ],
        ]
        for (index, bytes) in bad.enumerated() {
            let path = try folder.file("\(index).wav", bytes)
            let error = #expect(throws: MediaError.self, "\(index)") { try AudioFile(path: path) }
            #expect(error?.kind == .malformed, "\(index)")
        }
        // What ffmpeg can turn into it is told how.
        let path = try folder.file("64.wav", Self.wav(bits: 64, samples: sound))
        let error = #expect(throws: MediaError.self) { try AudioFile(path: path) }
        #expect(error?.message.contains("ffmpeg -i \(path) -ac 2 -c:a pcm_s16le") == true)
        let odd = try folder.file("it's mine; rm.wav", Self.wav(bits: 64, samples: sound))
        let oddError = #expect(throws: MediaError.self) { try AudioFile(path: odd) }
        #expect(oddError?.message.contains("ffmpeg -i '\(folder.path)/it'\\''s mine; rm.wav' -ac 2") == true)
        #expect(throws: MediaError(.notFound, "/nowhere.wav", "No such file or directory")) {
            try AudioFile(path: "/nowhere.wav")
        }
        #expect(throws: MediaError.self) { try WAVWriter(path: "/nowhere/a.wav") }
    }
}
