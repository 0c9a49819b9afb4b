import SansIO
import Testing

@testable import SCTP

extension VirtualTime {
    /// Peers that know the rules and break them: resets, requests for streams, openings.
    @Suite struct DataChannelHostilePeers {
        /// What a client needs to forge packets to the server.
        private struct Forger {
            let pair: SCTPPair
            /// Ports and verification tag.
            let header: [UInt8]
            /// The client's initial TSN, with which its requests begin.
            let initialTSN: UInt32

            func reconfiguration(_ parameters: [(type: UInt16, words: [UInt32])]) -> [UInt8] {
                var body = ByteWriter()
                for parameter in parameters {
                    body.write(parameter.type)
                    body.write(UInt16(4 + parameter.words.count * 4))
                    for word in parameter.words { body.write(word) }
                }
                var chunk = ByteWriter()
                chunk.write(SCTPChunks.reconfiguration)
                chunk.write(UInt8(0))
                chunk.write(UInt16(4 + body.bytes.count))
                return header + [0, 0, 0, 0] + chunk.bytes + body.bytes
            }
        }

        private func forger() throws -> Forger {
            let pair = SCTPPair()
            var initial: [UInt8] = []
            var last: [UInt8] = []
            pair.onPacket = { fromClient, packet in
                guard fromClient else { return }
                if packet[12] == SCTPChunks.initiation { initial = packet }
                last = packet
            }
            #expect(pair.connect())
            pair.run(for: .seconds(1))
            pair.onPacket = nil
            try #require(initial.count > 32)
            return Forger(
                pair: pair,
                header: Array(last[..<8]),
                initialTSN: initial.span.bytes.uint32(at: 28)
            )
        }

        /// Requests and responses with numbers near the right ones, between real openings, messages and closes.
        @Test(arguments: 1...20 as ClosedRange<UInt64>)
        func forgedRequestsNeitherTrapNorHang(seed: UInt64) throws {
            let random = RandomSource(seed: seed)
            let forger = try forger()
            let pair = forger.pair
            var handles: [DataChannelHandle] = []
            for _ in 0..<400 where pair.server.isConnected && pair.client.isConnected {
                let types: [UInt16] = [13, 14, 15, 16, 17, 18, 19, 0]
                let parameters = (0...(random.next() % 3)).map { _ in
                    (
                        type: types[Int(random.next() % UInt64(types.count))],
                        words: (0..<(1 + random.next() % 5)).map { index -> UInt32 in
                            let near = forger.initialTSN &+ UInt32(random.next() % 8) &- 3
                            return index < 2 && random.next() % 4 != 0 ? near : UInt32(random.next() % 0x4_0000)
                        }
                    )
                }
                var packet = forger.reconfiguration(parameters)
                if random.next() % 3 == 0 {
                    packet[12 + Int(random.next() % UInt64(packet.count - 12))] = UInt8(
                        truncatingIfNeeded: random.next()
                    )
                }
                pair.inject(packet, toServer: true)
                if random.next() % 4 == 0, let handle = try? pair.client.open(DataChannelParameters(label: "x")) {
                    handles.append(handle)
                    try? pair.send([1, 2, 3], on: handle)
                }
                if random.next() % 8 == 0, let handle = handles.popLast() { pair.client.close(handle, at: pair.now) }
                pair.run(for: .milliseconds(20))
            }
            pair.run(for: .seconds(30))
            // Whatever became of it, the end is orderly.
            pair.server.shutdown(at: pair.now)
            pair.drain()
            #expect(pair.serverEvents.last?.end != nil)
        }

        /// Its own packets with changed bytes, INIT to RE-CONFIG, while streams grow and channels close.
        @Test(arguments: 1...20 as ClosedRange<UInt64>)
        func changedPacketsOnTheirWayNeitherTrapNorHang(seed: UInt64) throws {
            let random = RandomSource(seed: seed)
            let pair = SCTPPair(seed: seed)
            pair.onPacket = { _, packet in
                guard random.next() % 8 == 0 else { return }
                for _ in 0...(random.next() % 3) {
                    packet[12 + Int(random.next() % UInt64(packet.count - 12))] = UInt8(
                        truncatingIfNeeded: random.next()
                    )
                }
            }
            pair.start()
            for round in 0..<40 {
                pair.run(for: .milliseconds(200))
                var parameters = DataChannelParameters(label: "x")
                if round % 3 == 0 {
                    parameters.negotiated = true
                    parameters.id = UInt16(truncatingIfNeeded: random.next())
                }
                guard let handle = try? pair.client.open(parameters) else { continue }
                try? pair.send([UInt8](repeating: 1, count: Int(random.next() % 5_000)), on: handle)
                if round % 2 == 0 { pair.client.close(handle, at: pair.now) }
            }
            pair.run(for: .seconds(10))
            pair.client.shutdown(at: pair.now)
            pair.drain()
            #expect(pair.clientEvents.last?.end != nil)
        }

        /// A peer asks for streams by itself, as RFC 6525 §4.5 has it, and then uses them.
        @Test func aPeersOwnRequestForStreamsIsFollowed() throws {
            var configuration = SCTPConfiguration()
            configuration.streamCount = 40
            let pair = SCTPPair(client: configuration)
            var initial: [UInt8] = []
            var last: [UInt8] = []
            pair.onPacket = { fromClient, packet in
                guard fromClient else { return }
                if packet[12] == SCTPChunks.initiation { initial = packet }
                last = packet
            }
            #expect(pair.connect())
            pair.run(for: .seconds(1))
            let forger = Forger(
                pair: pair,
                header: Array(last[..<8]),
                initialTSN: initial.span.bytes.uint32(at: 28)
            )
            var results: [UInt32] = []
            pair.onPacket = { fromClient, packet in
                guard !fromClient, packet[12] == SCTPChunks.reconfiguration, packet[17] == 16 else { return }
                results.append(packet.span.bytes.uint32(at: 24))
                packet = []
            }
            pair.inject(forger.reconfiguration([(17, [forger.initialTSN, 1_000 << 16])]), toServer: true)
            pair.drain()
            #expect(results == [1], "performed")
            // And once more in the same words: the same answer, nothing new.
            pair.inject(forger.reconfiguration([(17, [forger.initialTSN, 1_000 << 16])]), toServer: true)
            pair.drain()
            #expect(results == [1, 1])
        }

        /// Openings, one after another, on every stream there is: bounded memory, no answer to those out of turn.
        @Test func aFloodOfOpeningsIsBounded() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let open = DCEP.open(DataChannelParameters(label: String(repeating: "x", count: 1_000)))
            var sent = 0
            for stream in 0..<20_000 as Range<UInt16> {
                while true {
                    guard case .sent? = pair.client.sendRaw(open, stream: stream, ppid: 50) else {
                        pair.run(for: .milliseconds(50))
                        continue
                    }
                    break
                }
                sent += 1
            }
            pair.run(for: .seconds(60))
            let statistics = pair.server.statistics
            #expect(statistics.opened + statistics.dropped == sent)
            #expect(statistics.opened <= DataChannelTable.nameByteLimit / 1_000)
            #expect(statistics.opened > 8_000)
            #expect(pair.server.isConnected)
        }

        /// An opening that comes in pieces is one message all the same, and a piece alone is none.
        @Test func anOpeningInFragmentsIsTakenWhole() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            pair.run(for: .seconds(1))
            let label = String(repeating: "y", count: 30_000)
            var count = 0
            pair.onPacket = { fromClient, packet in
                guard fromClient, packet[12] == SCTPChunks.data else { return }
                count += 1
                // The second piece is lost once.
                if count == 2 { packet = [] }
            }
            let (client, server) = try #require(
                try pair.openPair(DataChannelParameters(label: label, protocol: label))
            )
            #expect(count > 50)
            try pair.send([4], on: client)
            #expect(pair.run(for: .seconds(5)) { $0.serverEvents.contains(.message(server, isText: false, [4])) })
        }

        @Test func dataOnAClosedStreamIsCountedAndNothingElse() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let (client, server) = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            pair.client.close(client, at: pair.now)
            #expect(
                pair.run(for: .seconds(5)) {
                    $0.clientEvents.contains(.closed(client)) && $0.serverEvents.contains(.closed(server))
                }
            )
            let before = pair.server.statistics.dropped
            _ = pair.client.sendRaw([1], stream: 0, ppid: 53)
            #expect(pair.run(for: .seconds(2)) { $0.server.statistics.dropped == before + 1 })
            #expect(pair.serverEvents.last == .closed(server))
        }

        /// ABORT in the middle of a message: what there is of it is not delivered.
        @Test func anAbortInTheMiddleOfAMessageDeliversNothingOfIt() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let (client, server) = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            pair.run(for: .seconds(1))
            try pair.send([UInt8](repeating: 1, count: 200_000), on: client)
            var count = 0
            pair.onPacket = { fromClient, packet in
                guard fromClient, packet[12] == SCTPChunks.data else { return }
                count += 1
                if count > 60 { packet = [] }
            }
            pair.run(for: .milliseconds(100))
            pair.client.shutdown(at: pair.now)
            pair.run(for: .seconds(1))
            #expect(!pair.serverEvents.contains { $0.isMessage })
            guard case .failed(server, .lost)? = pair.serverEvents.suffix(3).first else {
                Issue.record("\(pair.serverEvents)")
                return
            }
            #expect(pair.serverEvents.suffix(2).first == .closed(server))
        }

        /// Longer than usrsctp keeps back until it is whole: it hands out pieces, and the end may never come.
        @Test(arguments: [11, 12, 13] as [UInt64])
        func veryLongUnreliableMessagesComeWholeOrNotAtAll(seed: UInt64) throws {
            var configuration = SCTPConfiguration()
            configuration.maxMessageSize = 1 << 20
            let pair = SCTPPair(seed: seed, client: configuration, server: configuration)
            #expect(pair.connect())
            var parameters = DataChannelParameters(label: "l")
            parameters.maxRetransmits = 0
            let (client, _) = try #require(try pair.openPair(parameters))
            pair.run(for: .seconds(1))
            pair.link.loss = 0.0008
            for index in 0..<40 as Range<UInt8> {
                try pair.send([UInt8](repeating: index, count: 900_000), on: client)
                pair.run(for: .seconds(1))
            }
            pair.link.loss = 0
            pair.run(for: .seconds(20))
            let messages = pair.serverEvents.compactMap(\.messageBytes)
            #expect(!messages.isEmpty && messages.count < 40, "seed \(seed): \(messages.count)")
            for message in messages {
                #expect(message.count == 900_000 && message.allSatisfy { $0 == message[0] }, "seed \(seed)")
            }
            #expect(pair.server.isConnected)
        }
    }
}
