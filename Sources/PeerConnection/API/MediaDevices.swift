internal import Capture
internal import Locking
internal import Media

/// The machine's cameras, microphones and loudspeakers. mediacapture-main (`MediaDevices`)
///
/// ```swift
/// let stream = try await MediaDevices.shared.getUserMedia(.init(audio: .any, video: .init(width: 1280, height: 720)))
/// for track in stream.getTracks() { try connection.addTrack(track, streamIDs: [stream.id]) }
/// ```
///
/// Usable from any thread.
public final class MediaDevices: Sendable {
    /// What a program may hear of.
    public enum Event: Hashable, Sendable {
        /// A device was plugged in or taken away.
        case devicechange(DeviceChangeEvent)
    }

    private struct State {
        var known: [MediaDeviceInfo]?
        var watch: (any AnyObject & Sendable)?
        var isWatching = false
        var isLookQueued = false
    }

    /// The devices of this machine.
    public static let shared = MediaDevices(SystemDevices())

    let system: any MediaDeviceSystem
    private let broadcaster = EventBroadcaster<Event>()
    private let state = Mutex(State())

    /// Devices of a system of one's own, for tests.
    package init(_ system: any MediaDeviceSystem) { self.system = system }

    /// The devices of this machine, with the screen of one X display, as `:0`, instead of the environment's.
    public convenience init(display: String) { self.init(SystemDevices(display: display)) }

    /// The devices that are plugged in, cameras first; a device may be in use, or not permitted to this user.
    public func enumerateDevices() async -> [MediaDeviceInfo] {
        let system = system
        return (try? await DeviceQueue.shared.run { () throws(RTCError) in system.devices() }) ?? []
    }

    /// Why there is no device of a kind, and what to look at: a `NotFoundError`, or a `NotAllowedError` where there is one
    /// that this user may not use.
    public func absence(of kind: MediaDeviceKind) async -> RTCError {
        let system = system
        do {
            return try await DeviceQueue.shared.run { () throws(RTCError) in RTCError(system.hint(kind)) }
        } catch {
            return error
        }
    }

    /// The constraints that have an effect; others are ignored.
    public static var supportedConstraints: Set<String> { ConstraintSelection.supported }

    // MARK: Tracks

    /// Tracks of the devices that serve constraints best.
    ///
    /// A device that cannot be had gives way to the next best, unless it was required by name. It is on only while its
    /// track has takers. A microphone's echo and noise are taken out and its level is kept even, unless the constraints
    /// say otherwise. A sound device that is not listed, as a plug-in of ALSA's configuration, is found by its name.
    ///
    /// - Throws: `TypeError` if neither kind is wanted; `NotFoundError` if there is no such device, with what to look at;
    ///   `OverconstrainedError` with the constraint that none meets; `NotAllowedError` if this user may not use the
    ///   device; `NotReadableError` if it is busy or broken. All name the device and say what the system says.
    public func getUserMedia(_ constraints: MediaStreamConstraints) async throws(RTCError) -> MediaStream {
        guard constraints.audio != nil || constraints.video != nil else {
            throw RTCError(.typeError, "getUserMedia: ask for audio, video or both")
        }
        let system = system
        return try await DeviceQueue.shared.run { () throws(RTCError) -> MediaStream in
            let devices = system.devices()
            var tracks: [MediaStreamTrack] = []
            if let audio = constraints.audio {
                tracks.append(try Self.microphone(devices.filter { $0.kind == .audioinput }, audio, system))
            }
            if let video = constraints.video {
                tracks.append(try Self.camera(devices.filter { $0.kind == .videoinput }, video, system))
            }
            return MediaStream(tracks)
        }
    }

    private static func camera(
        _ listed: [MediaDeviceInfo],
        _ constraints: MediaTrackConstraints,
        _ system: any MediaDeviceSystem
    ) throws(RTCError) -> MediaStreamTrack {
        let named = unlisted(constraints, besides: listed, .videoinput) { $0.hasPrefix("/") }
        let devices = listed + named
        guard !devices.isEmpty else { throw RTCError(system.hint(.videoinput)) }
        let resolved = resolve(constraints, devices)
        let wishes = CameraSelection.wishes(resolved)
        var modes: [[CameraMode]] = []
        var candidates: [CameraCandidate] = []
        var refusals: [(device: Int, error: RTCError)] = []
        for (index, device) in devices.enumerated() {
            modes.append([])
            // Another one is not even opened.
            guard resolved.basic.allows(device) else { continue }
            do throws(MediaError) {
                modes[index] = try system.modes(of: device, wishes: wishes)
                candidates += CameraSelection.candidates(modes[index], for: resolved, device: index, info: device)
            } catch {
                let isUnknown = named.contains(device) && error.kind == .notFound
                refusals.append((index, isUnknown ? unknown(resolved) : RTCError(error, of: device)))
            }
        }
        // A device that says nothing of itself meets no constraint; why it is silent says more than that.
        if candidates.isEmpty, let first = refusals.first { throw first.error }
        if candidates.isEmpty, resolved.basic.deviceId != nil || resolved.basic.groupId != nil {
            throw unknown(resolved)
        }
        let chosen = try ConstraintSelection.select(candidates, for: resolved) { $0.settings }
        for candidate in chosen where !refusals.contains(where: { $0.device == candidate.device }) {
            let info = devices[candidate.device]
            do throws(MediaError) {
                let camera = try system.open(camera: info, mode: candidate.mode, interval: candidate.interval)
                let device = SourceDevice(info, camera, modes: modes[candidate.device], system: system)
                let track = MediaStreamTrack(TrackSource(.video(camera.source), device: device, label: info.label))
                track.videoAdapter.target = candidate.target
                track.state.withLock { $0.constraints = constraints }
                return track
            } catch {
                refusals.append((candidate.device, RTCError(error, of: info)))
            }
        }
        throw refusals.first?.error ?? RTCError(system.hint(.videoinput))
    }

    private static func microphone(
        _ listed: [MediaDeviceInfo],
        _ constraints: MediaTrackConstraints,
        _ system: any MediaDeviceSystem
    ) throws(RTCError) -> MediaStreamTrack {
        let named = unlisted(constraints, besides: listed, .audioinput) { _ in true }
        let devices = listed + named
        guard !devices.isEmpty else { throw RTCError(system.hint(.audioinput)) }
        let resolved = resolve(constraints, devices)
        var candidates: [MicrophoneCandidate] = []
        for (index, device) in devices.enumerated() where resolved.basic.allows(device) {
            candidates += MicrophoneSelection.candidates(for: resolved, native: nil, device: index, info: device)
        }
        if candidates.isEmpty { throw unknown(resolved) }
        let chosen = try ConstraintSelection.select(candidates, for: resolved) { $0.settings }
        var refusals: [(device: Int, error: RTCError)] = []
        for candidate in chosen where !refusals.contains(where: { $0.device == candidate.device }) {
            let info = devices[candidate.device]
            do throws(MediaError) {
                let wanted = candidate.settings.channelCount ?? 1
                let microphone = try system.open(microphone: info, channelCount: wanted)
                let device = SourceDevice(info, microphone, system: system)
                let track = MediaStreamTrack(TrackSource(.audio(microphone.source), device: device, label: info.label))
                // What the card itself gives, or processing does, need not be made.
                let processing = candidate.target.processing
                let given = processing.isActive ? VoiceProcessor.sampleRate : microphone.sampleRate
                let rate = candidate.settings.sampleRate ?? given
                let isRateWanted = resolved.basic.sampleRate != nil || !resolved.advanced.isEmpty
                track.audioAdapter.target = .init(
                    sampleRate: isRateWanted && rate != given ? rate : nil,
                    channelCount: wanted == microphone.channelCount ? nil : wanted,
                    processing: processing
                )
                track.state.withLock { $0.constraints = constraints }
                return track
            } catch {
                let isNamed = named.contains(info) && error.kind == .notFound
                refusals.append((candidate.device, isNamed ? unknown(resolved) : RTCError(error, of: info)))
            }
        }
        let hint = RTCError(system.hint(.audioinput))
        // What a plug-in says of a sound server that is not there hides that this user may not use the card.
        if hint.name == .notAllowedError, named.isEmpty { throw hint }
        // A default that leads nowhere is how ALSA says that there is no card.
        if let told = refusals.first(where: { $0.error.name != .notFoundError }) { throw told.error }
        throw hint
    }

    /// Devices that are required by a name of the system's and not listed.
    private static func unlisted(
        _ constraints: MediaTrackConstraints,
        besides listed: [MediaDeviceInfo],
        _ kind: MediaDeviceKind,
        where isName: (String) -> Bool
    ) -> [MediaDeviceInfo] {
        let names = constraints.basic.deviceId?.exact ?? []
        return names.filter { name in
            isName(name) && !listed.contains { $0.deviceId == name || $0.systemName == name }
        }.map { MediaDeviceInfo(deviceId: $0, kind: kind, label: $0, groupId: $0, systemName: $0) }
    }

    private static func resolve(
        _ constraints: MediaTrackConstraints,
        _ devices: [MediaDeviceInfo]
    ) -> MediaTrackConstraints {
        devices.reduce(constraints) { $1.resolving($0) }
    }

    private static func unknown(_ constraints: MediaTrackConstraints) -> RTCError {
        let names = constraints.basic.deviceId?.exact ?? []
        let isGroup = names.isEmpty && constraints.basic.groupId != nil
        let what = isGroup ? "group" : "device \(names.joined(separator: ", "))"
        return RTCError(
            overconstrained: isGroup ? "groupId" : "deviceId",
            "there is no such \(what); `rtc-peer devices` lists what there is"
        )
    }

    // MARK: Changes

    /// Events from now on; devices are watched from the first subscription on.
    ///
    /// Nothing is polled: the kernel tells what is plugged in and taken away.
    public var events: EventStream<Event> {
        let stream = broadcaster.subscribe()
        beginWatching()
        return stream
    }

    private func beginWatching() {
        let isFirst = state.withLock { state in
            defer { state.isWatching = true }
            return !state.isWatching
        }
        guard isFirst else { return }
        // Watched before the first look, so that nothing falls between the two; and that look is queued before any of
        // the program's own.
        let watch = system.watch { [weak self] in self?.look() }
        state.withLock { $0.watch = watch }
        look()
    }

    /// Looks once more after the look that is under way.
    private func look() {
        let isFirst = state.withLock { state in
            defer { state.isLookQueued = true }
            return !state.isLookQueued
        }
        guard isFirst else { return }
        DeviceQueue.shared.submit { [weak self] in self?.lookNow() }
    }

    private func lookNow() {
        state.withLock { $0.isLookQueued = false }
        let devices = system.devices()
        let event = state.withLock { state -> DeviceChangeEvent? in
            defer { state.known = devices }
            guard let before = state.known, before != devices else { return nil }
            return DeviceChangeEvent(devices: devices, before: before)
        }
        if let event { broadcaster.send(.devicechange(event)) }
    }
}

/// What has changed among the devices. mediacapture-main (`DeviceChangeEvent`)
public struct DeviceChangeEvent: Hashable, Sendable {
    /// The devices that there are now.
    public let devices: [MediaDeviceInfo]
    /// Those that were plugged in.
    public let userInsertedDevices: [MediaDeviceInfo]
    /// Those that were taken away.
    public let removedDevices: [MediaDeviceInfo]

    init(devices: [MediaDeviceInfo], before: [MediaDeviceInfo]) {
        self.devices = devices
        userInsertedDevices = devices.filter { !before.contains($0) }
        removedDevices = before.filter { !devices.contains($0) }
    }
}

extension MediaTrackConstraintSet {
    /// Whether a device is not excluded by its name or group.
    fileprivate func allows(_ device: MediaDeviceInfo) -> Bool {
        let (names, groups) = (deviceId?.exact ?? [], groupId?.exact ?? [])
        return (names.isEmpty || names.contains(device.deviceId)) && (groups.isEmpty || groups.contains(device.groupId))
    }
}
