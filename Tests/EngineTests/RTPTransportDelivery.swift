import PeerEngine
import RTP
import SansIO
import Testing

@Suite("RTP transport: delivery")
struct RTPTransportDelivery {
    @Test("a clean path delivers every frame unchanged and in order", arguments: [true, false])
    func cleanPath(isGCM: Bool) throws {
        let pair = try RTPTransportPair(seed: 1, profile: isGCM ? .aeadAes128Gcm : .aes128CmSha1_80)
        pair.addVideo()
        let sent = pair.sendVideo(seconds: 3)
        pair.run(for: .milliseconds(200))
        let frames = pair.b.frames
        #expect(frames.map(\.frame.payload) == sent.map(\.payload))
        #expect(frames.allSatisfy { $0.mid == "1" && $0.frame.codec == .vp8 && $0.frame.lostBefore == 0 })
        #expect(frames.first?.frame.isKeyFrame == true)
        #expect(pair.a.largestDatagram <= 1_200)
        #expect(pair.deadlineViolations.isEmpty)
        #expect(pair.b.transport.statistics().inbound.first?.packetsLost == 0)
    }

    @Test("with NACK, 10 % loss still delivers 99 % of the frames", arguments: [UInt64(1), 2, 3], [true, false])
    func lossWithNack(seed: UInt64, rtx: Bool) throws {
        let path = RTPTransportPair.Path(loss: 0.1, reordering: 0.05, duplication: 0.01, rtcpLoss: 0.1)
        let pair = try RTPTransportPair(seed: seed, path: path)
        pair.addVideo(rtx: rtx)
        let sent = pair.sendVideo(seconds: 30)
        pair.run(for: .seconds(1))
        let frames = pair.b.frames.map(\.frame)
        #expect(frames.count >= sent.count * 99 / 100)
        let byNumber = Dictionary(uniqueKeysWithValues: sent.enumerated().map { ($0.offset, $0.element.payload) })
        #expect(frames.allSatisfy { byNumber[RTPTransportPair.number(of: $0)] == $0.payload })
        let numbers = frames.map(RTPTransportPair.number)
        #expect(numbers == numbers.sorted())
        // A frame follows its predecessor, or is a key frame.
        for (previous, next) in zip(frames, frames.dropFirst())
        where RTPTransportPair.number(of: next) != RTPTransportPair.number(of: previous) + 1 {
            #expect(next.isKeyFrame)
        }
        let statistics = pair.a.transport.statistics()
        #expect(statistics.outbound[0].retransmittedPacketsSent > 0)
        #expect(statistics.outbound[0].nackCount > 0)
        #expect(pair.deadlineViolations.isEmpty)
    }

    @Test("without NACK, each loss costs a key frame and nothing undecodable is delivered")
    func lossWithoutNack() throws {
        let pair = try RTPTransportPair(seed: 4, path: .init(loss: 0.02))
        pair.addVideo(feedback: RTPFeedback(nackPLI: true))
        pair.sendVideo(seconds: 20)
        let frames = pair.b.frames.map(\.frame)
        for (previous, next) in zip(frames, frames.dropFirst())
        where RTPTransportPair.number(of: next) != RTPTransportPair.number(of: previous) + 1 {
            #expect(next.isKeyFrame)
            #expect(next.lostBefore > 0)
        }
        let inbound = try #require(pair.b.transport.statistics().inbound.first)
        #expect(inbound.pliCount > 3)
        #expect(inbound.nackCount == 0)
        #expect(pair.a.keyFrameRequests > 3)
        #expect(frames.count > 300)
    }

    @Test("audio passes in order, and the lost packets are counted for concealment")
    func audio() throws {
        let pair = try RTPTransportPair(seed: 5, path: .init(loss: 0.05, reordering: 0.2, duplication: 0.05))
        pair.addAudio()
        for number in 0..<500 {
            var frame = EncodedFrame(
                payload: [UInt8(number >> 8), UInt8(number & 255), 3, 4],
                rtpTimestamp: UInt32(number * 960)
            )
            frame.audioLevel = 33
            pair.a.transport.send(frame, mid: "0", at: pair.now)
            pair.run(for: .milliseconds(20))
        }
        pair.run(for: .milliseconds(300))
        var next = 0
        for (mid, frame) in pair.b.frames {
            let number = Int(frame.payload[0]) << 8 | Int(frame.payload[1])
            if next > 0 { #expect(number - frame.lostBefore == next) }
            next = number + 1
            #expect(mid == "0")
            #expect(frame.codec == .opus)
            #expect(frame.audioLevel == 33)
        }
        #expect(pair.b.frames.count > 450)
        let inbound = try #require(pair.b.transport.statistics().inbound.first)
        #expect(inbound.packetsConcealed > 5)
        #expect(inbound.packetsDuplicated + pair.b.transport.statistics().droppedReplayed > 5)
    }

    @Test("G.711 audio passes with its static payload types")
    func telephony() throws {
        let pair = try RTPTransportPair(seed: 6)
        pair.addAudio(codec: RTPCodecParameters(payloadType: 0, codec: .pcmu), extensions: .init())
        for number in 0..<10 {
            let frame = EncodedFrame(payload: Array(repeating: 0x7F, count: 160), rtpTimestamp: UInt32(number * 160))
            pair.a.transport.send(frame, mid: "0", at: pair.now)
            pair.run(for: .milliseconds(20))
        }
        pair.run(for: .milliseconds(100))
        #expect(pair.b.frames.count == 10)
        #expect(pair.b.frames.allSatisfy { $0.frame.codec == .pcmu && $0.frame.payload.count == 160 })
    }

    @Test("a blackout of two seconds ends with a key frame, not with garbage")
    func blackout() throws {
        let pair = try RTPTransportPair(seed: 7)
        pair.addVideo()
        pair.sendVideo(seconds: 2)
        pair.a.path.loss = 1
        pair.sendVideo(seconds: 2, from: 60)
        pair.a.path.loss = 0
        pair.sendVideo(seconds: 2, from: 120)
        let frames = pair.b.frames.map(\.frame)
        for (previous, next) in zip(frames, frames.dropFirst())
        where RTPTransportPair.number(of: next) != RTPTransportPair.number(of: previous) + 1 {
            #expect(next.isKeyFrame)
        }
        #expect(frames.contains { RTPTransportPair.number(of: $0) > 140 })
        #expect(pair.a.keyFrameRequests > 0)
    }

    @Test("the first packet of an m-section is announced once, and goodbye too")
    func firstPacketAndGoodbye() throws {
        let pair = try RTPTransportPair(seed: 8)
        pair.addVideo()
        pair.sendVideo(seconds: 1)
        pair.a.transport.setSend(nil, mid: "1", at: pair.now)
        pair.run(for: .milliseconds(100))
        let first = pair.b.events.count { if case .firstPacket("1") = $0 { true } else { false } }
        let bye = pair.b.events.count { if case .bye("1") = $0 { true } else { false } }
        #expect(first == 1)
        #expect(bye == 1)
        #expect(pair.b.transport.statistics().inbound.isEmpty)
    }

    @Test("frames sent before the keys are there lead to a key frame request")
    func beforeStart() throws {
        let pair = try RTPTransportPair(seed: 9, start: false)
        pair.addVideo()
        pair.a.transport.send(RTPTransportPair.frame(0, byteCount: 3_000, isKeyFrame: true), mid: "1", at: pair.now)
        #expect(pair.a.transport.statistics().droppedBeforeStart == 1)
        try pair.start()
        pair.drain()
        #expect(pair.a.keyFrameRequests == 1)
    }
}
