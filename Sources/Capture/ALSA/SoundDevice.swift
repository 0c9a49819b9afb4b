internal import CALSA
internal import Glibc

/// A microphone or loudspeaker by its ALSA name.
public struct SoundDevice: Hashable, Sendable {
    /// The direction of the sound.
    public enum Direction: Hashable, Sendable {
        /// A microphone.
        case capture
        /// A loudspeaker.
        case playback
    }

    /// ALSA's name, as `default` or `plughw:CARD=PCH,DEV=0`.
    public let name: String
    /// What people call it, in one line.
    public let description: String

    /// ALSA's devices of a direction, as it lists them: `default` first, then sound servers, then cards.
    ///
    /// That a device is listed does not mean that it works.
    public static func all(_ direction: Direction) -> [SoundDevice] {
        let before = unsafe calsa_silence_thread()
        defer { unsafe calsa_restore_thread(before) }
        var hints: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
        guard unsafe snd_device_name_hint(-1, "pcm", &hints) == 0, let list = unsafe hints else { return [] }
        defer { unsafe snd_device_name_free_hint(list) }
        var devices: [SoundDevice] = []
        for index in 0..<hintLimit {
            guard let hint = unsafe list[index] else { break }
            guard let name = unsafe text(hint, "NAME"), isUseful(name) else { continue }
            // No IOID: both directions.
            if let only = unsafe text(hint, "IOID"), only != (direction == .capture ? "Input" : "Output") { continue }
            let lines = unsafe (text(hint, "DESC") ?? name).split(separator: "\n")
            devices.append(SoundDevice(name: name, description: lines.joined(separator: ", ")))
        }
        return devices.sorted { rank($0.name) < rank($1.name) }
    }

    private static func text(_ hint: UnsafeMutableRawPointer, _ key: String) -> String? {
        guard let text = unsafe snd_device_name_get_hint(hint, key) else { return nil }
        defer { unsafe free(text) }
        return unsafe String(cString: text)
    }

    /// ALSA lists its converters and mixers too, and each card under ten names.
    private static func isUseful(_ name: String) -> Bool {
        ["default", "pulse", "pipewire"].contains(name) || name.hasPrefix("plughw:")
    }

    private static func rank(_ name: String) -> Int {
        name == "default" ? 0 : name.contains(":") ? 2 : 1
    }

    private static let hintLimit = 1_024
}
