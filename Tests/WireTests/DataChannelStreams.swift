import SansIO
import Testing

@testable import SCTP

extension VirtualTime {
    /// Streams that usrsctp gets when they are needed; the peer knows of all from the first.
    @Suite struct DataChannelStreams {
        private func negotiated(_ id: UInt16) -> DataChannelParameters {
            var parameters = DataChannelParameters(label: "n")
            parameters.negotiated = true
            parameters.id = id
            return parameters
        }

        /// The value at an offset of the last INIT or INIT ACK.
        private func initiations(of pair: SCTPPair) -> () -> [(fromClient: Bool, packet: [UInt8])] {
            var seen: [(Bool, [UInt8])] = []
            pair.onPacket = { fromClient, packet in
                if packet[12] == 1 || packet[12] == 2 { seen.append((fromClient, packet)) }
            }
            return { seen }
        }

        @Test func thePeerIsToldOfAllStreams() throws {
            let pair = SCTPPair()
            let seen = initiations(of: pair)
            #expect(pair.connect())
            #expect(seen().count >= 2)
            for (_, packet) in seen() {
                #expect(Array(packet[24..<28]) == [0xFF, 0xFF, 0xFF, 0xFF])
            }
            #expect(pair.client.streamLimit == 65_535)
        }

        @Test(arguments: [31, 127, 128, 255, 1_023, 1_024, 40_000, 65_534] as [UInt16])
        func anyIDCanBeNegotiated(id: UInt16) throws {
            let pair = SCTPPair()
            let client = try pair.client.open(negotiated(id))
            let server = try pair.server.open(negotiated(id))
            #expect(pair.connect())
            for round in 0..<3 as Range<UInt8> {
                try pair.send([1, round], on: client)
                try pair.send([2, round], on: server, fromClient: false)
                #expect(
                    pair.run(for: .seconds(2)) {
                        $0.serverEvents.contains { $0.messageBytes == [1, round] }
                            && $0.clientEvents.contains { $0.messageBytes == [2, round] }
                    }
                )
            }
            pair.client.close(client, at: pair.now)
            #expect(
                pair.run(for: .seconds(10)) {
                    $0.clientEvents.contains(.closed(client)) && $0.serverEvents.contains(.closed(server))
                }
            )
            // And once more.
            let again = try pair.server.open(negotiated(id))
            _ = try pair.client.open(negotiated(id))
            try pair.send([3], on: again, fromClient: false)
            #expect(pair.run(for: .seconds(2)) { $0.clientEvents.contains { $0.messageBytes == [3] } })
        }

        /// Closing one that never carried a message tells the peer all the same.
        @Test func aHighChannelThatWasNeverUsedCloses() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let client = try pair.client.open(negotiated(50_000))
            let server = try pair.server.open(negotiated(50_000))
            pair.server.close(server, at: pair.now)
            #expect(
                pair.run(for: .seconds(5)) {
                    $0.clientEvents.contains(.closed(client)) && $0.serverEvents.contains(.closed(server))
                }
            )
        }

        /// A peer may begin with the highest id there is; the answer goes out on the same stream.
        @Test(arguments: [true, false])
        func aPeerMayOpenTheHighestStream(fromClient: Bool) throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let stream: UInt16 = fromClient ? 65_534 : 65_533
            let opener = fromClient ? pair.client : pair.server
            guard case .sent? = opener.sendRaw(DCEP.open(DataChannelParameters(label: "x")), stream: stream, ppid: 50)
            else {
                Issue.record("not sent")
                return
            }
            func events() -> [DataChannelEvent] { fromClient ? pair.serverEvents : pair.clientEvents }
            #expect(pair.run(for: .seconds(2)) { _ in events().contains { $0.incomingID == stream } })
            let handle = try #require(events().compactMap(\.incomingHandle).first)
            try pair.send([7], on: handle, fromClient: !fromClient)
            let before = opener.statistics.dropped
            // The opener's table has no such channel: it counts what comes.
            #expect(pair.run(for: .seconds(2)) { _ in opener.statistics.dropped == before + 1 })
        }

        /// usrsctp, given more streams in the middle of a message, would go on with another's: the first never arrives.
        @Test(arguments: 1...10 as ClosedRange<UInt64>)
        func noMessageIsCutWhereStreamsAreAdded(seed: UInt64) throws {
            let link = SCTPPair.Link(delay: .milliseconds(1), rate: 10_000_000, queue: 100_000)
            let pair = SCTPPair(seed: seed, link: link)
            #expect(pair.connect())
            var random = RandomSource(seed: seed)
            let busy = try (0..<8).map { _ in try pair.client.open(DataChannelParameters(label: "busy")) }
            pair.run(for: .milliseconds(50))
            // More than the first windows hold, so that usrsctp has it in parts.
            let message = [UInt8](repeating: 7, count: 65_536)
            for _ in 0..<4 { for channel in busy.shuffled(using: &random) { try pair.send(message, on: channel) } }
            var sentCount = 4 * busy.count
            for _ in 0..<150 {
                pair.run(for: .milliseconds(Int64(random.next() % 3)))
                try pair.send([1], on: try pair.client.open(DataChannelParameters(label: "late")))
                sentCount += 1
            }
            #expect(
                pair.run(for: .seconds(60)) { $0.serverEvents.count(where: \.isMessage) == sentCount },
                "\(pair.serverEvents.count(where: \.isMessage)) of \(sentCount)"
            )
        }

        /// Growth, resets and data all at once, over a link that loses, doubles and reorders.
        @Test(arguments: 1...10 as ClosedRange<UInt64>)
        func streamsGrowWhileChannelsOpenAndClose(seed: UInt64) throws {
            let link = SCTPPair.Link(jitter: .milliseconds(10), loss: 0.03, duplication: 0.03)
            let pair = SCTPPair(seed: seed, link: link)
            #expect(pair.connect())
            let random = RandomSource(seed: seed)
            var openClients: [DataChannelHandle] = []
            var openServers: [DataChannelHandle] = []
            var sent = 0
            var opened = 0
            for _ in 0..<60 {
                for _ in 0..<(random.next() % 8) {
                    openClients.append(try pair.client.open(DataChannelParameters(label: "c")))
                    openServers.append(try pair.server.open(DataChannelParameters(label: "s")))
                    opened += 2
                }
                for handle in openClients {
                    try pair.send([1], on: handle)
                    sent += 1
                }
                if !openClients.isEmpty, random.next() % 2 == 0 {
                    pair.client.close(
                        openClients.remove(at: Int(random.next() % UInt64(openClients.count))),
                        at: pair.now
                    )
                    pair.server.close(
                        openServers.remove(at: Int(random.next() % UInt64(openServers.count))),
                        at: pair.now
                    )
                }
                pair.run(for: .milliseconds(Int64(random.next() % 50)))
            }
            for handle in openClients { pair.client.close(handle, at: pair.now) }
            for handle in openServers { pair.server.close(handle, at: pair.now) }
            #expect(
                pair.run(for: .seconds(300)) {
                    $0.client.statistics.closed == opened && $0.server.statistics.closed == opened
                },
                "seed \(seed): \(opened) \(pair.client.statistics) \(pair.server.statistics)"
            )
            #expect(pair.server.statistics.messagesReceived == sent, "seed \(seed)")
            #expect(pair.client.statistics.dropped == 0 && pair.server.statistics.dropped == 0, "seed \(seed)")
        }

        /// A request for more streams would wedge peers that do not know it: none ever leaves.
        @Test func noRequestForStreamsLeaves() throws {
            let pair = SCTPPair()
            var types: Set<UInt8> = []
            pair.onPacket = { _, packet in
                SCTPChunks.forEach(in: packet.span.bytes) { type, start, _ in
                    if type == SCTPChunks.reconfiguration { types.insert(packet[start + 5]) }
                }
            }
            #expect(pair.connect())
            let client = try pair.client.open(negotiated(60_000))
            let server = try pair.server.open(negotiated(60_000))
            try pair.send([1], on: client)
            try pair.send([2], on: server, fromClient: false)
            pair.run(for: .seconds(1))
            pair.client.close(client, at: pair.now)
            #expect(pair.run(for: .seconds(5)) { $0.serverEvents.contains(.closed(server)) })
            #expect(types == [13, 16], "resets and responses alone")
        }

        /// While a reset is unanswered usrsctp makes no streams: what needs one waits, and all others go on.
        @Test func aChannelThatNeedsAStreamWaitsForAResetInProgress() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let (other, _) = try #require(try pair.openPair(DataChannelParameters(label: "other")))
            let (closing, _) = try #require(try pair.openPair(DataChannelParameters(label: "closing")))
            pair.run(for: .seconds(1))
            var isHeld = true
            pair.onPacket = { fromClient, packet in
                if fromClient, isHeld, packet[12] == SCTPChunks.reconfiguration { packet = [] }
            }
            pair.client.close(closing, at: pair.now)
            pair.drain()
            let high = try pair.client.open(negotiated(5_000))
            let server = try pair.server.open(negotiated(5_000))
            try pair.send([1], on: high)
            try pair.send([2], on: other)
            pair.run(for: .milliseconds(100))
            #expect(pair.serverEvents.contains { $0.messageBytes == [2] })
            #expect(!pair.serverEvents.contains { $0.messageBytes == [1] })
            isHeld = false
            #expect(pair.run(for: .seconds(10)) { $0.serverEvents.contains(.message(server, isText: false, [1])) })
            #expect(pair.clientEvents.contains(.closed(closing)))
        }

        @Test func tenThousandChannelsOpenAndCarryMessages() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let count = 10_000
            let handles = try (0..<count).map { try pair.client.open(DataChannelParameters(label: "\($0)")) }
            for handle in handles { try pair.send([1], on: handle) }
            #expect(pair.run(for: .seconds(120)) { $0.server.statistics.messagesReceived == count })
            #expect(pair.server.statistics.dropped == 0)
        }

        /// A peer that asks for a channel which cannot be is told by a reset. RFC 8832 §6
        @Test func aRefusedOpeningIsAnsweredByAReset() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            var resets = 0
            pair.onPacket = { fromClient, packet in
                guard !fromClient, packet[12] == SCTPChunks.reconfiguration, packet[17] == 13 else { return }
                resets += 1
                #expect(Array(packet[32..<34]) == [0, 7])
            }
            let open = DCEP.open(DataChannelParameters(label: "not yours"))
            _ = pair.client.sendRaw(open, stream: 7, ppid: 50)
            pair.run(for: .seconds(1))
            #expect(resets == 1)
            #expect(pair.server.statistics.dropped == 1)
            // The id is still the server's.
            let handles = try (0..<4).map { try pair.server.open(DataChannelParameters(label: "\($0)")) }
            #expect(pair.run(for: .seconds(2)) { $0.clientEvents.contains { $0.incomingID == 7 } })
            try pair.send([1], on: handles[3], fromClient: false)
            #expect(pair.run(for: .seconds(2)) { $0.clientEvents.contains { $0.messageBytes == [1] } })
        }

        @Test func theNamesOfAPeersChannelsAreBounded() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let name = String(repeating: "x", count: 65_535)
            let fitting = DataChannelTable.nameByteLimit / (2 * 65_535)
            let handles = try (0...fitting).map { _ in
                try pair.client.open(DataChannelParameters(label: name, protocol: name))
            }
            #expect(
                pair.run(for: .seconds(120)) {
                    $0.clientEvents.contains(.closed(handles[fitting])) && $0.server.statistics.opened == fitting
                }
            )
            #expect(pair.server.statistics.dropped == 1)
            // Room comes back.
            pair.client.close(handles[0], at: pair.now)
            #expect(pair.run(for: .seconds(10)) { $0.clientEvents.contains(.closed(handles[0])) })
            _ = try pair.client.open(DataChannelParameters(label: name, protocol: name))
            #expect(pair.run(for: .seconds(10)) { $0.server.statistics.opened == fitting + 1 })
        }

        /// "Reset all" closes every channel.
        @Test func aResetWithoutAListClosesAll() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let first = try #require(try pair.openPair(DataChannelParameters(label: "a")))
            let second = try #require(try pair.openPair(DataChannelParameters(label: "b")))
            pair.run(for: .seconds(1))
            // The client's list of one stream becomes none.
            pair.onPacket = { fromClient, packet in
                guard fromClient, packet[12] == SCTPChunks.reconfiguration, packet[17] == 13 else { return }
                packet[15] = 20
                packet[19] = 16
                packet.removeLast(packet.count - 32)
            }
            pair.client.close(first.client, at: pair.now)
            #expect(
                pair.run(for: .seconds(5)) {
                    $0.serverEvents.contains(.closing(first.server))
                        && $0.serverEvents.contains(.closing(second.server))
                }
            )
        }
    }
}
