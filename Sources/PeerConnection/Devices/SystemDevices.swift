internal import Capture
internal import Media

/// The devices of this machine: V4L2's cameras, ALSA's microphones and loudspeakers, X11's screens and the
/// portal's.
final class SystemDevices: MediaDeviceSystem {
    /// The X display; nil for that of the environment.
    private let display: String?
    var playedSound: PlayedSound { .shared }

    init(display: String? = nil) { self.display = display }

    func devices() -> [MediaDeviceInfo] { cameras() + sound(.capture) + sound(.playback) }

    private func cameras() -> [MediaDeviceInfo] {
        var taken: Set<String> = []
        return CameraNode.all().map { node in
            let wanted = node.identity?.device ?? node.path
            // Two cameras of one make with the same serial number: the later one is told apart by its node.
            let id = taken.contains(wanted) ? "\(wanted)@\(node.path)" : wanted
            taken.insert(id)
            return MediaDeviceInfo(
                deviceId: id,
                kind: .videoinput,
                label: node.name.isEmpty ? node.path : node.name,
                groupId: node.identity?.hardware ?? node.path,
                systemName: node.path
            )
        }
    }

    private func sound(_ direction: SoundDevice.Direction) -> [MediaDeviceInfo] {
        SoundDevice.present(direction).map { device in
            MediaDeviceInfo(
                deviceId: device.name,
                kind: direction == .capture ? .audioinput : .audiooutput,
                label: device.description,
                groupId: device.hardware?.hardware ?? device.name,
                systemName: device.name
            )
        }
    }

    func modes(of camera: MediaDeviceInfo, wishes: [CameraWish]) throws(MediaError) -> [CameraMode] {
        try Camera.modes(path: camera.systemName, wishes: wishes)
    }

    func open(camera: MediaDeviceInfo, mode: CameraMode, interval: FrameInterval?) throws(MediaError) -> OpenedCamera {
        let source = try V4L2Camera(path: camera.systemName, mode: mode, interval: interval)
        return OpenedCamera(
            source: source,
            mode: source.mode,
            interval: source.interval,
            waitUntilClosed: { source.waitUntilClosed() }
        )
    }

    func open(microphone: MediaDeviceInfo, channelCount: Int) throws(MediaError) -> OpenedMicrophone {
        let source = try ALSAMicrophone(name: microphone.systemName, channelCount: channelCount)
        return OpenedMicrophone(source: source, sampleRate: source.sampleRate, channelCount: source.channelCount)
    }

    func surfaces() throws(MediaError) -> [DisplaySurface] {
        guard display == nil, PortalCapture.isNeeded else { return try ScreenCapture.surfaces(display: display) }
        var found: [DisplaySurface] = []
        var refusal: MediaError?
        do throws(MediaError) { found.append(try PortalCapture.available()) } catch { refusal = error }
        do throws(MediaError) {
            // Windows of X programs can be had without a dialogue.
            found += try ScreenCapture.surfaces()
        } catch {
            // On a machine without any display that is what is said.
            if !PortalCapture.isWayland { refusal = error }
        }
        if found.isEmpty, let refusal { throw refusal }
        return found
    }

    func open(
        surface: DisplaySurface,
        framesPerSecond: Double,
        cursor: CursorCapture
    ) throws(MediaError) -> any VideoSource {
        try ScreenCapture(surface, framesPerSecond: framesPerSecond, cursor: cursor)
    }

    func openPortal(framesPerSecond: Double, cursor: CursorCapture) async throws(MediaError) -> OpenedDisplay {
        let capture = try await PortalCapture.choose(framesPerSecond: framesPerSecond, cursor: cursor)
        return OpenedDisplay(source: capture, surface: capture.surface, cursor: capture.cursor)
    }

    func hint(_ kind: MediaDeviceKind) -> MediaError {
        switch kind {
        case .videoinput:
            MediaError(
                .notFound,
                "camera",
                "no camera was found: plug one in; a container must be given its node (--device /dev/video0), and a "
                    + "virtual machine the USB device. `v4l2-ctl --list-devices` (package v4l-utils) shows what the "
                    + "kernel knows"
            )
        case .audioinput, .audiooutput:
            SoundDevice.refusal(kind == .audioinput ? .capture : .playback)
                ?? MediaError(
                    .notFound,
                    kind.noun,
                    "no \(kind.noun) was found: plug one in; a container must be given /dev/snd. Sound that PipeWire or "
                        + "PulseAudio keeps needs the package libasound2-plugins; `aplay -l` (package alsa-utils) shows "
                        + "the cards, and this user must be in the group audio"
                )
        }
    }

    func watch(_ onChange: @escaping @Sendable () -> Void) -> (any AnyObject & Sendable)? {
        try? DeviceMonitor(onChange: onChange)
    }
}
