internal import Locking
package import Media

/// What somebody who watches a call asks for by a key.
package enum ViewRequest: Hashable, Sendable {
    case toggleMicrophone
    case toggleCamera
    case hangUp
}

/// Shows the pictures of a call: a window, a terminal.
package protocol CallView: AnyObject, Sendable {
    /// What is shown; changed by whoever has something new, from any thread.
    var pictures: CallPictures { get }
    /// Ends it; the place where it was is as before.
    func close()
}

/// The newest picture of everybody in a call, and what stands beside it.
///
/// Pictures are replaced, never queued: who draws slowly misses some.
package final class CallPictures: Sendable {
    /// One participant.
    package struct Participant: Sendable {
        package var name: String
        package var picture: VideoFrame?
    }

    /// All at one moment.
    package struct State: Sendable {
        /// In the order in which they came.
        package var participants: [(id: String, participant: Participant)] = []
        package var preview: VideoFrame?
        package var isMicrophoneOff = false
        package var isCameraOff = false
        /// Rises with every change.
        package var version = 0
    }

    private let state = Mutex(State())
    private let onChange = Mutex<(@Sendable () -> Void)?>(nil)

    package init() {}

    package var now: State { state.withLock { $0 } }
    package var version: Int { state.withLock { $0.version } }

    /// Calls `handler` after each change, on whatever thread made it.
    package func setChangeHandler(_ handler: (@Sendable () -> Void)?) { onChange.withLock { $0 = handler } }

    package func add(_ id: String, name: String) {
        change { state in
            state.participants.removeAll { $0.id == id }
            state.participants.append((id, Participant(name: name)))
        }
    }

    package func remove(_ id: String) { change { state in state.participants.removeAll { $0.id == id } } }

    /// A participant's newest picture; nil takes the last one away.
    package func show(_ picture: VideoFrame?, of id: String) {
        change { state in
            guard let index = state.participants.firstIndex(where: { $0.id == id }) else { return }
            state.participants[index].participant.picture = picture
        }
    }

    package func showPreview(_ picture: VideoFrame?) { change { $0.preview = picture } }

    package func set(isMicrophoneOff: Bool, isCameraOff: Bool) {
        change { state in
            state.isMicrophoneOff = isMicrophoneOff
            state.isCameraOff = isCameraOff
        }
    }

    private func change(_ body: (inout State) -> Void) {
        state.withLock { state in
            body(&state)
            state.version &+= 1
        }
        onChange.withLock { $0 }?()
    }
}
