import DTLS
import ICE
import PeerEngine
import SansIO
import Testing

/// DTLS and SRTP count only on paths on which the peer has shown itself.
@Suite struct PeerEnginePaths {
    private let stranger = TransportAddress(IPAddress(v4: 0xCB00_7109), port: 9)

    @Test func `Two engines connect and drop nothing`() throws {
        let pair = try PeerEnginePair()
        try pair.negotiate()
        pair.exchange()
        pair.signalCandidates()
        #expect(pair.run { pair.isConnected })
        #expect(pair.offerer.engine.dropped == DroppedDatagrams())
        #expect(pair.answerer.engine.dropped == DroppedDatagrams())
    }

    @Test func `DTLS and SRTP of a stranger are counted and reach nothing`() throws {
        let pair = try PeerEnginePair()
        try pair.negotiate()
        pair.exchange()
        pair.signalCandidates()
        #expect(pair.run { pair.isConnected })
        let engine = pair.answerer.engine
        try #require(engine.dtls.statistics.srtpProfile != nil)
        let before = engine.dtls.statistics.datagramsReceived
        let record: [UInt8] = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]
        let packet: [UInt8] = [128, 111, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]
        for datagram in [record, packet] {
            engine.receive(datagram.span.bytes, from: stranger, on: pair.answerer.port, at: pair.now)
        }
        // Neither does the peer's address count on a socket of ours where it never showed itself.
        engine.receive(record.span.bytes, from: pair.offerer.address, on: PortID(rawValue: 1), at: pair.now)
        #expect(engine.dropped.unknownPath == 3)
        #expect(engine.dtls.statistics.datagramsReceived == before)
        engine.receive(record.span.bytes, from: pair.offerer.address, on: pair.answerer.port, at: pair.now)
        #expect(engine.dtls.statistics.datagramsReceived == before + 1)
    }

    @Test func `Before any check even the signalled address is a stranger's`() throws {
        let pair = try PeerEnginePair()
        try pair.negotiate()
        let record: [UInt8] = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]
        pair.answerer.engine.receive(
            record.span.bytes,
            from: pair.offerer.address,
            on: pair.answerer.port,
            at: pair.now
        )
        #expect(pair.answerer.engine.dropped.unknownPath == 1)
    }

    /// The answerer is the DTLS client: its checks and its ClientHello overtake the answer.
    @Test func `A ClientHello that comes before the answer is kept`() throws {
        let pair = try PeerEnginePair()
        var helloCount = 0
        pair.passes = { toAnswerer, datagram in
            if !toAnswerer, let first = datagram.first, (20...63).contains(first) { helloCount += 1 }
            return true
        }
        try pair.offer()
        pair.exchange()
        pair.signalCandidates()
        // The offerer answers checks without knowing the peer's credentials.
        #expect(pair.run(.seconds(1)) { helloCount == 1 })
        let engine = pair.offerer.engine
        #expect(engine.dtls.state == .new)
        #expect(engine.dtls.statistics.datagramsReceived == 1)
        #expect(engine.dropped == DroppedDatagrams())
        // The answer alone completes the handshake: no second ClientHello is needed.
        let time = pair.now
        try pair.answer()
        #expect(pair.run(.seconds(1)) { pair.isConnected })
        #expect(pair.now == time)
    }
}
