import RTP
import SansIO
import Testing

@Suite("RTP sender")
struct RTPSending {
    private let start = Instant(nanoseconds: 5_000_000_000)
    private let pool = PacketPool()

    private func sender(rtx: Bool, extensions: RTPHeaderExtensionIDs = .init(mid: 4, transportCC: 3)) -> RTPSender {
        RTPSender(
            parameters: RTPSendParameters(
                mid: "v",
                ssrc: 10,
                rtxSSRC: rtx ? 11 : nil,
                codec: RTPCodecParameters(
                    payloadType: 96,
                    codec: .vp8,
                    rtxPayloadType: rtx ? 97 : nil,
                    feedback: .all
                ),
                extensions: extensions,
                cname: "c"
            ),
            pool: pool,
            random: RandomSource(seed: 1)
        )
    }

    private func write(_ sender: RTPSender, _ number: SequenceNumber, again: Bool = false, at now: Instant) -> [UInt8]?
    {
        var bytes = [UInt8](repeating: 0, count: 1_500)
        let count = bytes.withUnsafeMutableBytes { target in
            again
                ? sender.writeRetransmission(number, into: target, transportSequenceNumber: 999, at: now)?.byteCount
                : sender.write(number, into: target, transportSequenceNumber: 77, at: now)
        }
        return count.map { Array(bytes[..<$0]) }
    }

    @Test("every packet and its retransmission fit into 1,200 bytes with SRTP's tag", arguments: [true, false])
    func sizes(rtx: Bool) throws {
        let sender = sender(rtx: rtx)
        for byteCount in [1, 1_000, 1_150, 1_160, 1_170, 5_000, 100_000] {
            let frame = EncodedFrame(payload: Array(repeating: 7, count: byteCount), rtpTimestamp: 1, isKeyFrame: true)
            let (first, count) = try #require(sender.packetize(frame, at: start))
            var rebuilt = 0
            for offset in 0..<count {
                let bytes = try #require(write(sender, first + offset, at: start))
                #expect(bytes.count + RTPSender.srtpByteCount <= 1_200)
                let header = try RTPHeader(bytes.span.bytes)
                #expect(header.marker == (offset == count - 1))
                rebuilt += header.payloadByteCount - VP8PayloadDescriptor.sentByteCount
                let again = try #require(write(sender, first + offset, again: true, at: start))
                #expect(again.count + RTPSender.srtpByteCount <= 1_200)
            }
            #expect(rebuilt == byteCount)
        }
        sender.close()
        #expect(pool.usedCount == 0)
    }

    @Test("a retransmission has its own source, number and payload type, and the original number in front")
    func retransmission() throws {
        let sender = sender(rtx: true)
        let (first, _) = try #require(
            sender.packetize(EncodedFrame(payload: [1, 2, 3], rtpTimestamp: 5), at: start)
        )
        let original = try #require(write(sender, first, at: start))
        let bytes = try #require(write(sender, first, again: true, at: start))
        let originalHeader = try RTPHeader(original.span.bytes)
        let header = try RTPHeader(bytes.span.bytes)
        #expect(header.ssrc == 11)
        #expect(header.payloadType == 97)
        #expect(header.timestamp == originalHeader.timestamp)
        #expect(header.marker == originalHeader.marker)
        let payload = Array(bytes[header.byteCount...])
        #expect(payload.prefix(2) == [UInt8(first.rawValue >> 8), UInt8(first.rawValue & 255)])
        #expect(Array(payload.dropFirst(2)) == Array(original[originalHeader.byteCount...]))
        let second = try #require(write(sender, first, again: true, at: start))
        #expect(try RTPHeader(second.span.bytes).sequenceNumber == header.sequenceNumber + 1)
    }

    @Test("a plain resend repeats the packet bit by bit")
    func plainResend() throws {
        let sender = sender(rtx: false)
        let (first, _) = try #require(sender.packetize(EncodedFrame(payload: [1, 2, 3], rtpTimestamp: 5), at: start))
        let original = try #require(write(sender, first, at: start))
        #expect(write(sender, first, again: true, at: start + .milliseconds(50)) == original)
    }

    @Test("a packet is resent once per round trip, ten times at most, and only while it is kept")
    func requests() throws {
        let sender = sender(rtx: true)
        let (first, _) = try #require(sender.packetize(EncodedFrame(payload: [1], rtpTimestamp: 5), at: start))
        #expect(sender.requestRetransmission(first, roundTripTime: .zero, at: start) == nil)  // has not left
        _ = write(sender, first, at: start)
        var now = start
        var resent = 0
        for _ in 0..<100 {
            now = now + .milliseconds(10)
            if sender.requestRetransmission(first, roundTripTime: .milliseconds(40), at: now) != nil {
                #expect(sender.requestRetransmission(first, roundTripTime: .milliseconds(40), at: now) == nil)
                _ = write(sender, first, again: true, at: now)
                resent += 1
            }
        }
        #expect(resent == RTPSender.resendLimit)
        #expect(sender.requestRetransmission(first + 1, roundTripTime: .zero, at: now) == nil)
        #expect(sender.statistics.nackMisses == 1)
        sender.removeHistory(before: now + .seconds(1))
        #expect(pool.usedCount == 0)
        #expect(write(sender, first, again: true, at: now) == nil)
    }

    @Test("the cache is bounded however much is sent")
    func bounded() throws {
        let sender = sender(rtx: true)
        for _ in 0..<30 {
            _ = sender.packetize(EncodedFrame(payload: Array(repeating: 1, count: 100_000), rtpTimestamp: 5), at: start)
        }
        #expect(pool.usedCount == RTPSender.videoHistoryCapacity)
        #expect(
            sender.packetize(
                EncodedFrame(payload: Array(repeating: 1, count: RTPSender.frameByteLimit + 1), rtpTimestamp: 5),
                at: start
            )
                == nil
        )
        sender.close()
        #expect(pool.usedCount == 0)
    }

    @Test("changed extensions drop packets that were laid out for the old ones")
    func update() throws {
        let sender = sender(rtx: true)
        let (first, _) = try #require(sender.packetize(EncodedFrame(payload: [1], rtpTimestamp: 5), at: start))
        var parameters = sender.parameters
        parameters.extensions = RTPHeaderExtensionIDs(transportCC: 9)
        sender.update(parameters)
        #expect(write(sender, first, at: start) == nil)
        #expect(pool.usedCount == 0)
    }

    @Test("an exhausted pool loses packets, not the process")
    func exhausted() {
        let small = PacketPool(slotLimit: 3)
        let sender = RTPSender(
            parameters: sender(rtx: false).parameters,
            pool: small,
            random: RandomSource(seed: 2)
        )
        let result = sender.packetize(
            EncodedFrame(payload: Array(repeating: 1, count: 10_000), rtpTimestamp: 5),
            at: start
        )
        #expect(result?.count == 3)
        #expect(sender.packetize(EncodedFrame(payload: [1], rtpTimestamp: 5), at: start) == nil)
        #expect(sender.statistics.packetsDiscarded > 0)
    }
}
