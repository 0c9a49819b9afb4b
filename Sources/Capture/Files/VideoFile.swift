internal import Locking
public import Media

/// Plays a Y4M or IVF (VP8) file as a source of pictures, at its own rate.
public final class VideoFile: VideoSource {
    /// Path of the file.
    public let path: String
    /// The file's path.
    public var label: String { path }
    /// Whether it begins again at its end.
    public let isLooping: Bool
    private let thread = Mutex<ScheduledThread?>(nil)

    /// Largest picture that is read.
    private static let dimensionLimit = 4_096

    /// Checks that the file is one that can be played.
    ///
    /// - Throws: `MediaError` that names what was found and what is expected.
    public init(path: String, isLooping: Bool = true) throws(MediaError) {
        self.path = path
        self.isLooping = isLooping
        _ = try Reader(path)
    }

    /// Starts at the beginning.
    public func start(deliver: @escaping @Sendable (VideoFrame) -> Void) throws {
        // Used by the source's thread alone once it is started.
        nonisolated(unsafe) var reader = try Reader(path)
        let path = path
        let isLooping = isLooping
        let interval = unsafe reader.intervalNanoseconds
        let new = ScheduledThread(name: "video file", intervalNanoseconds: interval) { _, time in
            for _ in 0..<2 {
                do {
                    if let frame = unsafe try reader.next(timestampNanoseconds: time) {
                        deliver(frame)
                        return true
                    }
                } catch {
                    return false
                }
                guard isLooping, let again = try? Reader(path) else { return false }
                unsafe reader = again
            }
            return false
        }
        thread.withLock { old in
            old?.stop()
            old = new
        }
    }

    /// Stops.
    public func stop() {
        thread.withLock { thread in
            thread?.stop()
            thread = nil
        }
    }

    /// Reads one picture after another.
    final class Reader {
        let intervalNanoseconds: Int64
        private let file: FileBytes
        private let width: Int
        private let height: Int
        private let decoder: VP8Decoder?
        private let pool = VideoFramePool()

        init(_ path: String) throws(MediaError) {
            let file = try FileBytes(path, mode: "r")
            let magic = file.read(10)
            file.seek(to: 0)
            if magic.starts(with: Array("YUV4MPEG2 ".utf8)) {
                guard let line = file.readLine(limit: 256) else {
                    throw MediaError(.malformed, path, "the Y4M header has no end")
                }
                var (width, height, rate, base) = (0, 0, 30, 1)
                for field in String(decoding: line, as: UTF8.self).split(separator: " ").dropFirst() {
                    switch field.first {
                    case "W": width = Int(field.dropFirst()) ?? 0
                    case "H": height = Int(field.dropFirst()) ?? 0
                    case "F":
                        let parts = field.dropFirst().split(separator: ":").compactMap { Int($0) }
                        if parts.count == 2 { (rate, base) = (parts[0], parts[1]) }
                    case "C" where !field.hasPrefix("C420"):
                        throw MediaError(.malformed, path, "colour space \(field.dropFirst()): only 4:2:0 is played")
                    default: break
                    }
                }
                decoder = nil
                self.width = width
                self.height = height
                intervalNanoseconds = Self.interval(rate: rate, base: base)
            } else if magic.starts(with: Array("DKIF".utf8)) {
                guard let header = file.readExactly(32), Array(header[8..<12]) == Array("VP80".utf8) else {
                    throw MediaError(.malformed, path, "an IVF file of another codec than VP8")
                }
                width = header.littleEndian16(at: 12)
                height = header.littleEndian16(at: 14)
                // Time stamps are read as a rate only: frames come at the nominal one.
                intervalNanoseconds = Self.interval(
                    rate: header.littleEndian32(at: 16) >= 1_000 ? 30 : header.littleEndian32(at: 16),
                    base: 1
                )
                decoder = try VP8Decoder()
            } else {
                throw MediaError(
                    .malformed,
                    path,
                    "is neither Y4M nor IVF: convert it, as with ffmpeg -i \(path) -pix_fmt yuv420p out.y4m"
                )
            }
            guard (1...dimensionLimit).contains(width), (1...dimensionLimit).contains(height) else {
                throw MediaError(.malformed, path, "pictures of \(width)x\(height)")
            }
            self.file = file
        }

        private static func interval(rate: Int, base: Int) -> Int64 {
            guard rate > 0, (1...1_000_000).contains(base), rate / base <= 240 else { return 33_333_333 }
            return min(10_000_000_000, max(1_000_000, Int64(base) * 1_000_000_000 / Int64(rate)))
        }

        /// The next picture, nil at the end.
        func next(timestampNanoseconds: Int64) throws(MediaError) -> VideoFrame? {
            if let decoder {
                while let head = file.readExactly(12) {
                    let count = head.littleEndian32(at: 0)
                    guard count <= VP8Decoder.byteLimit, let payload = file.readExactly(count) else {
                        throw MediaError(.malformed, file.path, "a frame of \(count) bytes is cut short")
                    }
                    // Some frames are never shown: others refer to them.
                    let picture = try decoder.decode(payload, timestampNanoseconds: timestampNanoseconds)
                    if let picture { return picture }
                }
                return nil
            }
            guard let line = file.readLine(limit: 256) else { return nil }
            guard line.starts(with: Array("FRAME".utf8)) else {
                throw MediaError(.malformed, file.path, "expected FRAME")
            }
            let (chromaWidth, chromaHeight) = ((width + 1) / 2, (height + 1) / 2)
            guard let bytes = file.readExactly(width * height + 2 * chromaWidth * chromaHeight) else { return nil }
            return try VideoFrame(width: width, height: height, timestampNanoseconds: timestampNanoseconds, pool: pool)
            { planes throws(MediaError) in
                unsafe bytes.withUnsafeBufferPointer { source in
                    var offset = 0
                    func copy(_ target: UnsafeMutablePointer<UInt8>, stride: Int, width: Int, rows: Int) {
                        for row in 0..<rows {
                            let slice = unsafe UnsafeBufferPointer(rebasing: source[offset..<(offset + width)])
                            if let base = slice.baseAddress {
                                unsafe (target + row * stride).update(from: base, count: width)
                            }
                            offset += width
                        }
                    }
                    unsafe copy(planes.y, stride: planes.strideY, width: width, rows: height)
                    unsafe copy(planes.u, stride: planes.strideUV, width: chromaWidth, rows: chromaHeight)
                    unsafe copy(planes.v, stride: planes.strideUV, width: chromaWidth, rows: chromaHeight)
                }
            }
        }
    }
}

/// Plays a WAV file (16-bit PCM) as a source of sound.
public final class AudioFile: AudioSource {
    /// Path of the file.
    public let path: String
    /// The file's path.
    public var label: String { path }
    /// Whether it begins again at its end.
    public let isLooping: Bool
    private let thread = Mutex<ScheduledThread?>(nil)
    private let samples: [Int16]
    private let sampleRate: Int
    private let channelCount: Int

    /// Longest file that is read, in bytes: an hour of stereo at 48 kHz.
    private static let byteLimit = 700 << 20

    /// Reads the file.
    ///
    /// - Throws: `MediaError` that names what was found and what is expected.
    public init(path: String, isLooping: Bool = true) throws(MediaError) {
        self.path = path
        self.isLooping = isLooping
        let file = try FileBytes(path, mode: "r")
        guard let riff = file.readExactly(12), riff.starts(with: Array("RIFF".utf8)),
            Array(riff[8...]) == Array("WAVE".utf8)
        else {
            throw MediaError(
                .malformed,
                path,
                "is not a WAV file: convert it, as with ffmpeg -i \(path) -c:a pcm_s16le out.wav"
            )
        }
        var format: (channels: Int, rate: Int)?
        while let head = file.readExactly(8) {
            let count = head.littleEndian32(at: 4)
            switch String(decoding: head[..<4], as: UTF8.self) {
            case "fmt ":
                guard (16...1_024).contains(count), let body = file.readExactly(count) else {
                    throw MediaError(.malformed, path, "a broken format chunk")
                }
                let kind = body.littleEndian16(at: 0)
                format = (body.littleEndian16(at: 2), body.littleEndian32(at: 4))
                guard kind == 1 || kind == 0xFFFE, body.littleEndian16(at: 14) == 16, let format,
                    (1...2).contains(format.channels),
                    (8_000...192_000).contains(format.rate)
                else {
                    throw MediaError(.malformed, path, "only 16-bit PCM with 1 or 2 channels at 8 to 192 kHz is played")
                }
            case "data":
                guard let format else { throw MediaError(.malformed, path, "sound before its format") }
                let bytes = file.read(min(count, Self.byteLimit))
                samples = (0..<(bytes.count / 2)).map { Int16(truncatingIfNeeded: bytes.littleEndian16(at: 2 * $0)) }
                sampleRate = format.rate
                channelCount = format.channels
                guard !samples.isEmpty else { throw MediaError(.malformed, path, "has no sound") }
                return
            default: file.seek(to: file.offset + count + count % 2)
            }
        }
        throw MediaError(.malformed, path, "has no sound")
    }

    /// Starts at the beginning.
    public func start(deliver: @escaping @Sendable (AudioFrame) -> Void) throws {
        let block = sampleRate / 50 * channelCount
        let (samples, rate, channels, isLooping) = (samples, sampleRate, channelCount, isLooping)
        let blocks = max(1, (samples.count + block - 1) / block)
        let new = ScheduledThread(name: "audio file", intervalNanoseconds: 20_000_000) { index, time in
            guard isLooping || index < blocks else { return false }
            let from = index % blocks * block
            var content = Array(samples[from..<min(from + block, samples.count)])
            content += Array(repeating: 0, count: block - content.count)
            deliver(AudioFrame(samples: content, sampleRate: rate, channelCount: channels, timestampNanoseconds: time))
            return true
        }
        thread.withLock { old in
            old?.stop()
            old = new
        }
    }

    /// Stops.
    public func stop() {
        thread.withLock { thread in
            thread?.stop()
            thread = nil
        }
    }
}
