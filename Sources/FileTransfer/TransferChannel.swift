public import PeerConnection

/// A message of a transfer's channel.
public enum TransferMessage: Hashable, Sendable {
    /// Text: a control message.
    case text(String)
    /// Bytes: a piece of a file.
    case binary([UInt8])

    /// The length in bytes (of text: in UTF-8).
    public var byteCount: Int {
        switch self {
        case .text(let text): text.utf8.count
        case .binary(let bytes): bytes.count
        }
    }
}

/// What a transfer runs over: a reliable channel of messages in order, such as an ordered `RTCDataChannel`.
public protocol TransferChannel: Sendable {
    /// The sequence of received messages.
    associatedtype Incoming: AsyncSequence & Sendable
    where Incoming.Element == TransferMessage, Incoming.Failure == Never

    /// The largest message in bytes that the peer takes; at least 16 384.
    var maxMessageSize: Int { get }

    /// The received messages, for one reader; ends when the channel is closed or the reader's task is cancelled.
    ///
    /// A slow reader must slow the peer down, or messages pile up.
    var incoming: Incoming { get }

    /// Sends a message once there is room for it.
    ///
    /// - Parameter message: at most ``maxMessageSize`` bytes.
    /// - Throws: `channelClosed` if the channel is closed, `cancelled` if the task is.
    func send(_ message: TransferMessage) async throws(TransferError)

    /// Closes the channel once what was sent has left.
    func close()
}

extension RTCDataChannel: TransferChannel {
    /// The messages as a transfer takes them.
    public struct TransferMessages: AsyncSequence, Sendable {
        /// A message.
        public typealias Element = TransferMessage
        /// It cannot fail.
        public typealias Failure = Never

        let messages: MessageStream

        /// The iterator.
        public struct AsyncIterator: AsyncIteratorProtocol {
            var base: MessageStream.AsyncIterator

            /// The next message.
            ///
            /// - Returns: nil at the end or when the task is cancelled.
            public mutating func next() async -> TransferMessage? {
                switch await base.next() {
                case nil: nil
                case .text(let text): .text(text)
                case .binary(let bytes): .binary(bytes)
                }
            }

            /// The next message; the same as ``next()``.
            ///
            /// - Parameter actor: where the caller is; of no effect.
            /// - Returns: nil at the end or when the task is cancelled.
            public mutating func next(isolation actor: isolated (any Actor)?) async -> TransferMessage? {
                await next()
            }
        }

        /// Starts reading.
        ///
        /// - Returns: an iterator; there must be no other.
        public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(base: messages.makeAsyncIterator()) }
    }

    /// The received messages; see ``RTCDataChannel/messages``.
    public var incoming: TransferMessages { TransferMessages(messages: messages) }

    /// Bytes that may wait in the channel before a transfer's `send` waits.
    private static let highWaterMark = 1 << 20

    /// Sends a message once at most a mebibyte waits in the channel.
    ///
    /// - Parameter message: text or bytes.
    /// - Throws: `channelClosed` if the channel is closed, `cancelled` if the task is, `protocolViolation` if the
    ///   message is larger than the peer takes.
    public func send(_ message: TransferMessage) async throws(TransferError) {
        if bufferedAmount > Self.highWaterMark {
            if bufferedAmountLowThreshold == 0 { bufferedAmountLowThreshold = Self.highWaterMark / 2 }
            // A subscription first, so that no fall of the amount is missed.
            var changes = events.makeAsyncIterator()
            while bufferedAmount > bufferedAmountLowThreshold, readyState == .open {
                guard await changes.next() != nil else { break }
            }
        }
        if Task.isCancelled { throw .cancelledByTask }
        do throws(RTCError) {
            switch message {
            case .text(let text): try send(text)
            case .binary(let bytes): try send(bytes)
            }
        } catch {
            guard error.name == .typeError else { throw .channelEnded }
            throw .violation(error.message)
        }
    }
}
