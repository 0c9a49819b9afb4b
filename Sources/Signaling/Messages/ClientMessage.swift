package import JSON

/// What a client says to the server.
package enum ClientMessage: Hashable, Sendable {
    case join(JoinRequest)
    /// A message for another peer; `sequence` numbers them from 1 so that a resumed client may repeat some. `order` is for
    /// the other peer.
    case relay(SignalingMessage, to: SignalingPeerID, sequence: Int?, order: SignalingOrder? = nil)
    /// Leaves the room.
    case leave
    /// Asks for a sign of life; acknowledges the server's numbered messages so far.
    case ping(acknowledged: Int?)
    /// Answers a ping.
    case pong(acknowledged: Int?)

    package struct JoinRequest: Hashable, Sendable {
        package var room: String
        package var name: String
        /// The resume token of the place to take again.
        package var token: String?
        /// With `token`: the last numbered message of the server that arrived.
        package var acknowledged: Int?
        /// The resume token of a place to give up: that of the page before its reload.
        package var replaces: String?

        package init(
            room: String,
            name: String,
            token: String? = nil,
            acknowledged: Int? = nil,
            replaces: String? = nil
        ) {
            self.room = room
            self.name = name
            self.token = token
            self.acknowledged = acknowledged
            self.replaces = replaces
        }
    }

    package init(parsing bytes: some Collection<UInt8>) throws(SignalingError) {
        let (value, type) = try Wire.parse(bytes)
        switch type {
        case "join":
            self = .join(
                JoinRequest(
                    room: try Wire.text("room", in: value, type),
                    name: try Wire.optionalText("name", in: value, type) ?? "",
                    token: try Wire.optionalText("token", in: value, type),
                    acknowledged: try Wire.optionalCount("ack", in: value, type),
                    replaces: try Wire.optionalText("replaces", in: value, type)
                )
            )
        case "bye" where (value["to"] ?? .null).isNull: self = .leave
        case "offer", "answer", "candidate", "pake", "bye":
            self = .relay(
                try Wire.relayed(value, type),
                to: SignalingPeerID(try Wire.text("to", in: value, type)),
                sequence: try Wire.optionalCount("seq", in: value, type),
                order: try Wire.optionalOrder(in: value, type)
            )
        case "ping": self = .ping(acknowledged: try Wire.optionalCount("ack", in: value, type))
        case "pong": self = .pong(acknowledged: try Wire.optionalCount("ack", in: value, type))
        default: throw Wire.unknown(type)
        }
    }

    package var json: JSONValue {
        var members: [String: JSONValue] = [:]
        switch self {
        case .join(let request):
            members = ["type": "join", "room": .string(request.room), "name": .string(request.name)]
            members["token"] = request.token.map { .string($0) }
            members["ack"] = request.acknowledged.map { .number(Double($0)) }
            members["replaces"] = request.replaces.map { .string($0) }
        case .relay(let message, let peer, let sequence, let order):
            members = Wire.members(of: message)
            members["to"] = .string(peer.rawValue)
            members["seq"] = sequence.map { .number(Double($0)) }
            members["order"] = order.map(Wire.value(of:))
        case .leave: members["type"] = "bye"
        case .ping(let acknowledged):
            members["type"] = "ping"
            members["ack"] = acknowledged.map { .number(Double($0)) }
        case .pong(let acknowledged):
            members["type"] = "pong"
            members["ack"] = acknowledged.map { .number(Double($0)) }
        }
        return .object(members)
    }
}
