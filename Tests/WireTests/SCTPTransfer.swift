import SansIO
import Testing

@testable import SCTP

extension VirtualTime {
    @Suite struct SCTPTransfer {
        /// FNV-1a: two transfers are compared by more than their lengths.
        static func hash(_ bytes: [UInt8], into value: inout UInt64) {
            bytes.withUnsafeBytes {
                for offset in stride(from: 0, to: $0.count & ~7, by: 8) {
                    value = (value ^ $0.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) &* 0x100_0000_01B3
                }
            }
        }

        static func randomBytes(_ count: Int, _ random: RandomSource) -> [UInt8] {
            [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
                for offset in stride(from: 0, to: count, by: 8) {
                    let word = random.next()
                    for byte in 0..<min(8, count - offset) {
                        buffer[offset + byte] = UInt8(truncatingIfNeeded: word >> UInt64(byte * 8))
                    }
                }
                initialized = count
            }
        }

        /// Sends `total` bytes in messages of 64 KiB as fast as the queue takes them.
        private func transfer(_ total: Int, over link: SCTPPair.Link, seed: UInt64, within limit: Duration) throws
            -> SCTPPair
        {
            let pair = SCTPPair(seed: seed, link: link)
            #expect(pair.connect(), "seed \(seed)")
            let (client, _) = try #require(try pair.openPair(DataChannelParameters(label: "file")))
            let random = RandomSource(seed: seed)
            var sent: UInt64 = 0xCBF2_9CE4_8422_2325
            var received = sent
            var sentByteCount = 0
            var receivedByteCount = 0
            let isDone = pair.run(for: limit) { pair in
                for event in pair.serverEvents {
                    guard let bytes = event.messageBytes else { continue }
                    Self.hash(bytes, into: &received)
                    receivedByteCount += bytes.count
                }
                pair.serverEvents = []
                while sentByteCount < total, pair.client.bufferedAmount(of: client) < 1 << 20 {
                    let message = Self.randomBytes(65_536, random)
                    do { try pair.send(message, on: client) } catch { break }
                    Self.hash(message, into: &sent)
                    sentByteCount += message.count
                }
                pair.drain()
                return receivedByteCount == total
            }
            #expect(isDone, "seed \(seed): \(receivedByteCount) of \(total)")
            #expect(sent == received, "seed \(seed)")
            #expect(pair.run(for: .seconds(2)) { $0.client.bufferedAmount(of: client) == 0 })
            #expect(pair.longestPacketByteCount == 1_160)
            return pair
        }

        @Test func fiveMegabytesArriveUnharmedOverACleanLink() throws {
            let pair = try transfer(80 << 16, over: SCTPPair.Link(), seed: 1, within: .seconds(60))
            // 1132 bytes of each packet are data: nothing was sent twice.
            #expect(pair.clientPacketCount < (80 << 16) / 1_132 + 200)
        }

        @Test(arguments: [2, 3] as [UInt64])
        func theyArriveDespiteLossReorderingAndDuplicates(seed: UInt64) throws {
            let link = SCTPPair.Link(delay: .milliseconds(10), jitter: .milliseconds(8), loss: 0.01, duplication: 0.01)
            _ = try transfer(16 << 16, over: link, seed: seed, within: .seconds(300))
        }

        @Test(arguments: [4, 5] as [UInt64])
        func anUnorderedChannelDeliversAllOnceUnderLoss(seed: UInt64) throws {
            let pair = SCTPPair(
                seed: seed,
                link: SCTPPair.Link(jitter: .milliseconds(10), loss: 0.05, duplication: 0.05)
            )
            #expect(pair.connect())
            var parameters = DataChannelParameters(label: "u")
            parameters.ordered = false
            let (client, _) = try #require(try pair.openPair(parameters))
            pair.run(for: .seconds(2))
            for index in 0..<400 {
                try pair.send(
                    [UInt8(index >> 8), UInt8(index & 255)] + [UInt8](repeating: 0, count: 1_000),
                    on: client
                )
            }
            #expect(pair.run(for: .seconds(120)) { $0.serverEvents.count { $0.isMessage } == 400 }, "seed \(seed)")
            pair.run(for: .seconds(5))
            let numbers = pair.serverEvents.compactMap(\.messageBytes).map { Int($0[0]) << 8 | Int($0[1]) }
            #expect(numbers.sorted() == Array(0..<400), "seed \(seed)")
            #expect(numbers != Array(0..<400), "seed \(seed): some overtook others")
        }

        @Test(arguments: [6, 7] as [UInt64])
        func messagesWithoutRetransmissionsAreLostAndTheRestIsInOrder(seed: UInt64) throws {
            let pair = SCTPPair(seed: seed)
            #expect(pair.connect())
            var parameters = DataChannelParameters(label: "r")
            parameters.maxRetransmits = 0
            let (client, _) = try #require(try pair.openPair(parameters))
            pair.run(for: .seconds(1))
            pair.link.loss = 0.2
            for index in 0..<200 {
                try pair.send([UInt8(index)] + [UInt8](repeating: 0, count: 1_000), on: client)
                pair.run(for: .milliseconds(20))
            }
            pair.link.loss = 0
            pair.run(for: .seconds(20))
            let numbers = pair.serverEvents.compactMap { $0.messageBytes?.first }
            #expect(numbers.count < 200 && numbers.count > 80, "seed \(seed): \(numbers.count)")
            #expect(numbers == numbers.sorted(), "seed \(seed)")
            // The channel goes on.
            try pair.send([99, 99], on: client)
            #expect(pair.run(for: .seconds(5)) { $0.serverEvents.contains { $0.messageBytes == [99, 99] } })
        }

        @Test func aMessageIsGivenUpWhenItsLifetimeIsOver() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            var parameters = DataChannelParameters(label: "t")
            parameters.maxPacketLifeTime = 300
            let (client, _) = try #require(try pair.openPair(parameters))
            pair.run(for: .seconds(1))
            pair.link.loss = 1
            try pair.send([1], on: client)
            pair.run(for: .seconds(2))
            pair.link.loss = 0
            try pair.send([2], on: client)
            #expect(pair.run(for: .seconds(20)) { $0.serverEvents.contains { $0.messageBytes == [2] } })
            pair.run(for: .seconds(20))
            #expect(!pair.serverEvents.contains { $0.messageBytes == [1] })
        }

        /// More than usrsctp keeps back until it is whole (an eighth of its buffer).
        private static let longMessageByteCount = 250_000

        /// A lost piece of a long message gives the whole message up, and nothing of it mixes with the next.
        @Test(arguments: [8, 9, 10] as [UInt64], [true, false])
        func longUnreliableMessagesComeWholeOrNotAtAll(seed: UInt64, ordered: Bool) throws {
            let pair = SCTPPair(seed: seed)
            #expect(pair.connect())
            var parameters = DataChannelParameters(label: "l")
            parameters.maxRetransmits = 0
            parameters.ordered = ordered
            let (client, _) = try #require(try pair.openPair(parameters))
            pair.run(for: .seconds(1))
            pair.link.loss = 0.005
            for index in 0..<30 as Range<UInt8> {
                try pair.send([UInt8](repeating: index, count: Self.longMessageByteCount), on: client)
                pair.run(for: .seconds(1))
            }
            pair.link.loss = 0
            pair.run(for: .seconds(20))
            let messages = pair.serverEvents.compactMap(\.messageBytes)
            #expect(!messages.isEmpty && messages.count < 30, "seed \(seed): \(messages.count)")
            for message in messages {
                #expect(
                    message.count == Self.longMessageByteCount && message.allSatisfy { $0 == message[0] },
                    "seed \(seed)"
                )
            }
        }

        @Test func aSlowReaderStopsTheSenderAndLosesNothing() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let (client, _) = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            pair.server.setReadingPaused(true, at: pair.now)
            for index in 0..<300 {
                try pair.send([UInt8](repeating: UInt8(truncatingIfNeeded: index), count: 65_536), on: client)
            }
            // The last of the window goes packet by packet, each with its SACK 20 ms later.
            pair.run(for: .seconds(90))
            #expect(!pair.serverEvents.contains { $0.isMessage }, "a paused side reads nothing")
            let waiting = pair.client.bufferedAmount(of: client)
            #expect(
                waiting > 300 * 65_536 - 2 * SCTPStack.longPathBufferByteCount,
                "the sender holds what usrsctp's buffers on both sides do not take"
            )
            let packets = pair.clientPacketCount
            pair.run(for: .seconds(30))
            #expect(pair.clientPacketCount - packets < 100, "it only asks for the window")
            #expect(pair.client.bufferedAmount(of: client) == waiting)
            // On and off.
            for _ in 0..<10 {
                pair.server.setReadingPaused(false, at: pair.now)
                pair.run(for: .milliseconds(100))
                pair.server.setReadingPaused(true, at: pair.now)
                pair.run(for: .milliseconds(100))
            }
            pair.server.setReadingPaused(false, at: pair.now)
            #expect(pair.run(for: .seconds(120)) { $0.serverEvents.count { $0.isMessage } == 300 })
            #expect(
                pair.serverEvents.compactMap { $0.messageBytes?.first }
                    == (0..<300).map { UInt8(truncatingIfNeeded: $0) }
            )
        }

        /// SACKs become rare while packets come in long batches, and frequent again after.
        @Test func theSACKFrequencyFollowsTheBatches() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let (client, _) = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            func share(_ byteCount: Int, _ count: Int, pause: Duration) throws -> Double {
                let sent = pair.clientPacketCount
                let answered = pair.serverPacketCount
                let received = pair.server.statistics.messagesReceived
                for _ in 0..<count {
                    try pair.send([UInt8](repeating: 1, count: byteCount), on: client)
                    if pause > .zero { pair.run(for: pause) }
                }
                #expect(pair.run(for: .seconds(30)) { $0.server.statistics.messagesReceived == received + count })
                return Double(pair.serverPacketCount - answered) / Double(pair.clientPacketCount - sent)
            }
            _ = try share(200_000, 5, pause: .zero)
            let wide = try share(200_000, 20, pause: .zero)
            let narrow = try share(2_000, 100, pause: .milliseconds(50))
            #expect(wide < 0.25, "\(wide)")
            #expect(narrow > 0.4, "\(narrow)")
        }
    }
}
