import PeerConnection
import Testing

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
        tasks = [Self.forward(first, to: second), Self.forward(second, to: first)]
    }

    deinit {
        for task in tasks { task.cancel() }
        first.close()
        second.close()
    }

    private static func forward(_ from: RTCPeerConnection, to other: RTCPeerConnection) -> Task<Void, Never> {
        let events = from.events
        return Task {
            for await event in events {
                guard case .iceCandidate(let candidate) = event else { continue }
                // Candidates wait for the description, as signalling in order makes them.
                while other.remoteDescription == nil, other.connectionState != .closed { await Task.yield() }
                try? await other.addIceCandidate(candidate)
            }
        }
    }

    /// One offer from the first, answered by the second.
    func negotiate() async throws {
        try await first.setLocalDescription()
        try await second.setRemoteDescription(try #require(first.localDescription))
        try await second.setLocalDescription()
        try await first.setRemoteDescription(try #require(second.localDescription))
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
