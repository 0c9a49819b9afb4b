import SansIO
import Testing

@testable import SCTP

extension VirtualTime {
    /// Channels that are closed before the peer has confirmed them.
    @Suite struct DataChannelConfirmations {
        /// A pair on whose way back the first `count` packets with a DATA_CHANNEL_ACK are lost.
        private func pair(losing count: Int) -> (SCTPPair, seen: () -> (confirmed: Bool, resets: [Bool])) {
            let pair = SCTPPair()
            var (lost, confirmed, resets) = (0, false, [Bool]())
            pair.onPacket = { fromClient, packet in
                var (hasAcknowledgement, hasReset) = (false, false)
                let bytes = packet
                unsafe SCTPChunks.forEach(in: bytes.span.bytes) { type, start, _ in
                    if type == SCTPChunks.data, bytes[start + 15] == 50, bytes[start + 16] == 2 {
                        hasAcknowledgement = true
                    }
                    if type == SCTPChunks.reconfiguration { hasReset = true }
                }
                if fromClient, hasReset { resets.append(confirmed) }
                guard !fromClient, hasAcknowledgement else { return }
                lost += 1
                if lost > count { confirmed = true } else { packet = [] }
            }
            return (pair, { (confirmed, resets) })
        }

        /// Firefox gets the reset while it makes the channel, and never closes it: one of some hundred channels was left.
        @Test func theResetWaitsForTheConfirmation() throws {
            let (pair, seen) = pair(losing: 1)
            #expect(pair.connect())
            let channel = try pair.client.open(DataChannelParameters(label: "short"))
            try pair.send([1], on: channel)
            pair.client.close(channel, at: pair.now)
            #expect(pair.run(for: .seconds(20)) { $0.clientEvents.contains(.closed(channel)) })
            #expect(pair.serverEvents.contains { $0.messageBytes == [1] })
            #expect(seen().confirmed)
            #expect(!seen().resets.isEmpty && seen().resets.allSatisfy(\.self))
        }

        /// A peer that confirms nothing does not keep a channel open.
        @Test func theResetDoesNotWaitForEver() throws {
            let (pair, seen) = pair(losing: .max)
            #expect(pair.connect())
            let channel = try pair.client.open(DataChannelParameters(label: "short"))
            try pair.send([1], on: channel)
            pair.client.close(channel, at: pair.now)
            #expect(!pair.run(for: .milliseconds(1_500)) { _ in !seen().resets.isEmpty })
            #expect(pair.run(for: .seconds(2)) { _ in !seen().resets.isEmpty })
        }
    }
}
