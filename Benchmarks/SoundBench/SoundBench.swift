// SoundBench: what sound processing does to echo, in figures: `sound-bench`, which `make bench-sound` runs.
//
//   sound-bench                 the table for this library's processor
//   sound-bench --export DIR    writes the scene as raw samples (48 kHz, 16 bit, mono): far.raw, microphone.raw
//   sound-bench --score FILE…   the same table for what other programs made of microphone.raw
//
// The speech is flite's (package flite), which always speaks the same; without it a signal like speech is taken.

import Glibc
import Media
import SoundScenes

@main
struct SoundBench {
    static func main() throws {
        let arguments = Array(CommandLine.arguments.dropFirst())
        let isSpoken = Speech.isInstalled
        let scene = Self.scene()
        switch arguments.first {
        case "--export":
            guard arguments.count == 2 else { usage() }
            try Raw.write(scene.far, to: "\(arguments[1])/far.raw")
            try Raw.write(scene.microphone, to: "\(arguments[1])/microphone.raw")
        case "--score":
            Table.begin(isSpoken)
            for path in arguments.dropFirst() {
                Table.row(path, EchoScore(scene, output: try Raw.read(path)), microseconds: nil)
            }
        case nil:
            Table.begin(isSpoken)
            Table.row("nothing done", EchoScore(scene, output: scene.microphone), microseconds: nil)
            var echo = VoiceProcessor.Options.none
            echo.echoCancellation = true
            var quiet = echo
            quiet.noiseSuppression = true
            for (name, options) in [
                ("echo cancellation", echo), ("and noise suppression", quiet),
                ("and gain control", VoiceProcessor.Options()),
            ] {
                let run = try Run(scene, options)
                Table.row(name, EchoScore(scene, output: run.output), microseconds: run.microsecondsPerBlock)
            }
        default: usage()
        }
    }

    private static func usage() -> Never {
        print("usage: sound-bench [--export DIR | --score FILE…]")
        exit(2)
    }

    /// One minute: the other side alone, both from 20 s on, the other alone from 35 s on, the loudspeaker moved at 45 s.
    private static func scene() -> EchoScene {
        var plan = EchoScene.Plan()
        func env(_ name: String) -> Double? { getenv(name).flatMap { Double(String(cString: $0)) } }
        plan.echoLoss = env("LOSS") ?? 6
        plan.nearLevel = env("NEAR") ?? -26
        plan.drift = env("DRIFT") ?? 0
        let d = env("DIRECT") ?? 6
        let rt = env("RT") ?? 0.3
        return EchoScene(plan,
            far: Speech.voice("slt", Speech.far) ?? SpeechLike.samples(seconds: 60, pitch: 190, seed: 1),
            near: Speech.voice("rms", Speech.near) ?? SpeechLike.samples(seconds: 15, pitch: 105, seed: 2),
            before: Room(delaySamples: 144, reverberation: rt, directness: d, tail: 0.2, seed: 3),
            after: Room(delaySamples: 260, reverberation: rt, directness: d, tail: 0.2, seed: 4)
        )
    }
}

/// A scene as a processor heard it.
struct Run {
    let output: [Int16]
    let microsecondsPerBlock: Double

    init(_ scene: EchoScene, _ options: VoiceProcessor.Options) throws {
        let processor = try VoiceProcessor(options: options)
        // What is played is told 20 ms before it is heard, as the alignment of real devices does.
        let held = max(0, scene.plan.delayMilliseconds - 20) / 10
        var output: [Int16] = []
        output.reserveCapacity(scene.microphone.count)
        var spent = 0.0
        for index in 0..<scene.blockCount {
            let far = index >= held ? scene.farBlock(index - held) : []
            var block = scene.microphoneBlock(index)
            let start = Self.cpuSeconds()
            _ = processor.process(&block, played: far)
            spent += Self.cpuSeconds() - start
            output += block
        }
        self.output = output
        microsecondsPerBlock = spent * 1e6 / Double(scene.blockCount)
    }

    private static func cpuSeconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}

/// The table, in Markdown.
enum Table {
    static func begin(_ isSpoken: Bool) {
        print(
            """
            One minute of 48 kHz, \(isSpoken ? "two voices of flite" : "a signal like speech (flite is not installed)"): \
            echo 6 dB below what is played, 60 ms late, room of 0.3 s; near speech as loud, from 20 to 35 s; the
            loudspeaker is moved at 45 s; noise at -66 dBFS.

            | what | ERLE dB | 20 dB after s | ERLE after change dB | again after s | near speech: level dB | lost blocks % \
            | correlation | to the rest dB | CPU µs per 10 ms |
            | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
            """
        )
    }

    static func row(_ name: String, _ score: EchoScore, microseconds: Double?) {
        let cells = [
            text(score.enhancement), score.convergence.map { text($0) } ?? "never",
            text(score.enhancementAfterChange), score.reconvergence.map { text($0) } ?? "never",
            text(score.nearLevelChange), text(score.nearBlocksLost * 100), text(score.nearCorrelation, digits: 3),
            text(score.nearToRest), microseconds.map { text($0, digits: 0) } ?? "–",
        ]
        print("| \(name) | \(cells.joined(separator: " | ")) |")
    }

    private static func text(_ value: Double, digits: Int = 1) -> String {
        let scale = pow(10, Double(digits))
        let rounded = (value * scale).rounded() / scale
        return digits == 0 ? "\(Int(rounded))" : "\(rounded)"
    }
}

/// Files of samples without a header.
enum Raw {
    static func write(_ samples: [Int16], to path: String) throws {
        guard let file = fopen(path, "w") else { throw MediaError(.notUsable, path, "cannot be written") }
        defer { fclose(file) }
        guard fwrite(samples, 2, samples.count, file) == samples.count else {
            throw MediaError(.notUsable, path, "cannot be written to its end")
        }
    }

    static func read(_ path: String) throws -> [Int16] {
        guard let file = fopen(path, "r") else { throw MediaError(.notFound, path, "cannot be read") }
        defer { fclose(file) }
        var samples: [Int16] = []
        var piece = [Int16](repeating: 0, count: 48_000)
        while case let count = fread(&piece, 2, piece.count, file), count > 0 { samples += piece[..<count] }
        return samples
    }
}
