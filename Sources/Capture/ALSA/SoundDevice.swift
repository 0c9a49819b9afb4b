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

    /// The devices of a direction in the order in which they are tried where none is named, without a `default` that leads
    /// nowhere: a machine without cards has one, too.
    package static func present(_ direction: Direction) -> [SoundDevice] {
        let all = all(direction)
        guard all.count == 1, all[0].name == defaultName, nodes(direction).isEmpty else { return choices(among: all) }
        return []
    }

    /// The devices that are tried where none is named, in this order: `default`, then the others as they are listed.
    ///
    /// `default` is tried also where nothing is listed at all: the user's own configuration may lead it anywhere.
    public static func choices(_ direction: Direction) -> [SoundDevice] {
        let present = present(direction)
        return present.isEmpty ? [unlistedDefault] : present
    }

    /// Puts `default` first, which ALSA does not list without a sound server: what a user's ~/.asoundrc makes of it is
    /// what every other program takes.
    static func choices(among listed: [SoundDevice]) -> [SoundDevice] {
        guard !listed.isEmpty, !listed.contains(where: { $0.name == defaultName }) else { return listed }
        return [unlistedDefault] + listed
    }

    /// ALSA's name of what is taken where none is named.
    public static let defaultName = "default"
    private static let unlistedDefault = SoundDevice(name: defaultName, description: "ALSA's default")

    /// Which card it is, if it is one.
    package var hardware: DeviceIdentity? {
        // As plughw:CARD=PCH,DEV=0.
        guard
            let card = name.split(whereSeparator: { ":,".contains($0) }).first(where: { $0.hasPrefix("CARD=") })?
                .dropFirst("CARD=".count)
        else { return nil }
        let number = unsafe snd_card_get_index(String(card))
        return number >= 0 ? DeviceIdentity("sound/card\(number)") : nil
    }

    /// The nodes of a direction, as `/dev/snd/pcmC0D0c`: card 0, device 0, capture.
    private static func nodes(_ direction: Direction) -> [String] {
        guard let directory = unsafe opendir("/dev/snd") else { return [] }
        defer { unsafe closedir(directory) }
        var nodes: [String] = []
        for _ in 0..<hintLimit {
            guard let entry = unsafe readdir(directory) else { break }
            let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard name.hasPrefix("pcmC"), name.hasSuffix(direction == .capture ? "c" : "p") else { continue }
            nodes.append("/dev/snd/" + name)
        }
        return nodes
    }

    /// Why this user may not use the machine's cards; nil if there are none, or one may be used.
    ///
    /// ALSA itself does not tell a card that it may not open from one that is not there.
    public static func refusal(_ direction: Direction) -> MediaError? {
        var refused: MediaError?
        for path in nodes(direction) {
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
        name == defaultName || servers.contains(name) || name.hasPrefix("plughw:")
    }

    private static func rank(_ name: String) -> Int {
        name == defaultName ? 0 : name.contains(":") ? 2 : 1
    }

    /// ALSA's names of sound servers.
    public static let servers: Set<String> = ["pulse", "pipewire"]
    private static let hintLimit = 1_024
}
