internal import Containers
public import Media

/// Plays a WAV (16-bit PCM), Ogg (Opus) or WebM (Opus) file as a source of sound.
public final class AudioFile: AudioSource, FailingDevice {
    /// Path of the file.
    public let path: String
    /// The file's path.
    public var label: String { path }
    /// Whether it begins again at its end.
    public let isLooping: Bool
    private let thread = ThreadSlot()
    private let failures = FailureHandlers()
    /// All of a WAV file; nil where sound is decoded as it is played.
    private let wave: WaveSound?

    /// Opens the file.
    ///
    /// - Throws: `MediaError` that names what was found and what is expected.
    public init(path: String, isLooping: Bool = true) throws(MediaError) {
        self.path = path
        self.isLooping = isLooping
        let file = try FileBytes(path, mode: "r")
        let magic = file.read(4)
        file.seek(to: 0)
        if magic == Array("RIFF".utf8) {
            wave = try WaveSound(file)
        } else {
            wave = nil
            _ = try OpusFileReader(path)
        }
    }

    /// Calls `handler` when the file is over, or cannot be read on since it is cut or damaged.
    public func addFailureHandler(_ handler: @escaping @Sendable (MediaError) -> Void) { failures.add(handler) }

    /// Starts at the beginning.
    public func start(deliver: @escaping @Sendable (AudioFrame) -> Void) throws {
        let next: @Sendable (Int64) throws(MediaError) -> AudioFrame
        if let wave {
            let (path, isLooping) = (path, isLooping)
            // Counted by the source's thread alone once it is started.
            nonisolated(unsafe) var count = 0
            next = { time throws(MediaError) in
                let number = unsafe count
                unsafe count += 1
                guard isLooping || number < wave.blockCount else {
                    throw MediaError(.finished, path, "has been played to its end")
                }
                return wave.block(number, timestampNanoseconds: time)
            }
        } else {
            // Used by the source's thread alone once it is started.
            nonisolated(unsafe) let playing = Playing(
                path: path,
                reader: try OpusFileReader(path),
                isLooping: isLooping
            )
            next = { time throws(MediaError) in unsafe try playing.block(timestampNanoseconds: time) }
        }
        let failures = failures
        let new = ScheduledThread(name: "audio file", intervalNanoseconds: 20_000_000) { _, time in
            do throws(MediaError) {
                deliver(try next(time))
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

    /// One playing of a decoded file, round after round.
    private final class Playing {
        private let path: String
        private let isLooping: Bool
        private var reader: OpusFileReader
        private var isEmpty = true

        init(path: String, reader: OpusFileReader, isLooping: Bool) {
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
                        sampleRate: 48_000,
                        channelCount: reader.channelCount,
                        timestampNanoseconds: timestampNanoseconds
                    )
                }
                guard !isEmpty else { throw MediaError(.malformed, path, "has no sound") }
                guard isLooping else { throw MediaError(.finished, path, "has been played to its end") }
                isEmpty = true
                reader = try OpusFileReader(path)
            }
        }
    }
}
