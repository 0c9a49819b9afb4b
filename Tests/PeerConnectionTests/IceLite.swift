import PeerConnection
import Testing
import TimeSharing

@Suite(.realTime) struct IceLite {
    @Test(.timeLimit(.minutes(10)), arguments: [true, false]) func aFullAgentConnectsWithOneThatMakesNoChecks(
        isOffererLite: Bool
    ) async throws {
        var lite = ConnectedPair.configuration()
        lite.isICELite = true
        let full = ConnectedPair.configuration()
        let pair = try isOffererLite ? ConnectedPair(lite, full) : ConnectedPair(full, lite)
        var options = RTCDataChannelInit()
        options.negotiated = true
        options.id = 5
        let channel = try pair.first.createDataChannel("x", options: options)
        let other = try pair.second.createDataChannel("x", options: options)
        try await pair.negotiate()
        let offer = try #require(pair.first.localDescription).sdp
        let answer = try #require(pair.second.localDescription).sdp
        #expect(offer.contains("a=ice-lite") == isOffererLite && answer.contains("a=ice-lite") != isOffererLite)
        try await channel.waitUntilOpen()
        try await other.waitUntilOpen()
        try channel.send("there")
        try other.send("back")
        var (there, back) = (other.messages.makeAsyncIterator(), channel.messages.makeAsyncIterator())
        #expect(await there.next() == .text("there"))
        #expect(await back.next() == .text("back"))
    }
}
