import PeerConnection
import Testing
import TimeSharing

@Suite(.serialized, .realTime) struct MediaCalls {
    @Test(.timeLimit(.minutes(10))) func pictureAndToneArriveBothWays() async throws {
        let pair = try ConnectedPair()
        for connection in [pair.first, pair.second] {
            try connection.addTrack(MediaStreamTrack(try TestPattern(width: 320, height: 180, framesPerSecond: 15)))
            try connection.addTrack(MediaStreamTrack(Tone(frequency: 440)))
        }
        try await pair.negotiate()
        #expect(pair.second.transceivers.count == 2)
        for connection in [pair.first, pair.second] {
            let video = try #require(connection.transceivers.first { $0.kind == .video })
            #expect(video.currentDirection == .sendrecv)
            var counters: [Int] = []
            for await frame in video.receiver.track.videoFrames {
                #expect(frame.width == 320 && frame.height == 180)
                counters.append(TestPattern.readCounter(frame))
                if counters.count == 10 {
                    for (read, sent) in zip(TestPattern.readBars(frame), TestPattern.bars) {
                        #expect(abs(Int(read.y) - Int(sent.y)) < 12)
                        #expect(abs(Int(read.u) - Int(sent.u)) < 12)
                        #expect(abs(Int(read.v) - Int(sent.v)) < 12)
                    }
                    break
                }
            }
            #expect(zip(counters, counters.dropFirst()).allSatisfy { $0 < $1 }, "the counter rises: \(counters)")
            let audio = try #require(connection.transceivers.first { $0.kind == .audio })
            var samples: [Int16] = []
            for await block in audio.receiver.track.audioFrames {
                samples += block.withChannels(1).samples
                if samples.count >= 48_000 { break }
            }
            let frequency = Tone.dominantFrequency(Array(samples.suffix(9_600)), sampleRate: 48_000)
            #expect(abs(frequency - 440) <= 5)
        }
        let stats = await pair.first.getStats()
        #expect(stats.inboundRTP.contains { $0.kind == .video && $0.framesDecoded >= 10 })
        #expect(stats.outboundRTP.contains { $0.kind == .video && $0.framesEncoded >= 10 })
        // A sine of 8 000: its root mean square is 0.17 of full scale.
        let source = try #require(stats.audioSources.first)
        #expect(stats.audioSources.count == 1 && source.voiceActivityFlag == nil)
        #expect(source.trackIdentifier == pair.first.senders.first { $0.kind == .audio }?.track?.id)
        let heard = try #require(stats.inboundRTP.first { $0.kind == .audio })
        for (level, energy, duration) in [
            (source.audioLevel, source.totalAudioEnergy, source.totalSamplesDuration),
            (heard.audioLevel, heard.totalAudioEnergy, heard.totalSamplesDuration),
        ] {
            #expect(abs(level - 0.1726) < 0.03)
            #expect(duration > 0.9)
            // Opus begins softly.
            #expect(abs((energy / duration).squareRoot() - 0.1726) < 0.03)
        }
        #expect(stats.transport.srtpCipher == "SRTP_AEAD_AES_128_GCM")
        #expect(stats.selectedCandidatePair != nil)
    }

    @Test(.timeLimit(.minutes(10))) func aWrongFingerprintFailsTheConnection() async throws {
        let pair = try ConnectedPair()
        _ = try pair.first.createDataChannel("x")
        let events = pair.first.events
        try await pair.first.setLocalDescription()
        try await pair.second.setRemoteDescription(try #require(pair.first.localDescription))
        try await pair.second.setLocalDescription()
        var answer = try #require(pair.second.localDescription)
        let other = try RTCCertificate().fingerprint
        answer.sdp = answer.sdp.split(separator: "\r\n", omittingEmptySubsequences: false)
            .map { $0.hasPrefix("a=fingerprint:") ? "a=fingerprint:\(other)" : String($0) }.joined(separator: "\r\n")
        try await pair.first.setRemoteDescription(answer)
        var failure: RTCError?
        for await event in events {
            if case .error(let error) = event {
                failure = error
                break
            }
        }
        #expect(failure?.errorDetail == .fingerprintFailure)
        await pair.first.wait(for: .failed)
    }
}
