import ArgumentParser
import PeerConnection

/// The options of a call's sound.
struct SoundOptions: ParsableArguments {
    @Flag(
        help:
            "Leave the echo of what the loudspeaker plays in the microphone's sound, as with headphones. Example: --no-echo-cancellation"
    )
    var noEchoCancellation = false

    @Flag(help: "Leave the microphone's noise as it is. Example: --no-noise-suppression")
    var noNoiseSuppression = false

    @Flag(help: "Leave the microphone's level as it is. Example: --no-gain-control")
    var noGainControl = false

    @Flag(
        help:
            "Send next to nothing while nobody speaks, and ask the others to do the same (Opus DTX). Example: --dtx"
    )
    var dtx = false

    /// What is asked of a microphone.
    ///
    /// - Parameters:
    ///   - name: ALSA's name of it; nil for any.
    ///   - isHeard: whether a loudspeaker may play what it hears.
    /// - Returns: ideals only: a microphone that cannot be had otherwise is had as it is.
    func constraints(microphone name: String?, isHeard: Bool) -> MediaTrackConstraints {
        MediaTrackConstraints(
            echoCancellation: .ideal(isHeard && !noEchoCancellation),
            autoGainControl: .ideal(!noGainControl),
            noiseSuppression: .ideal(!noNoiseSuppression),
            deviceId: name.map { .exact($0) }
        )
    }
}
