import Glibc
import JSON
import PeerConnection

/// One end of a pair in the network laboratory (Tests/Netlab/examples/pair.py): connects through the servers that it is
/// told of, and counts the answers to its pings.
///
/// Arguments: the ICE servers as JSON (W3C's `RTCIceServer` list), seconds of patience, seconds of pings, and a file of
/// authorities for TURN over TLS.
struct LabPeer {
    private let servers: [RTCIceServer]
    private let patience: Duration
    private let pings: Duration
    private let authorities: String?

    init(_ arguments: [String]) throws {
        let list = try JSONValue(parsing: (arguments.first ?? "[]").utf8, maxValues: 1_000)
        servers = (list.array ?? []).map { entry in
            RTCIceServer(
                urls: entry["urls"]?.string.map { [$0] } ?? (entry["urls"]?.array ?? []).compactMap(\.string),
                username: entry["username"]?.string,
                credential: entry["credential"]?.string
            )
        }
        patience = .seconds(PeerBench.number(arguments, 1))
        pings = .seconds(PeerBench.number(arguments, 2))
        authorities = arguments.count > 3 ? arguments[3] : nil
    }

    func run(role: String) async throws {
        var configuration = RTCConfiguration()
        configuration.iceServers = servers
        configuration.iceServerAuthorities = authorities
        let connection = try RTCPeerConnection(configuration: configuration)
        if role == "offer" {
            let channel = try connection.createDataChannel("test")
            try await connection.setLocalDescription()
            await Wire.putLocalDescription(of: connection)
            let begin = try await takeAnswer(connection)
            await finish(connection, channel, since: begin)
        } else {
            let events = connection.events
            try await Wire.takeRemoteDescription(for: connection)
            try await connection.setLocalDescription()
            await Wire.putLocalDescription(of: connection)
            let clock = closeAfterPatience(connection)
            for await event in events {
                guard case .dataChannel(let channel) = event else { continue }
                clock.cancel()
                report(["connected": true])
                for await message in channel.messages {
                    if case .text(let text) = message, text.hasPrefix("ping ") {
                        try? channel.send("pong " + text.dropFirst(5))
                    }
                }
                return
            }
            report(["connected": false])
        }
    }

    private func takeAnswer(_ connection: RTCPeerConnection) async throws -> ContinuousClock.Instant {
        let (kind, text) = await Wire.get()
        guard let type = RTCSdpType(rawValue: kind) else {
            throw RTCError(.operationError, "an answer was expected, not \(kind)")
        }
        let begin = ContinuousClock.now
        try await connection.setRemoteDescription(.init(type: type, sdp: text))
        return begin
    }

    private func finish(
        _ connection: RTCPeerConnection,
        _ channel: RTCDataChannel,
        since begin: ContinuousClock.Instant
    ) async {
        let clock = closeAfterPatience(connection)
        do { try await channel.waitUntilOpen() } catch {
            return report(["connected": false, "error": .string("\(error)")])
        }
        let time = ContinuousClock.now - begin
        clock.cancel()
        let echoes = Task {
            var count = 0
            for await message in channel.messages {
                if case .text(let text) = message, text.hasPrefix("pong ") { count += 1 }
            }
            return count
        }
        var sent = 0
        let end = ContinuousClock.now + pings
        while ContinuousClock.now < end {
            try? channel.send("ping \(sent)")
            sent += 1
            try? await Task.sleep(for: .milliseconds(100))
        }
        // The last answer may be under way.
        try? await Task.sleep(for: .seconds(1))
        let pair = await connection.getStats().selectedCandidatePair
        channel.close()
        report([
            "connected": true, "connect_s": .number(time / .seconds(1)),
            "pings": .number(Double(sent)), "pongs": .number(Double(await echoes.value)),
            "rtt_ms": .number((pair?.currentRoundTripTime ?? 0) * 1e3),
            "pair": .object([
                "local": .string("\(pair?.localType ?? "?") \(pair?.localAddress ?? "?")"),
                "remote": .string("\(pair?.remoteType ?? "?") \(pair?.remoteAddress ?? "?")"),
                "relay": .string(pair?.relayProtocol ?? ""),
            ]),
        ])
    }

    private func closeAfterPatience(_ connection: RTCPeerConnection) -> Task<Void, Never> {
        Task { [patience] in
            try? await Task.sleep(for: patience)
            if !Task.isCancelled { connection.close() }
        }
    }

    private func report(_ result: JSONValue) { Wire.put("result", result.text) }
}
