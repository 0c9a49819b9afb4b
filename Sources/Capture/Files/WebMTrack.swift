internal import Containers
internal import Media

/// The first track of one kind in a WebM file: VP8 or Opus.
struct WebMTrack {
    enum Kind { case video, audio }

    static let magic: [UInt8] = [0x1A, 0x45, 0xDF, 0xA3]

    let path: String
    let track: WebMReader<FileSource>.Track
    private var reader: WebMReader<FileSource>
    private var times = WebMTimes()
    private var end: Int64 = 0

    init(_ file: FileBytes, kind: Kind) throws(MediaError) {
        path = file.path
        do throws(ContainerError) {
            reader = try WebMReader(FileSource(file: file))
        } catch {
            throw MediaError(file.path, error)
        }
        let (noun, codec, advice) =
            switch kind {
            case .video: ("pictures", "V_VP8", "-c:v libvpx out.webm")
            case .audio: ("sound", "A_OPUS", "-c:a libopus out.webm")
            }
        let tracks = reader.tracks.filter { kind == .video ? $0.isVideo : $0.isAudio }
        guard let track = tracks.first(where: { $0.codecID == codec }) else {
            let found = tracks.first.map { "\(noun) as \(String($0.codecID.prefix(40))), not \(codec)" } ?? "no \(noun)"
            throw MediaError(
                .malformed,
                file.path,
                "has \(found): convert it, as with ffmpeg -i \(file.path.shellWord) \(advice)"
            )
        }
        self.track = track
    }

    /// The next frame, at a time that counts from the file's first frame; nil at the end.
    mutating func next() throws(MediaError) -> (nanoseconds: Int64, payload: [UInt8])? {
        do throws(ContainerError) {
            while let frame = try reader.nextFrame() {
                let time = times.played(frame.nanoseconds)
                end = max(end, time)
                if frame.track == track.number { return (time, frame.payload) }
            }
            return nil
        } catch {
            throw MediaError(path, error)
        }
    }

    /// How long the file is, known at its end: the same for all of its tracks, so that they stay in step when it begins
    /// again.
    var period: Int64 { (end / 20_000_000 + 2) * 20_000_000 }
}

extension MediaError {
    init(_ path: String, _ error: ContainerError) {
        let kind: Kind
        switch error {
        case .unsupported: kind = .notUsable
        case .notThisKind, .cut, .malformed: kind = .malformed
        }
        self.init(kind, path, error.description)
    }
}

/// A file's bytes for the readers of media files.
struct FileSource: ByteSource {
    let file: FileBytes

    mutating func read(_ count: Int) -> [UInt8] { file.read(count) }

    mutating func skip(_ count: Int) -> Bool {
        guard count > 0 else { return count == 0 }
        let (target, isOver) = file.offset.addingReportingOverflow(count)
        guard !isOver, target <= file.byteCount else { return false }
        file.seek(to: target)
        return true
    }
}
