import PeerConnection
import TerminalUI

/// What a call would take without being told, and why: `rtc-peer devices`.
struct DeviceChoice: Equatable {
    /// Camera, microphone or loudspeaker.
    var noun: String
    /// The system's name of it.
    var name: String
    var label: String
    /// A camera's.
    var mode: CameraMode?
    var framesPerSecond: Double?
    var reason: String

    var text: String {
        let size = mode.map { " at \($0.width)x\($0.height)" + rate + " as \($0.format.rawValue)" } ?? ""
        return "A call takes the \(noun) \(name)\(size): \(reason)"
    }

    private var rate: String { framesPerSecond.map { "@\(Self.number($0))" } ?? "" }

    var line: JSONLine {
        var line = JSONLine(event: "choice")
        line["kind"] = .string(noun)
        line["name"] = .string(name)
        line["description"] = .string(label)
        if let mode {
            line["format"] = .string(mode.format.rawValue)
            line["width"] = .integer(Int64(mode.width))
            line["height"] = .integer(Int64(mode.height))
        }
        if let framesPerSecond { line["framesPerSecond"] = .number(framesPerSecond) }
        line["reason"] = .string(reason)
        return line
    }

    /// A rate or a measured figure, to a tenth.
    static func number(_ value: Double) -> String {
        let rounded = (value * 10).rounded() / 10
        return Int(exactly: rounded).map(String.init) ?? "\(rounded)"
    }

    // MARK: Why

    /// Why a camera is set so for a call of `size`.
    ///
    /// - Parameters:
    ///   - mode: the one that is taken.
    ///   - framesPerSecond: its rate, if the camera tells.
    ///   - modes: all that the camera has.
    ///   - size: what a call asks for.
    /// - Returns: half a sentence.
    static func reason(
        for mode: CameraMode,
        framesPerSecond: Double?,
        of modes: [CameraMode],
        size: PictureSize
    ) -> String {
        let wanted = "\(size.width)x\(size.height)@\(size.framesPerSecond)"
        let enough = Double(size.framesPerSecond) * CameraMode.rateTolerance
        guard mode.width == size.width, mode.height == size.height, framesPerSecond ?? enough >= enough else {
            return "the nearest to \(wanted) that the camera has"
        }
        let others = Set(modes.map(\.format)).subtracting([mode.format])
        guard !others.isEmpty else { return "what a call asks for" }
        let cheaper = others.filter { $0.cost < mode.format.cost }.sorted { $0.rawValue < $1.rawValue }
        guard !cheaper.isEmpty else { return "what a call asks for, in the format that costs least to convert" }
        let lacks = cheaper.map { format in
            let rates = modes.filter { $0.format == format && $0.width == size.width && $0.height == size.height }
                .flatMap(\.intervals).map(\.framesPerSecond)
            return rates.max().map { "\(format.rawValue) has only \(number($0)) a second there" }
                ?? "\(format.rawValue) has not that size"
        }
        return "what a call asks for; \(lacks.joined(separator: ", "))"
    }

    // MARK: Finding out

    /// The camera that a call takes now: it is opened as for a call, and closed again before it gives anything.
    ///
    /// - Parameters:
    ///   - name: the one that is wanted; nil for what is chosen where none is named.
    ///   - size: what a call asks for.
    /// - Returns: the camera and how it is set; nil for a track that is none's.
    /// - Throws: `RTCError` as a call gets it.
    static func camera(_ name: String?, size: PictureSize) async throws(RTCError) -> DeviceChoice? {
        let device = try await CallDevice.open(.video, size.constraints(camera: name))
        defer { device.track.stop() }
        guard let camera = device.track.cameraSetting else { return nil }
        let reason = reason(for: camera.mode, framesPerSecond: camera.framesPerSecond, of: camera.modes, size: size)
        return DeviceChoice(
            noun: "camera",
            name: camera.systemName,
            label: device.track.label,
            mode: camera.mode,
            framesPerSecond: camera.framesPerSecond,
            reason: name == nil ? reason : "named by --camera; \(reason)"
        )
    }

    /// The microphone that a call takes now, as ``camera(_:size:)``.
    static func microphone(_ name: String?) async throws(RTCError) -> DeviceChoice {
        let (taken, label) = try await CallDevices.microphone(name)
        let reason =
            name == nil
            ? soundReason(taken, among: SoundDevice.choices(.capture).map(\.name)) : "named by --microphone"
        return DeviceChoice(noun: "microphone", name: taken, label: label, reason: reason)
    }

    /// The loudspeaker that a call takes now; nil if there is none, and none is named.
    ///
    /// - Throws: `MediaError` if one was named and cannot be used, or none of those that there are can be.
    static func speaker(_ name: String?) throws -> DeviceChoice? {
        let finding = try CallDevices.speaker(name)
        guard let taken = finding.device?.name else {
            if let problem = finding.problems.first { throw problem }
            return nil
        }
        let reason =
            name == nil ? soundReason(taken, among: SoundDevice.choices(.playback).map(\.name)) : "named by --speaker"
        return DeviceChoice(noun: "loudspeaker", name: taken, label: taken, reason: reason)
    }

    /// Why a microphone or loudspeaker is taken where none is named.
    ///
    /// - Parameters:
    ///   - name: the one that is taken.
    ///   - choices: ALSA's names of those that were tried, in this order.
    /// - Returns: half a sentence.
    static func soundReason(_ name: String, among choices: [String]) -> String {
        guard name == SoundDevice.defaultName else {
            let before = choices.prefix { $0 != name }
            return "the first that can be opened" + (before.isEmpty ? "" : "; \(before.joined(separator: ", ")) cannot")
        }
        guard choices.contains(where: SoundDevice.servers.contains) else {
            return "ALSA's default, as ~/.asoundrc says, else the first card: there is no sound server"
        }
        return "the system's default"
    }
}
