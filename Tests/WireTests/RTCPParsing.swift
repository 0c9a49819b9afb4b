import RTP
import SansIO
import Testing

@Suite("RTCP")
struct RTCPParsing {
    private func packets(_ bytes: [UInt8]) -> (packets: [RTCPPacket], malformed: Int) {
        var packets: [RTCPPacket] = []
        let malformed = RTCPPacket.parse(bytes.span.bytes) { packets.append($0) }
        return (packets, malformed)
    }

    private func only(_ name: String) throws -> RTCPPacket {
        let (packets, malformed) = packets(RTPVectors.bytes("RTCP/\(name)"))
        #expect(malformed == 0)
        return try #require(packets.count == 1 ? packets.first : nil)
    }

    @Test("a sender report with a block")
    func senderReport() throws {
        guard case .senderReport(let report) = try only("rtcp_sr.bin") else {
            Issue.record("no sender report")
            return
        }
        #expect(report.ssrc == 1_831_097_322)
        #expect(report.ntpTimestamp == 16_016_567_581_311_369_308)
        #expect(report.rtpTimestamp == 1_722_342_718)
        #expect(report.packetCount == 269)
        #expect(report.octetCount == 13_557)
        #expect(report.blocks.count == 1)
        #expect(report.blocks.first?.ssrc == 2_398_654_957)
        #expect(report.blocks.first?.highestSequenceNumber == 246)
        #expect(report.blocks.first?.jitter == 127)
    }

    @Test("a receiver report, a description, a goodbye, a NACK, a PLI")
    func others() throws {
        guard case .receiverReport(let report) = try only("rtcp_rr.bin") else {
            Issue.record("no receiver report")
            return
        }
        #expect(report.ssrc == 817_267_719)
        #expect(report.blocks.first?.highestSequenceNumber == 630)
        #expect(report.blocks.first?.jitter == 1_906)
        guard case .sourceDescription(let chunks) = try only("rtcp_sdes.bin") else {
            Issue.record("no description")
            return
        }
        #expect(chunks.first?.cname == "{63f459ea-41fe-4474-9d33-9707c9ee79d1}")
        #expect(try only("rtcp_bye.bin") == .goodbye(RTCPGoodbye(ssrcs: [2_924_645_187])))
        #expect(try only("rtcp_bye_padding.bin") == .goodbye(RTCPGoodbye(ssrcs: [])))
        #expect(
            try only("rtcp_psfb_pli.bin")
                == .pictureLossIndication(
                    RTCPPictureLossIndication(senderSSRC: 1_414_554_213, mediaSSRC: 587_284_409)
                )
        )
        guard case .nack(let nack) = try only("rtcp_rtpfb.bin") else {
            Issue.record("no NACK")
            return
        }
        #expect(
            nack.lost.map { Int($0.rawValue) } == [12, 32, 39, 54, 76, 110, 123, 142, 183, 187, 223, 236, 271, 292]
        )
    }

    @Test(
        "broken packets are counted and yield nothing",
        arguments: [
            "rtcp_bye_invalid.bin", "rtcp_psfb_invalid.bin", "rtcp_rr_invalid.bin", "rtcp_rtpfb_invalid.bin",
            "rtcp_sr_invalid.bin", "rtcp_sdes_item_truncated.bin", "rtcp_sdes_source_truncated.bin",
        ]
    )
    func broken(name: String) {
        let bytes = RTPVectors.bytes("RTCP/\(name)")
        #expect(!bytes.isEmpty)
        let (packets, malformed) = packets(bytes)
        #expect(malformed > 0)
        #expect(packets.isEmpty)
    }

    @Test("a length beyond the datagram ends the walk after the packets before it")
    func hostileLength() {
        let bytes = RTPVectors.bytes("RTCP/rtcp_rr.bin") + [0x81, 206, 0xFF, 0xFF, 0, 0, 0, 0]
        let (packets, malformed) = packets(bytes)
        #expect(packets.count == 1)
        #expect(malformed == 1)
    }

    @Test("extended reports and application packets are tolerated")
    func tolerated() {
        // RRTR (RFC 3611 §4.4) and DLRR (§4.5).
        let bytes: [UInt8] =
            [0x80, 207, 0, 4, 0, 0, 0, 1, 4, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8]
            + [0x80, 207, 0, 5, 0, 0, 0, 1, 5, 0, 0, 3, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8]
            + [0x80, 204, 0, 2, 0, 0, 0, 1, 65, 66, 67, 68]
        let (packets, malformed) = packets(bytes)
        #expect(malformed == 0)
        #expect(packets == [.other(type: 207, format: 0), .other(type: 207, format: 0), .other(type: 204, format: 0)])
    }

    static let samples: [RTCPPacket] = [
        .senderReport(
            RTCPSenderReport(
                ssrc: 1,
                ntpTimestamp: 0x0102_0304_0506_0708,
                rtpTimestamp: 9,
                packetCount: 10,
                octetCount: 11,
                blocks: [
                    RTCPReportBlock(
                        ssrc: 2,
                        fractionLost: 255,
                        cumulativeLost: -5,
                        highestSequenceNumber: 0x1_0002,
                        jitter: 4,
                        lastSenderReport: 5,
                        delaySinceLastSenderReport: 6
                    )
                ]
            )
        ),
        .receiverReport(RTCPReceiverReport(ssrc: 1, blocks: [RTCPReportBlock(ssrc: 2, cumulativeLost: 0x7F_FFFF)])),
        .receiverReport(RTCPReceiverReport(ssrc: 1)),
        .sourceDescription([RTCPSourceDescription(ssrc: 1, cname: "a"), RTCPSourceDescription(ssrc: 2, cname: "abcd")]),
        .goodbye(RTCPGoodbye(ssrcs: [1, 2], reason: "gone")),
        .nack(RTCPNack(senderSSRC: 1, mediaSSRC: 2, lost: [65_535, 0, 15, 16, 1_000].map { SequenceNumber($0) })),
        .pictureLossIndication(RTCPPictureLossIndication(senderSSRC: 1, mediaSSRC: 2)),
        .fullIntraRequest(RTCPFullIntraRequest(senderSSRC: 1, entries: [.init(ssrc: 2, sequenceNumber: 3)])),
        .receiverEstimatedMaximumBitRate(
            RTCPReceiverEstimatedMaximumBitRate(senderSSRC: 1, bitsPerSecond: 131_072 << 5, ssrcs: [7, 8])
        ),
        .transportFeedback(
            RTCPTransportFeedback(
                senderSSRC: 1,
                mediaSSRC: 2,
                baseSequenceNumber: 65_530,
                referenceTime: -3,
                feedbackCount: 255,
                deltas: [0, nil, 255, 256, -1, nil, nil, nil, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, nil, 13]
            )
        ),
    ]

    @Test("each kind is read as it was written", arguments: samples)
    func roundTrip(packet: RTCPPacket) {
        var writer = ByteWriter()
        writer.write(packet)
        #expect(writer.count % 4 == 0)
        let (packets, malformed) = packets(writer.bytes)
        #expect(malformed == 0)
        #expect(packets == [packet])
    }

    @Test("all kinds in one compound datagram")
    func compound() {
        var writer = ByteWriter()
        for packet in Self.samples { writer.write(packet) }
        #expect(packets(writer.bytes).packets == Self.samples)
    }

    @Test("17 neighbours fit into one NACK entry")
    func nackEntries() {
        var writer = ByteWriter()
        let lost = (65_530..<65_547).map { SequenceNumber(UInt16(truncatingIfNeeded: $0)) }
        writer.write(.nack(RTCPNack(senderSSRC: 1, mediaSSRC: 2, lost: lost)))
        #expect(writer.count == 16)
        #expect(packets(writer.bytes).packets == [.nack(RTCPNack(senderSSRC: 1, mediaSSRC: 2, lost: lost))])
    }

    @Test("NTP times: compact forms and durations agree")
    func ntp() {
        let start = NTPTime.timestamp(nanoseconds: 5_000_000_000)
        let end = NTPTime.timestamp(nanoseconds: 5_250_000_000)
        let duration = NTPTime.duration(NTPTime.compact(end) &- NTPTime.compact(start))
        #expect(duration > .milliseconds(250) - .microseconds(31) && duration < .milliseconds(250) + .microseconds(31))
        #expect(NTPTime.compact(.milliseconds(1_500)) == 0x1_8000)
        #expect(NTPTime.duration(0x1_8000) == .milliseconds(1_500))
        #expect(NTPTime.duration(.max) > .seconds(65_535))
        #expect(NTPTime.compact(.seconds(1_000_000)) == .max)
        _ = NTPTime.timestamp(nanoseconds: .min)
    }

    @Test("a hundred thousand mutations never trap")
    func mutations() {
        let random = RandomSource(seed: 21)
        var seeds = [
            "rtcp_sr.bin", "rtcp_sdes.bin", "rtcp_rtpfb.bin", "fuzz-0b954a73147600a3.bin", "fuzz-e1a48af9f8e7db71.bin",
        ]
        .map { RTPVectors.bytes("RTCP/\($0)") }
        var writer = ByteWriter()
        for packet in Self.samples {
            var single = ByteWriter()
            single.write(packet)
            seeds.append(single.bytes)
            writer.write(packet)
        }
        seeds.append(writer.bytes)
        var parsed = 0
        for round in 0..<100_000 {
            let bytes = RTPVectors.mutate(seeds[round % seeds.count], random)
            parsed += packets(bytes).packets.count
        }
        #expect(parsed > 10_000)
    }
}
