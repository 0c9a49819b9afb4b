import PeerConnection
import Testing
import Trickle

/// Two connections on real loopback sockets, joined by what each lets out.
final class ConnectedPair: Sendable {
    let first: RTCPeerConnection
    let second: RTCPeerConnection
    private let tasks: [Task<Void, Never>]

    static func configuration() -> RTCConfiguration {
        var configuration = RTCConfiguration()
        configuration.localAddresses = ["127.0.0.1"]
        return configuration
    }

    /// The second is made like the first, unless it has a configuration of its own.
    init(
        _ configuration: RTCConfiguration = ConnectedPair.configuration(),
        _ other: RTCConfiguration? = nil
    ) throws {
        first = try RTCPeerConnection(configuration: configuration)
        second = try RTCPeerConnection(configuration: other ?? configuration)
        tasks = [trickle(first, to: second), trickle(second, to: first)]
    }

    deinit {
        for task in tasks { task.cancel() }
        first.close()
        second.close()
    }

    /// One offer from the first, answered by the second.
    func negotiate() async throws {
        try await first.setLocalDescription()
        try await second.setRemoteDescription(try #require(first.localDescription))
        try await second.setLocalDescription()
        try await first.setRemoteDescription(try #require(second.localDescription))
    }

    /// A megabyte there and back over one data channel.
    func exchange() async throws {
        let channel = try first.createDataChannel("x")
        let events = second.events
        try await negotiate()
        try await channel.waitUntilOpen()
        let echo = Task {
            for await event in events {
                guard case .dataChannel(let channel) = event else { continue }
                for await message in channel.messages {
                    if case .binary(let bytes) = message { try await channel.sendWhenReady(bytes) }
                }
            }
        }
        defer { echo.cancel() }
        let message = (0..<65_536).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        for _ in 0..<16 { try await channel.sendWhenReady(message) }
        var count = 0
        for await received in channel.messages {
            #expect(received == .binary(message))
            count += 1
            if count == 16 { break }
        }
    }
}

extension RTCPeerConnection {
    /// Waits until the connection is in a state, or is closed.
    func wait(for state: RTCPeerConnectionState) async {
        let events = self.events
        if connectionState == state { return }
        for await event in events {
            if case .connectionStateChange(let new) = event, new == state { return }
        }
    }
}
