import Foundation
import Media
import Testing

@testable import Containers

/// WebM as bytes: what is written is read again, whatever byte it is cut at.
@Suite struct WebMFiles {
    /// A file in memory.
    struct Memory: ByteSource {
        var bytes: [UInt8]
        var offset = 0

        init(_ bytes: [UInt8]) { self.bytes = bytes }

        mutating func read(_ count: Int) -> [UInt8] {
            let end = min(bytes.count, offset + max(0, count))
            defer { offset = end }
            return Array(bytes[offset..<end])
        }

        mutating func skip(_ count: Int) -> Bool {
            let wanted = offset + max(0, count)
            offset = min(bytes.count, wanted)
            return wanted == offset
        }
    }

    static func apply(_ changes: [FileChange], to file: inout [UInt8]) {
        for change in changes {
            switch change {
            case .append(let bytes): file += bytes
            case .replace(let offset, let bytes): file.replaceSubrange(offset..<(offset + bytes.count), with: bytes)
            }
        }
    }

    /// A file on a disk that has room for so many bytes, as far as it was written.
    private func brokenOff(after limit: Int) throws -> (file: [UInt8], whole: Int) {
        var muxer = WebMMuxer(application: "test")
        var file: [UInt8] = []
        let track = try muxer.addTrack(.vp8(width: 64, height: 48))
        var whole = 0
        for index in 0..<400 {
            try muxer.write(
                [UInt8](repeating: 7, count: 50),
                track: track,
                nanoseconds: Int64(index) * 40_000_000,
                isKeyFrame: index % 50 == 0
            )
            for change in muxer.takeChanges() {
                if case .append(let bytes) = change, file.count + bytes.count > limit {
                    muxer.breakOff(at: file.count)
                    Self.apply(muxer.takeChanges(), to: &file)
                    #expect(muxer.takeChanges().isEmpty)
                    return (file, whole)
                }
                Self.apply([change], to: &file)
            }
            whole += 1
        }
        muxer.finish()
        for change in muxer.takeChanges() {
            if case .append(let bytes) = change, file.count + bytes.count > limit {
                muxer.breakOff(at: file.count)
                Self.apply(muxer.takeChanges(), to: &file)
                return (file, whole)
            }
            Self.apply([change], to: &file)
        }
        return (file, whole)
    }

    @Test func `A file that can take no more bytes gets its sizes and its duration, wherever that was`() throws {
        // The last two have room for all pictures, and none for the index.
        let end = try brokenOff(after: .max).file.count
        for limit in Array(700..<760) + Array(3_600..<3_800) + [end - 1, end - 20] {
            let (file, whole) = try brokenOff(after: limit)
            #expect(file.count <= limit)
            var reader = try WebMReader(Memory(file))
            var count = 0
            while try reader.nextFrame() != nil { count += 1 }
            #expect(count == whole, "\(limit)")
            // The segment's size is what is left of the file.
            let id: [UInt8] = [0x18, 0x53, 0x80, 0x67]
            let start = try #require((0..<100).first { Array(file[$0..<($0 + 4)]) == id })
            let size = file[(start + 5)..<(start + 12)].reduce(0) { $0 << 8 | Int($1) }
            #expect(size == file.count - start - 12, "\(limit)")
            // A duration: its number, and 8 bytes of a Double.
            let place = try #require((0..<600).first { Array(file[$0..<($0 + 3)]) == [0x44, 0x89, 0x88] }, "\(limit)")
            let bits = file[(place + 3)..<(place + 11)].reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
            #expect(abs(Double(bitPattern: bits) - Double(whole) * 40) < 80, "\(limit)")
        }
    }

    /// Sixteen seconds of ten pictures and fifty blocks a second, in order.
    struct Sample {
        var file: [UInt8] = []
        var frames: [(track: Int, milliseconds: Int64, payload: [UInt8], isKey: Bool)] = []
        /// The file as it was before it was finished.
        var unfinished: [UInt8] = []

        init() throws {
            var muxer = WebMMuxer(title: "Otter", application: "test")
            var video = 0
            var audio = 0
            for tick in 0..<800 {
                let time = Int64(tick) * 20
                if tick == 0 { audio = try muxer.addTrack(.opus(channelCount: 2)) }
                frames.append((audio, time, [0xFC, UInt8(tick & 0xFF), 3], true))
                try muxer.write(
                    [0xFC, UInt8(tick & 0xFF), 3],
                    track: audio,
                    nanoseconds: time * 1_000_000,
                    isKeyFrame: true
                )
                if tick % 5 == 0 {
                    // Pictures begin later.
                    if tick == 10 { video = try muxer.addTrack(.vp8(width: 320, height: 180)) }
                    if tick >= 10 {
                        let payload = [UInt8](repeating: UInt8(tick & 0xFF), count: 100)
                        let isKey = tick % 100 == 10
                        frames.append((video, time, payload, isKey))
                        try muxer.write(payload, track: video, nanoseconds: time * 1_000_000, isKeyFrame: isKey)
                    }
                }
                WebMFiles.apply(muxer.takeChanges(), to: &file)
            }
            unfinished = file
            muxer.finish()
            WebMFiles.apply(muxer.takeChanges(), to: &file)
        }
    }

    private static func read(_ bytes: [UInt8]) throws -> (frames: [WebMReader<Memory>.Frame], error: ContainerError?) {
        var reader = try WebMReader(Memory(bytes))
        var frames: [WebMReader<Memory>.Frame] = []
        do {
            while let frame = try reader.nextFrame() { frames.append(frame) }
        } catch {
            return (frames, error)
        }
        return (frames, nil)
    }

    @Test(arguments: [true, false]) func `What is written is read again, finished or not`(isFinished: Bool) throws {
        let sample = try Sample()
        let bytes = isFinished ? sample.file : sample.unfinished
        let reader = try WebMReader(Memory(bytes))
        #expect(reader.tracks.map(\.codecID) == ["A_OPUS", "V_VP8"])
        #expect(reader.tracks[1].width == 320 && reader.tracks[1].height == 180)
        #expect(OpusHead(reader.tracks[0].codecPrivate)?.channelCount == 2)
        let (frames, error) = try Self.read(bytes)
        #expect(error == nil)
        #expect(frames.map(\.payload) == sample.frames.map(\.payload))
        #expect(frames.map(\.nanoseconds) == sample.frames.map { $0.milliseconds * 1_000_000 })
        #expect(frames.map(\.isKeyFrame) == sample.frames.map(\.isKey))
        #expect(frames.map(\.track) == sample.frames.map(\.track))
    }

    @Test func `Cut at any byte, all whole frames before are there`() throws {
        let sample = try Sample()
        let bytes = sample.unfinished
        let headEnd = try #require(Self.offset(ofCluster: bytes))
        var last = 0
        for end in stride(from: headEnd, to: bytes.count, by: 37) {
            let (frames, error) = try Self.read(Array(bytes[..<end]))
            #expect(frames.count >= last, "cut at \(end)")
            #expect(Array(frames.map(\.payload)) == Array(sample.frames.prefix(frames.count).map(\.payload)))
            if let error, case .cut = error {} else if error != nil { Issue.record("\(String(describing: error))") }
            last = frames.count
        }
        #expect(last > sample.frames.count - 5)
    }

    @Test func `A finished file that is cut says so`() throws {
        let sample = try Sample()
        let (_, error) = try Self.read(Array(sample.file.dropLast(1)))
        guard case .cut = error else { return #expect(Bool(false), "\(String(describing: error))") }
    }

    private static func offset(ofCluster bytes: [UInt8]) -> Int? {
        (0..<(bytes.count - 4)).first { Array(bytes[$0..<($0 + 4)]) == [0x1F, 0x43, 0xB6, 0x75] }
    }

    @Test func `Garbage and damage give typed errors and never end the process`() throws {
        let sample = try Sample()
        #expect(throws: ContainerError.notThisKind) { _ = try WebMReader(Memory([])) }
        #expect(throws: ContainerError.notThisKind) { _ = try WebMReader(Memory(Array("OggS and so on".utf8))) }
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<500 {
            var bytes = Array(sample.file.prefix(3_000))
            for _ in 0..<Int.random(in: 1...8, using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = .random(in: 0 ... .max, using: &generator)
            }
            // Whatever it gives, it comes back.
            guard var reader = try? WebMReader(Memory(bytes)) else { continue }
            var count = 0
            while let frame = try? reader.nextFrame() {
                count += 1
                #expect(frame.payload.count <= bytes.count)
            }
            #expect(count < 3_000)
        }
    }

    @Test func `An element that claims to be huge costs no memory`() throws {
        var writer = EBMLWriter()
        writer.write(EBMLID.ebml) { $0.write(EBMLID.docType, "webm") }
        writer.write(id: EBMLID.segment)
        writer.write(EBMLWriter.unknownSize)
        writer.write(id: EBMLID.tracks)
        writer.write(EBMLWriter.longSize(1 << 50))
        let bytes = writer.bytes
        let error = #expect(throws: ContainerError.self) { _ = try WebMReader(Memory(bytes)) }
        guard case .malformed = error else { return #expect(Bool(false), "\(String(describing: error))") }
    }

    @Test func `More tracks than slots, frames of unknown tracks and frames after the end are refused`() throws {
        var muxer = WebMMuxer(application: "test")
        for _ in 0..<WebMMuxer.trackLimit { _ = try muxer.addTrack(.opus(channelCount: 1)) }
        #expect(throws: WebMMuxer.Failure.tooManyTracks) { _ = try muxer.addTrack(.vp8(width: 1, height: 1)) }
        #expect(throws: WebMMuxer.Failure.unknownTrack) {
            try muxer.write([1], track: 9, nanoseconds: 0, isKeyFrame: true)
        }
        muxer.finish()
        #expect(throws: WebMMuxer.Failure.unknownTrack) {
            try muxer.write([1], track: 1, nanoseconds: 0, isKeyFrame: true)
        }
    }

    @Test func `Hours without a cluster's end, and times that go backwards, stay in order`() throws {
        var muxer = WebMMuxer(application: "test")
        var file: [UInt8] = []
        let audio = try muxer.addTrack(.opus(channelCount: 2))
        for seconds in [0, 1, 40, 39, 7_200, 7_199, 20_000] as [Int64] {
            try muxer.write([1, 2], track: audio, nanoseconds: seconds * 1_000_000_000, isKeyFrame: true)
        }
        muxer.finish()
        Self.apply(muxer.takeChanges(), to: &file)
        let (frames, error) = try Self.read(file)
        #expect(error == nil)
        #expect(frames.map { $0.nanoseconds / 1_000_000_000 } == [0, 1, 40, 40, 7_200, 7_200, 20_000])
    }

    @Test func `Sound that comes after later pictures has times of its own`() throws {
        var muxer = WebMMuxer(application: "test")
        var file: [UInt8] = []
        let video = try muxer.addTrack(.vp8(width: 160, height: 96))
        let audio = try muxer.addTrack(.opus(channelCount: 2))
        try muxer.write([0], track: video, nanoseconds: 12_000_000_000, isKeyFrame: true)
        for index in 0..<100 as Range<Int64> {
            try muxer.write([1], track: audio, nanoseconds: index * 20_000_000, isKeyFrame: true)
        }
        muxer.finish()
        Self.apply(muxer.takeChanges(), to: &file)
        let (frames, error) = try Self.read(file)
        #expect(error == nil)
        let times = frames.filter { $0.track == audio }.map { $0.nanoseconds / 1_000_000 }
        #expect(times == (12_000..<12_100).map { $0 })
    }

    @Test func `ffprobe and ffmpeg find nothing wrong with real frames`() throws {
        let folder = try TemporaryFolder()
        var muxer = WebMMuxer(title: "Otter & Björn", application: "test")
        var file: [UInt8] = []
        let video = try muxer.addTrack(.vp8(width: 160, height: 96))
        let audio = try muxer.addTrack(.opus(channelCount: 2))
        let encoder = VP8Encoder()
        let opus = try OpusEncoder(channelCount: 1)
        for index in 0..<100 {
            // The size changes in the middle, as a sender does that has less room.
            let (width, height) = index < 50 ? (160, 96) : (80, 48)
            let frame = try picture(width, height) { x, y in (UInt8(truncatingIfNeeded: x + y + index), 128, 128) }
            let time = Int64(index) * 40_000_000
            if let encoded = try encoder.encode(frame.retimed(time)) {
                try muxer.write(encoded.payload, track: video, nanoseconds: time, isKeyFrame: encoded.isKeyFrame)
            }
            for half in 0..<2 {
                let packet = try opus.encode((0..<960).map { Int16(truncatingIfNeeded: $0 * 37) })
                try muxer.write(packet, track: audio, nanoseconds: time + Int64(half) * 20_000_000, isKeyFrame: true)
            }
        }
        Self.apply(muxer.takeChanges(), to: &file)
        let unfinished = file
        muxer.finish()
        Self.apply(muxer.takeChanges(), to: &file)
        for (bytes, name) in [(file, "whole.webm"), (unfinished, "killed.webm")] {
            let path = try folder.file(name, bytes)
            let decoded = try Tool.run("ffmpeg", "-v", "error", "-nostdin", "-i", path, "-f", "null", "-")
            #expect(decoded.status == 0 && decoded.errors.isEmpty, "\(name): \(decoded.errors)")
            let counts = try Tool.run(
                "ffprobe",
                "-v",
                "error",
                "-count_frames",
                "-show_entries",
                "stream=codec_name,nb_read_frames",
                "-of",
                "csv=p=0",
                path
            )
            #expect(counts.errors.isEmpty)
            #expect(counts.output.split(separator: "\n") == ["vp8,100", "opus,200"], "\(name)")
        }
        let facts = try Tool.run(
            "ffprobe",
            "-v",
            "error",
            "-show_entries",
            "format=duration:format_tags=title",
            "-of",
            "csv=p=0",
            folder.path + "/whole.webm"
        )
        #expect(facts.output.contains("4.0") && facts.output.contains("Otter & Björn"), "\(facts.output)")
    }
}

/// A program of another project.
enum Tool {
    static func run(_ name: String, _ arguments: String...) throws -> (status: Int32, output: String, errors: String) {
        try run(name, arguments)
    }

    static func run(_ name: String, _ arguments: [String]) throws -> (status: Int32, output: String, errors: String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [name] + arguments
        let (output, errors) = (Pipe(), Pipe())
        process.standardOutput = output
        process.standardError = errors
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        let problems = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return (process.terminationStatus, text, problems)
    }
}
