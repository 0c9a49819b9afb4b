import Locking
import PeerConnection
import Testing
import TimeSharing

/// A camera or microphone that another program has just when the call begins.
@Suite(.realTime) struct BusySources {
    private struct InUse: Error {}

    /// Cannot be started so many times.
    private final class Source: VideoSource, AudioSource {
        let label = "vivid"
        private let refusals: Mutex<Int>
        private let video: TestPattern?
        private let audio: Tone?

        init(refusals: Int, kind: MediaKind) throws {
            self.refusals = Mutex(refusals)
            video = kind == .video ? try TestPattern(width: 320, height: 180) : nil
            audio = kind == .audio ? Tone() : nil
        }

        private func refuse() throws {
            let isRefused = refusals.withLock { count in
                count -= 1
                return count >= 0
            }
            if isRefused { throw InUse() }
        }

        func start(deliver: @escaping @Sendable (VideoFrame) -> Void) throws {
            try refuse()
            try video?.start(deliver: deliver)
        }

        func start(deliver: @escaping @Sendable (AudioFrame) -> Void) throws {
            try refuse()
            try audio?.start(deliver: deliver)
        }

        func stop() {
            video?.stop()
            audio?.stop()
        }
    }

    @Test(.timeLimit(.minutes(10)), arguments: [MediaKind.video, .audio])
    func aDeviceInUseIsToldAndTriedAgain(kind: MediaKind) async throws {
        let pair = try ConnectedPair()
        let source = try Source(refusals: 2, kind: kind)
        let track =
            kind == .video
            ? MediaStreamTrack(source as any VideoSource) : MediaStreamTrack(source as any AudioSource)
        _ = try pair.first.addTrack(track)
        let (errors, events) = (pair.first.events, pair.second.events)
        try await pair.negotiate()
        for await case .track(let event) in events {
            if kind == .video {
                for await _ in event.track.videoFrames { break }
            } else {
                for await _ in event.track.audioFrames { break }
            }
            break
        }
        pair.first.close()
        var told: [String] = []
        for await event in errors { if case .error(let error) = event { told.append(error.message) } }
        #expect(told.count == 1)
        #expect(told.allSatisfy { $0.contains("vivid") && $0.contains("InUse") })
    }
}
