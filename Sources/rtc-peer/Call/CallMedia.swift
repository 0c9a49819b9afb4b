import Glibc
import PeerConnection

/// What this side sends: a camera and a microphone, files, or pattern and tone.
struct CallMedia {
    var video: MediaStreamTrack?
    var audio: MediaStreamTrack?
    /// Plays what comes; nil if there is nothing to play it on.
    var speaker: ALSASpeaker?
    /// Devices that may be unplugged.
    var devices: [CallDevice] = []
    /// Files that may break off, and what to call them then.
    var files: [(noun: String, file: any FailingDevice)] = []
    /// Sentences for the user on what was chosen and why.
    var notes: [String] = []

    var tracks: [MediaStreamTrack] { [audio, video].compactMap { $0 } }

    /// Takes a device that has come back.
    mutating func replace(_ old: MediaStreamTrack, with device: CallDevice) {
        devices.removeAll { $0.track === old }
        devices.append(device)
        if video === old { video = device.track }
        if audio === old { audio = device.track }
    }
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

    func open() async throws -> CallMedia {
        var media = CallMedia()
        try await openVideo(&media)
        try await openAudio(&media)
        if playsSound { try openSpeaker(&media) }
        return media
    }

    private func openVideo(_ media: inout CallMedia) async throws {
        switch video {
        case .none: return
        case .file(let path):
            let source = try VideoFile(path: path, isLooping: isLooping)
            media.video = MediaStreamTrack(source)
            media.files.append(("video file", source))
            return
        case .test: break
        case .camera:
            let constraints = MediaTrackConstraints(
                width: .ideal(size.width),
                height: .ideal(size.height),
                frameRate: .ideal(Double(size.framesPerSecond)),
                deviceId: camera.map { .exact($0) }
            )
            do throws(RTCError) {
                let device = try await CallDevice.open(.video, constraints)
                media.notes.append("Camera: \(device.description)")
                media.video = device.track
                media.devices.append(device)
                return
            } catch {
                if camera != nil { throw error }
                media.notes.append("\(CallDevices.sentence("camera", error)): a test pattern is sent.")
            }
        }
        media.video = MediaStreamTrack(
            try TestPattern(width: size.width, height: size.height, framesPerSecond: size.framesPerSecond)
        )
    }

    private func openAudio(_ media: inout CallMedia) async throws {
        switch audio {
        case .none: return
        case .file(let path):
            let source = try AudioFile(path: path, isLooping: isLooping)
            media.audio = MediaStreamTrack(source)
            media.files.append(("audio file", source))
            return
        case .tone: break
        case .microphone:
            let constraints = MediaTrackConstraints(deviceId: microphone.map { .exact($0) })
            do throws(RTCError) {
                let device = try await CallDevice.open(.audio, constraints)
                media.notes.append("Microphone: \(device.description)")
                media.audio = device.track
                media.devices.append(device)
                return
            } catch {
                if microphone != nil { throw error }
                media.notes.append("\(CallDevices.sentence("microphone", error)): a tone of 440 Hz is sent.")
            }
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
    }
}
