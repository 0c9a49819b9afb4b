import Locking
import PeerConnection
import Signaling
import Testing
import TimeSharing

@testable import rtc_peer

/// A peer that says more than is shown.
@Suite(.realTime) struct ChatFloods {
    @Test(.timeLimit(.minutes(5))) func `What is said waits in its channel until what was said before is shown`()
        async throws
    {
        let count = 50
        let held = Mutex<[CallEvent]>([])
        let (arrivals, arrival) = AsyncStream<Void>.makeStream()
        let roads = (0...1).map { _ in AsyncStream<(SignalingMessage, SignalingOrder)>.makeStream() }
        let peers = try (0...1).map { end in
            try CallPeer(
                remote: SignalingPeer(id: SignalingPeerID("p\(1 - end)"), name: "p", isPolite: end == 1),
                isInitiator: end == 1,
                configuration: RTCConfiguration(),
                downloads: nil,
                signal: { roads[1 - end].continuation.yield(($0, $1)) },
                report: { event in
                    guard end == 0, case .chat = event else { return }
                    held.withLock { $0.append(event) }
                    arrival.yield()
                }
            )
        }
        let streams = roads.map(\.stream)
        let pumps = (0...1).map { end in
            Task { for await (message, order) in streams[end] { await peers[end].receive(message, order) } }
        }
        let events = peers[1].connection.events
        for peer in peers { try await peer.start(tracks: []) }
        for await event in events { if case .connectionStateChange(.connected) = event { break } }
        try await #require(await peers[1].chat).waitUntilOpen()
        for number in 0..<count { await peers[1].say("\(number)") }
        var shown = 0
        for await _ in arrivals {
            // Time for all the others, if nothing held them back.
            for _ in 0..<(shown == 0 ? 20_000 : 0) { await Task.yield() }
            let waiting = held.withLock { events in
                defer { events = [] }
                return events.count
            }
            #expect(waiting == 1)
            shown += 1
            if shown == count || waiting != 1 { break }
        }
        #expect(shown == count)
        for peer in peers { await peer.close() }
        for pump in pumps { pump.cancel() }
    }
}
