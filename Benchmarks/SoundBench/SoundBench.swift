// SoundBench: what sound processing does to echo, in figures: `sound-bench`, which `make bench-sound` runs.
//
//   sound-bench                 the table for this library's processor
//   sound-bench --export DIR    writes the scene as raw samples (48 kHz, 16 bit, mono): far.raw, microphone.raw, and
//                               microphone-drift.raw with a loudspeaker whose clock is 0.01 % fast
//   sound-bench --score FILE…   the same table for what other programs made of microphone.raw, or of the other one if
//                               the file's name has “drift” in it
//
// The speech is flite's (package flite), which always speaks the same; without it a signal like speech is taken.

import Capture
import Glibc
import Media
import SoundScenes

@main
struct SoundBench {
    static func main() throws {
        let arguments = Array(CommandLine.arguments.dropFirst())
        let isSpoken = Speech.isInstalled
        let scene = Self.scene(drift: 0)
        switch arguments.first {
        case "--export":
            guard arguments.count == 2 else { usage() }
            try Raw.write(scene.far, to: "\(arguments[1])/far.raw")
            try Raw.write(scene.microphone, to: "\(arguments[1])/microphone.raw")
            try Raw.write(Self.scene(drift: 100).microphone, to: "\(arguments[1])/microphone-drift.raw")
        case "--score":
            Table.begin(isSpoken)
            for path in arguments.dropFirst() {
                let scored = path.contains("drift") ? Self.scene(drift: 100) : scene
                Table.row(path, EchoScore(scored, output: try Raw.read(path)), microseconds: nil)
            }
        case nil:
            Table.begin(isSpoken)
            Table.row("nothing done", EchoScore(scene, output: scene.microphone), microseconds: nil)
            var echo = VoiceProcessor.Options.none
            echo.echoCancellation = true
            var quiet = echo
            quiet.noiseSuppression = true
            let drifting = Self.scene(drift: 100)
            for (name, scene, options) in [
                ("echo cancellation", scene, echo), ("and noise suppression", scene, quiet),
                ("and gain control", scene, VoiceProcessor.Options()),
                ("echo cancellation, clocks 0.01 % apart", drifting, echo),
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
    private static func scene(drift: Double) -> EchoScene {
        var plan = EchoScene.Plan()
        plan.drift = drift
        return EchoScene(
            plan,
            far: Speech.voice("slt", Speech.far) ?? SpeechLike.samples(seconds: 60, pitch: 190, seed: 1),
            near: Speech.voice("rms", Speech.near) ?? SpeechLike.samples(seconds: 15, pitch: 105, seed: 2),
            before: Room(delaySamples: 144, reverberation: 0.3, directness: 6, tail: 0.2, seed: 3),
            after: Room(delaySamples: 260, reverberation: 0.3, directness: 6, tail: 0.2, seed: 4)
        )
    }
}

/// A scene as a processor heard it.
struct Run {
    let output: [Int16]
    let microsecondsPerBlock: Double

    init(_ scene: EchoScene, _ options: VoiceProcessor.Options) throws {
        let processor = try VoiceProcessor(options: options)
        let sound = PlayedSound()
        let speaker = sound.begin()
        var reader = sound.makeReader()
        var far = [Int16](repeating: 0, count: 480)
        var random = SceneGenerator(seed: 6)
        var output: [Int16] = []
        output.reserveCapacity(scene.microphone.count)
        var spent = 0.0
        for index in 0..<scene.blockCount {
            // The two devices' times tremble by 2 ms; and the loudspeaker's clock goes as the scene has it.
            func time(_ milliseconds: Double) -> Int64 {
                Int64((milliseconds + random.uniform(-2...2)) * 1e6) + 1_000_000_000
            }
            let (played, place) = (scene.farBlock(index), Double(index) * 10)
            var block = scene.microphoneBlock(index)
            let heard = time(place / (1 + scene.plan.drift / 1e6) + Double(scene.plan.delayMilliseconds))
            let captured = time(place)
            let start = Self.cpuSeconds()
            sound.put(played, sampleRate: 48_000, channelCount: 1, heard: heard, by: speaker)
            reader.read(&far, captured: captured)
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
        return read(file)
    }

    /// All that is left of it.
    static func read(_ file: UnsafeMutablePointer<FILE>) -> [Int16] {
        var samples: [Int16] = []
        var piece = [Int16](repeating: 0, count: 48_000)
        while case let count = fread(&piece, 2, piece.count, file), count > 0 { samples += piece[..<count] }
        return samples
    }
}
