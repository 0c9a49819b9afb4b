internal import Capture
internal import Locking
internal import Media

/// Brings a source's pictures to a track's size and rate.
final class VideoAdapter: Sendable {
    private struct State {
        var target: VideoTarget?
        /// When the next picture is due, in nanoseconds; 0 before the first.
        var due: Int64 = 0
        var black: VideoFrame?
        /// Of the last picture that came.
        var native: (width: Int, height: Int)?
    }

    private let state = Mutex(State())
    private let pool = VideoFramePool()

    /// What pictures are brought to; nil leaves them.
    var target: VideoTarget? {
        get { state.withLock { $0.target } }
        set {
            state.withLock { state in
                state.target = newValue
                state.due = 0
            }
        }
    }

    /// Width and height of the last picture that came; nil before the first.
    var native: (width: Int, height: Int)? { state.withLock { $0.native } }

    /// Notes the size of a picture.
    ///
    /// - Returns: whether it is another one than before.
    func note(_ frame: VideoFrame) -> Bool {
        state.withLock { state in
            if let native = state.native, native == (frame.width, frame.height) { return false }
            state.native = (frame.width, frame.height)
            return true
        }
    }

    /// The picture as the track gives it; nil for one that is left out.
    func adapt(_ frame: VideoFrame) -> VideoFrame? {
        let target = state.withLock { state -> VideoTarget?? in
            guard let target = state.target else { return .some(nil) }
            return Self.isDue(frame.timestampNanoseconds, target.frameRate, &state.due) ? .some(target) : nil
        }
        guard let target else { return nil }
        // A source may give smaller pictures than it said: they are not made larger.
        guard let target, target.width <= frame.width, target.height <= frame.height else { return frame }
        return try? frame.scaled(toWidth: target.width, height: target.height, pool: pool)
    }

    /// Whether a picture of this time belongs to a slower sequence, evenly spread.
    private static func isDue(_ time: Int64, _ rate: Double?, _ due: inout Int64) -> Bool {
        guard let rate, rate > 0.001, rate < 1_000 else { return true }
        let interval = Int64(1e9 / rate)
        // At first, and after a gap or a leap of the source's clock.
        // A program's own times may be anything.
        if due == 0 || (time &- due).magnitude > UInt64(4 * interval) { due = time }
        guard time &- due >= -interval / 4 else { return false }
        due &+= interval
        return true
    }

    /// Black in the place of a picture.
    func blackened(_ frame: VideoFrame) -> VideoFrame? {
        let known = state.withLock { $0.black }
        if let known, known.width == frame.width, known.height == frame.height, known.rotation == frame.rotation {
            return known.retimed(frame.timestampNanoseconds)
        }
        let black = try? VideoFrame.black(
            width: frame.width,
            height: frame.height,
            timestampNanoseconds: frame.timestampNanoseconds,
            rotation: frame.rotation
        )
        state.withLock { $0.black = black }
        return black
    }
}

/// Brings a source's sound to a track's rate and channels, and makes a microphone's fit for a call.
final class AudioAdapter: Sendable {
    /// What sound is brought to; nil leaves it.
    struct Target: Hashable {
        var sampleRate: Int?
        var channelCount: Int?
        var processing = VoiceProcessor.Options.none
    }

    private struct State {
        var target = Target()
        var processing: SoundProcessing?
        var resampler: Resampler?
        /// Of the last block that came.
        var native: (sampleRate: Int, channelCount: Int)?
        var frameCount = 0
    }

    private let played: PlayedSound
    /// Held while sound is processed.
    private let state = Mutex(State())
    /// What statistics ask for: held for a copy, so that who asks never waits for sound.
    private let echo = Mutex<(loss: Double, enhancement: Double)?>(nil)
    /// Frames between two looks at the echo: half a second or so.
    private static let echoInterval = 50

    /// - Parameter played: what is played while the sound is taken.
    init(played: PlayedSound) { self.played = played }

    var target: Target {
        get { state.withLock { $0.target } }
        set {
            state.withLock { state in
                state.target = newValue
                if !newValue.processing.isActive { state.processing = nil }
                if !newValue.processing.echoCancellation { echo.withLock { $0 = nil } }
            }
        }
    }

    /// Rate and channels of the last block that came; nil before the first.
    var native: (sampleRate: Int, channelCount: Int)? { state.withLock { $0.native } }

    /// How much weaker the echo is, and is made, in decibels; nil if none is taken out, or none has come.
    var echoReturn: (loss: Double, enhancement: Double)? { echo.withLock { $0 } }

    /// The block as the track gives it; nil if it is not complete yet.
    func adapt(_ frame: AudioFrame) -> AudioFrame? {
        state.withLock { state in
            state.native = (frame.sampleRate, frame.channelCount)
            var frame = frame
            if let count = state.target.channelCount { frame = frame.withChannels(count) }
            if state.target.processing.isActive {
                var processing = state.processing.take() ?? SoundProcessing(played: played)
                let processed = processing.process(frame, state.target.processing)
                state.processing = processing
                state.frameCount &+= 1
                if state.frameCount % Self.echoInterval == 0 {
                    let found = processing.echoReturn
                    echo.withLock { $0 = found }
                }
                guard let processed else { return nil }
                frame = processed
            }
            guard let rate = state.target.sampleRate, rate != frame.sampleRate,
                (8_000...192_000).contains(frame.sampleRate)
            else { return frame }
            var resampler: Resampler
            if let known = state.resampler, known.inputRate == frame.sampleRate, known.outputRate == rate,
                known.channelCount == frame.channelCount
            {
                resampler = known
            } else {
                resampler = Resampler(
                    inputRate: frame.sampleRate,
                    outputRate: rate,
                    channelCount: frame.channelCount
                )
            }
            frame.samples = resampler.process(frame.samples)
            frame.sampleRate = rate
            state.resampler = resampler
            return frame
        }
    }
}
