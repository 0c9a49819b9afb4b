internal import COpenSSL
import JSON
package import NIOCore

/// All rules of the server: rooms, places in them, limits, heartbeats, resuming.
///
/// No input or output of its own.
///
/// A *connection* is one WebSocket. A *place* is one peer of a room: it outlives a broken connection for
/// `SignalingLimits.resumeGrace`, and another connection can take it with the resume token. Inputs queue actions;
/// the owner drains `nextAction()` after each and calls `handleTimeout(at:)` at `nextDeadline`.
package struct RoomTable {
    private let limits: SignalingLimits
    private let iceServers: [SignalingICEServer]
    private let iceServersForPeer: (SignalingPeerID, String) -> [SignalingICEServer]
    private var connections: [RoomConnectionID: Connection] = [:]
    private var places: [SignalingPeerID: Place] = [:]
    /// Members in the order in which they joined: who stands behind another is polite towards it.
    private var rooms: [String: [SignalingPeerID]] = [:]
    private var tokens: [String: SignalingPeerID] = [:]
    private var actions: [RoomAction] = []
    private var nextActionIndex = 0
    private var lastPeerNumber = 0

    package init(
        limits: SignalingLimits,
        iceServers: [SignalingICEServer] = [],
        iceServersForPeer: @escaping (SignalingPeerID, String) -> [SignalingICEServer] = { _, _ in [] }
    ) {
        self.limits = limits
        self.iceServers = iceServers
        self.iceServersForPeer = iceServersForPeer
    }

    package var roomCount: Int { rooms.count }
    package var peerCount: Int { places.count }

    // MARK: Inputs

    /// A WebSocket was opened.
    ///
    /// `host`: by what name or address the peer reached the server.
    package mutating func open(_ id: RoomConnectionID, host: String = "", at now: NIODeadline) {
        connections[id] = Connection(
            host: host,
            openedAt: now,
            messages: TokenBucket(rate: limits.messagesPerSecond, burst: limits.messageBurst, at: now),
            bytes: TokenBucket(rate: limits.bytesPerSecond, burst: limits.byteBurst, at: now)
        )
    }

    /// Any frame came, as a pong.
    package mutating func heard(_ id: RoomConnectionID, at now: NIODeadline) {
        connections[id]?.lastHeardAt = now
    }

    /// A whole text message came.
    package mutating func receive(_ text: [UInt8], on id: RoomConnectionID, at now: NIODeadline) {
        guard var connection = connections[id] else { return }
        connection.lastHeardAt = now
        let isWithinRate = connection.messages.take(1, at: now) && connection.bytes.take(text.count, at: now)
        connections[id] = connection
        guard isWithinRate else {
            return refuse(
                id,
                SignalingError(
                    .rateLimited,
                    "Too many messages: at most \(limits.messagesPerSecond) a second and "
                        + "\(limits.bytesPerSecond / 1024) KiB a second are allowed."
                ),
                .policyViolation
            )
        }
        do throws(SignalingError) {
            try handle(ClientMessage(parsing: text), on: id, at: now)
        } catch {
            if error.isFatal { refuse(id, error, .policyViolation) } else { send(.error(error), on: id) }
        }
    }

    /// The WebSocket is gone.
    ///
    /// `isFarewell`: the peer closed it by a close frame that says that it leaves.
    package mutating func close(_ id: RoomConnectionID, isFarewell: Bool, at now: NIODeadline) {
        guard let connection = connections.removeValue(forKey: id), let peer = connection.place else { return }
        if isFarewell {
            remove(peer, .bye)
        } else {
            places[peer]?.connection = nil
            places[peer]?.awaySince = now
        }
    }

    /// Cuts a connection off with an error in words; its place is kept for a while.
    package mutating func cutOff(
        _ id: RoomConnectionID,
        _ error: SignalingError,
        _ code: RoomCloseCode,
        at now: NIODeadline
    ) {
        guard connections[id] != nil else { return }
        var error = error
        error.isFatal = true
        send(.error(error), on: id)
        actions.append(.close(id, code, reason: error.message))
        close(id, isFarewell: false, at: now)
    }

    /// The peer with that resume token leaves: a page that is being closed says so outside its WebSocket.
    package mutating func leave(token: String, _ reason: SignalingLeaveReason = .bye) {
        guard let peer = tokens[token] else { return }
        if let id = places[peer]?.connection {
            connections[id] = nil
            actions.append(.close(id, .normal, reason: "bye"))
        }
        remove(peer, reason)
    }

    /// Tells everybody that the server ends, and closes all.
    package mutating func stop(at now: NIODeadline) {
        for id in connections.keys.sorted() {
            let error = SignalingError(.serverStopping, "The signalling server is being stopped.")
            send(.error(error), on: id)
            actions.append(.close(id, .goingAway, reason: error.message))
        }
        connections = [:]
        places = [:]
        rooms = [:]
        tokens = [:]
    }

    /// Heartbeats, and what waited too long.
    package mutating func handleTimeout(at now: NIODeadline) {
        for (id, connection) in connections.sorted(by: { $0.key < $1.key }) {
            let silent = now - connection.lastHeardAt
            if connection.place == nil, now - connection.openedAt >= limits.joinTimeout.timeAmount {
                cutOff(
                    id,
                    SignalingError(
                        .timedOut,
                        "No “join” came within \(limits.joinTimeout.components.seconds) seconds."
                    ),
                    .policyViolation,
                    at: now
                )
            } else if silent >= limits.heartbeatTimeout.timeAmount {
                cutOff(
                    id,
                    SignalingError(
                        .timedOut,
                        "Nothing was heard for \(limits.heartbeatTimeout.components.seconds) seconds."
                    ),
                    .timedOut,
                    at: now
                )
            } else if now - connection.lastPingAt >= limits.heartbeatInterval.timeAmount {
                connections[id]?.lastPingAt = now
                actions.append(.ping(id))
            }
        }
        for (peer, place) in places.sorted(by: { $0.value.number < $1.value.number }) {
            guard let awaySince = place.awaySince, now - awaySince >= limits.resumeGrace.timeAmount else { continue }
            remove(peer, .lost)
        }
    }

    // MARK: Outputs

    package mutating func nextAction() -> RoomAction? {
        guard nextActionIndex < actions.count else {
            actions.removeAll(keepingCapacity: true)
            nextActionIndex = 0
            return nil
        }
        defer { nextActionIndex += 1 }
        return actions[nextActionIndex]
    }

    /// When `handleTimeout(at:)` is due: the first of all waiting times, or nil if nothing waits.
    package var nextDeadline: NIODeadline? {
        var earliest: NIODeadline?
        func consider(_ deadline: NIODeadline) { earliest = min(earliest ?? deadline, deadline) }
        for connection in connections.values {
            if connection.place == nil { consider(connection.openedAt + limits.joinTimeout.timeAmount) }
            consider(connection.lastHeardAt + limits.heartbeatTimeout.timeAmount)
            consider(connection.lastPingAt + limits.heartbeatInterval.timeAmount)
        }
        for place in places.values {
            if let awaySince = place.awaySince { consider(awaySince + limits.resumeGrace.timeAmount) }
        }
        return earliest
    }

    // MARK: Messages

    private mutating func handle(
        _ message: ClientMessage,
        on id: RoomConnectionID,
        at now: NIODeadline
    ) throws(SignalingError) {
        if case .join(let request) = message {
            guard connections[id]?.place == nil else {
                throw SignalingError(.outOfOrder, "This connection has joined already.")
            }
            return try join(request, on: id, at: now)
        }
        guard let peer = connections[id]?.place else {
            throw SignalingError(.outOfOrder, "The first message is “join”.")
        }
        switch message {
        case .join: break
        case .relay(let message, let receiver, let sequence, let order):
            if let sequence {
                // A resumed client repeats what was not acknowledged.
                guard sequence > places[peer]?.received ?? 0 else { return }
                places[peer]?.received = sequence
            }
            guard receiver != peer, let place = places[receiver], place.room == places[peer]?.room else {
                throw SignalingError(
                    .unknownPeer,
                    "There is no peer “\(Wire.excerpt(receiver.rawValue))” in this room."
                )
            }
            queue(for: receiver) { .relay(message, from: peer, sequence: $0, order: order) }
        case .leave:
            connections[id] = nil
            remove(peer, .bye)
            actions.append(.close(id, .normal, reason: "bye"))
        case .ping(let acknowledged):
            acknowledge(acknowledged, of: peer)
            send(.pong(acknowledged: places[peer]?.received ?? 0), on: id)
        case .pong(let acknowledged): acknowledge(acknowledged, of: peer)
        }
    }

    private mutating func join(
        _ request: ClientMessage.JoinRequest,
        on id: RoomConnectionID,
        at now: NIODeadline
    ) throws(SignalingError) {
        guard RoomName.isValid(request.room) else {
            throw SignalingError(
                .invalidRoom,
                "“\(Wire.excerpt(request.room))” cannot name a room: 1 to \(RoomName.maxLength) letters, digits, "
                    + "“-”, “_”, “.” or “~” can, beginning with a letter or a digit; "
                    + "the server's own paths, as ws and bye, cannot.",
                isFatal: true
            )
        }
        if let token = request.token, let peer = tokens[token], let place = places[peer], place.room == request.room,
            place.canResume(after: request.acknowledged ?? 0)
        {
            return resume(place, after: request.acknowledged ?? 0, on: id)
        }
        // A place that cannot be resumed, or that its page gave up by reloading, is in nobody's hands any more.
        if let token = request.token { leave(token: token, .lost) }
        // A page that was reloaded: the call goes on, so this is no farewell.
        if let token = request.replaces { leave(token: token, .replaced) }
        let members = rooms[request.room] ?? []
        guard members.count < limits.maxPeersPerRoom else {
            throw SignalingError(
                .roomFull,
                "Room “\(request.room)” is full: it holds \(limits.maxPeersPerRoom) peers.",
                isFatal: true
            )
        }
        guard !members.isEmpty || rooms.count < limits.maxRooms else {
            throw SignalingError(
                .tooManyRooms,
                "This server holds \(limits.maxRooms) rooms, no more can be opened.",
                isFatal: true
            )
        }
        lastPeerNumber += 1
        // Who was here before the server was started anew, or was away for too long, has the same name in messages again:
        // connections that still work can go on.
        let returning = request.token.flatMap { Self.isToken($0) && places[Self.name(of: $0)] == nil ? $0 : nil }
        let token = returning ?? Self.makeToken()
        let place = Place(
            id: Self.name(of: token),
            number: lastPeerNumber,
            room: request.room,
            name: RoomName.cleaned(request.name),
            token: token,
            connection: id
        )
        for member in members {
            renewServers(of: member)
            queue(for: member) {
                .peerJoined(SignalingPeer(id: place.id, name: place.name, isPolite: false), sequence: $0)
            }
        }
        places[place.id] = place
        tokens[place.token] = place.id
        rooms[request.room, default: []].append(place.id)
        connections[id]?.place = place.id
        sendJoined(place, isResumed: false, on: id)
    }

    private mutating func resume(_ place: Place, after acknowledged: Int, on id: RoomConnectionID) {
        if let old = place.connection {
            connections[old] = nil
            let error = SignalingError(.replaced, "Another connection took this place.", isFatal: true)
            actions.append(.send(old, ServerMessage.error(error).json.text))
            actions.append(.close(old, .replaced, reason: error.message))
        }
        places[place.id]?.connection = id
        places[place.id]?.awaySince = nil
        connections[id]?.place = place.id
        acknowledge(acknowledged, of: place.id)
        sendJoined(place, isResumed: true, on: id)
        for queued in places[place.id]?.queue ?? [] { actions.append(.send(id, queued.text)) }
    }

    /// Gives a place new credentials for the connection that it is about to make.
    ///
    /// Those of its own joining may have expired. Who is away gets them on coming back.
    private mutating func renewServers(of id: SignalingPeerID) {
        guard let connection = places[id]?.connection else { return }
        let own = iceServersForPeer(id, connections[connection]?.host ?? "")
        if !own.isEmpty { send(.iceServers(iceServers + own), on: connection) }
    }

    private mutating func sendJoined(_ place: Place, isResumed: Bool, on id: RoomConnectionID) {
        let others = (rooms[place.room] ?? []).compactMap { places[$0] }.filter { $0.id != place.id }
        let joined = ServerMessage.Joined(
            place: SignalingPlace(
                room: place.room,
                id: place.id,
                peers: others.map { SignalingPeer(id: $0.id, name: $0.name, isPolite: place.number > $0.number) },
                iceServers: iceServers + iceServersForPeer(place.id, connections[id]?.host ?? "")
            ),
            token: place.token,
            isResumed: isResumed,
            acknowledged: place.received,
            heartbeatMilliseconds: Int(limits.heartbeatInterval.timeAmount.nanoseconds / 1_000_000)
        )
        send(.joined(joined), on: id)
    }

    private mutating func remove(_ peer: SignalingPeerID, _ reason: SignalingLeaveReason) {
        guard let place = places.removeValue(forKey: peer) else { return }
        tokens[place.token] = nil
        let members = (rooms[place.room] ?? []).filter { $0 != peer }
        rooms[place.room] = members.isEmpty ? nil : members
        for member in members { queue(for: member) { .peerLeft(peer, reason, sequence: $0) } }
    }

    /// Numbers a message, keeps it until it is acknowledged, and sends it if the peer is there.
    private mutating func queue(for peer: SignalingPeerID, _ message: (Int) -> ServerMessage) {
        guard var place = places.removeValue(forKey: peer) else { return }
        place.sent += 1
        let text = message(place.sent).json.text
        place.queue.append((place.sent, text))
        place.queuedBytes += text.utf8.count
        while place.queue.count > limits.maxQueuedMessages || place.queuedBytes > limits.maxQueuedBytes {
            place.queuedBytes -= place.queue.removeFirst().text.utf8.count
        }
        if let connection = place.connection { actions.append(.send(connection, text)) }
        places[peer] = place
    }

    private mutating func acknowledge(_ sequence: Int?, of peer: SignalingPeerID) {
        guard let sequence, var place = places.removeValue(forKey: peer) else { return }
        let count = place.queue.prefix { $0.sequence <= sequence }.count
        for queued in place.queue.prefix(count) { place.queuedBytes -= queued.text.utf8.count }
        place.queue.removeFirst(count)
        places[peer] = place
    }

    private mutating func send(_ message: ServerMessage, on id: RoomConnectionID) {
        actions.append(.send(id, message.json.text))
    }

    /// Answers with an error in words and closes.
    ///
    /// Whoever broke a rule cannot resume.
    private mutating func refuse(_ id: RoomConnectionID, _ error: SignalingError, _ code: RoomCloseCode) {
        var error = error
        error.isFatal = true
        send(.error(error), on: id)
        actions.append(.close(id, code, reason: error.message))
        if let peer = connections.removeValue(forKey: id)?.place { remove(peer, .lost) }
    }

    /// A peer's name in messages: whoever has the token has the name, and the name does not tell the token.
    private static func name(of token: String) -> SignalingPeerID {
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var count: UInt32 = 0
        let bytes = Array(token.utf8)
        _ = unsafe EVP_Digest(bytes, bytes.count, &digest, &count, EVP_sha256(), nil)
        let word = digest.prefix(8).reduce(into: UInt64(0)) { $0 = $0 << 8 | UInt64($1) }
        let digits = String(word, radix: 16)
        return SignalingPeerID("p" + String(repeating: "0", count: 16 - digits.count) + digits)
    }

    private static func isToken(_ text: String) -> Bool {
        text.utf8.count == 32 && text.utf8.allSatisfy { "0123456789abcdef".utf8.contains($0) }
    }

    /// 128 random bits.
    private static func makeToken() -> String {
        var generator = SystemRandomNumberGenerator()
        return [generator.next() as UInt64, generator.next()]
            .map { word in
                let digits = String(word, radix: 16)
                return String(repeating: "0", count: 16 - digits.count) + digits
            }
            .joined()
    }
}

extension RoomTable {
    private struct Connection {
        let host: String
        var openedAt: NIODeadline
        var lastHeardAt: NIODeadline
        var lastPingAt: NIODeadline
        var place: SignalingPeerID?
        var messages: TokenBucket
        var bytes: TokenBucket

        init(host: String, openedAt: NIODeadline, messages: TokenBucket, bytes: TokenBucket) {
            self.host = host
            self.openedAt = openedAt
            lastHeardAt = openedAt
            lastPingAt = openedAt
            self.messages = messages
            self.bytes = bytes
        }
    }

    private struct Place {
        var id: SignalingPeerID
        var number: Int
        var room: String
        var name: String
        var token: String
        /// Nil while its connection is broken.
        var connection: RoomConnectionID?
        var awaySince: NIODeadline?
        /// Last number given to a message for this peer.
        var sent = 0
        /// Last number of a message from this peer.
        var received = 0
        var queue: [(sequence: Int, text: String)] = []
        var queuedBytes = 0

        /// Whether all that came after that number is still kept.
        func canResume(after acknowledged: Int) -> Bool {
            acknowledged <= sent && acknowledged >= (queue.first.map { $0.sequence - 1 } ?? sent)
        }
    }
}

/// Names a WebSocket of the server.
package struct RoomConnectionID: Hashable, Comparable, Sendable {
    package var rawValue: Int

    package init(rawValue: Int) { self.rawValue = rawValue }

    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// What the owner of a `RoomTable` is to do.
package enum RoomAction: Hashable, Sendable {
    case send(RoomConnectionID, String)
    /// A WebSocket ping: browsers answer it by themselves.
    case ping(RoomConnectionID)
    case close(RoomConnectionID, RoomCloseCode, reason: String)
}

/// Status code of a WebSocket's close frame.
///
/// RFC 6455 §7.4
package enum RoomCloseCode: UInt16, Hashable, Sendable {
    case normal = 1000
    case goingAway = 1001
    case protocolError = 1002
    case unsupportedData = 1003
    case invalidPayload = 1007
    case policyViolation = 1008
    case messageTooBig = 1009
    /// Private codes begin at 4000: another connection took the place.
    case replaced = 4001
    case timedOut = 4002
    case tooSlow = 4003
}

extension Duration {
    /// The same time for NIO, clamped.
    var timeAmount: TimeAmount { TimeAmount(self) }
}
