internal import Containers
public import Media

/// Plays a WebM (VP8), Y4M or IVF (VP8) file as a source of pictures, at its own times.
public final class VideoFile: VideoSource, FailingDevice {
    /// Path of the file.
    public let path: String
    /// The file's path.
    public var label: String { path }
    /// Whether it begins again at its end.
    public let isLooping: Bool
    private let thread = ThreadSlot()
    private let failures = FailureHandlers()

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

    /// Calls `handler` when the file is over, or cannot be read on since it is cut or damaged.
    public func addFailureHandler(_ handler: @escaping @Sendable (MediaError) -> Void) { failures.add(handler) }

    /// Starts at the beginning.
    public func start(deliver: @escaping @Sendable (VideoFrame) -> Void) throws {
        // Used by the source's thread alone once it is started.
        nonisolated(unsafe) let playing = Playing(path: path, reader: try Reader(path), isLooping: isLooping)
        let failures = failures
        let new = try TimedThread(name: "video file", subject: path) {
            do throws(MediaError) {
                return unsafe try playing.next()
            } catch {
                failures.tell(error)
                return nil
            }
        } act: { time in
            if let frame = unsafe playing.frame { deliver(frame.retimed(time)) }
        }
        thread.replace(with: new)
    }

    /// Stops.
    public func stop() { thread.stop() }

    /// One playing of the file, round after round.
    private final class Playing {
        private let path: String
        private let isLooping: Bool
        private var reader: Reader
        /// Where this round began.
        private var start: Int64 = 0
        private var isEmpty = true
        private(set) var frame: VideoFrame?

        init(path: String, reader: Reader, isLooping: Bool) {
            self.path = path
            self.reader = reader
            self.isLooping = isLooping
        }

        /// Makes the next picture ready.
        ///
        /// - Returns: when it is due, in nanoseconds from the beginning.
        func next() throws(MediaError) -> Int64 {
            while true {
                if let next = try reader.next(timestampNanoseconds: 0) {
                    frame = next
                    isEmpty = false
                    return start + reader.position
                }
                guard !isEmpty else { throw MediaError(.malformed, path, "holds no picture") }
                guard isLooping else { throw MediaError(.finished, path, "has been played to its end") }
                start += reader.period
                isEmpty = true
                reader = try Reader(path)
            }
        }
    }

    /// Reads one picture after another.
    final class Reader {
        /// When the picture that came last is due, in nanoseconds from the beginning.
        private(set) var position: Int64 = 0
        /// How long a round takes; known at the end.
        private(set) var period: Int64 = 0
        private let intervalNanoseconds: Int64
        private var webm: WebMTrack?
        private var isBegun = false
        private var ivf: IVFTimes?
        private let file: FileBytes
        private let width: Int
        private let height: Int
        private let decoder: VP8Decoder?
        private let pool = VideoFramePool()

        /// The forms of a Y4M file that are read; they differ in where the chroma is sampled.
        private static let colourSpaces = ["420", "420jpeg", "420mpeg2", "420paldv"]

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
                    case "C" where !Self.colourSpaces.contains(String(field.dropFirst())):
                        throw MediaError(
                            .malformed,
                            path,
                            "pictures of the form \(field.dropFirst().prefix(40)), where 4:2:0 with 8 bits is played "
                                + "(\(Self.colourSpaces.joined(separator: ", "))): "
                                + "convert it, as with ffmpeg -i \(path.shellWord) -pix_fmt yuv420p out.y4m"
                        )
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
                ivf = IVFTimes(rate: header.littleEndian32(at: 16), scale: header.littleEndian32(at: 20))
                intervalNanoseconds = 0
                decoder = try VP8Decoder()
            } else if magic.starts(with: WebMTrack.magic) {
                let webm = try WebMTrack(file, kind: .video)
                (width, height) = (max(1, webm.track.width), max(1, webm.track.height))
                intervalNanoseconds = 0
                decoder = try VP8Decoder()
                self.webm = webm
            } else {
                throw MediaError(
                    .malformed,
                    path,
                    "is neither WebM, Y4M nor IVF: convert it, as with ffmpeg -i \(path.shellWord) -c:v libvpx out.webm"
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
            if webm != nil { return try nextOfWebM(timestampNanoseconds) }
            if ivf != nil { return try nextOfIVF(timestampNanoseconds) }
            position = period
            guard let picture = try nextOfY4M(timestampNanoseconds) else { return nil }
            period += intervalNanoseconds
            return picture
        }

        private func nextOfWebM(_ timestampNanoseconds: Int64) throws(MediaError) -> VideoFrame? {
            while let frame = try webm?.next() {
                let picture = try decode(frame.payload, timestampNanoseconds)
                guard let picture else { continue }
                // Never back, nor many at once.
                position = isBegun ? max(frame.nanoseconds, position + 1_000_000) : frame.nanoseconds
                isBegun = true
                return picture
            }
            period = max(webm?.period ?? 0, position + 1_000_000)
            return nil
        }

        private func nextOfIVF(_ timestampNanoseconds: Int64) throws(MediaError) -> VideoFrame? {
            while true {
                // Its length in 32 bits, its timestamp in 64.
                let head = file.read(12)
                guard !head.isEmpty else {
                    period = ivf?.period ?? 0
                    return nil
                }
                guard head.count == 12 else { throw cut() }
                let count = head.littleEndian32(at: 0)
                guard count <= VP8Decoder.byteLimit, let payload = file.readExactly(count) else { throw cut() }
                // Some frames are never shown: others refer to them.
                let picture = try decode(payload, timestampNanoseconds)
                guard let picture else { continue }
                let (low, high) = (UInt64(head.littleEndian32(at: 4)), UInt64(head.littleEndian32(at: 8)))
                ivf?.advance(to: high << 32 | low)
                position = ivf?.position ?? 0
                return picture
            }
        }

        private func nextOfY4M(_ timestampNanoseconds: Int64) throws(MediaError) -> VideoFrame? {
            guard let line = file.readLine(limit: 256) else { return nil }
            guard line.starts(with: Array("FRAME".utf8)) else {
                throw MediaError(.malformed, file.path, "is damaged: expected FRAME")
            }
            let (chromaWidth, chromaHeight) = ((width + 1) / 2, (height + 1) / 2)
            guard let bytes = file.readExactly(width * height + 2 * chromaWidth * chromaHeight) else { throw cut() }
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

        private func decode(_ payload: [UInt8], _ timestampNanoseconds: Int64) throws(MediaError) -> VideoFrame? {
            do throws(MediaError) {
                return try decoder?.decode(payload, timestampNanoseconds: timestampNanoseconds)
            } catch {
                throw MediaError(error.kind, file.path, "is damaged: \(error.message) (\(error.subject))")
            }
        }

        private func cut() -> MediaError {
            MediaError(.malformed, file.path, "is cut short: it ends in the middle of a picture")
        }
    }
}
