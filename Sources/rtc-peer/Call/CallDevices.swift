import PeerConnection

extension PictureSize {
    /// What is asked of a camera for this size.
    var wish: CameraWish { CameraWish(width: width, height: height, framesPerSecond: framesPerSecond) }

    /// What a call asks of a camera for this size.
    ///
    /// - Parameter camera: the one that it must be, by its name or node; nil for any.
    /// - Returns: constraints that any camera can meet as near as it is able to.
    func constraints(camera: String?) -> MediaTrackConstraints {
        MediaTrackConstraints(
            width: .ideal(width),
            height: .ideal(height),
            frameRate: .ideal(Double(framesPerSecond)),
            deviceId: camera.map { .exact($0) }
        )
    }
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

    /// The microphone that a call takes: the one called `name`, or the first one that works.
    ///
    /// - Throws: `RTCError` as a call gets it.
    static func microphone(_ name: String?) async throws(RTCError) -> (name: String, label: String) {
        let device = try await CallDevice.open(.audio, MediaTrackConstraints(deviceId: name.map { .exact($0) }))
        defer { device.track.stop() }
        return (device.track.microphoneName ?? name ?? SoundDevice.defaultName, device.track.label)
    }

    /// The loudspeaker called `name`, or the first one that works.
    ///
    /// - Throws: `MediaError` if a loudspeaker was named and cannot be used.
    static func speaker(_ name: String?) throws -> Finding<ALSASpeaker> {
        if let name { return Finding(device: try ALSASpeaker(name: name)) }
        var finding = Finding<ALSASpeaker>()
        for device in SoundDevice.choices(.playback) {
            do throws(MediaError) {
                finding.device = try ALSASpeaker(name: device.name)
                return finding
            } catch {
                // A default that leads nowhere is how ALSA says that there is no card.
                if error.kind != .notFound { finding.problems.append(error) }
            }
        }
        // What a plug-in says of a sound server that is not there hides that this user may not use the card.
        if !finding.problems.contains(where: { $0.kind == .notPermitted }), let refusal = SoundDevice.refusal(.playback)
        {
            finding.problems = [refusal]
        }
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
