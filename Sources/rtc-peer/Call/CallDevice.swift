import PeerConnection

/// A camera or microphone of a call: it may be lost, and is taken again when it can be had.
struct CallDevice: Sendable {
    let track: MediaStreamTrack
    let constraints: MediaTrackConstraints
    /// What of a camera's own encoding is to be sent.
    var encoding = CameraEncodingChoice.vp8

    /// The device that serves constraints best.
    static func open(
        _ kind: MediaKind,
        _ constraints: MediaTrackConstraints,
        encoding: CameraEncodingChoice = .vp8
    ) async throws(RTCError) -> CallDevice {
        let wanted = MediaStreamConstraints(
            audio: kind == .audio ? constraints : nil,
            video: kind == .video ? constraints : nil
        )
        let tracks = try await MediaDevices.shared.getUserMedia(wanted).getTracks()
        guard let track = tracks.first else { throw RTCError(.notFoundError, "there is no \(kind.rawValue)") }
        if kind == .video { track.preferredEncodings = encoding.codecs }
        return CallDevice(track: track, constraints: constraints, encoding: encoding)
    }

    /// Sentences on the camera's own encoder, if it is wanted.
    var encodingNotes: [String] {
        guard track.kind == .video, !encoding.codecs.isEmpty else { return [] }
        guard let codec = track.preferredEncodings.first else {
            return ["The camera has no encoder for \(encoding.words): its pictures are encoded here, in VP8."]
        }
        var notes = ["The camera's own \(codec.rawValue.uppercased()) is sent to those who take it, VP8 to the others."]
        if !track.encoderTakesBitRate {
            notes.append(
                "This camera cannot be told a bit rate: it sends at its own, also where the network is too slow."
            )
        }
        return notes
    }

    /// `camera` or `microphone`.
    var noun: String { track.kind == .video ? "camera" : "microphone" }

    /// Its name, and a camera's size and rate.
    var description: String {
        let settings = track.getSettings()
        guard track.kind == .video, let width = settings.width, let height = settings.height else { return track.label }
        let rate = settings.frameRate.map { " at \(Int($0.rounded())) pictures a second" } ?? ""
        return "\(track.label), \(width)x\(height)\(rate)"
    }

    /// Waits until the same device can be had again, and takes it.
    ///
    /// - Returns: nil if the task is cancelled.
    func returned() async -> CallDevice? {
        guard let id = track.getSettings().deviceId else { return nil }
        var constraints = constraints
        constraints.deviceId = .exact(id)
        let (signs, feed) = AsyncStream<Sign>.makeStream()
        let events = MediaDevices.shared.events
        let watch = Task { for await case .devicechange(let change) in events { feed.yield(.changed(change)) } }
        defer { watch.cancel() }
        // What the default leads to is told under the card's name.
        let isDefault = track.kind == .audio && id == SoundDevice.defaultName
        var plan = DeviceReturn(
            // A path that is not listed, as a link by udev, is not known to come either.
            isHardware: track.kind == .video ? !id.hasPrefix("/") : id.contains("CARD="),
            isListed: await MediaDevices.shared.enumerateDevices().contains { $0.deviceId == id }
        )
        var timer: Task<Void, Never>?
        defer { timer?.cancel() }
        var armed: Duration?
        func arm() {
            timer?.cancel()
            armed = plan.wait
            timer = plan.wait.map { wait in
                Task {
                    try? await Task.sleep(for: wait)
                    if !Task.isCancelled { feed.yield(.due) }
                }
            }
        }
        arm()
        for await sign in signs {
            switch sign {
            case .changed(let change):
                plan.devicesChanged(
                    isListed: change.devices.contains { $0.deviceId == id },
                    isInserted: change.userInsertedDevices.contains {
                        $0.deviceId == id || isDefault && $0.kind == .audioinput
                    }
                )
                // Other devices that come and go do not put a try off.
                if plan.wait != armed { arm() }
            case .due:
                if let device = try? await Self.open(track.kind, constraints, encoding: encoding) {
                    return CallDevice(track: device.track, constraints: self.constraints, encoding: encoding)
                }
                plan.tryFailed()
                arm()
            }
        }
        return nil
    }

    /// What ends a wait for a device.
    private enum Sign: Sendable {
        case changed(DeviceChangeEvent)
        case due
    }
}
