internal import Media

/// What a device does. mediacapture-main (`MediaDeviceKind`)
public enum MediaDeviceKind: String, CaseIterable, Hashable, Sendable {
    /// A camera.
    case videoinput
    /// A microphone.
    case audioinput
    /// A loudspeaker.
    case audiooutput

    /// `camera`, `microphone` or `loudspeaker`.
    var noun: String {
        switch self {
        case .videoinput: "camera"
        case .audioinput: "microphone"
        case .audiooutput: "loudspeaker"
        }
    }
}

/// A device that the machine has. mediacapture-main (`MediaDeviceInfo`)
public struct MediaDeviceInfo: Hashable, Sendable {
    /// Its name for constraints.
    ///
    /// A camera's stays the same when it is plugged in again, also at another port if it has a serial number; a sound
    /// device's is its ALSA name.
    public let deviceId: String
    /// What it does.
    public let kind: MediaDeviceKind
    /// What people call it.
    public let label: String
    /// The same for all devices of one piece of hardware, as a camera and its microphone.
    public let groupId: String
    /// What the system calls it at present: a node, as `/dev/video0`, or an ALSA name.
    public let systemName: String

    /// A device with its parts.
    public init(deviceId: String, kind: MediaDeviceKind, label: String, groupId: String, systemName: String) {
        self.deviceId = deviceId
        self.kind = kind
        self.label = label
        self.groupId = groupId
        self.systemName = systemName
    }

    /// `Integrated Camera (/dev/video0)`, or one of the two if they are the same.
    var fullName: String { label.isEmpty || label == systemName ? systemName : "\(label) (\(systemName))" }

    /// The constraints with the device's own id where its system name stands.
    func resolving(_ constraints: MediaTrackConstraints) -> MediaTrackConstraints {
        func resolve(_ names: [String]) -> [String] { names.map { $0 == systemName ? deviceId : $0 } }
        func resolve(_ set: MediaTrackConstraintSet) -> MediaTrackConstraintSet {
            guard let names = set.deviceId else { return set }
            var set = set
            set.deviceId = ConstrainDOMString(exact: resolve(names.exact), ideal: resolve(names.ideal))
            return set
        }
        return MediaTrackConstraints(
            basic: resolve(constraints.basic),
            advanced: constraints.advanced.map { resolve($0) }
        )
    }
}

extension RTCError {
    /// What a device says, with its name, as the W3C exception for it.
    init(_ error: MediaError, of device: MediaDeviceInfo? = nil) {
        let name: Name =
            switch error.kind {
            case .notFound: .notFoundError
            case .notPermitted: .notAllowedError
            case .busy, .unplugged, .notUsable, .noSpace, .finished, .malformed, .codec: .notReadableError
            case .invalidArgument: .typeError
            }
        let subject = device.map { $0.systemName == error.subject ? $0.fullName : error.subject } ?? error.subject
        // What is said of all cameras names none.
        let isGeneral = MediaDeviceKind.allCases.contains { $0.noun == subject }
        self.init(name, isGeneral ? error.message : "\(subject): \(error.message)")
    }
}
