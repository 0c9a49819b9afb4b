import PeerConnection

extension PictureSize {
    /// What is asked of a camera for this size.
    var wish: CameraWish { CameraWish(width: width, height: height, framesPerSecond: framesPerSecond) }
}

/// The machine's camera, microphone and loudspeaker, and what to tell the user about them.
enum CallDevices {
    /// What was found: a device, or sentences on why there is none.
    struct Finding<Device> {
        var device: Device?
        /// Why devices that exist cannot be used.
        var problems: [MediaError] = []
    }

    /// The node of a camera that is named by its node, or by the name that stays with it wherever it is plugged in.
    static func node(of camera: String?) async -> String? {
        guard let camera, !camera.hasPrefix("/") else { return camera }
        let devices = await MediaDevices.shared.enumerateDevices()
        return devices.first { $0.kind == .videoinput && $0.deviceId == camera }?.systemName ?? camera
    }

    /// The camera at `path`, or the first one that works.
    ///
    /// - Throws: `MediaError` if a camera was named and cannot be used.
    static func camera(_ path: String?, wish: CameraWish) throws -> Finding<V4L2Camera> {
        if let path { return Finding(device: try V4L2Camera(path: path, wish: wish)) }
        let listing = Camera.all(wish: wish)
        var finding = Finding<V4L2Camera>(problems: listing.problems)
        for camera in listing.cameras {
            do {
                finding.device = try V4L2Camera(path: camera.path, wish: wish)
                return finding
            } catch {
                finding.problems.append(error)
            }
        }
        return finding
    }

    /// The microphone called `name`, or the first one that works.
    ///
    /// - Throws: `MediaError` if a microphone was named and cannot be used.
    static func microphone(_ name: String?) throws -> Finding<ALSAMicrophone> {
        if let name { return Finding(device: try ALSAMicrophone(name: name)) }
        return first(.capture) { name throws(MediaError) in try ALSAMicrophone(name: name) }
    }

    /// The loudspeaker called `name`, or the first one that works.
    ///
    /// - Throws: `MediaError` if a loudspeaker was named and cannot be used.
    static func speaker(_ name: String?) throws -> Finding<ALSASpeaker> {
        if let name { return Finding(device: try ALSASpeaker(name: name)) }
        return first(.playback) { name throws(MediaError) in try ALSASpeaker(name: name) }
    }

    private static func first<Device>(
        _ direction: SoundDevice.Direction,
        open: (String) throws(MediaError) -> Device
    ) -> Finding<Device> {
        var finding = Finding<Device>()
        let others = SoundDevice.all(direction).map(\.name).filter { $0 != "default" }
        for name in ["default"] + others {
            do throws(MediaError) {
                finding.device = try open(name)
                return finding
            } catch {
                // A default that leads nowhere is how ALSA says that there is no card.
                if error.kind == .busy || error.kind == .notPermitted { finding.problems.append(error) }
            }
        }
        if finding.problems.isEmpty, let refusal = SoundDevice.refusal(direction) { finding.problems.append(refusal) }
        return finding
    }

    /// “No camera was found”, or why it cannot be used.
    static func sentence(_ noun: String, _ error: RTCError) -> String {
        error.name == .notFoundError
            ? "No \(noun) was found (`rtc-peer devices` says what to look at)"
            : "No \(noun) can be used (\(error.message))"
    }

    /// “No camera was found”, or why those that there are cannot be used.
    static func sentence(_ noun: String, _ problems: [MediaError]) -> String {
        problems.isEmpty
            ? "No \(noun) was found"
            : "No \(noun) can be used (\(problems.map(\.description).joined(separator: "; ")))"
    }
}
