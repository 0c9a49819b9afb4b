import ICE
import STUN
import SansIO
import Testing

@Suite struct TURNHostileInput {
    private let peer = TransportAddress(IPAddress(v4: 0xC000_0201), port: 4000)

    private func vectors() throws -> [[UInt8]] {
        let folders = ["TURN/pion-channeldata-fuzz", "STUN/pion-fuzz", "STUN/rfc5769"]
        let binary = try folders.flatMap { folder in
            try STUNVectorFiles.names(in: folder).filter { $0.hasSuffix(".bin") }
                .map { try STUNVectorFiles.bytes("\(folder)/\($0)") }
        }
        return try binary + TURNVectors.messages()
    }

    private func busyServer(_ transport: TURNTransport) -> TURNTestServer {
        let server = TURNTestServer.allocated(transport)
        server.bindChannel(to: peer)
        server.client.addPermission(for: IPAddress(v4: 0xC000_0202), at: server.now)
        return server
    }

    @Test func `No seed of a fuzzer traps, nor any of its beginnings`() throws {
        let vectors = try vectors()
        #expect(vectors.count > 20)
        let server = busyServer(.datagram)
        for vector in vectors {
            for end in 0...vector.count { server.deliver(Array(vector[..<end])) }
            let stream = busyServer(.stream)
            stream.deliver(vector)
        }
        server.pump()
        #expect(server.client.relayedAddress == TURNTestServer.relayed)
    }

    @Test(arguments: [1, 2, 3, 4] as [UInt64]) func `Random mutations never trap nor end an allocation`(seed: UInt64)
        throws
    {
        let server = busyServer(.datagram)
        // Answers to what is outstanding, and datagrams that would be taken, are among what is mutated.
        server.pump()
        let request = try #require(server.requests.last).reading
        var seeds = try vectors().filter { !$0.isEmpty }
        seeds += [
            server.success(request), server.failure(.forbidden, to: request), server.failure(.staleNonce, to: request),
            TURNTestServer.dataIndication([1, 2, 3, 4, 5], from: peer), TURNTestServer.channelData(0x4000, [1, 2, 3]),
        ]
        server.script = { _ in .nothing }
        server.run(.seconds(239))
        let mutation = STUNMutation(random: RandomSource(seed: seed), seeds: seeds, changeCount: 4)
        var dataCount = 0
        for round in 0..<6000 {
            let bytes = mutation.next()
            server.deliver(bytes)
            if case .data(_, let range) = server.lastInput {
                dataCount += 1
                #expect(range.lowerBound >= 4 && range.upperBound <= bytes.count)
            }
            if round % 100 == 0 { server.run(.milliseconds(300)) }
        }
        server.pump()
        #expect(dataCount > 0)
        #expect(server.client.statistics.dropped.malformed > 0)
        #expect(server.client.relayedAddress == TURNTestServer.relayed)
    }

    @Test(arguments: [5, 6] as [UInt64]) func `Random streams never trap and keep little`(seed: UInt64) throws {
        let random = RandomSource(seed: seed)
        let seeds = try vectors().filter { !$0.isEmpty }
        var frameCount = 0
        for _ in 0..<3000 {
            var reader = TURNStreamReader()
            for _ in 0..<4 {
                var bytes = seeds[Int(random.next() % UInt64(seeds.count))]
                if random.next() % 2 == 0 {
                    bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
                }
                _ = reader.read(bytes.span.bytes) { frame in
                    frameCount += 1
                    #expect(frame.byteCount >= 4)
                }
                #expect(reader.pendingByteCount <= 65_555)
            }
        }
        #expect(frameCount > 0)
    }

    @Test func `A server that answers every request with a random error never makes the client loop`() {
        let random = RandomSource(seed: 9)
        let codes: [UInt16] = [300, 400, 401, 403, 420, 437, 438, 440, 441, 442, 443, 486, 500, 508, 699]
        for _ in 0..<300 {
            let server = TURNTestServer(random.next() % 2 == 0 ? .datagram : .stream)
            server.script = { request in
                switch random.next() % 3 {
                case 0: return .ordinary
                case 1: return .nothing
                default:
                    let code = codes[Int(random.next() % UInt64(codes.count))]
                    return .failure(STUNErrorCode(rawValue: code))
                }
            }
            server.allocate()
            for index in UInt32(0)..<10 {
                server.send([1], to: TransportAddress(IPAddress(v4: 0xC000_0200 + index), port: 9))
                server.bindChannel(to: TransportAddress(IPAddress(v4: 0xC000_0200 + index), port: 9))
                server.run(.seconds(100))
            }
            // Ten permissions and channels, each asked for a few times in each retry's ten seconds.
            #expect(server.requests.count < 20_000)
            server.client.close(at: server.now)
            server.run(.seconds(3))
            #expect(server.client.nextDeadline == nil)
        }
    }

    @Test func `Requests and indications that no server sends are counted`() {
        let server = busyServer(.datagram)
        server.pump()
        for type in [STUNMessageType(.request, .binding), .init(.indication, .send), .init(.request, .allocate)] {
            server.deliver(
                STUNMessageWriter(type.messageClass, type.method, STUNTransactionID(high: 0, low: 0)).finish()
            )
            #expect(server.lastInput == .dropped)
        }
        #expect(server.client.statistics.dropped.unexpected == 3)
    }

    @Test func `A response with the right transaction and another method matches nothing`() throws {
        let server = TURNTestServer(credentials: nil)
        server.script = { _ in .nothing }
        server.allocate()
        let id = try #require(server.requests.first).reading.message.transactionID
        server.deliver(STUNMessageWriter(.success, .refresh, id).finish())
        #expect(server.client.statistics.dropped.unknownTransactions == 1)
        #expect(server.client.state == .allocating)
    }

    @Test func `Before the allocation and after the end everything is dropped`() {
        let server = TURNTestServer()
        server.deliver(TURNTestServer.channelData(0x4000, [1]))
        server.client.close(at: server.now)
        server.deliver(TURNTestServer.channelData(0x4000, [1]))
        #expect(server.client.statistics.dropped.outsideAllocation == 2)
    }

    @Test func `Events that nobody takes do not fill the memory`() {
        let server = TURNTestServer.allocated()
        for index in 0..<3000 {
            server.client.addPermission(for: IPAddress(v6High: 1, v6Low: UInt64(index)), at: server.now)
        }
        var count = 0
        while server.client.nextEvent() != nil { count += 1 }
        #expect(count == TURNLimits.events)
    }
}

/// Messages of real agents.
@Suite struct TURNVectors {
    /// One message a line, in hexadecimal digits.
    static func messages() throws -> [[UInt8]] {
        try ["01_chromeallocreq.hex", "02_chandata.hex"].flatMap { name in
            try STUNVectorFiles.bytes("TURN/pion/\(name)").split(separator: 0x0A).map { line in
                let digits = line.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
                return stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] * 16 + digits[$0 + 1]) }
            }
        }
    }

    @Test func `An exchange of Chromium with coturn is read`() throws {
        let readings = try Self.messages().prefix(4).map { try STUNReading($0) }
        #expect(readings.map(\.message.method) == Array(repeating: .allocate, count: 4))
        #expect(readings.map(\.message.messageClass) == [.request, .failure, .request, .success])
        #expect(readings[0].uint32(.requestedTransport) == 17 << 24)
        #expect(readings[1].errorCode == .unauthenticated)
        #expect(readings[1].errorReason == "Unauthorized")
        #expect(readings[1].text(.realm) == "a1.cydev.ru")
        #expect(readings[2].text(.username) == "ernado")
        #expect(readings[2].text(.nonce) == readings[1].text(.nonce))
        #expect(readings[3].xorAddress(.xorRelayedAddress)?.port == 55_936)
        #expect(readings[3].uint32(.lifetime) == 600)
    }

    @Test func `ChannelData of pion's vectors is handed on whole`() throws {
        let packets = try Self.messages().suffix(2)
        let peer = TransportAddress(IPAddress(v4: 0xC000_0201), port: 4000)
        let server = TURNTestServer.allocated()
        server.bindChannel(to: peer)
        for packet in packets { server.deliver(packet) }
        #expect(server.received.map(\.bytes.count) == [0x64, 0x223])
        // A connectivity check, and DTLS.
        #expect(try STUNReading(server.received[0].bytes).text(.username) == "D7X4:3wlY")
        #expect(server.received[1].bytes.first == 22)
    }
}
