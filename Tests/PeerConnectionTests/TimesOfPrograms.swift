import Locking
import PeerConnection
import Testing
import TimeSharing

/// Pictures and sound of a program's own, whose times are its own, too.
@Suite(.realTime) struct TimesOfPrograms {
    @Test(.timeLimit(.minutes(10))) func timesMayBeAnything() async throws {
        let pair = try ConnectedPair()
        let (pictures, sound) = (VideoTrackGenerator(), AudioTrackGenerator())
        try pair.first.addTrack(pictures.track)
        try pair.first.addTrack(sound.track)
        try await pair.negotiate()
        // What is sent, and said of it in sender reports, goes on.
        let (reports, feed) = AsyncStream<MediaKind>.makeStream()
        let subscriptions = pair.second.transceivers.map { transceiver in
            transceiver.receiver.addEncodedFrameTaker { [kind = transceiver.receiver.track.kind] frame in
                if frame.senderClock != nil { feed.yield(kind) }
            }
        }
        // The pattern and the tone are the clocks.
        let times: [Int64] = [.min, .max, 0, -1, .max - 1, .min + 1]
        let count = Mutex(0)
        @Sendable func time() -> Int64 {
            count.withLock { count in
                count += 1
                return times[count % times.count]
            }
        }
        let (pattern, tone) = (try TestPattern(width: 160, height: 90), Tone())
        try pattern.start { pictures.write($0.retimed(time())) }
        try tone.start { block in
            var block = block
            block.timestampNanoseconds = time()
            sound.write(block)
        }
        var told: Set<MediaKind> = []
        for await kind in reports {
            told.insert(kind)
            if told.count == 2 { break }
        }
        pattern.stop()
        tone.stop()
        for subscription in subscriptions { subscription.cancel() }
        #expect(told == [.audio, .video])
        #expect(await pair.first.getStats().outboundRTP.count == 2)
    }
}
