import SCTP
import SansIO
import Testing

extension VirtualTime {
    @Suite struct DataChannelClosing {
        @Test func whatIsQueuedArrivesBeforeTheChannelCloses() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let (client, server) = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            for index in 0..<64 { try pair.send([UInt8](repeating: UInt8(index), count: 100_000), on: client) }
            #expect(pair.client.bufferedAmount(of: client) > 0)
            pair.client.close(client, at: pair.now)
            #expect(throws: DataChannelError.notOpen) { try pair.send([1], on: client) }
            #expect(pair.run(for: .seconds(60)) { $0.clientEvents.contains(.closed(client)) })
            pair.run(for: .seconds(1))
            #expect(pair.serverEvents.compactMap { $0.messageBytes?.first } == (0..<64).map { UInt8($0) })
            #expect(pair.serverEvents.suffix(2) == [.closing(server), .closed(server)])
            #expect(!pair.clientEvents.contains(.closing(client)))
        }

        /// Its OPEN is on its way: the peer must learn that the channel ends.
        @Test func aChannelClosedDuringTheHandshakeClosesOnBothSides() throws {
            let pair = SCTPPair()
            let handle = try pair.client.open(DataChannelParameters(label: "x"))
            pair.start()
            pair.client.close(handle, at: pair.now)
            #expect(pair.run(for: .seconds(5)) { $0.clientEvents.contains(.closed(handle)) })
            pair.run(for: .seconds(1))
            let incoming = try #require(pair.serverEvents.compactMap(\.incomingHandle).first)
            #expect(pair.serverEvents.suffix(2) == [.closing(incoming), .closed(incoming)])
            #expect(!pair.clientEvents.contains(.opened(handle, id: 0)))
        }

        /// What the side that did not close has queued goes out too.
        @Test func aCloseByThePeerStillFlushesThisSide() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let (client, server) = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            for _ in 0..<64 { try pair.send([UInt8](repeating: 1, count: 100_000), on: server, fromClient: false) }
            pair.client.close(client, at: pair.now)
            #expect(pair.run(for: .seconds(60)) { $0.serverEvents.contains(.closed(server)) })
            pair.run(for: .seconds(1))
            #expect(pair.clientEvents.count { $0.isMessage } == 64)
            #expect(pair.clientEvents.last == .closed(client))
        }

        @Test func bothEndsMayCloseAtOnce() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let (client, server) = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            pair.client.close(client, at: pair.now)
            pair.server.close(server, at: pair.now)
            pair.client.close(client, at: pair.now)
            #expect(
                pair.run(for: .seconds(5)) {
                    $0.clientEvents.contains(.closed(client)) && $0.serverEvents.contains(.closed(server))
                }
            )
            pair.run(for: .seconds(1))
            #expect(pair.clientEvents.count { $0 == .closed(client) } == 1)
        }

        @Test func anIDIsUsedAgainOnlyWhenBothDirectionsAreReset() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let (first, _) = try #require(try pair.openPair(DataChannelParameters(label: "first")))
            // The server's half of the reset is held back.
            var isHeld = true
            pair.onPacket = { fromClient, packet in if !fromClient, isHeld { packet = [] } }
            pair.client.close(first, at: pair.now)
            pair.run(for: .seconds(1))
            #expect(!pair.clientEvents.contains(.closed(first)))
            let second = try pair.client.open(DataChannelParameters(label: "second"))
            pair.drain()
            #expect(pair.clientEvents.last == .opened(second, id: 2))
            isHeld = false
            #expect(pair.run(for: .seconds(20)) { $0.clientEvents.contains(.closed(first)) })
            let third = try pair.client.open(DataChannelParameters(label: "third"))
            pair.drain()
            #expect(pair.clientEvents.last == .opened(third, id: 0))
            try pair.send([3], on: third)
            pair.run(for: .seconds(1))
            let incoming = pair.serverEvents.compactMap(\.incomingHandle)
            #expect(incoming.count == 3)
            #expect(pair.serverEvents.last == .message(incoming[2], isText: false, [3]))
        }

        @Test(arguments: 1...12 as ClosedRange<UInt64>)
        func manyChannelsCloseAndOpenUnderLoss(seed: UInt64) throws {
            let pair = SCTPPair(seed: seed, link: SCTPPair.Link(loss: 0.05))
            #expect(pair.connect())
            for round in 0..<3 {
                let handles = try (0..<500).map { try pair.client.open(DataChannelParameters(label: "\($0)")) }
                for handle in handles { try pair.send([UInt8(round)], on: handle) }
                let expected = 500 * (round + 1)
                #expect(
                    pair.run(for: .seconds(120)) { $0.server.statistics.messagesReceived == expected },
                    "seed \(seed), round \(round)"
                )
                for handle in handles { pair.client.close(handle, at: pair.now) }
                #expect(
                    pair.run(for: .seconds(120)) {
                        $0.client.statistics.closed == expected && $0.server.statistics.closed == expected
                    },
                    "seed \(seed), round \(round): \(pair.client.statistics) \(pair.server.statistics)"
                )
            }
        }

        /// The reset of one channel overtakes data of another: usrsctp would keep it until still later data comes.
        ///
        /// Either side may be a stack that does not hold resets back.
        @Test(arguments: [true, false])
        func aResetThatOvertakesDataTakesEffectWhenTheDataIsThere(isClientPlain: Bool) throws {
            let pair = Self.pair(isClientPlain: isClientPlain)
            #expect(pair.connect())
            let (busy, _) = try #require(try pair.openPair(DataChannelParameters(label: "busy")))
            let (client, server) = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            pair.run(for: .seconds(1))
            // The first of three packets of data is lost once.
            var isFirst = true
            pair.onPacket = { fromClient, packet in
                guard fromClient, isFirst, packet[12] == 0 else { return }
                isFirst = false
                packet = []
            }
            for value in 0..<3 as Range<UInt8> {
                try pair.send([UInt8](repeating: value, count: 1_000), on: busy)
                pair.drain()
            }
            pair.client.close(client, at: pair.now)
            #expect(
                pair.run(for: .seconds(10)) {
                    $0.serverEvents.contains(.closed(server)) && $0.clientEvents.contains(.closed(client))
                }
            )
            #expect(!isFirst)
            #expect(pair.serverEvents.compactMap { $0.messageBytes?.first } == [0, 1, 2])
        }

        /// The last message is lost and given up, and then what tells of it (FORWARD-TSN, RFC 3758) is lost too.
        @Test(arguments: [true, false])
        func aChannelClosesWhenTheWordThatAMessageWasGivenUpIsLost(isClientPlain: Bool) throws {
            let pair = Self.pair(isClientPlain: isClientPlain)
            #expect(pair.connect())
            var parameters = DataChannelParameters(label: "x")
            parameters.maxRetransmits = 0
            let (client, server) = try #require(try pair.openPair(parameters))
            pair.run(for: .seconds(1))
            let (data, forwardTSN) = (UInt8(0), UInt8(192))
            var lost: [UInt8] = []
            pair.onPacket = { fromClient, packet in
                guard fromClient, packet[12] == data || packet[12] == forwardTSN, !lost.contains(packet[12]) else {
                    return
                }
                lost.append(packet[12])
                packet = []
            }
            try pair.send([1], on: client)
            pair.client.close(client, at: pair.now)
            #expect(
                pair.run(for: .seconds(60)) {
                    $0.serverEvents.contains(.closed(server)) && $0.clientEvents.contains(.closed(client))
                }
            )
            #expect(lost == [data, forwardTSN])
            #expect(!pair.serverEvents.contains { $0.isMessage })
        }

        /// One side holds early resets back; the other is usrsctp as it is.
        private static func pair(isClientPlain: Bool) -> SCTPPair {
            var plain = SCTPConfiguration()
            plain.holdsEarlyResets = false
            return SCTPPair(client: isClientPlain ? plain : .init(), server: isClientPlain ? .init() : plain)
        }

        @Test func aCloseWithoutLossTakesNoTimeout() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let (client, server) = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            pair.run(for: .seconds(1))
            try pair.send([1], on: client)
            pair.client.close(client, at: pair.now)
            // A delayed SACK and two round trips.
            #expect(
                pair.run(for: .milliseconds(80)) {
                    $0.serverEvents.contains(.closed(server)) && $0.clientEvents.contains(.closed(client))
                }
            )
        }

        @Test func aChannelClosedBeforeTheStartNeverOpens() throws {
            let pair = SCTPPair()
            let handle = try pair.client.open(DataChannelParameters(label: "x"))
            pair.client.close(handle, at: pair.now)
            #expect(pair.connect())
            pair.run(for: .seconds(1))
            #expect(pair.clientEvents == [.closed(handle), .associationConnected])
            #expect(pair.serverEvents == [.associationConnected])
        }

        @Test func aNegotiatedChannelClosesOnBothSides() throws {
            let pair = SCTPPair()
            var parameters = DataChannelParameters(label: "n")
            parameters.negotiated = true
            parameters.id = 3
            let client = try pair.client.open(parameters)
            let server = try pair.server.open(parameters)
            #expect(pair.connect())
            pair.server.close(server, at: pair.now)
            #expect(
                pair.run(for: .seconds(5)) {
                    $0.clientEvents.contains(.closed(client)) && $0.serverEvents.contains(.closed(server))
                }
            )
            // And opens again.
            let again = try pair.client.open(parameters)
            _ = try pair.server.open(parameters)
            try pair.send([8], on: again)
            #expect(pair.run(for: .seconds(5)) { $0.serverEvents.contains { $0.messageBytes == [8] } })
        }

        @Test func shutdownClosesTheChannelsOfBothEnds() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let (client, server) = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            pair.client.shutdown(at: pair.now)
            pair.drain()
            #expect(pair.clientEvents.suffix(2) == [.closed(client), .associationClosed(nil)])
            #expect(throws: DataChannelError.associationClosed) {
                try pair.client.open(DataChannelParameters(label: "y"))
            }
            #expect(throws: DataChannelError.notOpen) { try pair.send([1], on: client) }
            #expect(pair.client.nextDeadline == nil)
            pair.run(for: .seconds(1))
            #expect(pair.serverEvents.suffix(2).first == .closed(server))
            guard case .associationClosed(.some(.lost(let reason)))? = pair.serverEvents.last else {
                Issue.record("\(pair.serverEvents)")
                return
            }
            #expect(reason.contains("the peer aborted it"), "\(reason)")
        }

        /// RFC 9260 §3.3.10.12: cause 12, "User-Initiated Abort", with text.
        @Test func anABORTIsToldWithItsReasonInWords() throws {
            let pair = SCTPPair()
            var verificationTag: [UInt8] = []
            pair.onPacket = { fromClient, packet in
                if fromClient { verificationTag = Array(packet[4..<8]) }
            }
            #expect(pair.connect())
            pair.run(for: .seconds(1))
            let reason = Array("out of memory\u{7}\u{1B}[31m".utf8)
            var chunk: [UInt8] = [6, 0, 0, UInt8(4 + 4 + reason.count), 0, 12, 0, UInt8(4 + reason.count)] + reason
            while chunk.count % 4 != 0 { chunk.append(0) }
            pair.inject([0x13, 0x88, 0x13, 0x88] + verificationTag + [0, 0, 0, 0] + chunk, toServer: true)
            pair.drain()
            guard case .associationClosed(.some(.lost(let words)))? = pair.serverEvents.last else {
                Issue.record("\(pair.serverEvents)")
                return
            }
            #expect(words.contains("cause 12 out of memory"))
            #expect(words.utf8.allSatisfy { $0 >= 32 }, "nothing that could steer a terminal")
            #expect(!pair.server.isConnected)
            #expect(pair.server.nextDeadline == nil)
        }

        @Test func twoHundredAssociationsLeaveNothing() throws {
            let before = SCTPLeftovers.count
            for index in 0..<200 {
                let pair = SCTPPair(seed: UInt64(index))
                #expect(pair.connect())
                let (client, _) = try #require(try pair.openPair(DataChannelParameters(label: "x")))
                try pair.send([UInt8](repeating: 1, count: 50_000), on: client)
                if index % 2 == 0 { pair.run(for: .seconds(1)) }
            }
            #expect(SCTPLeftovers.count == before)
        }
    }
}
