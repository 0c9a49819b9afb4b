import Locking
import PeerConnection
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
        let pair = try PeerPair { end, event in
            guard end == 0, case .chat = event else { return }
            held.withLock { $0.append(event) }
            arrival.yield()
        }
        try await pair.connect()
        try await #require(await pair.peers[1].chat).waitUntilOpen()
        for number in 0..<count { await pair.peers[1].say("\(number)") }
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
        await pair.end()
    }
}
