import PeerConnection
import Signaling
import Testing

@testable import rtc_peer

@Suite struct TransferMeetings {
    private struct Pair {
        let meetings: [TransferMeeting]
    }

    private func meeting(
        _ side: TransferMeeting.Side,
        _ url: String,
        patience: Duration? = nil
    ) throws -> TransferMeeting {
        try TransferMeeting(
            options: .init(
                side: side,
                code: "amber-otter-lemon",
                patience: patience,
                paired: { _ in },
                note: { _ in }
            ),
            client: try SignalingClient(url: url, room: "4821", name: "\(side)")
        )
    }

    private func withServer(_ work: (_ url: String) async throws -> Void) async throws {
        var configuration = SignalingServerConfiguration()
        configuration.host = "127.0.0.1"
        configuration.port = 0
        let server = SignalingServer(configuration: configuration)
        try await work(server.start().url)
        await server.stop()
    }

    private func withPair(_ work: (Pair) async throws -> Void) async throws {
        try await withServer { url in
            let pair = Pair(meetings: try [.first, .second].map { try meeting($0, url) })
            let tasks = pair.meetings.map { meeting in Task { await meeting.run() } }
            try await work(pair)
            for meeting in pair.meetings { await meeting.leave() }
            for task in tasks { await task.value }
        }
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

    @Test(.timeLimit(.minutes(1)), arguments: [0, 1])
    func whoLeavesForGoodIsNotWaitedFor(leaving: Int) async throws {
        try await withPair { pair in
            var connections = pair.meetings.map { $0.connections.makeAsyncIterator() }
            for side in [0, 1] { _ = try await connections[side].next() }
            await pair.meetings[leaving].sayFarewell()
            await pair.meetings[leaving].leave()
            do {
                let another = try await connections[1 - leaving].next()
                Issue.record("\(String(describing: another)) instead of an end")
            } catch MeetingError.ended {}
        }
    }

    @Test(.timeLimit(.minutes(1)), arguments: [TransferMeeting.Side.first, .second])
    func whoDoesNotComeIsWaitedForSoLong(side: TransferMeeting.Side) async throws {
        try await withServer { url in
            let meeting = try meeting(side, url, patience: .milliseconds(300))
            let running = Task { await meeting.run() }
            var connections = meeting.connections.makeAsyncIterator()
            do {
                _ = try await connections.next()
                Issue.record("nobody was to come")
            } catch MeetingError.nobodyCame {}
            await meeting.leave()
            await running.value
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
                async let once = pair.meetings[1].giveUp(lost)
                async let twice = pair.meetings[1].giveUp(lost)
                let goesOn = await [once, twice]
                #expect(goesOn == [true, true])
            }
        }
    }
}
