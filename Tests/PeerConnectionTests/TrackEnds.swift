import PeerConnection
import Testing
import TimeSharing

@Suite(.realTime) struct TrackEnds {
    @Test(.timeLimit(.minutes(10))) func theStreamsOfATrackEndWithIt() async throws {
        let picture = MediaStreamTrack(try TestPattern(width: 160, height: 90))
        var count = 0
        for await _ in picture.videoFrames {
            count += 1
            if count == 2 { picture.stop() }
        }
        #expect(count >= 2)
        #expect(picture.readyState == .ended)
        // Of a track that is over there is nothing to wait for.
        for await _ in picture.videoFrames { Issue.record("a frame after the end") }
        let sound = MediaStreamTrack(Tone())
        for await _ in sound.audioFrames { sound.stop() }
        #expect(sound.readyState == .ended)
    }

    @Test(.timeLimit(.minutes(10))) func aRemoteTrackUnmutesWithItsFirstPacketAndMutesWithBye() async throws {
        let pair = try ConnectedPair()
        try pair.first.addTrack(MediaStreamTrack(try TestPattern(width: 160, height: 90)))
        try await pair.negotiate()
        let track = try #require(pair.second.transceivers.first).receiver.track
        let (changes, feed) = AsyncStream<Bool>.makeStream()
        track.setMuteHandler { feed.yield($0) }
        if !track.muted { feed.yield(false) }
        var iterator = changes.makeAsyncIterator()
        #expect(await iterator.next() == false)
        #expect(!track.muted)
        // Closing says BYE before DTLS ends.
        pair.first.close()
        #expect(await iterator.next() == true)
        #expect(track.muted)
        pair.second.close()
    }
}
