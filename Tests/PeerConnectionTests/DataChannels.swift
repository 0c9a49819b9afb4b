import PeerConnection
import TestClocks
import Testing

@Suite(.realSCTP) struct DataChannels {
    @Test(.timeLimit(.minutes(1))) func messagesGoBothWays() async throws {
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
    @Test(.timeLimit(.minutes(2))) func aSlowReaderGetsEverything() async throws {
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
}
