import Glibc
import PeerConnection

/// What this side sends: a camera and a microphone, files, or pattern and tone.
struct CallMedia {
    var video: MediaStreamTrack?
    var audio: MediaStreamTrack?
    /// Plays what comes; nil if there is nothing to play it on.
    var speaker: ALSASpeaker?
    /// Devices that may be unplugged, and what to call them then.
    var devices: [(noun: String, device: any FailingDevice)] = []
    /// Sentences for the user on what was chosen and why.
    var notes: [String] = []

    var tracks: [MediaStreamTrack] { [audio, video].compactMap { $0 } }
}

/// Chooses and opens the sources.
struct CallMediaOptions {
    var video: VideoChoice
    var audio: AudioChoice
    /// Whether files begin again at their end.
    var isLooping: Bool
    var size: PictureSize
    var camera: String?
    var microphone: String?
    var speaker: String?
    var playsSound: Bool

    func open() throws -> CallMedia {
        var media = CallMedia()
        try openVideo(&media)
        try openAudio(&media)
        if playsSound { try openSpeaker(&media) }
        return media
    }

    private func openVideo(_ media: inout CallMedia) throws {
        switch video {
        case .none: return
        case .file(let path):
            let source = try VideoFile(path: path, isLooping: isLooping)
            media.video = MediaStreamTrack(source)
            media.devices.append(("video file", source))
            return
        case .test: break
        case .camera:
            let finding = try CallDevices.camera(camera, wish: size.wish)
            if let source = finding.device {
                let rate = source.interval.map { " at \(Int($0.framesPerSecond.rounded())) pictures a second" } ?? ""
                media.notes.append(
                    "Camera: \(source.label) (\(source.path)), \(source.mode.width)x\(source.mode.height)\(rate)"
                )
                media.video = MediaStreamTrack(source)
                media.devices.append(("camera", source))
                return
            }
            media.notes.append("\(CallDevices.sentence("camera", finding.problems)): a test pattern is sent.")
        }
        media.video = MediaStreamTrack(
            try TestPattern(width: size.width, height: size.height, framesPerSecond: size.framesPerSecond)
        )
    }

    private func openAudio(_ media: inout CallMedia) throws {
        switch audio {
        case .none: return
        case .file(let path):
            let source = try AudioFile(path: path, isLooping: isLooping)
            media.audio = MediaStreamTrack(source)
            media.devices.append(("audio file", source))
            return
        case .tone: break
        case .microphone:
            let finding = try CallDevices.microphone(microphone)
            if let source = finding.device {
                media.notes.append("Microphone: \(source.label)")
                media.audio = MediaStreamTrack(source)
                media.devices.append(("microphone", source))
                return
            }
            media.notes.append("\(CallDevices.sentence("microphone", finding.problems)): a tone of 440 Hz is sent.")
        }
        media.audio = MediaStreamTrack(Tone())
    }

    private func openSpeaker(_ media: inout CallMedia) throws {
        let finding = try CallDevices.speaker(speaker)
        guard let speaker = finding.device else {
            media.notes.append(
                "\(CallDevices.sentence("loudspeaker", finding.problems)): what the others say is not played here."
            )
            return
        }
        media.notes.append("Loudspeaker: \(speaker.name)")
        media.speaker = speaker
        media.devices.append(("loudspeaker", speaker))
    }
}
