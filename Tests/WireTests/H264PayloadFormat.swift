import H264
import RTP
import SansIO
import Testing

@Suite("H.264 payload format")
struct H264PayloadFormat {
    private let start = Instant(nanoseconds: 5_000_000_000)
    /// Made by ffmpeg with libx264: `testsrc2`, 192x112, 8 pictures of 3 slices, each fourth one an IDR.
    private let stream = RTPVectors.bytes("RTP/H264/x264.h264")

    private func units(_ bytes: [UInt8]) -> [[UInt8]] { AnnexB.units(in: bytes).map { Array(bytes[$0]) } }

    /// The stream's pictures: an access unit delimiter begins each.
    private var pictures: [[UInt8]] {
        var pictures: [[UInt8]] = []
        for unit in units(stream) {
            if unit[0] & 0x1F == 9 { pictures.append([]) }
            pictures[pictures.count - 1] += AnnexB.startCode + unit
        }
        return pictures
    }

    private func written(_ division: H264Payloads, of picture: [UInt8]) -> [[UInt8]] {
        division.payloads.map { payload in
            var bytes = [UInt8](repeating: 0, count: payload.byteCount)
            bytes.withUnsafeMutableBytes { target in
                picture.withUnsafeBytes { H264Payloads.write(payload, of: $0, into: target) }
            }
            return bytes
        }
    }

    private func joined(_ payloads: [[UInt8]]) -> H264PictureWriter {
        var writer = H264PictureWriter(byteCount: payloads.reduce(0) { $0 + $1.count })
        for payload in payloads { payload.withUnsafeBytes { writer.append($0) } }
        return writer
    }

    // MARK: The byte stream

    @Test("units are found behind start codes of three and four bytes, without the zeros around them")
    func startCodes() {
        #expect(
            units([0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 0, 0, 0, 1, 0x65, 3, 0, 0]) == [
                [0x67, 1], [0x68, 2], [0x65, 3],
            ]
        )
        #expect(units([0, 0, 0, 1, 0x41]) == [[0x41]])
    }

    @Test(
        "what is no stream has no units",
        arguments: [
            [], [0], [0, 0], [0, 0, 1], [0, 0, 0, 1], [1, 2, 3, 4], [0, 0, 1, 0, 0, 1, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0],
        ] as [[UInt8]]
    )
    func malformed(bytes: [UInt8]) {
        #expect(units(bytes).isEmpty)
        #expect(H264Payloads(bytes, limit: 1_000).payloads.isEmpty)
    }

    @Test("every stream has the units that a plain search finds")
    func search() {
        let random = RandomSource(seed: 7)
        for _ in 0..<2_000 {
            let choices: [UInt8] = [0, 0, 0, 1, 1, 2, 0x65]
            let bytes = (0..<Int(random.next() % 40)).map { _ in choices[Int(random.next() % 7)] }
            var expected: [[UInt8]] = []
            var isInside = false
            var index = 0
            while index < bytes.count {
                if index + 2 < bytes.count, bytes[index] == 0, bytes[index + 1] == 0, bytes[index + 2] == 1 {
                    isInside = true
                    expected.append([])
                    index += 3
                } else {
                    if isInside { expected[expected.count - 1].append(bytes[index]) }
                    index += 1
                }
            }
            for unit in expected.indices { while expected[unit].last == 0 { expected[unit].removeLast() } }
            expected.removeAll { $0.isEmpty }
            #expect(units(bytes) == expected, "\(bytes)")
        }
    }

    // MARK: Sending

    @Test(
        "small units travel together, long ones in fragments, and none exceeds the limit",
        arguments: [16, 100, 600, 1_150]
    )
    func division(limit: Int) {
        for picture in pictures {
            let division = H264Payloads(picture, limit: limit)
            let payloads = written(division, of: picture)
            #expect(payloads.allSatisfy { $0.count <= limit && !$0.isEmpty })
            #expect(units(joined(payloads).bytes) == units(picture))
            #expect(division.droppedUnitCount == 0)
        }
    }

    @Test("the parameter sets and the slices behind them share a packet where they fit")
    func aggregation() {
        let units: [[UInt8]] = [[0x67, 1, 2], [0x28, 3], [0x65, 4, 5]]
        let picture = units.flatMap { unit -> [UInt8] in AnnexB.startCode + unit }
        let payloads = written(H264Payloads(picture, limit: 100), of: picture)
        #expect(payloads == [[0x78, 0, 3, 0x67, 1, 2, 0, 2, 0x28, 3, 0, 3, 0x65, 4, 5]])
        // One that is alone is sent as it is.
        let single = AnnexB.startCode + [0x41, 9]
        #expect(written(H264Payloads(single, limit: 100), of: single) == [[0x41, 9]])
    }

    @Test("a fragment tells the unit's importance and type, its first and its last")
    func fragments() {
        let picture = AnnexB.startCode + [0x65] + Array(1...40)
        let payloads = written(H264Payloads(picture, limit: 16), of: picture)
        #expect(payloads.map(\.count) == [16, 16, 14])
        #expect(payloads.map { $0[0] } == [0x7C, 0x7C, 0x7C] as [UInt8])
        #expect(payloads.map { $0[1] } == [0x85, 5, 0x45] as [UInt8])
        let content = payloads.flatMap { $0.dropFirst(2) }
        #expect(content == Array(1...40))
    }

    @Test("units that packets would take for aggregates and fragments are left out")
    func reservedTypes() {
        let headers: [UInt8] = [0x60, 0x78, 0x7C, 0x7F, 0x41]
        let picture = headers.flatMap { header -> [UInt8] in AnnexB.startCode + [header, 2] }
        let division = H264Payloads(picture, limit: 100)
        #expect(written(division, of: picture) == [[0x41, 2]])
        #expect(division.droppedUnitCount == 4)
    }

    private func sender(_ pool: PacketPool) -> RTPSender {
        RTPSender(
            parameters: RTPSendParameters(
                mid: "v",
                ssrc: 10,
                rtxSSRC: 11,
                codec: RTPCodecParameters(payloadType: 98, codec: .h264, rtxPayloadType: 99, feedback: .all),
                extensions: .init(mid: 4, transportCC: 3),
                cname: "c"
            ),
            pool: pool,
            random: RandomSource(seed: 1)
        )
    }

    @Test("the last packet of a picture has the marker, and a picture of the largest size fits")
    func packets() throws {
        let pool = PacketPool()
        let sender = sender(pool)
        let largest = AnnexB.startCode + [0x65] + [UInt8](repeating: 7, count: RTPSender.frameByteLimit - 5)
        for picture in pictures + [largest] {
            let made = sender.packetize(EncodedFrame(payload: picture, codec: .h264, rtpTimestamp: 1), at: start)
            let (first, count) = try #require(made)
            for offset in 0..<count {
                var bytes = [UInt8](repeating: 0, count: 1_500)
                let written = bytes.withUnsafeMutableBytes {
                    sender.write(first + offset, into: $0, transportSequenceNumber: 7, at: start)
                }
                let packet = Array(bytes[..<(try #require(written))])
                let header = try RTPHeader(packet.span.bytes)
                #expect(header.marker == (offset == count - 1))
                #expect(header.payloadType == 98)
                #expect(try #require(written) + RTPSender.srtpByteCount <= RTPSender.datagramByteLimit)
            }
        }
        sender.close()
        #expect(pool.usedCount == 0)
    }

    @Test("too large pictures, what is no stream, and pictures of another codec are refused and counted")
    func refused() {
        let pool = PacketPool()
        let sender = sender(pool)
        let large = AnnexB.startCode + [0x65] + [UInt8](repeating: 7, count: RTPSender.frameByteLimit)
        #expect(sender.packetize(EncodedFrame(payload: large, rtpTimestamp: 1), at: start) == nil)
        #expect(sender.packetize(EncodedFrame(payload: [1, 2, 3], rtpTimestamp: 1), at: start) == nil)
        #expect(sender.statistics.packetsDiscarded == 2)
        let other = EncodedFrame(payload: AnnexB.startCode + [0x65, 1], codec: .vp8, rtpTimestamp: 1)
        #expect(sender.packetize(other, at: start) == nil)
        #expect(sender.statistics.framesOfOtherCodecs == 1)
        // Each long unit with a short one behind it: more packets than are kept.
        let pair = AnnexB.startCode + [UInt8](repeating: 1, count: 1_200) + AnnexB.startCode + [0x41, 1]
        let many = Array(repeatElement(pair, count: 600).joined())
        #expect(sender.packetize(EncodedFrame(payload: many, rtpTimestamp: 1), at: start) == nil)
        #expect(pool.usedCount == 0)
    }

    // MARK: Receiving

    @Test("what ffmpeg packs of a stream is unpacked to that stream")
    func packetsOfFFmpeg() throws {
        let datagrams = RTPVectors.datagrams("RTP/H264/ffmpeg.pcap")
        let (frames, _) = try receive(datagrams)
        #expect(frames.count == 8)
        let received = frames.flatMap { units($0.payload) }
        #expect((received == units(stream)) as Bool)
        #expect(frames.map(\.isKeyFrame) == [true, false, false, false, true, false, false, false])
        #expect(frames.allSatisfy { $0.codec == .h264 })
    }

    @Test("a lost fragment costs its picture and those up to the next key frame")
    func loss() throws {
        var datagrams = RTPVectors.datagrams("RTP/H264/ffmpeg.pcap")
        let lost = try #require(datagrams.firstIndex { $0[12] & 0x1F == 28 })
        datagrams.remove(at: lost)
        let (frames, _) = try receive(datagrams)
        #expect(frames.map(\.isKeyFrame) == [true, false, false, false])
        #expect(frames.first?.lostBefore ?? 0 > 0)
    }

    private func receive(_ datagrams: [[UInt8]]) throws -> (frames: [ReceivedFrame], statistics: RTPInboundStatistics) {
        let pool = PacketPool()
        var frames: [ReceivedFrame] = []
        var now = start
        let first = datagrams[0]
        let payloadType = try RTPHeader(first.span.bytes).payloadType
        let stream = RTPReceiveStream(
            ssrc: 1,
            kind: .video,
            parameters: RTPReceiveParameters(
                mid: "v",
                codecs: [RTPCodecParameters(payloadType: payloadType, codec: .h264)]
            ),
            pool: pool,
            at: now
        )
        for datagram in datagrams {
            now = now + .milliseconds(20)
            stream.handleTimeout(at: now)
            while let frame = stream.nextFrame(at: now) { frames.append(frame) }
            guard let header = try? RTPHeader(datagram.span.bytes), let slot = pool.take() else { continue }
            let bytes = pool.bytes(of: slot)
            guard datagram.count <= bytes.count else {
                pool.giveBack(slot)
                continue
            }
            bytes.copyBytes(from: datagram)
            let end = min(header.byteCount + header.payloadByteCount, datagram.count)
            let isTaken = stream.receive(
                header,
                payload: min(header.byteCount, end)..<end,
                packet: datagram.span.bytes,
                slot: slot,
                audioLevel: nil,
                isRetransmission: false,
                at: now
            )
            if !isTaken { pool.giveBack(slot) }
            while let frame = stream.nextFrame(at: now) { frames.append(frame) }
        }
        stream.handleTimeout(at: now + .seconds(1))
        while let frame = stream.nextFrame(at: now) { frames.append(frame) }
        let statistics = stream.statistics
        stream.close()
        #expect(pool.usedCount == 0)
        return (frames, statistics)
    }

    @Test(
        "payloads that are broken, or of packetization mode 2, are refused",
        arguments: [
            [], [0], [30, 1], [31], [25, 0, 0, 0, 1, 0x41], [26, 0, 0], [27, 0], [29, 0x85, 0, 0, 1],
            [24], [24, 0], [24, 0, 1], [24, 0, 0], [24, 0, 2, 0x41], [24, 0, 1, 0x41, 0], [24, 0, 1, 28],
            [24, 0, 1, 24],
            [28], [28, 0x85], [28, 0xC5, 1], [28, 0x80, 1], [28, 0x9C, 1],
        ] as [[UInt8]]
    )
    func brokenPayloads(bytes: [UInt8]) {
        #expect(throws: RTPError.self) { try H264PayloadParts(bytes.span.bytes) }
    }

    @Test("pieces of a unit that has not begun are left out of the picture")
    func orphans() {
        #expect(joined([[28, 5, 1, 2], [28, 0x45, 3]]).bytes.isEmpty)
        let whole = joined([[0x41, 7], [28, 5, 1, 2], [0x7C, 0x85, 1], [0x7C, 0x45, 2], [28, 5, 9]])
        #expect(units(whole.bytes) == [[0x41, 7], [0x65, 1, 2]])
        #expect(!whole.isKeyFrame)
    }

    @Test("mutated packets neither trap nor keep memory")
    func hostile() throws {
        let datagrams = RTPVectors.datagrams("RTP/H264/ffmpeg.pcap")
        let random = RandomSource(seed: 3)
        var frameCount = 0
        var malformed: UInt64 = 0
        for _ in 0..<400 {
            let bad = datagrams.map { random.next() % 4 == 0 ? RTPVectors.mutate($0, random) : $0 }.filter {
                !$0.isEmpty
            }
            let (frames, statistics) = (try? receive([datagrams[0]] + bad)) ?? ([], RTPInboundStatistics())
            frameCount += frames.count
            malformed += statistics.packetsMalformed
            let limit = 3 * bad.reduce(0) { $0 + $1.count }
            #expect(frames.reduce(0) { $0 + $1.payload.count } <= limit)
        }
        #expect(frameCount > 0)
        #expect(malformed > 0)
    }
}

@Suite("H.264 parameter sets")
struct H264ParameterSets {
    private let sps: [UInt8] = [0x67, 0x42, 0xC0, 0x1F, 1]
    private let pps: [UInt8] = [0x68, 2]
    private let idr: [UInt8] = [0x65, 3]
    private let slice: [UInt8] = [0x41, 4]

    private func stream(_ units: [UInt8]...) -> [UInt8] {
        units.flatMap { unit -> [UInt8] in AnnexB.startCode + unit }
    }

    private func units(_ picture: ParameterSets.Picture?) -> [[UInt8]]? {
        picture.map { picture in AnnexB.units(in: picture.bytes).map { Array(picture.bytes[$0]) } }
    }

    @Test("sets that were told once are repeated before each key frame")
    func repeated() {
        var sets = ParameterSets()
        let first = sets.complete(stream(sps, pps, idr))
        #expect(units(first) == [sps, pps, idr])
        #expect(first?.isKeyFrame == true)
        let second = sets.complete(stream(slice))
        #expect(units(second) == [slice])
        #expect(second?.isKeyFrame == false)
        let third = sets.complete(stream(idr))
        #expect(units(third) == [sps, pps, idr])
        #expect(third?.isKeyFrame == true)
    }

    @Test("sets that come by themselves are no picture, and go with the next one")
    func alone() {
        var sets = ParameterSets()
        #expect(sets.complete(stream(sps)) == nil)
        #expect(sets.complete(stream(pps)) == nil)
        #expect(units(sets.complete(stream(idr))) == [sps, pps, idr])
    }

    @Test("a refresh without any sets is nothing to begin with")
    func missing() {
        var sets = ParameterSets()
        #expect(sets.complete(stream(idr))?.isKeyFrame == false)
        #expect(sets.complete([]) == nil)
        #expect(sets.complete([1, 2, 3]) == nil)
    }

    @Test("new sets take the place of the old ones, and no number of them grows memory")
    func bounded() {
        var sets = ParameterSets()
        _ = sets.complete(stream(sps, pps, idr))
        let other: [UInt8] = [0x67, 0x4D, 0x40, 0x20, 9]
        _ = sets.complete(stream(other, [0x68, 7], idr))
        #expect(units(sets.complete(stream(idr))) == [other, [0x68, 7], idr])
        for number in 0..<100 { _ = sets.complete(stream([0x68, UInt8(number), 1], slice)) }
        #expect(units(sets.complete(stream(idr)))?.count == 1 + ParameterSets.countLimit + 1)
        _ = sets.complete(stream([0x67] + [UInt8](repeating: 1, count: ParameterSets.byteLimit), pps, idr))
        #expect(units(sets.complete(stream(idr)))?.count == 1 + ParameterSets.countLimit + 1)
    }
}
