import Glibc
import Locking
import PeerConnection

/// Stores what one peer sends: its video as it comes (IVF), its sound decoded (WAV).
final class Recorder: Sendable {
    private let directory: String
    private let name: String
    private struct State {
        var video: IVFWriter?
        var audio: WAVWriter?
        var subscription: MediaSubscription?
    }
    private let state = Mutex(State())

    /// `name`: begins the files' names; made safe for a file system.
    init(directory: String, name: String) {
        self.directory = directory
        self.name = FileConvention.safeName(name)
    }

    /// Records a received track from now on.
    func record(_ receiver: RTCRtpReceiver) throws {
        switch receiver.track.kind {
        case .video:
            let writer = try IVFWriter(path: freePath("ivf"))
            state.withLock { state in
                state.video?.close()
                state.video = writer
            }
            receiver.setEncodedFrameHandler { frame in
                try? writer.write(
                    frame.payload,
                    isKeyFrame: frame.isKeyFrame,
                    timestampNanoseconds: frame.receiveTimeNanoseconds
                )
            }
        case .audio:
            let writer = try WAVWriter(path: freePath("wav"))
            let subscription = try receiver.track.addAudioTaker { writer.take($0) }
            state.withLock { state in
                state.audio?.close()
                state.audio = writer
                state.subscription = subscription
            }
        }
    }

    func close() {
        state.withLock { state in
            state.subscription?.cancel()
            state.subscription = nil
            state.video?.close()
            state.audio?.close()
            state.video = nil
            state.audio = nil
        }
    }

    private func freePath(_ suffix: String) -> String {
        var number = 1
        while true {
            let path = "\(directory)/\(name)\(number == 1 ? "" : "-\(number)").\(suffix)"
            if unsafe access(path, F_OK) != 0 { return path }
            number += 1
        }
    }
}
