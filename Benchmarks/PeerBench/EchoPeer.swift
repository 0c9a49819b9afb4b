import JSON
import PeerConnection

/// The other side of a check: it sends back what comes, and does what the lines in Interop/channel_echo.py say.
enum EchoPeer {
    typealias Events = EventStream<RTCPeerConnectionEvent>.AsyncIterator

    /// The channel with which the connection is made; nobody counts it.
    private static let firstLabel = "first"

    static func connect(_ connection: RTCPeerConnection, role: String) async throws {
        if role == "offer" {
            let first = try connection.createDataChannel(firstLabel)
            try await connection.setLocalDescription()
            await Wire.putLocalDescription(of: connection)
            try await Wire.takeRemoteDescription(for: connection)
            try await first.waitUntilOpen()
        } else {
            try await Wire.takeRemoteDescription(for: connection)
            try await connection.setLocalDescription()
            await Wire.putLocalDescription(of: connection)
        }
    }

    static func end() async {
        Wire.put("done")
        _ = await Wire.get()
    }

    /// Has the peer open a channel; the channel, and in what it differs from what was asked for on either side.
    ///
    /// Nil if the peer cannot make such a channel.
    static func open(
        _ label: String,
        _ options: RTCDataChannelInit,
        _ events: inout Events
    ) async throws -> (RTCDataChannel, [String])? {
        let wanted = ChannelDescription(label: label, options: options)
        return try await open("open", wanted.json, wanted, &events)
    }

    /// The same by a command of another name or argument.
    static func open(
        _ command: String,
        _ argument: JSONValue,
        _ wanted: ChannelDescription,
        _ events: inout Events
    ) async throws -> (RTCDataChannel, [String])? {
        let answer = try await ask(command, argument, for: "opened")
        if answer.isNull { return nil }
        guard let seen = ChannelDescription(answer) else { throw PeerError(said: answer.text) }
        let told = wanted.told(by: seen)
        while let event = await events.next() {
            guard case .dataChannel(let channel) = event, channel.label != firstLabel else { continue }
            return (channel, seen.differences(from: told) + ChannelDescription(channel).differences(from: told))
        }
        throw PeerError(said: "the connection ended")
    }

    /// What the peer has open, by id, once they are `count` or the peer has waited for long enough.
    static func descriptions(_ count: Int) async -> [Int: ChannelDescription] {
        let answer = try? await ask("await", .number(Double(count)), for: "channels")
        var found: [Int: ChannelDescription] = [:]
        for description in (answer?.array ?? [.null]).map(ChannelDescription.init) {
            // What has no id counts as well.
            found[description?.id ?? -1] = description ?? ChannelDescription(label: "?", options: .init())
        }
        return found
    }

    static func ask(_ command: String, _ argument: JSONValue, for answer: String) async throws -> JSONValue {
        Wire.put(command, argument.text)
        return try await reply(answer)
    }

    static func reply(_ wanted: String) async throws -> JSONValue {
        let (kind, text) = await Wire.get()
        guard kind == wanted else { throw PeerError(said: "\(kind): \(text)") }
        return try JSONValue(parsing: text.utf8, maxValues: 1_000_000)
    }

    /// The peer did not do what it was to do.
    struct PeerError: Error, CustomStringConvertible {
        var said: String
        var description: String { "the peer said \(said.prefix(500))" }
    }
}

extension RTCDataChannelInit {
    static let protocols = ["", "chat", "größe"]

    /// Every combination of order and reliability, with the ends of their ranges.
    static var allKinds: [RTCDataChannelInit] {
        let reliabilities: [(retransmits: UInt16?, lifeTime: UInt16?)] = [
            (nil, nil), (0, nil), (1, nil), (3, nil), (.max, nil), (nil, 0), (nil, 1), (nil, 3_000), (nil, .max),
        ]
        return reliabilities.indices.flatMap { index in
            [true, false].map { ordered in
                var options = RTCDataChannelInit()
                options.ordered = ordered
                options.maxRetransmits = reliabilities[index].retransmits
                options.maxPacketLifeTime = reliabilities[index].lifeTime
                options.protocol = protocols[index % protocols.count]
                options.priority = RTCPriorityType.allCases[index % 4]
                return options
            }
        }
    }

    /// Whether what is sent arrives also where a busy machine takes some milliseconds.
    var isLikelyToDeliver: Bool { maxPacketLifeTime.map { $0 >= 3_000 } ?? true }

    /// Whether messages are tried for so long that none is lost.
    var isReliable: Bool { (maxRetransmits ?? .max) == .max && (maxPacketLifeTime ?? .max) == .max }
}

extension RTCDataChannel {
    func closed() async {
        for await event in events where event == .close { break }
    }
}
