import PeerConnection
import SansIO
import SoundScenes
import Testing

@testable import RTP

/// Opus DTX: of a pause next to nothing is sent, and the clock of the stream goes on. RFC 7587 §3.1.3
@Suite struct SilenceLeftOut {
    private func frame(_ samples: [Int16], hasVoice: Bool? = nil, at nanoseconds: Int64 = 0) -> AudioFrame {
        AudioFrame(
            samples: samples,
            sampleRate: 48_000,
            channelCount: 1,
            timestampNanoseconds: nanoseconds,
            hasVoice: hasVoice
        )
    }

    /// Two seconds of speech, four of faint noise, two of speech, by blocks of 20 ms.
    private var blocks: [[Int16]] { blocks(noise: 2, seconds: 4) }

    /// The same with a pause of noise of a given amplitude, and of a given length.
    private func blocks(noise: Double, seconds: Int) -> [[Int16]] {
        var random = SceneGenerator(seed: 3)
        let speech = SpeechLike.samples(seconds: 2, pitch: 120, seed: 4).pcm
        let pause = (0..<(48_000 * seconds)).map { _ in Int16(random.normal() * noise) }
        let all = speech + pause + speech
        return stride(from: 0, to: all.count - 959, by: 960).map { Array(all[$0..<($0 + 960)]) }
    }

    @Test func pausesAreLeftOutAndTheClockGoesOn() throws {
        let blocks = blocks
        for hasDTX in [true, false] {
            let encoding = AudioEncoding(codec: .opus)
            let sent = blocks.map { encoding.encode(frame($0), hasDTX: hasDTX) }
            #expect(sent.allSatisfy { $0.count <= 1 })
            for (index, frames) in sent.enumerated() {
                for frame in frames { #expect(frame.rtpTimestamp == UInt32(index * 960)) }
            }
            let inPause = sent[130..<300].count { !$0.isEmpty }
            #expect(hasDTX ? inPause <= 20 : inPause == 170, "\(inPause) of 170 blocks of the pause")
            let inSpeech = sent[..<90].count { !$0.isEmpty }
            #expect(inSpeech >= 80, "\(inSpeech) of 90 blocks of speech")
            // The first packet, and each after silence, begins a spurt of talk (RFC 3551 §4.1).
            func isSilent(_ index: Int) -> Bool { sent[index].first.map { $0.payload.count <= 2 } ?? true }
            for index in sent.indices {
                guard let frame = sent[index].first else { continue }
                let begins = !isSilent(index) && (index == 0 || isSilent(index - 1))
                #expect(frame.startsTalkspurt == begins, "block \(index)")
                // Of a pause the first packet is sent: what tells it from packets that were lost.
                if isSilent(index) { #expect(hasDTX && !isSilent(index - 1), "block \(index)") }
            }
            let first = sent.indices.dropFirst().first { isSilent($0) && !isSilent($0 - 1) }
            #expect(hasDTX ? first.map { sent[$0].count } == 1 : first == nil)
        }
    }

    /// A microphone that was away for two seconds, and before that jitter of its clock, which is no gap.
    @Test(arguments: [(RTPCodec.opus, 48_000), (.pcmu, 8_000)] as [(RTPCodec, UInt32)])
    func theClockGoesOnWhileNothingIsCaptured(codec: RTPCodec, rate: UInt32) {
        let encoding = AudioEncoding(codec: codec)
        let block = [Int16](repeating: 900, count: 960)
        var sent: [EncodedFrame] = []
        for index in 0..<100 as Range<Int64> {
            let jitter: Int64 = index % 7 == 0 ? 200_000_000 : 0
            let gap: Int64 = index < 50 ? 0 : 2_000_000_000
            sent += encoding.encode(frame(block, at: index * 20_000_000 + jitter + gap), hasDTX: false)
        }
        #expect(sent.count >= 98)
        let steps = zip(sent, sent.dropFirst()).map { $1.rtpTimestamp &- $0.rtpTimestamp }
        let skips = steps.filter { $0 != rate / 50 }
        #expect(skips.count == 1)
        // The captured times of the 50th and 51st block say so.
        #expect(skips.allSatisfy { abs(Int($0) - Int(rate) * 2) < Int(rate) / 4 }, "\(skips)")
        #expect(sent.count(where: \.startsTalkspurt) == 2)
    }

    @Test(arguments: [Int64.min, .max, -1, 4_000_000_000_000])
    func timesThatCannotBeAreNoGaps(nanoseconds: Int64) {
        let encoding = AudioEncoding(codec: .opus)
        let block = [Int16](repeating: 900, count: 960)
        let times = [0, nanoseconds, 40_000_000, nanoseconds, 80_000_000]
        let sent = times.flatMap { encoding.encode(frame(block, at: $0), hasDTX: false) }
        #expect(zip(sent, sent.dropFirst()).allSatisfy { $1.rtpTimestamp &- $0.rtpTimestamp == 960 })
    }

    @Test func gapsAreBorneByTheDecoder() throws {
        let encoding = AudioEncoding(codec: .opus)
        let decoder = try OpusDecoder(channelCount: 1)
        var speech: [Int16] = []
        for (index, block) in blocks.enumerated() {
            for packet in encoding.encode(frame(block), hasDTX: true) {
                let samples = try decoder.decode(packet.payload)
                #expect(samples.count == 960)
                if index >= 310 { speech += samples }
            }
        }
        #expect(SoundLevel.decibels(speech) > -30)
    }

    private func received(_ frame: EncodedFrame, _ codec: RTPCodec = .opus) -> ReceivedFrame {
        ReceivedFrame(
            payload: frame.payload,
            rtpTimestamp: frame.rtpTimestamp,
            payloadType: 111,
            codec: codec,
            isKeyFrame: false,
            lostBefore: 0,
            ssrc: 1,
            receiveTime: .init(nanoseconds: Int64(frame.rtpTimestamp) * 1_000_000 / 48),
            firstPacketTime: .init(nanoseconds: 0)
        )
    }

    /// The microphone's room at -55 dBFS, heard by who listens.
    @Test func pausesAreFilledWithTheRoomsSound() {
        let (encoding, decoding) = (AudioEncoding(codec: .opus), AudioDecoding())
        var heard: [[Int16]] = []
        for block in blocks(noise: 60, seconds: 6) {
            let hasClock = decoding.needsClock
            var frames = encoding.encode(frame(block), hasDTX: true).flatMap { decoding.decode(received($0)) }
            if hasClock { frames += decoding.silence(at: 0) }
            heard.append(frames.flatMap(\.samples))
        }
        // Each 20 ms have their 20 ms, whether a packet came or not; once 20 ms are made ahead.
        #expect(heard.dropFirst().allSatisfy { $0.count >= 2 * 960 })
        #expect(heard.dropFirst().count { $0.count > 2 * 960 } <= 1)
        let pause = heard[150..<390]
        #expect(pause.allSatisfy { $0.contains { $0 != 0 } })
        let level = SoundLevel.decibels(Array(pause.joined()))
        #expect(level > -65 && level < -50, "\(level) dBFS")
        // As loud at any time: no block stands out.
        let levels = pause.map { SoundLevel.decibels($0) }
        #expect((levels.max() ?? 0) - (levels.min() ?? -200) < 20, "\(levels.min() ?? 0) to \(levels.max() ?? 0) dBFS")
    }

    /// A receiver's clock that is faster or slower, and packets that come just before or just after it.
    @Test(arguments: [19.0, 19.9, 20, 20.1, 21]) func pausesLastAsLongAsThePeers(interval: Double) {
        let (encoding, decoding) = (AudioEncoding(codec: .opus), AudioDecoding())
        let blocks = blocks(noise: 60, seconds: 20)
        var (count, due) = (0, Double.infinity)
        for (index, block) in blocks.enumerated() {
            let now = Double(index) * 20
            while due < now {
                count += decoding.silence(at: 0).count
                due += interval
            }
            count += encoding.encode(frame(block), hasDTX: true).flatMap { decoding.decode(received($0)) }.count
            if !decoding.needsClock { due = .infinity } else if due == .infinity { due = now + interval }
        }
        #expect(abs(count - blocks.count) <= 3, "\(count) of \(blocks.count) blocks")
    }

    /// Speech with many short pauses: what one has too much or too little does not add up.
    @Test(arguments: [19.9, 20, 20.1]) func manyPausesLastAsLongAsThePeers(interval: Double) {
        let (encoding, decoding) = (AudioEncoding(codec: .opus), AudioDecoding())
        let once = blocks(noise: 60, seconds: 1)
        var (count, due, ticks) = (0, Double.infinity, 0)
        for index in 0..<(20 * once.count) {
            let now = Double(index) * 20
            while due < now {
                count += decoding.silence(at: 0).count
                due += interval
                ticks += 1
            }
            let sent = encoding.encode(frame(once[index % once.count]), hasDTX: true)
            count += sent.flatMap { decoding.decode(received($0)) }.count
            if !decoding.needsClock { due = .infinity } else if due == .infinity { due = now + interval }
        }
        #expect(ticks > 500)
        #expect(abs(count - 20 * once.count) <= 3, "\(count) of \(20 * once.count) blocks")
    }

    /// A packet of any time and length: a peer's clock that jumps, and one that stands still.
    @Test func timestampsOfAnyKindAreTaken() {
        let encoding = AudioEncoding(codec: .opus)
        let sent = blocks(noise: 60, seconds: 4).flatMap { encoding.encode(frame($0), hasDTX: true) }
        let decoding = AudioDecoding()
        var random = SceneGenerator(seed: 9)
        var count = 0
        for index in 0..<4_000 {
            var frame = received(sent[index % sent.count])
            switch index % 4 {
            case 0: frame.rtpTimestamp = UInt32(truncatingIfNeeded: random.bits())
            case 1: frame.rtpTimestamp = 0
            default: break
            }
            frame.lostBefore = index % 7 == 0 ? .max : 0
            count += decoding.decode(frame).count
            count += decoding.silence(at: 0).count
        }
        #expect(count >= 4_000 && count <= 4_000 * 7, "\(count) blocks")
    }

    /// A peer that has gone in a pause falls silent, and so does a path that breaks in the middle of a word.
    @Test func nothingIsMadeUpForAPeerThatIsGone() {
        let encoding = AudioEncoding(codec: .opus)
        let sent = blocks(noise: 60, seconds: 4).map { encoding.encode(frame($0), hasDTX: true) }
        let decoding = AudioDecoding()
        for frames in sent[..<1] { for frame in frames { _ = decoding.decode(received(frame)) } }
        #expect(!decoding.needsClock)
        #expect(decoding.silence(at: 0).isEmpty)
        for frames in sent[1..<200] { for frame in frames { _ = decoding.decode(received(frame)) } }
        #expect(decoding.needsClock)
        var count = 0
        while decoding.needsClock, count < 1_000 { count += max(1, decoding.silence(at: 0).count) }
        #expect(count <= 52)
        #expect(decoding.silence(at: 0).isEmpty)
    }

    @Test func otherCodecsSendAll() {
        let encoding = AudioEncoding(codec: .pcmu)
        let sent = (0..<50).map { _ in encoding.encode(frame(Array(repeating: 0, count: 960)), hasDTX: true).count }
        #expect(sent.allSatisfy { $0 == 1 })
    }

    @Test func levelAndVoiceAreTold() throws {
        let encoding = AudioEncoding(codec: .opus)
        for (amplitude, level, voice) in [(32_767, UInt8(0), true), (3_277, 20, false), (0, 127, nil as Bool?)] {
            let square = (0..<960).map { Int16($0 / 48 % 2 == 0 ? amplitude : -amplitude) }
            let sent = try #require(encoding.encode(frame(square, hasVoice: voice), hasDTX: false).first)
            #expect(sent.audioLevel == level)
            #expect(sent.hasVoice == (voice ?? false))
        }
    }

    @Test func theSenderDecidesOrThePeerIsAsked() async throws {
        var configuration = RTCConfiguration()
        let plain = try RTCPeerConnection(configuration: configuration)
        configuration.prefersDTX = true
        let asking = try RTCPeerConnection(configuration: configuration)
        defer {
            plain.close()
            asking.close()
        }
        for connection in [plain, asking] {
            let transceiver = try connection.addTransceiver(.audio)
            #expect(transceiver.sender.discontinuousTransmission == nil)
            await transceiver.sender.setDiscontinuousTransmission(true)
            #expect(transceiver.sender.discontinuousTransmission == true)
        }
        let (one, other) = (try await plain.createOffer(), try await asking.createOffer())
        #expect(one.sdp.contains("useinbandfec=1") && !one.sdp.contains("usedtx"))
        #expect(other.sdp.contains("useinbandfec=1;usedtx=1"))
    }
}
