package import JSON

/// What the server says to a client.
package enum ServerMessage: Hashable, Sendable {
    case joined(Joined)
    case peerJoined(SignalingPeer, sequence: Int?)
    /// What `joined` said of servers, with new credentials.
    case iceServers([SignalingICEServer])
    case peerLeft(SignalingPeerID, SignalingLeaveReason, sequence: Int?)
    case relay(SignalingMessage, from: SignalingPeerID, sequence: Int?, order: SignalingOrder? = nil)
    case ping
    /// Answers a ping; acknowledges the client's numbered messages so far.
    case pong(acknowledged: Int)
    case error(SignalingError)

    package struct Joined: Hashable, Sendable {
        package var place: SignalingPlace
        /// Takes this place again after a broken connection.
        package var token: String
        /// Whether this is the place of the token in `join`; otherwise all that was before is void.
        package var isResumed: Bool
        /// The last numbered message of the client that arrived; it repeats the later ones.
        package var acknowledged: Int
        /// How often the client says `ping`.
        package var heartbeatMilliseconds: Int

        package init(
            place: SignalingPlace,
            token: String,
            isResumed: Bool,
            acknowledged: Int,
            heartbeatMilliseconds: Int
        ) {
            self.place = place
            self.token = token
            self.isResumed = isResumed
            self.acknowledged = acknowledged
            self.heartbeatMilliseconds = heartbeatMilliseconds
        }
    }

    package init(parsing bytes: some Collection<UInt8>) throws(SignalingError) {
        let (value, type) = try Wire.parse(bytes)
        let sequence = try Wire.optionalCount("seq", in: value, type)
        switch type {
        case "joined":
            var peers: [SignalingPeer] = []
            for entry in value["peers"]?.array ?? [] { peers.append(try Self.peer(entry, type)) }
            self = .joined(
                Joined(
                    place: SignalingPlace(
                        room: try Wire.text("room", in: value, type),
                        id: SignalingPeerID(try Wire.text("peer", in: value, type)),
                        peers: peers,
                        iceServers: Self.servers(value)
                    ),
                    token: try Wire.text("token", in: value, type),
                    isResumed: value["resumed"]?.bool ?? false,
                    acknowledged: try Wire.optionalCount("ack", in: value, type) ?? 0,
                    heartbeatMilliseconds: try Wire.optionalCount("heartbeat", in: value, type) ?? 5000
                )
            )
        case "ice-servers": self = .iceServers(Self.servers(value))
        case "peer-joined": self = .peerJoined(try Self.peer(value, type), sequence: sequence)
        case "peer-left":
            self = .peerLeft(
                SignalingPeerID(try Wire.text("peer", in: value, type)),
                SignalingLeaveReason(rawValue: value["reason"]?.string ?? "") ?? .lost,
                sequence: sequence
            )
        case "offer", "answer", "candidate", "pake", "bye":
            self = .relay(
                try Wire.relayed(value, type),
                from: SignalingPeerID(try Wire.text("from", in: value, type)),
                sequence: sequence,
                order: try Wire.optionalOrder(in: value, type)
            )
        case "ping": self = .ping
        case "pong": self = .pong(acknowledged: try Wire.optionalCount("ack", in: value, type) ?? 0)
        case "error":
            self = .error(
                SignalingError(
                    .init(rawValue: try Wire.text("code", in: value, type)),
                    try Wire.text("message", in: value, type),
                    isFatal: value["fatal"]?.bool ?? false
                )
            )
        default: throw Wire.unknown(type)
        }
    }

    private static func servers(_ value: JSONValue) -> [SignalingICEServer] {
        (value["iceServers"]?.array ?? []).map { entry in
            SignalingICEServer(
                urls: entry["urls"]?.string.map { [$0] } ?? (entry["urls"]?.array ?? []).compactMap(\.string),
                username: entry["username"]?.string,
                credential: entry["credential"]?.string
            )
        }
    }

    package var json: JSONValue {
        var members: [String: JSONValue] = [:]
        switch self {
        case .joined(let joined):
            members = [
                "type": "joined", "room": .string(joined.place.room), "peer": .string(joined.place.id.rawValue),
                "token": .string(joined.token), "resumed": .bool(joined.isResumed),
                "ack": .number(Double(joined.acknowledged)),
                "heartbeat": .number(Double(joined.heartbeatMilliseconds)),
                "peers": .array(joined.place.peers.map { .object(Self.members(of: $0)) }),
                "iceServers": .array(joined.place.iceServers.map(Self.value(of:))),
            ]
        case .iceServers(let servers):
            members = ["type": "ice-servers", "iceServers": .array(servers.map(Self.value(of:)))]
        case .peerJoined(let peer, let sequence):
            members = Self.members(of: peer)
            members["type"] = "peer-joined"
            members["seq"] = sequence.map { .number(Double($0)) }
        case .peerLeft(let peer, let reason, let sequence):
            members = [
                "type": "peer-left", "peer": .string(peer.rawValue), "reason": .string(reason.rawValue),
            ]
            members["seq"] = sequence.map { .number(Double($0)) }
        case .relay(let message, let peer, let sequence, let order):
            members = Wire.members(of: message)
            members["from"] = .string(peer.rawValue)
            members["seq"] = sequence.map { .number(Double($0)) }
            members["order"] = order.map(Wire.value(of:))
        case .ping: members["type"] = "ping"
        case .pong(let acknowledged): members = ["type": "pong", "ack": .number(Double(acknowledged))]
        case .error(let error):
            members = ["type": "error", "code": .string(error.code.rawValue), "message": .string(error.message)]
            if error.isFatal { members["fatal"] = true }
        }
        return .object(members)
    }

    private static func peer(_ value: JSONValue, _ type: String) throws(SignalingError) -> SignalingPeer {
        SignalingPeer(
            id: SignalingPeerID(try Wire.text("peer", in: value, type)),
            name: try Wire.optionalText("name", in: value, type) ?? "",
            isPolite: value["polite"]?.bool ?? false
        )
    }

    private static func members(of peer: SignalingPeer) -> [String: JSONValue] {
        ["peer": .string(peer.id.rawValue), "name": .string(peer.name), "polite": .bool(peer.isPolite)]
    }

    private static func value(of server: SignalingICEServer) -> JSONValue {
        var members: [String: JSONValue] = ["urls": .array(server.urls.map { .string($0) })]
        members["username"] = server.username.map { .string($0) }
        members["credential"] = server.credential.map { .string($0) }
        return .object(members)
    }
}
