import RTP
import SansIO
import Testing

@Suite("VP8 payload format")
struct VP8PayloadFormat {
    private func descriptor(_ bytes: [UInt8]) throws(RTPError) -> VP8PayloadDescriptor {
        try VP8PayloadDescriptor(bytes.span.bytes)
    }

    @Test("descriptors of each form")
    func forms() throws {
        var value = try descriptor([0x10, 0])
        #expect(value.byteCount == 1)
        #expect(value.startsFrame)
        #expect(value.pictureID == nil)
        value = try descriptor([0x90, 0x80, 0x11, 0])
        #expect(value.pictureID == 0x11)
        #expect(value.byteCount == 3)
        value = try descriptor([0xB0, 0x80, 0x92, 0x34, 0])
        #expect(value.pictureID == 0x1234)
        #expect(value.isNonReference)
        value = try descriptor([0x83, 0xF0, 0x92, 0x34, 5, 0xE7, 0])
        #expect(value.partitionID == 3)
        #expect(!value.startsFrame)
        #expect(value.temporalLevelZeroIndex == 5)
        #expect(value.temporalID == 3)
        #expect(value.isLayerSync)
        #expect(value.keyIndex == 7)
        #expect(value.byteCount == 6)
    }

    @Test("a truncated descriptor is refused at each length")
    func truncated() {
        let whole: [UInt8] = [0x83, 0xF0, 0x92, 0x34, 5, 0xE7]
        for count in 0...whole.count {
            #expect(throws: RTPError.truncated) { try descriptor(Array(whole.prefix(count))) }
        }
    }

    @Test("frames of a captured stream are those of its listing")
    func capture() throws {
        let datagrams = RTPVectors.datagrams("RTP/Captures/vp8.pcap")
        let listing = RTPVectors.text("RTP/Captures/vp8.txt").split(separator: "\n")
        try #require(datagrams.count == listing.count && !listing.isEmpty)
        let pool = PacketPool()
        var assembler = VideoFrameAssembler(codec: .vp8, ssrc: 0xEEDF_3944, pool: pool)
        var frames: [ReceivedFrame] = []
        var payloadByteCount = 0
        var marks = 0
        for (datagram, line) in zip(datagrams, listing) {
            let span = datagram.span.bytes
            let header = try RTPHeader(span)
            #expect(line.contains("Seq=\(header.sequenceNumber.rawValue),"))
            #expect(line.contains("Time=\(header.timestamp)"))
            #expect(line.contains("Mark") == header.marker)
            marks += header.marker ? 1 : 0
            let payload = span.extracting(header.byteCount..<(header.byteCount + header.payloadByteCount))
            let descriptor = try VP8PayloadDescriptor(payload)
            if descriptor.startsFrame {
                let isKeyFrame = descriptor.startsKeyFrame(payload)
                #expect(line.contains("Keyframe") == isKeyFrame)
            }
            payloadByteCount += payload.byteCount - descriptor.byteCount
            let slot = try #require(pool.take())
            datagram.withUnsafeBytes { pool.bytes(of: slot).copyMemory(from: $0) }
            var packet = ReceivedPacket(
                slot: slot,
                sequence: Int64(header.sequenceNumber.rawValue),
                timestamp: header.timestamp,
                payloadType: header.payloadType,
                marker: header.marker,
                payloadOffset: header.byteCount + descriptor.byteCount,
                payloadByteCount: payload.byteCount - descriptor.byteCount,
                receivedAt: Instant(nanoseconds: 0)
            )
            packet.startsFrame = descriptor.startsFrame
            packet.startsKeyFrame = descriptor.startsKeyFrame(payload)
            #expect(assembler.insert(packet, at: Instant(nanoseconds: 0)) == .inserted)
            while let frame = assembler.nextFrame(at: Instant(nanoseconds: 0)) { frames.append(frame) }
        }
        #expect(frames.count == marks)
        #expect(frames.reduce(0) { $0 + $1.payload.count } == payloadByteCount)
        #expect(frames.first?.isKeyFrame == true)
        #expect(pool.usedCount == 0)
    }

    @Test("a frame is divided into equal parts with a shorter last", arguments: [1, 7, 1_100, 1_101, 2_200, 50_001])
    func partition(byteCount: Int) {
        let partition = PayloadPartition(frameByteCount: byteCount, limit: 1_100)
        #expect(partition.count == (byteCount + 1_099) / 1_100)
        var next = 0
        for index in 0..<partition.count {
            #expect(partition[index].lowerBound == next)
            #expect(!partition[index].isEmpty)
            #expect(partition[index].count <= 1_100)
            if index < partition.count - 1 { #expect(partition[index].count == partition.byteCount) }
            next = partition[index].upperBound
        }
        #expect(next == byteCount)
    }

    @Test("mutated payloads never trap")
    func mutations() {
        let random = RandomSource(seed: 22)
        let seeds: [[UInt8]] = [[0x83, 0xF0, 0x92, 0x34, 5, 0xE7, 1, 2, 3], [0x90, 0x80, 0x11, 0, 0], [0x10, 0]]
        var parsed = 0
        for round in 0..<50_000 {
            let bytes = RTPVectors.mutate(seeds[round % 3], random)
            guard let value = try? descriptor(bytes) else { continue }
            parsed += 1
            #expect(value.byteCount < bytes.count)
            _ = value.startsKeyFrame(bytes.span.bytes)
        }
        #expect(parsed > 1_000)
    }
}
