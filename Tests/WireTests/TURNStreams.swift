import ICE
import STUN
import SansIO
import Testing

@Suite struct TURNStreams {
    private let peer = TransportAddress(IPAddress(v4: 0xC000_0201), port: 4000)

    private func message(_ size: Int) -> [UInt8] {
        var writer = STUNMessageWriter(.indication, .data, STUNTransactionID(high: 1, low: 2))
        writer.add(.data, [UInt8](repeating: 3, count: size))
        return writer.finish()
    }

    private func channelData(_ size: Int) -> [UInt8] {
        let bytes = TURNTestServer.channelData(0x4000, [UInt8](repeating: 5, count: size))
        return bytes + [UInt8](repeating: 0, count: (4 - bytes.count % 4) % 4)
    }

    private func frames(_ pieces: [[UInt8]]) -> (frames: [[UInt8]], reader: TURNStreamReader) {
        var reader = TURNStreamReader()
        var frames: [[UInt8]] = []
        for piece in pieces { _ = reader.read(piece.span.bytes) { frames.append($0.array()) } }
        return (frames, reader)
    }

    @Test func `Messages are found wherever the stream is cut`() {
        let messages = [message(0), channelData(0), channelData(1), message(5), channelData(6), channelData(1200)]
        let stream = messages.flatMap { $0 }
        #expect(frames([stream]).frames == messages)
        #expect(frames(stream.map { [$0] }).frames == messages)
        for cut in 0...stream.count {
            let result = frames([Array(stream[..<cut]), Array(stream[cut...])])
            #expect(result.frames == messages)
            #expect(result.reader.pendingByteCount == 0)
        }
        let random = RandomSource(seed: 3)
        for _ in 0..<200 {
            var pieces: [[UInt8]] = []
            var rest = stream[...]
            while !rest.isEmpty {
                let count = min(rest.count, Int(random.next() % 97))
                pieces.append(Array(rest.prefix(count)))
                rest = rest.dropFirst(count)
            }
            #expect(frames(pieces).frames == messages)
        }
    }

    @Test func `The longest messages are read, and nothing longer is kept`() {
        let longest: [[UInt8]] = [
            channelData(65_535), [0, 0x17, 0xFF, 0xFC, 0x21, 0x12, 0xA4, 0x42] + [UInt8](repeating: 0, count: 65_544),
        ]
        for frame in longest {
            let result = frames([Array(frame[..<7]), Array(frame[7..<60_000]), Array(frame[60_000...])])
            #expect(result.frames == [frame])
            let early = frames([Array(frame.dropLast())])
            #expect(early.frames.isEmpty)
            #expect(early.reader.pendingByteCount == frame.count - 1)
        }
    }

    @Test(arguments: [
        [0x80, 0, 0, 0], [0x50, 0, 0, 0], [0, 1, 0, 3, 0x21, 0x12, 0xA4, 0x42], [0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x43],
        Array("SSH-2.0-OpenSSH_9.2".utf8),
    ])
    func `What is no message breaks the stream for good`(bytes: [UInt8]) {
        for pieces in [[bytes], bytes.map { [$0] }, [channelData(3) + bytes]] {
            let result = frames(pieces + [channelData(4)])
            #expect(result.reader.isBroken)
            #expect(result.reader.pendingByteCount == 0)
            #expect(result.frames == (pieces[0].count > bytes.count ? [channelData(3)] : []))
        }
    }

    @Test func `An allocation works over a stream, padded`() {
        let server = TURNTestServer.allocated(.stream)
        server.bindChannel(to: peer)
        server.send([1, 2, 3, 4, 5], to: peer)
        server.pump()
        #expect(server.others == [[0x40, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0]])
        let stream = channelData(5) + TURNTestServer.dataIndication([6], from: peer) + channelData(0)
        for byte in stream { server.deliver([byte]) }
        #expect(server.received.map(\.bytes) == [[5, 5, 5, 5, 5], [6], []])
    }

    @Test func `A stream that carries something else ends the client`() {
        let server = TURNTestServer.allocated(.stream)
        server.deliver(Array("SSH-2.0-OpenSSH_9.2".utf8))
        server.pump()
        #expect(server.events == [.failed(.connectionLost)])
        #expect(server.client.statistics.dropped.malformed == 1)
        server.deliver(channelData(4))
        #expect(server.client.statistics.dropped.outsideAllocation == 1)
        #expect(server.client.nextDeadline == nil)
    }

    @Test func `A stream that brings no answers for half a minute has ended, though nobody says so`() {
        let server = TURNTestServer.allocated(.stream)
        var isDead = false
        server.script = { _ in isDead ? .nothing : .ordinary }
        server.run(.seconds(539))
        isDead = true
        server.run(.seconds(20))
        #expect(server.events.isEmpty)
        isDead = false
        server.run(.seconds(500))
        #expect(server.events.isEmpty, "one answer is enough")
        isDead = true
        server.run(.seconds(180), until: { !server.events.isEmpty })
        #expect(server.events == [.failed(.connectionLost)])
        let times = server.times(.refresh)
        #expect(times.suffix(3) == [1_100, 1_110, 1_120] && server.now - server.start == .seconds(1_130), "\(times)")
    }

    @Test func `Whoever gets a datagram may close the client`() {
        let server = TURNTestServer.allocated(.stream)
        server.bindChannel(to: peer)
        var count = 0
        server.client.receive(stream: (channelData(3) + channelData(4)).span.bytes, at: server.now) { _, _ in
            count += 1
            server.client.close(at: server.now)
        }
        #expect(count == 1)
        server.pump()
        #expect(server.events.last == .closed)
    }
}
