import Locking
import PeerConnection
import Signaling
import Testing
import TimeSharing

@testable import FileTransfer
@testable import PAKE
@testable import rtc_peer

@Suite(.realTime) struct TransferMeetings {
    private struct Pair {
        let meetings: [TransferMeeting]
    }

    private func meeting(
        _ side: TransferMeeting.Side,
        _ url: String,
        patience: Duration? = nil,
        patienceAgain: Duration? = nil,
        resumption: [UInt8]? = nil,
        exchangePatience: Duration = .seconds(10),
        note: @escaping @Sendable (String) -> Void = { _ in },
        waits: @escaping @Sendable (String) -> Void = { _ in }
    ) throws -> TransferMeeting {
        try TransferMeeting(
            options: .init(
                side: side,
                code: resumption == nil ? "amber-otter-lemon" : nil,
                resumption: resumption,
                patience: patience,
                patienceAgain: patienceAgain,
                exchangePatience: exchangePatience,
                paired: { _ in },
                note: note,
                waits: waits
            ),
            client: try SignalingClient(url: url, room: "4821", name: "\(side)", waitsForPlace: true)
        )
    }

    private func withServer(places: Int = 8, _ work: (_ url: String) async throws -> Void) async throws {
        var configuration = SignalingServerConfiguration()
        configuration.limits.maxPeersPerRoom = places
        configuration.host = "127.0.0.1"
        configuration.port = 0
        let server = SignalingServer(configuration: configuration)
        try await work(server.start().url)
        await server.stop()
    }

    private func withPair(patienceAgain: Duration? = nil, _ work: (Pair) async throws -> Void) async throws {
        try await withServer { url in
            let pair = Pair(meetings: try [.first, .second].map { try meeting($0, url, patienceAgain: patienceAgain) })
            let tasks = pair.meetings.map { meeting in Task { await meeting.run() } }
            try await work(pair)
            for meeting in pair.meetings { await meeting.leave() }
            for task in tasks { await task.value }
        }
    }

    /// Nobody but the link itself says that it was lost.
    @Test(.timeLimit(.minutes(10)), arguments: [0, 1])
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

    @Test(.timeLimit(.minutes(10)), arguments: [0, 1])
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

    @Test(.timeLimit(.minutes(10)), arguments: [TransferMeeting.Side.first, .second])
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

    @Test(.timeLimit(.minutes(10)), arguments: [0, 1])
    func whoIsLostIsWaitedForSoLong(leaving: Int) async throws {
        try await withGrowingPatience { patience in
            try await withPair(patienceAgain: patience) { pair in
                var connections = pair.meetings.map { $0.connections.makeAsyncIterator() }
                for side in [0, 1] { _ = try await connections[side].next() }
                await pair.meetings[leaving].leave()
                do {
                    let another = try await connections[1 - leaving].next()
                    Issue.record("\(String(describing: another)) instead of an end")
                } catch MeetingError.stayedAway {}
            }
        }
    }

    /// Longer than it takes to connect again, and shorter than all of it.
    @Test(.timeLimit(.minutes(10))) func aWaitThatCameToItsEndIsOver() async throws {
        try await withGrowingPatience { patience in
            try await withPair(patienceAgain: patience) { pair in
                var connections = pair.meetings.map { $0.connections.makeAsyncIterator() }
                for _ in 0..<4 {
                    let first = try await connections[0].next()
                    _ = try await connections[1].next()
                    try await Task.sleep(for: patience * 0.3)
                    try #require(first).link.connection.close()
                }
            }
        }
    }

    /// On a machine that is busy with other tests a connection may take longer than the wait: then with a longer one.
    private func withGrowingPatience(_ work: (Duration) async throws -> Void) async throws {
        for seconds in [3, 12, 48] {
            do {
                return try await work(.seconds(seconds))
            } catch MeetingError.noConnection {
            } catch MeetingError.stayedAway {}
        }
        try await work(.seconds(120))
    }

    /// The transfer says so too, while the link is already being replaced.
    @Test(.timeLimit(.minutes(10))) func aConnectionGivenUpTwiceIsReplacedOnce() async throws {
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

    /// A sender that was killed before it knew that all had come, and is back.
    @Test(.timeLimit(.minutes(10))) func whoHasAllIsThereForASenderThatDoesNotKnow() async throws {
        try await withPair { pair in
            let show = TransferOutput(isJSON: true)
            let runCount = Mutex(0)
            async let outcome = TransferRun.run(
                pair.meetings[0],
                show: show,
                progress: TransferProgress(show, verb: "receiving"),
                advice: ""
            ) { channel in
                for await _ in channel.messages {}
                var summary = TransferSummary()
                summary.files = runCount.withLock { count in
                    count += 1
                    return count
                }
                summary.isAcknowledged = summary.files == 3
                return summary
            }
            var connections = pair.meetings[1].connections.makeAsyncIterator()
            for _ in 0..<2 {
                let lost = try #require(try await connections.next())
                #expect(await pair.meetings[1].giveUp(lost))
            }
            let last = try #require(try await connections.next())
            last.channel.close()
            guard case .finished(let summary) = try await outcome else {
                Issue.record("interrupted")
                return
            }
            #expect(runCount.withLock { $0 } == 3)
            #expect(summary.files == 1)
        }
    }

    /// A sender that does not come again changes nothing of what is here.
    @Test(.timeLimit(.minutes(10))) func whoHasAllWaitsForNobodyElse() async throws {
        try await withPair { pair in
            let show = TransferOutput(isJSON: true)
            async let outcome = TransferRun.run(
                pair.meetings[0],
                show: show,
                progress: TransferProgress(show, verb: "receiving"),
                advice: ""
            ) { channel in
                for await _ in channel.messages {}
                var summary = TransferSummary()
                summary.isAcknowledged = false
                return summary
            }
            var connections = pair.meetings[1].connections.makeAsyncIterator()
            _ = try #require(try await connections.next())
            await pair.meetings[1].sayFarewell()
            await pair.meetings[1].leave()
            guard case .finished = try await outcome else {
                Issue.record("interrupted")
                return
            }
        }
    }

    // MARK: Strangers, and those who look like one

    /// Somebody in the room who says what a test wants said.
    private struct Stranger {
        let client: SignalingClient

        init(_ url: String) throws {
            client = try SignalingClient(url: url, room: "4821", name: "stranger")
        }

        /// Joins, and finds the only one who is there.
        func join() async throws -> SignalingPeerID {
            for await event in client.events {
                if case .joined(let place, _) = event {
                    guard let first = place.peers.first else { break }
                    return first.id
                }
            }
            throw MeetingError.over
        }

        /// Begins an exchange of keys.
        @discardableResult
        func begin(_ secret: Pairing.Secret, with id: SignalingPeerID) throws -> Pairing {
            let pairing = try Pairing(
                role: .initiator,
                secret: secret,
                fingerprint: [UInt8](repeating: 1, count: 32),
                random: [UInt8](repeating: 2, count: 48)
            )
            client.send(.pake(try #require(pairing.begin())), to: id)
            return pairing
        }

        /// The whole exchange.
        func pair(_ secret: Pairing.Secret, with id: SignalingPeerID) async throws {
            let pairing = try begin(secret, with: id)
            while true {
                switch try pairing.receive(try await answer()) {
                case .send(let reply): client.send(.pake(reply), to: id)
                case .done(_, let reply):
                    if let reply { client.send(.pake(reply), to: id) }
                    return
                }
            }
        }

        /// The answer.
        func answer() async throws -> String {
            for await event in client.events {
                if case .message(.pake(let text), _, _) = event { return text }
            }
            throw MeetingError.over
        }
    }

    /// A first that runs while `work` goes on, and what it tells its user.
    private func withFirst(
        _ url: String,
        resumption: [UInt8]? = nil,
        patienceAgain: Duration? = nil,
        exchangePatience: Duration = .seconds(10),
        _ work: (TransferMeeting, NoteLog) async throws -> Void
    ) async throws {
        let notes = NoteLog()
        let first = try meeting(
            .first,
            url,
            patienceAgain: patienceAgain,
            resumption: resumption,
            exchangePatience: exchangePatience,
            note: { notes.add($0) }
        )
        let joined = Task { await first.run() }
        try await work(first, notes)
        await first.leave()
        await joined.value
    }

    /// Joins once the first is there.
    private func newStranger(_ url: String) async throws -> (Stranger, SignalingPeerID) {
        while true {
            let stranger = try Stranger(url)
            if let id = try? await stranger.join() { return (stranger, id) }
            await stranger.client.leave()
        }
    }

    @Test(.timeLimit(.minutes(10))) func anExchangeThatIsLeftOpenIsAGuess() async throws {
        try await withServer { url in
            try await withFirst(url, exchangePatience: .milliseconds(100)) { first, _ in
                let (stranger, id) = try await newStranger(url)
                try stranger.begin(.code("amber-otter-lemon"), with: id)
                var connections = first.connections.makeAsyncIterator()
                do {
                    _ = try await connections.next()
                    Issue.record("somebody came through")
                } catch MeetingError.codeWasGuessed {}
                await stranger.client.leave()
            }
        }
    }

    @Test(.timeLimit(.minutes(10))) func whoComesDuringAStrangersExchangeHearsOfIt() async throws {
        try await withServer { url in
            try await withFirst(url, exchangePatience: .seconds(600)) { _, _ in
                let (stranger, id) = try await newStranger(url)
                try stranger.begin(.code("amber-otter-lemon"), with: id)
                let answer = try await stranger.answer()
                #expect(answer.hasPrefix("share "))
                let second = try meeting(.second, url)
                let running = Task { await second.run() }
                var connections = second.connections.makeAsyncIterator()
                do {
                    _ = try await connections.next()
                    Issue.record("somebody came through")
                } catch MeetingError.refused(let words) {
                    #expect(words.contains("just now"))
                }
                await second.leave()
                await running.value
                await stranger.client.leave()
            }
        }
    }

    /// As when a firewall lets nothing through, or the other side is no honest one.
    @Test(.timeLimit(.minutes(10))) func whoPairsAndDoesNotConnectIsWaitedForSoLong() async throws {
        try await withServer { url in
            try await withFirst(url, patienceAgain: .milliseconds(200)) { first, _ in
                let (stranger, id) = try await newStranger(url)
                try await stranger.pair(.code("amber-otter-lemon"), with: id)
                var connections = first.connections.makeAsyncIterator()
                do {
                    _ = try await connections.next()
                    Issue.record("somebody came through")
                } catch MeetingError.noConnection {}
                await stranger.client.leave()
            }
        }
    }

    /// Neither is left without a word.
    @Test(.timeLimit(.minutes(10)), arguments: [nil, [UInt8](repeating: 7, count: 32)] as [[UInt8]?])
    func whoHasLostItsMemoryIsTold(kept: [UInt8]?) async throws {
        try await withServer { url in
            try await withFirst(url, resumption: [UInt8](repeating: 8, count: 32)) { _, notes in
                let second = try meeting(.second, url, resumption: kept)
                let running = Task { await second.run() }
                var connections = second.connections.makeAsyncIterator()
                do {
                    _ = try await connections.next()
                    Issue.record("it came through")
                } catch MeetingError.refused(let words) {
                    #expect(kept == nil && words.contains("code was used already. If that was you"))
                } catch MeetingError.memoryDiffers {
                    #expect(kept != nil)
                }
                #expect(await notes.first().contains("lost what it kept"))
                await second.leave()
                await running.value
            }
        }
    }

    @Test(.timeLimit(.minutes(10))) func whoGoesOnWaitsForAStrangersExchange() async throws {
        let secret = [UInt8](repeating: 8, count: 32)
        try await withServer { url in
            try await withFirst(url, resumption: secret, exchangePatience: .seconds(2)) { _, _ in
                let (stranger, id) = try await newStranger(url)
                try stranger.begin(.resumption(secret), with: id)
                _ = try await stranger.answer()
                let second = try meeting(.second, url, resumption: secret)
                let running = Task { await second.run() }
                var connections = second.connections.makeAsyncIterator()
                let connection = try await connections.next()
                #expect(connection != nil)
                await second.leave()
                await running.value
                await stranger.client.leave()
            }
        }
    }

    /// The second's last word came too late: it believes that the two have paired.
    @Test(.timeLimit(.minutes(10))) func aFirstThatGaveTheExchangeUpIsAskedAgain() async throws {
        let secret = [UInt8](repeating: 8, count: 32)
        try await withServer { url in
            let first = try Stranger(url)
            var events = first.client.events.makeAsyncIterator()
            let joined = await events.next()
            guard case .joined? = joined else { throw MeetingError.over }
            let second = try meeting(.second, url, resumption: secret)
            let running = Task { await second.run() }
            var hellos = 0
            while hellos < 2, let event = await events.next() {
                guard case .message(.pake(let text), let id, _) = event else { continue }
                if text.hasPrefix("hello ") {
                    hellos += 1
                    let pairing = try Pairing(
                        role: .responder,
                        secret: .resumption(secret),
                        fingerprint: [UInt8](repeating: 1, count: 32),
                        random: [UInt8](repeating: 2, count: 48)
                    )
                    guard case .send(let reply) = try pairing.receive(text) else { continue }
                    first.client.send(.pake(reply), to: id)
                } else if text.hasPrefix("confirm ") {
                    first.client.send(.pake(Pairing.refusal("somebody else is just pairing; try again")), to: id)
                }
            }
            #expect(hellos == 2)
            await second.leave()
            await running.value
            await first.client.leave()
        }
    }

    /// A second was killed between its last word and the first's hearing it, and comes again.
    @Test(.timeLimit(.minutes(10))) func whoGoesOnBeforeTheFirstKnowsIsToldToTryAgain() async throws {
        try await withServer { url in
            try await withFirst(url) { _, _ in
                let (killed, id) = try await newStranger(url)
                try killed.begin(.code("amber-otter-lemon"), with: id)
                _ = try await killed.answer()
                let (again, _) = try await newStranger(url)
                try again.begin(.resumption([UInt8](repeating: 8, count: 32)), with: id)
                #expect(try await again.answer().contains("try again"))
                await again.client.leave()
                await killed.client.leave()
            }
        }
    }

    /// Strangers hold every place but the first's: who was told the code comes in as soon as one of them goes.
    @Test(.timeLimit(.minutes(10))) func whoFindsTheRoomFullTriesAgain() async throws {
        try await withServer(places: 2) { url in
            try await withFirst(url) { _, _ in
                let (stranger, _) = try await newStranger(url)
                let (notes, waits) = (NoteLog(), NoteLog())
                let second = try meeting(.second, url, note: { notes.add($0) }, waits: { waits.add($0) })
                let running = Task { await second.run() }
                #expect(await waits.first().contains("room of this code is full"))
                await stranger.client.leave()
                var connections = second.connections.makeAsyncIterator()
                let connection = try await connections.next()
                #expect(connection != nil)
                // Told once, however often it tried, and not as a server that does not answer.
                #expect(waits.all.count == 1 && notes.all.isEmpty, "\(waits.all) \(notes.all)")
                await second.leave()
                await running.value
            }
        }
    }

    @Test(.timeLimit(.minutes(10))) func aRoomThatStaysFullIsWaitedForSoLong() async throws {
        try await withServer(places: 2) { url in
            try await withFirst(url) { _, _ in
                let (stranger, _) = try await newStranger(url)
                var toldCount = 0
                // Longer than the first attempts take, or nobody has heard yet that it is full.
                for seconds in [1, 8, 64] {
                    let waits = NoteLog()
                    let second = try meeting(.second, url, patience: .seconds(seconds), waits: { waits.add($0) })
                    let running = Task { await second.run() }
                    var connections = second.connections.makeAsyncIterator()
                    var isTold = false
                    do {
                        _ = try await connections.next()
                        Issue.record("there was no place")
                    } catch MeetingError.roomFull {
                        isTold = true
                    } catch MeetingError.nobodyCame {}
                    await second.leave()
                    await running.value
                    toldCount = waits.all.count
                    if isTold { break }
                }
                #expect(toldCount == 1)
                #expect("\(MeetingError.roomFull)".contains("--wait"))
                await stranger.client.leave()
            }
        }
    }

    /// Who has just made a code up makes another one up; nobody was told the first.
    @Test(.timeLimit(.minutes(10))) func aFirstWithoutAPlaceEndsAtOnce() async throws {
        try await withServer(places: 1) { url in
            // Somebody who surely has the only place.
            let stranger = try Stranger(url)
            for await event in stranger.client.events { if case .joined = event { break } }
            let first = try meeting(.first, url)
            let running = Task { await first.run() }
            var connections = first.connections.makeAsyncIterator()
            do {
                _ = try await connections.next()
                Issue.record("there was no place")
            } catch MeetingError.roomFull {}
            await first.leave()
            await running.value
            await stranger.client.leave()
        }
    }

    @Test(.timeLimit(.minutes(10))) func strangersInTheRoomAreToldOnce() async throws {
        try await withServer { url in
            try await withFirst(url) { _, notes in
                var strangers: [Stranger] = []
                for _ in 0..<4 { strangers.append(try await newStranger(url).0) }
                #expect(await notes.first().contains("Strangers are in the room"))
                for stranger in strangers { await stranger.client.leave() }
                #expect(notes.all.count == 1)
            }
        }
    }
}

/// What a meeting tells its user.
private final class NoteLog: Sendable {
    private let notes = Mutex<[String]>([])
    var all: [String] { notes.withLock { $0 } }
    func add(_ note: String) { notes.withLock { $0.append(note) } }

    /// Waits for it.
    func first() async -> String {
        while true {
            if let note = all.first { return note }
            try? await Task.sleep(for: .milliseconds(10))
        }
    }
}
