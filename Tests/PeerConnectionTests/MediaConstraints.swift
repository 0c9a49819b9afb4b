import PeerConnection
import Testing

/// What `getUserMedia` makes of constraints, by the W3C text's selection.
@Suite struct MediaConstraints {
    private func settings(_ constraints: MediaTrackConstraints, _ modes: [CameraMode] = CameraMode.webcam) async throws
        -> (MediaTrackSettings, CameraMode)
    {
        let system = FakeDevices()
        system.addCamera("a", modes)
        let stream = try await MediaDevices(system).getUserMedia(.init(video: constraints))
        let track = try #require(stream.getVideoTracks().first)
        return (track.getSettings(), try #require(system.cameras.last).mode)
    }

    private func failure(_ constraints: MediaTrackConstraints) async -> RTCError? {
        do {
            _ = try await settings(constraints)
            return nil
        } catch {
            return error as? RTCError
        }
    }

    @Test func withoutConstraintsWhatSuitsACall() async throws {
        let (settings, mode) = try await settings(.any)
        #expect(mode == .make(.yuyv, 640, 480, 30, 15))
        #expect(settings.width == 640 && settings.height == 480 && settings.frameRate == 30)
        #expect(settings.resizeMode == "none" && settings.deviceId == "a" && settings.groupId == "group a")
    }

    @Test func theIdealSizeIsHadAndMJPEGWhereRawIsTooSlow() async throws {
        let (large, mode) = try await settings(.init(width: 1280, height: 720, frameRate: 30))
        #expect(mode == .make(.mjpeg, 1280, 720, 30))
        #expect(large.width == 1280 && large.frameRate == 30 && large.resizeMode == "none")
        // Raw pictures cost less, where ten a second will do.
        #expect(try await settings(.init(width: 1280, height: 720, frameRate: 10)).1.format == .yuyv)
    }

    @Test func sizesThatTheCameraLacksAreCutAndScaled() async throws {
        let (settings, mode) = try await settings(.init(width: .exact(640), height: .exact(360)))
        #expect(settings.width == 640 && settings.height == 360 && settings.resizeMode == "crop-and-scale")
        #expect(mode == .make(.yuyv, 640, 480, 30, 15))
        // Only what the camera itself gives: the nearest.
        let native = try await self.settings(.init(width: 640, height: 360, resizeMode: .exact("none"))).0
        #expect(native.width == 640 && native.height == 480)
    }

    @Test func limitsAreKept() async throws {
        let least = try await settings(.init(width: .range(1_000...1_500))).0
        #expect(least.width == 1280 && least.height == 720)
        let most = try await settings(.init(width: 1280, frameRate: ConstrainDouble(max: 5))).0
        #expect(most.width == 1280 && most.frameRate == 5)
        let shape = try await settings(.init(width: 640, aspectRatio: .exact(16.0 / 9))).0
        #expect(shape.width == 640 && shape.height == 360)
        #expect(try await settings(.init(height: 480)).0.width == 640)
        #expect(try await settings(.init(frameRate: .exact(7.5))).0.frameRate == 7.5)
    }

    @Test func advancedSetsAreMetInTheirOrder() async throws {
        let sets = [
            MediaTrackConstraintSet(width: .exact(5_000)), MediaTrackConstraintSet(width: .exact(1920)),
            MediaTrackConstraintSet(width: .exact(320)),
        ]
        // The first cannot be met, the third not after the second.
        #expect(try await settings(.init(advanced: sets)).0.width == 1920)
        #expect(try await settings(.init(width: ConstrainULong(max: 700), advanced: sets)).0.width == 320)
    }

    @Test(arguments: [
        ("width", MediaTrackConstraints(width: ConstrainULong(min: 2_000))),
        ("height", MediaTrackConstraints(height: .exact(4_000))),
        ("frameRate", MediaTrackConstraints(frameRate: ConstrainDouble(min: 31))),
        ("deviceId", MediaTrackConstraints(deviceId: .exact("b"))),
        ("groupId", MediaTrackConstraints(groupId: .exact("b"))),
        ("resizeMode", MediaTrackConstraints(resizeMode: .exact("stretch"))),
        ("aspectRatio", MediaTrackConstraints(width: .exact(640), height: .exact(480), aspectRatio: .exact(1))),
        // Limits that exclude each other.
        ("width", MediaTrackConstraints(width: ConstrainULong(min: 800, max: 700))),
        ("frameRate", MediaTrackConstraints(frameRate: ConstrainDouble(exact: 30, max: 20))),
        // What pictures do not have.
        ("sampleRate", MediaTrackConstraints(sampleRate: .exact(48_000))),
    ])
    func whatCannotBeMetIsNamed(name: String, constraints: MediaTrackConstraints) async {
        let error = await failure(constraints)
        #expect(error?.name == .overconstrainedError)
        #expect(error?.constraint == name)
    }

    @Test func constraintsThatOnlyTogetherAreTooMuchNameOne() async {
        let error = await failure(.init(width: .exact(1280), frameRate: .exact(30), resizeMode: .exact("none")))
        #expect(error == nil)
        let raw = await failure(.init(width: .exact(1920), frameRate: .exact(15), resizeMode: .exact("none")))
        #expect(raw?.name == .overconstrainedError && raw?.constraint != nil)
    }

    @Test(arguments: [
        MediaTrackConstraints(width: .ideal(-1)), MediaTrackConstraints(height: .exact(.min)),
        MediaTrackConstraints(frameRate: .ideal(.nan)), MediaTrackConstraints(aspectRatio: .exact(.infinity)),
    ])
    func numbersThatAreNoneAreRefused(constraints: MediaTrackConstraints) async {
        #expect(await failure(constraints)?.name == .typeError)
    }

    @Test(arguments: [
        MediaTrackConstraints(width: .ideal(.max), height: .ideal(.max), frameRate: .ideal(1e300)),
        MediaTrackConstraints(width: .ideal(0), height: .ideal(0), aspectRatio: 0, frameRate: 0),
        MediaTrackConstraints(aspectRatio: 1e-300), MediaTrackConstraints(aspectRatio: 1e300),
        MediaTrackConstraints(frameRate: .ideal(-1e300)),
    ])
    func idealsOutOfReachDoNoHarm(constraints: MediaTrackConstraints) async throws {
        let settings = try await settings(constraints).0
        #expect((16...1920).contains(try #require(settings.width)))
    }

    @Test func aCameraThatTellsNoRateHasNone() async throws {
        let modes = [CameraMode(format: .yuyv, width: 640, height: 480, intervals: [])]
        #expect(try await settings(.init(frameRate: 30), modes).0.frameRate == 30)
        #expect(try await settings(.any, modes).0.frameRate == nil)
    }
}
