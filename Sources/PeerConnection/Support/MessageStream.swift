import Locking

/// A message of a data channel.
public enum RTCDataChannelMessage: Hashable, Sendable {
    /// Text, sent as UTF-8.
    case text(String)
    /// Bytes.
    case binary([UInt8])

    /// The length in bytes (of text: in UTF-8).
    public var byteCount: Int {
        switch self {
        case .text(let text): text.utf8.count
        case .binary(let bytes): bytes.count
        }
    }
}

/// The messages of a data channel in the order of their arrival, for one reader.
///
/// Messages wait from the channel's first moment, so a late reader misses none. Unread messages count in bytes:
/// above 1 MiB the connection stops reading, the peer's window closes and the peer slows down; reading opens it
/// again. Ends when the channel is closed and all was read.
public struct MessageStream: AsyncSequence, Sendable {
    /// A message.
    public typealias Element = RTCDataChannelMessage
    /// It cannot fail.
    public typealias Failure = Never

    let inbox: MessageInbox

    /// The iterator.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let inbox: MessageInbox
        private var batch: ArraySlice<RTCDataChannelMessage> = []
        private var batchCost = 0

        init(inbox: MessageInbox) { self.inbox = inbox }

        /// The next message; nil at the end or when the task is cancelled.
        public mutating func next() async -> RTCDataChannelMessage? {
            if batch.isEmpty {
                guard let taken = await inbox.mailbox.takeAll() else { return nil }
                batch = taken[...]
                batchCost = taken.reduce(0) { $0 + MessageInbox.cost(of: $1) }
            }
            guard let message = batch.popFirst() else { return nil }
            if batch.isEmpty { inbox.didRead(cost: batchCost) }
            return message
        }

        /// The next message; the same as ``next()``.
        public mutating func next(isolation actor: isolated (any Actor)?) async -> RTCDataChannelMessage? {
            await next()
        }
    }

    /// Starts reading.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(inbox: inbox) }
}

/// The unread messages of one channel, counted in bytes.
final class MessageInbox: Sendable {
    private struct State {
        var unreadBytes = 0
        var isAboveLimit = false
        var consumer: (@Sendable (RTCDataChannelMessage) -> Void)?
    }

    /// Unread bytes above which the connection stops reading from the network.
    static let unreadByteLimit = 1 << 20
    /// What a message costs beside its bytes, so that empty ones count too.
    static let messageOverhead = 64

    let mailbox = Mailbox<RTCDataChannelMessage>()
    private let state = Mutex(State())
    /// Called when ``isAboveLimit`` may have changed: by the event loop and by the reader's thread, in no certain
    /// order, so what it calls asks again.
    let onPressureChange: @Sendable () -> Void

    init(onPressureChange: @escaping @Sendable () -> Void) { self.onPressureChange = onPressureChange }

    /// Whether more is unread than the connection should read ahead.
    var isAboveLimit: Bool { state.withLock { $0.isAboveLimit } }

    /// What a message counts.
    static func cost(of message: RTCDataChannelMessage) -> Int { message.byteCount + messageOverhead }

    /// Called on the event loop.
    func put(_ message: RTCDataChannelMessage) {
        deliverQueued()
        let (consumer, crossed) = state.withLock { state -> ((@Sendable (RTCDataChannelMessage) -> Void)?, Bool) in
            if let consumer = state.consumer { return (consumer, false) }
            state.unreadBytes += Self.cost(of: message)
            let crossed = !state.isAboveLimit && state.unreadBytes > Self.unreadByteLimit
            if crossed { state.isAboveLimit = true }
            return (nil, crossed)
        }
        if let consumer { return consumer(message) }
        mailbox.put(message)
        if crossed { onPressureChange() }
    }

    /// Called by the reader when it has used up a batch of that cost.
    func didRead(cost: Int) {
        let crossed = state.withLock { state -> Bool in
            state.unreadBytes -= cost
            guard state.isAboveLimit, state.unreadBytes <= Self.unreadByteLimit / 2 else { return false }
            state.isAboveLimit = false
            return true
        }
        if crossed { onPressureChange() }
    }

    /// Hands each message to `consumer` on the event loop from now on, and what waited first: the caller has
    /// ``deliverQueued()`` run there.
    func setConsumer(_ consumer: (@Sendable (RTCDataChannelMessage) -> Void)?) {
        state.withLock { $0.consumer = consumer }
    }

    /// Hands what waits to the consumer, if there is one; called on the event loop.
    func deliverQueued() {
        guard state.withLock({ $0.consumer != nil }) else { return }
        var waiting = mailbox.takeQueued()[...]
        var cost = 0
        // The consumer may be another, or none, after each message.
        while let message = waiting.first, let consumer = state.withLock({ $0.consumer }) {
            waiting.removeFirst()
            cost += Self.cost(of: message)
            consumer(message)
        }
        mailbox.putBack(waiting)
        if cost > 0 { didRead(cost: cost) }
    }

    func finish() { mailbox.finish() }
}
