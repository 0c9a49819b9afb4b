import AllocationCounter
import Media
import SoundScenes
import Testing

/// What a voice processor does to echo, noise and level, on scenes that are the same each time.
@Suite struct VoiceProcessing {
    private static let echoOnly = VoiceProcessor.Options(noiseSuppression: false, autoGainControl: false)

    /// Nine seconds: the other side alone for five, both for three.
    private func scene() -> EchoScene {
        var plan = EchoScene.Plan()
        plan.seconds = 9
        plan.doubleTalk = 5..<8
        plan.change = 9
        plan.delayMilliseconds = 20
        let room = Room(delaySamples: 144, reflections: 40, seed: 3)
        return EchoScene(
            plan,
            far: SpeechLike.samples(seconds: 9, pitch: 190, seed: 1),
            near: SpeechLike.samples(seconds: 3, pitch: 105, seed: 2),
            before: room,
            after: room
        )
    }

    private func run(_ scene: EchoScene, _ options: VoiceProcessor.Options) throws -> [Int16] {
        output(of: try VoiceProcessor(options: options), scene, blockCount: scene.blockCount)
    }

    private func output(of processor: VoiceProcessor, _ scene: EchoScene, blockCount: Int) -> [Int16] {
        var output: [Int16] = []
        for index in 0..<blockCount {
            var block = scene.microphoneBlock(index)
            #expect(processor.process(&block, played: scene.farBlock(index)) != nil)
            output += block
        }
        return output
    }

    @Test func `Echo is taken out, and what is said here while the other side speaks is kept`() throws {
        let scene = scene()
        let with = EchoScore(scene, output: try run(scene, Self.echoOnly), settling: 3)
        #expect(with.enhancement > 20, "\(with)")
        #expect(with.nearLevelChange > -4, "\(with)")
        #expect(with.nearBlocksLost < 0.15, "\(with)")
        #expect(with.nearCorrelation > 0.6, "\(with)")
        #expect(with.convergence != nil)
        let without = EchoScore(scene, output: try run(scene, .none), settling: 3)
        #expect(without.enhancement == 0)
        #expect(without.convergence == nil)
        #expect(without.nearCorrelation < with.nearCorrelation)
    }

    @Test func `A loudspeaker that is switched off makes the library say nothing on standard error`() async throws {
        let result = try await #require(processExitsWith: .success, observing: [\.standardErrorContent]) {
            let options = VoiceProcessor.Options(noiseSuppression: false, autoGainControl: false)
            let processor = try VoiceProcessor(options: options)
            var state: UInt64 = 7
            var played: [Int16] = []
            for index in 0..<1_500 {
                let far = (0..<480).map { _ -> Int16 in
                    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                    return Int16(truncatingIfNeeded: Int(state >> 51) - 4_096)
                }
                played = played.suffix(480) + far
                // The hiss comes back for ten seconds, and a hum that is louder stays.
                var near = (0..<480).map { place -> Int16 in
                    let phase = (index * 480 + place) % 480
                    let hum = phase < 240 ? phase * 120 - 14_400 : 43_200 - phase * 120
                    let echo = index < 1_000 && played.count == 960 ? Int(played[place + 240]) : 0
                    return Int16(clamping: hum / 2 + echo)
                }
                _ = processor.process(&near, played: far)
            }
        }
        let told = String(decoding: result.standardErrorContent, as: UTF8.self)
        #expect(!told.contains("echo canceller"), "\(told)")
    }

    @Test func `Nothing on leaves each sample as it is, and tells level and voice`() throws {
        let speech = SpeechLike.samples(seconds: 2, pitch: 120, seed: 5).pcm
        let processor = try VoiceProcessor(options: .none)
        var voices = 0
        for start in stride(from: 0, to: speech.count - 479, by: 480) {
            let before = Array(speech[start..<(start + 480)])
            var block = before
            let analysis = try #require(processor.process(&block, played: []))
            #expect(block == before)
            #expect(analysis.level == SoundLevel.decibels(before))
            if analysis.hasVoice { voices += 1 }
        }
        #expect(voices > 100, "\(voices) of 200 blocks of speech")
        #expect(processor.echoReturn == nil)
    }

    @Test func `Even noise is weakened, and is no voice`() throws {
        var random = SceneGenerator(seed: 7)
        let noise = (0..<(48_000 * 4)).map { _ in Int16(clamping: Int(random.normal() * 300)) }
        for (isOn, range) in [(true, -40.0 ... -10.0), (false, -3.0...1)] {
            let options = VoiceProcessor.Options(
                echoCancellation: !isOn,
                noiseSuppression: isOn,
                autoGainControl: false
            )
            let processor = try VoiceProcessor(options: options)
            var (output, voices): ([Int16], Int) = ([], 0)
            for start in stride(from: 0, to: noise.count, by: 480) {
                var block = Array(noise[start..<(start + 480)])
                if try #require(processor.process(&block, played: [])).hasVoice { voices += 1 }
                output += block
            }
            let change = SoundLevel.decibels(Array(output.suffix(96_000))) - SoundLevel.decibels(noise)
            #expect(range.contains(change), "\(change) dB with noise suppression \(isOn)")
            // Until it is known what is noise, all sound may be speech.
            #expect(voices < 120, "\(voices) of 400 blocks")
        }
    }

    @Test func `Quiet speech is raised by gain control, and loud speech is not`() throws {
        for (level, range) in [(-44.0, 5.0...13), (-20.0, -8.0...4)] {
            let speech = SpeechLike.samples(seconds: 8, pitch: 120, seed: 9).scaled(toLevel: level).pcm
            let processor = try VoiceProcessor(
                options: .init(echoCancellation: false, noiseSuppression: false, autoGainControl: true)
            )
            var output: [Int16] = []
            for start in stride(from: 0, to: speech.count - 479, by: 480) {
                var block = Array(speech[start..<(start + 480)])
                _ = processor.process(&block, played: [])
                output += block
            }
            let last = 48_000 * 3
            let before = SoundLevel.decibels(Array(speech.suffix(last)))
            let change = SoundLevel.decibels(Array(output.suffix(last))) - before
            #expect(range.contains(change), "\(change) dB at \(level) dB")
        }
    }

    @Test func `Parts are turned on and off between blocks`() throws {
        let scene = scene()
        let processor = try VoiceProcessor(options: .none)
        var random = SceneGenerator(seed: 11)
        for index in 0..<300 {
            let bits = random.bits()
            processor.options = .init(
                echoCancellation: bits & 1 != 0,
                noiseSuppression: bits & 2 != 0,
                autoGainControl: bits & 4 != 0
            )
            let before = scene.microphoneBlock(index)
            var block = before
            #expect(processor.process(&block, played: scene.farBlock(index)) != nil)
            if !processor.options.isActive { #expect(block == before) }
        }
        // From then on it works as one that was never touched.
        processor.options = Self.echoOnly
        let output = output(of: processor, scene, blockCount: 500)
        #expect(EchoScore.enhancement(scene, output, 3..<5) > 20)
        let echo = try #require(processor.echoReturn)
        #expect(echo.enhancement > 10 && (0...14).contains(echo.loss))
    }

    @Test func `Two channels are cleaned each by itself`() throws {
        let scene = scene()
        let processor = try VoiceProcessor(channelCount: 2, options: Self.echoOnly)
        var (left, right): ([Int16], [Int16]) = ([], [])
        for index in 0..<500 {
            var block: [Int16] = scene.microphoneBlock(index).flatMap { [$0, 0] as [Int16] }
            _ = processor.process(&block, played: scene.farBlock(index))
            left += block.indices.filter { $0 % 2 == 0 }.map { block[$0] }
            right += block.indices.filter { $0 % 2 == 1 }.map { block[$0] }
        }
        #expect(EchoScore.enhancement(scene, left, 3..<5) > 20)
        #expect(right.allSatisfy { abs(Int($0)) <= 2 })
    }

    @Test func `Blocks of other lengths are refused as they are, and other numbers of channels`() throws {
        #expect(throws: MediaError.self) { try VoiceProcessor(channelCount: 0) }
        #expect(throws: MediaError.self) { try VoiceProcessor(channelCount: 3) }
        #expect(throws: MediaError.self) { try VoiceProcessor(channelCount: -1) }
        for channels in [1, 2] {
            let processor = try VoiceProcessor(channelCount: channels)
            for count in [0, 1, 479, 481, 441, 960 * 2, 100_000] {
                let before = [Int16](repeating: 1_234, count: count)
                var block = before
                #expect(processor.process(&block, played: []) == nil)
                #expect(block == before)
            }
            // What is played may have any length; it is silence then.
            for count in [0, 1, 479, 481, 100_000] {
                var block = [Int16](repeating: 100, count: 480 * channels)
                #expect(processor.process(&block, played: Array(repeating: 30_000, count: count)) != nil)
            }
        }
    }

    @Test func `Silence, full scale and steps leave it working`() throws {
        let scene = scene()
        let processor = try VoiceProcessor(options: Self.echoOnly)
        var random = SceneGenerator(seed: 13)
        let shapes: [(inout SceneGenerator, Int) -> Int16] = [
            { _, _ in 0 }, { _, index in index / 240 % 2 == 0 ? .max : .min },
            { random, _ in random.bits() & 1 == 0 ? .max : .min }, { _, _ in .min },
            { _, index in index == 0 ? .max : 0 },
        ]
        for near in shapes {
            for far in shapes {
                for _ in 0..<20 {
                    let played = (0..<480).map { far(&random, $0) }
                    var block = (0..<480).map { near(&random, $0) }
                    let analysis = try #require(processor.process(&block, played: played))
                    #expect((-127...0).contains(analysis.level))
                }
            }
        }
        // A minute without any sound of the other side, and then it speaks.
        for _ in 0..<6_000 {
            var block = [Int16](repeating: 3, count: 480)
            _ = processor.process(&block, played: [])
        }
        let output = output(of: processor, scene, blockCount: 500)
        #expect(EchoScore.enhancement(scene, output, 3..<5) > 20)
    }

    @Test func `A microphone that goes silent while the other side speaks gives silence`() throws {
        let scene = scene()
        let processor = try VoiceProcessor(options: Self.echoOnly)
        for index in 0..<400 {
            var block = scene.microphoneBlock(index)
            _ = processor.process(&block, played: scene.farBlock(index))
        }
        var last: [Int16] = []
        for index in 400..<500 {
            var block = [Int16](repeating: 0, count: 480)
            _ = processor.process(&block, played: scene.farBlock(index))
            if index >= 440 { last += block }
        }
        #expect(SoundLevel.decibels(last) < -70, "what was learnt of the echo is not given for the echo")
    }

    @Test(.enabled(if: allocation_counter_counts(), "a sanitizer has its own malloc"))
    func `No block allocates memory`() throws {
        let processor = try VoiceProcessor(channelCount: 2)
        var random = SceneGenerator(seed: 17)
        var block = (0..<960).map { _ in Int16(clamping: Int(random.normal() * 3_000)) }
        let played = (0..<480).map { _ in Int16(clamping: Int(random.normal() * 3_000)) }
        for _ in 0..<10 { _ = processor.process(&block, played: played) }
        let before = allocation_counter_this_thread()
        for _ in 0..<50 { _ = processor.process(&block, played: played) }
        #expect(allocation_counter_this_thread() == before)
    }

    @Test func `Levels are decibels of full scale`() {
        #expect(SoundLevel.decibels([]) == -127)
        #expect(SoundLevel.decibels(Array(repeating: 0, count: 480)) == -127)
        #expect(SoundLevel.decibels(Array(repeating: .min, count: 480)) == 0)
        #expect(abs(SoundLevel.decibels(Array(repeating: 16_384, count: 480)) + 6.02) < 0.01)
        #expect(abs(SoundLevel.decibels([1]) + 90.3) < 0.1)
        #expect(SoundLevel.decibels(meanSquare: -1) == -127)
        #expect(SoundLevel.decibels(meanSquare: .nan) == -127)
    }
}
