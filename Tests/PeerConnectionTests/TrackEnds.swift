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

    @Test(.timeLimit(.minutes(10))) func aReceivedTrackEndsWithItsConnection() async throws {
        let pair = try ConnectedPair()
        try pair.first.addTrack(MediaStreamTrack(try TestPattern(width: 160, height: 90)))
        try await pair.negotiate()
        let track = try #require(pair.second.transceivers.first).receiver.track
        let clone = track.clone()
        let events = clone.events
        var count = 0
        for await frame in track.videoFrames {
            #expect(frame.width == 160)
            count += 1
            if count == 1 { pair.second.close() }
        }
        #expect(count >= 1)
        #expect(track.readyState == .ended && track.endReason == nil)
        var last: MediaStreamTrack.Event?
        for await event in events { last = event }
        #expect(last == .ended(nil))
        pair.first.close()
    }

    @Test(.timeLimit(.minutes(10))) func aDisabledTrackIsBlackAtThePeer() async throws {
        let pair = try ConnectedPair()
        let sent = MediaStreamTrack(try TestPattern(width: 160, height: 90))
        sent.enabled = false
        try pair.first.addTrack(sent)
        try await pair.negotiate()
        let track = try #require(pair.second.transceivers.first).receiver.track
        var sawBlack = false
        for await frame in track.videoFrames {
            let bars = TestPattern.readBars(frame)
            if !sawBlack {
                #expect(bars.allSatisfy { $0.y < 24 })
                sawBlack = true
                sent.enabled = true
            } else if bars.allSatisfy({ $0.y > 30 }) {
                break
            }
        }
        #expect(sawBlack)
        pair.first.close()
        pair.second.close()
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
