import Locking
import PeerConnection

/// The connection that is up now, if there is one.
final class CurrentConnection: Sendable {
    private let connection = Mutex<RTCPeerConnection?>(nil)

    var value: RTCPeerConnection? { connection.withLock { $0 } }

    func set(_ new: RTCPeerConnection?) { connection.withLock { $0 = new } }
}
