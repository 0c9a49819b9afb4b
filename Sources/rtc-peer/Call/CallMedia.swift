import Glibc
import PeerConnection

/// What this side sends: a camera and a microphone, files, or pattern and tone.
struct CallMedia {
    var video: MediaStreamTrack?
    var audio: MediaStreamTrack?
    /// Sentences for the user on what was chosen and why.
    var notes: [String] = []

    var tracks: [MediaStreamTrack] { [audio, video].compactMap { $0 } }
}

/// Chooses and opens the sources.
struct CallMediaOptions {
    var usesTestPattern: Bool
    var size: PictureSize
    var videoFile: String?
    var audioFile: String?
    var camera: String?
    var microphone: String?
    var sendsVideo: Bool
    var sendsAudio: Bool

    func open() throws -> CallMedia {
        var media = CallMedia()
        if sendsVideo { try openVideo(&media) }
        if sendsAudio { try openAudio(&media) }
        return media
    }

    private func openVideo(_ media: inout CallMedia) throws {
        if let videoFile {
            media.video = MediaStreamTrack(try VideoFile(path: videoFile))
            return
        }
        if !usesTestPattern, let source = try CallDevices.camera(camera, size: size) {
            media.notes.append("Camera: \(source.label)")
            media.video = MediaStreamTrack(source)
            return
        }
        if !usesTestPattern { media.notes.append("No camera was found: a test pattern is sent.") }
        media.video = MediaStreamTrack(
            try TestPattern(width: size.width, height: size.height, framesPerSecond: size.framesPerSecond))
    }

    private func openAudio(_ media: inout CallMedia) throws {
        if let audioFile {
            media.audio = MediaStreamTrack(try AudioFile(path: audioFile))
            return
        }
        if !usesTestPattern, let source = try CallDevices.microphone(microphone) {
            media.notes.append("Microphone: \(source.label)")
            media.audio = MediaStreamTrack(source)
            return
        }
        if !usesTestPattern { media.notes.append("No microphone was found: a tone of 440 Hz is sent.") }
        media.audio = MediaStreamTrack(Tone())
    }
}
