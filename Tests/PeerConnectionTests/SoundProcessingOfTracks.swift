import PeerConnection
import SoundScenes
import Testing

/// Echo cancellation, noise suppression and gain control, as constraints of a microphone's track.
@Suite struct SoundProcessingOfTracks {
    private func track(_ system: FakeDevices, _ constraints: MediaTrackConstraints = .any) async throws
        -> MediaStreamTrack
    {
        system.addMicrophone("m")
        let stream = try await MediaDevices(system).getUserMedia(.init(audio: constraints))
        return try #require(stream.getAudioTracks().first)
    }

    private func processing(_ track: MediaStreamTrack) -> [Bool?] {
        let settings = track.getSettings()
        return [settings.echoCancellation, settings.noiseSuppression, settings.autoGainControl]
    }

    @Test func eachPartIsHadOrNotByConstraints() async throws {
        for echo in [true, false] {
            for noise in [true, false] {
                for gain in [true, false] {
                    let constraints = MediaTrackConstraints(
                        echoCancellation: .exact(echo),
                        autoGainControl: .exact(gain),
                        noiseSuppression: .ideal(noise)
                    )
                    let track = try await track(FakeDevices(), constraints)
                    #expect(processing(track) == [echo, noise, gain])
                    #expect(track.getConstraints() == constraints)
                }
            }
        }
        let track = try await track(FakeDevices())
        let capabilities = track.getCapabilities()
        #expect(capabilities.echoCancellation == [true, false])
        #expect(capabilities.noiseSuppression == [true, false])
        #expect(capabilities.autoGainControl == [true, false])
    }

    @Test func partsChangeWhileTheTrackRunsAndClonesKeepTheirs() async throws {
        let system = FakeDevices()
        let track = try await track(system)
        let clone = track.clone()
        let (taken, cloned) = (Taken<AudioFrame>(), Taken<AudioFrame>())
        let subscriptions = [
            try track.addAudioTaker { taken.add($0) }, try clone.addAudioTaker { cloned.add($0) },
        ]
        let microphone = try #require(system.microphones.first)
        let samples = [Int16](repeating: 5_000, count: 480)
        microphone.give(samples, at: 0)
        #expect(taken.all.first?.hasVoice != nil)
        #expect(taken.all.first?.samples != samples)
        try await track.applyConstraints(
            .init(echoCancellation: .exact(false), autoGainControl: .exact(false), noiseSuppression: .exact(false))
        )
        #expect(processing(track) == [false, false, false])
        #expect(processing(clone) == [true, true, true])
        microphone.give(samples, at: 10_000_000)
        // As the card gave it, and nobody has looked whether somebody speaks.
        #expect(taken.all.last?.samples == samples)
        #expect(taken.all.last?.hasVoice == nil)
        #expect(cloned.all.last?.samples != samples)
        try await track.applyConstraints()
        #expect(processing(track) == [true, true, true])
        for subscription in subscriptions { subscription.cancel() }
    }

    @Test func sourcesThatAreNoDevicesStayAsTheyAre() async throws {
        let track = MediaStreamTrack(Tone())
        #expect(processing(track) == [false, false, false])
        #expect(track.getCapabilities().echoCancellation == [false])
        try await track.applyConstraints(.init(echoCancellation: true, noiseSuppression: true))
        #expect(processing(track) == [false, false, false])
        do {
            try await track.applyConstraints(.init(echoCancellation: .exact(true)))
            #expect(Bool(false), "a tone has no echo")
        } catch {
            #expect(error.name == .overconstrainedError && error.constraint == "echoCancellation")
        }
    }

    @Test func whatTheLoudspeakerPlaysIsTakenOutOfTheMicrophonesSound() async throws {
        let system = FakeDevices()
        let track = try await track(
            system,
            .init(autoGainControl: .exact(false), noiseSuppression: .exact(false))
        )
        var plan = EchoScene.Plan()
        plan.seconds = 5
        plan.doubleTalk = 5..<5
        plan.change = 5
        // The loudspeaker's 40 ms; the rest is the room.
        plan.delayMilliseconds = 40
        let room = Room(delaySamples: 144, reflections: 40, seed: 3)
        let far = SpeechLike.samples(seconds: 5, pitch: 190, seed: 1)
        let scene = EchoScene(plan, far: far, near: [], before: room, after: room)
        let taken = Taken<AudioFrame>()
        let subscription = try track.addAudioTaker { taken.add($0) }
        let microphone = try #require(system.microphones.first)
        let begin: Int64 = 1_000_000_000
        for index in 0..<scene.blockCount {
            let time = begin + Int64(index) * 10_000_000
            system.playedSound.put(
                AudioFrame(
                    samples: scene.farBlock(index),
                    sampleRate: 48_000,
                    channelCount: 1,
                    timestampNanoseconds: 0
                ),
                heardNanoseconds: time + 40_000_000
            )
            microphone.give(scene.microphoneBlock(index), at: time)
        }
        subscription.cancel()
        let output = taken.all.flatMap(\.samples)
        #expect(output.count == scene.microphone.count)
        let enhancement = EchoScore.enhancement(scene, output, 2.5..<5)
        #expect(enhancement > 20, "\(enhancement) dB")
    }

    @Test func blocksOfAnyLengthAndRateComeOutWhole() async throws {
        let shapes = [
            (48_000, [1, 7, 479, 480, 481, 960, 5_000, 0]), (44_100, [441, 100]), (8_000, [160, 3]),
        ]
        for (rate, lengths) in shapes {
            let system = FakeDevices()
            let track = try await track(system)
            let taken = Taken<AudioFrame>()
            let subscription = try track.addAudioTaker { taken.add($0) }
            let microphone = try #require(system.microphones.first)
            var given = 0
            for round in 0..<40 {
                let count = lengths[round % lengths.count]
                microphone.give(
                    (0..<count).map { Int16(($0 + given) % 200 * 50) },
                    sampleRate: rate,
                    at: 1_000_000_000 + Int64(given) * 1_000_000_000 / Int64(rate)
                )
                given += count
            }
            subscription.cancel()
            let frames = taken.all
            #expect(frames.allSatisfy { $0.sampleRate == 48_000 && $0.sampleCount % 480 == 0 && $0.sampleCount > 0 })
            let expected = given * 48_000 / rate
            let count = frames.reduce(0) { $0 + $1.sampleCount }
            #expect((expected - 481...expected).contains(count), "\(count) of \(expected) at \(rate)")
            // Each block's time is that of its first sample.
            var place = 0
            for frame in frames {
                let time = 1_000_000_000 + Int64(place) * 1_000_000_000 / 48_000
                #expect(abs(frame.timestampNanoseconds - time) < 1_000_000)
                place += frame.sampleCount
            }
        }
    }
}
