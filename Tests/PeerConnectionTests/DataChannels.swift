import PeerConnection
import Testing
import TimeSharing

@Suite(.realTime) struct DataChannels {
    @Test(.timeLimit(.minutes(10))) func messagesGoBothWays() async throws {
        let pair = try ConnectedPair()
        let channel = try pair.first.createDataChannel("chat")
        let events = pair.second.events
        try await pair.negotiate()
        try await channel.waitUntilOpen()
        var other: RTCDataChannel?
        for await event in events {
            if case .dataChannel(let incoming) = event {
                other = incoming
                break
            }
        }
        let incoming = try #require(other)
        #expect(incoming.label == "chat")
        try channel.send("hello")
        try channel.send([1, 2, 3] as [UInt8])
        try channel.send("")
        var messages = incoming.messages.makeAsyncIterator()
        #expect(await messages.next() == .text("hello"))
        #expect(await messages.next() == .binary([1, 2, 3]))
        #expect(await messages.next() == .text(""))
        try incoming.send("back")
        var answers = channel.messages.makeAsyncIterator()
        #expect(await answers.next() == .text("back"))
        incoming.close()
        #expect(await answers.next() == nil)
        #expect(channel.readyState == .closed)
    }

    /// A reader slower than the sender: its window closes and opens many times, and nothing is lost.
    @Test(.timeLimit(.minutes(10))) func aSlowReaderGetsEverything() async throws {
        let pair = try ConnectedPair()
        let channel = try pair.first.createDataChannel("bulk")
        let events = pair.second.events
        try await pair.negotiate()
        try await channel.waitUntilOpen()
        channel.bufferedAmountLowThreshold = 256 << 10
        let sending = Task {
            for index in 0..<320 {
                try channel.send([UInt8](repeating: UInt8(index & 0xFF), count: 64 << 10))
                if channel.bufferedAmount > 1 << 20 { await channel.waitUntilBufferedAmountIsLow() }
            }
        }
        var received = 0
        for await event in events {
            guard case .dataChannel(let incoming) = event else { continue }
            for await message in incoming.messages {
                guard case .binary(let bytes) = message else { continue }
                #expect(bytes.count == 64 << 10 && bytes.first == UInt8(received & 0xFF))
                received += 1
                if received % 16 == 0 { try await Task.sleep(for: .milliseconds(2)) }
                if received == 320 { break }
            }
            break
        }
        try await sending.value
        #expect(received == 320)
    }

    /// The next channel that the peer opens.
    private func incoming(_ events: EventStream<RTCPeerConnectionEvent>) async -> RTCDataChannel? {
        for await event in events {
            if case .dataChannel(let channel) = event { return channel }
        }
        return nil
    }

    @Test(.timeLimit(.minutes(10))) func aChannelsMakeIsCarriedOver() async throws {
        let pair = try ConnectedPair()
        var options = RTCDataChannelInit()
        options.ordered = false
        options.maxRetransmits = 7
        options.protocol = "größe"
        let channel = try pair.first.createDataChannel("käse 🧀", options: options)
        #expect(channel.id == nil && channel.readyState == .connecting)
        #expect { try channel.send("early") } throws: { ($0 as? RTCError)?.name == .invalidStateError }
        let events = pair.second.events
        try await pair.negotiate()
        try await channel.waitUntilOpen()
        let other = try #require(await incoming(events))
        #expect(channel.id != nil && channel.id == other.id)
        #expect(other.label == "käse 🧀" && other.protocol == "größe")
        #expect(!other.ordered && other.maxRetransmits == 7 && other.maxPacketLifeTime == nil && !other.negotiated)
        #expect(other.readyState == .open)
    }

    @Test func optionsThatExcludeEachOtherAreATypeError() throws {
        let connection = try RTCPeerConnection(configuration: ConnectedPair.configuration())
        defer { connection.close() }
        func refuses(_ label: String = "x", _ change: (inout RTCDataChannelInit) -> Void) {
            var options = RTCDataChannelInit()
            change(&options)
            #expect { try connection.createDataChannel(label, options: options) } throws: {
                ($0 as? RTCError)?.name == .typeError
            }
        }
        refuses {
            $0.maxRetransmits = 1
            $0.maxPacketLifeTime = 1
        }
        refuses { $0.negotiated = true }
        refuses {
            $0.negotiated = true
            $0.id = 65_535
        }
        refuses { $0.protocol = String(repeating: "p", count: 65_536) }
        refuses(String(repeating: "é", count: 32_768)) { _ in }
        connection.close()
        #expect { try connection.createDataChannel("late") } throws: { ($0 as? RTCError)?.name == .invalidStateError }
    }

    @Test(.timeLimit(.minutes(10))) func moreThanThePeerTakesIsATypeError() async throws {
        var configuration = ConnectedPair.configuration()
        configuration.maxMessageSize = 1_024
        let pair = try ConnectedPair(configuration)
        let channel = try pair.first.createDataChannel("x")
        let events = pair.second.events
        try await pair.negotiate()
        try await channel.waitUntilOpen()
        #expect { try channel.send([UInt8](repeating: 0, count: 1_025)) } throws: {
            ($0 as? RTCError)?.name == .typeError
        }
        try channel.send([UInt8](repeating: 3, count: 1_024))
        let other = try #require(await incoming(events))
        var messages = other.messages.makeAsyncIterator()
        #expect(await messages.next() == .binary([UInt8](repeating: 3, count: 1_024)))
    }

    /// What comes before anybody looks waits: the channel, its state, its messages.
    @Test(.timeLimit(.minutes(10))) func nothingIsMissedByAttachingLate() async throws {
        let pair = try ConnectedPair()
        let channel = try pair.first.createDataChannel("x")
        let events = pair.second.events
        try await pair.negotiate()
        try await channel.waitUntilOpen()
        for number in 0..<50 { try channel.send("\(number)") }
        let other = try #require(await incoming(events))
        // The peer's answer to the last message tells that all have arrived.
        var states = other.events.makeAsyncIterator()
        #expect(await states.next() == .open)
        let (received, continuation) = AsyncStream.makeStream(of: RTCDataChannelMessage.self)
        other.setMessageHandler { continuation.yield($0) }
        for number in 50..<100 { try channel.send("\(number)") }
        var expected = 0
        for await message in received {
            #expect(message == .text("\(expected)"))
            expected += 1
            if expected == 100 { break }
        }
        #expect(expected == 100)
    }

    @Test(.timeLimit(.minutes(10)), arguments: [true, false])
    func eitherSideCloses(closesFirst: Bool) async throws {
        let pair = try ConnectedPair()
        let channel = try pair.first.createDataChannel("x")
        let events = pair.second.events
        try await pair.negotiate()
        try await channel.waitUntilOpen()
        let other = try #require(await incoming(events))
        let (closing, closed) = closesFirst ? (channel, other) : (other, channel)
        let ownEvents = closing.events
        let peersEvents = closed.events
        for number in 0..<100 { try closing.send([UInt8](repeating: UInt8(number), count: 10_000)) }
        closing.close()
        #expect(closing.readyState == .closing)
        var count = 0
        for await message in closed.messages {
            #expect(message == .binary([UInt8](repeating: UInt8(count), count: 10_000)))
            count += 1
        }
        #expect(count == 100, "what was queued arrives before the end")
        var seen: [RTCDataChannel.Event] = []
        for await event in peersEvents { seen.append(event) }
        #expect(seen == [.open, .closing, .close])
        seen = []
        for await event in ownEvents where event != .bufferedAmountLow { seen.append(event) }
        #expect(seen == [.open, .close])
        #expect(channel.readyState == .closed && other.readyState == .closed)
        // The connection goes on.
        let again = try pair.first.createDataChannel("again")
        try await again.waitUntilOpen()
    }

    @Test(.timeLimit(.minutes(10))) func theEndOfTheConnectionClosesTheChannelsOfBothSides() async throws {
        let pair = try ConnectedPair()
        let channel = try pair.first.createDataChannel("x")
        let waiting = try pair.first.createDataChannel("y")
        let events = pair.second.events
        try await pair.negotiate()
        try await channel.waitUntilOpen()
        try await waiting.waitUntilOpen()
        let other = try #require(await incoming(events))
        pair.first.close()
        for await _ in other.messages {}
        for await _ in channel.messages {}
        for await _ in waiting.messages {}
        var seen: [RTCDataChannel.Event] = []
        for await event in other.events { seen.append(event) }
        #expect(seen.last == .close)
        #expect(channel.readyState == .closed && waiting.readyState == .closed && other.readyState == .closed)
    }

    @Test(.timeLimit(.minutes(10))) func aNegotiatedChannelNeedsNoWord() async throws {
        let pair = try ConnectedPair()
        var options = RTCDataChannelInit()
        options.negotiated = true
        options.id = 9
        let first = try pair.first.createDataChannel("a", options: options)
        let second = try pair.second.createDataChannel("b", options: options)
        #expect(first.id == 9)
        try await pair.negotiate()
        try await first.waitUntilOpen()
        try await second.waitUntilOpen()
        try first.send("hello")
        var messages = second.messages.makeAsyncIterator()
        #expect(await messages.next() == .text("hello"))
        #expect(second.label == "b")
    }
}
