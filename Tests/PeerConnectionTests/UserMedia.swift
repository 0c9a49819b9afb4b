import PeerConnection
import Testing

/// Which devices `getUserMedia` takes, what it says of those it cannot have, and who hears of changes.
@Suite struct UserMedia {
    private func failure(_ system: FakeDevices, _ constraints: MediaStreamConstraints) async -> RTCError? {
        do {
            _ = try await MediaDevices(system).getUserMedia(constraints)
            return nil
        } catch {
            return error
        }
    }

    @Test func bothKindsComeInOneStream() async throws {
        let system = FakeDevices()
        system.addCamera("a", CameraMode.webcam)
        system.addMicrophone("m")
        let stream = try await MediaDevices(system).getUserMedia(.init(audio: .any, video: .any))
        #expect(stream.getTracks().map(\.kind) == [.audio, .video])
        #expect(stream.active)
        let sound = try #require(stream.getAudioTracks().first)
        #expect(sound.label == "Microphone m")
        let settings = sound.getSettings()
        #expect(settings.sampleRate == 48_000 && settings.channelCount == 1)
        // As in browsers.
        #expect(settings.echoCancellation == true && settings.noiseSuppression == true)
        #expect(settings.autoGainControl == true)
        // Nothing is on before somebody takes frames.
        #expect(system.cameras.allSatisfy { !$0.isRunning })
        for track in stream.getTracks() { track.stop() }
        #expect(!stream.active)
    }

    @Test func aDeviceIsFoundByItsIdAndBySystemName() async throws {
        let system = FakeDevices()
        system.addCamera("a", CameraMode.webcam)
        system.addCamera("b", path: "/dev/video7", CameraMode.webcam)
        let devices = MediaDevices(system)
        for name in ["b", "/dev/video7"] {
            let stream = try await devices.getUserMedia(.init(video: .init(deviceId: .exact(name))))
            #expect(stream.getVideoTracks().first?.getSettings().deviceId == "b")
            let ideal = try await devices.getUserMedia(.init(video: .init(deviceId: .ideal(name))))
            #expect(ideal.getVideoTracks().first?.label == "Camera b")
        }
        // As of a microphone, and as for an id that no device has.
        for name in ["/dev/video9", "c"] {
            let error = await failure(system, .init(video: .init(deviceId: .exact(name))))
            #expect(error?.name == .overconstrainedError && error?.constraint == "deviceId", "\(name)")
        }
    }

    /// A plug-in of ALSA's is listed although its sound server is not there, and the card belongs to others.
    @Test func whoMayNotUseTheCardIsToldSo() async throws {
        let system = FakeDevices()
        system.addMicrophone("pulse")
        system.refuse("pulse", MediaError(.notUsable, "pulse", "cannot be opened (Connection refused)"))
        #expect(await failure(system, .init(audio: .any))?.name == .notReadableError)
        system.setHint(MediaError(.notPermitted, "/dev/snd/pcmC0D0c", "this user must be in the group audio"))
        let error = await failure(system, .init(audio: .any))
        #expect(error?.name == .notAllowedError)
        #expect(error?.message.contains("group audio") == true)
    }

    @Test func aBusyCameraGivesWayUnlessItIsTheOne() async throws {
        let system = FakeDevices()
        system.addCamera("a", CameraMode.webcam)
        system.addCamera("b", CameraMode.webcam)
        system.refuse("a", MediaError(.busy, "/dev/a", "another program is using it (Device or resource busy)"))
        let stream = try await MediaDevices(system).getUserMedia(.init(video: .any))
        #expect(stream.getVideoTracks().first?.getSettings().deviceId == "b")
        let error = await failure(system, .init(video: .init(deviceId: .exact("a"))))
        #expect(error?.name == .notReadableError)
        #expect(error?.message == "Camera a (/dev/a): another program is using it (Device or resource busy)")
    }

    @Test func refusalsHaveTheirNames() async {
        let system = FakeDevices()
        #expect(await failure(system, .init())?.name == .typeError)
        for constraints in [MediaStreamConstraints(audio: .any), MediaStreamConstraints(video: .any)] {
            let error = await failure(system, constraints)
            #expect(error?.name == .notFoundError)
            #expect(error?.message.contains("plug one in") == true)
        }
        system.addCamera("a", CameraMode.webcam)
        system.addMicrophone("m")
        for (kind, name) in [
            (MediaError.Kind.notPermitted, RTCError.Name.notAllowedError), (.busy, .notReadableError),
            (.unplugged, .notReadableError), (.notUsable, .notReadableError),
        ] {
            system.refuse("a", MediaError(kind, "/dev/a", "(errno text)"))
            system.refuse("m", MediaError(kind, "m", "(errno text)"))
            for constraints in [MediaStreamConstraints(audio: .any), MediaStreamConstraints(video: .any)] {
                let error = await failure(system, constraints)
                #expect(error?.name == name)
                #expect(error?.message.contains("(errno text)") == true)
            }
        }
    }

    @Test func whatMicrophonesCannotDoIsNamed() async throws {
        let system = FakeDevices()
        system.addMicrophone("m")
        for (name, constraints) in [
            ("channelCount", MediaTrackConstraints(channelCount: .exact(6))),
            ("sampleRate", MediaTrackConstraints(sampleRate: .exact(1_000_000))),
            ("deviceId", MediaTrackConstraints(deviceId: .exact("plughw:9,9"))),
            ("width", MediaTrackConstraints(width: .exact(640))),
        ] {
            let error = await failure(system, .init(audio: constraints))
            #expect(error?.name == .overconstrainedError)
            #expect(error?.constraint == name)
        }
        // What should only be, if it can, is no obstacle, and the settings tell.
        let stream = try await MediaDevices(system).getUserMedia(
            .init(audio: .init(width: 640, sampleRate: 16_000, channelCount: 2))
        )
        let track = try #require(stream.getAudioTracks().first)
        let taken = Taken<AudioFrame>()
        let subscription = try track.addAudioTaker { taken.add($0) }
        for _ in 0..<10 { system.microphones.last?.give() }
        subscription.cancel()
        #expect(track.getSettings().sampleRate == 16_000 && track.getSettings().channelCount == 2)
        #expect(taken.all.count == 10)
        #expect(taken.all.allSatisfy { $0.sampleRate == 16_000 && $0.channelCount == 2 })
        #expect(taken.all.map(\.sampleCount).reduce(0, +) == 1_600)
    }

    @Test(.timeLimit(.minutes(10))) func plugAndUnplugAreTold() async throws {
        let system = FakeDevices()
        system.addCamera("a", CameraMode.webcam)
        let devices = MediaDevices(system)
        var events = devices.events.makeAsyncIterator()
        #expect(await devices.enumerateDevices().map(\.deviceId) == ["a"])
        system.addCamera("b", CameraMode.webcam)
        guard case .devicechange(let plugged)? = await events.next() else { return #expect(Bool(false), "no event") }
        #expect(plugged.userInsertedDevices.map(\.deviceId) == ["b"] && plugged.removedDevices.isEmpty)
        #expect(plugged.devices.map(\.deviceId) == ["a", "b"])
        system.remove("a")
        guard case .devicechange(let unplugged)? = await events.next() else { return #expect(Bool(false), "no event") }
        #expect(unplugged.removedDevices.map(\.deviceId) == ["a"] && unplugged.userInsertedDevices.isEmpty)
    }
}
