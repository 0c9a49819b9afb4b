import Foundation
import Media
import NullSound
import Testing

@testable import Capture

/// ALSA capture and playback on any machine.
@Suite(.serialized) struct SoundDevices {
    init() { ALSAConfiguration.use() }

    private func record(_ microphone: ALSAMicrophone, blocks: Int) async throws -> [AudioFrame] {
        let gathering = Gathering<AudioFrame>(blocks)
        try microphone.start { gathering.add($0) }
        let result = await gathering.result()
        microphone.stop()
        return result
    }

    @Test func `A microphone gives blocks of 10 ms in order, at the pace of time`() async throws {
        let microphone = try ALSAMicrophone(name: "tone")
        #expect(microphone.sampleRate == 48_000 && microphone.channelCount == 1 && microphone.label == "tone")
        let clock = ContinuousClock()
        let start = clock.now
        let blocks = try await record(microphone, blocks: 75)
        #expect(clock.now - start > .milliseconds(400))
        #expect(blocks.allSatisfy { $0.samples.count == 480 && $0.sampleRate == 48_000 && $0.channelCount == 1 })
        #expect(zip(blocks, blocks.dropFirst()).allSatisfy { $0.timestampNanoseconds < $1.timestampNanoseconds })
        let samples = blocks.flatMap(\.samples)
        #expect(signalToNoise(samples, frequency: 1_000, sampleRate: 48_000) > 60)
        #expect(microphone.statistics.blocksDelivered >= 75)
        #expect(microphone.statistics.overruns == 0)
    }

    @Test func `Two channels stay apart`() async throws {
        let microphone = try ALSAMicrophone(name: "pair", channelCount: 2)
        #expect(microphone.channelCount == 2)
        let blocks = try await record(microphone, blocks: 10)
        let samples = blocks.flatMap(\.samples)
        #expect(blocks.allSatisfy { $0.samples.count == 960 })
        #expect(stride(from: 0, to: samples.count, by: 2).allSatisfy { samples[$0] == -samples[$0 + 1] })
        #expect(samples.contains { $0 > 7_000 })
    }

    @Test func `A card of another rate gives its own`() async throws {
        let microphone = try ALSAMicrophone(name: "old")
        #expect(microphone.sampleRate == 44_100)
        let blocks = try await record(microphone, blocks: 5)
        #expect(blocks.allSatisfy { $0.samples.count == 441 && $0.sampleRate == 44_100 })
    }

    @Test func `A microphone gives nothing after stop, and starts again`() async throws {
        let microphone = try ALSAMicrophone(name: "tone")
        let first = Gathering<AudioFrame>(3)
        try microphone.start { first.add($0) }
        _ = await first.result()
        microphone.stop()
        let count = first.count
        #expect(try await record(microphone, blocks: 3).count >= 3)
        #expect(first.count == count)
        microphone.stop()
    }

    @Test func `A loudspeaker plays what its inputs get`() async throws {
        let speaker = try ALSASpeaker(name: "out")
        #expect(speaker.sampleRate == 48_000 && speaker.channelCount == 2)
        let input = speaker.makeInput()
        try speaker.start()
        let (tone, taken) = (Tone(frequency: 600), Gathering<Void>(25))
        try tone.start { block in
            input.take(block)
            taken.add(())
        }
        _ = await taken.result()
        tone.stop()
        speaker.stop()
        let bytes = try Data(contentsOf: URL(fileURLWithPath: ALSAConfiguration.output))
        let left = stride(from: 0, to: bytes.count - 3, by: 4).map {
            Int16(truncatingIfNeeded: Int(bytes[$0]) | Int(bytes[$0 + 1]) << 8)
        }
        // Half a second of sound, and at most so much silence as a device without a clock runs ahead.
        let heard = left.filter { $0 != 0 }
        #expect(heard.count > 12_000)
        #expect(left.count < 48_000 * 3)
        let start = try #require(left.firstIndex { $0 != 0 })
        let second = Array(left[(start + 480)..<min(start + 10_080, left.count)])
        #expect(Tone.dominantFrequency(second, sampleRate: 48_000) == 600)
        #expect(speaker.statistics.deviceUnderruns == 0)
    }

    @Test(arguments: [
        ("nowhere", MediaError.Kind.notFound), ("hw:31,0", .notFound), ("missing", .notFound), ("", .invalidArgument),
        (String(repeating: "x", count: 257), .invalidArgument), ("default\u{0}", .invalidArgument),
        ("incomplete", .notUsable),
        ("tone:\"", .notFound), ("{", .notFound),
    ])
    func `Devices that cannot be had are refused with words`(name: String, kind: MediaError.Kind) {
        for open in [{ _ = try ALSAMicrophone(name: name) }, { _ = try ALSASpeaker(name: name) }] {
            let error = #expect(throws: MediaError.self, "\(name)") { try open() }
            #expect([kind, .notUsable].contains(error?.kind), "\(name): \(String(describing: error))")
            #expect(error?.message.isEmpty == false)
        }
    }

    @Test func `Errors say what to do`() {
        func error(_ code: CInt) -> MediaError { PCMDevice.error(-code, "hw:0", .capture, "does not start") }
        #expect(error(EBUSY).kind == .busy)
        #expect(error(EBUSY).message.contains("fuser -v /dev/snd"))
        #expect(error(EACCES).kind == .notPermitted)
        #expect(error(EACCES).message.contains("group audio"))
        #expect(error(ENODEV).kind == .unplugged)
        #expect(error(ENOENT).message.contains("rtc-peer devices"))
        #expect(error(EINVAL).description == "hw:0: the microphone does not start: Invalid argument")
    }
}
