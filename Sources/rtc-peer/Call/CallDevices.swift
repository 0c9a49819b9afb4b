import PeerConnection

/// The machine's camera and microphone.
enum CallDevices {
    /// The camera at `path`, or the first one; nil if there is none.
    static func camera(_ path: String?, size: PictureSize) throws -> (any VideoSource)? {
        guard path == nil else {
            throw MediaError(.notUsable, path ?? "", "cameras are not supported yet: leave --camera out, or use --video-file")
        }
        return nil
    }

    /// The microphone called `name`, or the default one; nil if there is none.
    static func microphone(_ name: String?) throws -> (any AudioSource)? {
        guard name == nil else {
            throw MediaError(.notUsable, name ?? "", "microphones are not supported yet: leave --microphone out, or use --audio-file")
        }
        return nil
    }
}
