import PeerConnection
import Testing

@Suite struct DataChannels {
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
}
