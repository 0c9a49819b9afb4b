import Foundation
import Locking
import Media
import Testing

@testable import Capture
@testable import Containers

/// WebM and Ogg files as sources of pictures and sound, good ones and broken ones.
@Suite struct ContainerSources {
    /// Two seconds of pattern (25 pictures a second) and of a tone of 440 Hz.
    private static func webm(pictures: Int = 50, size: (Int, Int) = (160, 96)) throws -> [UInt8] {
        var muxer = WebMMuxer(application: "test")
        let video = try muxer.addTrack(.vp8(width: size.0, height: size.1))
        let audio = try muxer.addTrack(.opus(channelCount: 1))
        let pattern = try TestPattern(width: size.0, height: size.1)
        let tone = Tone(frequency: 440)
        let encoder = VP8Encoder()
        let opus = try OpusEncoder(channelCount: 1)
        for index in 0..<pictures {
            let time = Int64(index) * 40_000_000
            let encoded = try #require(try encoder.encode(try pattern.frame(index, timestampNanoseconds: time)))
            try muxer.write(encoded.payload, track: video, nanoseconds: time, isKeyFrame: encoded.isKeyFrame)
            for half in [0, 1] {
                let packet = try opus.encode(tone.block(index * 2 + half, timestampNanoseconds: 0).samples)
                try muxer.write(packet, track: audio, nanoseconds: time + Int64(half) * 20_000_000, isKeyFrame: true)
            }
        }
        muxer.finish()
        var file: [UInt8] = []
        WebMFiles.apply(muxer.takeChanges(), to: &file)
        return file
    }

    /// A WebM file of pictures at times of our choice, in milliseconds.
    private static func webm(pictureTimes: [Int64]) throws -> [UInt8] {
        var muxer = WebMMuxer(application: "test")
        let video = try muxer.addTrack(.vp8(width: 64, height: 48))
        let pattern = try TestPattern(width: 64, height: 48)
        let encoder = VP8Encoder()
        for (index, time) in pictureTimes.enumerated() {
            let frame = try pattern.frame(index, timestampNanoseconds: Int64(index) * 40_000_000)
            let encoded = try #require(try encoder.encode(frame))
            try muxer.write(
                encoded.payload,
                track: video,
                nanoseconds: time * 1_000_000,
                isKeyFrame: encoded.isKeyFrame
            )
        }
        muxer.finish()
        var file: [UInt8] = []
        WebMFiles.apply(muxer.takeChanges(), to: &file)
        return file
    }

    @Test(
        arguments: [
            ([30_000, 30_040, 30_080], [0, 40, 80]), ([0, 40, 9_000], [0, 40, 9_000]),
            ([0, 40, 1_000_000_000, 1_000_000_040], [0, 40, 10_040, 10_080]),
            ([900_000_000, 900_000_020], [0, 20]),
        ] as [([Int64], [Int64])]
    )
    func `A WebM file is played from its first picture on, and what jumps far is waited for no longer than ten seconds`(
        written: [Int64],
        played: [Int64]
    ) throws {
        let folder = try TemporaryFolder()
        let reader = try VideoFile.Reader(try folder.file("a.webm", try Self.webm(pictureTimes: written)))
        var times: [Int64] = []
        while try reader.next(timestampNanoseconds: 0) != nil { times.append(reader.position / 1_000_000) }
        #expect(times == played)
        #expect((0..<100).contains(reader.period / 1_000_000 - (played.last ?? 0)))
    }

    @Test func `Sound that does not begin at 0 is played at once, and in step with the pictures`() throws {
        let folder = try TemporaryFolder()
        let whole = folder.path + "/a.webm"
        let made = try Tool.run(
            "ffmpeg",
            [
                "-v", "error", "-f", "lavfi", "-i", "testsrc=duration=1:size=64x48", "-f", "lavfi", "-i",
                "sine=duration=1", "-c:v", "libvpx", "-c:a", "libopus", "-output_ts_offset", "30", whole,
            ]
        )
        try #require(made.status == 0, "\(made.errors)")
        let sound = try OpusFileReader(whole)
        var blocks: Int64 = 0
        var loud: Int64?
        while let block = try sound.nextBlock() {
            if loud == nil, level(block) > 500 { loud = blocks }
            blocks += 1
        }
        #expect((loud ?? 100) < 5)
        #expect(blocks < 75)
        let pictures = try VideoFile.Reader(whole)
        while try pictures.next(timestampNanoseconds: 0) != nil {}
        #expect(blocks * 20_000_000 == pictures.period)
    }

    @Test func `Any times of frames are played forward, from 0 on`() {
        var generator = SeededGenerator(seed: 11)
        for _ in 0..<200 {
            var times = WebMTimes()
            var latest: Int64 = 0
            for index in 0..<50 {
                let played = times.played(Int64.random(in: 0 ... .max, using: &generator) >> (index % 50))
                #expect(index > 0 || played == 0)
                #expect(played >= 0 && played <= latest + WebMTimes.longestStep)
                latest = max(latest, played)
            }
        }
    }

    /// What a source says when it ends.
    private static func end(of source: any FailingDevice, start: () throws -> Void) async throws -> MediaError {
        let (errors, feed) = AsyncStream<MediaError>.makeStream()
        source.addFailureHandler { feed.yield($0) }
        try start()
        for await error in errors { return error }
        throw CancellationError()
    }

    @Test func `A WebM file's pictures come at their times, round after round in one line`() throws {
        let folder = try TemporaryFolder()
        let reader = try VideoFile.Reader(try folder.file("a.webm", try Self.webm()))
        var counters: [Int] = []
        var times: [Int64] = []
        while let frame = try reader.next(timestampNanoseconds: 0) {
            counters.append(TestPattern.readCounter(frame))
            times.append(reader.position / 1_000_000)
        }
        #expect(counters == Array(0..<50))
        #expect(times == (0..<50).map { Int64($0) * 40 })
        // As long as its longest track, in blocks of sound.
        #expect(reader.period == 2_000_000_000 || reader.period == 2_020_000_000)
    }

    @Test func `A WebM file is played, and its sound as well`() async throws {
        let folder = try TemporaryFolder()
        let path = try folder.file("a.webm", try Self.webm(pictures: 4))
        let video = try VideoFile(path: path)
        let pictures = Gathering<VideoFrame>(6)
        try video.start { pictures.add($0) }
        let frames = await pictures.result()
        video.stop()
        #expect(frames.prefix(6).map(TestPattern.readCounter) == [0, 1, 2, 3, 0, 1])
        let audio = try AudioFile(path: path)
        let blocks = Gathering<AudioFrame>(7)
        try audio.start { blocks.add($0) }
        let sound = await blocks.result()
        audio.stop()
        let samples = sound.prefix(7).flatMap(\.samples)
        #expect(sound.allSatisfy { $0.samples.count == 960 && $0.sampleRate == 48_000 && $0.channelCount == 1 })
        #expect(abs(Tone.dominantFrequency(samples, sampleRate: 48_000) - 440) <= 10)
    }

    @Test func `Sound and pictures of one file have rounds of the same length`() throws {
        let folder = try TemporaryFolder()
        let path = try folder.file("a.webm", try Self.webm(pictures: 13))
        let pictures = try VideoFile.Reader(path)
        while try pictures.next(timestampNanoseconds: 0) != nil {}
        let sound = try OpusFileReader(path)
        var blocks = 0
        while try sound.nextBlock() != nil { blocks += 1 }
        #expect(Int64(blocks) * 20_000_000 == pictures.period)
    }

    @Test func `Opus of another program is played at its length and pitch`() throws {
        let folder = try TemporaryFolder()
        for (name, options) in [("a.opus", []), ("a.ogg", ["-ac", "2"]), ("a.webm", [])] as [(String, [String])] {
            let path = folder.path + "/" + name
            let made = try Tool.run(
                "ffmpeg",
                ["-v", "error", "-f", "lavfi", "-i", "sine=frequency=660:duration=3"] + options
                    + ["-c:a", "libopus", path]
            )
            try #require(made.status == 0, "\(made.errors)")
            let reader = try OpusFileReader(path)
            var samples: [Int16] = []
            while let block = try reader.nextBlock() {
                #expect(block.count == 960 * reader.channelCount)
                samples += stride(from: 0, to: block.count, by: reader.channelCount).map { block[$0] }
            }
            #expect(reader.channelCount == (options.isEmpty ? 1 : 2))
            #expect(abs(samples.count - 144_000) < 4_000, "\(name): \(samples.count)")
            #expect(abs(Tone.dominantFrequency(Array(samples[24_000..<72_000]), sampleRate: 48_000) - 660) <= 5)
        }
    }

    @Test func `A gap in a file's sound is silence`() throws {
        let folder = try TemporaryFolder()
        var muxer = WebMMuxer(application: "test")
        let audio = try muxer.addTrack(.opus(channelCount: 1))
        let opus = try OpusEncoder(channelCount: 1)
        for index in (0..<20).filter({ !(5..<15).contains($0) }) {
            let packet = try opus.encode(Tone().block(index, timestampNanoseconds: 0).samples)
            try muxer.write(packet, track: audio, nanoseconds: Int64(index) * 20_000_000, isKeyFrame: true)
        }
        var file: [UInt8] = []
        WebMFiles.apply(muxer.takeChanges(), to: &file)
        let reader = try OpusFileReader(try folder.file("a.webm", file))
        var levels: [Double] = []
        while let block = try reader.nextBlock() { levels.append(level(block)) }
        #expect(levels.count >= 20)
        #expect(levels[6..<15].allSatisfy { $0 == 0 } && levels[2] > 1_000 && levels[17] > 1_000, "\(levels)")
    }

    @Test func `A file that is played once says that it is over`() async throws {
        let folder = try TemporaryFolder()
        let path = try folder.file("a.webm", try Self.webm(pictures: 2))
        let video = try VideoFile(path: path, isLooping: false)
        let end = try await Self.end(of: video) { try video.start { _ in } }
        #expect(end == MediaError(.finished, path, "has been played to its end"))
        let audio = try AudioFile(path: path, isLooping: false)
        #expect(try await Self.end(of: audio) { try audio.start { _ in } }.kind == .finished)
    }

    @Test func `A file that is cut plays up to there and says so, looping or not`() async throws {
        let folder = try TemporaryFolder()
        let path = try folder.file("a.webm", Array(try Self.webm(pictures: 6).dropLast(200)))
        let pictures = Mutex(0)
        let video = try VideoFile(path: path, isLooping: true)
        let end = try await Self.end(of: video) { try video.start { _ in pictures.withLock { $0 += 1 } } }
        #expect(end.kind == .malformed && end.subject == path && end.message.contains("is cut short"), "\(end)")
        #expect(pictures.withLock { $0 } > 0)
        let whole = folder.path + "/a.opus"
        _ = try Tool.run("ffmpeg", ["-v", "error", "-f", "lavfi", "-i", "sine=duration=1", "-c:a", "libopus", whole])
        let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: whole)))
        let audio = try AudioFile(path: try folder.file("cut.opus", Array(bytes.dropLast(bytes.count / 3))))
        let silence = try await Self.end(of: audio) { try audio.start { _ in } }
        #expect(silence.kind == .malformed && silence.message.contains("is cut short"), "\(silence)")
        var damaged = bytes
        damaged[bytes.count * 2 / 3] ^= 0x55
        let broken = try AudioFile(path: try folder.file("damaged.opus", damaged))
        let reason = try await Self.end(of: broken) { try broken.start { _ in } }
        #expect(reason.message.contains("is damaged at byte"), "\(reason)")
    }

    @Test func `Files of other kinds are told apart before anything is played`() throws {
        let folder = try TemporaryFolder()
        func message(_ name: String, _ bytes: [UInt8], isVideo: Bool) throws -> String {
            let path = try folder.file(name, bytes)
            let error = #expect(throws: MediaError.self) {
                if isVideo { _ = try VideoFile(path: path) } else { _ = try AudioFile(path: path) }
            }
            #expect(error?.subject == path)
            return error?.message ?? ""
        }
        #expect(
            try message("text", Array("a letter to a friend, quite long".utf8), isVideo: true).contains("neither WebM")
        )
        #expect(try message("text2", Array("a letter".utf8), isVideo: false).contains("neither a WAV"))
        #expect(try message("empty", [], isVideo: false).contains("neither a WAV"))
        #expect(try message("head", Array(try Self.webm().prefix(60)), isVideo: true).contains("is cut short"))
        #expect(try message("ogg", Array("OggS".utf8), isVideo: false).contains("cut short"))
        let vp9 = folder.path + "/vp9.webm"
        _ = try Tool.run(
            "ffmpeg",
            ["-v", "error", "-f", "lavfi", "-i", "testsrc=duration=0.2", "-c:v", "libvpx-vp9", vp9]
        )
        let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: vp9)))
        #expect(try message("vp9.webm", bytes, isVideo: true).contains("pictures as V_VP9, not V_VP8"))
        #expect(try message("silent.webm", bytes, isVideo: false).contains("has no sound"))
        let mp3 = folder.path + "/vorbis.ogg"
        _ = try Tool.run(
            "ffmpeg",
            ["-v", "error", "-f", "lavfi", "-i", "sine=duration=0.2", "-c:a", "flac", "-f", "ogg", mp3]
        )
        let flac = Array(try Data(contentsOf: URL(fileURLWithPath: mp3)))
        #expect(try message("flac.ogg", flac, isVideo: false).contains("without Opus"))
    }

    @Test func `Opus of more channels than two is refused as that, not as no Opus`() throws {
        let folder = try TemporaryFolder()
        for name in ["a.opus", "a.webm"] {
            let path = folder.path + "/" + name
            let made = try Tool.run(
                "ffmpeg",
                [
                    "-v", "error", "-f", "lavfi", "-i", "anullsrc=channel_layout=5.1:duration=0.2", "-c:a", "libopus",
                    path,
                ]
            )
            try #require(made.status == 0, "\(made.errors)")
            let error = #expect(throws: MediaError.self) { try AudioFile(path: path) }
            #expect(error?.subject == path)
            #expect(
                error?.message.hasPrefix("Opus with 6 channels (mapping family 1, neither mono nor stereo)") == true,
                "\(String(describing: error))"
            )
            #expect(error?.message.contains("-ac 2") == true)
        }
    }

    @Test func `Noise in an Ogg file never ends the process`() throws {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<300 {
            var bytes = Array("OggS".utf8) + (0..<400).map { _ in UInt8.random(in: 0 ... .max, using: &generator) }
            bytes[4] = 0
            bytes[5] = 2
            guard var reader = try? OggOpusReader(WebMFiles.Memory(bytes)) else { continue }
            while (try? reader.nextPacket()) ?? nil != nil {}
        }
    }
}
