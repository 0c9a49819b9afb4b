package import NIOCore

/// One connection's signalling along two roads, the server and a data channel of the connection itself: what is said goes
/// along each that is open, and what comes counts once, in its order, whichever brings it first.
///
/// Sans-I/O: the owner puts in what comes along either road, and drains ``nextTransmit()`` and ``nextMessage()``.
/// docs/SIGNALING.md, "Two roads"
package struct SignalingRoads {
    package enum Road: Hashable, Sendable { case server, channel }

    /// Something to be sent; without a message it is an acknowledgement, for the channel alone.
    package struct Transmit: Hashable, Sendable {
        package var road: Road
        package var message: SignalingMessage?
        package var order: SignalingOrder

        /// What the channel sends.
        package var channelText: String {
            (message.map { .relay($0, order) } ?? ChannelMessage.acknowledgement(order)).text
        }
    }

    /// What came and was of no use.
    package struct Counts: Hashable, Sendable {
        /// Came along the other road already.
        package var duplicates = 0
        /// Came along the channel, of a numbering that the server has not told.
        package var strangers = 0
        /// Were not waited for any longer.
        package var skipped = 0
    }

    private enum Channel {
        case closed
        /// Nothing has come along it yet, so it is not known what the peer has.
        case open(Gate)
        /// The peer has said what it has: all else goes along it, in order.
        case inStep(Gate)
    }

    /// What the peer may send along the channel.
    private struct Gate {
        var messages: TokenBucket
        var bytes: TokenBucket
    }

    private struct Kept {
        var sequence: Int
        var message: SignalingMessage
        var byteCount: Int
    }

    /// The peer's numbering.
    private struct Peer {
        var stream: String
        /// The number that comes next.
        var next: Int
        /// Messages that came before their turn.
        var held: [Int: SignalingMessage] = [:]
        var heldBytes = 0
    }

    package private(set) var counts = Counts()
    private let stream: String
    private var channel = Channel.closed
    private var last = 0
    /// Messages that the peer has not acknowledged, oldest first.
    private var kept: [Kept] = []
    private var keptBytes = 0
    private var peer: Peer?
    private var transmits: [Transmit] = []
    private var messages: [SignalingMessage] = []

    /// Messages kept until they are acknowledged, and messages that wait for their turn.
    package static let maxKeptMessages = 256
    package static let maxHeldMessages = 64
    /// Their bytes, each.
    package static let maxBytes = 1 << 20
    /// Bytes of one message that comes along the channel: as many as the server takes.
    package static let maxMessageBytes = SignalingLimits().maxMessageBytes

    /// A numbering that nobody has used.
    ///
    /// - Parameter stream: its name, random and of 1 to 64 characters.
    package init(stream: String) { self.stream = stream }

    // MARK: Getters

    /// Whether the peer numbers its messages, and so knows the channel.
    package var isOrdered: Bool { peer != nil }

    /// Whether there is something that the peer may not have got.
    package var hasUnacknowledged: Bool { !kept.isEmpty }

    // MARK: Inputs

    /// Takes a message that came through the server; one without an order is of a peer, or came by a server, that knows none.
    package mutating func receive(_ message: SignalingMessage, _ order: SignalingOrder?) {
        guard let order else { return messages.append(message) }
        if peer?.stream != order.stream {
            // The peer has begun anew. The server's road is in order: what was before is over.
            peer = Peer(stream: order.stream, next: max(1, order.first))
        }
        take(message, order)
    }

    /// Takes a text that came along the channel.
    ///
    /// - Throws: `SignalingError` if the channel is to be closed: too fast, too large, or nothing that a peer says.
    package mutating func receive(text: some Collection<UInt8>, at now: NIODeadline) throws(SignalingError) {
        let said: ChannelMessage
        switch channel {
        case .closed: return
        case .open(var gate):
            try Self.admit(text.count, &gate, at: now)
            channel = .open(gate)
        case .inStep(var gate):
            try Self.admit(text.count, &gate, at: now)
            channel = .inStep(gate)
        }
        do {
            said = try ChannelMessage(parsing: text)
        } catch {
            // A newer peer may say what this one does not know.
            if error.code == .unknownType { return }
            throw error
        }
        let (message, order): (SignalingMessage?, SignalingOrder) =
            switch said {
            case .relay(let message, let order): (message, order)
            case .acknowledgement(let order): (nil, order)
            }
        if peer == nil { peer = Peer(stream: order.stream, next: max(1, order.first)) }
        // Which numbering counts, the server tells: the channel of a connection outlives none.
        guard peer?.stream == order.stream else { return counts.strangers += 1 }
        take(message, order)
        if case .open(let gate) = channel {
            channel = .inStep(gate)
            for waiting in kept { transmit(waiting, along: .channel) }
        }
    }

    /// The channel can be used.
    package mutating func channelOpened(at now: NIODeadline) {
        let limits = SignalingLimits()
        channel = .open(
            Gate(
                messages: TokenBucket(rate: limits.messagesPerSecond, burst: limits.messageBurst, at: now),
                bytes: TokenBucket(rate: limits.bytesPerSecond, burst: limits.byteBurst, at: now)
            )
        )
        acknowledge()
    }

    /// The channel is gone.
    package mutating func channelClosed() {
        channel = .closed
        transmits.removeAll { $0.road == .channel }
    }

    /// Either side has a new place at the server, which has forgotten what was said before.
    package mutating func serverForgot() {
        for waiting in kept { transmit(waiting, along: .server) }
    }

    // MARK: Commands

    /// Says something to the peer, along every road.
    package mutating func send(_ message: SignalingMessage) {
        last += 1
        let new = Kept(sequence: last, message: message, byteCount: message.byteCount)
        kept.append(new)
        keptBytes += new.byteCount
        while kept.count > Self.maxKeptMessages || (keptBytes > Self.maxBytes && kept.count > 1) {
            keptBytes -= kept.removeFirst().byteCount
        }
        transmit(new, along: .server)
        if case .inStep = channel { transmit(new, along: .channel) }
    }

    // MARK: Outputs

    /// What is to be sent next; nil when there is nothing more.
    package mutating func nextTransmit() -> Transmit? { transmits.isEmpty ? nil : transmits.removeFirst() }

    /// What the peer has said next; nil when there is nothing more.
    package mutating func nextMessage() -> SignalingMessage? { messages.isEmpty ? nil : messages.removeFirst() }

    // MARK: Private

    private static func admit(_ byteCount: Int, _ gate: inout Gate, at now: NIODeadline) throws(SignalingError) {
        guard byteCount <= maxMessageBytes else {
            throw SignalingError(
                .messageTooLarge,
                "A message of \(byteCount) bytes came along the signalling channel; \(maxMessageBytes) are allowed."
            )
        }
        guard gate.messages.take(1, at: now), gate.bytes.take(byteCount, at: now) else {
            throw SignalingError(.rateLimited, "Too much came along the signalling channel.")
        }
    }

    /// Takes what is of the peer's present numbering.
    private mutating func take(_ message: SignalingMessage?, _ order: SignalingOrder) {
        guard var peer else { return }
        if order.peerStream == stream {
            while let oldest = kept.first, oldest.sequence <= order.acknowledged {
                keptBytes -= kept.removeFirst().byteCount
            }
        }
        if order.first > peer.next { skip(to: order.first, of: &peer) }
        if let message {
            if order.sequence < peer.next || peer.held[order.sequence] != nil {
                counts.duplicates += 1
            } else {
                peer.held[order.sequence] = message
                peer.heldBytes += message.byteCount
            }
        }
        deliver(from: &peer)
        // What is missing will not come: its sender has broken its word.
        while peer.held.count > Self.maxHeldMessages || peer.heldBytes > Self.maxBytes,
            let lowest = peer.held.keys.min()
        {
            skip(to: lowest, of: &peer)
            deliver(from: &peer)
        }
        self.peer = peer
        if message != nil { acknowledge() }
    }

    /// Hands over what has its turn.
    private mutating func deliver(from peer: inout Peer) {
        while let message = peer.held.removeValue(forKey: peer.next) {
            peer.heldBytes -= message.byteCount
            peer.next += 1
            messages.append(message)
        }
    }

    /// Waits no longer for what is below a number; what came of it is still handed over.
    private mutating func skip(to number: Int, of peer: inout Peer) {
        for sequence in peer.held.keys.filter({ $0 < number }).sorted() {
            guard let message = peer.held.removeValue(forKey: sequence) else { continue }
            peer.heldBytes -= message.byteCount
            messages.append(message)
        }
        peer.next = number
        counts.skipped += 1
    }

    private mutating func transmit(_ waiting: Kept, along road: Road) {
        transmits.append(Transmit(road: road, message: waiting.message, order: order(waiting.sequence)))
    }

    /// Says along the channel what has come.
    private mutating func acknowledge() {
        if case .closed = channel { return }
        let new = Transmit(road: .channel, message: nil, order: order(0))
        if let waiting = transmits.last, waiting.road == .channel, waiting.message == nil {
            transmits[transmits.count - 1] = new
        } else {
            transmits.append(new)
        }
    }

    private func order(_ sequence: Int) -> SignalingOrder {
        SignalingOrder(
            stream: stream,
            sequence: sequence,
            first: kept.first?.sequence ?? last + 1,
            peerStream: peer?.stream,
            acknowledged: (peer?.next ?? 1) - 1
        )
    }
}

extension SignalingMessage {
    /// Bytes of its text.
    fileprivate var byteCount: Int {
        switch self {
        case .offer(let sdp), .answer(let sdp): sdp.utf8.count
        case .candidate(let candidate): candidate?.candidate.utf8.count ?? 0
        case .pake(let text): text.utf8.count
        case .bye: 0
        }
    }
}
