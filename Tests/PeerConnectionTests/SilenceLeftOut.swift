import PeerConnection
import RTP
import SoundScenes
import Testing

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
    private var blocks: [[Int16]] {
        var random = SceneGenerator(seed: 3)
        let speech = SpeechLike.samples(seconds: 2, pitch: 120, seed: 4).pcm
        let pause = (0..<(48_000 * 4)).map { _ in Int16(random.normal() * 2) }
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
            for index in sent.indices {
                guard let frame = sent[index].first else { continue }
                #expect(frame.startsTalkspurt == (index == 0 || sent[index - 1].isEmpty), "block \(index)")
            }
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
