import PeerConnection
import Testing
import TimeSharing

@Suite(.realTime) struct IceRestarts {
    /// Waits for all candidates, so that the description holds them.
    private func describe(_ peer: RTCPeerConnection) async throws -> RTCSessionDescription {
        try await peer.setLocalDescription()
        await peer.waitUntilGathered()
        return try #require(peer.localDescription)
    }

    private func negotiate(_ pair: ConnectedPair) async throws {
        try await pair.second.setRemoteDescription(try await describe(pair.first))
        try await pair.first.setRemoteDescription(try await describe(pair.second))
    }

    private func fragment(_ peer: RTCPeerConnection) throws -> Substring {
        let lines = try #require(peer.localDescription).sdp.split(whereSeparator: \.isNewline)
        return try #require(lines.first { $0.hasPrefix("a=ice-ufrag:") })
    }

    @Test(.timeLimit(.minutes(10))) func messagesGoOnAfterARestart() async throws {
        let pair = try ConnectedPair()
        var options = RTCDataChannelInit()
        options.negotiated = true
        options.id = 5
        let channel = try pair.first.createDataChannel("chat", options: options)
        let other = try pair.second.createDataChannel("chat", options: options)
        try await negotiate(pair)
        try await channel.waitUntilOpen()
        try await other.waitUntilOpen()
        let before = (try fragment(pair.first), try fragment(pair.second))
        pair.first.restartIce()
        try await negotiate(pair)
        #expect(try fragment(pair.first) != before.0)
        #expect(try fragment(pair.second) != before.1)
        var messages = other.messages.makeAsyncIterator()
        for index in 0..<100 {
            try channel.send("\(index)")
            #expect(await messages.next() == .text("\(index)"))
        }
        #expect(pair.first.connectionState == .connected)
        // Taken back: gathering is as complete as it was.
        let kept = try fragment(pair.first)
        let offer = try await pair.first.createOffer(options: .init(iceRestart: true))
        try await pair.first.setLocalDescription(offer)
        #expect(try fragment(pair.first) != kept)
        try await pair.first.setLocalDescription(RTCSessionDescription(type: .rollback, sdp: ""))
        #expect(try fragment(pair.first) == kept)
        #expect(pair.first.iceGatheringState == .complete)
        try await negotiate(pair)
        #expect(try fragment(pair.first) == kept)
        try channel.send("last")
        #expect(await messages.next() == .text("last"))
    }
}
