import PeerConnection

/// The screen, a monitor or a window as a call's picture.
enum CallScreen {
    /// What a user calls `name`; nil is the whole screen.
    ///
    /// - Throws: `MediaError` with what there is, and what to do.
    static func surface(_ name: String?) throws(MediaError) -> DisplaySurface {
        let surfaces = try ScreenCapture.surfaces()
        if let name { return try DisplaySurface.named(name, in: surfaces) }
        guard let first = surfaces.first(where: { $0.kind == .screen }) else {
            throw MediaError(
                .notUsable,
                "screen",
                "in a Wayland session the screen can be had by the desktop's portal only, which is not supported yet; windows of "
                    + "X programs can be captured: --video screen:TITLE, and `rtc-peer devices` lists them"
            )
        }
        return first
    }

    /// A track of it.
    ///
    /// - Parameters:
    ///   - name: as the user calls it.
    ///   - size: the most that is sent; nil for what suits.
    /// - Returns: the track, and sentences for the user.
    /// - Throws: `MediaError` or `RTCError` with what there is, and what to do.
    static func open(
        _ name: String?,
        size: PictureSize?
    ) async throws -> (track: MediaStreamTrack, notes: [String]) {
        let surface = try surface(name)
        let isMemoryShared = try ScreenCapture(surface).isMemoryShared
        let stream = try await MediaDevices.shared.getDisplayMedia(
            .init(
                video: .init(
                    width: .init(max: size?.width ?? defaultWidth),
                    height: .init(max: size?.height ?? defaultHeight),
                    frameRate: .init(ideal: Double(size?.framesPerSecond ?? PictureSize().framesPerSecond))
                ),
                surface: .chosen { _ in surface }
            )
        )
        guard let track = stream.getVideoTracks().first else { throw RTCError(.notFoundError, "there is no screen") }
        let settings = track.getSettings()
        let rate = Int((settings.frameRate ?? 0).rounded())
        var notes = [
            "\(noun(surface)): \(surface.label), \(settings.width ?? 0)x\(settings.height ?? 0), up to \(rate) pictures a second"
        ]
        if !isMemoryShared {
            notes.append(
                "The display \(surface.display) shares no memory with this program: each change of the screen comes through the "
                    + "connection, which is slower. A smaller --size at a lower rate, as --size 1280x720@5, spares it."
            )
        }
        return (track, notes)
    }

    /// `Screen`, `Monitor` or `Window`.
    static func noun(_ surface: DisplaySurface) -> String {
        switch surface.kind {
        case .screen: "Screen"
        case .monitor: "Monitor"
        case .window: "Window"
        }
    }

    // More costs more than most networks and encoders carry.
    private static let defaultWidth = 1_920
    private static let defaultHeight = 1_080
}
