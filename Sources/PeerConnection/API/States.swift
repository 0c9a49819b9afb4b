/// Where offer and answer stand. webrtc-pc §4.3.1
public enum RTCSignalingState: String, Hashable, Sendable {
    /// No offer is open.
    case stable
    /// A local offer awaits its answer.
    case haveLocalOffer = "have-local-offer"
    /// A remote offer awaits our answer.
    case haveRemoteOffer = "have-remote-offer"
    /// A provisional local answer is set.
    case haveLocalPranswer = "have-local-pranswer"
    /// A provisional remote answer is set.
    case haveRemotePranswer = "have-remote-pranswer"
    /// The connection is closed.
    case closed
}

/// Where the gathering of candidates stands. webrtc-pc §4.3.2
public enum RTCIceGatheringState: String, Hashable, Sendable {
    /// Not begun.
    case new
    /// Under way.
    case gathering
    /// All candidates of this generation are known.
    case complete
}

/// The state of ICE and DTLS together. webrtc-pc §4.3.3
public enum RTCPeerConnectionState: String, Hashable, Sendable {
    /// Nothing has begun.
    case new
    /// ICE or DTLS is at work.
    case connecting
    /// Packets flow, encrypted.
    case connected
    /// The path does not answer at present; it may come back.
    case disconnected
    /// The path is lost or DTLS failed.
    case failed
    /// `close()` was called.
    case closed
}

/// The state of ICE. webrtc-pc §5.6.4
public enum RTCIceConnectionState: String, Hashable, Sendable {
    /// Not begun.
    case new
    /// Candidate pairs are being checked.
    case checking
    /// A usable pair was found; better ones may follow.
    case connected
    /// A pair was selected and all checks are done.
    case completed
    /// The selected pair stopped answering.
    case disconnected
    /// No pair works.
    case failed
    /// `close()` was called.
    case closed
}

/// The state of a data channel. webrtc-pc §6.2
public enum RTCDataChannelState: String, Hashable, Sendable {
    /// The channel is being set up.
    case connecting
    /// Messages can be sent.
    case open
    /// `close()` was called here or there; what was queued is being sent.
    case closing
    /// The channel is gone.
    case closed
}

/// Which way a transceiver's media flows, as its own side sees it. webrtc-pc §5.4.1
public enum RTCRtpTransceiverDirection: String, Hashable, Sendable {
    /// Both ways.
    case sendrecv
    /// Out only.
    case sendonly
    /// In only.
    case recvonly
    /// Neither way.
    case inactive
    /// Ended for good.
    case stopped
}

/// Audio or video.
public enum MediaKind: String, Hashable, Sendable {
    /// Sound.
    case audio
    /// Pictures.
    case video
}
