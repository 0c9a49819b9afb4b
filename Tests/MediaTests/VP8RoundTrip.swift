import Capture
import Testing

@testable import Media

/// Pictures through the VP8 encoder and decoder.
@Suite struct VP8RoundTrip {
    @Test func `Pictures come back with 30 dB or more, their counter and their colours`() throws {
        let pattern = try TestPattern(width: 320, height: 180)
        let encoder = VP8Encoder(bitRate: 1_500_000)
        let decoder = try VP8Decoder()
        for index in 0..<30 {
            let time = Int64(index) * 33_333_333
            let original = try pattern.frame(index, timestampNanoseconds: time)
            let encoded = try #require(try encoder.encode(original))
            #expect(encoded.isKeyFrame == (index == 0))
            let decoded = try #require(try decoder.decode(encoded.payload, timestampNanoseconds: time))
            #expect(psnr(original, decoded) > 30)
            #expect(decoded.timestampNanoseconds == time)
            #expect(TestPattern.readCounter(decoded) == index)
            for (read, bar) in zip(TestPattern.readBars(decoded), TestPattern.bars) {
                #expect(abs(Int(read.y) - Int(bar.y)) < 12)
                #expect(abs(Int(read.u) - Int(bar.u)) < 12)
                #expect(abs(Int(read.v) - Int(bar.v)) < 12)
            }
        }
    }

    @Test func `Two processors encode large pictures with one thread, more with two`() {
        for (processors, threads) in [(1, 1), (2, 1), (3, 2), (64, 2)] {
            #expect(VP8Encoder.threadCount(width: 1920, height: 1080, processorCount: processors) == threads)
            #expect(VP8Encoder.threadCount(width: 1280, height: 720, processorCount: processors) == 1)
        }
        #expect(Processors.count >= 1)
    }

    @Test func `A key frame comes when it is asked for, and when the size changes`() throws {
        let small = try TestPattern(width: 160, height: 96)
        let large = try TestPattern(width: 320, height: 180)
        let encoder = VP8Encoder()
        let decoder = try VP8Decoder()
        func encode(_ pattern: TestPattern, _ index: Int) throws -> EncodedPicture {
            try #require(try encoder.encode(try pattern.frame(index, timestampNanoseconds: Int64(index) * 33_333_333)))
        }
        #expect(try encode(small, 0).isKeyFrame)
        #expect(try !encode(small, 1).isKeyFrame)
        encoder.requestKeyFrame()
        #expect(try encode(small, 2).isKeyFrame)
        #expect(try !encode(small, 3).isKeyFrame)
        let changed = try encode(large, 4)
        #expect(changed.isKeyFrame)
        let decoded = try #require(try decoder.decode(changed.payload, timestampNanoseconds: 0))
        #expect(decoded.width == 320 && decoded.height == 180)
    }

    @Test func `Pictures of odd size keep it`() throws {
        let original = try picture(161, 91) { x, y in (UInt8(x + y & 255), 100, 150) }
        let encoded = try #require(try VP8Encoder().encode(original))
        let decoded = try #require(try VP8Decoder().decode(encoded.payload, timestampNanoseconds: 0))
        #expect(decoded.width == 161 && decoded.height == 91)
        #expect(decoded.sample(x: 160, y: 90).u > 90 && decoded.sample(x: 160, y: 90).u < 110)
    }

    @Test func `The bit rate is kept to`() throws {
        let pattern = try TestPattern(width: 320, height: 180)
        let encoder = VP8Encoder(bitRate: 2_000_000)
        func bits(_ frames: Range<Int>) throws -> Int {
            try frames.reduce(0) { sum, index in
                let frame = try pattern.frame(index, timestampNanoseconds: Int64(index) * 33_333_333)
                return sum + 8 * (try encoder.encode(frame)?.payload.count ?? 0)
            }
        }
        _ = try bits(0..<10)
        try encoder.setBitRate(100_000)
        let second = try bits(10..<100)
        #expect(second < 3 * 150_000)
    }

    @Test func `A decoder does not begin without a key frame`() throws {
        let pattern = try TestPattern(width: 160, height: 96)
        let encoder = VP8Encoder()
        _ = try encoder.encode(try pattern.frame(0, timestampNanoseconds: 0))
        let second = try #require(try encoder.encode(try pattern.frame(1, timestampNanoseconds: 33_333_333)))
        #expect(throws: MediaError.self) { try VP8Decoder().decode(second.payload, timestampNanoseconds: 0) }
    }

    @Test func `Broken and hostile bytes are refused or decoded, never worse`() throws {
        let pattern = try TestPattern(width: 160, height: 96)
        let encoder = VP8Encoder()
        let key = try #require(try encoder.encode(try pattern.frame(0, timestampNanoseconds: 0))).payload
        let decoder = try VP8Decoder()
        #expect(throws: MediaError.self) { try decoder.decode([], timestampNanoseconds: 0) }
        var random = SeededGenerator(seed: 7)
        for _ in 0..<300 {
            var bytes = key
            switch Int.random(in: 0..<3, using: &random) {
            case 0: bytes = Array(bytes.prefix(Int.random(in: 0..<bytes.count, using: &random)))
            case 1:
                for _ in 0..<8 {
                    bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
                }
            default: bytes = (0..<200).map { _ in UInt8.random(in: 0...255, using: &random) }
            }
            _ = try? decoder.decode(bytes, timestampNanoseconds: 0)
        }
    }

    @Test func `A few bytes cannot ask for a gigabyte`() throws {
        let head: [UInt8] = [0x10, 0x02, 0x00, 0x9D, 0x01, 0x2A, 0xFF, 0x3F, 0xFF, 0x3F, 0, 0, 0, 0]
        #expect(throws: MediaError(.malformed, "VP8 decoder", "a picture of 16383x16383 is too large")) {
            try VP8Decoder().decode(head, timestampNanoseconds: 0)
        }
    }
}
