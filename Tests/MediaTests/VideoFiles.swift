import Foundation
import Media
import Testing

@testable import Capture

/// Y4M and IVF files as sources, good ones and hostile ones.
@Suite struct VideoFiles {
    private static func y4m(_ header: String, frames: Int, bytes: Int, marker: String = "FRAME\n") -> [UInt8] {
        Array(header.utf8)
            + (0..<frames).flatMap { index in Array(marker.utf8) + Array(repeating: UInt8(16 + index), count: bytes) }
    }

    @Test func `A Y4M file is played in order and begins again`() async throws {
        let folder = try TemporaryFolder()
        let path = try folder.file(
            "a.y4m",
            Self.y4m("YUV4MPEG2 W32 H16 F120:1 Ip A1:1 C420jpeg\n", frames: 3, bytes: 32 * 16 * 3 / 2)
        )
        let source = try VideoFile(path: path)
        let gathering = Gathering<VideoFrame>(5)
        try source.start { gathering.add($0) }
        let frames = await gathering.result()
        source.stop()
        #expect(frames.prefix(5).map { $0.sample(x: 31, y: 15).y } == [16, 17, 18, 16, 17])
        #expect(frames.allSatisfy { $0.width == 32 && $0.height == 16 })
        #expect(source.label == path)
    }

    @Test func `Odd sizes are read with their rounded chroma`() async throws {
        let folder = try TemporaryFolder()
        let path = try folder.file(
            "a.y4m",
            Self.y4m("YUV4MPEG2 W33 H17 F120:1\n", frames: 1, bytes: 33 * 17 + 2 * 17 * 9)
        )
        let gathering = Gathering<VideoFrame>(2)
        let source = try VideoFile(path: path)
        try source.start { gathering.add($0) }
        let frames = await gathering.result()
        source.stop()
        #expect(frames.first?.width == 33 && frames.first?.height == 17)
        #expect(frames.count >= 2)
    }

    @Test func `An IVF file that was written is played`() async throws {
        let folder = try TemporaryFolder()
        let pattern = try TestPattern(width: 160, height: 96)
        let encoder = VP8Encoder()
        let writer = try IVFWriter(path: folder.path + "/a.ivf")
        for index in 0..<5 {
            let time = 5_000_000_000 + Int64(index) * 33_333_333
            let encoded = try #require(try encoder.encode(try pattern.frame(index, timestampNanoseconds: time)))
            try writer.write(encoded.payload, isKeyFrame: encoded.isKeyFrame, timestampNanoseconds: time)
        }
        #expect(writer.frameCount == 5)
        writer.close()
        let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: writer.path)))
        #expect(bytes.littleEndian16(at: 12) == 160 && bytes.littleEndian16(at: 14) == 96)
        #expect(bytes.littleEndian32(at: 24) == 5)
        let gathering = Gathering<VideoFrame>(6)
        let source = try VideoFile(path: writer.path)
        try source.start { gathering.add($0) }
        let frames = await gathering.result()
        source.stop()
        #expect(frames.prefix(6).map(TestPattern.readCounter) == [0, 1, 2, 3, 4, 0])
    }

    @Test func `A recording begins with a key frame`() throws {
        let folder = try TemporaryFolder()
        let writer = try IVFWriter(path: folder.path + "/a.ivf")
        try writer.write(Array(repeating: 1, count: 50), isKeyFrame: false, timestampNanoseconds: 0)
        #expect(writer.frameCount == 0)
        writer.close()
        try writer.write(Array(repeating: 1, count: 50), isKeyFrame: true, timestampNanoseconds: 0)
        #expect(writer.frameCount == 0)
        #expect(throws: MediaError.self) { try VideoFile(path: writer.path) }
    }

    @Test(arguments: [
        "", "YUV4MPEG2 ", "YUV4MPEG2 W32 H16", "YUV4MPEG2 W0 H16\n", "YUV4MPEG2 W-5 H16\n", "YUV4MPEG2 W32\n",
        "YUV4MPEG2 W99999999999999999999 H16\n", "YUV4MPEG2 W100000 H100000\n", "YUV4MPEG2 W32 H16 C444\n",
        "YUV4MPEG2 W4097 H16\n", "RIFF....WAVE", "DKIF", "\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}",
    ])
    func `Files of another form are refused with words`(content: String) throws {
        let folder = try TemporaryFolder()
        let path = try folder.file("bad", Array(content.utf8))
        let error = #expect(throws: MediaError.self) { try VideoFile(path: path) }
        #expect(error?.subject == path)
        #expect(error?.kind == .malformed)
    }

    @Test(arguments: ["C420p10", "C420p12", "C420p16", "C420p10 XYSCSS=420P10", "C420alpha", "C422", "Cmono"])
    func `Y4M with more bits or other chroma is refused with what is taken and how to convert`(tag: String) throws {
        let folder = try TemporaryFolder()
        let path = try folder.file("a.y4m", Self.y4m("YUV4MPEG2 W16 H16 \(tag)\n", frames: 2, bytes: 384))
        let error = #expect(throws: MediaError.self) { try VideoFile(path: path) }
        #expect(error?.kind == .malformed)
        #expect(error?.message.contains("420jpeg, 420mpeg2, 420paldv") == true)
        #expect(error?.message.contains("-pix_fmt yuv420p") == true)
    }

    @Test(arguments: ["", "C420", "C420jpeg", "C420mpeg2", "C420paldv"])
    func `Y4M of 4:2:0 with 8 bits is taken`(tag: String) throws {
        let folder = try TemporaryFolder()
        let path = try folder.file("a.y4m", Self.y4m("YUV4MPEG2 W16 H16 \(tag)\n", frames: 1, bytes: 384))
        #expect(try VideoFile.Reader(path).next(timestampNanoseconds: 0) != nil)
    }

    @Test(arguments: [
        "F0:0", "F1:0", "F-1:1", "F1:9223372036854775807", "F9223372036854775807:1", "F:", "F1000000:1", "F1:1000000",
    ])
    func `Nonsense rates are played at some rate`(rate: String) async throws {
        let folder = try TemporaryFolder()
        let path = try folder.file("a.y4m", Self.y4m("YUV4MPEG2 W16 H16 \(rate)\n", frames: 1, bytes: 384))
        let source = try VideoFile(path: path, isLooping: false)
        let gathering = Gathering<VideoFrame>(1)
        try source.start { gathering.add($0) }
        #expect(await gathering.result().count == 1)
        source.stop()
    }

    @Test func `A file that is cut short or damaged says so`() throws {
        let folder = try TemporaryFolder()
        let header = "YUV4MPEG2 W16 H16 F120:1\n"
        let cut = try VideoFile.Reader(
            try folder.file("cut", Array(Self.y4m(header, frames: 3, bytes: 384).dropLast(100)))
        )
        for _ in 0..<2 { #expect(try cut.next(timestampNanoseconds: 0) != nil) }
        #expect(throws: MediaError.self) { try cut.next(timestampNanoseconds: 0) }
        let other = try VideoFile.Reader(
            try folder.file("other", Self.y4m(header, frames: 2, bytes: 384, marker: "FROME\n"))
        )
        #expect(throws: MediaError.self) { try other.next(timestampNanoseconds: 0) }
        let parameters = try VideoFile.Reader(
            try folder.file("parameters", Self.y4m(header, frames: 2, bytes: 384, marker: "FRAME Ip\n"))
        )
        #expect(try parameters.next(timestampNanoseconds: 3)?.timestampNanoseconds == 3)
    }

    @Test func `Hostile IVF files are refused or end`() throws {
        let folder = try TemporaryFolder()
        func header(fourCC: String = "VP80", width: Int = 16, rate: Int = 100) -> [UInt8] {
            Array("DKIF".utf8) + .number(0, bytes: 2) + .number(32, bytes: 2) + Array(fourCC.utf8)
                + .number(width, bytes: 2)
                + .number(16, bytes: 2) + .number(rate, bytes: 4) + .number(1, bytes: 4) + .number(1, bytes: 4)
                + .number(0, bytes: 4)
        }
        #expect(throws: MediaError.self) { try VideoFile(path: try folder.file("vp9", header(fourCC: "VP90"))) }
        #expect(throws: MediaError.self) { try VideoFile(path: try folder.file("wide", header(width: 65_535))) }
        #expect(throws: MediaError.self) { try VideoFile(path: try folder.file("cut", Array(header().dropLast(3)))) }
        for (name, frame) in [
            ("none", []), ("huge", .number(0xFFFF_FFFF, bytes: 4) + .number(0, bytes: 8)),
            ("empty", .number(0, bytes: 12)),
            ("short", .number(1_000, bytes: 4) + .number(0, bytes: 8) + [1, 2, 3]),
            ("noise", .number(20, bytes: 4) + .number(0, bytes: 8) + Array(repeating: 0x5A, count: 20)),
        ] as [(String, [UInt8])] {
            let reader = try VideoFile.Reader(try folder.file(name, header() + frame))
            do {
                #expect(try reader.next(timestampNanoseconds: 0) == nil, "\(name)")
            } catch {
                #expect(name != "none", "\(name): \(error)")
            }
        }
    }

    /// An IVF file of pictures of the test pattern with timestamps of our choice.
    private static func ivf(rate: Int, scale: Int, timestamps: [UInt64]) throws -> [UInt8] {
        let pattern = try TestPattern(width: 64, height: 48)
        let encoder = VP8Encoder()
        var file: [UInt8] =
            Array("DKIF".utf8) + .number(0, bytes: 2) + .number(32, bytes: 2) + Array("VP80".utf8)
            + .number(64, bytes: 2) + .number(48, bytes: 2) + .number(rate, bytes: 4) + .number(scale, bytes: 4)
            + .number(timestamps.count, bytes: 4) + .number(0, bytes: 4)
        for (index, timestamp) in timestamps.enumerated() {
            let frame = try pattern.frame(index, timestampNanoseconds: Int64(index) * 33_333_333)
            let payload = try #require(try encoder.encode(frame)).payload
            file += .number(payload.count, bytes: 4) + .number(Int(truncatingIfNeeded: timestamp), bytes: 8) + payload
        }
        return file
    }

    /// Times of a file's pictures in milliseconds, and then how long it takes.
    private static func milliseconds(_ bytes: [UInt8]) throws -> [Int64] {
        let folder = try TemporaryFolder()
        let reader = try VideoFile.Reader(try folder.file("a.ivf", bytes))
        var times: [Int64] = []
        while try reader.next(timestampNanoseconds: 0) != nil { times.append(reader.position / 1_000_000) }
        return times + [reader.period / 1_000_000]
    }

    @Test(
        arguments: [
            // 25 in two seconds; milliseconds, at uneven times; 90 kHz; 30 000/1 001; not from 0 on.
            (25, 2, [0, 1, 2], [0, 80, 160, 240]), (1_000, 1, [0, 100, 150, 400], [0, 100, 150, 400, 650]),
            (90_000, 1, [0, 3_600, 7_200], [0, 40, 80, 120]), (30_000, 1_001, [0, 1, 2], [0, 33, 66, 100]),
            (1_000, 1, [70_000, 70_040], [0, 40, 80]), (25, 1, [7], [0, 40]),
        ] as [(Int, Int, [UInt64], [Int64])]
    )
    func `IVF is played at the times that its frames have`(
        rate: Int,
        scale: Int,
        timestamps: [UInt64],
        times: [Int64]
    ) throws {
        #expect(try Self.milliseconds(try Self.ivf(rate: rate, scale: scale, timestamps: timestamps)) == times)
    }

    @Test(
        arguments: [
            (0, 1, [0, 1], [0, 33, 66]), (25, 0, [0, 1], [0, 33, 66]), (0, 0, [0, 1], [0, 33, 66]),
            (25, 1, [5, 3, 3, 4], [0, 40, 80, 120, 160]), (1_000, 1, [0, 0, 0], [0, 33, 66, 99]),
            (25, 1, [0, .max, 0, 1], [0, 10_000, 10_040, 10_080, 10_120]),
            (1, 0xFFFF_FFFF, [0, 1, .max], [0, 10_000, 20_000, 30_000]),
            (0xFFFF_FFFF, 1, [0, 1, .max], [0, 1, 10_001, 20_001]),
        ] as [(Int, Int, [UInt64], [Int64])]
    )
    func `Hostile times of an IVF file are played forward and soon`(
        rate: Int,
        scale: Int,
        timestamps: [UInt64],
        times: [Int64]
    ) throws {
        #expect(try Self.milliseconds(try Self.ivf(rate: rate, scale: scale, timestamps: timestamps)) == times)
    }

    @Test func `Pictures that cannot be decoded are told with the file's name`() throws {
        let folder = try TemporaryFolder()
        let noise: [UInt8] = .number(20, bytes: 4) + .number(0, bytes: 8) + Array(repeating: 0x5A, count: 20)
        let path = try folder.file("a.ivf", try Self.ivf(rate: 25, scale: 1, timestamps: []) + noise)
        let reader = try VideoFile.Reader(path)
        let error = #expect(throws: MediaError.self) { try reader.next(timestampNanoseconds: 0) }
        #expect(error?.subject == path)
        #expect(error?.message.contains("VP8 decoder") == true && error?.message.contains("is damaged") == true)
    }

    @Test func `A pipe is refused in words, without waiting for its writer`() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/pipe"
        try #require(mkfifo(path, 0o600) == 0)
        // As a writer: where the pipe is opened after all, that must not wait for one for ever.
        let descriptor = open(path, O_RDWR)
        defer { close(descriptor) }
        let content = Self.y4m("YUV4MPEG2 W16 H16\n", frames: 100, bytes: 384)
        try #require(content.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) } == content.count)
        #expect(!H264File.isOne(path))
        let error = #expect(throws: MediaError.self) { try VideoFile(path: path) }
        #expect(error?.subject == path && error?.kind == .notUsable)
        #expect(error?.message.contains("is a pipe") == true)
        let sound = #expect(throws: MediaError.self) { try AudioFile(path: path) }
        #expect(sound?.message.contains("is a pipe") == true)
    }

    @Test func `What is no file is told apart`() {
        #expect(throws: MediaError(.notFound, "/nowhere/a.y4m", "No such file or directory")) {
            try VideoFile(path: "/nowhere/a.y4m")
        }
        #expect(throws: MediaError(.notUsable, "/tmp", "is a directory, not a media file")) {
            try VideoFile(path: "/tmp")
        }
        #expect(throws: MediaError.self) { try VideoFile(path: "/dev/null") }
        #expect(throws: MediaError.self) { try IVFWriter(path: "/nowhere/a.ivf") }
    }
}
