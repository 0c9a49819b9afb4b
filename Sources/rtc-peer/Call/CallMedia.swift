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
    /// The screen or window that is sent, which may be closed.
    var screen: MediaStreamTrack?
    /// What to tell a user whose screen has given no picture at first; nil where it gives one at once.
    var stillScreenHint: String?
    /// Sentences for the user on what was chosen and why.
    var notes: [String] = []

    var tracks: [MediaStreamTrack] { [audio, video].compactMap { $0 } }

    fileprivate mutating func add(_ device: CallDevice, noun: String) {
        notes.append("\(noun): \(device.description)")
        notes += device.encodingNotes
        devices.append(device)
        if device.track.kind == .video { video = device.track } else { audio = device.track }
    }

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
    /// As the user asked; nil for what suits each source.
    var wantedSize: PictureSize?
    var camera: String?
    var cameraEncoding = CameraEncodingChoice.vp8
    var microphone: String?
    var speaker: String?
    var playsSound: Bool
    /// What is done to the microphone's sound.
    var sound: SoundOptions

    private var size: PictureSize { wantedSize ?? PictureSize() }

    func open() async throws -> CallMedia {
        let camera =
            video == .camera ? try await device(.video, size.constraints(camera: camera), isNamed: camera != nil) : nil
        let microphone =
            audio == .microphone ? try await device(.audio, microphoneConstraints, isNamed: microphone != nil) : nil
        var media = CallMedia()
        if case .screen(let name) = video {
            let screen = try await CallScreen.open(name, size: wantedSize)
            media.notes += screen.notes
            (media.video, media.screen) = (screen.track, screen.track)
            if screen.isPortal { media.stillScreenHint = FirstPicture.stillScreenHint }
        }
        try addVideo(camera, to: &media)
        try addAudio(microphone, to: &media)
        if playsSound { try openSpeaker(&media) }
        return media
    }

    /// A camera or microphone, or why there is none.
    private enum Finding {
        case device(CallDevice)
        case nothing(String)
    }

    private var microphoneConstraints: MediaTrackConstraints {
        sound.constraints(microphone: microphone, isHeard: playsSound)
    }

    /// - Throws: `RTCError` if a device was named and cannot be used.
    private func device(
        _ kind: MediaKind,
        _ constraints: MediaTrackConstraints,
        isNamed: Bool
    ) async throws -> Finding {
        do {
            return .device(try await CallDevice.open(kind, constraints, encoding: cameraEncoding))
        } catch {
            if isNamed { throw error }
            return .nothing(CallDevices.sentence(kind == .video ? "camera" : "microphone", error))
        }
    }

    private func addVideo(_ camera: Finding?, to media: inout CallMedia) throws {
        switch (video, camera) {
        case (.none, _), (.screen, _): return
        case (.file(let path), _) where H264File.isOne(path):
            let source = try H264File(path: path, framesPerSecond: size.framesPerSecond, isLooping: isLooping)
            media.video = MediaStreamTrack(encoded: source)
            media.files.append(("video file", source))
            media.notes.append("\(path) is sent as it is, to those who take H.264; the others get no picture.")
            return
        case (.file(let path), _):
            let source = try VideoFile(path: path, isLooping: isLooping)
            media.video = MediaStreamTrack(source)
            media.files.append(("video file", source))
            return
        case (.camera, .device(let device)): return media.add(device, noun: "Camera")
        case (.camera, .nothing(let why)): media.notes.append("\(why): a test pattern is sent.")
        case (.test, _), (.camera, nil): break
        }
        media.video = MediaStreamTrack(
            try TestPattern(width: size.width, height: size.height, framesPerSecond: size.framesPerSecond)
        )
    }

    private func addAudio(_ microphone: Finding?, to media: inout CallMedia) throws {
        switch (audio, microphone) {
        case (.none, _): return
        case (.file(let path), _):
            let source = try AudioFile(path: path, isLooping: isLooping)
            media.audio = MediaStreamTrack(source)
            media.files.append(("audio file", source))
            return
        case (.microphone, .device(let device)): return media.add(device, noun: "Microphone")
        case (.microphone, .nothing(let why)): media.notes.append("\(why): a tone of 440 Hz is sent.")
        case (.tone, _), (.microphone, nil): break
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
