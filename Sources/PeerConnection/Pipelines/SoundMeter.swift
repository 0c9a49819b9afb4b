internal import Locking
internal import Media

/// How loud the sound is that passes, as webrtc-stats wants it.
///
/// Written by the thread of the sound, read by the event loop; held for an addition.
final class SoundMeter: Sendable {
    /// What has passed.
    struct Reading {
        /// The root mean square of the last block, full scale being 1.
        var level = 0.0
        /// The integral of the squares over time, in seconds.
        var energy = 0.0
        /// Seconds of sound.
        var duration = 0.0
        /// Whether somebody spoke in the last block; nil where nobody looks.
        var hasVoice: Bool?
    }

    private let state = Mutex(Reading())

    var reading: Reading { state.withLock { $0 } }

    /// Takes a block.
    func note(_ frame: AudioFrame) {
        guard !frame.samples.isEmpty, frame.sampleRate > 0 else { return }
        let mean = SoundLevel.energy(frame.samples) / Double(frame.samples.count)
        let seconds = Double(frame.sampleCount) / Double(frame.sampleRate)
        state.withLock { state in
            state.level = mean.squareRoot()
            state.energy += mean * seconds
            state.duration += seconds
            state.hasVoice = frame.hasVoice
        }
    }
}
