import RTP
import SansIO
import Testing

@Suite("RTP header")
struct RTPHeaderParsing {
    private func parse(_ name: String) throws -> RTPHeader {
        let bytes = RTPVectors.bytes("RTP/\(name)")
        try #require(!bytes.isEmpty)
        return try RTPHeader(bytes.span.bytes)
    }

    @Test("a plain packet")
    func plain() throws {
        let header = try parse("rtp.bin")
        #expect(header.payloadType == 0)
        #expect(!header.marker)
        #expect(header.sequenceNumber.rawValue == 15_743)
        #expect(header.timestamp == 3_937_035_252)
        #expect(header.ssrc == 0xF01B_40E9)
        #expect(header.byteCount == 12)
        #expect(header.payloadByteCount == 160)
    }

    @Test("contributing sources are passed over")
    func contributingSources() throws {
        let header = try parse("rtp_with_csrc.bin")
        #expect(header.byteCount == 20)
        #expect(header.payloadByteCount == 160)
    }

    @Test(
        "a packet of padding has no payload",
        arguments: ["rtp_only_padding.bin", "rtp_only_padding_with_header_extensions.bin"]
    )
    func padding(name: String) throws {
        let header = try parse(name)
        #expect(header.payloadByteCount == 0)
        #expect(header.paddingByteCount == 224)
    }

    @Test("padding and payload add up: mediasoup's second packet")
    func paddingCount() throws {
        // The file ends with a byte that is not the packet's.
        let bytes = Array(RTPVectors.bytes("RTP/packet2.raw").dropLast())
        let header = try RTPHeader(bytes.span.bytes)
        #expect(header.sequenceNumber.rawValue == 28_478)
        #expect(header.timestamp == 172_320_136)
        #expect(header.ssrc == 3_316_375_386)
        #expect(header.paddingByteCount == 149)
        #expect(header.payloadByteCount == 78)
    }

    @Test("one-byte elements: mediasoup's third packet")
    func oneByteElements() throws {
        let bytes = RTPVectors.bytes("RTP/packet3.raw")
        let header = try RTPHeader(bytes.span.bytes)
        #expect(header.ssrc == 858_223_165 || header.ssrc == 0x0E0D_FAD2)
        var cursor = RTPHeaderExtensionCursor(header)
        var elements: [RTPHeaderExtensionElement] = []
        while let element = cursor.next(in: bytes.span.bytes) { elements.append(element) }
        #expect(elements.map(\.id) == [3, 1])
        #expect(elements.map(\.byteCount) == [3, 1])
        let values = RTPHeaderExtensionValues(
            header,
            in: bytes.span.bytes,
            ids: RTPHeaderExtensionIDs(absSendTime: 3, audioLevel: 1)
        )
        #expect(values.absoluteSendTime == 0x65341E)
        #expect(values.audioLevel == 0x50)
        #expect(values.hasVoice)
    }

    @Test("the MID of a packet")
    func mid() throws {
        let bytes = RTPVectors.bytes("RTP/rtp_with_sdes_mid.bin")
        let header = try RTPHeader(bytes.span.bytes)
        let values = RTPHeaderExtensionValues(header, in: bytes.span.bytes, ids: RTPHeaderExtensionIDs(mid: 9))
        #expect(Array(bytes[values.midOffset..<(values.midOffset + values.midByteCount)]) == Array("0".utf8))
    }

    @Test("two-byte elements, among them an empty one and padding")
    func twoByteElements() throws {
        var bytes: [UInt8] = [0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0x10, 0, 0, 3]
        bytes += [7, 0, 0, 20, 2, 0xAB, 0xCD, 0, 200, 1, 0x85, 0] + [1, 2, 3]
        let header = try RTPHeader(bytes.span.bytes)
        var cursor = RTPHeaderExtensionCursor(header)
        var ids: [UInt8] = []
        while let element = cursor.next(in: bytes.span.bytes) { ids.append(element.id) }
        #expect(ids == [7, 20, 200])
        let values = RTPHeaderExtensionValues(
            header,
            in: bytes.span.bytes,
            ids: RTPHeaderExtensionIDs(transportCC: 20, audioLevel: 200)
        )
        #expect(values.transportSequenceNumber == 0xABCD)
        #expect(values.audioLevel == 5)
        #expect(header.payloadByteCount == 3)
    }

    @Test("an element of ID 15 ends the extension, and one that overruns it is not read")
    func brokenElements() throws {
        let fixed: [UInt8] = [0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xBE, 0xDE, 0, 1]
        for elements: [UInt8] in [[0xF1, 0x10, 1, 0], [0x17, 1, 2, 3]] {
            let bytes = fixed + elements
            let header = try RTPHeader(bytes.span.bytes)
            var cursor = RTPHeaderExtensionCursor(header)
            let element = cursor.next(in: bytes.span.bytes)
            #expect(element == nil)
        }
    }

    @Test("each broken field is refused")
    func brokenHeaders() {
        func error(_ bytes: [UInt8]) -> RTPError? {
            do {
                _ = try RTPHeader(bytes.span.bytes)
                return nil
            } catch { return error }
        }
        let good: [UInt8] = [0x80, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]
        #expect(error(good) == nil)
        #expect(error(Array(good.dropLast())) == .truncated)
        #expect(error([0x40] + good.dropFirst()) == .wrongVersion)
        #expect(error([0x81] + good.dropFirst()) == .truncated)
        #expect(error([0x90] + good.dropFirst()) == .truncated)
        #expect(error([0x90] + good.dropFirst() + [0xBE, 0xDE, 0, 1]) == .truncated)
        #expect(error([0xA0] + good.dropFirst()) == .badPadding)
        #expect(error([0xA0] + good.dropFirst() + [0]) == .badPadding)
        #expect(error([0xA0] + good.dropFirst() + [2]) == .badPadding)
    }

    @Test("a template writes what the parser reads", arguments: [UInt8(4), 20])
    func template(midID: UInt8) throws {
        let ids = RTPHeaderExtensionIDs(mid: midID, transportCC: 3, absSendTime: 2, audioLevel: 1)
        let template = RTPHeaderTemplate(payloadType: 111, ssrc: 0xDEAD_BEEF, mid: "audio", extensions: ids)
        var bytes = [UInt8](repeating: 0xEE, count: template.byteCount + 5)
        let now = Instant(nanoseconds: 65_500_000_000)
        bytes.withUnsafeMutableBytes { buffer in
            template.write(into: buffer, sequenceNumber: SequenceNumber(0xFFFE), timestamp: 77, marker: true)
            template.stamp(buffer, transportSequenceNumber: 0x1234, at: now)
            template.setAudioLevel(30, hasVoice: true, in: buffer)
        }
        let header = try RTPHeader(bytes.span.bytes)
        #expect(header.payloadType == 111)
        #expect(header.marker)
        #expect(header.sequenceNumber.rawValue == 0xFFFE)
        #expect(header.timestamp == 77)
        #expect(header.ssrc == 0xDEAD_BEEF)
        #expect(header.payloadByteCount == 5)
        #expect(header.extensionProfile == (midID > 14 ? 0x1000 : 0xBEDE))
        let values = RTPHeaderExtensionValues(header, in: bytes.span.bytes, ids: ids)
        #expect(Array(bytes[values.midOffset..<(values.midOffset + values.midByteCount)]) == Array("audio".utf8))
        #expect(values.transportSequenceNumber == 0x1234)
        #expect(values.absoluteSendTime == 3 << 17)
        #expect(values.audioLevel == 30)
        #expect(values.hasVoice)
    }

    @Test("a datagram is RTCP by its second byte")
    func demultiplexing() {
        func isRTCP(_ bytes: [UInt8]) -> Bool { RTPHeader.isRTCP(bytes.span.bytes) }
        #expect(isRTCP(RTPVectors.bytes("RTCP/rtcp_sr.bin")))
        #expect(!isRTCP(RTPVectors.bytes("RTP/rtp_with_sdes_mid.bin")))
        #expect(!isRTCP([0x80, 0x80 | 96]))
        #expect(!isRTCP([0x80]))
    }

    @Test("a hundred thousand mutations never trap")
    func mutations() throws {
        let random = RandomSource(seed: 20)
        let seeds = [
            "rtp_with_csrc.bin", "rtp_with_sdes_mid.bin", "rtp_only_padding_with_header_extensions.bin", "packet3.raw",
        ]
        .map { RTPVectors.bytes("RTP/\($0)") }
        var parsed = 0
        for round in 0..<100_000 {
            let bytes = RTPVectors.mutate(seeds[round % seeds.count], random)
            guard let header = try? RTPHeader(bytes.span.bytes) else { continue }
            parsed += 1
            #expect(header.byteCount + header.payloadByteCount + header.paddingByteCount == bytes.count)
            _ = RTPHeaderExtensionValues(
                header,
                in: bytes.span.bytes,
                ids: RTPHeaderExtensionIDs(mid: 9, transportCC: 2, absSendTime: 3, audioLevel: 1)
            )
        }
        #expect(parsed > 10_000)
    }
}
