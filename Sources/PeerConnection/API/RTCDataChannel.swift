internal import Locking
internal import SansIO

/// How much of the connection a data channel gets while several have messages waiting. webrtc-priority §4
///
/// Each priority gets twice the bytes of the one below it (RFC 8831 §6.4); a channel that waits alone gets all.
public enum RTCPriorityType: String, Hashable, Sendable, CaseIterable {
    /// Half of ``low``.
    case veryLow = "very-low"
    /// What channels have unless they are made otherwise.
    case low
    /// Twice ``low``.
    case medium
    /// Four times ``low``.
    case high

    /// The priority of a channel as it travels.
    ///
    /// RFC 8832 §8.2.2 names the values, webrtc-priority §4.2 what lies between.
    init(wireValue: UInt16) {
        switch wireValue {
        case ...128: self = .veryLow
        case ...256: self = .low
        case ...512: self = .medium
        default: self = .high
        }
    }

    /// The value that travels.
    var wireValue: UInt16 {
        switch self {
        case .veryLow: 128
        case .low: 256
        case .medium: 512
        case .high: 1_024
        }
    }
}

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
    /// The channel's share of the connection, as the side that sends sees it.
    public var priority = RTCPriorityType.low

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
        /// The association under the channel failed; ``close`` follows.
        case error(RTCError)
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
        var highThreshold = RTCDataChannel.defaultHighThreshold
        /// Tasks that wait, by the order in which they came; each list by what it waits for.
        var lowWaiters: [Waiter] = []
        var openWaiters: [Waiter] = []
        /// Messages of `sendWhenReady`, first in first out.
        var sends = RingQueue<WaitingSend>()
        var nextWaiter = 0
        var bufferedAmount: Int { pendingBytes + engineBytes }
    }

    struct Waiter {
        var number: Int
        var continuation: CheckedContinuation<Void, Never>
    }

    /// A message that waits for room, with the task that sends it.
    final class WaitingSend: Sendable {
        let number: Int
        let bytes: [UInt8]
        let isText: Bool
        let continuation: CheckedContinuation<RTCError?, Never>

        init(number: Int, bytes: [UInt8], isText: Bool, continuation: CheckedContinuation<RTCError?, Never>) {
            self.number = number
            self.bytes = bytes
            self.isText = isText
            self.continuation = continuation
        }
    }

    /// Bytes that may wait in a channel before `send` throws.
    public static let bufferLimit = 64 << 20
    /// What ``bufferedAmountHighThreshold`` is at first.
    public static let defaultHighThreshold = 1 << 20

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
        inbox = MessageInbox(account: link.unread) { link.readingPressureChanged(channel: key) }
    }

    /// Whether messages arrive in order.
    public var ordered: Bool { options.ordered }
    /// The application's protocol name.
    public var `protocol`: String { options.protocol }
    /// See ``RTCDataChannelInit/maxRetransmits``.
    public var maxRetransmits: UInt16? { options.maxRetransmits }
    /// See ``RTCDataChannelInit/maxPacketLifeTime``.
    public var maxPacketLifeTime: UInt16? { options.maxPacketLifeTime }
    /// Its share of the connection, as the side that made it wants it.
    public var priority: RTCPriorityType { options.priority }
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
        set { update { $0.lowThreshold = max(0, newValue) } }
    }
    /// The amount, in bytes, below which ``sendWhenReady(_:)-(String)`` hands a message over.
    ///
    /// 1 MiB at first, and 1 at least. Not in the W3C text, whose `send` does not wait.
    public var bufferedAmountHighThreshold: Int {
        get { state.withLock { $0.highThreshold } }
        set { update { $0.highThreshold = max(1, newValue) } }
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

    /// Sends text as soon as there is room for it.
    ///
    /// Waits while the channel is connecting or ``bufferedAmount`` is not below ``bufferedAmountHighThreshold``, and
    /// returns when the message has been taken over, as ``send(_:)-(String)`` takes it. Messages of tasks that wait go
    /// in the order of the calls; `send` does not wait for them. It is not an overload of `send`, since code in async
    /// functions would then get the waiting form where it means the other.
    ///
    /// - Parameter text: the message.
    /// - Throws: `InvalidStateError` if the channel is closed or closes meanwhile, `TypeError` if the message is larger
    ///   than the peer takes, `AbortError` if the task is cancelled; the message was then not sent.
    public func sendWhenReady(_ text: String) async throws(RTCError) {
        try await enqueueWhenReady(Array(text.utf8), isText: true)
    }

    /// Sends bytes as soon as there is room for them, as ``sendWhenReady(_:)-(String)`` does with text.
    ///
    /// - Parameter bytes: the message.
    /// - Throws: as ``sendWhenReady(_:)-(String)``.
    public func sendWhenReady(_ bytes: some Collection<UInt8>) async throws(RTCError) {
        try await enqueueWhenReady(Array(bytes), isText: false)
    }

    /// Waits until ``bufferedAmount`` is at or below ``bufferedAmountLowThreshold``, or the channel is closed, or the
    /// task is cancelled.
    public func waitUntilBufferedAmountIsLow() async {
        await wait(in: \.lowWaiters) { $0.bufferedAmount <= $0.lowThreshold || $0.readyState == .closed }
    }

    /// Waits until the channel is open.
    ///
    /// - Throws: `InvalidStateError` if it is closed first, `AbortError` if the task is cancelled.
    public func waitUntilOpen() async throws(RTCError) {
        await wait(in: \.openWaiters) { $0.readyState != .connecting }
        switch readyState {
        case .open: return
        case .connecting: throw RTCError(.abortError, "the wait for the data channel \"\(label)\" was cancelled")
        case .closing, .closed: throw RTCError(.invalidStateError, "the data channel \"\(label)\" was closed")
        }
    }

    /// Waits until somebody takes the task out of `list`, or it is cancelled, unless `isDone` holds already.
    private func wait(
        in list: any WritableKeyPath<State, [Waiter]> & Sendable,
        unless isDone: @Sendable (State) -> Bool
    )
        async
    {
        let number = state.withLock { $0.makeNumber() }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let mustWait = state.withLock { state -> Bool in
                    guard !isDone(state), !Task.isCancelled else { return false }
                    state[keyPath: list].append(Waiter(number: number, continuation: continuation))
                    return true
                }
                if !mustWait { continuation.resume() }
            }
        } onCancel: {
            let waiter = state.withLock { state -> Waiter? in
                guard let index = state[keyPath: list].firstIndex(where: { $0.number == number }) else { return nil }
                return state[keyPath: list].remove(at: index)
            }
            waiter?.continuation.resume()
        }
    }

    /// Closes the channel once what was queued has been sent.
    ///
    /// What arrives from now on is dropped, as the W3C text has it. What arrived before, a task that is reading
    /// ``messages`` can read on; if there is none, it is discarded. Messages that wait in
    /// ``sendWhenReady(_:)-(String)`` are not sent.
    public func close() {
        guard leave(for: .closing) else { return }
        inbox.refuseMore()
        link.close(channel: key)
    }

    private func enqueue(_ bytes: [UInt8], isText: Bool) throws(RTCError) {
        let limit = link.maxMessageSize
        let refusal = state.withLock { state -> RTCError? in
            if let refusal = self.refusal(of: bytes.count, limit: limit, in: state.readyState) { return refusal }
            guard state.bufferedAmount + bytes.count <= Self.bufferLimit else {
                return RTCError(
                    .operationError,
                    "over \(Self.bufferLimit) bytes wait: await waitUntilBufferedAmountIsLow() or use sendWhenReady"
                )
            }
            state.pendingBytes += bytes.count
            return nil
        }
        if let refusal { throw refusal }
        link.send(OutgoingMessage(channel: key, isText: isText, bytes: bytes))
    }

    /// Why a message cannot be sent at all, if so.
    private func refusal(of byteCount: Int, limit: Int, in readyState: RTCDataChannelState) -> RTCError? {
        guard readyState == .open else {
            return RTCError(.invalidStateError, "the data channel \"\(label)\" is \(readyState.rawValue)")
        }
        guard byteCount <= limit else {
            return RTCError(
                .typeError,
                "a message of \(byteCount) bytes is more than the \(limit) that the peer takes"
            )
        }
        return nil
    }

    private func enqueueWhenReady(_ bytes: [UInt8], isText: Bool) async throws(RTCError) {
        let number = state.withLock { $0.makeNumber() }
        let failure = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<RTCError?, Never>) in
                let send = WaitingSend(number: number, bytes: bytes, isText: isText, continuation: continuation)
                let settled = state.withLock { state -> [(WaitingSend, RTCError?)] in
                    if Task.isCancelled { return [(send, cancellation)] }
                    state.sends.append(send)
                    return admit(&state)
                }
                for (send, failure) in settled { send.continuation.resume(returning: failure) }
            }
        } onCancel: {
            let send = state.withLock { state -> WaitingSend? in
                var cancelled: WaitingSend?
                state.sends.removeAll { send in
                    guard send.number == number else { return false }
                    cancelled = send
                    return true
                }
                return cancelled
            }
            send?.continuation.resume(returning: cancellation)
        }
        if let failure { throw failure }
    }

    /// Messages of `sendWhenReady` that wait.
    var waitingSendCount: Int { state.withLock { $0.sends.count } }

    private var cancellation: RTCError {
        RTCError(.abortError, "a message on the data channel \"\(label)\" was cancelled before there was room for it")
    }

    /// Hands over the waiting messages for which there is room, and takes out those that can never go.
    ///
    /// Inside the lock: so messages reach the event loop in the order of the queue.
    private func admit(_ state: inout State) -> [(WaitingSend, RTCError?)] {
        var settled: [(WaitingSend, RTCError?)] = []
        guard !state.sends.isEmpty, state.readyState != .connecting else { return [] }
        let limit = link.maxMessageSize
        while let send = state.sends.first {
            let refusal = self.refusal(of: send.bytes.count, limit: limit, in: state.readyState)
            if refusal == nil {
                guard state.bufferedAmount < state.highThreshold else { break }
                state.pendingBytes += send.bytes.count
                link.send(OutgoingMessage(channel: key, isText: send.isText, bytes: send.bytes))
            }
            _ = state.sends.popFirst()
            settled.append((send, refusal))
        }
        return settled
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
        let (waiters, settled, becameLow) = state.withLock {
            state -> ([Waiter], [(WaitingSend, RTCError?)], Bool) in
            let before = state.bufferedAmount
            let threshold = state.lowThreshold
            change(&state)
            let isLow = state.bufferedAmount <= state.lowThreshold
            let becameLow = isLow && before > threshold
            let waiters = isLow ? state.lowWaiters : []
            if isLow { state.lowWaiters = [] }
            return (waiters, admit(&state), becameLow)
        }
        for waiter in waiters { waiter.continuation.resume() }
        for (send, failure) in settled { send.continuation.resume(returning: failure) }
        if becameLow { broadcaster.send(.bufferedAmountLow) }
    }

    func didOpen(id: UInt16) {
        let (isFirst, waiters, settled) = state.withLock { state -> (Bool, [Waiter], [(WaitingSend, RTCError?)]) in
            state.id = id
            guard state.readyState == .connecting else { return (false, [], []) }
            state.readyState = .open
            defer { state.openWaiters = [] }
            return (true, state.openWaiters, admit(&state))
        }
        guard isFirst else { return }
        for waiter in waiters { waiter.continuation.resume() }
        for (send, failure) in settled { send.continuation.resume(returning: failure) }
        broadcaster.send(.open, isLasting: true)
    }

    func didStartClosing() {
        if leave(for: .closing) { broadcaster.send(.closing, isLasting: true) }
    }

    /// The association failed: the channel closes next.
    func didFail(_ error: RTCError) {
        guard readyState != .closed else { return }
        broadcaster.send(.error(error))
    }

    /// Leaves the states in which messages can be sent; false if it was left before.
    private func leave(for next: RTCDataChannelState) -> Bool {
        let left = state.withLock { state -> ([Waiter], [(WaitingSend, RTCError?)])? in
            guard state.readyState == .connecting || state.readyState == .open else { return nil }
            state.readyState = next
            defer { state.openWaiters = [] }
            return (state.openWaiters, admit(&state))
        }
        guard let (waiters, settled) = left else { return false }
        for waiter in waiters { waiter.continuation.resume() }
        for (send, failure) in settled { send.continuation.resume(returning: failure) }
        return true
    }

    func didClose() {
        _ = leave(for: .closing)
        let waiters = state.withLock { state -> [Waiter]? in
            guard state.readyState != .closed else { return nil }
            state.readyState = .closed
            state.pendingBytes = 0
            state.engineBytes = 0
            defer { state.lowWaiters = [] }
            return state.lowWaiters
        }
        guard let waiters else { return }
        for waiter in waiters { waiter.continuation.resume() }
        inbox.finish()
        broadcaster.send(.close, isLasting: true)
        broadcaster.finish()
    }
}

extension RTCDataChannel.State {
    /// A number for who waits.
    fileprivate mutating func makeNumber() -> Int {
        nextWaiter += 1
        return nextWaiter
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
    /// The unread messages of all its channels.
    var unread: UnreadAccount { get }
    func send(_ message: OutgoingMessage)
    func close(channel: Int)
    /// Runs `work` on the connection's event loop, after what was queued there before.
    func execute(_ work: @escaping @Sendable () -> Void)
    /// The channel's unread messages crossed their limit, either way.
    func readingPressureChanged(channel: Int)
}
