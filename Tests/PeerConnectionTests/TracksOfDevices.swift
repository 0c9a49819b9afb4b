import Dispatch
import PeerConnection
import Testing

/// Tracks of one device: clones, constraints, ends.
@Suite struct TracksOfDevices {
    private func camera(
        _ constraints: MediaTrackConstraints = .any,
        _ system: FakeDevices = FakeDevices()
    ) async throws -> (FakeDevices, MediaStreamTrack) {
        system.addCamera("a", CameraMode.webcam)
        let stream = try await MediaDevices(system).getUserMedia(.init(video: constraints))
        return (system, try #require(stream.getVideoTracks().first))
    }

    @Test func theCameraIsOnWhileATrackHasTakers() async throws {
        let (system, track) = try await camera()
        let source = try #require(system.cameras.last)
        let clone = track.clone()
        #expect(clone.id != track.id && clone.label == track.label && !source.isRunning)
        let (one, other) = (try track.addVideoTaker { _ in }, try clone.addVideoTaker { _ in })
        #expect(source.isRunning && source.startCount == 1)
        one.cancel()
        #expect(source.isRunning)
        other.cancel()
        #expect(!source.isRunning)
        let again = try track.addVideoTaker { _ in }
        #expect(source.isRunning && source.startCount == 2)
        // Stopped is not the same as unused: the clone goes on.
        track.stop()
        #expect(!source.isRunning && track.readyState == .ended && clone.readyState == .live)
        _ = again
        let last = try clone.addVideoTaker { _ in }
        #expect(source.isRunning)
        clone.stop()
        #expect(!source.isRunning)
        _ = last
    }

    @Test func clonesHaveTheirOwnEnabledAndSize() async throws {
        let (system, track) = try await camera()
        let clone = track.clone()
        try await clone.applyConstraints(.init(width: .exact(320), height: .exact(180)))
        let (large, small) = (Taken<VideoFrame>(), Taken<VideoFrame>())
        let subscriptions = [try track.addVideoTaker { large.add($0) }, try clone.addVideoTaker { small.add($0) }]
        clone.enabled = false
        let source = try #require(system.cameras.last)
        #expect(system.cameras.count == 1, "the camera's mode serves both")
        try source.give(at: 1)
        #expect(large.all.map(\.width) == [640] && large.all[0].sample(x: 5, y: 5).y == 235)
        #expect(small.all.map(\.width) == [320] && small.all.map(\.height) == [180])
        #expect(small.all[0].sample(x: 5, y: 5) == (16, 128, 128), "a disabled track is black")
        clone.enabled = true
        try source.give(at: 2)
        #expect(small.all[1].sample(x: 5, y: 5).y == 235 && small.all[1].timestampNanoseconds == 2)
        #expect(clone.getSettings().resizeMode == "crop-and-scale" && track.getSettings().resizeMode == "none")
        #expect(clone.getConstraints().width == .exact(320) && track.getConstraints() == .any)
        for subscription in subscriptions { subscription.cancel() }
    }

    @Test func theCameraChangesItsModeAndTheOtherTracksPicturesStay() async throws {
        let (system, track) = try await camera()
        let clone = track.clone()
        let (kept, grown) = (Taken<VideoFrame>(), Taken<VideoFrame>())
        let subscriptions = [try track.addVideoTaker { kept.add($0) }, try clone.addVideoTaker { grown.add($0) }]
        try await clone.applyConstraints(.init(width: .exact(1280), height: .exact(720)))
        #expect(system.cameras.count == 2)
        #expect(!system.cameras[0].isRunning && system.cameras[1].isRunning)
        try system.cameras[1].give()
        #expect(grown.all.map(\.width) == [1280] && kept.all.map(\.width) == [640])
        #expect(kept.all.map(\.height) == [480])
        // A smaller mode would take from the clone what it needs.
        try await track.applyConstraints(.init(width: .exact(320), height: .exact(240)))
        #expect(system.cameras.count == 2)
        #expect(track.getSettings().width == 320 && clone.getSettings().width == 1280)
        for subscription in subscriptions { subscription.cancel() }
    }

    @Test(.timeLimit(.minutes(5))) func whatIsAppliedWhileTheCameraChangesComesAfterThat() async throws {
        let (system, track) = try await camera()
        let (openings, begun) = AsyncStream<Void>.makeStream()
        let driver = DispatchSemaphore(value: 0)
        system.setOpeningHandler {
            begun.yield()
            driver.wait()
        }
        async let large: Void = track.applyConstraints(.init(width: .exact(1280), height: .exact(720)))
        for await _ in openings { break }
        // The camera's mode is what this wants, and is about to be another one.
        async let small: Void = track.applyConstraints(.init(width: .exact(640), height: .exact(480)))
        for _ in 0..<20_000 { await Task.yield() }
        system.setOpeningHandler(nil)
        driver.signal()
        _ = try await (large, small)
        #expect(track.getConstraints().width == .exact(640))
        #expect(track.getSettings().width == 640 && track.getSettings().height == 480)
    }

    @Test func aTrackThatWantsTheCamerasOwnPicturesKeepsItsMode() async throws {
        let (system, track) = try await camera(.init(resizeMode: .exact("none")))
        let clone = track.clone()
        await #expect(throws: RTCError.self) { try await clone.applyConstraints(.init(width: .exact(1280))) }
        #expect(system.cameras.count == 1)
        #expect(track.getSettings().width == 640)
    }

    @Test func whatCannotBeAppliedChangesNothing() async throws {
        let (system, track) = try await camera(.init(width: 640))
        do {
            try await track.applyConstraints(.init(width: .exact(5_000)))
            Issue.record("applied")
        } catch {
            #expect(error.name == .overconstrainedError && error.constraint == "width")
        }
        #expect(track.getConstraints().width == 640 && track.getSettings().width == 640)
        // A camera that refuses its new mode goes on in the old one.
        let taken = Taken<VideoFrame>()
        let subscription = try track.addVideoTaker { taken.add($0) }
        system.refuse("a", MediaError(.busy, "/dev/a", "busy"))
        do {
            try await track.applyConstraints(.init(width: .exact(1920)))
            Issue.record("applied")
        } catch {
            #expect(error.name == .notReadableError)
        }
        try system.cameras[0].give()
        #expect(taken.all.map(\.width) == [640])
        subscription.cancel()
        track.stop()
        await #expect(throws: RTCError.self) { try await track.applyConstraints(.any) }
    }

    @Test func aSlowerRateLeavesPicturesOut() async throws {
        let (system, track) = try await camera(.init(frameRate: .exact(10)))
        #expect(track.getSettings().frameRate == 10)
        let taken = Taken<VideoFrame>()
        let subscription = try track.addVideoTaker { taken.add($0) }
        let source = try #require(system.cameras.last)
        let rate = try #require(source.interval).framesPerSecond
        for index in 0..<Int(rate * 3) { try source.give(at: 1 + Int64(Double(index) * 1e9 / rate)) }
        #expect((29...31).contains(taken.all.count))
        // Leaps of the clock do no harm, and are followed.
        for time in [Int64.max, .min, 0, .max, 1_000_000_000_000] { try source.give(at: time) }
        #expect(taken.all.last?.timestampNanoseconds == 1_000_000_000_000)
        subscription.cancel()
    }

    @Test(.timeLimit(.minutes(10))) func anUnpluggedCameraEndsAllItsTracksWithTheReason() async throws {
        let (system, track) = try await camera()
        let clone = track.clone()
        let (streams, handled) = ([track.events, clone.events], Taken<MediaStreamTrack.Event>())
        clone.setEventHandler { handled.add($0) }
        let subscription = try track.addVideoTaker { _ in }
        system.remove("a")
        for events in streams {
            var seen: [MediaStreamTrack.Event] = []
            for await event in events { seen.append(event) }
            guard case .ended(let reason?)? = seen.last else { return #expect(Bool(false), "\(seen)") }
            #expect(seen.count == 1 && reason.kind == .unplugged)
        }
        #expect(handled.all.count == 1)
        #expect(track.readyState == .ended && track.endReason?.kind == .unplugged)
        #expect(!system.cameras[0].isRunning)
        #expect(track.clone().readyState == .ended)
        subscription.cancel()
    }

    @Test(.timeLimit(.minutes(10))) func stopIsNoEvent() async throws {
        let (_, track) = try await camera()
        let events = track.events
        track.stop()
        for await event in events { Issue.record("\(event)") }
        #expect(track.endReason == nil)
    }

    @Test(.timeLimit(.minutes(10))) func aGeneratorsFramesReachItsTrack() async throws {
        let generator = VideoTrackGenerator(label: "mine")
        let track = generator.track
        let taken = Taken<VideoFrame>()
        let events = track.events
        generator.write(try VideoFrame.black(width: 64, height: 48, timestampNanoseconds: 0))
        let subscription = try track.addVideoTaker { taken.add($0) }
        generator.muted = true
        #expect(track.muted)
        let bytes = [UInt8](repeating: 200, count: VideoPixelFormat.nv12.byteCount(width: 64, height: 48))
        let frame = try VideoFrame(bytes: bytes, format: .nv12, width: 64, height: 48, timestampNanoseconds: 7)
        generator.write(frame)
        #expect(!track.muted && track.label == "mine")
        #expect(taken.all.map(\.timestampNanoseconds) == [7])
        #expect(track.getSettings().width == 64)
        // Its pictures are cut and scaled like a camera's.
        try await track.applyConstraints(.init(width: .exact(32), height: .exact(32)))
        generator.write(frame)
        #expect(taken.all.last?.width == 32)
        generator.close()
        var seen: [MediaStreamTrack.Event] = []
        for await event in events { seen.append(event) }
        #expect(seen == [.mute, .unmute, .ended(nil)])
        generator.write(frame)
        #expect(taken.all.count == 2)
        subscription.cancel()
        let sound = AudioTrackGenerator()
        let heard = Taken<AudioFrame>()
        let hearing = try sound.track.addAudioTaker { heard.add($0) }
        let block = AudioFrame(samples: [1, 2], sampleRate: 48_000, channelCount: 1, timestampNanoseconds: 0)
        sound.write(block)
        sound.track.enabled = false
        sound.write(block)
        #expect(heard.all.map(\.samples) == [[1, 2], [0, 0]])
        hearing.cancel()
    }

    @Test func streamsHoldTracks() async throws {
        let (_, track) = try await camera()
        let stream = MediaStream([track, track])
        #expect(stream.getTracks().count == 1 && stream.getTrackById(track.id) === track)
        let clone = stream.clone()
        #expect(clone.id != stream.id && clone.getTracks().count == 1 && clone.getTracks()[0] !== track)
        stream.addTrack(clone.getTracks()[0])
        stream.removeTrack(track)
        #expect(stream.getTracks().count == 1 && stream.getTrackById("x") == nil)
    }
}
