import Capture
import Glibc
import Locking
import Media
import Testing

/// What a camera's encoder gives, as the reader of its buffers makes frames of it.
@Suite struct CamerasThatEncode {
    private let sps: [UInt8] = [0, 0, 0, 1, 0x67, 0x42, 0xC0, 0x1F, 1]
    private let pps: [UInt8] = [0, 0, 1, 0x68, 2]
    private let idr: [UInt8] = [0, 0, 1, 0x65, 0x88, 3]
    private let slice: [UInt8] = [0, 0, 1, 0x41, 0x9A, 4]

    private func pictures(_ codec: VideoCodec = .h264) -> EncodedPictures {
        EncodedPictures(mode: CameraEncodedMode(codec: codec, width: 320, height: 180, intervals: []))
    }

    /// `+` for a key frame, `-` for another, `.` for nothing to be sent, `!` for what is broken.
    private func signs(_ pictures: inout EncodedPictures, _ buffers: [(UInt32, [UInt8])]) -> String {
        buffers.map { sequence, bytes in
            switch pictures.take(bytes, sequence: sequence, timestampNanoseconds: Int64(sequence)) {
            case .frame(let frame):
                #expect((frame.width, frame.height) == (320, 180))
                #expect(frame.timestampNanoseconds == Int64(sequence))
                return frame.isKeyFrame ? "+" : "-"
            case .incomplete: return "."
            case .damaged: return "!"
            }
        }.joined()
    }

    @Test func `Nothing is given before a key frame with parameter sets`() {
        var camera = pictures()
        #expect(camera.awaitsKeyFrame)
        #expect(signs(&camera, [(5, slice), (6, idr), (7, sps + pps), (8, slice), (9, idr), (10, slice)]) == "....+-")
        #expect(!camera.awaitsKeyFrame)
    }

    @Test func `Parameter sets that were told once are in front of each key frame`() {
        var camera = pictures()
        _ = camera.take(sps + pps + idr, sequence: 0, timestampNanoseconds: 0)
        guard case .frame(let frame) = camera.take(idr, sequence: 1, timestampNanoseconds: 1) else {
            Issue.record("no key frame")
            return
        }
        #expect(frame.isKeyFrame)
        #expect(frame.payload == sps + [0, 0, 0, 1, 0x68, 2] + idr)
    }

    @Test func `After a loss nothing is given before the next key frame`() {
        var camera = pictures()
        let buffers =
            [(0, sps + pps + idr), (1, slice), (3, slice), (4, slice), (5, idr), (6, slice)] as [(UInt32, [UInt8])]
        #expect(signs(&camera, buffers) == "+-..+-")
        // The driver's count goes round.
        var other = pictures()
        #expect(signs(&other, [(.max, sps + pps + idr), (0, slice), (1, slice)]) == "+--")
    }

    @Test func `What is no picture is broken, and counts as a loss`() {
        var camera = pictures()
        let buffers =
            [(0, sps + pps + idr), (1, [1, 2, 3]), (2, slice), (3, [0, 0, 1]), (4, idr)] as [(UInt32, [UInt8])]
        #expect(signs(&camera, buffers) == "+!.!+")
    }

    @Test func `A stream that begins anew is counted anew`() {
        var camera = pictures()
        #expect(signs(&camera, [(7, sps + pps + idr), (8, slice)]) == "+-")
        camera.restart()
        #expect(camera.awaitsKeyFrame)
        #expect(signs(&camera, [(0, slice), (1, idr), (2, slice)]) == ".+-")
    }

    @Test func `VP8's frames are told by their first bytes`() {
        let key: [UInt8] = [0x10, 0, 0, 0x9D, 0x01, 0x2A, 0x40, 1, 0xB4, 0, 9]
        var camera = pictures(.vp8)
        #expect(
            signs(&camera, [(0, [0x11, 0, 0, 9]), (1, key), (2, [0x11, 0, 0, 9]), (3, [0x10, 0, 0, 9]), (4, key)])
                == ".+-!+"
        )
        for count in 0..<10 { #expect(EncodedPictures.isVP8KeyFrame(Array(key.prefix(count))) == nil) }
    }

    @Test func `A codec's mode is chosen as those of pictures are`() {
        func mode(_ codec: VideoCodec, _ width: Int, _ height: Int, _ rate: UInt32) -> CameraEncodedMode {
            let interval = FrameInterval(numerator: 1, denominator: rate)
            return CameraEncodedMode(
                codec: codec,
                width: width,
                height: height,
                intervals: [interval].compactMap { $0 }
            )
        }
        let modes = [
            mode(.h264, 1_920, 1_080, 30), mode(.h264, 640, 360, 30), mode(.h264, 640, 360, 5),
            mode(.vp8, 640, 480, 30),
        ]
        let wish = CameraWish(width: 640, height: 360, framesPerSecond: 30)
        #expect(CameraEncodedMode.best(of: modes, in: .h264, for: wish) == modes[1])
        #expect(CameraEncodedMode.best(of: modes, in: .vp8, for: wish) == modes[3])
        #expect(CameraEncodedMode.best(of: [modes[0]], in: .vp8, for: wish) == nil)
    }

    // MARK: Files

    private func file(_ bytes: [UInt8]) throws -> String {
        let path = "/tmp/h264-\(getpid())-\(UInt64.random(in: 0 ... .max)).h264"
        let handle = try #require(fopen(path, "wb"))
        fwrite(bytes, 1, bytes.count, handle)
        fclose(handle)
        return path
    }

    @Test func `A file's pictures begin where their units say so`() throws {
        // Two slices a picture: the second one's first macroblock is not 0, so its first bit is not 1.
        let second: [UInt8] = [0, 0, 1, 0x41, 0x24, 5]
        let delimiter: [UInt8] = [0, 0, 0, 1, 9, 0xF0]
        let path = try file(sps + pps + idr + slice + second + slice + delimiter + idr + sps + pps + idr + second)
        defer { unlink(path) }
        #expect(H264File.isOne(path))
        let source = try H264File(path: path)
        #expect(source.pictureCount == 5)
        #expect(source.keyFrameCount == 2)
        #expect(source.codecs == [.h264] && !source.takesBitRate)
    }

    @Test func `What holds no key frame is refused with what to do`() throws {
        for bytes in [[], [1, 2, 3], slice, idr, sps + pps] as [[UInt8]] {
            let path = try file(bytes)
            defer { unlink(path) }
            #expect { try H264File(path: path) } throws: { "\($0)".contains("libx264") }
        }
        #expect(throws: MediaError.self) { try H264File(path: "/nowhere/x.h264") }
        #expect(!H264File.isOne("/nowhere/x.h264"))
    }

    @Test(arguments: [false, true])
    func `A file that is played once tells its end, after all its pictures`(wantsKeyFrame: Bool) async throws {
        let path = try file(slice + sps + pps + idr + slice + slice)
        defer { unlink(path) }
        let source = try H264File(path: path, framesPerSecond: 240, isLooping: false)
        let (frames, frame) = AsyncStream<EncodedVideoFrame>.makeStream()
        let ending = Mutex<MediaError?>(nil)
        source.addFailureHandler { reason in
            ending.withLock { $0 = reason }
            frame.finish()
        }
        #expect(throws: MediaError.self) { try source.startEncoded(.vp8) { _ in } }
        try source.startEncoded(.h264) {
            // There is none to come: nothing is left out for it.
            if wantsKeyFrame { source.requestKeyFrame() }
            frame.yield($0)
        }
        var seen: [Bool] = []
        var times: [Int64] = []
        for await frame in frames {
            seen.append(frame.isKeyFrame)
            times.append(frame.timestampNanoseconds)
        }
        // What comes before the first key frame cannot be decoded, and is left out.
        #expect(seen == [true, false, false])
        #expect(zip(times, times.dropFirst()).allSatisfy { $0 < $1 })
        #expect(ending.withLock { $0?.kind } == .finished)
    }
}
