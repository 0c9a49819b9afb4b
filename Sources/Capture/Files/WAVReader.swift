internal import Containers
internal import Media

/// A file of sound that is read block after block of 20 ms.
protocol SoundReader: AnyObject {
    /// Samples a second and channel.
    var sampleRate: Int { get }
    /// 1 or 2.
    var channelCount: Int { get }
    /// The next 20 ms, to a sample, the last ones filled up with silence; nil at the end.
    func nextBlock() throws(MediaError) -> [Int16]?
}

/// The sound of a WAV file, read from the file as it is played: as long as the file is.
final class WAVReader: SoundReader {
    let sampleRate: Int
    let channelCount: Int
    private let file: FileBytes
    private let sampleFormat: WAVSampleFormat
    /// What is left of the sound; nil if its length was not known when the file was written: up to the file's end.
    private(set) var remainingByteCount: Int?
    /// Fiftieths of a sample that the blocks so far are short of their time: 20 ms are no whole number at every rate.
    private var carry = 0

    /// The lengths of sound that was written as a stream, by which none is told.
    private static let unknownLengths = [0, 0xFFFF_FFFF]

    /// Reads up to the sound.
    ///
    /// - Throws: `MediaError` that names what was found and what is expected.
    init(_ file: FileBytes) throws(MediaError) {
        let path = file.path
        guard let riff = file.readExactly(12), riff.starts(with: Array("RIFF".utf8)),
            Array(riff[8...]) == Array("WAVE".utf8)
        else { throw MediaError(.malformed, path, "is no WAV file, though it begins like one") }
        var format: (channels: Int, rate: Int, samples: WAVSampleFormat)?
        while let head = file.readExactly(8) {
            let count = head.littleEndian32(at: 4)
            switch String(decoding: head[..<4], as: UTF8.self) {
            case "fmt ":
                guard (16...1_024).contains(count), let body = file.readExactly(count) else {
                    throw MediaError(.malformed, path, "a broken format chunk")
                }
                let channels = body.littleEndian16(at: 2)
                let rate = body.littleEndian32(at: 4)
                let samples = WAVSampleFormat(formatChunk: body)
                // Samples may have more room than bits, as 24 in 32.
                guard let samples, samples.isPlain16Bit || body.littleEndian16(at: 12) == channels * samples.byteCount,
                    (1...2).contains(channels), (8_000...192_000).contains(rate)
                else {
                    throw MediaError(
                        .malformed,
                        path,
                        "only PCM of 8 to 32 bits, floating point, A-law and µ-law are played, with 1 or 2 channels at 8 to 192 kHz: "
                            + "convert it, as with ffmpeg -i \(path.shellWord) -ac 2 -c:a pcm_s16le out.wav"
                    )
                }
                format = (channels, rate, samples)
            case "data":
                guard let format else { throw MediaError(.malformed, path, "sound before its format") }
                guard file.byteCount - file.offset >= format.samples.byteCount else {
                    throw MediaError(.malformed, path, "has no sound")
                }
                remainingByteCount = Self.unknownLengths.contains(count) ? nil : count
                sampleRate = format.rate
                channelCount = format.channels
                sampleFormat = format.samples
                self.file = file
                return
            default: file.seek(to: file.offset + count + count % 2)
            }
        }
        throw MediaError(.malformed, path, "has no sound")
    }

    func nextBlock() throws(MediaError) -> [Int16]? {
        // Rounded block by block, sound of 11 025 Hz would last 0.2 % longer.
        let due = sampleRate + carry
        carry = due % 50
        let wanted = due / 50 * channelCount
        let byteCount = min(sampleFormat.byteCount * wanted, remainingByteCount ?? .max)
        guard byteCount > 0 else { return nil }
        // Of a file that is cut all that there is is played first.
        let bytes = file.read(byteCount)
        guard !bytes.isEmpty else {
            if remainingByteCount == nil { return nil }
            throw MediaError(file.path, .cut(atByte: file.offset))
        }
        if let remainingByteCount { self.remainingByteCount = remainingByteCount - bytes.count }
        let samples = sampleFormat.samples(bytes)
        return samples + Array(repeating: 0, count: wanted - samples.count)
    }
}
