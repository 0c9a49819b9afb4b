import PeerConnection
import Signaling
import Testing

@testable import rtc_peer

@Suite struct TransferMeetings {
    private final class Pair: Sendable {
        let meetings: [TransferMeeting]
        private let tasks: [Task<Void, Never>]

        init(url: String) async throws {
            var meetings: [TransferMeeting] = []
            for side in [TransferMeeting.Side.first, .second] {
                meetings.append(
                    try TransferMeeting(
                        options: .init(
                            side: side,
                            code: "amber-otter-lemon",
                            iceServers: [],
                            paired: { _ in },
                            note: { _ in }
                        ),
                        client: try SignalingClient(url: url, room: "4821", name: "\(side)")
                    )
                )
            }
            self.meetings = meetings
            tasks = meetings.map { meeting in Task { await meeting.run() } }
        }

        func end() async {
            for meeting in meetings { await meeting.leave() }
            for task in tasks { await task.value }
        }
    }

    private func withPair(_ work: (Pair) async throws -> Void) async throws {
        var configuration = SignalingServerConfiguration()
        configuration.host = "127.0.0.1"
        configuration.port = 0
        let server = SignalingServer(configuration: configuration)
        let pair = try await Pair(url: server.start().url)
        try await work(pair)
        await pair.end()
        await server.stop()
    }

    /// Nobody but the link itself says that it was lost.
    @Test(.timeLimit(.minutes(1)), arguments: [0, 1])
    func aLostConnectionIsMadeAgain(closing: Int) async throws {
        try await withPair { pair in
            var connections = pair.meetings.map { $0.connections.makeAsyncIterator() }
            for _ in 0..<4 {
                let first = try await connections[0].next()
                let second = try await connections[1].next()
                let both = [try #require(first), try #require(second)]
                #expect(both.allSatisfy { $0.channel.readyState == .open })
                both[closing].link.connection.close()
            }
        }
    }

    /// The transfer says so too, while the link is already being replaced.
    @Test(.timeLimit(.minutes(1))) func aConnectionGivenUpTwiceIsReplacedOnce() async throws {
        try await withPair { pair in
            var connections = pair.meetings.map { $0.connections.makeAsyncIterator() }
            for _ in 0..<4 {
                _ = try await connections[0].next()
                let second = try await connections[1].next()
                let lost = try #require(second)
                async let once: Void = pair.meetings[1].giveUp(lost)
                async let twice: Void = pair.meetings[1].giveUp(lost)
                _ = await (once, twice)
            }
        }
    }
}
