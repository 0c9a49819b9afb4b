public import Media

/// Plays a WAV, Ogg (Opus) or WebM (Opus) file as a source of sound.
public final class AudioFile: AudioSource, FailingDevice {
    /// Path of the file.
    public let path: String
    /// The file's path.
    public var label: String { path }
    /// Whether it begins again at its end.
    public let isLooping: Bool
    private let thread = ThreadSlot()
    private let failures = FailureHandlers()

    /// Opens the file.
    ///
    /// - Throws: `MediaError` that names what was found and what is expected.
    public init(path: String, isLooping: Bool = true) throws(MediaError) {
        self.path = path
        self.isLooping = isLooping
        _ = try Self.reader(path)
    }

    private static func reader(_ path: String) throws(MediaError) -> any SoundReader {
        let file = try FileBytes(path, mode: "r")
        let magic = file.read(4)
        file.seek(to: 0)
        return magic == Array("RIFF".utf8) ? try WAVReader(file) : try OpusFileReader(path)
    }

    /// Calls `handler` when the file is over, or cannot be read on since it is cut or damaged.
    public func addFailureHandler(_ handler: @escaping @Sendable (MediaError) -> Void) { failures.add(handler) }

    /// Starts at the beginning.
    public func start(deliver: @escaping @Sendable (AudioFrame) -> Void) throws {
        // Used by the source's thread alone once it is started.
        nonisolated(unsafe) let playing = Playing(path: path, reader: try Self.reader(path), isLooping: isLooping)
        let failures = failures
        let new = try ScheduledThread(name: "audio file", subject: path, intervalNanoseconds: 20_000_000) { _, time in
            do throws(MediaError) {
                deliver(unsafe try playing.block(timestampNanoseconds: time))
                return true
            } catch {
                failures.tell(error)
                return false
            }
        }
        thread.replace(with: new)
    }

    /// Stops.
    public func stop() { thread.stop() }

    /// One playing of the file, round after round.
    private final class Playing {
        private let path: String
        private let isLooping: Bool
        private var reader: any SoundReader
        private var isEmpty = true

        init(path: String, reader: any SoundReader, isLooping: Bool) {
            self.path = path
            self.reader = reader
            self.isLooping = isLooping
        }

        func block(timestampNanoseconds: Int64) throws(MediaError) -> AudioFrame {
            while true {
                if let samples = try reader.nextBlock() {
                    isEmpty = false
                    return AudioFrame(
                        samples: samples,
                        sampleRate: reader.sampleRate,
                        channelCount: reader.channelCount,
                        timestampNanoseconds: timestampNanoseconds
                    )
                }
                guard !isEmpty else { throw MediaError(.malformed, path, "has no sound") }
                guard isLooping else { throw MediaError(.finished, path, "has been played to its end") }
                isEmpty = true
                reader = try AudioFile.reader(path)
            }
        }
    }
}
