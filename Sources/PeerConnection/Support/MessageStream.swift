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
/// Messages wait from the channel's first moment, so a late reader misses none. Ends when the channel is closed and all
/// was read. A reader that leaves before the end loses nothing: what it did not take waits for the next. Only a channel
/// that was closed here keeps nothing for a next one: what its reader leaves, or all if it has none, is discarded.
///
/// Unread messages count in bytes. SCTP has one receive window for all channels of a connection, so a slow reader can
/// be waited for in two steps only:
/// - A channel with more than 1 MiB unread is slow. When all channels of the connection are, the connection stops
///   reading: the window, 8 MiB more, closes, and the peer slows down. So a connection with one channel never holds
///   more than a little over 9 MiB.
/// - As long as other channels are read, the connection reads on for them, and the slow ones' messages wait in memory:
///   up to 16 MiB for all channels of the connection together, those included that the peer has closed and that are
///   still to be read. Beyond that all stop until messages are read, or channels with unread messages are closed or
///   released.
///
/// Reading opens the window again.
public struct MessageStream: AsyncSequence, Sendable {
    /// A message.
    public typealias Element = RTCDataChannelMessage
    /// It cannot fail.
    public typealias Failure = Never

    let inbox: MessageInbox

    /// The iterator.
    public struct AsyncIterator: AsyncIteratorProtocol {
        private let batch: Batch

        /// What was taken out of the inbox at once; the iterator's copies share it.
        private final class Batch {
            let inbox: MessageInbox
            var messages: ArraySlice<RTCDataChannelMessage> = []
            /// What was read and not yet told.
            var readCost = 0

            init(inbox: MessageInbox) {
                self.inbox = inbox
                inbox.didStartReading()
            }

            deinit {
                if readCost > 0 { inbox.didRead(cost: readCost) }
                inbox.mailbox.putBack(messages)
                inbox.didStopReading()
            }
        }

        /// Bytes read after which the peer may send more, if that much is read at once.
        private static let readCostStep = 64 << 10

        init(inbox: MessageInbox) { batch = Batch(inbox: inbox) }

        /// The next message; nil at the end or when the task is cancelled.
        public mutating func next() async -> RTCDataChannelMessage? {
            if batch.messages.isEmpty {
                guard let taken = await batch.inbox.mailbox.takeAll() else { return nil }
                batch.messages = taken[...]
            }
            guard let message = batch.messages.popFirst() else { return nil }
            batch.readCost += MessageInbox.cost(of: message)
            if batch.messages.isEmpty || batch.readCost >= Self.readCostStep {
                batch.inbox.didRead(cost: batch.readCost)
                batch.readCost = 0
            }
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
        /// The channel was closed here: it counts nothing any more, and what nobody is reading goes.
        var refusesMore = false
        /// Iterators there are.
        var readerCount = 0
        var isAbandoned: Bool { refusesMore && readerCount == 0 && consumer == nil }
        var consumer: (@Sendable (RTCDataChannelMessage) -> Void)?
    }

    /// Unread bytes above which the channel counts as slow.
    static let unreadByteLimit = 1 << 20
    /// What a message costs beside its bytes, so that empty ones count too.
    static let messageOverhead = 64

    let mailbox = Mailbox<RTCDataChannelMessage>()
    private let state = Mutex(State())
    /// Called when ``isAboveLimit`` may have changed: by the event loop and by the reader's thread, in no certain
    /// order, so what it calls asks again.
    let onPressureChange: @Sendable () -> Void
    let account: UnreadAccount

    init(account: UnreadAccount, onPressureChange: @escaping @Sendable () -> Void) {
        self.account = account
        self.onPressureChange = onPressureChange
    }

    deinit {
        let rest = state.withLock { $0.unreadBytes }
        if account.remove(rest) { onPressureChange() }
    }

    /// Whether the channel is slow: more is unread than its limit.
    ///
    /// One that was closed here waits for nobody.
    var isAboveLimit: Bool { state.withLock { $0.isAboveLimit && !$0.refusesMore } }

    /// Drops what comes from now on, and what waits unless somebody is reading it.
    ///
    /// Either way nobody waits for it: a window that it kept closed would also keep out the peer's answer to the close,
    /// and all that other channels are sent.
    func refuseMore() {
        let rest = state.withLock { state -> Int in
            state.refusesMore = true
            defer { state.unreadBytes = 0 }
            return state.unreadBytes
        }
        discardIfAbandoned()
        if account.remove(rest) { onPressureChange() }
    }

    func didStartReading() { state.withLock { $0.readerCount += 1 } }

    func didStopReading() {
        state.withLock { $0.readerCount -= 1 }
        discardIfAbandoned()
    }

    private func discardIfAbandoned() {
        if state.withLock({ $0.isAbandoned }) { _ = mailbox.takeQueued() }
    }

    /// What a message counts.
    static func cost(of message: RTCDataChannelMessage) -> Int { message.byteCount + messageOverhead }

    /// Called on the event loop.
    func put(_ message: RTCDataChannelMessage) {
        deliverQueued()
        let cost = Self.cost(of: message)
        let fate = state.withLock { state -> Fate in
            if state.refusesMore { return .dropped }
            if let consumer = state.consumer { return .consumed(consumer) }
            state.unreadBytes += cost
            let crossed = !state.isAboveLimit && state.unreadBytes > Self.unreadByteLimit
            if crossed { state.isAboveLimit = true }
            let crossedAll = account.add(cost)
            return .queued(crossed: crossed || crossedAll)
        }
        switch fate {
        case .dropped: return
        case .consumed(let consumer): consumer(message)
        case .queued(let crossed):
            mailbox.put(message)
            // It may have been closed meanwhile.
            discardIfAbandoned()
            if crossed { onPressureChange() }
        }
    }

    private enum Fate { case dropped, consumed(@Sendable (RTCDataChannelMessage) -> Void), queued(crossed: Bool) }

    /// Called by the reader when it has used up a batch of that cost.
    func didRead(cost: Int) {
        let crossed = state.withLock { state -> Bool in
            if state.refusesMore { return false }
            state.unreadBytes -= cost
            let crossedAll = account.remove(cost)
            guard state.isAboveLimit, state.unreadBytes <= Self.unreadByteLimit / 2 else { return crossedAll }
            state.isAboveLimit = false
            return true
        }
        if crossed { onPressureChange() }
    }

    /// Hands each message to `consumer` on the event loop from now on, and what waited first: the caller has
    /// ``deliverQueued()`` run there.
    func setConsumer(_ consumer: (@Sendable (RTCDataChannelMessage) -> Void)?) {
        state.withLock { $0.consumer = consumer }
        discardIfAbandoned()
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
        discardIfAbandoned()
        if cost > 0 { didRead(cost: cost) }
    }

    func finish() { mailbox.finish() }
}

/// The unread messages of all channels of a connection, counted in bytes.
final class UnreadAccount: Sendable {
    /// Unread bytes above which the connection stops reading, whoever else might read.
    static let byteLimit = 16 << 20
    /// Unread bytes at which it goes on: near the limit, so that the others' messages come soon.
    static let resumeByteCount = 15 << 20

    private let total = Atomic<Int>(0)

    /// Bytes that are unread.
    var byteCount: Int { total.load(ordering: .relaxed) }

    /// - Returns: whether the limit was crossed.
    func add(_ byteCount: Int) -> Bool {
        let (before, after) = total.add(byteCount, ordering: .relaxed)
        return before <= Self.byteLimit && after > Self.byteLimit
    }

    /// - Returns: whether reading can go on.
    func remove(_ byteCount: Int) -> Bool {
        let (before, after) = total.subtract(byteCount, ordering: .relaxed)
        return before > Self.resumeByteCount && after <= Self.resumeByteCount
    }
}
