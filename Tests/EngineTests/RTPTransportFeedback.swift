import CongestionControl
import PeerEngine
import RTP
import SRTP
import SansIO
import Testing

@Suite("RTP transport: feedback, rate, reports")
struct RTPTransportFeedback {
    @Test("a key frame does not leave in one lump, and nothing exceeds the pace for long")
    func pacing() throws {
        let pair = try RTPTransportPair(seed: 30, path: .init(delay: .milliseconds(50)))
        pair.addVideo()
        let start = pair.now
        pair.a.transport.send(RTPTransportPair.frame(0, byteCount: 60_000, isKeyFrame: true), mid: "1", at: pair.now)
        pair.run(for: .seconds(1))
        let media = pair.a.departures.filter { $0.byteCount > 800 }
        #expect(media.count { $0.at == start } <= 11)
        let last = try #require(media.last)
        // 48,000 bytes beyond the first burst at 2 Mbit/s: 0.19 s, and never more than half a second.
        #expect(last.at - start > .milliseconds(100) && last.at - start < .milliseconds(500))
        #expect(pair.b.frames.count == 1)
        // All packets of the frame but the last have one size: they form trains for UDP segmentation offload.
        #expect(Set(media.dropLast().map(\.byteCount)).count == 1)
    }

    @Test("on a fast path the first key frame is through within five milliseconds")
    func fastPath() throws {
        let pair = try RTPTransportPair(seed: 31, path: .init(delay: .microseconds(100)))
        pair.addVideo()
        pair.a.transport.setPathRoundTripTime(.microseconds(200), at: pair.now)
        pair.a.transport.send(RTPTransportPair.frame(0, byteCount: 40_000, isKeyFrame: true), mid: "1", at: pair.now)
        pair.run(for: .milliseconds(5))
        #expect(pair.b.frames.count == 1)
    }

    @Test("the target starts at 800 kbit/s, rises on a clean path, and falls to what a narrow one carries")
    func targetBitRate() throws {
        let pair = try RTPTransportPair(seed: 32)
        pair.addVideo()
        pair.sendVideo(seconds: 10, bitRate: 1_200_000)
        #expect(pair.a.targets.first == 800_000)
        let risen = try #require(pair.a.targets.last)
        #expect(risen > 1_400_000)
        for (previous, next) in zip(pair.a.targets, pair.a.targets.dropFirst()) {
            #expect(abs(Double(next - previous)) > 0.05 * Double(previous))
        }
        pair.a.path.rate = 500_000
        pair.sendVideo(seconds: 10, bitRate: 1_200_000, from: 300)
        let fallen = try #require(pair.a.targets.last)
        #expect(fallen < 600_000)
        #expect(pair.deadlineViolations.isEmpty)
    }

    @Test("an encoder that follows the target keeps a narrow path free of standing queues")
    func following() throws {
        let pair = try RTPTransportPair(seed: 33, path: .init(rate: 700_000))
        pair.addVideo()
        var sent = 0
        for _ in 0..<30 {
            let target = pair.a.targets.last ?? 800_000
            pair.sendVideo(seconds: 1, bitRate: target * 9 / 10, from: sent)
            sent += 30
        }
        let late = pair.b.frames.suffix(300)
        #expect(late.count > 280)
        let statistics = pair.a.transport.statistics()
        #expect(statistics.availableOutgoingBitRate > 250_000)
        #expect(statistics.availableOutgoingBitRate < 1_100_000)
    }

    /// Reads the RTCP that `b` sends.
    private final class Listener {
        private var session: SRTPSession
        var datagrams: [[RTCPPacket]] = []

        init(_ pair: RTPTransportPair) throws {
            session = try SRTPSession(
                profile: .aes128CmSha1_80,
                key: Array(repeating: 2, count: 16),
                salt: Array(repeating: 3, count: 14),
                direction: .inbound
            )
            pair.onDatagram = { [unowned pair, unowned self] peer, datagram in
                if peer === pair.b { read(datagram) }
            }
        }

        private func read(_ datagram: [UInt8]) {
            var bytes = datagram
            var packets: [RTCPPacket] = []
            bytes.withUnsafeMutableBytes { buffer in
                guard let count = try? session.unprotectRTCP(buffer) else { return }
                RTCPPacket.parse(UnsafeRawBufferPointer(rebasing: buffer[..<count]).bytes) { packets.append($0) }
            }
            datagrams.append(packets)
        }
    }

    @Test("REMB is sent where transport-wide feedback is not negotiated")
    func remb() throws {
        for usesTransportFeedback in [true, false] {
            let pair = try RTPTransportPair(seed: 34)
            let listener = try Listener(pair)
            var feedback = RTPFeedback.all
            feedback.transportCC = usesTransportFeedback
            pair.addVideo(
                feedback: feedback,
                extensions: RTPHeaderExtensionIDs(mid: 4, transportCC: usesTransportFeedback ? 3 : nil)
            )
            pair.sendVideo(seconds: 4)
            let packets = listener.datagrams.joined()
            let estimates = packets.count { if case .receiverEstimatedMaximumBitRate = $0 { true } else { false } }
            let feedbacks = packets.count { if case .transportFeedback = $0 { true } else { false } }
            #expect((estimates >= 2) == !usesTransportFeedback)
            #expect((feedbacks > 30) == usesTransportFeedback)
            #expect(pair.a.transport.statistics().availableOutgoingBitRate > 800_000)
        }
    }

    @Test("a REMB message lowers the target at once")
    func rembObeyed() throws {
        let pair = try RTPTransportPair(seed: 40)
        pair.addVideo()
        var writer = ByteWriter()
        writer.write(.receiverReport(RTCPReceiverReport(ssrc: 9)))
        writer.write(
            .receiverEstimatedMaximumBitRate(
                RTCPReceiverEstimatedMaximumBitRate(senderSSRC: 9, bitsPerSecond: 200_000, ssrcs: [0x1000])
            )
        )
        var session = try SRTPSession(
            profile: .aes128CmSha1_80,
            key: Array(repeating: 2, count: 16),
            salt: Array(repeating: 3, count: 14),
            direction: .outbound
        )
        var bytes = writer.bytes + Array(repeating: 0, count: SRTPSession.trailerByteCount)
        var count = 0
        try bytes.withUnsafeMutableBytes { count = try session.protectRTCP($0, byteCount: writer.count) }
        pair.a.transport.receive(bytes.span.bytes.extracting(0..<count), at: pair.now)
        pair.drain()
        #expect(pair.a.targets == [800_000, 200_000])
    }

    @Test("feedback goes in compound packets unless reduced size was negotiated", arguments: [true, false])
    func compound(reduced: Bool) throws {
        let pair = try RTPTransportPair(seed: 41, path: .init(loss: 0.1))
        let listener = try Listener(pair)
        pair.b.transport.allowsReducedSizeRTCP = reduced
        pair.addVideo()
        pair.sendVideo(seconds: 3)
        #expect(listener.datagrams.count > 30)
        var nacks = 0
        for packets in listener.datagrams {
            let isCompound =
                switch packets.first {
                case .receiverReport, .senderReport: true
                default: false
                }
            if !reduced {
                #expect(isCompound)
                #expect(packets.contains { if case .sourceDescription = $0 { true } else { false } })
            }
            nacks += packets.count { if case .nack = $0 { true } else { false } }
        }
        #expect(nacks > 5)
        if reduced { #expect(listener.datagrams.contains { $0.count == 1 }) }
    }

    @Test("transport-wide feedback covers audio too")
    func audioFeedback() throws {
        let pair = try RTPTransportPair(seed: 35)
        pair.addAudio()
        for number in 0..<100 {
            pair.a.transport.send(
                EncodedFrame(payload: [1, 2, 3], rtpTimestamp: UInt32(number * 960)),
                mid: "0",
                at: pair.now
            )
            pair.run(for: .milliseconds(20))
        }
        #expect(pair.a.transport.statistics().transportFeedbackReceived >= 15)
    }

    @Test("reports bring round-trip time, loss and jitter to both sides' statistics")
    func statistics() throws {
        let pair = try RTPTransportPair(seed: 36, path: .init(delay: .milliseconds(30), loss: 0.05))
        pair.addVideo()
        pair.sendVideo(seconds: 10)
        let out = try #require(pair.a.transport.statistics().outbound.first)
        #expect(out.mid == "1")
        #expect(out.ssrc == 0x1000)
        #expect(out.rtxSSRC == 0x1001)
        #expect(out.framesSent == 300)
        #expect(out.reportsReceived >= 6)
        let time = try #require(out.roundTripTime)
        #expect(time > .milliseconds(59) && time < .milliseconds(62))
        #expect(out.remotePacketsLost > 10)
        let inbound = try #require(pair.b.transport.statistics().inbound.first)
        #expect(inbound.remoteReportsReceived >= 6)
        #expect(inbound.rtxSSRC == 0x1001)
        #expect(inbound.packetsLost > 10)
        #expect(inbound.framesReceived > 290)
        #expect(UInt64(inbound.remotePacketsSent) <= out.packetsSent)
        #expect(inbound.bytesReceived + inbound.retransmittedBytesReceived <= out.bytesSent)
        #expect(out.targetBitRate == pair.a.targets.last || out.targetBitRate > 0)
    }

    @Test("a storm of PLIs asks the encoder three times a second at most, and a late one is not forgotten")
    func keyFrameStorm() throws {
        let pair = try RTPTransportPair(seed: 37)
        pair.addVideo()
        pair.sendVideo(seconds: 1)
        let before = pair.a.keyFrameRequests
        for _ in 0..<200 {
            pair.b.transport.requestKeyFrame(mid: "1", at: pair.now)
            pair.run(for: .milliseconds(10))
        }
        let asked = pair.a.keyFrameRequests - before
        #expect(asked >= 5 && asked <= 8)
    }

    @Test("FIR works where PLI is not negotiated; its repetition is not a new request")
    func fullIntraRequest() throws {
        let pair = try RTPTransportPair(seed: 38)
        pair.addVideo(feedback: RTPFeedback(ccmFIR: true))
        pair.sendVideo(seconds: 1)
        let before = pair.a.keyFrameRequests
        pair.b.transport.requestKeyFrame(mid: "1", at: pair.now)
        pair.run(for: .seconds(1))
        #expect(pair.a.keyFrameRequests == before + 1)
        #expect(pair.a.transport.statistics().outbound[0].firCount == 1)
        #expect(pair.a.transport.statistics().outbound[0].pliCount == 0)
    }

    @Test("memory is bounded and all slots come back")
    func memory() throws {
        let pair = try RTPTransportPair(seed: 39, path: .init(loss: 0.3))
        pair.addVideo()
        pair.sendVideo(seconds: 5, bitRate: 2_000_000)
        #expect(pair.a.transport.packetSlotsInUse <= RTPSender.videoHistoryCapacity)
        #expect(pair.b.transport.packetSlotsInUse <= VideoFrameAssembler.capacity)
        pair.run(for: .seconds(5))
        #expect(pair.a.transport.packetSlotsInUse == 0)
        pair.a.transport.close(at: pair.now)
        pair.b.transport.close(at: pair.now)
        #expect(pair.b.transport.packetSlotsInUse == 0)
        #expect(pair.a.transport.nextDeadline == nil)
    }
}
