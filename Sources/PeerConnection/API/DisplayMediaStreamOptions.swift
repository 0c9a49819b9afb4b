public import Capture

/// What is wanted of the screen, and which part of it. screen-capture, `DisplayMediaStreamOptions`
///
/// There is no sound among it: X has none.
public struct DisplayMediaStreamOptions: Sendable {
    /// Of the pictures: what is ideal, and the most; `exact`, `min` and advanced sets are refused, as the W3C text asks.
    ///
    /// Pictures keep the surface's shape: `width` and `height` make them smaller, never larger. `displaySurface` says which
    /// kind is offered first, `cursor` whether the pointer is in the picture.
    public var video: MediaTrackConstraints
    /// Which of the surfaces that there are.
    public var surface: DisplaySurfaceChoice

    /// Options; without any, the whole screen at 30 pictures a second, with the pointer.
    public init(video: MediaTrackConstraints = .any, surface: DisplaySurfaceChoice = .first) {
        self.video = video
        self.surface = surface
    }
}

/// How the screen, monitor or window is chosen that ``MediaDevices/getDisplayMedia(_:)`` captures.
public enum DisplaySurfaceChoice: Sendable {
    /// The first one: the whole screen, or the first of the kind that `displaySurface` names.
    case first
    /// By a user's words: `screen`, a monitor's name, a window's number or title, or a part of a title that no other has.
    case named(String)
    /// What the program's own dialogue gives, as a person chooses; nil is a refusal, and becomes `NotAllowedError`.
    case chosen(@Sendable (_ surfaces: [DisplaySurface]) async -> DisplaySurface?)
}
