import Locking
import PeerConnection
import Signaling

@testable import rtc_peer

/// The two ends of a call, and what goes between them through a server that can be taken away.
final class PeerPair: Sendable {
    /// Whether there is a server.
    private final class Server: Sendable {
        private let isDown = Mutex(false)
        var isUp: Bool { !isDown.withLock { $0 } }
        func takeAway() { isDown.withLock { $0 = true } }
    }

    let peers: [CallPeer]
    private let server = Server()
    private let pumps: [Task<Void, Never>]

    /// - Parameters:
    ///   - passesOrder: whether the server passes the order of messages on, or is one of before that.
    ///   - report: what each end, 0 or 1, says of itself.
    /// - Throws: what keeps a connection from being made.
    init(passesOrder: Bool = true, report: @escaping @Sendable (Int, CallEvent) -> Void = { _, _ in }) throws {
        let roads = (0...1).map { _ in AsyncStream<(SignalingMessage, SignalingOrder)>.makeStream() }
        let peers = try (0...1).map { end in
            try CallPeer(
                remote: SignalingPeer(id: SignalingPeerID("p\(1 - end)"), name: "p", isPolite: end == 1),
                isInitiator: end == 1,
                configuration: RTCConfiguration(),
                downloads: nil,
                signal: { roads[1 - end].continuation.yield(($0, $1)) },
                report: { report(end, $0) }
            )
        }
        self.peers = peers
        let server = server
        let streams = roads.map(\.stream)
        pumps = (0...1).map { end in
            Task {
                for await (message, order) in streams[end] where server.isUp {
                    await peers[end].receive(message, passesOrder ? order : nil)
                }
            }
        }
    }

    /// Starts both ends, and returns when both are connected.
    func connect() async throws {
        let events = peers.map { $0.connection.events }
        for peer in peers { try await peer.start(tracks: []) }
        for each in events {
            for await event in each { if case .connectionStateChange(.connected) = event { break } }
        }
    }

    func takeServerAway() { server.takeAway() }

    func end() async {
        for peer in peers { await peer.close() }
        for pump in pumps { pump.cancel() }
    }
}
