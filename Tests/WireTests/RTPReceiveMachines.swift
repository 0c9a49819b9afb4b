import RTP
import SansIO
import Testing

@Suite("RTP receive machines")
struct RTPReceiveMachines {
    private let start = Instant(nanoseconds: 5_000_000_000)

    private func packet(
        _ pool: PacketPool,
        _ sequence: Int64,
        timestamp: UInt32? = nil,
        marker: Bool = true,
        byteCount: Int = 4,
        startsFrame: Bool = true,
        startsKeyFrame: Bool = false
    ) -> ReceivedPacket {
        guard let slot = pool.take() else { preconditionFailure("the test's pool is empty") }
        for index in 0..<byteCount { pool.bytes(of: slot)[index] = UInt8(truncatingIfNeeded: sequence) }
        var packet = ReceivedPacket(
            slot: slot,
            sequence: sequence,
            timestamp: timestamp ?? UInt32(truncatingIfNeeded: sequence * 3_000),
            payloadType: 96,
            marker: marker,
            payloadOffset: 0,
            payloadByteCount: byteCount,
            receivedAt: start
        )
        packet.startsFrame = startsFrame
        packet.startsKeyFrame = startsKeyFrame
        return packet
    }

    // MARK: NACK

    private func note(
        _ nack: inout NackGenerator,
        _ sequence: Int64,
        isRetransmission: Bool,
        at now: Instant,
        expecting: Bool
    ) {
        let isWithinLimit = nack.receive(sequence, isRetransmission: isRetransmission, at: now)
        #expect(isWithinLimit == expecting)
    }

    @Test("a gap is asked for after a moment, again after a round trip, and at most ten times")
    func nackTiming() throws {
        var nack = NackGenerator()
        note(&nack, 10, isRetransmission: false, at: start, expecting: true)
        note(&nack, 13, isRetransmission: false, at: start, expecting: true)
        var lost: [SequenceNumber] = []
        nack.collectDue(roundTripTime: .milliseconds(40), at: start, into: &lost)
        #expect(lost.isEmpty)
        var requests = 0
        var now = start
        while let due = nack.nextDue, requests < 100 {
            #expect(due > now)
            if requests > 0 { #expect(due - now == .milliseconds(50)) }
            now = due
            lost = []
            nack.collectDue(roundTripTime: .milliseconds(40), at: now, into: &lost)
            #expect(lost.map(\.rawValue) == [11, 12])
            requests += 1
        }
        #expect(requests == NackGenerator.requestLimit)
    }

    @Test("a packet that is only late is not asked for, and the next gap is given more time")
    func nackReordering() throws {
        var nack = NackGenerator()
        for number in [Int64(1), 3] { _ = nack.receive(number, isRetransmission: false, at: start) }
        _ = nack.receive(2, isRetransmission: false, at: start + .microseconds(800))
        #expect(nack.isEmpty)
        _ = nack.receive(5, isRetransmission: false, at: start + .milliseconds(10))
        let due = try #require(nack.nextDue)
        #expect(due - start > .milliseconds(11))
    }

    @Test("more packets missing than can be asked for are forgotten all at once")
    func nackLimit() {
        var nack = NackGenerator()
        note(&nack, 0, isRetransmission: false, at: start, expecting: true)
        note(&nack, Int64(NackGenerator.missingLimit) + 1, isRetransmission: false, at: start, expecting: true)
        note(&nack, Int64(NackGenerator.missingLimit) + 3, isRetransmission: false, at: start, expecting: false)
        #expect(nack.isEmpty)
    }

    @Test("what is no longer needed is not asked for")
    func nackAbandon() {
        var nack = NackGenerator()
        _ = nack.receive(0, isRetransmission: false, at: start)
        _ = nack.receive(10, isRetransmission: false, at: start)
        nack.abandon(before: 8)
        var lost: [SequenceNumber] = []
        nack.collectDue(roundTripTime: .zero, at: start + .seconds(1), into: &lost)
        #expect(lost.map(\.rawValue) == [8, 9])
    }

    // MARK: Video

    @Test("nothing is delivered before a key frame, which may arrive out of order")
    func keyFrameFirst() {
        let pool = PacketPool()
        var assembler = VideoFrameAssembler(codec: .vp8, ssrc: 1, pool: pool)
        _ = assembler.insert(packet(pool, 100), at: start)
        #expect(assembler.needsKeyFrame)
        // A key frame of three packets, backwards.
        _ = assembler.insert(packet(pool, 103, timestamp: 7, startsFrame: false), at: start)
        _ = assembler.insert(packet(pool, 102, timestamp: 7, marker: false, startsFrame: false), at: start)
        let none = assembler.nextFrame(at: start)
        #expect(none == nil)
        _ = assembler.insert(packet(pool, 101, timestamp: 7, marker: false, startsKeyFrame: true), at: start)
        let frame = assembler.nextFrame(at: start)
        #expect(frame?.isKeyFrame == true)
        #expect(frame?.payload == [101, 101, 101, 101, 102, 102, 102, 102, 103, 103, 103, 103])
        #expect(frame?.lostBefore == 1)
        #expect(!assembler.needsKeyFrame)
        #expect(pool.usedCount == 0)
    }

    @Test("a gap is waited for; then the next key frame is the next picture")
    func gap() throws {
        let pool = PacketPool()
        var assembler = VideoFrameAssembler(codec: .vp8, ssrc: 1, pool: pool)
        func next(_ now: Instant) -> Int64? {
            assembler.nextFrame(at: now).map { Int64($0.payload[0]) }
        }
        let wait = Duration.milliseconds(100)
        _ = assembler.insert(packet(pool, 1, startsKeyFrame: true), at: start)
        #expect(next(start) == 1)
        _ = assembler.insert(packet(pool, 3), at: start)
        _ = assembler.insert(packet(pool, 4, startsKeyFrame: true), at: start)
        #expect(next(start) == nil)
        #expect(assembler.gapDeadline(wait: wait) == start + wait)
        assembler.handleTimeout(wait: wait, at: start + .milliseconds(99))
        #expect(next(start) == nil)
        // The missing one comes just in time.
        _ = assembler.insert(packet(pool, 2), at: start)
        #expect(next(start) == 2)
        #expect(next(start) == 3)
        #expect(next(start) == 4)
        #expect(assembler.gapDeadline(wait: wait) == nil)
        // The next one does not come at all.
        _ = assembler.insert(packet(pool, 6), at: start)
        _ = assembler.insert(packet(pool, 8, startsKeyFrame: true), at: start)
        #expect(next(start) == nil)
        assembler.handleTimeout(wait: wait, at: start + wait)
        #expect(next(start) == 8)
        _ = assembler.insert(packet(pool, 10), at: start)
        #expect(next(start) == nil)
        assembler.handleTimeout(wait: wait, at: start + wait)
        #expect(assembler.needsKeyFrame)
        #expect(pool.usedCount == 0)
    }

    @Test("a repeated packet and one of a delivered picture are told apart and dropped")
    func repetitions() {
        let pool = PacketPool()
        var assembler = VideoFrameAssembler(codec: .vp8, ssrc: 1, pool: pool)
        let first = assembler.insert(packet(pool, 1, startsKeyFrame: true), at: start)
        let second = assembler.insert(packet(pool, 1, startsKeyFrame: true), at: start)
        _ = assembler.nextFrame(at: start)
        let third = assembler.insert(packet(pool, 1, startsKeyFrame: true), at: start)
        #expect([first, second, third] == [.inserted, .duplicate, .late])
        #expect(pool.usedCount == 0)
    }

    @Test("padding between pictures, and a picture whose end is not marked")
    func paddingAndMissingMarker() {
        let pool = PacketPool()
        var assembler = VideoFrameAssembler(codec: .vp8, ssrc: 1, pool: pool)
        var numbers: [UInt32] = []
        func drain() {
            while let frame = assembler.nextFrame(at: start) { numbers.append(frame.rtpTimestamp) }
        }
        _ = assembler.insert(packet(pool, 1, timestamp: 1, startsKeyFrame: true), at: start)
        _ = assembler.insert(packet(pool, 2, timestamp: 1, marker: false, byteCount: 0), at: start)
        _ = assembler.insert(packet(pool, 3, timestamp: 2, marker: false), at: start)
        drain()
        #expect(numbers == [1])
        _ = assembler.insert(packet(pool, 4, timestamp: 3), at: start)
        drain()
        #expect(numbers == [1, 2, 3])
    }

    @Test("a jump over the whole buffer drops all and asks for a key frame")
    func overflow() {
        let pool = PacketPool()
        var assembler = VideoFrameAssembler(codec: .vp8, ssrc: 1, pool: pool)
        _ = assembler.insert(packet(pool, 1, startsKeyFrame: true), at: start)
        for number in 3..<1_000 { _ = assembler.insert(packet(pool, Int64(number)), at: start) }
        _ = assembler.insert(packet(pool, 3_000), at: start)
        #expect(assembler.needsKeyFrame)
        #expect(pool.usedCount <= 1)
        assembler.close()
        #expect(pool.usedCount == 0)
    }

    @Test("any order of any packets keeps the memory bounded and never traps", arguments: 0..<10)
    func random(seed: Int) {
        let random = RandomSource(seed: UInt64(seed))
        let pool = PacketPool()
        var assembler = VideoFrameAssembler(codec: .vp8, ssrc: 1, pool: pool)
        var base: Int64 = 0
        var delivered: Int64 = .min
        for round in 0..<20_000 {
            base += Int64(random.next() % 3)
            if random.next() % 2_000 == 0 { base += Int64(random.next() % 5_000) }
            let sequence = base - Int64(random.next() % 40)
            _ = assembler.insert(
                packet(
                    pool,
                    sequence,
                    timestamp: UInt32(truncatingIfNeeded: sequence / Int64(1 + random.next() % 4)),
                    marker: random.next() % 2 == 0,
                    byteCount: Int(random.next() % 5),
                    startsFrame: random.next() % 2 == 0,
                    startsKeyFrame: random.next() % 8 == 0
                ),
                at: start
            )
            while assembler.nextFrame(at: start) != nil {
                if let next = assembler.oldestNeeded {
                    #expect(next > delivered)
                    delivered = next
                }
            }
            if round % 20 == 0 { assembler.handleTimeout(wait: .zero, at: start) }
            #expect(pool.usedCount <= VideoFrameAssembler.capacity)
        }
        assembler.close()
        #expect(pool.usedCount == 0)
    }

    // MARK: Audio

    @Test("audio in order passes at once; a gap is waited for, then counted")
    func audio() {
        let pool = PacketPool()
        var buffer = AudioJitterBuffer(ssrc: 1, pool: pool)
        func next() -> (Int, lost: Int)? {
            buffer.nextFrame(codec: { _ in .opus }, at: start).map { (Int($0.payload[0]), $0.lostBefore) }
        }
        for number in [Int64(1), 2, 5] { _ = buffer.insert(packet(pool, number), at: start) }
        #expect(next()?.0 == 1)
        #expect(next()?.0 == 2)
        #expect(next() == nil)
        let wait = AudioJitterBuffer.wait(jitter: .zero, retransmissionTime: nil)
        #expect(wait == .milliseconds(20))
        buffer.handleTimeout(wait: wait, at: start + .milliseconds(19))
        #expect(next() == nil)
        buffer.handleTimeout(wait: wait, at: start + .milliseconds(20))
        let after = next()
        #expect(after?.0 == 5)
        #expect(after?.lost == 2)
        let late = buffer.insert(packet(pool, 3), at: start)
        #expect(late == .late)
        #expect(buffer.packetsLate == 1)
        #expect(pool.usedCount == 0)
        #expect(AudioJitterBuffer.wait(jitter: .milliseconds(15), retransmissionTime: nil) == .milliseconds(60))
        #expect(AudioJitterBuffer.wait(jitter: .seconds(1), retransmissionTime: nil) == .milliseconds(100))
    }

    // MARK: Statistics

    private func block(_ statistics: inout ReceptionStatistics, at now: Instant) throws -> RTCPReportBlock {
        let block = statistics.reportBlock(ssrc: 7, at: now)
        return try #require(block)
    }

    @Test("loss, duplicates and wrap-around are counted as RFC 3550 A.3 has it")
    func reportBlock() throws {
        var statistics = ReceptionStatistics(clockRate: 90_000)
        for sequence in Int64(65_530)..<65_630 where sequence % 10 != 0 {
            statistics.receive(sequence: sequence, timestamp: UInt32(sequence * 900), at: start)
        }
        let first = try block(&statistics, at: start)
        #expect(first.highestSequenceNumber == 0x1_005D)
        #expect(first.cumulativeLost == 9)
        #expect(first.fractionLost == 9 * 256 / 99)
        let second = try block(&statistics, at: start)
        #expect(second.fractionLost == 0)
        #expect(second.cumulativeLost == 9)
    }

    @Test("jitter is nothing for even arrivals and follows uneven ones")
    func jitter() {
        var even = ReceptionStatistics(clockRate: 48_000)
        var uneven = ReceptionStatistics(clockRate: 48_000)
        for number in 0..<500 {
            let due = start + .milliseconds(20 * number)
            let timestamp = UInt32(truncatingIfNeeded: 0xFFFF_0000 + number * 960)
            even.receive(sequence: Int64(number), timestamp: timestamp, at: due)
            uneven.receive(
                sequence: Int64(number),
                timestamp: timestamp,
                at: due + .milliseconds(number % 2 == 0 ? 0 : 10)
            )
        }
        #expect(even.jitter < .milliseconds(1))
        #expect(uneven.jitter > .milliseconds(9) && uneven.jitter < .milliseconds(11))
    }

    @Test("the delay since the last sender report is in the block")
    func lastSenderReport() throws {
        var statistics = ReceptionStatistics(clockRate: 48_000)
        statistics.receive(sequence: 1, timestamp: 0, at: start)
        statistics.receive(senderReportAt: 0x1234_5678_9ABC_DEF0, at: start)
        let first = try block(&statistics, at: start + .milliseconds(500))
        #expect(first.lastSenderReport == 0x5678_9ABC)
        #expect(first.delaySinceLastSenderReport == 0x8000)
    }
}
