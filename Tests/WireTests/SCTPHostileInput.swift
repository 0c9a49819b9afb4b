import SansIO
import Testing

@testable import SCTP

extension VirtualTime {
    /// DTLS has authenticated the peer, yet the peer may be anything.
    @Suite struct SCTPHostileInput {
        private let random = RandomSource(seed: 77)

        /// A pair with a channel, and the packets that went over the link.
        private func recorded() throws -> (
            pair: SCTPPair, toServer: [[UInt8]], handles: (client: DataChannelHandle, server: DataChannelHandle)
        ) {
            let pair = SCTPPair()
            var packets: [[UInt8]] = []
            pair.onPacket = { fromClient, packet in if fromClient { packets.append(packet) } }
            #expect(pair.connect())
            let handles = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            try pair.send([UInt8](repeating: 5, count: 4_000), on: handles.client)
            pair.run(for: .seconds(1))
            pair.onPacket = nil
            return (pair, packets, handles)
        }

        /// The association still carries messages both ways.
        private func checkAlive(_ pair: SCTPPair, _ handles: (client: DataChannelHandle, server: DataChannelHandle))
            throws
        {
            pair.run(for: .seconds(2))
            try #require(pair.client.isConnected && pair.server.isConnected)
            try pair.send([0xA1], on: handles.client)
            try pair.send([0xA2], on: handles.server, fromClient: false)
            #expect(
                pair.run(for: .seconds(20)) {
                    $0.serverEvents.contains { $0.messageBytes == [0xA1] }
                        && $0.clientEvents.contains { $0.messageBytes == [0xA2] }
                }
            )
        }

        @Test func eachTruncationIsIgnored() throws {
            let (pair, packets, handles) = try recorded()
            for packet in packets {
                for count in stride(from: 0, to: min(packet.count, 200), by: 1) {
                    pair.inject(Array(packet[..<count]), toServer: true)
                }
                pair.drain()
            }
            try checkAlive(pair, handles)
        }

        @Test func replayedPacketsDeliverNothingTwice() throws {
            let (pair, packets, handles) = try recorded()
            let messages = pair.serverEvents.count { $0.isMessage }
            for _ in 0..<3 {
                for packet in packets { pair.inject(packet, toServer: true) }
                pair.run(for: .milliseconds(100))
            }
            #expect(pair.serverEvents.count { $0.isMessage } == messages)
            #expect(pair.serverEvents.count { $0.incomingHandle != nil } == 1)
            try checkAlive(pair, handles)
        }

        @Test func randomBytesAreIgnored() throws {
            let (pair, _, handles) = try recorded()
            for _ in 0..<5_000 {
                let count = Int(random.next() % 300)
                pair.inject(
                    (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) },
                    toServer: random.next() % 2 == 0
                )
            }
            pair.drain()
            try checkAlive(pair, handles)
        }

        /// Right ports and verification tag, random chunks: the peer may end the association, and nothing else happens.
        @Test(arguments: 1...10 as ClosedRange<UInt64>)
        func randomChunksNeverTrap(seed: UInt64) throws {
            let random = RandomSource(seed: seed)
            var left = 600
            while left > 0 {
                let (pair, packets, _) = try recorded()
                while left > 0, pair.server.isConnected {
                    left -= 1
                    let header = try #require(packets.last)[..<8] + [0, 0, 0, 0]
                    var packet = Array(header)
                    for _ in 0...(random.next() % 3) {
                        // ABORT, and SHUTDOWN's chunks, would end it at once.
                        let types: [UInt8] = [
                            0, 1, 2, 3, 4, 5, 9, 10, 11, 15, 0x40, 0x80, 0x81, 0x82, 0x84, 0xC0, 0xC1, 0xC2,
                            UInt8(truncatingIfNeeded: random.next()) | 0x20,
                        ]
                        let body = (0..<Int(random.next() % 60)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
                        let length =
                            random.next() % 4 == 0 ? UInt16(truncatingIfNeeded: random.next()) : UInt16(4 + body.count)
                        packet += [
                            types[Int(random.next() % UInt64(types.count))], UInt8(truncatingIfNeeded: random.next()),
                        ]
                        packet += [UInt8(length >> 8), UInt8(length & 255)] + body
                        while packet.count % 4 != 0 { packet.append(0) }
                    }
                    pair.inject(packet, toServer: true)
                    pair.drain()
                }
                pair.run(for: .seconds(5))
            }
        }

        /// Real packets with a few bytes changed.
        @Test(arguments: 1...10 as ClosedRange<UInt64>)
        func changedPacketsNeverTrap(seed: UInt64) throws {
            let random = RandomSource(seed: seed)
            var left = 2_000
            while left > 0 {
                let (pair, packets, _) = try recorded()
                while left > 0, pair.server.isConnected {
                    left -= 1
                    var packet = packets[Int(random.next() % UInt64(packets.count))]
                    for _ in 0...(random.next() % 4) {
                        packet[8 + Int(random.next() % UInt64(min(packet.count - 8, 60)))] = UInt8(
                            truncatingIfNeeded: random.next()
                        )
                    }
                    pair.inject(packet, toServer: true)
                    pair.drain()
                }
                pair.run(for: .seconds(5))
            }
        }

        /// usrsctp would walk such parameters for ever.
        @Test func anINITWithAnEmptyParameterIsIgnored() throws {
            let (pair, packets, handles) = try recorded()
            var initial = try #require(packets.first)
            #expect(initial[12] == 1)
            initial[34] = 0
            initial[35] = 0
            let before = pair.server.statistics.dropped
            pair.inject(initial, toServer: true)
            #expect(pair.server.statistics.dropped == before + 1)
            try checkAlive(pair, handles)
        }

        @Test func impossibleLengthsAreFound() {
            func check(_ chunks: [UInt8]) -> Bool {
                let packet = [UInt8](repeating: 0, count: 12) + chunks
                return SCTPPacketCheck.isWellFormed(packet.span.bytes)
            }
            let fixed = [UInt8](repeating: 0, count: 16)
            #expect(!check([]) && !check([0, 0, 0]))
            #expect(check([11, 0, 0, 4]))
            for length in [0, 1, 2, 3, 5, 255] as [UInt8] { #expect(!check([11, 0, 0, length]), "\(length)") }
            // The last chunk's padding may be missing, and the last parameter's.
            #expect(check([11, 0, 0, 5, 0]) && check([11, 0, 0, 5, 0, 0, 0, 0, 11, 0, 0, 4]))
            for type in [1, 2] as [UInt8] {
                #expect(!check([type, 0, 0, 4]) && !check([type, 0, 0, 19] + fixed.dropLast()))
                #expect(check([type, 0, 0, 20] + fixed))
                #expect(check([type, 0, 0, 25] + fixed + [0x80, 8, 0, 5, 1]))
                #expect(!check([type, 0, 0, 21] + fixed + [0, 0, 0, 0]), "bytes that are no parameter")
                #expect(
                    !check([type, 0, 0, 20] + fixed + [11, 0, 0, 4]) && !check([11, 0, 0, 4, type, 0, 0, 20] + fixed),
                    "not alone"
                )
                for length in [0, 3, 6, 255] as [UInt8] {
                    #expect(!check([type, 0, 0, 25] + fixed + [0x80, 8, 0, length, 1]), "\(length)")
                }
            }
        }

        /// What comes in on the stream of a channel, put there by an association that keeps to no rule.
        private func deliver(_ messages: [(stream: UInt16, ppid: UInt32, bytes: [UInt8])]) throws -> SCTPPair {
            let pair = SCTPPair()
            #expect(pair.connect())
            _ = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            pair.run(for: .seconds(1))
            for message in messages {
                guard case .sent? = pair.client.sendRaw(message.bytes, stream: message.stream, ppid: message.ppid)
                else {
                    Issue.record("not sent")
                    continue
                }
            }
            pair.run(for: .seconds(2))
            return pair
        }

        @Test func brokenAndUnexpectedDCEPIsCounted() throws {
            let before = 2  // connected, incoming
            let pair = try deliver([
                (2, 50, [0x03]), (2, 50, [0x00]), (2, 50, [0xFF, 0xFF]),
                (0, 50, DCEP.open(DataChannelParameters(label: "again"))),  // the id is in use
                (1, 50, DCEP.open(DataChannelParameters(label: "odd"))),  // the server's own half of the ids
                (2, 50, [0x03, 0x7F] + DCEP.open(DataChannelParameters(label: "type"))[2...]),
            ])
            #expect(pair.server.statistics.dropped == 6)
            #expect(pair.serverEvents.count == before)
            #expect(pair.server.isConnected)
        }

        @Test func messagesWithoutAChannelOrWithAnUnknownPPIDAreCounted() throws {
            let pair = try deliver([(8, 53, [1]), (9, 51, [2]), (0, 99, [3]), (0, 0, [4]), (0, 53, [5])])
            #expect(pair.server.statistics.dropped == 4)
            #expect(pair.server.statistics.messagesReceived == 1)
            #expect(pair.serverEvents.last?.messageBytes == [5])
        }

        @Test func anAcknowledgementThatNobodyWaitsForIsIgnored() throws {
            let pair = try deliver([(0, 50, [0x02]), (6, 50, [0x02])])
            #expect(pair.serverEvents.count == 2)
            #expect(pair.server.isConnected)
        }

        @Test func deprecatedPartsAndEmptyMessagesWithContentAreUnderstood() throws {
            let pair = try deliver([(0, 54, [0x61]), (0, 52, [1]), (0, 56, [1, 2, 3]), (0, 57, [1])])
            let handle = try #require(pair.serverEvents.compactMap(\.incomingHandle).first)
            #expect(
                pair.serverEvents.filter(\.isMessage) == [
                    .message(handle, isText: true, [0x61]), .message(handle, isText: false, [1]),
                    .message(handle, isText: true, []),
                    .message(handle, isText: false, []),
                ]
            )
        }

        @Test func aLabelOf65535BytesIsTaken() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let label = String(repeating: "x", count: 65_535)
            _ = try #require(try pair.openPair(DataChannelParameters(label: label, protocol: label)))
            guard case .incoming(_, let parameters, _)? = pair.serverEvents.last else {
                Issue.record("no channel")
                return
            }
            #expect(parameters.label == label && parameters.protocol == label)
        }

        /// Streams that this side cannot answer on: its own number of streams is smaller.
        @Test func aChannelBeyondOurStreamsIsRefused() throws {
            var configuration = SCTPConfiguration()
            configuration.streamCount = 4
            let pair = SCTPPair(server: configuration)
            #expect(pair.connect())
            for index in 0..<4 { _ = try pair.client.open(DataChannelParameters(label: "\(index)")) }
            pair.run(for: .seconds(2))
            #expect(pair.serverEvents.compactMap(\.incomingID) == [0, 2])
            #expect(pair.server.statistics.dropped == 2)
        }

        /// Changes INIT and INIT ACK of the server by `change`, which gets all of the packet.
        private func pair(changing change: @escaping (inout [UInt8]) -> Void) -> SCTPPair {
            let pair = SCTPPair()
            pair.onPacket = { fromClient, packet in
                if !fromClient, packet.count >= 32, packet[12] == 1 || packet[12] == 2 { change(&packet) }
            }
            return pair
        }

        @Test func aPeerThatTakesFewStreamsLimitsTheIDs() throws {
            let pair = pair { $0.replaceSubrange(26..<28, with: [0, 3]) }
            var parameters = DataChannelParameters(label: "early")
            parameters.negotiated = true
            parameters.id = 3
            let early = try pair.client.open(parameters)
            #expect(pair.connect())
            #expect(pair.clientEvents == [.associationConnected, .closed(early)])
            #expect(throws: DataChannelError.idOutOfRange(3, limit: 3)) { try pair.client.open(parameters) }
            let first = try pair.client.open(DataChannelParameters(label: "0"))
            _ = try pair.client.open(DataChannelParameters(label: "2"))
            #expect(throws: DataChannelError.noFreeID) { try pair.client.open(DataChannelParameters(label: "4")) }
            try pair.send([1], on: first)
            #expect(pair.run(for: .seconds(2)) { $0.serverEvents.contains { $0.messageBytes == [1] } })
            #expect(pair.serverEvents.compactMap(\.incomingID) == [0, 2])
        }

        /// Without RE-CONFIG among the peer's extensions (RFC 6525 §3), a close cannot be told.
        @Test func aPeerWithoutStreamResetsLeavesNoChannelClosing() throws {
            let pair = pair { packet in
                var offset = 32
                while offset + 4 <= packet.count {
                    let length = Int(packet[offset + 2]) << 8 | Int(packet[offset + 3])
                    guard length >= 4, offset + length <= packet.count else { return }
                    if packet[offset] == 0x80, packet[offset + 1] == 0x08 {
                        for index in (offset + 4)..<(offset + length) where packet[index] == 130 {
                            packet[index] = 0x3F
                        }
                    }
                    offset += (length + 3) & ~3
                }
            }
            #expect(pair.connect())
            let (client, _) = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            pair.client.close(client, at: pair.now)
            pair.run(for: .seconds(2))
            #expect(pair.clientEvents.last == .closed(client))
            let next = try pair.client.open(DataChannelParameters(label: "y"))
            pair.drain()
            #expect(pair.clientEvents.last == .opened(next, id: 2), "the peer still has the other")
        }
    }
}
