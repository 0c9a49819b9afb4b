import SansIO
import Testing

@testable import SCTP

extension VirtualTime {
    @Suite struct LongPaths {
        /// Bytes that arrive in each half second.
        private func arrivals(over link: SCTPPair.Link, halfSeconds: Int) throws -> (SCTPPair, [Int]) {
            let pair = SCTPPair(link: link, path: .ipv4)
            #expect(pair.connect())
            let (client, _) = try #require(try pair.openPair(DataChannelParameters(label: "file")))
            let message = [UInt8](repeating: 7, count: 65_535)
            var counts: [Int] = []
            for _ in 0..<halfSeconds {
                pair.serverEvents = []
                pair.run(for: .milliseconds(500)) { pair in
                    while pair.client.bufferedAmount(of: client) < 4 << 20 {
                        do { try pair.send(message, on: client) } catch { break }
                    }
                    pair.drain()
                    return false
                }
                counts.append(pair.serverEvents.reduce(0) { $0 + ($1.messageBytes?.count ?? 0) })
            }
            return (pair, counts)
        }

        @Test func aPathOf100MillisecondsIsFilledAndItsQueueIsNot() throws {
            let rate = 12_500_000.0
            let (pair, counts) = try arrivals(
                over: SCTPPair.Link(delay: .milliseconds(50), rate: rate, queue: Int(rate / 10)),
                halfSeconds: 12
            )
            // Half of it in the second half second of the second second, and 85 % of it in each from then on.
            #expect(Double(counts[3]) > rate / 2 * 0.5)
            for count in counts[4...] { #expect(Double(count) > rate / 2 * 0.85) }
            #expect(pair.overrunCount == 0)
        }

        @Test func withoutABottleneckTheWindowIsTheLimit() throws {
            let (_, counts) = try arrivals(over: SCTPPair.Link(delay: .milliseconds(50)), halfSeconds: 12)
            // 8 MiB each 100 ms.
            #expect(counts[11] > 30_000_000)
        }
    }
}

@Suite struct FlightLimits {
    /// Sends packets of 1000 bytes at `rate` a second over a path with a round-trip time, for so many seconds.
    private func limit(rate: Double, roundTrip: Duration, seconds: Int, into limit: inout FlightLimit) {
        var now = Instant(nanoseconds: 1_000_000_000)
        var acknowledged: UInt32 = 0
        let gap = Duration.seconds(1) * (1000 / rate)
        for tsn in 1...UInt32(Double(seconds) * rate / 1000) {
            limit.didSend(tsn: tsn, byteCount: 1_000, at: now)
            let arrived = UInt32((roundTrip / gap).rounded())
            if tsn > arrived {
                acknowledged = tsn - arrived
                limit.didAcknowledge(tsn: acknowledged, at: now)
            }
            now = now + gap
        }
    }

    @Test func isALittleMoreThanRateTimesRoundTrip() throws {
        var flight = FlightLimit()
        limit(rate: 10_000_000, roundTrip: .milliseconds(100), seconds: 3, into: &flight)
        let byteCount = try #require(flight.byteCount)
        #expect(byteCount > 1_100_000 && byteCount < 1_300_000)
    }

    @Test func isNoneOnAShortPath() {
        var flight = FlightLimit()
        limit(rate: 10_000_000, roundTrip: .milliseconds(1), seconds: 1, into: &flight)
        #expect(flight.byteCount == nil)
    }

    @Test func isNoneBeforeAnythingWasAcknowledgedOrAfterAChangeOfPath() {
        var flight = FlightLimit()
        #expect(flight.byteCount == nil)
        limit(rate: 10_000_000, roundTrip: .milliseconds(100), seconds: 1, into: &flight)
        #expect(flight.byteCount != nil)
        flight.reset()
        #expect(flight.byteCount == nil)
    }

    @Test func acknowledgementsOfWhatWasNeverSentDoNothing() {
        var flight = FlightLimit()
        flight.didAcknowledge(tsn: 77, at: Instant(nanoseconds: 5))
        flight.didSend(tsn: 10, byteCount: 1_000, at: Instant(nanoseconds: 10))
        flight.didAcknowledge(tsn: 9, at: Instant(nanoseconds: 20))
        #expect(flight.byteCount == nil)
    }
}
