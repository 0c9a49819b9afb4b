import PeerConnection
import TerminalUI

/// The screen, a monitor or a window as a call's picture.
enum CallScreen {
    /// What a user calls `name`; nil is the whole screen, or what the desktop lets its user choose.
    ///
    /// - Throws: `MediaError` or `RTCError` with what there is, and what to do.
    static func surface(_ name: String?) async throws -> DisplaySurface {
        let surfaces = try await MediaDevices.shared.displaySurfaces()
        if let name { return try DisplaySurface.named(name, in: surfaces) }
        if let first = surfaces.first(where: { $0.kind == .screen || $0.kind == .portal }) { return first }
        // Windows of X programs alone: the portal is missing, and says why.
        return try PortalCapture.available()
    }

    /// The source of a picture of it.
    static func source(_ name: String?) async throws -> any VideoSource {
        let surface = try await surface(name)
        guard surface.kind == .portal else { return try ScreenCapture(surface) }
        announceDialogue()
        return try await PortalCapture.choose()
    }

    /// Tells a user who looks at the terminal where to look.
    private static func announceDialogue() {
        Terminal.standardError.write("The desktop asks what may be captured: choose in its dialogue.\n")
    }

    /// A track of it.
    ///
    /// - Parameters:
    ///   - name: as the user calls it.
    ///   - size: the most that is sent; nil for what suits.
    /// - Returns: the track, whether the desktop's portal gives it, and sentences for the user.
    /// - Throws: `MediaError` or `RTCError` with what there is, and what to do.
    static func open(
        _ name: String?,
        size: PictureSize?
    ) async throws -> (track: MediaStreamTrack, isPortal: Bool, notes: [String]) {
        let surface = try await surface(name)
        let isPortal = surface.kind == .portal
        if isPortal { announceDialogue() }
        let isMemoryShared = try isPortal || ScreenCapture(surface).isMemoryShared
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
        let chosen = isPortal ? "Screen, by the desktop's portal: \(track.label)" : "\(noun(surface)): \(surface.label)"
        var notes = [
            "\(chosen), \(settings.width ?? 0)x\(settings.height ?? 0), up to \(rate) pictures a second"
        ]
        if !isMemoryShared {
            notes.append(
                "The display \(surface.display) shares no memory with this program: each change of the screen comes through the "
                    + "connection, which is slower. A smaller --size at a lower rate, as --size 1280x720@5, spares it."
            )
        }
        return (track, isPortal, notes)
    }

    /// `Screen`, `Monitor` or `Window`.
    static func noun(_ surface: DisplaySurface) -> String {
        switch surface.kind {
        case .screen: "Screen"
        case .monitor: "Monitor"
        case .window: "Window"
        case .portal: "Screen"
        }
    }

    // More costs more than most networks and encoders carry.
    private static let defaultWidth = 1_920
    private static let defaultHeight = 1_080
}
