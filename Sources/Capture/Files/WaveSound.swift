internal import Media

/// The samples of a WAV file with 16-bit PCM, all in memory.
struct WaveSound: Sendable {
    let samples: [Int16]
    let sampleRate: Int
    let channelCount: Int

    /// Longest file that is read, in bytes: an hour of stereo at 48 kHz.
    private static let byteLimit = 700 << 20

    /// Reads the file.
    ///
    /// - Throws: `MediaError` that names what was found and what is expected.
    init(_ file: FileBytes) throws(MediaError) {
        let path = file.path
        guard let riff = file.readExactly(12), riff.starts(with: Array("RIFF".utf8)),
            Array(riff[8...]) == Array("WAVE".utf8)
        else { throw MediaError(.malformed, path, "is no WAV file, though it begins like one") }
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

    /// Samples of 20 ms, all channels.
    private var blockLength: Int { sampleRate / 50 * channelCount }
    var blockCount: Int { max(1, (samples.count + blockLength - 1) / blockLength) }

    /// Block number `index`, counted on through the rounds; the last of a round is filled up with silence.
    func block(_ index: Int, timestampNanoseconds: Int64) -> AudioFrame {
        let from = index % blockCount * blockLength
        var content = Array(samples[from..<min(from + blockLength, samples.count)])
        content += Array(repeating: 0, count: blockLength - content.count)
        return AudioFrame(
            samples: content,
            sampleRate: sampleRate,
            channelCount: channelCount,
            timestampNanoseconds: timestampNanoseconds
        )
    }
}
