import SansIO
import Testing

@testable import SCTP

@Suite struct LossRecoveries {
    private var now = Instant(nanoseconds: 1_000_000_000)
    private var recovery = LossRecovery()
    private var delivery = LossRecovery.Delivery()
    private var count = 0

    /// Takes over with packets of so many bytes that were sent now, one TSN each, from 1 on.
    private mutating func send(_ count: UInt32, byteCount: Int = 1_000, from start: UInt32? = nil) {
        let first = start ?? (recovery.mode == .recording ? UInt32(1) : 2)
        for tsn in first..<(first + count) {
            recovery.add([UInt8](repeating: UInt8(tsn & 0xFF), count: byteCount), firstTSN: tsn, lastTSN: tsn)
        }
    }

    private mutating func expectSent(
        window: Int = .max,
        _ packets: [UInt8],
        at location: SourceLocation = #_sourceLocation
    ) {
        let sent = drain(window: window)
        #expect(sent == packets, sourceLocation: location)
    }

    private mutating func drain(window: Int = .max) -> [UInt8] {
        var sent: [UInt8] = []
        while let packet = recovery.next(window: window, rate: .infinity, at: now) { sent.append(packet[0]) }
        return sent
    }

    /// One packet and its SACK, 100 ms later: the recovery takes over.
    private mutating func start() {
        send(1)
        _ = drain()
        now = now + .milliseconds(100)
        _ = acknowledge(1)
        recovery.shortestRoundTrip = .milliseconds(100)
        recovery.takeOver()
        #expect(recovery.mode == .on)
    }

    private mutating func acknowledge(
        _ tsn: UInt32,
        _ blocks: [ClosedRange<Int>] = [],
        window: Int = 1 << 20
    ) -> LossRecovery.Delivery {
        recovery.didAcknowledge(tsn: tsn, blocks: blocks, peerWindow: window, at: now)
    }

    @Test mutating func whatWasSentLongBeforeOneThatArrivedIsLost() {
        start()
        send(3)
        expectSent(window: 1_000, [2])
        now = now + .milliseconds(40)
        expectSent(window: 3_000, [3, 4])
        now = now + .milliseconds(100)
        delivery = acknowledge(1, [2...3])
        #expect(delivery.byteCount == 2_000)
        #expect(delivery.lostByteCount == 1_000)
        expectSent([2])
        #expect(recovery.beyondGap == 2_000)
        now = now + .milliseconds(100)
        delivery = acknowledge(4)
        #expect(delivery.byteCount == 1_000)
        #expect(recovery.inFlight == 0 && recovery.beyondGap == 0)
    }

    /// The same packets, sent at once, may only have been overtaken: a quarter of the round-trip time tells.
    @Test mutating func whatMayOnlyBeLateIsWaitedFor() {
        start()
        send(3)
        expectSent([2, 3, 4])
        now = now + .milliseconds(100)
        delivery = acknowledge(1, [2...3])
        #expect(delivery.lostByteCount == 0)
        now = now + .milliseconds(20)
        count = recovery.advance(to: now)
        #expect(count == 0)
        now = now + .milliseconds(10)
        count = recovery.advance(to: now)
        #expect(count == 1_000)
        expectSent([2])
    }

    @Test mutating func aLostTailIsProbed() {
        start()
        send(3)
        expectSent([2, 3, 4])
        now = now + .milliseconds(199)
        _ = recovery.advance(to: now)
        expectSent([])
        now = now + .milliseconds(2)
        _ = recovery.advance(to: now)
        expectSent([4])
    }

    @Test mutating func aSilenceEndsInATimeOutAndTheNextOneIsLonger() {
        start()
        send(40)
        count = drain().count
        #expect(count == 40)
        now = now + .milliseconds(1_000)
        _ = recovery.advance(to: now)
        // Begins anew with 16 KiB.
        count = drain().count
        #expect(count == 16)
        now = now + .milliseconds(1_900)
        _ = recovery.advance(to: now)
        count = drain().count
        #expect(count <= 1)
        now = now + .milliseconds(100)
        _ = recovery.advance(to: now)
        count = drain().count
        #expect(count == 16)
    }

    @Test mutating func noMoreIsUnderWayThanMayBe() {
        start()
        send(100)
        count = drain(window: 10_000).count
        #expect(count == 10)
        now = now + .milliseconds(100)
        _ = acknowledge(4)
        count = drain(window: 10_000).count
        #expect(count == 3)
    }

    @Test mutating func aWindowIsFilledOverTime() {
        start()
        send(1_000)
        count = 0
        while recovery.next(window: .max, rate: 1_000_000, at: now) != nil { count += 1 }
        #expect(count == 17)
        now = now + .milliseconds(10)
        count = 0
        while recovery.next(window: .max, rate: 1_000_000, at: now) != nil { count += 1 }
        #expect(count == 10)
    }

    /// What came while the peer had no room was dropped.
    @Test mutating func aWindowThatOpensAgainGetsWhatWasDropped() {
        start()
        _ = acknowledge(1, window: 0)
        send(2)
        expectSent([2, 3])
        now = now + .milliseconds(300)
        _ = acknowledge(1, window: 1 << 20)
        expectSent([2, 3])
    }

    @Test mutating func aChangeOfPathSendsAllAgain() {
        start()
        send(3)
        expectSent([2, 3, 4])
        recovery.pathChanged(at: now)
        expectSent([2, 3, 4])
    }

    /// What is lost and not sent again yet is sent before usrsctp would notice.
    @Test mutating func whatWaitsToBeSentAgainIsNotForgotten() {
        start()
        send(30)
        count = drain().count
        #expect(count == 30)
        recovery.pathChanged(at: now)
        count = drain().count
        #expect(count == 16)
        #expect(recovery.stop().count == 14)
    }

    /// It was only late: the next ones are waited for longer.
    @Test mutating func aReorderingIsLearnt() {
        start()
        send(4)
        expectSent(window: 1_000, [2])
        now = now + .milliseconds(40)
        expectSent([3, 4, 5])
        now = now + .milliseconds(100)
        delivery = acknowledge(1, [2...2])
        #expect(delivery.lostByteCount == 1_000)
        expectSent([2])
        now = now + .milliseconds(10)
        delivery = acknowledge(3, [2...2])
        #expect(delivery.lateByteCount == 1_000)
        send(1, from: 6)
        expectSent([6])
        now = now + .milliseconds(40)
        send(1, from: 7)
        expectSent([7])
        now = now + .milliseconds(100)
        delivery = acknowledge(5, [2...2])
        #expect(delivery.lostByteCount == 0)
    }

    @Test mutating func aSinglePacketsSACKMayBeHeldBack() {
        start()
        send(1)
        expectSent([2])
        now = now + .milliseconds(399)
        _ = recovery.advance(to: now)
        expectSent([])
        now = now + .milliseconds(2)
        _ = recovery.advance(to: now)
        expectSent([2])
    }

    @Test mutating func noMoreTSNsAreUnderWayThanUsrsctpKeepsAccountOf() {
        start()
        send(5_000, byteCount: 20)
        expectSent(window: 20, [2])
        now = now + .milliseconds(40)
        expectSent(window: 40, [3])
        now = now + .milliseconds(100)
        delivery = acknowledge(1, [2...2])
        #expect(delivery.lostByteCount == 20)
        // The second again, and those up to 4000 beyond the first.
        count = drain().count
        #expect(count == 3_999)
    }

    /// A peer may drop what it said it has. RFC 9260 §6.2.1
    @Test mutating func whatArrivedOnceAndIsSentAgainByUsrsctpLeaves() {
        start()
        send(3)
        expectSent([2, 3, 4])
        _ = acknowledge(1, [2...2])
        let isAbsorbed = [2, 3, 4, 50].map { recovery.didSendAgain(tsn: $0, at: now) }
        #expect(isAbsorbed == [true, false, true, false])
    }

    /// TSNs begin anywhere. RFC 9260 §1.6
    @Test mutating func tsnsMayWrap() {
        let first = UInt32.max - 1
        for offset in 0..<5 as Range<UInt32> {
            recovery.add([UInt8(offset)], firstTSN: first &+ offset, lastTSN: first &+ offset)
        }
        expectSent([0, 1, 2, 3, 4])
        now = now + .milliseconds(100)
        delivery = acknowledge(first, [2...2, 4...4])
        #expect(delivery.byteCount == 3 && recovery.beyondGap == 2)
        delivery = acknowledge(first &+ 4)
        #expect(delivery.byteCount == 2 && recovery.beyondGap == 0 && recovery.inFlight == 0)
    }

    @Test mutating func whatWasHeldIsLeftToUsrsctp() {
        start()
        send(5)
        expectSent(window: 2_000, [2, 3])
        let held = recovery.stop().map { $0[0] }
        #expect(held == [4, 5, 6])
        #expect(recovery.mode == .off && recovery.inFlight == 0)
        expectSent([])
    }

    /// While usrsctp still does it, what it sends again is no measure of the path.
    @Test mutating func usrsctpsOwnRetransmissionsLeaveUntilAllIsKnown() {
        recovery = LossRecovery()
        send(2)
        expectSent([1, 2])
        let isAbsorbed = recovery.didSendAgain(tsn: 1, at: now + .milliseconds(50))
        #expect(!isAbsorbed)
        now = now + .milliseconds(100)
        delivery = acknowledge(1)
        #expect(delivery.roundTrip == nil)
        recovery.takeOver()
        let isAbsorbedNow = recovery.didSendAgain(tsn: 2, at: now)
        #expect(isAbsorbedNow)
    }

    /// SACKs of a peer that lies, and of none: whatever they say, what is under way is counted right.
    @Test(arguments: 0..<200 as Range<UInt64>)
    mutating func forgedSACKsOnlyFreeWhatWasSent(seed: UInt64) {
        var random = RandomSource(seed: seed)
        start()
        send(60)
        var highest: UInt32 = 1
        for _ in 0..<80 {
            now = now + .milliseconds(Int.random(in: 0..<60, using: &random))
            var blocks: [ClosedRange<Int>] = []
            var end = 1
            for _ in 0..<Int.random(in: 0..<6, using: &random) {
                let first = end + Int.random(in: 1..<9, using: &random)
                end = first + Int.random(in: 0..<9, using: &random)
                blocks.append(first...end)
            }
            let tsn = highest &+ UInt32(truncatingIfNeeded: Int.random(in: -3..<3, using: &random))
            if tsn < 1_000 { highest = max(highest, tsn) }
            _ = acknowledge(tsn, blocks, window: Int.random(in: 0..<9_000, using: &random))
            _ = recovery.advance(to: now)
            _ = drain(window: Int.random(in: 0..<30_000, using: &random))
            #expect(recovery.inFlight >= 0 && recovery.inFlight <= 60_000)
            #expect(recovery.beyondGap >= 0 && recovery.beyondGap <= 60_000)
        }
        _ = acknowledge(90)
        #expect(recovery.inFlight == 0 && recovery.beyondGap == 0)
        expectSent([])
    }

    @Test func aSACKWithBlocksOutOfOrderHasNone() throws {
        let chunk: [UInt8] = [3, 0, 0, 24, 0, 0, 0, 9, 0, 1, 0, 0, 0, 2, 0, 0, 0, 5, 0, 6, 0, 2, 0, 3]
        let sack = try #require(unsafe SCTPSACK(chunk.span.bytes))
        #expect(sack.cumulativeTSN == 9 && sack.window == 65_536 && sack.blocks.isEmpty)
        let shown = unsafe SCTPSACK.withoutBlocks(chunk.span.bytes, arrivedByteCount: 255)
        #expect(shown == [3, 0, 0, 16, 0, 0, 0, 9, 0, 1, 0, 255, 0, 0, 0, 0])
    }
}
