import ArgumentParser
import PeerConnection

/// What `--video` names: where the pictures that are sent come from.
enum VideoChoice: ExpressibleByArgument, Hashable, Sendable {
    case camera
    case test
    case none
    case file(String)
    /// The screen, or what is called so on it: a monitor, a window.
    case screen(String?)

    init?(argument: String) {
        switch argument {
        case "camera": self = .camera
        case "screen": self = .screen(nil)
        case _ where argument.hasPrefix("screen:"):
            let name = String(argument.dropFirst("screen:".count))
            guard !name.isEmpty else { return nil }
            self = .screen(name)
        case "test", "pattern": self = .test
        case "none", "off": self = .none
        case "": return nil
        default: self = .file(argument)
        }
    }

    /// As it is written on the command line.
    var text: String {
        switch self {
        case .camera: "camera"
        case .test: "test"
        case .none: "none"
        case .file(let path): path
        case .screen(let name): name.map { "screen:\($0)" } ?? "screen"
        }
    }

    var defaultValueDescription: String { text }
}

/// What `--audio` names: where the sound that is sent comes from.
enum AudioChoice: ExpressibleByArgument, Hashable, Sendable {
    case microphone
    case tone
    case none
    case file(String)

    init?(argument: String) {
        switch argument {
        case "microphone", "mic": self = .microphone
        case "tone", "test": self = .tone
        case "none", "off": self = .none
        case "": return nil
        default: self = .file(argument)
        }
    }

    /// As it is written on the command line.
    var text: String {
        switch self {
        case .microphone: "microphone"
        case .tone: "tone"
        case .none: "none"
        case .file(let path): path
        }
    }

    var defaultValueDescription: String { text }
}

/// What `--video-codec` names: who encodes the camera's pictures.
enum CameraEncodingChoice: String, CaseIterable, ExpressibleByArgument, Sendable {
    /// This program.
    case vp8
    /// The camera, if it has H.264.
    case h264
    /// The camera, if it has any that can be sent.
    case camera

    /// What of the camera's own is wanted, the best first.
    var codecs: [VideoCodec] {
        switch self {
        case .vp8: []
        case .h264: [.h264]
        case .camera: [.h264, .vp8]
        }
    }

    /// As it is said.
    var words: String { codecs.map { $0.rawValue.uppercased() }.joined(separator: " or ") }
}
