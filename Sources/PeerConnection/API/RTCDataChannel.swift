internal import Locking

/// How a data channel is made. webrtc-pc §6.2 (`RTCDataChannelInit`)
public struct RTCDataChannelInit: Hashable, Sendable {
    /// Whether messages arrive in the order in which they were sent.
    public var ordered = true
    /// Milliseconds after which an undelivered message is given up; excludes `maxRetransmits`.
    public var maxPacketLifeTime: UInt16?
    /// How often a message is sent again before it is given up; excludes `maxPacketLifeTime`.
    public var maxRetransmits: UInt16?
    /// The name of a protocol of the application's, at most 65 535 bytes.
    public var `protocol` = ""
    /// True if both sides make the channel by themselves with the same `id`.
    public var negotiated = false
    /// The stream number, 0 to 65 534; needed when `negotiated`, else chosen by the connection.
    public var id: UInt16?

    /// A reliable, ordered channel.
    public init() {}
}

/// A bidirectional channel for messages. webrtc-pc §6.2
///
/// Usable from any thread. Messages wait in ``messages`` from the channel's first moment.
public final class RTCDataChannel: Sendable {
    /// Something that changed on a channel.
    public enum Event: Hashable, Sendable {
        /// Messages can be sent.
        case open
        /// `bufferedAmount` has fallen to the threshold.
        case bufferedAmountLow
        /// The channel is being closed.
        case closing
        /// The channel is gone.
        case close
    }

    struct State {
        var readyState = RTCDataChannelState.connecting
        var id: UInt16?
        /// Bytes given to `send` that the engine has not taken yet.
        var pendingBytes = 0
        /// Bytes that the engine holds.
        var engineBytes = 0
        var lowThreshold = 0
        var waiters: [CheckedContinuation<Void, Never>] = []
        var openWaiters: [CheckedContinuation<Void, Never>] = []
        var bufferedAmount: Int { pendingBytes + engineBytes }
    }

    /// Bytes that may wait in a channel before `send` throws.
    public static let bufferLimit = 64 << 20

    /// The channel's name.
    public let label: String
    /// How it was made.
    public let options: RTCDataChannelInit
    let key: Int
    private let link: any DataChannelLink
    private let state: Mutex<State>
    private let broadcaster = EventBroadcaster<Event>()
    let inbox: MessageInbox

    init(key: Int, label: String, options: RTCDataChannelInit, link: any DataChannelLink) {
        self.key = key
        self.label = label
        self.options = options
        self.link = link
        state = Mutex(State(id: options.id))
        inbox = MessageInbox { link.readingPressureChanged(channel: key) }
    }

    /// Whether messages arrive in order.
    public var ordered: Bool { options.ordered }
    /// The application's protocol name.
    public var `protocol`: String { options.protocol }
    /// See ``RTCDataChannelInit/maxRetransmits``.
    public var maxRetransmits: UInt16? { options.maxRetransmits }
    /// See ``RTCDataChannelInit/maxPacketLifeTime``.
    public var maxPacketLifeTime: UInt16? { options.maxPacketLifeTime }
    /// Whether both sides made it by themselves.
    public var negotiated: Bool { options.negotiated }
    /// The stream number; nil until it is known.
    public var id: UInt16? { state.withLock { $0.id } }
    /// The channel's state.
    public var readyState: RTCDataChannelState { state.withLock { $0.readyState } }
    /// The largest message in bytes that the peer takes; 65 536 until its description tells.
    public var maxMessageSize: Int { link.maxMessageSize }
    /// Bytes of messages that were given to `send` and not yet to the network.
    public var bufferedAmount: Int { state.withLock { $0.bufferedAmount } }
    /// The amount, in bytes, at or below which the channel counts as having room.
    ///
    /// 0 at first.
    public var bufferedAmountLowThreshold: Int {
        get { state.withLock { $0.lowThreshold } }
        set { state.withLock { $0.lowThreshold = max(0, newValue) } }
    }

    /// The received messages, for one reader; ends when the channel is closed.
    public var messages: MessageStream { MessageStream(inbox: inbox) }
    /// The state that the channel has reached, unless it is still connecting, and its changes from now on; ends after
    /// ``Event/close``.
    public var events: EventStream<Event> { broadcaster.subscribe() }

    /// Hands each message to `handler` instead of ``messages``, on the connection's event loop: the fastest way,
    /// for handlers that return at once; the peer is not slowed down.
    ///
    /// Messages that wait already come first, in order. With nil, messages wait in ``messages`` again.
    public func setMessageHandler(_ handler: (@Sendable (RTCDataChannelMessage) -> Void)?) {
        inbox.setConsumer(handler)
        if handler != nil { link.execute { [inbox] in inbox.deliverQueued() } }
    }

    /// Sends text.
    ///
    /// - Throws: `InvalidStateError` unless the channel is open, `TypeError` if the message is larger than the peer
    ///   takes, `OperationError` if more than ``bufferLimit`` bytes wait.
    public func send(_ text: String) throws(RTCError) {
        try enqueue(Array(text.utf8), isText: true)
    }

    /// Sends bytes.
    ///
    /// Errors as of ``send(_:)-(String)``.
    public func send(_ bytes: some Collection<UInt8>) throws(RTCError) {
        try enqueue(Array(bytes), isText: false)
    }

    /// Waits until ``bufferedAmount`` is at or below ``bufferedAmountLowThreshold``, or the channel is closed.
    public func waitUntilBufferedAmountIsLow() async {
        await withCheckedContinuation { continuation in
            let isLow = state.withLock { state -> Bool in
                if state.bufferedAmount <= state.lowThreshold || state.readyState == .closed { return true }
                state.waiters.append(continuation)
                return false
            }
            if isLow { continuation.resume() }
        }
    }

    /// Waits until the channel is open.
    ///
    /// - Throws: `InvalidStateError` if it is closed first.
    public func waitUntilOpen() async throws(RTCError) {
        await withCheckedContinuation { continuation in
            let isDone = state.withLock { state -> Bool in
                if state.readyState != .connecting { return true }
                state.openWaiters.append(continuation)
                return false
            }
            if isDone { continuation.resume() }
        }
        guard readyState == .open else {
            throw RTCError(.invalidStateError, "the data channel \"\(label)\" was closed")
        }
    }

    /// Closes the channel once what was queued has been sent.
    public func close() {
        let isFirst = state.withLock { state -> Bool in
            guard state.readyState == .connecting || state.readyState == .open else { return false }
            state.readyState = .closing
            return true
        }
        if isFirst { link.close(channel: key) }
    }

    private func enqueue(_ bytes: [UInt8], isText: Bool) throws(RTCError) {
        let limit = link.maxMessageSize
        let refusal = state.withLock { state -> RTCError? in
            guard state.readyState == .open else {
                return RTCError(.invalidStateError, "the data channel \"\(label)\" is \(state.readyState.rawValue)")
            }
            guard bytes.count <= limit else {
                return RTCError(
                    .typeError,
                    "a message of \(bytes.count) bytes is more than the \(limit) that the peer takes"
                )
            }
            guard state.bufferedAmount + bytes.count <= Self.bufferLimit else {
                return RTCError(
                    .operationError,
                    "over \(Self.bufferLimit) bytes wait: await waitUntilBufferedAmountIsLow()"
                )
            }
            state.pendingBytes += bytes.count
            return nil
        }
        if let refusal { throw refusal }
        link.send(OutgoingMessage(channel: key, isText: isText, bytes: bytes))
    }

    // MARK: From the driver

    /// The engine took `byteCount` bytes over and now holds `engineBytes`.
    func didHandOver(byteCount: Int, engineBytes: Int) {
        update {
            $0.pendingBytes -= byteCount; $0.engineBytes = engineBytes
        }
    }

    func setEngineBytes(_ byteCount: Int) { update { $0.engineBytes = byteCount } }

    private func update(_ change: (inout State) -> Void) {
        let (waiters, becameLow) = state.withLock { state -> ([CheckedContinuation<Void, Never>], Bool) in
            let before = state.bufferedAmount
            change(&state)
            guard state.bufferedAmount <= state.lowThreshold else { return ([], false) }
            defer { state.waiters = [] }
            return (state.waiters, before > state.lowThreshold)
        }
        for waiter in waiters { waiter.resume() }
        if becameLow { broadcaster.send(.bufferedAmountLow) }
    }

    func didOpen(id: UInt16) {
        let waiters = state.withLock { state -> [CheckedContinuation<Void, Never>]? in
            state.id = id
            guard state.readyState == .connecting else { return nil }
            state.readyState = .open
            defer { state.openWaiters = [] }
            return state.openWaiters
        }
        guard let waiters else { return }
        for waiter in waiters { waiter.resume() }
        broadcaster.send(.open, isLasting: true)
    }

    func didStartClosing() {
        let isFirst = state.withLock { state -> Bool in
            guard state.readyState == .connecting || state.readyState == .open else { return false }
            state.readyState = .closing
            return true
        }
        if isFirst { broadcaster.send(.closing, isLasting: true) }
    }

    func didClose() {
        let waiters = state.withLock { state -> [CheckedContinuation<Void, Never>]? in
            guard state.readyState != .closed else { return nil }
            state.readyState = .closed
            state.pendingBytes = 0
            state.engineBytes = 0
            defer {
                state.waiters = []
                state.openWaiters = []
            }
            return state.waiters + state.openWaiters
        }
        guard let waiters else { return }
        for waiter in waiters { waiter.resume() }
        inbox.finish()
        broadcaster.send(.close, isLasting: true)
        broadcaster.finish()
    }
}

/// A message on its way from `send` to the event loop.
struct OutgoingMessage: Sendable {
    var channel: Int
    var isText: Bool
    var bytes: [UInt8]
}

/// What a data channel needs of its connection; callable from any thread.
protocol DataChannelLink: AnyObject, Sendable {
    /// The largest message that the peer takes.
    var maxMessageSize: Int { get }
    func send(_ message: OutgoingMessage)
    func close(channel: Int)
    /// Runs `work` on the connection's event loop, after what was queued there before.
    func execute(_ work: @escaping @Sendable () -> Void)
    /// The channel's unread messages crossed their limit, either way.
    func readingPressureChanged(channel: Int)
}
