import SansIO
import Testing

@testable import SCTP

extension VirtualTime {
    @Suite struct LongPaths {
        /// Bytes that arrive in each half second.
        private func arrivals(
            over link: SCTPPair.Link,
            halfSeconds: Int,
            seed: UInt64 = 1
        ) throws -> (SCTPPair, [Int]) {
            let pair = SCTPPair(seed: seed, link: link, path: .ipv4)
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

        /// What a radio link loses says nothing about its rate.
        @Test(arguments: [0.005, 0.01, 0.03, 0.06], [1, 4] as [UInt64])
        func losesLittleOfItsRateToRandomLosses(loss: Double, seed: UInt64) throws {
            let rate = 1_500_000.0
            let (_, counts) = try arrivals(
                over: SCTPPair.Link(delay: .milliseconds(50), loss: loss, rate: rate, queue: Int(rate / 10)),
                halfSeconds: 16,
                seed: seed
            )
            #expect(Double(counts[6...].reduce(0, +)) > 10 * rate / 2 * (loss > 0.05 ? 0.7 : 0.8), "\(counts)")
        }

        /// Packets that overtake one another are not lost.
        @Test(arguments: [10, 20, 30])
        func losesLittleOfItsRateToReordering(milliseconds: Int) throws {
            let rate = 1_500_000.0
            let (_, counts) = try arrivals(
                over: SCTPPair.Link(delay: .milliseconds(20), jitter: .milliseconds(milliseconds), rate: rate),
                halfSeconds: 16
            )
            #expect(Double(counts[6...].reduce(0, +)) > 10 * rate / 2 * 0.6, "\(counts)")
        }

        /// A detour, without another path: the window follows.
        @Test func aPathThatBecomesLongerIsFilledAgain() throws {
            let rate = 2_500_000.0
            let pair = SCTPPair(
                link: SCTPPair.Link(delay: .milliseconds(10), rate: rate, queue: Int(rate / 5)),
                path: .ipv4
            )
            #expect(pair.connect())
            let (client, _) = try #require(try pair.openPair(DataChannelParameters(label: "file")))
            #expect(try pair.transfer(60, on: client, within: .seconds(4)))
            pair.link.delay = .milliseconds(80)
            #expect(try pair.transfer(600, on: client, within: .seconds(40)))
            #expect(try pair.transfer(100, on: client, within: .seconds(5)))
        }

        /// usrsctp as a receiver drops what is more than 4096 TSNs behind a gap.
        @Test func shortMessagesGetThroughLosses() throws {
            let pair = SCTPPair(
                link: SCTPPair.Link(delay: .milliseconds(50), loss: 0.01, rate: 2_500_000, queue: 250_000),
                path: .ipv4
            )
            #expect(pair.connect())
            let (client, _) = try #require(try pair.openPair(DataChannelParameters(label: "chat")))
            pair.serverEvents = []
            for number in 0..<60_000 {
                try pair.send([UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 40), on: client)
            }
            #expect(pair.run(for: .seconds(20)) { $0.serverEvents.count >= 60_000 })
        }

        /// A queue that is shorter than one probing of the path needs is overrun by each.
        @Test(arguments: [(5, 0.6), (10, 0.85), (30, 0.85)])
        func fillsAPathWithAShortQueue(milliseconds: Int, part: Double) throws {
            let rate = 2_500_000.0
            let (_, counts) = try arrivals(
                over: SCTPPair.Link(delay: .milliseconds(50), rate: rate, queue: Int(rate / 1_000) * milliseconds),
                halfSeconds: 16
            )
            #expect(Double(counts[6...].reduce(0, +)) > 10 * rate / 2 * part)
        }

        /// Nothing of it is lost or doubled, and usrsctp's own time-outs do not matter.
        @Test(arguments: [1, 2, 3] as [UInt64])
        func deliversAllOnceAndInOrder(seed: UInt64) throws {
            let link = SCTPPair.Link(
                delay: .milliseconds(20),
                jitter: .milliseconds(8),
                loss: 0.08,
                duplication: 0.05,
                rate: 1_000_000
            )
            let pair = SCTPPair(seed: seed, link: link, path: .ipv4)
            #expect(pair.connect())
            let (client, _) = try #require(try pair.openPair(DataChannelParameters(label: "file")))
            pair.serverEvents = []
            for number in 0..<400 {
                let length = number % 7 == 0 ? 1 : 20_000
                try pair.send([UInt8](repeating: UInt8(truncatingIfNeeded: number), count: length), on: client)
            }
            #expect(pair.run(for: .seconds(120)) { $0.serverEvents.count(where: \.isMessage) >= 400 })
            pair.run(for: .seconds(5))
            let numbers = pair.serverEvents.compactMap { $0.messageBytes?.first }
            #expect(numbers == (0..<400).map { UInt8(truncatingIfNeeded: $0) })
            #expect(pair.client.association?.mailbox.recovery.lostCount ?? 0 > 0)
        }

        /// A path that is gone for a while is used again at once when another takes its place.
        @Test func anotherPathGetsAgainWhatTheLastOneSwallowed() throws {
            let pair = SCTPPair(link: SCTPPair.Link(delay: .milliseconds(30), rate: 1_000_000), path: .ipv4)
            #expect(pair.connect())
            let (client, _) = try #require(try pair.openPair(DataChannelParameters(label: "file")))
            for _ in 0..<100 { try pair.send([UInt8](repeating: 1, count: 20_000), on: client) }
            pair.run(for: .milliseconds(700))
            pair.link.loss = 1
            pair.run(for: .seconds(20))
            let before = pair.serverEvents.count(where: \.isMessage)
            #expect(before < 60)
            pair.link.loss = 0
            for table in [pair.client, pair.server] { table.setPath(.ipv6, recordSizeLimit: 16_384) }
            let changedAt = pair.now
            #expect(pair.run(for: .seconds(60)) { $0.serverEvents.count(where: \.isMessage) > before })
            #expect(pair.now - changedAt < .milliseconds(300))
            #expect(pair.run(for: .seconds(60)) { $0.serverEvents.count(where: \.isMessage) == 100 })
        }

        /// Messages that may be given up are usrsctp's: one without retransmissions is not sent again here either.
        @Test func unreliableMessagesAreNotSentAgain() throws {
            let pair = SCTPPair(link: SCTPPair.Link(delay: .milliseconds(50), loss: 0.1), path: .ipv4)
            #expect(pair.connect())
            var parameters = DataChannelParameters(label: "state")
            parameters.maxRetransmits = 0
            parameters.ordered = false
            let (client, _) = try #require(try pair.openPair(parameters))
            pair.serverEvents = []
            for _ in 0..<500 {
                try pair.send([1], on: client)
                pair.run(for: .milliseconds(10))
            }
            pair.run(for: .seconds(10))
            let count = pair.serverEvents.count(where: \.isMessage)
            #expect(count > 400 && count < 480)
        }

        /// From the first message that may be given up on, usrsctp does all again, with what was held and what is measured.
        @Test func usrsctpTakesOverInTheMiddle() throws {
            let rate = 2_000_000.0
            let link = SCTPPair.Link(delay: .milliseconds(50), rate: rate, queue: Int(rate / 5))
            let pair = SCTPPair(link: link, path: .ipv4)
            #expect(pair.connect())
            let (client, _) = try #require(try pair.openPair(DataChannelParameters(label: "file")))
            var parameters = DataChannelParameters(label: "state")
            parameters.maxPacketLifeTime = 5_000
            let (state, _) = try #require(try pair.openPair(parameters))
            #expect(try pair.transfer(60, on: client, within: .seconds(10)))
            let mailbox = try #require(pair.client.association?.mailbox)
            #expect(mailbox.recovery.mode == .on)
            pair.serverEvents = []
            for _ in 0..<100 { try pair.send([UInt8](repeating: 1, count: 60_000), on: client) }
            pair.run(for: .milliseconds(500))
            try pair.send([9], on: state)
            #expect(pair.run(for: .seconds(30)) { $0.serverEvents.count(where: \.isMessage) == 101 })
            #expect(mailbox.recovery.mode == .off)
            // The product of rate and round-trip time is 200 kB.
            let limit = try #require(mailbox.flightLimit.byteCount)
            #expect(limit > 150_000 && limit < 290_000)
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
        #expect(byteCount > 1_000_000 && byteCount < 1_100_000)
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

    @Test func whatWasCountedElsewhereIsNotCountedTwice() throws {
        var flight = FlightLimit()
        limit(rate: 1_000_000, roundTrip: .milliseconds(100), seconds: 2, into: &flight)
        let before = try #require(flight.byteCount)
        let now = Instant(nanoseconds: 5_000_000_000)
        for tsn in 10_000..<10_400 as Range<UInt32> { flight.didSend(tsn: tsn, byteCount: 1_000, at: now) }
        flight.didDeliver(byteCount: 1_000, roundTrip: .milliseconds(100), at: now + .milliseconds(100))
        flight.forgetFlights()
        flight.didSend(tsn: 10_400, byteCount: 1_000, at: now + .milliseconds(100))
        flight.didAcknowledge(tsn: 10_400, at: now + .milliseconds(200))
        #expect(try #require(flight.byteCount) < before * 13 / 10)
    }

    @Test func acknowledgementsOfWhatWasNeverSentDoNothing() {
        var flight = FlightLimit()
        flight.didAcknowledge(tsn: 77, at: Instant(nanoseconds: 5))
        flight.didSend(tsn: 10, byteCount: 1_000, at: Instant(nanoseconds: 10))
        flight.didAcknowledge(tsn: 9, at: Instant(nanoseconds: 20))
        #expect(flight.byteCount == nil)
    }
}
