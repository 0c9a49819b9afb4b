import CongestionControl
import RTP
import SansIO
import Testing

@Suite("Pacer and rate estimation")
struct PacingAndRate {
    private let start = Instant(nanoseconds: 1_000_000_000)

    private func packet(_ kind: PacedPacket.Kind, _ number: UInt16, _ byteCount: Int = 1_200) -> PacedPacket {
        PacedPacket(
            kind: kind,
            sender: 0,
            sequenceNumber: SequenceNumber(number),
            byteCount: byteCount,
            queuedAt: start
        )
    }

    /// Lets the pacer run until it is empty; when each packet left.
    private func drain(_ pacer: inout Pacer) -> [(at: Instant, packet: PacedPacket)] {
        var now = start
        var left: [(at: Instant, packet: PacedPacket)] = []
        for _ in 0..<100_000 {
            while let packet = pacer.next(at: now) { left.append((now, packet)) }
            guard let deadline = pacer.nextDeadline else { return left }
            #expect(deadline.instant > now)
            now = deadline.instant
        }
        return left
    }

    @Test("an ordinary picture leaves at once, a key frame is spread over time at 2.5 times the target")
    func spreading() {
        var pacer = Pacer()
        pacer.targetBitRate = 1_000_000
        for number in 0..<60 { _ = pacer.enqueue(packet(.video, UInt16(number))) }
        let left = drain(&pacer)
        #expect(left.map(\.packet.sequenceNumber.rawValue) == Array(0..<60))
        #expect(left.count { $0.at == start } == 10)
        // 50 packets of 9,600 bits at 2.5 Mbit/s.
        let seconds = Double((left[59].at - start).wholeNanoseconds) / 1e9
        #expect(seconds > 0.17 && seconds < 0.2)
    }

    @Test("all that waits has left after half a second, whatever the target")
    func bound() {
        var pacer = Pacer()
        pacer.targetBitRate = 60_000
        for number in 0..<100 { _ = pacer.enqueue(packet(.video, UInt16(number))) }
        var now = start
        var count = 0
        while now < start + .milliseconds(1_500) {
            while pacer.next(at: now) != nil { count += 1 }
            now = now + .milliseconds(1)
        }
        #expect(count > 90)
    }

    @Test("on a short path the first key frame is through within milliseconds")
    func fastPath() {
        var pacer = Pacer()
        pacer.fastPathRoundTripTime = .microseconds(300)
        for number in 0..<40 { _ = pacer.enqueue(packet(.video, UInt16(number))) }
        let left = drain(&pacer)
        #expect(left[39].at - start <= .milliseconds(4))
        #expect(left.count { $0.at == start } == 10)
    }

    @Test("audio overtakes all, retransmissions overtake video")
    func order() {
        var pacer = Pacer()
        for number in 0..<20 { _ = pacer.enqueue(packet(.video, UInt16(number))) }
        while pacer.next(at: start) != nil {}
        _ = pacer.enqueue(packet(.retransmission, 100))
        _ = pacer.enqueue(packet(.audio, 200))
        let first = pacer.next(at: start)
        let second = pacer.next(at: start)
        let third = pacer.next(at: start + .milliseconds(20))
        #expect(first?.kind == .audio)
        #expect(second == nil)
        #expect(third?.kind == .retransmission)
    }

    @Test("the queue is bounded and a stream's packets can be removed")
    func limits() {
        var pacer = Pacer()
        for number in 0..<Pacer.queueLimit { _ = pacer.enqueue(packet(.video, UInt16(number), 1)) }
        let isTaken = pacer.enqueue(packet(.video, 0, 1))
        #expect(!isTaken)
        #expect(pacer.droppedCount == 1)
        pacer.removeAll(sender: 0)
        #expect(pacer.isEmpty)
        #expect(pacer.queuedByteCount == 0)
        #expect(pacer.nextDeadline == nil)
    }

    /// Feedback of one second in steps of 100 ms.
    private func second(
        _ estimator: inout BandwidthEstimator,
        from now: Instant,
        loss: Double,
        bitRate: Int,
        transit: (Int) -> Duration = { _ in .milliseconds(20) }
    ) -> Instant {
        for step in 1...10 {
            var summary = TransportFeedbackSummary()
            summary.receivedCount = Int(100 * (1 - loss))
            summary.lostCount = Int(100 * loss)
            summary.receivedByteCount = bitRate / 80
            summary.leastTransit = transit(step)
            summary.newestArrival = now + .milliseconds(100 * step)
            estimator.receive(summary, at: now + .milliseconds(100 * step))
        }
        return now + .seconds(1)
    }

    @Test("the rate rises by 8 % a second without loss, up to the maximum")
    func rise() {
        var estimator = BandwidthEstimator()
        var now = start
        for _ in 0..<5 { now = second(&estimator, from: now, loss: 0, bitRate: 1_000_000) }
        #expect(estimator.targetBitRate > 1_080_000 && estimator.targetBitRate < 1_200_000)
        for _ in 0..<40 { now = second(&estimator, from: now, loss: 0, bitRate: 2_500_000) }
        #expect(estimator.targetBitRate == 2_500_000)
    }

    @Test("the rate falls with more than 10 % loss, holds between, and keeps its minimum")
    func fall() {
        var estimator = BandwidthEstimator()
        var now = second(&estimator, from: start, loss: 0.05, bitRate: 800_000)
        #expect(estimator.targetBitRate == 800_000)
        now = second(&estimator, from: now, loss: 0.2, bitRate: 640_000)
        #expect(estimator.targetBitRate < 720_000)
        for _ in 0..<60 { now = second(&estimator, from: now, loss: 0.5, bitRate: 60_000) }
        #expect(estimator.targetBitRate == 60_000)
    }

    @Test("standing delay lowers the rate below what arrives")
    func delay() {
        var estimator = BandwidthEstimator()
        var now = second(&estimator, from: start, loss: 0, bitRate: 500_000)
        now = second(&estimator, from: now, loss: 0, bitRate: 500_000) { .milliseconds(20 + 30 * $0) }
        _ = second(&estimator, from: now, loss: 0, bitRate: 500_000) { _ in .milliseconds(320) }
        #expect(estimator.targetBitRate < 500_000)
        #expect(estimator.isCongested)
    }

    @Test("the receiver's estimate bounds the rate as long as it is fresh")
    func remoteEstimate() {
        var estimator = BandwidthEstimator()
        estimator.receive(remoteEstimate: 300_000, at: start)
        #expect(estimator.targetBitRate == 300_000)
        estimator.receive(remoteEstimate: 10_000_000, at: start)
        var now = start
        for _ in 0..<3 { now = second(&estimator, from: now, loss: 0, bitRate: 300_000) }
        #expect(estimator.targetBitRate > 350_000)
    }

    @Test("receiver reports count where there is no transport-wide feedback")
    func reports() {
        var estimator = BandwidthEstimator()
        for second in 1...10 { estimator.receive(fractionLost: 0, at: start + .seconds(second)) }
        let risen = estimator.targetBitRate
        #expect(risen > 1_500_000)
        estimator.receive(fractionLost: 0.25, at: start + .seconds(11))
        #expect(estimator.targetBitRate < risen * 9 / 10)
    }
}
