internal import Containers
internal import Media

/// Sound of an Ogg or WebM file with Opus, decoded block after block of 20 ms; gaps are silence.
final class OpusFileReader: SoundReader {
    private enum Source {
        case ogg(OggOpusReader<FileSource>)
        case webm(WebMTrack)
    }

    /// What Opus is decoded at.
    let sampleRate = 48_000
    let channelCount: Int
    private var source: Source
    private let path: String
    private let decoder: OpusDecoder
    private var pending: [Int16] = []
    /// Samples of each channel that went out.
    private var position: Int64 = 0
    /// Samples to throw away before the sound begins.
    private var preSkip: Int
    private var hasEnded = false

    private static let blockLength = OpusEncoder.samplesPerBlock
    /// A gap shorter than it, in samples, is rounding.
    private static let gapLimit: Int64 = 1_920
    /// No longer silence is played, in samples: a minute.
    private static let longestGap: Int64 = 60 * 48_000

    init(_ path: String) throws(MediaError) {
        self.path = path
        let file = try FileBytes(path, mode: "r")
        let magic = file.read(4)
        file.seek(to: 0)
        let head: OpusHead
        if magic == Array("OggS".utf8) {
            do throws(ContainerError) {
                let reader = try OggOpusReader(FileSource(file: file))
                head = reader.head
                source = .ogg(reader)
            } catch {
                throw Self.unsupported(path, error)
            }
        } else if magic == WebMTrack.magic {
            let webm = try WebMTrack(file, kind: .audio)
            guard let found = OpusHead(webm.track.codecPrivate) else {
                let what =
                    OpusHead.isOne(webm.track.codecPrivate)
                    ? OpusHead.unreadable(webm.track.codecPrivate) : "Opus without a head"
                throw Self.unsupported(path, .unsupported(what))
            }
            head = found
            source = .webm(webm)
        } else {
            throw MediaError(
                .malformed,
                path,
                "is neither a WAV, an Ogg nor a WebM file: convert it, as with ffmpeg -i \(path.shellWord) -c:a pcm_s16le out.wav"
            )
        }
        channelCount = min(2, max(1, head.channelCount))
        preSkip = head.preSkip
        decoder = try OpusDecoder(channelCount: channelCount)
    }

    /// A file that cannot be read, and what to do where another program can read it.
    private static func unsupported(_ path: String, _ error: ContainerError) -> MediaError {
        var result = MediaError(path, error)
        if case .unsupported = error {
            result.message += ": convert it, as with ffmpeg -i \(path.shellWord) -ac 2 -c:a libopus out.opus"
        }
        return result
    }

    /// The next 20 ms, nil at the end.
    func nextBlock() throws(MediaError) -> [Int16]? {
        let wanted = Self.blockLength * channelCount
        while pending.count < wanted, !hasEnded { try readOn() }
        guard !pending.isEmpty else { return nil }
        let block = Array(pending.prefix(wanted))
        pending.removeFirst(block.count)
        position += Int64(Self.blockLength)
        return block + Array(repeating: 0, count: wanted - block.count)
    }

    private func readOn() throws(MediaError) {
        let packet: [UInt8]?
        switch source {
        case .ogg(var reader):
            do throws(ContainerError) {
                packet = try reader.nextPacket()
            } catch {
                throw MediaError(path, error)
            }
            source = .ogg(reader)
        case .webm(var track):
            let frame = try track.next()
            source = .webm(track)
            packet = frame?.payload
            let reached = position + Int64(pending.count / channelCount)
            let due = (frame?.nanoseconds ?? track.period) / 1_000 * 48 / 1_000
            // At the end up to the last of all tracks, so that they begin again together.
            let gap = min(due - reached, Self.longestGap)
            if gap > (frame == nil ? 0 : Self.gapLimit) {
                pending += Array(repeating: 0, count: Int(gap) * channelCount)
            }
        }
        guard let packet else {
            hasEnded = true
            return
        }
        var samples: [Int16]
        do throws(MediaError) {
            samples = try decoder.decode(packet)
        } catch {
            throw MediaError(.malformed, path, "is damaged: \(error.message) of the decoder")
        }
        let skipped = min(preSkip, samples.count / channelCount)
        preSkip -= skipped
        samples.removeFirst(skipped * channelCount)
        pending += samples
    }
}
