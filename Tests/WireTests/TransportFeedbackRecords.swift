import CongestionControl
import RTP
import SansIO
import Testing

@Suite("Transport-wide feedback")
struct TransportFeedbackRecords {
    private func at(_ milliseconds: Double) -> Instant {
        Instant(nanoseconds: 10_000_000_000 + Int64(milliseconds * 1e6))
    }

    private func next(_ recorder: inout ArrivalRecorder) throws -> RTCPTransportFeedback {
        let feedback = recorder.nextFeedback(senderSSRC: 1, mediaSSRC: 2)
        return try #require(feedback)
    }

    private func expectNone(_ recorder: inout ArrivalRecorder) {
        let feedback = recorder.nextFeedback(senderSSRC: 1, mediaSSRC: 2)
        #expect(feedback == nil)
    }

    private func parse(_ bytes: [UInt8]) -> RTCPTransportFeedback? {
        var found: RTCPTransportFeedback?
        RTCPPacket.parse(bytes.span.bytes) { if case .transportFeedback(let feedback) = $0 { found = feedback } }
        return found
    }

    @Test("run-length and both vector chunks are read")
    func chunks() throws {
        // Base 10, 3 + 14 + 7 packets, reference 1, count 2.
        var bytes: [UInt8] = [0x8F, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 10, 0, 24, 0, 0, 1, 2]
        bytes += [0x20, 3]  // three small deltas
        bytes += [0xA0, 0x01]  // one-bit vector: 1 then eleven 0 … then 1
        bytes += [0xD0, 0x08]  // two-bit vector: small, 0, 0, 0, 0, large, 0
        bytes += [4, 8, 12, 16, 20, 24, 0xFF, 0xFC]
        while bytes.count % 4 != 0 { bytes.append(0) }
        bytes[3] = UInt8(bytes.count / 4 - 1)
        let feedback = try #require(parse(bytes))
        #expect(feedback.baseSequenceNumber == 10)
        #expect(feedback.referenceTime == 1)
        #expect(feedback.feedbackCount == 2)
        var expected: [Int16?] = [4, 8, 12, 16] + Array(repeating: nil, count: 12) + [20]
        expected[3] = 16
        expected = [4, 8, 12] + [16] + Array(repeating: nil, count: 12) + [20] + [24, nil, nil, nil, nil, -4, nil]
        #expect(feedback.deltas == expected)
    }

    @Test("a count beyond the limit and a truncated body are refused")
    func hostile() {
        var bytes: [UInt8] = [
            0x8F, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 10, 0xFF, 0xFF, 0, 0, 1, 2, 0x1F, 0xFF, 0x1F, 0xFF,
        ]
        #expect(parse(bytes) == nil)
        bytes[14] = 0
        bytes[15] = 0
        #expect(parse(bytes) == nil)
        bytes[15] = 40
        bytes[20] = 0x20
        #expect(parse(bytes) == nil)
    }

    @Test("what was recorded comes back as times of arrival, with losses and a late packet")
    func recorder() throws {
        var recorder = ArrivalRecorder()
        expectNone(&recorder)
        recorder.receive(65_534, at: at(0))
        recorder.receive(65_535, at: at(1))
        recorder.receive(2, at: at(3))
        recorder.receive(1, at: at(3.5))
        let first = try next(&recorder)
        #expect(first.baseSequenceNumber == 65_534)
        #expect(first.deltas.map { $0 != nil } == [true, true, false, true, true])
        #expect(first.deltas[4] == -2)
        expectNone(&recorder)
        recorder.receive(3, at: at(60))
        let second = try next(&recorder)
        #expect(second.baseSequenceNumber == 3)
        #expect(second.feedbackCount == 1)
        // The one that was missing arrives after all: it is reported, with those behind it.
        recorder.receive(0, at: at(70))
        let third = try next(&recorder)
        #expect(third.baseSequenceNumber == 0)
        #expect(third.deltas.count == 4)
        expectNone(&recorder)
        // Losses between two messages are in the second.
        recorder.receive(6, at: at(80))
        let fourth = try next(&recorder)
        #expect(fourth.baseSequenceNumber == 4)
        #expect(fourth.deltas.map { $0 != nil } == [false, false, true])
    }

    @Test("a long silence does not overflow a delta, and a jump of the numbers does no harm")
    func jumps() throws {
        var recorder = ArrivalRecorder()
        recorder.receive(1, at: at(0))
        recorder.receive(2, at: at(60_000))
        let first = try next(&recorder)
        let second = try next(&recorder)
        #expect(first.deltas.count == 1)
        #expect(second.baseSequenceNumber == 2)
        recorder.receive(30_000, at: at(60_001))
        let third = try next(&recorder)
        #expect(third.baseSequenceNumber &+ UInt16(third.deltas.count - 1) == 30_000)
        #expect(third.deltas.count { $0 != nil } == 1)
    }

    @Test("the sender learns what arrived, what was lost, and the delay")
    func sentPackets() throws {
        var history = SentPacketHistory()
        var recorder = ArrivalRecorder()
        for index in 0..<100 {
            let number = history.nextNumber
            history.send(byteCount: 1_000, at: at(Double(index)))
            if index % 10 != 3 { recorder.receive(number, at: at(Double(index) + 30)) }
        }
        let feedback = try next(&recorder)
        let summary = history.receive(feedback)
        #expect(summary.receivedCount == 90)
        #expect(summary.lostCount == 10)
        #expect(summary.receivedByteCount == 90_000)
        let transit = try #require(summary.leastTransit)
        #expect(abs((transit - .milliseconds(30)).wholeNanoseconds) <= 250_000)
        let again = history.receive(feedback)
        #expect(again.receivedCount == 0)
        #expect(again.lostCount == 0)
    }

    @Test("feedback about packets that were never sent says nothing")
    func neverSent() {
        var history = SentPacketHistory()
        history.send(byteCount: 100, at: at(0))
        let summary = history.receive(
            RTCPTransportFeedback(
                senderSSRC: 1,
                mediaSSRC: 2,
                baseSequenceNumber: 500,
                referenceTime: .max,
                feedbackCount: 0,
                deltas: Array(repeating: 0, count: 8_000)
            )
        )
        #expect(summary.receivedCount == 0)
        #expect(summary.lostCount == 0)
    }

    @Test("random arrivals survive writing and parsing", arguments: 0..<20)
    func roundTrip(seed: Int) throws {
        let random = RandomSource(seed: UInt64(seed))
        var recorder = ArrivalRecorder()
        var arrivals: [UInt16: Instant] = [:]
        var time = at(Double(random.next() % 1_000_000))
        for index in 0..<300 {
            time = time + .microseconds(Int64(random.next() % 20_000))
            if random.next() % 5 == 0 { continue }
            let number = UInt16(truncatingIfNeeded: 65_400 + index)
            recorder.receive(number, at: time)
            arrivals[number] = time
        }
        let feedback = try next(&recorder)
        var writer = ByteWriter()
        writer.write(.transportFeedback(feedback))
        #expect(writer.count < 1_150)
        #expect(parse(writer.bytes) == feedback)
        var clock = Int64(feedback.referenceTime) * 64_000_000
        var seen = 0
        for (index, delta) in feedback.deltas.enumerated() {
            guard let delta else { continue }
            clock += Int64(delta) * 250_000
            let arrival = try #require(arrivals[feedback.baseSequenceNumber &+ UInt16(index)])
            #expect(abs(arrival.nanoseconds - clock) < 250_000)
            seen += 1
        }
        #expect(seen == arrivals.count)
    }

    @Test("mutations of feedback never trap its reader nor the sender's history")
    func mutations() {
        let random = RandomSource(seed: 23)
        var writer = ByteWriter()
        writer.write(RTCPParsing.samples[9])
        let seeds = [writer.bytes, Array(RTPVectors.bytes("RTCP/receive-side-cc.bin"))]
        var history = SentPacketHistory()
        var estimator = BandwidthEstimator()
        var time = at(0)
        for round in 0..<50_000 {
            time = time + .milliseconds(5)
            history.send(byteCount: 1_200, at: time)
            guard let feedback = parse(RTPVectors.mutate(seeds[round % 2], random)) else { continue }
            estimator.receive(history.receive(feedback), at: time)
            #expect(estimator.targetBitRate >= estimator.configuration.minimumBitRate)
            #expect(estimator.targetBitRate <= estimator.configuration.maximumBitRate)
        }
    }

    @Test("any sequence of numbers is recorded without a trap, within its memory")
    func hostileNumbers() {
        let random = RandomSource(seed: 24)
        var recorder = ArrivalRecorder()
        var time = at(0)
        for _ in 0..<50_000 {
            time = time + .microseconds(Int64(random.next() % 3_000))
            recorder.receive(UInt16(truncatingIfNeeded: random.next()), at: time)
            #expect(recorder.pendingCount <= ArrivalRecorder.capacity)
            if random.next() % 50 == 0 {
                var messages = 0
                while let feedback = recorder.nextFeedback(senderSSRC: 1, mediaSSRC: 2) {
                    messages += 1
                    #expect(feedback.deltas.count <= ArrivalRecorder.packetsPerMessage)
                }
                #expect(messages <= ArrivalRecorder.capacity)
            }
        }
    }
}
