package import Capture

extension MediaStreamTrack {
    /// How the camera of a track is set, and what else it has.
    package struct CameraSetting {
        package var systemName: String
        package var mode: CameraMode
        package var framesPerSecond: Double?
        package var modes: [CameraMode]
    }

    /// Nil for a track that is no camera's.
    package var cameraSetting: CameraSetting? {
        guard let device = source.device, let video = device.video else { return nil }
        let rates = video.interval.map { [$0] } ?? []
        return CameraSetting(
            systemName: device.info.systemName,
            mode: CameraMode(format: video.format, width: video.width, height: video.height, intervals: rates),
            framesPerSecond: video.interval?.framesPerSecond,
            modes: device.modes
        )
    }

    /// The system's name of the microphone; nil for a track that is none's.
    package var microphoneName: String? {
        guard let device = source.device, device.info.kind == .audioinput else { return nil }
        return device.info.systemName
    }
}
