import Glibc
import PeerConnection

/// `channels COUNT`: not a figure but a check for Interop: COUNT channels of every kind, whose messages the peer sends
/// back, are opened, used and closed, three times over.
struct ChannelKinds {
    let count: Int

    private static let rounds = 3

    func offer() async throws {
        let connection = try RTCPeerConnection(configuration: PeerBench.configuration())
        let first = try connection.createDataChannel("first")
        try await connection.setLocalDescription()
        await Wire.putLocalDescription(of: connection)
        try await Wire.takeRemoteDescription(for: connection)
        try await first.waitUntilOpen()
        try await check(connection)
    }

    func answer() async throws {
        let connection = try RTCPeerConnection(configuration: PeerBench.configuration())
        try await Wire.takeRemoteDescription(for: connection)
        try await connection.setLocalDescription()
        await Wire.putLocalDescription(of: connection)
        try await check(connection)
    }

    private func check(_ connection: RTCPeerConnection) async throws {
        var echoes = 0
        var highest: UInt16 = 0
        for round in 0..<Self.rounds {
            let channels = try (0..<count).map {
                try connection.createDataChannel("round \(round), channel \($0)", options: options($0))
            }
            for (index, channel) in channels.enumerated() {
                try await channel.waitUntilOpen()
                echoes += try await echo(index, on: channel)
            }
            highest = max(highest, channels.compactMap(\.id).max() ?? 0)
            for channel in channels { channel.close() }
            for channel in channels {
                for await event in channel.events where event == .close { break }
            }
        }
        let expected = Self.rounds * count * 6
        Wire.result([
            "echoes": Double(echoes), "expected": Double(expected), "highest_id": Double(highest),
            "max_channels": connection.sctp?.maxChannels.map(Double.init),
        ])
        Wire.put("done")
        _ = await Wire.get()
        exit(echoes == expected ? 0 : 1)
    }

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
        options.priority = RTCPriorityType.allCases[index % 4]
        return options
    }

    /// Sends text and bytes, short, empty and long, and counts what comes back as it was.
    private func echo(_ index: Int, on channel: RTCDataChannel) async throws -> Int {
        var messages = channel.messages.makeAsyncIterator()
        var count = 0
        for text in ["größe", "", String(repeating: "x", count: index % 10 == 0 ? 60_000 : 1_500)] {
            try await channel.sendWhenReady(text)
            if await messages.next() == .text(text) { count += 1 }
            try await channel.sendWhenReady(Array(text.utf8))
            if await messages.next() == .binary(Array(text.utf8)) { count += 1 }
        }
        return count
    }
}
