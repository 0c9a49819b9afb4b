internal import PeerConnection
internal import Signaling

/// What a call tells the terminal or the JSON output.
enum CallEvent: Sendable {
    case phase(SignalingPeer, CallPhase)
    /// A candidate was told after the connection was up: the network has changed.
    case lateCandidate(SignalingPeer)
    case stateChanged(SignalingPeer, RTCPeerConnectionState)
    /// Media begins; `feed` takes what is noticed about it later.
    case track(SignalingPeer, RTCTrackEvent, feed: @Sendable (CallEvent) -> Void)
    case remoteClosed(SignalingPeer)
    case chat(SignalingPeer, String)
    case fileReceived(SignalingPeer, TransferredFile)
    case fileSent(SignalingPeer, TransferredFile)
    case problem(SignalingPeer?, String)
}

/// Steps of a call's set-up whose times are printed.
enum CallPhase: Sendable {
    case iceConnected
    case firstPacket
    case firstFrame
}

/// A file that went over a data channel.
struct TransferredFile: Sendable {
    var name: String
    var path: String
    var byteCount: Int
    var sha256: String
}
