import PeerConnection
import Signaling

extension SignalingMessage {
    /// A candidate of a connection on its way; nil says that there are no more.
    static func candidate(of candidate: RTCIceCandidate?) -> SignalingMessage {
        .candidate(
            candidate.map {
                SignalingCandidate(
                    candidate: $0.candidate,
                    sdpMid: $0.sdpMid,
                    sdpMLineIndex: $0.sdpMLineIndex,
                    usernameFragment: $0.usernameFragment
                )
            }
        )
    }
}

extension RTCIceCandidate {
    /// The other side's candidate as it came.
    init(_ candidate: SignalingCandidate) {
        self.init(
            candidate: candidate.candidate,
            sdpMid: candidate.sdpMid,
            sdpMLineIndex: candidate.sdpMLineIndex,
            usernameFragment: candidate.usernameFragment
        )
    }
}
