import Locking

/// Events in order, from the moment of the subscription; unbounded, since they are rare.
///
/// Each iterator gets every event that comes after the stream was asked for. Ends when the connection is closed.
public struct EventStream<Element: Sendable>: AsyncSequence, Sendable {
    /// It cannot fail.
    public typealias Failure = Never

    let mailbox: Mailbox<Element>

    /// The iterator over the events of this subscription.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let mailbox: Mailbox<Element>
        private var batch: ArraySlice<Element> = []

        init(mailbox: Mailbox<Element>) { self.mailbox = mailbox }

        /// The next event; nil when there will be no more or the task is cancelled.
        public mutating func next() async -> Element? {
            if batch.isEmpty {
                guard let taken = await mailbox.takeAll() else { return nil }
                batch = taken[...]
            }
            return batch.popFirst()
        }

        /// The next event; the same as ``next()``.
        public mutating func next(isolation actor: isolated (any Actor)?) async -> Element? { await next() }
    }

    /// Starts reading.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(mailbox: mailbox) }
}

/// Gives each event to all subscriptions.
final class EventBroadcaster<Element: Sendable>: Sendable {
    private struct State {
        var mailboxes: [WeakMailbox] = []
        /// What new subscriptions begin with.
        var lasting: Element?
        var isFinished = false
    }
    private struct WeakMailbox { weak var mailbox: Mailbox<Element>? }

    private let state = Mutex(State())

    /// A new subscription.
    func subscribe() -> EventStream<Element> {
        let mailbox = Mailbox<Element>()
        let isFinished = state.withLock { state in
            state.mailboxes.removeAll { $0.mailbox == nil }
            if let lasting = state.lasting { mailbox.put(lasting) }
            if !state.isFinished { state.mailboxes.append(WeakMailbox(mailbox: mailbox)) }
            return state.isFinished
        }
        if isFinished { mailbox.finish() }
        return EventStream(mailbox: mailbox)
    }

    /// Gives an event to all.
    ///
    /// - Parameters:
    ///   - event: what happened.
    ///   - isLasting: whether later subscriptions begin with it, until another of that kind takes its place.
    func send(_ event: Element, isLasting: Bool = false) {
        let mailboxes = state.withLock { state in
            if isLasting { state.lasting = event }
            return state.mailboxes
        }
        for mailbox in mailboxes { mailbox.mailbox?.put(event) }
    }

    func finish() {
        let mailboxes = state.withLock { state in
            state.isFinished = true
            defer { state.mailboxes = [] }
            return state.mailboxes
        }
        for mailbox in mailboxes { mailbox.mailbox?.finish() }
    }
}
