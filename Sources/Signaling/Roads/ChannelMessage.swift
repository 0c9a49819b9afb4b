internal import JSON

/// What the two ends of a signalling channel say to each other; docs/SIGNALING.md, "Two roads".
package enum ChannelMessage: Hashable, Sendable {
    /// An offer, an answer or a candidate, as it goes through the server.
    case relay(SignalingMessage, SignalingOrder)
    /// What has come so far.
    case acknowledgement(SignalingOrder)

    /// Reads the bytes of a text message.
    ///
    /// - Throws: `unknownType` for what a newer peer may say, other codes for what nobody says.
    package init(parsing bytes: some Collection<UInt8>) throws(SignalingError) {
        let (value, type) = try Wire.parse(bytes)
        switch type {
        case "ack": self = .acknowledgement(try Wire.order(in: value, type))
        case "offer", "answer", "candidate":
            self = .relay(try Wire.relayed(value, type), try Wire.order(in: value, type))
        default: throw Wire.unknown(type)
        }
    }

    /// The text that is sent.
    package var text: String {
        var members: [String: JSONValue]
        switch self {
        case .relay(let message, let order):
            members = Wire.members(of: message)
            members["order"] = Wire.value(of: order)
        case .acknowledgement(let order): members = ["type": "ack", "order": Wire.value(of: order)]
        }
        return JSONValue.object(members).text
    }
}
