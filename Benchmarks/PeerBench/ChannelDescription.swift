import JSON
import PeerConnection

/// What a channel is, as the two sides of a check compare it: W3C's members by their names.
struct ChannelDescription {
    private(set) var members: [String: JSONValue]

    init(label: String, options: RTCDataChannelInit) {
        func number(_ value: UInt16?) -> JSONValue { value.map { .number(Double($0)) } ?? .null }
        members = [
            "label": .string(label), "protocol": .string(options.protocol), "ordered": .bool(options.ordered),
            "maxRetransmits": number(options.maxRetransmits), "maxPacketLifeTime": number(options.maxPacketLifeTime),
            "negotiated": .bool(options.negotiated), "id": number(options.id),
            "priority": .string(options.priority.rawValue),
        ]
    }

    init(_ channel: RTCDataChannel) {
        var options = channel.options
        options.id = channel.id
        self.init(label: channel.label, options: options)
    }

    /// What the peer says; nil without an id.
    init?(_ json: JSONValue) {
        guard case .object(let members) = json, members["id"]?.integer != nil else { return nil }
        self.members = members
    }

    var json: JSONValue { .object(members) }
    var id: Int? { members["id"]?.integer }

    /// What differs from `wanted`, in words, among the members that both have: not every stack tells all.
    func differences(from wanted: Self) -> [String] {
        wanted.members.sorted { $0.key < $1.key }.compactMap { name, wanted in
            guard let value = members[name], value != wanted else { return nil }
            return "\(name) is \(value.text.prefix(80)), not \(wanted.text.prefix(80))"
        }
    }

    /// The same, of this side's channel: without what the peer cannot say, with the id that it has given.
    func told(by peer: Self) -> Self {
        var told = self
        told.members["id"] = peer.members["id"]
        if peer.members["priority"] == nil { told.members["priority"] = nil }
        return told
    }
}
