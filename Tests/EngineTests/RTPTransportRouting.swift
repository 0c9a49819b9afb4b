import PeerEngine
import RTP
import SRTP
import SansIO
import Testing

@Suite("RTP transport: routing of sources")
struct RTPTransportRouting {
    /// A packet as a browser would send it, before encryption.
    private func packet(
        ssrc: UInt32,
        payloadType: UInt8,
        number: UInt16,
        mid: String? = nil,
        payload: [UInt8] = [0x10, 0x10, 0, 0]
    ) -> [UInt8] {
        let template = RTPHeaderTemplate(
            payloadType: payloadType,
            ssrc: ssrc,
            mid: mid ?? "",
            extensions: RTPHeaderExtensionIDs(mid: mid == nil ? nil : 4)
        )
        var bytes = [UInt8](repeating: 0, count: template.byteCount) + payload
        bytes.withUnsafeMutableBytes {
            template.write(into: $0, sequenceNumber: SequenceNumber(number), timestamp: 0, marker: true)
        }
        return bytes
    }

    /// A pair and a way to inject plain packets into `b`, encrypted with `a`'s key.
    private final class Injector {
        let pair: RTPTransportPair
        private var session: SRTPSession

        init() throws {
            pair = try RTPTransportPair(seed: 50)
            session = try SRTPSession(
                profile: .aes128CmSha1_80,
                key: Array(repeating: 1, count: 16),
                salt: Array(repeating: 2, count: 14),
                direction: .outbound
            )
        }

        func send(_ plain: [UInt8]) throws {
            var bytes = plain + [UInt8](repeating: 0, count: SRTPSession.trailerByteCount)
            var length = 0
            try bytes.withUnsafeMutableBytes { length = try session.protect($0, byteCount: plain.count) }
            pair.inject(Array(bytes[..<length]))
            pair.drain()
        }

        var mids: [String] { pair.b.frames.map(\.mid) }
        var statistics: RTPTransportStatistics { pair.b.transport.statistics() }
    }

    private func section(_ mid: String, payloadType: UInt8, ssrcs: [UInt32] = []) -> RTPReceiveParameters {
        RTPReceiveParameters(
            mid: mid,
            codecs: [RTPCodecParameters(payloadType: payloadType, codec: .vp8, rtxPayloadType: 97, feedback: .all)],
            extensions: RTPHeaderExtensionIDs(mid: 4),
            ssrcs: ssrcs
        )
    }

    @Test("the MID decides, then the announced source, then a payload type that is used once")
    func precedence() throws {
        let injector = try Injector()
        let b = injector.pair.b.transport
        b.setReceive(section("x", payloadType: 96, ssrcs: [1]), mid: "x", at: injector.pair.now)
        b.setReceive(section("y", payloadType: 96, ssrcs: [2]), mid: "y", at: injector.pair.now)
        b.setReceive(section("z", payloadType: 100), mid: "z", at: injector.pair.now)
        try injector.send(packet(ssrc: 1, payloadType: 96, number: 1))
        try injector.send(packet(ssrc: 2, payloadType: 96, number: 1))
        try injector.send(packet(ssrc: 3, payloadType: 96, number: 1, mid: "y"))
        try injector.send(packet(ssrc: 4, payloadType: 100, number: 1))
        #expect(injector.mids == ["x", "y", "y", "z"])
        // Ambiguous, and of a MID that nobody has.
        try injector.send(packet(ssrc: 5, payloadType: 96, number: 1))
        try injector.send(packet(ssrc: 6, payloadType: 100, number: 1, mid: "w"))
        #expect(injector.mids.count == 4)
        #expect(injector.statistics.droppedUnknownSource == 2)
    }

    @Test("a source stays where its MID has put it, until another MID moves it")
    func latching() throws {
        let injector = try Injector()
        let b = injector.pair.b.transport
        b.setReceive(section("x", payloadType: 96), mid: "x", at: injector.pair.now)
        b.setReceive(section("y", payloadType: 96), mid: "y", at: injector.pair.now)
        try injector.send(packet(ssrc: 7, payloadType: 96, number: 1, mid: "y"))
        try injector.send(packet(ssrc: 7, payloadType: 96, number: 2))
        try injector.send(packet(ssrc: 7, payloadType: 96, number: 3, mid: "x"))
        #expect(injector.mids == ["y", "y", "x"])
    }

    @Test("sources beyond the limit push out the one that was silent longest")
    func limit() throws {
        let injector = try Injector()
        injector.pair.b.transport.setReceive(section("x", payloadType: 96), mid: "x", at: injector.pair.now)
        for ssrc in 1...200 { try injector.send(packet(ssrc: UInt32(ssrc), payloadType: 96, number: 1)) }
        #expect(injector.statistics.inbound.count == RTPReceiveTable.streamLimit)
        #expect(injector.mids.count == 200)
        #expect(injector.pair.b.transport.packetSlotsInUse == 0)
    }

    @Test("a retransmission source that nobody announced is found by its payload type")
    func unannouncedRetransmission() throws {
        let injector = try Injector()
        injector.pair.b.transport.setReceive(section("x", payloadType: 96), mid: "x", at: injector.pair.now)
        try injector.send(packet(ssrc: 1, payloadType: 96, number: 1))
        try injector.send(packet(ssrc: 1, payloadType: 96, number: 3))
        #expect(injector.mids.count == 1)
        try injector.send(packet(ssrc: 9, payloadType: 97, number: 500, payload: [0, 2, 0x10, 0x10, 0, 0]))
        #expect(injector.mids.count == 3)
        #expect(injector.statistics.inbound.first?.rtxSSRC == 9)
        #expect(injector.statistics.inbound.first?.retransmittedPacketsReceived == 1)
        // Probes of padding alone, and an old retransmission, do no harm.
        try injector.send(packet(ssrc: 9, payloadType: 97, number: 501, payload: []))
        try injector.send(packet(ssrc: 9, payloadType: 97, number: 502, payload: [0, 2, 0x10, 0x10, 0, 0]))
        #expect(injector.mids.count == 3)
    }

    @Test("hostile packets behind the encryption never trap")
    func mutations() throws {
        let injector = try Injector()
        let pair = injector.pair
        let b = pair.b.transport
        b.setReceive(section("x", payloadType: 96), mid: "x", at: pair.now)
        b.setReceive(
            RTPReceiveParameters(
                mid: "a",
                codecs: [RTPTransportPair.opus],
                extensions: RTPTransportPair.extensions
            ),
            mid: "a",
            at: pair.now
        )
        let random = RandomSource(seed: 51)
        for round in 0..<20_000 {
            let isAudio = random.next() % 4 == 0
            var payload: [UInt8] = (0..<Int(random.next() % 20)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            if random.next() % 2 == 0 { payload = [0x90, 0x80, 0x80, 1, UInt8(random.next() % 2)] + payload }
            let number =
                random.next() % 50 == 0 ? UInt16(truncatingIfNeeded: random.next()) : UInt16(truncatingIfNeeded: round)
            var bytes = packet(
                ssrc: UInt32(random.next() % 3),
                payloadType: isAudio ? 111 : (random.next() % 5 == 0 ? 97 : 96),
                number: number,
                mid: random.next() % 2 == 0 ? "x" : nil,
                payload: payload
            )
            if random.next() % 3 == 0 {
                bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
            }
            do { try injector.send(bytes) } catch {}
            if round % 100 == 0 { pair.run(for: .milliseconds(Int64(random.next() % 50))) }
            pair.b.events.removeAll()
        }
        #expect(pair.deadlineViolations.isEmpty)
        #expect(b.packetSlotsInUse <= 4 * VideoFrameAssembler.capacity)
        b.close(at: pair.now)
        #expect(b.packetSlotsInUse == 0)
    }

    @Test("bytes that are not SRTP are counted and dropped")
    func garbage() throws {
        let pair = try RTPTransportPair(seed: 52)
        pair.addVideo()
        pair.a.transport.send(RTPTransportPair.frame(0, byteCount: 900, isKeyFrame: true), mid: "1", at: pair.now)
        var captured: [[UInt8]] = []
        pair.a.transmits.drain { captured.append(Array($1)) }
        let random = RandomSource(seed: 53)
        for _ in 0..<5_000 {
            var bytes = captured[0]
            bytes[Int(random.next() % UInt64(bytes.count))] ^= UInt8(1 + random.next() % 255)
            if random.next() % 3 == 0 { bytes.removeLast(Int(random.next() % UInt64(bytes.count))) }
            pair.inject(bytes)
        }
        pair.inject([])
        pair.inject([0x80])
        pair.inject([UInt8](repeating: 0x80, count: 5_000))
        pair.drain()
        #expect(pair.b.frames.isEmpty)
        pair.inject(captured[0])
        pair.inject(captured[0])
        pair.drain()
        #expect(pair.b.frames.count == 1)
        let statistics = pair.b.transport.statistics()
        #expect(statistics.droppedReplayed == 1)
        #expect(statistics.droppedUnauthenticated > 3_000)
    }
}
