import JSON
import NIOCore
import SansIO
import Signaling
import Testing

@Suite("Two roads")
struct TwoRoads {
    /// Two ends whose roads are queues that the test empties when it likes.
    private struct Ends {
        var ends = [SignalingRoads(stream: "a"), SignalingRoads(stream: "b")]
        /// What is under way to each end.
        var server: [[SignalingRoads.Transmit]] = [[], []]
        var channel: [[String]] = [[], []]
        var said: [[SignalingMessage]] = [[], []]
        var heard: [[SignalingMessage]] = [[], []]
        var channelIsOpen = false
        var now = NIODeadline.uptimeNanoseconds(1_000_000_000)

        mutating func say(_ message: SignalingMessage, from end: Int) {
            said[end].append(message)
            ends[end].send(message)
            drain()
        }

        mutating func openChannel() {
            channelIsOpen = true
            for end in 0...1 { ends[end].channelOpened(at: now) }
            drain()
        }

        /// Brings the next message of a road.
        mutating func arrive(_ road: SignalingRoads.Road, at end: Int) throws {
            switch road {
            case .server where !server[end].isEmpty:
                let next = server[end].removeFirst()
                if let message = next.message { ends[end].receive(message, next.order) }
            case .channel where !channel[end].isEmpty:
                try ends[end].receive(text: channel[end].removeFirst().utf8, at: now)
            default: break
            }
            drain()
        }

        mutating func arriveAll(_ road: SignalingRoads.Road) throws {
            while !(road == .server ? server.allSatisfy(\.isEmpty) : channel.allSatisfy(\.isEmpty)) {
                for end in 0...1 { try arrive(road, at: end) }
            }
        }

        /// The server has lost what was under way, and both ends have new places.
        mutating func restartServer() {
            server = [[], []]
            for end in 0...1 { ends[end].serverForgot() }
            drain()
        }

        mutating func drain() {
            for end in 0...1 {
                while let transmit = ends[end].nextTransmit() {
                    switch transmit.road {
                    case .server: server[1 - end].append(transmit)
                    case .channel: channel[1 - end].append(transmit.channelText)
                    }
                }
                while let message = ends[end].nextMessage() { heard[end].append(message) }
            }
        }
    }

    private func candidate(_ number: Int) -> SignalingMessage { .candidate(.init(candidate: "candidate:\(number)")) }

    @Test("before there is a channel, everything goes through the server alone, and once")
    func serverAlone() throws {
        var ends = Ends()
        ends.say(.offer(sdp: "o"), from: 0)
        ends.say(candidate(1), from: 0)
        #expect(!ends.ends[1].isOrdered)
        try ends.arriveAll(.server)
        #expect(ends.ends[1].isOrdered)
        ends.say(.answer(sdp: "a"), from: 1)
        try ends.arriveAll(.server)
        #expect(ends.heard == [[.answer(sdp: "a")], [.offer(sdp: "o"), candidate(1)]])
        #expect(ends.channel == [[], []])
        // The answer has acknowledged the offer and its candidate.
        #expect(!ends.ends[0].hasUnacknowledged)
    }

    @Test("what the server keeps to itself comes along the channel, and counts no more when the server says it too")
    func serverGone() throws {
        var ends = Ends()
        ends.say(.offer(sdp: "o"), from: 0)
        try ends.arriveAll(.server)
        ends.say(.answer(sdp: "a"), from: 1)
        try ends.arriveAll(.server)
        ends.openChannel()
        try ends.arriveAll(.channel)
        ends.say(.offer(sdp: "restart"), from: 0)
        ends.say(candidate(2), from: 0)
        try ends.arriveAll(.channel)
        #expect(ends.heard[1] == [.offer(sdp: "o"), .offer(sdp: "restart"), candidate(2)])
        ends.say(.answer(sdp: "again"), from: 1)
        try ends.arriveAll(.channel)
        #expect(ends.heard[0] == [.answer(sdp: "a"), .answer(sdp: "again")])
        try ends.arriveAll(.server)
        #expect(ends.heard == [ends.said[1], ends.said[0]])
        #expect(ends.ends[1].counts.duplicates == 2)
        #expect(ends.ends[0].counts.duplicates == 1)
    }

    @Test("a candidate that overtakes its offer waits for it")
    func overtaking() throws {
        var ends = Ends()
        ends.say(.offer(sdp: "o"), from: 0)
        try ends.arriveAll(.server)
        ends.say(candidate(1), from: 1)
        try ends.arriveAll(.server)
        // Under way to the server when the channel opens.
        ends.say(.offer(sdp: "new"), from: 0)
        ends.openChannel()
        // Only then is it said what has come.
        ends.say(candidate(2), from: 0)
        let late = ends.server[1].removeFirst()
        try ends.arrive(.server, at: 1)
        #expect(ends.heard[1] == [.offer(sdp: "o")])
        ends.server[1].append(late)
        try ends.arrive(.server, at: 1)
        #expect(ends.heard[1] == ends.said[0])
        try ends.arriveAll(.channel)
        #expect(ends.heard[1] == ends.said[0])
    }

    @Test("what the server lost comes along the channel as soon as it opens")
    func repeatedOnOpening() throws {
        var ends = Ends()
        ends.say(.offer(sdp: "o"), from: 0)
        try ends.arriveAll(.server)
        ends.say(.answer(sdp: "a"), from: 1)
        ends.say(candidate(1), from: 1)
        try ends.arrive(.server, at: 0)
        ends.server = [[], []]
        ends.openChannel()
        try ends.arriveAll(.channel)
        #expect(ends.heard[0] == ends.said[1])
        #expect(ends.ends.allSatisfy { !$0.hasUnacknowledged })
    }

    @Test(
        "whatever the roads lose, hold back and repeat, each side hears all that the other said, once and in order",
        arguments: 1...200
    )
    func anyOrder(seed: UInt64) throws {
        var random = RandomSource(seed: seed)
        var ends = Ends()
        for number in 0..<400 {
            // A second for fifty: no more than the channel lets through.
            ends.now = ends.now + .milliseconds(100)
            let end = Int.random(in: 0...1, using: &random)
            switch Int.random(in: 0..<100, using: &random) {
            case ..<25: ends.say(candidate(number), from: end)
            case ..<30: ends.say(.offer(sdp: "\(number)"), from: end)
            case ..<60: try ends.arrive(.server, at: end)
            case ..<90: try ends.arrive(.channel, at: end)
            case ..<91: ends.restartServer()
            case ..<92: if !ends.channelIsOpen, ends.ends.allSatisfy(\.isOrdered) { ends.openChannel() }
            case ..<93:
                // The connection to the server breaks for one side, with what was under way to it.
                ends.server[end] = []
            default: break
            }
        }
        // One road is enough in the end.
        if seed.isMultiple(of: 2), ends.channelIsOpen { ends.server = [[], []] } else { ends.restartServer() }
        ends.now = ends.now + .seconds(60)
        try ends.arriveAll(seed.isMultiple(of: 2) && ends.channelIsOpen ? .channel : .server)
        #expect(ends.heard[0] == ends.said[1], "seed \(seed)")
        #expect(ends.heard[1] == ends.said[0], "seed \(seed)")
        #expect(ends.ends.allSatisfy { $0.counts.skipped == 0 }, "seed \(seed)")
    }

    // MARK: Others

    @Test("a peer that numbers nothing is heard as before, and gets no channel")
    func olderPeer() {
        var end = SignalingRoads(stream: "a")
        end.receive(.answer(sdp: "x"), nil)
        end.receive(.answer(sdp: "x"), nil)
        #expect(end.nextMessage() == .answer(sdp: "x"))
        #expect(end.nextMessage() == .answer(sdp: "x"))
        #expect(!end.isOrdered)
    }

    @Test("a peer that begins anew is followed through the server, and not along the channel of the old connection")
    func newStream() throws {
        var end = SignalingRoads(stream: "a")
        end.receive(candidate(9), SignalingOrder(stream: "old", sequence: 9, first: 9))
        end.channelOpened(at: .uptimeNanoseconds(0))
        let strange = ChannelMessage.relay(candidate(1), SignalingOrder(stream: "new", sequence: 1, first: 1))
        try end.receive(text: strange.text.utf8, at: .uptimeNanoseconds(0))
        #expect(end.nextMessage() == candidate(9))
        #expect(end.nextMessage() == nil)
        #expect(end.counts.strangers == 1)
        end.receive(.offer(sdp: "o"), SignalingOrder(stream: "new", sequence: 1, first: 1))
        #expect(end.nextMessage() == .offer(sdp: "o"))
    }

    @Test("acknowledgements of an older numbering count for nothing")
    func foreignAcknowledgement() {
        var end = SignalingRoads(stream: "a")
        end.send(.offer(sdp: "o"))
        end.receive(candidate(1), SignalingOrder(stream: "b", sequence: 1, first: 1, peerStream: "z", acknowledged: 1))
        #expect(end.hasUnacknowledged)
        end.receive(candidate(2), SignalingOrder(stream: "b", sequence: 2, first: 1, peerStream: "a", acknowledged: 1))
        #expect(!end.hasUnacknowledged)
    }

    // MARK: Limits

    @Test("what is kept has a limit, and nobody waits for what was given up")
    func keptLimit() throws {
        var ends = Ends()
        ends.say(candidate(0), from: 0)
        try ends.arriveAll(.server)
        let count = SignalingRoads.maxKeptMessages + 10
        for number in 1...count { ends.say(candidate(number), from: 0) }
        ends.restartServer()
        #expect(ends.server[1].count == SignalingRoads.maxKeptMessages)
        try ends.arriveAll(.server)
        #expect(ends.heard[1].count == SignalingRoads.maxKeptMessages + 1)
        #expect(ends.heard[1].last == candidate(count))
        #expect(ends.ends[1].counts.skipped == 1)
    }

    @Test("large descriptions are kept up to a limit, the newest always")
    func keptBytes() {
        var end = SignalingRoads(stream: "a")
        let large = String(repeating: "x", count: SignalingRoads.maxBytes)
        for number in 0..<3 { end.send(.offer(sdp: "\(number)" + large)) }
        while end.nextTransmit() != nil {}
        end.serverForgot()
        #expect(end.nextTransmit()?.order.sequence == 3)
        #expect(end.nextTransmit() == nil)
    }

    @Test("messages that wait for one that never comes go on without it beyond a limit")
    func heldLimit() {
        var end = SignalingRoads(stream: "a")
        var heard: [SignalingMessage] = []
        for number in 2...(SignalingRoads.maxHeldMessages + 2) {
            end.receive(candidate(number), SignalingOrder(stream: "b", sequence: number, first: 1))
            while let message = end.nextMessage() { heard.append(message) }
            if number < SignalingRoads.maxHeldMessages + 2 { #expect(heard == []) }
        }
        #expect(heard == (2...(SignalingRoads.maxHeldMessages + 2)).map(candidate))
        end.receive(candidate(1), SignalingOrder(stream: "b", sequence: 1, first: 1))
        #expect(end.nextMessage() == nil)
        // Numbers that only a liar has.
        let largest = 9_007_199_254_740_992
        end.receive(candidate(7), SignalingOrder(stream: "b", sequence: largest, first: largest))
        #expect(end.nextMessage() == candidate(7))
        end.receive(candidate(8), SignalingOrder(stream: "b", sequence: 3, first: largest))
        #expect(end.nextMessage() == nil)
    }

    @Test("a channel along which too much comes is refused")
    func rate() throws {
        var end = SignalingRoads(stream: "a")
        let limits = SignalingLimits()
        end.channelOpened(at: .uptimeNanoseconds(0))
        func text(_ number: Int) -> String {
            ChannelMessage.relay(candidate(number), SignalingOrder(stream: "b", sequence: number, first: 1)).text
        }
        for number in 1...limits.messageBurst { try end.receive(text: text(number).utf8, at: .uptimeNanoseconds(0)) }
        var refused: SignalingError?
        do throws(SignalingError) {
            try end.receive(text: text(limits.messageBurst + 1).utf8, at: .uptimeNanoseconds(0))
        } catch { refused = error }
        #expect(refused?.code == .rateLimited)
        // A second later some more may come.
        try end.receive(text: text(limits.messageBurst + 1).utf8, at: .uptimeNanoseconds(1_000_000_000))
    }

    @Test(
        "what no peer says along a channel is refused, in words",
        arguments: [
            "", "{", "[]", "{}", #"{"type":"offer","sdp":"v=0"}"#, #"{"type":"ack"}"#, #"{"type":"ack","order":7}"#,
            #"{"type":"ack","order":{"stream":""}}"#, #"{"type":"ack","order":{"stream":"b","seq":-1}}"#,
            #"{"type":"ack","order":{"stream":"b","seq":1.5}}"#, #"{"type":"ack","order":{"stream":"b","of":""}}"#,
            #"{"type":"offer","order":{"stream":"b","seq":1,"first":1}}"#,
            #"{"type":"ack","order":{"stream":"0123456789012345678901234567890123456789012345678901234567890123456789"}}"#,
        ]
    )
    func hostile(text: String) {
        var end = SignalingRoads(stream: "a")
        end.channelOpened(at: .uptimeNanoseconds(0))
        #expect(throws: SignalingError.self) { try end.receive(text: text.utf8, at: .uptimeNanoseconds(0)) }
        #expect(end.nextMessage() == nil)
        #expect(!end.isOrdered)
    }

    @Test("a message above the limit is refused unread; what only a newer peer says is left out")
    func largeAndNew() throws {
        var end = SignalingRoads(stream: "a")
        end.channelOpened(at: .uptimeNanoseconds(0))
        try end.receive(text: #"{"type":"weather","is":"fine"}"#.utf8, at: .uptimeNanoseconds(0))
        try end.receive(text: #"{"type":"bye"}"#.utf8, at: .uptimeNanoseconds(0))
        #expect(end.nextMessage() == nil)
        let large = [UInt8](repeating: 0x20, count: SignalingRoads.maxMessageBytes + 1)
        #expect(throws: SignalingError.self) { try end.receive(text: large, at: .uptimeNanoseconds(0)) }
        end.channelClosed()
        // Whatever still comes of a closed one is nothing.
        try end.receive(text: large, at: .uptimeNanoseconds(0))
    }

    @Test("every message of a channel reads as it was written")
    func roundTrip() throws {
        let order = SignalingOrder(stream: "b", sequence: 3, first: 2, peerStream: "a", acknowledged: 9)
        let messages: [ChannelMessage] = [
            .relay(.offer(sdp: "é\"\r\n"), order), .relay(.answer(sdp: ""), order), .relay(candidate(1), order),
            .relay(.candidate(nil), .init(stream: "b", sequence: 1, first: 1)),
            .acknowledgement(order), .acknowledgement(.init(stream: "b", sequence: 0, first: 1)),
        ]
        for message in messages { #expect(try ChannelMessage(parsing: message.text.utf8) == message) }
    }
}
