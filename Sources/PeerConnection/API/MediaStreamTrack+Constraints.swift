internal import Capture
internal import Locking
internal import Media

extension MediaStreamTrack {
    /// The constraints that were last applied; those that ``MediaDevices/getUserMedia(_:)`` was asked for at first.
    public func getConstraints() -> MediaTrackConstraints { state.withLock { $0.constraints } }

    /// What the track gives at present.
    ///
    /// A source that is no device, and the peer, show with their first frame what they give.
    public func getSettings() -> MediaTrackSettings {
        switch kind {
        case .video:
            if let display = source.display {
                let size = displaySize(display)
                return DisplaySelection.settings(
                    width: size.width,
                    height: size.height,
                    videoAdapter.target,
                    of: display
                )
            }
            var settings = MediaTrackSettings()
            let target = videoAdapter.target
            let device = source.device?.video
            settings.width = target?.width ?? device?.width ?? videoAdapter.native?.width
            settings.height = target?.height ?? device?.height ?? videoAdapter.native?.height
            settings.frameRate = target?.frameRate ?? device?.interval?.framesPerSecond
            if let width = settings.width, let height = settings.height, height > 0 {
                settings.aspectRatio = Double(width) / Double(height)
            }
            settings.resizeMode = target == nil ? "none" : "crop-and-scale"
            settings.deviceId = source.device?.info.deviceId
            settings.groupId = source.device?.info.groupId
            return settings
        case .audio:
            let target = audioAdapter.target
            let native = nativeSound
            let given = target.processing.isActive ? VoiceProcessor.sampleRate : native?.sampleRate
            return MicrophoneSelection.settings(
                sampleRate: target.sampleRate ?? given,
                channelCount: target.channelCount ?? native?.channelCount,
                target.processing,
                source.device?.info
            )
        }
    }

    /// What can be had of the track's source.
    public func getCapabilities() -> MediaTrackCapabilities {
        var capabilities = MediaTrackCapabilities()
        capabilities.deviceId = source.device?.info.deviceId
        capabilities.groupId = source.device?.info.groupId
        switch kind {
        case .video:
            if let display = source.display {
                let size = displaySize(display)
                capabilities.describe(display, width: size.width, height: size.height)
                break
            }
            capabilities.describe(modes: nativeModes)
        case .audio: capabilities.describeSound(ofDevice: source.device != nil)
        }
        return capabilities
    }

    /// Changes what is wanted of the track; without constraints, what suits a call.
    ///
    /// A camera changes its mode where that is needed, which takes it off for a moment, and keeps what its other tracks
    /// need. A microphone's sound changes between two blocks, for this track alone. What is ideal is had if it can.
    ///
    /// mediacapture-main §4.3.3 (applyConstraints)
    ///
    /// - Throws: `OverconstrainedError` with the constraint's name if the source cannot do what is required; the track
    ///   stays as it was. `NotReadableError` if the camera refuses. `InvalidStateError` for a track that has ended.
    public func applyConstraints(_ constraints: MediaTrackConstraints = .any) async throws(RTCError) {
        guard readyState == .live else { throw RTCError(.invalidStateError, "the track \(label) has ended") }
        switch kind {
        case .audio: audioAdapter.target = try soundTarget(constraints)
        case .video:
            guard let device = source.device else {
                videoAdapter.target = try pictureTarget(constraints)
                break
            }
            // One change after the other: each begins with what the one before has left.
            await device.changes.enter()
            defer { device.changes.leave() }
            try await apply(constraints, to: device)
            state.withLock { $0.constraints = constraints }
            return
        }
        state.withLock { $0.constraints = constraints }
    }

    // MARK: Cameras

    private func apply(_ constraints: MediaTrackConstraints, to device: SourceDevice) async throws(RTCError) {
        let resolved = device.info.resolving(constraints)
        let modes = try await DeviceQueue.shared.run { () throws(RTCError) -> [CameraMode] in
            do throws(MediaError) {
                return try device.system.modes(of: device.info, wishes: CameraSelection.wishes(resolved))
            } catch {
                throw RTCError(error, of: device.info)
            }
        }
        if !modes.isEmpty { device.setModes(modes) }
        let present = device.video
        let (key, demands) = (state.withLock { $0.key }, others)
        let all = CameraSelection.candidates(device.modes, for: resolved, device: 0, info: device.info)
        let possible = all.filter { candidate in
            candidate.isMode(of: present) || demands.allSatisfy { candidate.serves($0) }
        }
        let chosen = try ConstraintSelection.select(possible, for: resolved) { $0.settings }.first
        guard let chosen, let key else { throw RTCError(.invalidStateError, "the track \(label) has ended") }
        if chosen.isMode(of: present) {
            videoAdapter.target = chosen.target
            return
        }
        source.pin(besides: key)
        let failure = await source.replace { () throws(MediaError) -> TrackSource.Origin in
            try device.reopen(mode: chosen.mode, interval: chosen.interval)
        }
        if let failure { throw RTCError(failure, of: device.info) }
        videoAdapter.target = chosen.target
    }

    private var others: [VideoDemand] {
        guard let key = state.withLock({ $0.key }) else { return [] }
        return source.demands(besides: key)
    }

    /// What this track needs of its camera.
    var demand: VideoDemand {
        let settings = getSettings()
        let exact = state.withLock { $0.constraints.basic.resizeMode?.exact ?? [] }
        return VideoDemand(
            width: settings.width ?? 0,
            height: settings.height ?? 0,
            frameRate: settings.frameRate,
            isNative: exact == ["none"]
        )
    }

    /// Keeps the pictures as they are while the camera gives others.
    func pinVideo() {
        guard videoAdapter.target == nil, let video = source.device?.video else { return }
        videoAdapter.target = VideoTarget(
            width: video.width,
            height: video.height,
            frameRate: video.interval?.framesPerSecond
        )
    }

    // MARK: Sources that are no devices

    /// What is made of the pictures, by the size of the last one; before the first nothing can be required.
    private func pictureTarget(_ constraints: MediaTrackConstraints) throws(RTCError) -> VideoTarget? {
        if let display = source.display {
            let size = displaySize(display)
            return try DisplaySelection.target(constraints, width: size.width, height: size.height, of: display)
        }
        guard let native = videoAdapter.native else {
            _ = try ConstraintSelection.select([MediaTrackSettings()], for: constraints) { $0 }
            return nil
        }
        return try Self.target(constraints, width: native.width, height: native.height)
    }

    /// Follows a source whose pictures have another size than before.
    func retarget(_ frame: VideoFrame) {
        let constraints = state.withLock { $0.constraints }
        guard constraints != .any else { return }
        if let display = source.display {
            videoAdapter.target =
                try? DisplaySelection.target(constraints, width: frame.width, height: frame.height, of: display)
            return
        }
        videoAdapter.target = try? Self.target(constraints, width: frame.width, height: frame.height)
    }

    /// The size of the last picture; before the first, of the surface when it was chosen.
    private func displaySize(_ display: SourceDisplay) -> (width: Int, height: Int) {
        videoAdapter.native ?? (display.surface.width, display.surface.height)
    }

    private static func target(
        _ constraints: MediaTrackConstraints,
        width: Int,
        height: Int
    ) throws(RTCError) -> VideoTarget? {
        let mode = CameraMode(format: .i420, width: width, height: height, intervals: [])
        let candidates = CameraSelection.candidates([mode], for: constraints, device: 0, info: nil)
        return try ConstraintSelection.select(candidates, for: constraints) { $0.settings }.first?.target
    }

    private func soundTarget(_ constraints: MediaTrackConstraints) throws(RTCError) -> AudioAdapter.Target {
        let info = source.device?.info
        let resolved = info?.resolving(constraints) ?? constraints
        let candidates = MicrophoneSelection.candidates(for: resolved, native: nativeSound, device: 0, info: info)
        return try ConstraintSelection.select(candidates, for: resolved) { $0.settings }.first?.target ?? .init()
    }

    private var nativeSound: (sampleRate: Int, channelCount: Int)? {
        source.device.map { ($0.sampleRate, $0.channelCount) } ?? audioAdapter.native
    }

    private var nativeModes: [CameraMode] {
        if let device = source.device { return device.modes }
        guard let native = videoAdapter.native else { return [] }
        return [CameraMode(format: .i420, width: native.width, height: native.height, intervals: [])]
    }
}

extension CameraCandidate {
    /// Whether it is what the camera does already.
    fileprivate func isMode(of present: SourceDevice.VideoFormat?) -> Bool {
        guard let present, mode.width == present.width, mode.height == present.height else { return false }
        guard let wanted = interval?.framesPerSecond, let rate = present.interval?.framesPerSecond else { return true }
        // Drivers write the same rate as other fractions.
        return abs(wanted - rate) <= rate * 0.01
    }

    /// Whether another track can have of it what it needs.
    fileprivate func serves(_ demand: VideoDemand) -> Bool {
        guard !demand.isNative, mode.width >= demand.width, mode.height >= demand.height else { return false }
        guard let wanted = demand.frameRate, let rate = interval?.framesPerSecond else { return true }
        return rate >= wanted * 0.99
    }
}

extension MediaTrackCapabilities {
    /// What a camera of these modes can do, cut and scaled.
    mutating func describe(modes: [CameraMode]) {
        guard let width = modes.map(\.width).max(), let height = modes.map(\.height).max() else { return }
        let least = CameraSelection.leastSide
        self.width = min(least, width)...width
        self.height = min(least, height)...height
        aspectRatio = Double(min(least, width)) / Double(max(1, height))...Double(width) / Double(min(least, height))
        if let fastest = modes.flatMap(\.intervals).map(\.framesPerSecond).max() { frameRate = 0...fastest }
        resizeMode = ["none", "crop-and-scale"]
    }

    /// What a screen or window can do, scaled in its own shape.
    mutating func describe(_ display: SourceDisplay, width: Int, height: Int) {
        guard width > 0, height > 0 else { return }
        self.width = 1...width
        self.height = 1...height
        aspectRatio = Double(width) / Double(height)...Double(width) / Double(height)
        frameRate = 0...display.framesPerSecond
        resizeMode = ["none", "crop-and-scale"]
        displaySurface = display.surface.displaySurface
        cursor = [display.cursor.rawValue]
    }

    /// What any microphone can do, or any other source of sound.
    mutating func describeSound(ofDevice isDevice: Bool) {
        sampleRate = MicrophoneSelection.sampleRates
        sampleSize = 16...16
        channelCount = 1...2
        if isDevice { latency = MicrophoneSelection.latency...MicrophoneSelection.latency }
        let processing = isDevice ? [true, false] : [false]
        echoCancellation = processing
        autoGainControl = processing
        noiseSuppression = processing
    }
}
