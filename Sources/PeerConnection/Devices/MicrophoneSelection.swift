internal import Media

/// A microphone, and what is made of its sound.
struct MicrophoneCandidate {
    let device: Int
    let target: AudioAdapter.Target
    let settings: MediaTrackSettings
}

/// The settings that microphones can have.
///
/// Rates and numbers of channels are made where the card has others. Echo cancellation, gain control and noise
/// suppression can each be had or not, and are on unless something else is asked for, as in browsers; sound that comes
/// from no device is left as it is.
enum MicrophoneSelection {
    /// Rates that can be had.
    static let sampleRates = 8_000...96_000
    /// Seconds of a block.
    static let latency = 0.01

    /// Every setting of a microphone that constraints could want, those first that suit a call.
    ///
    /// - Parameters:
    ///   - constraints: name rates and channels.
    ///   - native: the source's own rate and channels, as far as they are known.
    ///   - device: the microphone's number among those that are looked at.
    ///   - info: the microphone; nil for a source that is no device.
    /// - Returns: the settings; of those that serve constraints equally well the first is the one to have.
    static func candidates(
        for constraints: MediaTrackConstraints,
        native: (sampleRate: Int, channelCount: Int)?,
        device: Int,
        info: MediaDeviceInfo?
    ) -> [MicrophoneCandidate] {
        let sets = [constraints.basic] + constraints.advanced.prefix(ConstraintSelection.advancedLimit)
        let present = native?.sampleRate ?? 48_000
        var rates = [present]
        for set in sets {
            guard let rate = set.sampleRate?.target(from: present), sampleRates.contains(rate) else { continue }
            if !rates.contains(rate) { rates.append(rate) }
        }
        // One channel is enough for a call, unless a source that is no device has two.
        let usual = info == nil ? native?.channelCount ?? 1 : 1
        let channels = [usual] + [1, 2].filter { $0 != usual }
        let processings = info == nil ? [.none] : VoiceProcessor.Options.all
        return rates.flatMap { rate in
            channels.flatMap { count in
                processings.map { processing in
                    // What is processed comes at the processor's rate.
                    let given = processing.isActive ? VoiceProcessor.sampleRate : native?.sampleRate
                    return MicrophoneCandidate(
                        device: device,
                        target: .init(
                            sampleRate: rate == given ? nil : rate,
                            channelCount: count == native?.channelCount ? nil : count,
                            processing: processing
                        ),
                        settings: settings(sampleRate: rate, channelCount: count, processing, info)
                    )
                }
            }
        }
    }

    static func settings(
        sampleRate: Int?,
        channelCount: Int?,
        _ processing: VoiceProcessor.Options,
        _ info: MediaDeviceInfo?
    ) -> MediaTrackSettings {
        var settings = MediaTrackSettings()
        settings.sampleRate = sampleRate
        settings.sampleSize = 16
        settings.channelCount = channelCount
        settings.echoCancellation = processing.echoCancellation
        settings.autoGainControl = processing.autoGainControl
        settings.noiseSuppression = processing.noiseSuppression
        if info != nil { settings.latency = latency }
        settings.deviceId = info?.deviceId
        settings.groupId = info?.groupId
        return settings
    }
}

extension VoiceProcessor.Options {
    /// Everything that can be had, all of it first.
    fileprivate static var all: [Self] {
        [true, false].flatMap { echo in
            [true, false].flatMap { noise in
                [true, false].map { gain in
                    Self(echoCancellation: echo, noiseSuppression: noise, autoGainControl: gain)
                }
            }
        }
    }
}
