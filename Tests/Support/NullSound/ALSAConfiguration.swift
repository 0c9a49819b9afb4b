import Foundation

/// ALSA's configuration of a test process: devices that need no card, whatever the machine has.
///
/// They are alsa-lib's `file` and `null` plug-ins, which keep no time of their own. There is one for all tests: alsa-lib
/// reads its configuration once for a process.
public enum ALSAConfiguration {
    /// Makes it, before ALSA is used first.
    ///
    /// `tone` is a microphone that hears 1000 Hz, `pair` one with 1000 Hz on both channels, the right one upside down;
    /// `old` knows 44 100 Hz only; `out` is a loudspeaker that writes ``output``. `default` works and is not listed, as
    /// without a sound server; `pulse` is.
    public static func use() { _ = isReady }

    /// What `out` has played.
    public static var output: String { folder + "/out.raw" }

    private static let folder = FileManager.default.temporaryDirectory.path + "/alsa-tests-\(getpid())"

    private static let isReady: Bool = {
        try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let samples = (0..<240_000).map { Int16((8_000 * sin(2 * .pi * Double($0 % 48) / 48)).rounded()) }
        write("mono.raw", samples)
        write("pair.raw", samples.flatMap { [$0, -$0] })
        let text = """
            pcm.tone { type file slave.pcm null file /dev/null infile "\(folder)/mono.raw" format raw }
            pcm.pair { type file slave.pcm null file /dev/null infile "\(folder)/pair.raw" format raw }
            pcm.old { type plug slave { pcm tone rate 44100 } }
            pcm.out { type file slave.pcm null file "\(folder)/out.raw" format raw }
            pcm.incomplete { type file }
            pcm.missing { type hw card 31 }
            pcm.null { type null }
            pcm.default { type null }
            pcm.pulse { type null hint { show on description "Listed" } }
            """
        try? Data(text.utf8).write(to: URL(fileURLWithPath: "\(folder)/alsa.conf"))
        setenv("ALSA_CONFIG_PATH", "\(folder)/alsa.conf", 1)
        atexit { try? FileManager.default.removeItem(atPath: ALSAConfiguration.folder) }
        return true
    }()

    private static func write(_ name: String, _ samples: [Int16]) {
        let bytes = samples.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8(truncatingIfNeeded: $0 >> 8)] }
        try? Data(bytes).write(to: URL(fileURLWithPath: "\(folder)/\(name)"))
    }
}
