public import Capture
internal import Locking
internal import Media

extension MediaDevices {
    /// What there is to capture: the screen, its monitors, its windows, the upper ones first.
    ///
    /// In a Wayland session the first is what the desktop lets its user choose (``DisplaySurface/Kind/portal``); nobody is asked
    /// yet. Windows of X programs follow.
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
    /// closed, the monitor switched off, the X server ends, or the user ends the sharing on the desktop.
    ///
    /// On Wayland the desktop's own dialogue asks its user for a monitor or window, and this waits for the answer, up to three
    /// minutes; cancelling the task takes the dialogue away.
    ///
    /// - Throws: `NotFoundError` without a display, or if there is nothing of the name; `NotAllowedError` if the display
    ///   refuses this user, or a dialogue gives nothing; `NotReadableError` for a surface that cannot be read, and on Wayland
    ///   without a portal or PipeWire; `AbortError` if the task is cancelled while the user is asked; `TypeError` for constraints that are exact or have a minimum;
    ///   `OverconstrainedError` for a maximum that nothing keeps. All say what to do.
    public func getDisplayMedia(_ options: DisplayMediaStreamOptions = .init()) async throws(RTCError) -> MediaStream {
        let constraints = options.video
        try DisplaySelection.check(constraints)
        let surfaces = DisplaySelection.ordered(try await displaySurfaces(), for: constraints)
        let surface = try await choose(options.surface, among: surfaces)
        if surface.kind == .portal { return try await getPortalMedia(constraints) }
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

    /// A track of what the desktop's user chooses, whose size is known only then.
    private func getPortalMedia(_ constraints: MediaTrackConstraints) async throws(RTCError) -> MediaStream {
        let framesPerSecond = DisplaySelection.framesPerSecond(constraints)
        let opened: OpenedDisplay
        do throws(MediaError) {
            opened = try await system.openPortal(
                framesPerSecond: framesPerSecond,
                cursor: DisplaySelection.cursor(constraints)
            )
        } catch {
            throw Task.isCancelled ? RTCError(.abortError, error.description) : RTCError(error)
        }
        let surface = opened.surface
        let display = SourceDisplay(surface: surface, framesPerSecond: framesPerSecond, cursor: opened.cursor)
        let target = try DisplaySelection.target(constraints, width: surface.width, height: surface.height, of: display)
        let track = MediaStreamTrack(TrackSource(.video(opened.source), display: display, label: surface.label))
        track.videoAdapter.target = target
        track.state.withLock { $0.constraints = constraints }
        return MediaStream([track])
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
