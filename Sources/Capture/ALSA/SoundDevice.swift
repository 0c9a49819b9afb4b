internal import CALSA
internal import Glibc
public import Media

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

    /// Why this user may not use the machine's cards; nil if there are none, or one may be used.
    ///
    /// ALSA itself does not tell a card that it may not open from one that is not there.
    public static func refusal(_ direction: Direction) -> MediaError? {
        guard let directory = unsafe opendir("/dev/snd") else { return nil }
        defer { unsafe closedir(directory) }
        var refused: MediaError?
        for _ in 0..<hintLimit {
            guard let entry = unsafe readdir(directory) else { break }
            let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            // As pcmC0D0c: card 0, device 0, capture.
            guard name.hasPrefix("pcmC"), name.hasSuffix(direction == .capture ? "c" : "p") else { continue }
            let path = "/dev/snd/" + name
            guard unsafe access(path, R_OK | W_OK) != 0, errno == EACCES else { return nil }
            refused = PCMDevice.error(-EACCES, path, direction, "")
        }
        return refused
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
