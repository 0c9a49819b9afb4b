internal import Locking

/// Has a track tried again whose source could not be started, as a camera that another program has.
///
/// Cameras and microphones are open only while somebody takes from them, so a call that waited for its peer may find its
/// device taken meanwhile.
final class SourceRetry: Sendable {
    private struct State {
        var isWaiting = false
        /// The track of which it was told, until one has worked.
        var told: String?
    }

    private static let pause = Duration.seconds(2)

    private let state = Mutex(State())
    private let tell: @Sendable (RTCError) -> Void

    /// - Parameter tell: takes the reason of the first failure, on any thread.
    init(tell: @escaping @Sendable (RTCError) -> Void) { self.tell = tell }

    func didStart() { state.withLock { $0.told = nil } }

    /// The track has no frames; `again` is called after a while.
    func didFail(_ track: MediaStreamTrack, _ error: any Error, again: @escaping @Sendable () -> Void) {
        // One that has ended says so itself.
        guard track.readyState == .live else { return }
        let (isNew, mustWait) = state.withLock { state in
            defer { state = State(isWaiting: true, told: track.id) }
            return (state.told != track.id, !state.isWaiting)
        }
        if isNew {
            let noun = track.kind == .video ? "camera" : "microphone"
            tell(RTCError(.notReadableError, "\(track.label) gives nothing: \(error); the \(noun) is tried again"))
        }
        guard mustWait else { return }
        Task { [weak self] in
            try? await Task.sleep(for: Self.pause)
            self?.state.withLock { $0.isWaiting = false }
            again()
        }
    }
}
