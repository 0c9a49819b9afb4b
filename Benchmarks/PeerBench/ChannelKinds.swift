import Glibc
import JSON
import PeerConnection

/// `channels COUNT`: not a figure but a check for Interop, with a peer that sends back each message and does what the
/// commands in Interop/channel_echo.py say.
///
/// COUNT channels of every kind are opened, used and closed, three times over; then the peer opens some of every kind,
/// then both agree on some beforehand; then each side closes the other's and its own. Each stage reports what was right
/// and what was expected, and says on standard error what was not right.
struct ChannelKinds {
    let count: Int

    private static let rounds = 3
    /// Ids that no channel has which was not negotiated; Chromium's end at 1023.
    private static let firstNegotiatedID: UInt16 = 900

    func run(role: String) async throws {
        let connection = try RTCPeerConnection(configuration: PeerBench.configuration())
        var events = connection.events.makeAsyncIterator()
        try await EchoPeer.connect(connection, role: role)
        await check(connection, &events)
    }

    private func check(_ connection: RTCPeerConnection, _ events: inout EchoPeer.Events) async {
        var areRight = false
        do {
            areRight = try await checkEchoes(connection)
            areRight = try await checkOpenedByPeer(&events) && areRight
            areRight = try await checkNegotiated(connection) && areRight
            areRight = try await checkClosing(connection, &events) && areRight
            await EchoPeer.end()
        } catch {
            Wire.note("ended: \(error)")
            exit(1)
        }
        exit(areRight ? 0 : 1)
    }

    // MARK: Stages

    /// Channels that this side opens; the peer tells what it sees of them.
    private func checkEchoes(_ connection: RTCPeerConnection) async throws -> Bool {
        var echoes = Score("echoes")
        var described = Score("described")
        var reused = Score("reused")
        var highest: UInt16 = 0
        var memberCount = Int.max
        for round in 0..<Self.rounds {
            let channels = try (0..<count).map {
                try connection.createDataChannel("round \(round), channel \($0)", options: options($0))
            }
            for (index, channel) in channels.enumerated() {
                try await channel.waitUntilOpen()
                try await echo(index, on: channel, &echoes)
            }
            if let channel = channels.first {
                // A reliable one. Browsers take and send 262144 bytes, aiortc 65536.
                let text = String(repeating: "y", count: min(channel.maxMessageSize, 262_144))
                try await echo([text], on: channel, &echoes)
            }
            let seen = await EchoPeer.descriptions(count)
            memberCount = min(memberCount, seen.values.map(\.members.count).min() ?? 0)
            for channel in channels { described.compare(seen[Int(channel.id ?? 0)], with: ChannelDescription(channel)) }
            let ids = channels.compactMap(\.id)
            // The even or the odd ones, and `first` has one of them.
            reused.count((ids.max() ?? .max) <= 2 * count + 1, "round \(round) had the ids \(ids)")
            highest = max(highest, ids.max() ?? 0)
            for channel in channels { channel.close() }
            for channel in channels { await channel.closed() }
            let left = await EchoPeer.descriptions(0)
            reused.count(left.isEmpty, "round \(round): the peer still has \(left.keys.sorted())")
        }
        Wire.result([
            "highest_id": Double(highest), "members": Double(memberCount),
            "max_channels": connection.sctp?.maxChannels.map(Double.init),
        ])
        return [echoes.report(), described.report(), reused.report()].allSatisfy(\.self)
    }

    /// Channels that the peer opens come as it made them, with what it says at once.
    private func checkOpenedByPeer(_ events: inout EchoPeer.Events) async throws -> Bool {
        var opened = Score("opened")
        var echoes = Score("opened_echoes")
        var channels: [RTCDataChannel] = []
        for (index, options) in RTCDataChannelInit.allKinds.enumerated() {
            let label = Self.labels[index % Self.labels.count]
            guard let (channel, difference) = try await EchoPeer.open(label, options, &events) else { continue }
            opened.count(difference.isEmpty, "the peer's channel \(index): \(difference.joined(separator: ", "))")
            channels.append(channel)
            if options.isLikelyToDeliver {
                var messages = channel.messages.makeAsyncIterator()
                echoes.count(await messages.next() == .text(label), "the peer's channel \(index) began otherwise")
                try await echo(index, on: channel, &echoes)
            }
        }
        for channel in channels { channel.close() }
        for channel in channels { await channel.closed() }
        opened.count(await EchoPeer.descriptions(0).isEmpty, "the peer still has channels that it opened")
        return [opened.report(), echoes.report()].allSatisfy(\.self)
    }

    /// Channels that both make by themselves; first this side, then the peer, and so on.
    private func checkNegotiated(_ connection: RTCPeerConnection) async throws -> Bool {
        var negotiated = Score("negotiated")
        var echoes = Score("negotiated_echoes")
        var channels: [RTCDataChannel] = []
        for (index, options) in RTCDataChannelInit.allKinds.enumerated() {
            var options = options
            options.negotiated = true
            options.id = Self.firstNegotiatedID + UInt16(index)
            let wanted = ChannelDescription(label: "negotiated \(index)", options: options)
            var channel: RTCDataChannel?
            if index % 2 == 0 { channel = try connection.createDataChannel("negotiated \(index)", options: options) }
            let answer = try await EchoPeer.ask("open", wanted.json, for: "opened")
            if answer.isNull {
                channel?.close()
                continue
            }
            let made = try channel ?? connection.createDataChannel("negotiated \(index)", options: options)
            try await made.waitUntilOpen()
            channels.append(made)
            negotiated.compare(ChannelDescription(answer), with: wanted)
            if options.isLikelyToDeliver { try await echo(index, on: made, &echoes) }
        }
        for channel in channels { channel.close() }
        for channel in channels { await channel.closed() }
        negotiated.count(await EchoPeer.descriptions(0).isEmpty, "the peer still has negotiated channels")
        return [negotiated.report(), echoes.report()].allSatisfy(\.self)
    }

    /// Whoever opened channels, either side closes them, or both at once, and their ids are given to the next.
    private func checkClosing(_ connection: RTCPeerConnection, _ events: inout EchoPeer.Events) async throws -> Bool {
        var closed = Score("closed")
        for opener in ["this side", "the peer"] {
            var ids: Set<UInt16> = []
            for closer in ["this side", "the peer", "both"] {
                let step = "opened by \(opener), closed by \(closer)"
                var channels: [RTCDataChannel] = []
                for (index, options) in RTCDataChannelInit.allKinds.enumerated() where options.isLikelyToDeliver {
                    let label = "\(index), \(step)"
                    if opener == "the peer" {
                        guard let (channel, difference) = try await EchoPeer.open(label, options, &events) else {
                            continue
                        }
                        closed.count(difference.isEmpty, "\(label): \(difference.joined(separator: ", "))")
                        channels.append(channel)
                        var messages = channel.messages.makeAsyncIterator()
                        closed.count(await messages.next() == .text(label), "\(label): it began otherwise")
                    } else {
                        channels.append(try connection.createDataChannel(label, options: options))
                    }
                }
                for channel in channels {
                    try await channel.waitUntilOpen()
                    try await echo([step], on: channel, &closed)
                }
                let used = channels.compactMap(\.id)
                closed.count(ids.isEmpty || ids.isSuperset(of: used), "\(step): ids \(used), before \(ids.sorted())")
                ids.formUnion(used)
                if closer != "this side" { Wire.put("close", JSONValue.array(used.map { .number(Double($0)) }).text) }
                if closer != "the peer" { for channel in channels { channel.close() } }
                if closer != "this side" { _ = try await EchoPeer.reply("closing") }
                for channel in channels { await channel.closed() }
                let left = await EchoPeer.descriptions(0)
                closed.count(left.isEmpty, "\(step): the peer still has \(left.keys.sorted())")
            }
        }
        return closed.report()
    }

    // MARK: Messages

    /// Sends text and bytes, short, empty and long, and counts what comes back as it was.
    private func echo(_ index: Int, on channel: RTCDataChannel, _ score: inout Score) async throws {
        let long = String(repeating: "x", count: index % 10 == 0 ? 60_000 : 1_500)
        try await echo(["größe", "", long], on: channel, &score)
    }

    private func echo(_ texts: [String], on channel: RTCDataChannel, _ score: inout Score) async throws {
        var messages = channel.messages.makeAsyncIterator()
        let name = channel.label.prefix(80)
        for text in texts {
            try await channel.sendWhenReady(text)
            score.count(await messages.next() == .text(text), "\(name): text of \(text.utf8.count) bytes")
            try await channel.sendWhenReady(Array(text.utf8))
            score.count(await messages.next() == .binary(Array(text.utf8)), "\(name): \(text.utf8.count) bytes")
        }
    }

    // MARK: Kinds

    private func options(_ index: Int) -> RTCDataChannelInit {
        var options = RTCDataChannelInit()
        switch index % 6 {
        case 1: options.ordered = false
        case 2: options.maxRetransmits = 0
        case 3:
            options.maxRetransmits = 3
            options.ordered = false
        case 4: options.maxPacketLifeTime = 3_000
        case 5:
            options.maxPacketLifeTime = 3_000
            options.ordered = false
        default: break
        }
        options.protocol = RTCDataChannelInit.protocols[index % RTCDataChannelInit.protocols.count]
        options.priority = RTCPriorityType.allCases[index % 4]
        return options
    }

    private static let labels = ["", "plain", "größe 👋", "\"a\\b\t", String(repeating: "l", count: 65_535)]
}
