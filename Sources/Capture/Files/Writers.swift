internal import Glibc
internal import Locking
public import Media

/// Writes VP8 frames to an IVF file as they are, without encoding them again.
public final class IVFWriter: Sendable {
    private struct State {
        var file: FileBytes?
        var frameCount = 0
        var firstTime: Int64?
    }

    /// Where it is written.
    public let path: String
    /// The file is used only inside the mutex.
    private let state: Mutex<State>

    /// Creates the file; an existing one is replaced.
    public init(path: String) throws(MediaError) {
        self.path = path
        state = Mutex(State(file: try FileBytes(path, mode: "w")))
    }

    /// Adds a frame.
    ///
    /// The first must be a key frame, whose size goes into the header; others before it are skipped.
    ///
    /// `timestampNanoseconds`: the picture's time; stored in milliseconds.
    public func write(_ payload: [UInt8], isKeyFrame: Bool, timestampNanoseconds: Int64) throws(MediaError) {
        try state.withLock { state throws(MediaError) in
            guard let file = state.file else { return }
            if state.firstTime == nil {
                guard isKeyFrame, payload.count >= 10 else { return }
                state.firstTime = timestampNanoseconds
                try file.write(
                    Self.header(
                        width: payload.littleEndian16(at: 6) & 0x3FFF,
                        height: payload.littleEndian16(at: 8) & 0x3FFF,
                        frameCount: 0
                    )
                )
            }
            var head: [UInt8] = []
            head.appendLittleEndian(payload.count, bytes: 4)
            let (time, isOver) = timestampNanoseconds.subtractingReportingOverflow(state.firstTime ?? 0)
            head.appendLittleEndian(isOver ? 0 : max(0, Int(time / 1_000_000)), bytes: 8)
            try file.write(head)
            try file.write(payload)
            state.frameCount += 1
        }
    }

    /// Puts the number of frames into the header and closes the file; removes one that has no frame.
    public func close() {
        state.withLock { state in
            if state.file != nil, state.firstTime == nil { _ = unsafe unlink(path) }
            if let file = state.file, state.firstTime != nil {
                var count: [UInt8] = []
                count.appendLittleEndian(state.frameCount, bytes: 4)
                file.seek(to: 24)
                try? file.write(count)
            }
            state.file = nil
        }
    }

    /// Frames written so far.
    public var frameCount: Int { state.withLock { $0.frameCount } }

    private static func header(width: Int, height: Int, frameCount: Int) -> [UInt8] {
        var header = Array("DKIF".utf8)
        header.appendLittleEndian(0, bytes: 2)
        header.appendLittleEndian(32, bytes: 2)
        header += Array("VP80".utf8)
        header.appendLittleEndian(width, bytes: 2)
        header.appendLittleEndian(height, bytes: 2)
        header.appendLittleEndian(1_000, bytes: 4)
        header.appendLittleEndian(1, bytes: 4)
        header.appendLittleEndian(frameCount, bytes: 4)
        header.appendLittleEndian(0, bytes: 4)
        return header
    }
}

/// Writes sound to a WAV file (16-bit PCM); gaps in time become silence.
public final class WAVWriter: AudioSink, FailingDevice {
    private struct State {
        var file: FileBytes?
        var sampleRate = 0
        var channelCount = 0
        var samplesWritten = 0
        var startTime: Int64 = 0
    }

    /// Where it is written.
    public let path: String
    /// The file is used only inside the mutex.
    private let state: Mutex<State>
    private let failures = FailureHandlers()

    /// A gap longer than this is filled; a shorter one is jitter.
    private static let gapNanoseconds: Int64 = 200_000_000
    /// The longest gap that is filled, in seconds.
    private static let longestGap: Int64 = 60

    /// Creates the file; an existing one is replaced.
    ///
    /// The first block sets rate and channels.
    public init(path: String) throws(MediaError) {
        self.path = path
        state = Mutex(State(file: try FileBytes(path, mode: "w")))
    }

    /// Calls `handler` when the recording has ended since the disk takes no more.
    public func addFailureHandler(_ handler: @escaping @Sendable (MediaError) -> Void) { failures.add(handler) }

    /// Adds a block; an error of the disk ends the recording, and is told to the failure handlers.
    public func take(_ frame: AudioFrame) {
        do throws(MediaError) {
            try write(frame)
        } catch {
            guard error.kind != .invalidArgument else { return }
            end()
            failures.tell(error)
        }
    }

    /// Adds a block; one with another rate than the first is left out.
    ///
    /// - Throws: `MediaError`: `.invalidArgument` for a block that cannot be stored; else of the disk, and what comes
    ///   next can be tried again.
    public func write(_ frame: AudioFrame) throws(MediaError) {
        try state.withLock { state throws(MediaError) in
            guard let file = state.file else { return }
            guard (1...192_000).contains(frame.sampleRate), (1...2).contains(frame.channelCount) else {
                throw MediaError(
                    .invalidArgument,
                    path,
                    "a block of \(frame.channelCount) channels at \(frame.sampleRate) Hz: 1 or 2 up to 192 kHz are stored"
                )
            }
            if state.sampleRate == 0 {
                state.sampleRate = frame.sampleRate
                state.channelCount = frame.channelCount
                state.startTime = frame.timestampNanoseconds
                try file.write(Self.header(state))
            }
            guard frame.sampleRate == state.sampleRate else { return }
            let frame = frame.withChannels(state.channelCount)
            let written = Self.nanoseconds(samples: state.samplesWritten, sampleRate: state.sampleRate)
            let (elapsed, isOver) = frame.timestampNanoseconds.subtractingReportingOverflow(state.startTime)
            // Less than nothing at the least, which is no gap; both are positive else.
            let gap = isOver || elapsed < 0 ? 0 : elapsed - written
            if gap > Self.gapNanoseconds {
                let filled = min(gap, Self.longestGap * 1_000_000_000)
                let count = Int(filled) * state.sampleRate / 1_000_000_000
                try file.write(Array(repeating: 0, count: count * state.channelCount * 2))
                state.samplesWritten += count
                // What was not filled is not filled before the next block either.
                state.startTime += gap - filled
            }
            var bytes: [UInt8] = []
            bytes.reserveCapacity(frame.samples.count * 2)
            for sample in frame.samples { bytes.appendLittleEndian(Int(sample), bytes: 2) }
            try file.write(bytes)
            state.samplesWritten += frame.sampleCount
        }
    }

    /// How long so many samples last, whatever their number.
    static func nanoseconds(samples: Int, sampleRate: Int) -> Int64 {
        let (seconds, rest) = samples.quotientAndRemainder(dividingBy: max(1, sampleRate))
        let (whole, isOver) = Int64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
        guard !isOver else { return .max }
        return whole.addingReportingOverflow(Int64(rest) * 1_000_000_000 / Int64(max(1, sampleRate))).partialValue
    }

    /// Puts the lengths into the header and closes the file; removes one that has no sound.
    ///
    /// If the disk does not take the end of the sound, the failure handlers are told.
    public func close() {
        do throws(MediaError) {
            try state.withLock { state throws(MediaError) in
                if state.file != nil, state.sampleRate == 0 { _ = unsafe unlink(path) }
                guard let file = state.file, state.sampleRate > 0 else {
                    state.file = nil
                    return
                }
                defer { state.file = nil }
                try file.flush()
                file.seek(to: 0)
                try file.write(Self.header(state))
                try file.flush()
            }
        } catch {
            failures.tell(error)
        }
    }

    /// Closes the file after an error, with the lengths of what it holds if they can be written.
    private func end() {
        state.withLock { state in
            if let file = state.file, state.sampleRate > 0 {
                file.seek(to: 0)
                try? file.write(Self.header(state))
            }
            state.file = nil
        }
    }

    private static func header(_ state: State) -> [UInt8] {
        // More than 32 bits can tell is stored as a stream is: up to the end of the file.
        let byteCount = min(state.samplesWritten * state.channelCount * 2, 0xFFFF_FFFF)
        var header = Array("RIFF".utf8)
        header.appendLittleEndian(min(36 + byteCount, 0xFFFF_FFFF), bytes: 4)
        header += Array("WAVEfmt ".utf8)
        header.appendLittleEndian(16, bytes: 4)
        header.appendLittleEndian(1, bytes: 2)
        header.appendLittleEndian(state.channelCount, bytes: 2)
        header.appendLittleEndian(state.sampleRate, bytes: 4)
        header.appendLittleEndian(state.sampleRate * state.channelCount * 2, bytes: 4)
        header.appendLittleEndian(state.channelCount * 2, bytes: 2)
        header.appendLittleEndian(16, bytes: 2)
        header += Array("data".utf8)
        header.appendLittleEndian(byteCount, bytes: 4)
        return header
    }
}
