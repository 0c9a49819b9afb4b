import STUN
import SansIO
import TURNServer
import Testing

@Suite struct HostileInput {
    private let peer = TransportAddress(IPAddress(v4: 0xC000_0201), port: 4000)

    /// Every kind of message that means something, with credentials that are right.
    private func messages(of client: TestClient) -> [[UInt8]] {
        var send = STUNMessageWriter(.indication, .send, client.makeID())
        send.add(.xorPeerAddress, xor: peer)
        send.add(.data, [1, 2, 3, 4, 5])
        return [
            client.message(.binding, isSigned: false), client.message(.allocate, isSigned: false),
            client.message(.allocate) { writer in
                TestClient.udp(&writer)
                writer.add(.lifetime, UInt32(1000))
                writer.add(.requestedAddressFamily, UInt32(1) << 24)
            },
            client.message(.refresh) { $0.add(.lifetime, UInt32(1000)) },
            client.message(.createPermission) { [peer] in $0.add(.xorPeerAddress, xor: peer) },
            client.message(.channelBind) { [peer] in
                $0.add(.channelNumber, UInt32(0x4000) << 16)
                $0.add(.xorPeerAddress, xor: peer)
            },
            send.finish(), TestClient.channelData(0x4000, [1, 2, 3], isPadded: true),
            STUNMessageWriter(.success, .binding, client.makeID()).finish(),
        ]
    }

    private func busyClient(stream: Int? = nil) throws -> (ServerTester, TestClient) {
        // All that is answered is looked at: no rate in the way.
        let tester = ServerTester {
            $0.bindingBurst = 1_000_000
            $0.challengeBurst = 1_000_000
            $0.requestBurst = 1_000_000
        }
        let client = try TestClient(tester, stream: stream)
        try client.allocate()
        _ = try client.bind(0x4000, to: peer)
        return (tester, client)
    }

    @Test func `Beginnings of messages do no harm`() throws {
        let (tester, client) = try busyClient()
        let messages = messages(of: client)
        for message in messages {
            for end in 0..<message.count {
                client.send(Array(message[..<end]))
                tester.deliver(Array(message[..<end]), from: peer, on: try #require(client.relay))
            }
            let stream = try busyClient(stream: 3)
            stream.1.send(message)
        }
        #expect(tester.server.allocationCount == 1)
        #expect(tester.server.statistics.dropped.malformed > 100)
    }

    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func `Random changes of messages never trap, nor do what only a user may`(
        seed: UInt64
    ) throws {
        let (tester, client) = try busyClient()
        let random = RandomSource(seed: seed)
        let messages = messages(of: client)
        let relay = try #require(client.relay)
        let stranger = TransportAddress(IPAddress(v4: 0xC633_6409), port: 9)
        var answered = 0
        for round in 0..<8000 {
            var bytes = messages[Int(random.next() % UInt64(messages.count))]
            for _ in 0..<(1 + random.next() % 4) { Self.change(&bytes, random) }
            // Half of them have a length that fits, so that they are read to the end.
            if random.next() % 2 == 0, bytes.count >= 20, bytes[0] < 0x40 {
                while bytes.count % 4 != 0 { bytes.append(0) }
                bytes[2] = UInt8((bytes.count - 20) >> 8 & 255)
                bytes[3] = UInt8((bytes.count - 20) & 255)
            }
            client.send(bytes)
            tester.deliver(bytes, from: stranger)
            tester.deliver(bytes, from: peer, on: relay)
            let sent = tester.take()
            answered += sent.count
            // A stranger's credentials are those of the same user: what stays whole may allocate, and no more.
            #expect(tester.server.allocationCount <= 2)
            for (path, answer) in sent where path.remote == stranger {
                #expect(answer.count <= bytes.count + 130, "nobody's answer is much longer than what was asked")
            }
            if round % 500 == 0 { tester.pass(.seconds(1)) }
        }
        #expect(answered > 1000)
        #expect(tester.server.statistics.dropped.malformed > 1000)
        #expect(try client.ask(.refresh)?.isSuccess == true, "who was there still is")
    }

    @Test(arguments: [5, 6] as [UInt64]) func `Random streams never trap, and those that are broken end`(seed: UInt64)
        throws
    {
        let random = RandomSource(seed: seed)
        let tester = ServerTester {
            $0.bindingBurst = 1_000_000
            $0.challengeBurst = 1_000_000
            $0.requestBurst = 1_000_000
        }
        let known = try TestClient(tester)
        try known.meet()
        for number in 0..<600 {
            let client = try TestClient(tester, port: UInt16(10_000 + number), stream: 100 + number)
            client.nonce = known.nonce
            let messages = messages(of: client)
            var bytes: [UInt8] = []
            for _ in 0..<6 { bytes += messages[Int(random.next() % UInt64(messages.count))] }
            for _ in 0..<(random.next() % 3) { Self.change(&bytes, random) }
            while !bytes.isEmpty {
                let count = min(bytes.count, 1 + Int(random.next() % 200))
                client.send(Array(bytes.prefix(count)))
                bytes.removeFirst(count)
            }
            if !tester.closedStreams.contains(PortID(rawValue: 100 + number)) {
                tester.closeStream(PortID(rawValue: 100 + number))
            }
            _ = tester.take()
        }
        #expect(tester.server.streamCount == 0 && tester.server.allocationCount == 0 && tester.relays.isEmpty)
        #expect(tester.closedStreams.count > 20)
        #expect(tester.openedCount > 20)
    }

    private static func change(_ bytes: inout [UInt8], _ random: RandomSource) {
        func below(_ limit: Int) -> Int { Int(random.next() % UInt64(limit)) }
        switch below(4) {
        case 0 where !bytes.isEmpty: bytes[below(bytes.count)] = UInt8(truncatingIfNeeded: random.next())
        case 1 where !bytes.isEmpty: bytes.removeLast(below(min(bytes.count, 40)))
        case 2: bytes += (0..<below(40)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        default: bytes.insert(UInt8(truncatingIfNeeded: random.next()), at: below(bytes.count + 1))
        }
    }
}
