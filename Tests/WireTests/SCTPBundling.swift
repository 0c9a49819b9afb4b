import SansIO
import Testing

@testable import SCTP

extension VirtualTime {
    @Suite struct SCTPBundling {
        private func send(_ count: Int, on path: SCTPPath, corked: Bool) throws -> (SCTPPair, Int) {
            let pair = SCTPPair(path: path)
            #expect(pair.connect())
            let (client, _) = try #require(try pair.openPair(DataChannelParameters(label: "chatter")))
            let message = [UInt8](repeating: 9, count: 100)
            var dataPackets = 0
            pair.onPacket = { fromClient, packet in
                if fromClient, packet[12] == SCTPChunks.data { dataPackets += 1 }
            }
            for index in 0..<count {
                try pair.client.send(
                    message.span.bytes,
                    isText: false,
                    on: client,
                    at: pair.now,
                    moreFollows: corked && index + 1 < count
                )
            }
            pair.serverEvents = []
            // Before any timer: the last of them waits for nothing.
            let limit = pair.link.delay * (corked ? 2 : 40)
            #expect(pair.run(for: limit) { $0.serverEvents.count(where: { $0.messageBytes == message }) == count })
            return (pair, dataPackets)
        }

        @Test func messagesSentTogetherShareAPacket() throws {
            let (pair, packetCount) = try send(90, on: .unknown, corked: true)
            #expect(pair.longestPacketByteCount <= 1_160)
            // Nine of 116 bytes fit; usrsctp sends them when it has ten, and the tenth behind them.
            #expect(packetCount <= 2 * 9)
        }

        @Test func oneMessageWaitsForNoOther() throws {
            let (_, packetCount) = try send(1, on: .unknown, corked: true)
            #expect(packetCount == 1)
        }

        @Test func eachMessageSentAloneLeavesAtOnce() throws {
            let (_, packetCount) = try send(9, on: .unknown, corked: false)
            #expect(packetCount == 9)
        }

        @Test func aPacketFitsAPathThatIsNotKnownToTakeMore() throws {
            // usrsctp counts with 16 384 bytes here.
            let (pair, packetCount) = try send(250, on: .sameHost, corked: true)
            #expect(pair.longestPacketByteCount <= 1_160)
            #expect(packetCount <= 250 / 9 + 4)
        }

        @Test func whatWasHeldBackLeavesWithoutALastMessage() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let (client, _) = try #require(try pair.openPair(DataChannelParameters(label: "chatter")))
            pair.serverEvents = []
            for _ in 0..<3 {
                try pair.client.send([1, 2, 3].span.bytes, isText: false, on: client, at: pair.now, moreFollows: true)
            }
            #expect(pair.run(for: .milliseconds(250)) { $0.serverEvents.count(where: \.isMessage) == 3 })
        }
    }
}
