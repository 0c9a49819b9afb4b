import Locking
import NIOCore
import PeerConnection

/// A data channel that carries one TCP connection, with what has come and waits for the socket.
///
/// It is read at all times, however slow the socket is: what the library holds unread would count against all other
/// connections. ``ForwardFlow`` bounds what waits here.
final class ForwardChannel: Sendable {
    /// Why a connection ends before both of its directions have.
    enum Broken: Error {
        case closed, refused
    }

    private struct State {
        var flow = ForwardFlow()
        var arrived = ByteBuffer()
        /// No message comes any more.
        var isOver = false
        /// Each direction's end: what went there has left, or reached the socket.
        var hasSentEnd = false
        var hasPassedOnEnd = false
    }

    private static let chunkByteCount = 64 << 10

    private let channel: RTCDataChannel
    private let state = Mutex(State())
    /// Something has come that ``nextBytes()`` waits for; one reader.
    private let arrivals = Signal()
    /// Something has come that ``send(_:)`` waits for; one reader.
    private let credits = Signal()

    init(_ channel: RTCDataChannel) { self.channel = channel }

    /// Whether all that came, with its end, has reached the socket.
    var hasPassedOnEnd: Bool { state.withLock { $0.hasPassedOnEnd } }

    /// Takes in what comes, until the channel is closed.
    ///
    /// - Parameter refused: told the other side's words if it does not connect.
    /// - Throws: if the connection is to break: it was refused, or closed before both directions had ended, or the
    ///   other side does not keep to the protocol.
    func read(refused: @Sendable (String) -> Void) async throws {
        defer {
            state.withLock { $0.isOver = true }
            arrivals.give()
            credits.give()
        }
        for await message in channel.messages {
            let received = try state.withLock { state in
                let received = try state.flow.receive(message)
                if case .bytes(let bytes) = received { state.arrived.writeBytes(bytes) }
                return received
            }
            switch received {
            case .bytes, .end: arrivals.give()
            case .credit: credits.give()
            case .refused(let words):
                refused(words)
                throw Broken.refused
            }
        }
        // The other side may close it as soon as it has both ends.
        guard state.withLock({ $0.flow.isEnded && $0.hasSentEnd }) else { throw Broken.closed }
    }

    /// All that waits for the socket; waits for the first of it.
    ///
    /// - Returns: nil at the end of the direction.
    /// - Throws: if nothing comes any more, and the end has not.
    func nextBytes() async throws -> ByteBuffer? {
        while true {
            let bytes: ByteBuffer? = try state.withLock { state in
                if state.arrived.readableBytes > 0 {
                    defer { state.arrived = ByteBuffer() }
                    return state.arrived
                }
                if state.flow.isEnded { return nil }
                if state.isOver { throw Broken.closed }
                return ByteBuffer()
            }
            guard let bytes else { return nil }
            if bytes.readableBytes > 0 { return bytes }
            try await arrivals.take()
        }
    }

    /// Bytes went to the socket: says so.
    func didPassOn(_ byteCount: Int) {
        // It cannot be said on a channel that the other side closes, which has what it wants.
        if let text = state.withLock({ $0.flow.didPassOn(byteCount) }) { try? channel.send(text) }
    }

    /// The socket has the end of what came.
    func didPassOnEnd() { state.withLock { $0.hasPassedOnEnd = true } }

    /// Sends bytes as fast as the other side passes them on.
    func send(_ buffer: ByteBuffer) async throws {
        var buffer = buffer
        while buffer.readableBytes > 0 {
            let wanted = min(buffer.readableBytes, Self.chunkByteCount)
            let byteCount = try state.withLock { state in
                if state.isOver { throw Broken.closed }
                let byteCount = min(wanted, state.flow.room)
                state.flow.didSend(byteCount)
                return byteCount
            }
            if let bytes = buffer.readBytes(length: byteCount), !bytes.isEmpty {
                try channel.send(bytes)
            } else {
                try await credits.take()
            }
        }
    }

    /// Ends the direction to the other side.
    func sendEnd() throws {
        state.withLock { $0.hasSentEnd = true }
        try channel.send("end")
    }
}

/// Wakes one waiter; what was given while nobody waited is kept once.
private struct Signal: Sendable {
    private let stream: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation

    init() { (stream, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1)) }

    func give() { continuation.yield() }

    /// - Throws: `CancellationError` when the task is cancelled; it gives nothing from then on.
    func take() async throws {
        var iterator = stream.makeAsyncIterator()
        if await iterator.next() == nil { throw CancellationError() }
    }
}
