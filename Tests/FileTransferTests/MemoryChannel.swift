import FileTransfer
import Locking

/// Two ends of a channel in memory, with bounded room and a way to break.
final class MemoryChannel: TransferChannel {
    /// One direction.
    final class Pipe: Sendable {
        private struct State {
            var messages: [TransferMessage] = []
            var bytes = 0
            /// Messages that still go through; then the channel is cut.
            var life = Int.max
            var isClosed = false
            var reader: CheckedContinuation<Void, Never>?
            var writer: CheckedContinuation<Void, Never>?
        }
        private let state = Mutex(State())
        private let room: Int

        init(room: Int) { self.room = room }

        func setLife(_ messages: Int) { state.withLock { $0.life = messages } }

        enum Outcome { case sent, full, closed, cut }

        func put(_ message: TransferMessage) async -> Outcome {
            while true {
                let (outcome, reader) = state.withLock { state -> (Outcome, CheckedContinuation<Void, Never>?) in
                    if state.isClosed { return (.closed, nil) }
                    if state.life <= 0 { return (.cut, nil) }
                    if state.bytes >= room { return (.full, nil) }
                    state.life -= 1
                    state.messages.append(message)
                    state.bytes += message.byteCount + 64
                    defer { state.reader = nil }
                    return (.sent, state.reader)
                }
                reader?.resume()
                guard outcome == .full else { return outcome }
                if Task.isCancelled { return .closed }
                await wait(\.writer) { $0.isClosed || $0.bytes < self.room }
            }
        }

        func takeAll() async -> [TransferMessage]? {
            while true {
                let (messages, isClosed, writer) = state.withLock {
                    state -> ([TransferMessage], Bool, CheckedContinuation<Void, Never>?) in
                    defer {
                        state.messages = []
                        state.bytes = 0
                        state.writer = nil
                    }
                    return (state.messages, state.isClosed, state.writer)
                }
                writer?.resume()
                if !messages.isEmpty { return messages }
                if isClosed || Task.isCancelled { return nil }
                await wait(\.reader) { $0.isClosed || !$0.messages.isEmpty }
            }
        }

        private func wait(
            _ place: any WritableKeyPath<State, CheckedContinuation<Void, Never>?> & Sendable,
            _ isReady: @Sendable (State) -> Bool
        ) async {
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let goesOn = state.withLock { state -> Bool in
                        if Task.isCancelled || isReady(state) { return true }
                        state[keyPath: place] = continuation
                        return false
                    }
                    if goesOn { continuation.resume() }
                }
            } onCancel: {
                state.withLock { state in
                    defer { state[keyPath: place] = nil }
                    return state[keyPath: place]
                }?.resume()
            }
        }

        func close() {
            let waiting = state.withLock { state -> [CheckedContinuation<Void, Never>] in
                state.isClosed = true
                defer {
                    state.reader = nil
                    state.writer = nil
                }
                return [state.reader, state.writer].compactMap { $0 }
            }
            for continuation in waiting { continuation.resume() }
        }
    }

    struct Incoming: AsyncSequence, Sendable {
        typealias Element = TransferMessage
        typealias Failure = Never
        let pipe: Pipe

        struct AsyncIterator: AsyncIteratorProtocol {
            let pipe: Pipe
            var batch: ArraySlice<TransferMessage> = []

            mutating func next() async -> TransferMessage? { await next(isolation: nil) }

            mutating func next(isolation actor: isolated (any Actor)?) async -> TransferMessage? {
                if Task.isCancelled { return nil }
                if batch.isEmpty {
                    guard let taken = await pipe.takeAll() else { return nil }
                    batch = taken[...]
                }
                return batch.popFirst()
            }
        }

        func makeAsyncIterator() -> AsyncIterator { AsyncIterator(pipe: pipe) }
    }

    private let outgoing: Pipe
    private let received: Pipe
    let maxMessageSize: Int
    var incoming: Incoming { Incoming(pipe: received) }

    private init(outgoing: Pipe, received: Pipe, maxMessageSize: Int) {
        self.outgoing = outgoing
        self.received = received
        self.maxMessageSize = maxMessageSize
    }

    /// Two joined ends.
    static func pair(maxMessageSize: Int = 262_144, room: Int = 1 << 20) -> (MemoryChannel, MemoryChannel) {
        let there = Pipe(room: room)
        let back = Pipe(room: room)
        return (
            MemoryChannel(outgoing: there, received: back, maxMessageSize: maxMessageSize),
            MemoryChannel(outgoing: back, received: there, maxMessageSize: maxMessageSize)
        )
    }

    /// After so many more messages of this end the channel breaks, in both directions.
    func cut(after messages: Int) { outgoing.setLife(messages) }

    func send(_ message: TransferMessage) async throws(TransferError) {
        guard message.byteCount <= maxMessageSize else { throw TransferError(.protocolViolation, "too large") }
        switch await outgoing.put(message) {
        case .sent: break
        case .cut:
            close()
            throw TransferError(.channelClosed, "cut")
        case .closed, .full:
            throw Task.isCancelled ? TransferError(.cancelled, "cancelled") : TransferError(.channelClosed, "closed")
        }
    }

    /// Ends this end's direction alone: the other end reads what was sent, then the end.
    func closeSending() { outgoing.close() }

    func close() {
        outgoing.close()
        received.close()
    }
}
