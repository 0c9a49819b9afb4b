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
    /// Something was said; its receipt is released once that is shown.
    case chat(SignalingPeer, String, ChatReceipt)
    case fileReceived(SignalingPeer, TransferredFile)
    case fileSent(SignalingPeer, TransferredFile)
    case problem(SignalingPeer?, String)
}

/// Tells by its end that a message was shown, or will not be.
final class ChatReceipt: Sendable {
    private let shown: AsyncStream<Void>.Continuation

    private init(_ shown: AsyncStream<Void>.Continuation) { self.shown = shown }

    deinit { shown.finish() }

    /// Hands a receipt over, and keeps none.
    ///
    /// - Returns: what ends with the receipt.
    static func shown(_ tell: (ChatReceipt) -> Void) -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream<Void>.makeStream()
        tell(ChatReceipt(continuation))
        return stream
    }
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
