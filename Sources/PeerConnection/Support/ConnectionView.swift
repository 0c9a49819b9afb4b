internal import Locking
internal import PeerEngine

/// What the application sees of a connection: a snapshot, readable anywhere, changed only in delivered tasks.
final class ConnectionView: Sendable {
    struct Snapshot {
        var signalingState = RTCSignalingState.stable
        var iceGatheringState = RTCIceGatheringState.new
        var iceConnectionState = RTCIceConnectionState.new
        var connectionState = RTCPeerConnectionState.new
        /// Written out when the application asks: they change more often than that.
        var descriptions = Descriptions()
        var transceivers: [RTCRtpTransceiver] = []
        var sctp: RTCSctpTransport?
        var isClosed = false
    }

    struct Descriptions {
        var currentLocal: Negotiator.Description?
        var pendingLocal: Negotiator.Description?
        var currentRemote: Negotiator.Description?
        var pendingRemote: Negotiator.Description?

        init() {}

        init(_ negotiator: Negotiator) {
            currentLocal = negotiator.currentLocal
            pendingLocal = negotiator.pendingLocal
            currentRemote = negotiator.currentRemote
            pendingRemote = negotiator.pendingRemote
        }
    }

    let delivery: DeliveryQueue
    let broadcaster = EventBroadcaster<RTCPeerConnectionEvent>()
    private let snapshot = Mutex(Snapshot())
    private let handler = Mutex<(@Sendable (RTCPeerConnectionEvent) -> Void)?>(nil)
    private let nextKey = Atomic<Int>(1)
    private let messageLimit = Atomic<Int>(65_536)

    init(executor: (any SerialExecutor)?) { delivery = DeliveryQueue(executor: executor) }

    var current: Snapshot { snapshot.withLock { $0 } }

    /// A number that names an API object of this connection.
    func makeKey() -> Int { nextKey.add(1, ordering: .relaxed).oldValue }

    /// The largest message that the peer takes; 65 536 until its description tells (RFC 8841 §6.1).
    var maxMessageSize: Int {
        get { messageLimit.load(ordering: .relaxed) }
        set { messageLimit.store(newValue, ordering: .relaxed) }
    }

    func setHandler(_ new: (@Sendable (RTCPeerConnectionEvent) -> Void)?) { handler.withLock { $0 = new } }

    /// Changes the snapshot in a delivered task and then tells the event.
    func deliver(_ event: RTCPeerConnectionEvent? = nil, _ change: (@Sendable (inout Snapshot) -> Void)? = nil) {
        delivery.deliver { [self] in
            let isClosed = snapshot.withLock { snapshot -> Bool in
                if snapshot.isClosed { return true }
                change?(&snapshot)
                return false
            }
            guard !isClosed, let event else { return }
            handler.withLock { $0 }?(event)
            broadcaster.send(event)
        }
    }

    /// Changes the snapshot at once, for what the application itself did by a synchronous call.
    func changeNow(_ change: (inout Snapshot) -> Void) { snapshot.withLock { change(&$0) } }

    /// Marks the connection closed without events, as `close()` of the W3C text does.
    func markClosed() {
        snapshot.withLock { snapshot in
            snapshot.isClosed = true
            snapshot.signalingState = .closed
            snapshot.iceConnectionState = .closed
            snapshot.connectionState = .closed
            snapshot.sctp?.state = .closed
        }
    }

    func didClose() {
        markClosed()
        delivery.deliver { [broadcaster] in broadcaster.finish() }
    }
}
