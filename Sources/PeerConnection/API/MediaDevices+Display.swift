public import Capture
internal import Locking
internal import Media

extension MediaDevices {
    /// What there is to capture: the screen, its monitors, its windows, the upper ones first.
    ///
    /// - Throws: as ``getDisplayMedia(_:)``.
    public func displaySurfaces() async throws(RTCError) -> [DisplaySurface] {
        let system = system
        return try await DeviceQueue.displays.run { () throws(RTCError) in
            do throws(MediaError) {
                return try system.surfaces()
            } catch {
                throw RTCError(error)
            }
        }
    }

    /// A track of the screen, a monitor or a window. screen-capture §5.1
    ///
    /// ```swift
    /// let stream = try await MediaDevices.shared.getDisplayMedia(.init(
    ///     video: .init(width: .init(max: 1920), frameRate: 15, cursor: "motion"),
    ///     surface: .chosen { surfaces in await dialogue.choose(surfaces) }
    /// ))
    /// ```
    ///
    /// A picture comes when something has changed, at most as often as `frameRate` says; a still one is repeated twice a
    /// second. The track follows a surface that changes its size, and ends (`ended` with the reason) when the window is
    /// closed, the monitor switched off, or the X server ends.
    ///
    /// - Throws: `NotFoundError` without a display, or if there is nothing of the name; `NotAllowedError` if the display
    ///   refuses this user, or the program's dialogue gives nothing; `NotReadableError` for a surface that cannot be read, and
    ///   in a session of Wayland alone; `TypeError` for constraints that are exact or have a minimum;
    ///   `OverconstrainedError` for a maximum that nothing keeps. All say what to do.
    public func getDisplayMedia(_ options: DisplayMediaStreamOptions = .init()) async throws(RTCError) -> MediaStream {
        let constraints = options.video
        try DisplaySelection.check(constraints)
        let surfaces = DisplaySelection.ordered(try await displaySurfaces(), for: constraints)
        let surface = try await choose(options.surface, among: surfaces)
        let display = SourceDisplay(
            surface: surface,
            framesPerSecond: DisplaySelection.framesPerSecond(constraints),
            cursor: DisplaySelection.cursor(constraints)
        )
        let target = try DisplaySelection.target(constraints, width: surface.width, height: surface.height, of: display)
        let system = system
        return try await DeviceQueue.displays.run { () throws(RTCError) -> MediaStream in
            do throws(MediaError) {
                let source = try system.open(
                    surface: surface,
                    framesPerSecond: display.framesPerSecond,
                    cursor: display.cursor
                )
                let track = MediaStreamTrack(TrackSource(.video(source), display: display, label: surface.label))
                track.videoAdapter.target = target
                track.state.withLock { $0.constraints = constraints }
                return MediaStream([track])
            } catch {
                throw RTCError(error)
            }
        }
    }

    private func choose(
        _ choice: DisplaySurfaceChoice,
        among surfaces: [DisplaySurface]
    ) async throws(RTCError) -> DisplaySurface {
        switch choice {
        case .first:
            guard let first = surfaces.first else {
                throw RTCError(.notFoundError, "there is no screen and no window to capture on this display")
            }
            return first
        case .named(let name):
            do throws(MediaError) {
                return try DisplaySurface.named(name, in: surfaces)
            } catch {
                // Several that fit are no programmer's mistake.
                throw RTCError(.notFoundError, error.message)
            }
        case .chosen(let choose):
            guard let surface = await choose(surfaces) else {
                throw RTCError(.notAllowedError, "nothing was chosen to be captured")
            }
            return surface
        }
    }
}
