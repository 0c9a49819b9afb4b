internal import JSON

/// What both kinds of messages share: reading members with errors in words, and the messages between peers.
enum Wire {
    /// Parses an object and its `type`.
    static func parse(_ bytes: some Collection<UInt8>) throws(SignalingError) -> (JSONValue, String) {
        let value: JSONValue
        do {
            value = try JSONValue(parsing: bytes)
        } catch {
            throw SignalingError(.notJSON, "The message is not JSON: \(error.reason) at byte \(error.offset).")
        }
        guard case .object = value else { throw SignalingError(.notJSON, "The message is not a JSON object.") }
        guard let type = value["type"]?.string else {
            throw SignalingError(.invalidMessage, "The message has no text named “type”.")
        }
        return (value, type)
    }

    static func unknown(_ type: String) -> SignalingError {
        SignalingError(.unknownType, "There is no message of type “\(excerpt(type))”.")
    }

    static func text(_ name: String, in value: JSONValue, _ type: String) throws(SignalingError) -> String {
        guard let text = value[name]?.string else {
            throw SignalingError(.invalidMessage, "A message “\(excerpt(type))” needs a text named “\(name)”.")
        }
        return text
    }

    static func optionalText(_ name: String, in value: JSONValue, _ type: String) throws(SignalingError) -> String? {
        guard let member = value[name], !member.isNull else { return nil }
        return try text(name, in: .object([name: member]), type)
    }

    /// A whole number from 0.
    static func optionalCount(_ name: String, in value: JSONValue, _ type: String) throws(SignalingError) -> Int? {
        guard let member = value[name], !member.isNull else { return nil }
        guard let count = member.integer, count >= 0 else {
            throw SignalingError(
                .invalidMessage,
                "In a message “\(excerpt(type))” the member “\(name)” is a whole number from 0."
            )
        }
        return count
    }

    /// The message between peers of that type.
    static func relayed(_ value: JSONValue, _ type: String) throws(SignalingError) -> SignalingMessage {
        switch type {
        case "offer": return .offer(sdp: try text("sdp", in: value, type))
        case "answer": return .answer(sdp: try text("sdp", in: value, type))
        case "pake": return .pake(try text("text", in: value, type))
        case "bye": return .bye
        default:
            guard let member = value["candidate"] else {
                throw SignalingError(.invalidMessage, "A message “candidate” needs an object or null “candidate”.")
            }
            if member.isNull { return .candidate(nil) }
            guard case .object = member else {
                throw SignalingError(.invalidMessage, "In a message “candidate” the candidate is an object or null.")
            }
            return .candidate(
                SignalingCandidate(
                    candidate: try text("candidate", in: member, type),
                    sdpMid: try optionalText("sdpMid", in: member, type),
                    sdpMLineIndex: try optionalCount("sdpMLineIndex", in: member, type),
                    usernameFragment: try optionalText("usernameFragment", in: member, type)
                )
            )
        }
    }

    /// Where the message stands in its sender's order.
    static func order(in value: JSONValue, _ type: String) throws(SignalingError) -> SignalingOrder {
        guard let order = try optionalOrder(in: value, type) else {
            throw SignalingError(.invalidMessage, "A message “\(excerpt(type))” needs an object “order” here.")
        }
        return order
    }

    static func optionalOrder(in value: JSONValue, _ type: String) throws(SignalingError) -> SignalingOrder? {
        guard let member = value["order"], !member.isNull else { return nil }
        guard case .object = member else {
            throw SignalingError(.invalidMessage, "In a message “\(excerpt(type))” the order is an object.")
        }
        let order = SignalingOrder(
            stream: try text("stream", in: member, type),
            sequence: try optionalCount("seq", in: member, type) ?? 0,
            first: try optionalCount("first", in: member, type) ?? 0,
            peerStream: try optionalText("of", in: member, type),
            acknowledged: try optionalCount("ack", in: member, type) ?? 0
        )
        for name in [order.stream, order.peerStream ?? order.stream]
        where name.isEmpty || name.unicodeScalars.count > SignalingOrder.maxStreamLength {
            throw SignalingError(
                .invalidMessage,
                "In a message “\(excerpt(type))” an order's stream has 1 to \(SignalingOrder.maxStreamLength) characters."
            )
        }
        return order
    }

    static func value(of order: SignalingOrder) -> JSONValue {
        var members: [String: JSONValue] = [
            "stream": .string(order.stream), "seq": .number(Double(order.sequence)),
            "first": .number(Double(order.first)),
        ]
        if let peerStream = order.peerStream {
            members["of"] = .string(peerStream)
            members["ack"] = .number(Double(order.acknowledged))
        }
        return .object(members)
    }

    static func members(of message: SignalingMessage) -> [String: JSONValue] {
        switch message {
        case .offer(let sdp): return ["type": "offer", "sdp": .string(sdp)]
        case .answer(let sdp): return ["type": "answer", "sdp": .string(sdp)]
        case .pake(let text): return ["type": "pake", "text": .string(text)]
        case .bye: return ["type": "bye"]
        case .candidate(nil): return ["type": "candidate", "candidate": .null]
        case .candidate(let candidate?):
            var members: [String: JSONValue] = ["candidate": .string(candidate.candidate)]
            members["sdpMid"] = candidate.sdpMid.map { .string($0) }
            members["sdpMLineIndex"] = candidate.sdpMLineIndex.map { .number(Double($0)) }
            members["usernameFragment"] = candidate.usernameFragment.map { .string($0) }
            return ["type": "candidate", "candidate": .object(members)]
        }
    }

    /// The start of a text from outside, without control characters, for an error in words.
    static func excerpt(_ text: String) -> String {
        let cleaned = String(
            String.UnicodeScalarView(text.unicodeScalars.prefix(33).filter { !$0.properties.isControl })
        )
        return cleaned.unicodeScalars.count > 32 ? String(cleaned.unicodeScalars.prefix(32)) + "…" : cleaned
    }
}

extension Unicode.Scalar.Properties {
    /// Whether the scalar is a control or format character (the latter can turn text around).
    var isControl: Bool {
        switch generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .unassigned, .privateUse: true
        default: false
        }
    }
}
