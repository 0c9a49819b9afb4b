import SCTP
import SansIO
import Testing

extension VirtualTime {
    @Suite struct DataChannelBasics {
        @Test func anInBandChannelOpensAndCarriesMessagesBothWays() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            var parameters = DataChannelParameters(label: "chat", protocol: "p")
            parameters.ordered = false
            parameters.maxRetransmits = 3
            let (client, server) = try #require(try pair.openPair(parameters))
            #expect(pair.clientEvents.contains(.opened(client, id: 0)))
            var expected = parameters
            expected.id = 0
            #expect(pair.serverEvents.contains(.incoming(server, expected, id: 0)))
            try pair.send(Array("hello".utf8), isText: true, on: client)
            try pair.send([1, 2, 3], on: server, fromClient: false)
            #expect(
                pair.run(for: .seconds(1)) {
                    $0.serverEvents.contains { $0.isMessage } && $0.clientEvents.contains { $0.isMessage }
                }
            )
            #expect(pair.serverEvents.contains(.message(server, isText: true, Array("hello".utf8))))
            #expect(pair.clientEvents.contains(.message(client, isText: false, [1, 2, 3])))
        }

        @Test func theDTLSRoleDecidesOnEvenAndOddIDs() throws {
            let pair = SCTPPair()
            let early = try pair.client.open(DataChannelParameters(label: "early"))
            let odd = try pair.server.open(DataChannelParameters(label: "odd"))
            #expect(pair.client.nextEvent() == nil, "nothing opens before the association is up")
            #expect(pair.connect())
            let late = try pair.client.open(DataChannelParameters(label: "late"))
            pair.run(for: .seconds(1))
            #expect(pair.clientEvents.contains(.opened(early, id: 0)))
            #expect(pair.clientEvents.contains(.opened(late, id: 2)))
            #expect(pair.serverEvents.contains(.opened(odd, id: 1)))
            #expect(pair.clientEvents.compactMap(\.incomingID) == [1])
            #expect(pair.serverEvents.compactMap(\.incomingID) == [0, 2])
        }

        @Test func theOpeningTravelsWithTheHandshakesLastPacket() throws {
            let pair = SCTPPair()
            let handle = try pair.client.open(DataChannelParameters(label: "early"))
            pair.client.prepare(remotePort: 5000, at: pair.now)
            pair.start()
            #expect(pair.run(for: .seconds(1)) { $0.server.isConnected })
            pair.drain()
            #expect(pair.serverEvents.compactMap(\.incomingID) == [0], "no round trip after the association is up")
            pair.run(for: .seconds(1))
            #expect(pair.clientEvents.count { $0 == .opened(handle, id: 0) } == 1)
            #expect(pair.serverEvents.compactMap(\.incomingID) == [0])
        }

        @Test func sendingBeforeTheChannelIsOpenIsRefused() throws {
            let pair = SCTPPair()
            let handle = try pair.client.open(DataChannelParameters(label: "x"))
            #expect(throws: DataChannelError.notOpen) { try pair.send([1], on: handle) }
            #expect(pair.connect())
            try pair.send([1], on: handle)
            #expect(pair.run(for: .seconds(1)) { $0.serverEvents.contains { $0.messageBytes == [1] } })
        }

        @Test func anUnorderedChannelsFirstMessagesDoNotOvertakeItsOpening() throws {
            for seed in 1...10 as ClosedRange<UInt64> {
                let pair = SCTPPair(seed: seed, link: SCTPPair.Link(jitter: .milliseconds(40), loss: 0.1))
                #expect(pair.connect(), "seed \(seed)")
                var parameters = DataChannelParameters(label: "x")
                parameters.ordered = false
                let handle = try pair.client.open(parameters)
                for index in 0..<20 as Range<UInt8> {
                    try pair.send([UInt8](repeating: index, count: 900), on: handle)
                    pair.drain()
                }
                #expect(pair.run(for: .seconds(60)) { $0.serverEvents.count { $0.isMessage } == 20 }, "seed \(seed)")
                #expect(pair.server.statistics.dropped == 0, "seed \(seed)")
            }
        }

        @Test func emptyMessagesKeepTheirKind() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let (client, server) = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            try pair.send([], isText: true, on: client)
            try pair.send([], isText: false, on: client)
            try pair.send([0], isText: true, on: client)
            #expect(pair.client.bufferedAmount(of: client) == 0)
            #expect(pair.run(for: .seconds(1)) { $0.serverEvents.count { $0.isMessage } == 3 })
            #expect(
                pair.serverEvents.filter(\.isMessage) == [
                    .message(server, isText: true, []), .message(server, isText: false, []),
                    .message(server, isText: true, [0]),
                ]
            )
        }

        @Test func aNegotiatedChannelOpensOnBothSidesWithoutAWord() throws {
            let pair = SCTPPair()
            var parameters = DataChannelParameters(label: "n")
            parameters.negotiated = true
            parameters.id = 17
            let client = try pair.client.open(parameters)
            let server = try pair.server.open(parameters)
            #expect(throws: DataChannelError.idInUse(17)) { try pair.client.open(parameters) }
            #expect(pair.connect())
            #expect(pair.clientEvents == [.associationConnected, .opened(client, id: 17)])
            #expect(pair.serverEvents == [.associationConnected, .opened(server, id: 17)])
            try pair.send([4], on: client)
            try pair.send([5], on: server, fromClient: false)
            pair.run(for: .seconds(1))
            #expect(pair.serverEvents.contains(.message(server, isText: false, [4])))
            #expect(pair.clientEvents.contains(.message(client, isText: false, [5])))
            // Its id is passed over by the channels that get theirs by themselves.
            parameters.id = 0
            _ = try pair.client.open(parameters)
            let next = try pair.client.open(DataChannelParameters(label: "x"))
            pair.run(for: .seconds(1))
            #expect(pair.clientEvents.last == .opened(next, id: 2))
        }

        @Test func anIDBeyondTheStreamsIsRefused() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            var parameters = DataChannelParameters(label: "n")
            parameters.negotiated = true
            parameters.id = 65_535
            #expect(throws: DataChannelError.idOutOfRange(65_535, limit: 65_535)) { try pair.client.open(parameters) }
        }

        @Test func allIDsInUseIsATypedError() throws {
            var configuration = SCTPConfiguration()
            configuration.streamCount = 8
            let pair = SCTPPair(client: configuration)
            let waiting = try (0..<5).map { try pair.client.open(DataChannelParameters(label: "\($0)")) }
            #expect(pair.connect())
            // The fifth of those that waited finds none left.
            #expect(pair.clientEvents.compactMap(\.openedID) == [0, 2, 4, 6])
            #expect(pair.clientEvents.compactMap(\.closedHandle) == [waiting[4]])
            #expect(throws: DataChannelError.noFreeID) { try pair.client.open(DataChannelParameters(label: "x")) }
            // What was refused leaves nothing behind.
            pair.client.close(waiting[0], at: pair.now)
            pair.run(for: .seconds(2))
            let again = try pair.client.open(DataChannelParameters(label: "again"))
            pair.run(for: .seconds(1))
            #expect(pair.clientEvents.contains(.opened(again, id: 0)))
        }

        @Test func messagesUpToThePeersLimitPassAndLongerOnesAreATypedError() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let (client, server) = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            let lengths = [1, 1_159, 1_160, 65_535, 65_536, 65_537, 262_143, 262_144]
            for length in lengths {
                try pair.send((0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }, on: client)
            }
            #expect(throws: DataChannelError.messageTooLarge(limit: 262_144)) {
                try pair.send([UInt8](repeating: 0, count: 262_145), on: client)
            }
            #expect(pair.run(for: .seconds(30)) { $0.serverEvents.count { $0.isMessage } == lengths.count })
            for (event, length) in zip(pair.serverEvents.filter(\.isMessage), lengths) {
                #expect(
                    event
                        == .message(
                            server,
                            isText: false,
                            (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
                        )
                )
            }
        }

        /// A peer that says it takes messages of any length gets those that SCTP's buffer holds.
        @Test func aPeersHugeLimitIsBoundedByOurOwnBuffer() throws {
            var configuration = SCTPConfiguration()
            configuration.maxMessageSize = 1 << 30
            let pair = SCTPPair(server: configuration)
            #expect(pair.connect())
            let (client, server) = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            let limit = DataChannelTable.sendByteLimit
            #expect(throws: DataChannelError.messageTooLarge(limit: limit)) {
                try pair.send([UInt8](repeating: 0, count: limit + 1), on: client)
            }
            try pair.send([UInt8](repeating: 7, count: limit), on: client)
            #expect(pair.run(for: .seconds(30)) { $0.serverEvents.contains { $0.isMessage } })
            #expect(pair.serverEvents.last == .message(server, isText: false, [UInt8](repeating: 7, count: limit)))
        }

        @Test func aMessageThatIsLongerThanThisSideTakesEndsTheAssociation() throws {
            let pair = SCTPPair()
            // The client was told the wrong limit.
            pair.client.start(dtlsRole: true, remotePort: 5000, remoteMaxMessageSize: 1 << 20, at: pair.now)
            pair.start()
            #expect(pair.run(for: .seconds(5)) { $0.client.isConnected && $0.server.isConnected })
            let (client, server) = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            try pair.send([UInt8](repeating: 1, count: 262_145), on: client)
            #expect(pair.run(for: .seconds(10)) { !$0.client.isConnected && !$0.server.isConnected })
            #expect(
                pair.serverEvents.suffix(2) == [.closed(server), .associationClosed(.messageTooLarge(limit: 262_144))]
            )
            #expect(pair.clientEvents.suffix(2).first == .closed(client))
        }

        @Test func whatWaitsIsCountedAndReported() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let (client, _) = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            let message = [UInt8](repeating: 1, count: 200_000)
            for _ in 0..<40 { try pair.send(message, on: client) }
            let waiting = pair.client.bufferedAmount(of: client)
            #expect(waiting > 0 && waiting % message.count == 0 && waiting < 40 * message.count)
            #expect(pair.run(for: .seconds(60)) { $0.client.bufferedAmount(of: client) == 0 })
            var amounts: [Int] = []
            for case .bufferedAmountChanged(client, let amount) in pair.clientEvents { amounts.append(amount) }
            #expect(amounts.last == 0)
            #expect(amounts == amounts.sorted(by: >), "it only falls, since nothing more was sent")
            #expect(pair.run(for: .seconds(60)) { $0.serverEvents.count { $0.isMessage } == 40 })
        }

        @Test func moreThanTheQueueHoldsIsATypedError() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let (client, _) = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            let message = [UInt8](repeating: 1, count: 262_144)
            var refusal: (any Error)?
            var count = 0
            while refusal == nil, count < 1_000 {
                do { try pair.send(message, on: client) } catch { refusal = error }
                count += 1
            }
            #expect(refusal as? DataChannelError == .bufferFull(limit: DataChannelTable.queueByteLimit))
            #expect(pair.client.statistics.messagesSent == count - 1)
        }

        @Test func aThousandChannelsOpenAndCarryMessages() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let clients = try (0..<500).map { try pair.client.open(DataChannelParameters(label: "c\($0)")) }
            let servers = try (0..<500).map { try pair.server.open(DataChannelParameters(label: "s\($0)")) }
            for (index, handle) in clients.enumerated() { try pair.send([UInt8(index & 255)], on: handle) }
            for (index, handle) in servers.enumerated() {
                try pair.send([UInt8(index & 255)], on: handle, fromClient: false)
            }
            #expect(
                pair.run(for: .seconds(60)) {
                    $0.serverEvents.count { $0.isMessage } == 500 && $0.clientEvents.count { $0.isMessage } == 500
                }
            )
            #expect(Set(pair.serverEvents.compactMap(\.incomingID)) == Set((0..<500).map { $0 * 2 }))
            #expect(Set(pair.clientEvents.compactMap(\.incomingID)) == Set((0..<500).map { $0 * 2 + 1 }))
            for handle in clients { pair.client.close(handle, at: pair.now) }
            for handle in servers { pair.server.close(handle, at: pair.now) }
            #expect(
                pair.run(for: .seconds(120)) {
                    $0.client.statistics.closed == 1_000 && $0.server.statistics.closed == 1_000
                }
            )
        }
    }
}
