import SCTP
import SansIO
import Testing

extension VirtualTime {
    /// Who goes first when several channels have messages waiting. RFC 8831 §6.4
    @Suite struct DataChannelPriorities {
        private func parameters(_ priority: UInt16) -> DataChannelParameters {
            var parameters = DataChannelParameters(label: "\(priority)")
            parameters.priority = priority
            return parameters
        }

        /// Bytes that arrived on a channel.
        private func received(_ pair: SCTPPair, on handle: DataChannelHandle) -> Int {
            pair.serverEvents.reduce(0) { sum, event in
                if case .message(handle, _, let bytes) = event { sum + bytes.count } else { sum }
            }
        }

        /// Backlogs of 24 MB each: what arrives is shared by the priorities, whatever the messages' lengths.
        @Test(arguments: [[1_000, 1_000], [60_000, 1_000], [1_000, 60_000], [200_000, 30_000]])
        func backlogsAreSharedByPriority(lengths: [Int]) throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let low = try #require(try pair.openPair(parameters(256)))
            let high = try #require(try pair.openPair(parameters(1_024)))
            let total = 24_000_000
            for (handle, length) in [(low.client, lengths[0]), (high.client, lengths[1])] {
                for _ in 0..<(total / length) { try pair.send([UInt8](repeating: 1, count: length), on: handle) }
            }
            // Not counted: until SCTP's buffer, which knows no priorities, holds messages in these shares.
            #expect(pair.run(for: .seconds(600)) { received($0, on: high.server) > 8_000_000 })
            let lowBefore = received(pair, on: low.server)
            let highBefore = received(pair, on: high.server)
            #expect(pair.run(for: .seconds(600)) { received($0, on: high.server) > 16_000_000 })
            let share =
                Double(received(pair, on: high.server) - highBefore)
                / Double(received(pair, on: low.server) - lowBefore)
            #expect(share > 3 && share < 5.5, "\(share)")
            // The low one goes on, and gets all once it is alone.
            #expect(
                pair.run(for: .seconds(600)) { $0.client.bufferedAmount(of: low.client) == 0 }
            )
        }

        /// Of 60 MB, which take 48 s, most still waits when it arrives.
        @Test func aShortMessageDoesNotWaitForAnothersBacklog() throws {
            let pair = SCTPPair(link: SCTPPair.Link(rate: 1_250_000))
            #expect(pair.connect())
            let bulk = try #require(try pair.openPair(parameters(256)))
            let chat = try #require(try pair.openPair(parameters(256)))
            for _ in 0..<300 { try pair.send([UInt8](repeating: 1, count: 200_000), on: bulk.client) }
            pair.run(for: .seconds(2))
            try pair.send([9], on: chat.client)
            let sentAt = pair.now
            #expect(pair.run(for: .seconds(600)) { $0.serverEvents.contains { $0.messageBytes == [9] } })
            #expect(pair.now - sentAt < .milliseconds(500))
            #expect(received(pair, on: bulk.server) > 1_000_000)
        }

        /// Priorities of 0 and 65 535 come from a peer: neither starves nor drowns the others.
        @Test func extremePrioritiesAreBounded() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let least = try #require(try pair.openPair(parameters(0)))
            let most = try #require(try pair.openPair(parameters(65_535)))
            for handle in [least.client, most.client] {
                for _ in 0..<200 { try pair.send([UInt8](repeating: 1, count: 100_000), on: handle) }
            }
            #expect(pair.run(for: .seconds(600)) { received($0, on: most.server) == 20_000_000 })
            #expect(received(pair, on: least.server) > 100_000)
            #expect(pair.run(for: .seconds(600)) { received($0, on: least.server) == 20_000_000 })
        }

        @Test func aThousandBacklogsTakeNoTimeOfTheirOwn() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let handles = try (0..<1_000).map { _ in try pair.client.open(parameters(256)) }
            for handle in handles { for _ in 0..<10 { try pair.send([UInt8](repeating: 1, count: 1_000), on: handle) } }
            #expect(pair.run(for: .seconds(600)) { $0.server.statistics.messagesReceived == 10_000 })
        }
    }
}
