import PeerConnection
import Testing
import VirtualScreen

/// What `getDisplayMedia` chooses, refuses and makes of a screen's pictures.
@Suite struct DisplayMedia {
    private static func surface(_ kind: DisplaySurface.Kind, _ id: String, _ width: Int, _ height: Int)
        -> DisplaySurface
    {
        DisplaySurface(kind: kind, id: id, label: "label of \(id)", width: width, height: height, display: ":7")
    }

    private static let all = [
        surface(.screen, "screen", 3840, 1080), surface(.monitor, "HDMI-1", 1920, 1080),
        surface(.window, "0x100001", 801, 601),
    ]

    private let system = FakeDevices()
    private var devices: MediaDevices { MediaDevices(system) }

    init() { system.setSurfaces(.success(Self.all)) }

    private func track(_ options: DisplayMediaStreamOptions = .init()) async throws -> MediaStreamTrack {
        try #require(try await devices.getDisplayMedia(options).getVideoTracks().first)
    }

    private func failure(_ options: DisplayMediaStreamOptions) async -> RTCError? {
        do {
            _ = try await devices.getDisplayMedia(options)
            return nil
        } catch {
            return error
        }
    }

    @Test func `Without wishes it is the whole screen, with the pointer`() async throws {
        let track = try await track()
        #expect(track.kind == .video && track.label == "label of screen")
        let settings = track.getSettings()
        #expect(settings.displaySurface == "monitor" && settings.cursor == "always")
        #expect(settings.width == 3840 && settings.height == 1080 && settings.frameRate == 30)
        #expect(settings.resizeMode == "none" && settings.deviceId == nil)
        let capabilities = track.getCapabilities()
        #expect(capabilities.width == 1...3840 && capabilities.frameRate == 0...30)
        #expect(capabilities.displaySurface == "monitor" && capabilities.cursor == ["always"])
        #expect(MediaDevices.supportedConstraints.isSuperset(of: ["displaySurface", "cursor"]))
    }

    @Test func `The surface is chosen by kind, by name, or by the program`() async throws {
        let window = try await track(.init(video: .init(displaySurface: "window")))
        #expect(window.getSettings().displaySurface == "window" && window.getSettings().width == 801)
        #expect(try await track(.init(surface: .named("hdmi"))).getSettings().width == 1920)
        let offered = Taken<[String]>()
        let chosen = try await track(
            .init(
                video: .init(displaySurface: "window"),
                surface: .chosen { surfaces in
                    offered.add(surfaces.map(\.id))
                    return surfaces.last
                }
            )
        )
        #expect(offered.all == [["0x100001", "screen", "HDMI-1"]])
        #expect(chosen.label == "label of HDMI-1")
        #expect(await failure(.init(surface: .chosen { _ in nil }))?.name == .notAllowedError)
        let none = await failure(.init(surface: .named("Editor")))
        #expect(none?.name == .notFoundError && none?.message.contains("HDMI-1") == true)
        #expect(await failure(.init(surface: .named("label")))?.name == .notFoundError)
        system.setSurfaces(.success([]))
        #expect(await failure(.init())?.name == .notFoundError)
    }

    @Test func `Pictures keep their shape and are never made larger`() async throws {
        for (video, width, height) in [
            (MediaTrackConstraints(width: .init(max: 1920)), 1920, 540), (.init(height: .init(max: 540)), 1920, 540),
            (.init(width: .init(max: 1280), height: .init(max: 1280)), 1280, 360),
            (.init(width: 960, height: 2000), 960, 270), (.init(width: 10_000, height: 10_000), 3840, 1080),
            (.init(width: .init(ideal: 1920, max: 960)), 960, 270),
        ] {
            let track = try await track(.init(video: video))
            let settings = track.getSettings()
            #expect(settings.width == width && settings.height == height, "\(video)")
            let taken = Taken<VideoFrame>()
            let subscription = try track.addVideoTaker { taken.add($0) }
            try #require(system.captures.last).give(3840, 1080)
            #expect(taken.all.map { [$0.width, $0.height] } == [[width, height]])
            subscription.cancel()
        }
    }

    @Test func `A surface that changes its size keeps within the limits`() async throws {
        let track = try await track(.init(video: .init(width: .init(max: 400)), surface: .named("0x100001")))
        #expect(track.getSettings().height == 300)
        let taken = Taken<VideoFrame>()
        let subscription = try track.addVideoTaker { taken.add($0) }
        let capture = try #require(system.captures.last)
        for (index, size) in [(801, 601), (1000, 100), (399, 801), (3, 1)].enumerated() {
            try capture.give(size.0, size.1, at: Int64(index) * 100_000_000 + 1)
        }
        #expect(taken.all.map { [$0.width, $0.height] } == [[400, 300], [400, 40], [399, 801], [3, 1]])
        #expect(track.getSettings().width == 3 && track.getSettings().resizeMode == "none")
        subscription.cancel()
    }

    @Test func `Rate and pointer are those of the source`() async throws {
        for (video, rate, cursor) in [
            (MediaTrackConstraints.any, 30.0, CursorCapture.always), (.init(frameRate: 5, cursor: "never"), 5, .never),
            (.init(frameRate: .init(max: 10), cursor: ["sometimes", "motion"]), 10, .motion),
            (.init(frameRate: .init(ideal: 60, max: 50)), 50, .always), (.init(frameRate: 10_000), 120, .always),
        ] {
            let track = try await track(.init(video: video))
            #expect(system.captures.last?.framesPerSecond == rate && system.captures.last?.cursor == cursor)
            #expect(track.getSettings().frameRate == rate && track.getSettings().cursor == cursor.rawValue)
        }
    }

    private static let portal = DisplaySurface(
        kind: .portal,
        id: "portal",
        label: "dialogue",
        width: 0,
        height: 0,
        display: "wayland"
    )

    @Test func `What the desktop's user chose is known afterwards, and limits keep to its size`() async throws {
        system.setSurfaces(.success([Self.portal, Self.all[2]]))
        let track = try await track(
            .init(video: .init(width: .init(max: 800), frameRate: .init(max: 15), cursor: "motion"))
        )
        let settings = track.getSettings()
        #expect(settings.width == 800 && settings.height == 450 && settings.frameRate == 15)
        #expect(settings.displaySurface == "window" && settings.cursor == "always" && track.label == "window")
        #expect(track.getCapabilities().width == 1...1600)
        let taken = Taken<VideoFrame>()
        let subscription = try track.addVideoTaker { taken.add($0) }
        try #require(system.captures.last).give(1600, 900)
        #expect(taken.all.map { [$0.width, $0.height] } == [[800, 450]])
        subscription.cancel()
        // A window of an X program is still to be had by its name, without the dialogue.
        #expect(try await self.track(.init(surface: .named("0x100001"))).getSettings().width == 801)
    }

    @Test func `A user who refuses on the desktop is told by W3C's name`() async throws {
        system.setSurfaces(.success([Self.portal]))
        for (kind, name) in [
            (MediaError.Kind.notPermitted, RTCError.Name.notAllowedError), (.notUsable, .notReadableError),
            (.notFound, .notFoundError), (.unplugged, .notReadableError),
        ] {
            system.refuse("portal", MediaError(kind, "screen", "words"))
            let error = await failure(.init())
            #expect(error?.name == name && error?.message == "screen: words")
        }
        let system = system
        system.refuse("portal", MediaError(.finished, "screen", "it was cancelled"))
        let task = Task { () -> RTCError? in
            // Begins when it is cancelled already.
            while !Task.isCancelled { await Task.yield() }
            do throws(RTCError) { _ = try await MediaDevices(system).getDisplayMedia() } catch { return error }
            return nil
        }
        task.cancel()
        #expect(await task.value?.name == .abortError)
    }

    @Test func `What would steer the choice is refused`() async {
        for video in [
            MediaTrackConstraints(width: .exact(640)), .init(height: .init(min: 1)), .init(frameRate: .range(1...5)),
            .init(displaySurface: .exact("window")), .init(cursor: .exact("never")), .init(deviceId: .exact("x")),
            .init(advanced: [.init(width: 640)]), .init(width: .init(ideal: -5)), .init(frameRate: .init(ideal: .nan)),
        ] {
            #expect(await failure(.init(video: video))?.name == .typeError, "\(video)")
        }
        for (video, name) in [
            (MediaTrackConstraints(width: .init(max: 0)), "width"), (.init(height: .init(max: -1)), "height"),
            (.init(frameRate: .init(max: 0)), "frameRate"),
        ] {
            let error = await failure(.init(video: video))
            #expect(error?.name == .overconstrainedError && error?.constraint == name)
        }
        #expect(system.captures.isEmpty)
    }

    @Test func `A display that cannot be had has its name among W3C's`() async {
        for (kind, name) in [
            (MediaError.Kind.notFound, RTCError.Name.notFoundError), (.notPermitted, .notAllowedError),
            (.notUsable, .notReadableError),
        ] {
            system.setSurfaces(.failure(MediaError(kind, "display :7", "words")))
            let error = await failure(.init())
            #expect(error?.name == name && error?.message == "display :7: words")
        }
        system.setSurfaces(.success(Self.all))
        system.refuse("screen", MediaError(.notUsable, "display :7", "16 bits"))
        #expect(await failure(.init())?.name == .notReadableError)
    }

    @Test func `Constraints can be changed while it runs, for each clone`() async throws {
        let track = try await track()
        let clone = track.clone()
        try await track.applyConstraints(.init(width: .exact(384), frameRate: .init(max: 10)))
        #expect(track.getSettings().width == 384 && track.getSettings().height == 108)
        #expect(track.getSettings().frameRate == 10 && clone.getSettings().width == 3840)
        for (constraints, name) in [
            (MediaTrackConstraints(width: .exact(5000)), "width"), (.init(cursor: .exact("never")), "cursor"),
            (.init(displaySurface: .exact("window")), "displaySurface"),
            (.init(frameRate: .init(min: 60)), "frameRate"),
        ] {
            let error = await #expect(throws: RTCError.self) { try await track.applyConstraints(constraints) }
            #expect(error?.constraint == name, "\(constraints)")
        }
        #expect(track.getSettings().width == 384)
    }

    @Test func `A window that is closed ends the track with the reason`() async throws {
        let track = try await track(.init(surface: .named("0x100001")))
        let events = track.events
        let subscription = try track.addVideoTaker { _ in }
        let reason = MediaError(.finished, "window", "the window was closed")
        try #require(system.captures.last).fail(reason)
        var heard: [MediaStreamTrack.Event] = []
        for await event in events { heard.append(event) }
        #expect(heard == [.ended(reason)] && track.readyState == .ended && track.endReason == reason)
        subscription.cancel()
    }
}

/// The same with a real X server.
@Suite(.enabled(if: VirtualScreen.isInstalled, Comment(rawValue: VirtualScreen.absence))) struct RealDisplayMedia {
    @Test(.timeLimit(.minutes(10))) func `A window of a real server is captured, scaled, and ends`() async throws {
        let screen = try VirtualScreen("320x240x24")
        let window = screen.window(0, 0, 200, 100, 0xff_00_00, title: "Board")
        let devices = MediaDevices(display: screen.display)
        let stream = try await devices.getDisplayMedia(
            .init(video: .init(width: .init(max: 100), cursor: "never"), surface: .named("board"))
        )
        let track = try #require(stream.getVideoTracks().first)
        #expect(track.label == "Board" && track.getSettings().displaySurface == "window")
        let events = track.events
        let (frames, feed) = AsyncStream<VideoFrame>.makeStream()
        let subscription = try track.addVideoTaker { feed.yield($0) }
        for await frame in frames {
            #expect(frame.width == 100 && frame.height == 50)
            // Red: ITU-R BT.601, limited range.
            let sample = frame.sample(x: 50, y: 25)
            #expect(abs(Int(sample.y) - 82) <= 2 && abs(Int(sample.u) - 90) <= 2 && abs(Int(sample.v) - 240) <= 2)
            break
        }
        screen.close(window)
        for await event in events {
            guard case .ended(let reason) = event else { continue }
            #expect(reason?.kind == .finished)
        }
        subscription.cancel()
        #expect(track.readyState == .ended)
    }

    @Test func `A display that is not there says so by W3C's name`() async throws {
        let screen = try VirtualScreen("64x48x24")
        let name = screen.display
        screen.end()
        let error = await #expect(throws: RTCError.self) {
            _ = try await MediaDevices(display: name).getDisplayMedia()
        }
        #expect(error?.name == .notFoundError && error?.message.contains(name) == true)
    }
}
