internal import DequeModule
internal import SansIO

/// Finds what a long path lost and sends it again, in usrsctp's place. RFC 8985 (RACK-TLP), for SCTP's packets
///
/// usrsctp takes each loss for a full queue and halves its window: at 100 ms and one loss in a hundred packets, 0.2 MB/s
/// is left of any path. So on a long path it sees none. Its packets are kept here until the peer has them, those that
/// are missing are sent again, and its SACKs are shown to usrsctp without their gaps. How much may be under way is for
/// what arrives to say (``FlightLimit``), not for what is lost.
///
/// What the peer says is not believed: a SACK can only free what was sent.
struct LossRecovery {
    enum Mode {
        /// usrsctp does it.
        case off
        /// usrsctp does it, but packets are kept: soon all that is under way is known here.
        case recording
        case on
    }

    /// What a SACK brought.
    struct Delivery {
        /// Bytes of the packets that are now known to have arrived.
        var byteCount = 0
        /// Bytes of those that are now known to be lost.
        var lostByteCount = 0
        /// Bytes of those that were taken for lost and had only been late.
        var lateByteCount = 0
        /// Of the packet that was sent last of those; none if it was sent more than once.
        var roundTrip: Duration?
    }

    private struct Packet {
        /// None once it arrived.
        var bytes: [UInt8]
        let byteCount: Int
        let firstTSN: UInt32
        let lastTSN: UInt32
        var sentAt = Instant(nanoseconds: 0)
        var sendCount = 0
        var hasArrived = false
        /// Whether it waits to be sent again.
        var isLost = false
    }

    private(set) var mode = Mode.recording
    /// Bytes that were sent and neither arrived nor are known to be lost.
    private(set) var inFlight = 0
    /// Bytes that arrived behind a gap.
    private(set) var beyondGap = 0
    /// Packets that were found to be lost.
    private(set) var lostCount = 0

    /// In the order of their TSNs.
    private var packets = Deque<Packet>()
    /// Packets have numbers: that of the first here.
    private var firstNumber = 0
    /// All below it were sent.
    private var sentEnd = 0
    /// All below it arrived or are among `holes`.
    private var frontier = 0
    /// Packets that had not arrived when later ones had.
    private var holes: [Int] = []
    /// Packets to send again, oldest first.
    private var lost = RingQueue<Int>()
    private var cumulativeTSN: UInt32?
    private var firstRecordedTSN: UInt32?
    private var peerWindow = 0

    /// When that packet was sent, of those that arrived, which was sent last, and how long it took. RFC 8985 §5.2
    private var newestSentAt: Instant?
    private var newestRoundTrip = Duration.zero
    /// That of the path without a queue, as measured elsewhere.
    var shortestRoundTrip: Duration?
    private var smoothedRoundTrip: Duration?
    /// How much later than others packets arrive here: so many quarters of a round-trip time. RFC 8985 §6.2
    private var reorderingSteps = 1
    private var reorderedAt = Instant(nanoseconds: 0)
    /// Before it nothing more can be found to be lost, unless a packet arrives that was sent later.
    private var nextLossAt = Instant(nanoseconds: .min)
    private var lastSentAt = Instant(nanoseconds: 0)
    /// When something last arrived, or the first packet after a silence was sent.
    private var progressAt = Instant(nanoseconds: 0)
    private var hasProbed = false
    private var timeoutFactor = 1.0
    /// How much may be under way since a time-out.
    private var restartWindow: Int?

    /// What may leave now, and when that was so.
    private var budget = LossRecovery.burst
    private var budgetAt = Instant(nanoseconds: 0)

    private static let initialWindow = 16 << 10
    private static let burst = 16_384.0
    /// How long it may last until `next` is called again.
    private static let tick = Duration.milliseconds(10)
    /// RTO.Min, and RTO.Max on all but the longest paths: RFC 9260 §16 has 60 s, after which a path that comes back
    /// would stay unused for as long again.
    private static let timeouts = Duration.seconds(1)...Duration.seconds(2)
    private static let leastReordering = Duration.milliseconds(1)
    private static let mostReorderingSteps = 6
    /// Round-trip times until less is tried.
    private static let reorderingRounds = 16.0
    /// How long a peer may hold its SACK back, most do 200 ms at most. RFC 9260 §6.2
    private static let sackDelay = Duration.milliseconds(200)
    /// A receiver that is usrsctp keeps account of 4096 TSNs behind a gap, and drops what is beyond.
    private static let tsnSpan = 4_000
    /// A peer with less room drops what comes.
    private static let closedWindow = 4_096

    // MARK: Modes

    /// Keeps what is sent from now on.
    mutating func record() {
        guard mode == .off else { return }
        self = LossRecovery()
    }

    /// Takes over, once all that is under way was recorded.
    mutating func takeOver() {
        guard mode == .recording, let firstRecordedTSN, let cumulativeTSN,
            Self.distance(from: firstRecordedTSN, to: cumulativeTSN) >= -1
        else { return }
        mode = .on
    }

    /// Leaves it all to usrsctp.
    ///
    /// - Returns: the packets that were not sent yet, or are to be sent again.
    mutating func stop() -> [[UInt8]] {
        guard mode != .off else { return [] }
        var waiting: [[UInt8]] = []
        for index in packets.indices where packets[index].isLost || index >= sentEnd - firstNumber {
            waiting.append(packets[index].bytes)
        }
        self = LossRecovery()
        mode = .off
        return waiting
    }

    /// What was sent over another path may be lost, and nothing is known of the new one.
    mutating func pathChanged(at now: Instant) {
        newestSentAt = nil
        newestRoundTrip = .zero
        shortestRoundTrip = nil
        smoothedRoundTrip = nil
        guard mode == .on else { return }
        restartWindow = Self.initialWindow
        if inFlight > 0 { expireAll(at: now) }
    }

    // MARK: Sending

    /// Takes a packet with new data and no other chunks, complete with its checksum.
    mutating func add(_ bytes: [UInt8], firstTSN: UInt32, lastTSN: UInt32) {
        if firstRecordedTSN == nil { firstRecordedTSN = firstTSN }
        packets.append(Packet(bytes: bytes, byteCount: bytes.count, firstTSN: firstTSN, lastTSN: lastTSN))
    }

    /// usrsctp sends data again.
    ///
    /// - Returns: whether it need not leave, since that is decided here.
    mutating func didSendAgain(tsn: UInt32, at now: Instant) -> Bool {
        var low = 0
        var high = packets.count
        while low < high {
            let middle = (low + high) / 2
            if Self.distance(from: packets[middle].lastTSN, to: tsn) > 0 { low = middle + 1 } else { high = middle }
        }
        // What is not known here, or was said to have arrived and perhaps was dropped since, is usrsctp's.
        guard low < packets.count, Self.distance(from: packets[low].firstTSN, to: tsn) >= 0, !packets[low].hasArrived
        else { return false }
        guard mode == .recording else { return true }
        packets[low].sentAt = now
        packets[low].sendCount += 1
        return false
    }

    /// The next packet to send, while no more than `window` bytes are under way; what is lost comes first.
    ///
    /// What the window takes at once is spread over time: no more than `rate` bytes a second leave, but for a burst; nil if
    /// nothing is known of the path.
    mutating func next(window: Int, rate: Double?, at now: Instant) -> [UInt8]? {
        let window = mode == .recording ? Int.max : min(window, restartWindow ?? .max)
        if mode == .on, now > budgetAt {
            // As long as nothing is known, a window each tenth of a second.
            let rate = rate ?? 10 * Double(restartWindow ?? Self.initialWindow)
            let burst = max(Self.burst, rate * (Self.tick / .seconds(1)))
            budget = min(budget + rate * ((now - budgetAt) / .seconds(1)), burst)
            budgetAt = now
        }
        guard budget > 0 || mode == .recording else { return nil }
        while let number = lost.first {
            let index = number - firstNumber
            guard index >= 0, packets[index].isLost else {
                _ = lost.popFirst()
                continue
            }
            guard hasRoom(packets[index].byteCount, in: window) else { return nil }
            _ = lost.popFirst()
            packets[index].isLost = false
            return send(index, at: now)
        }
        let index = sentEnd - firstNumber
        guard index < packets.count, hasRoom(packets[index].byteCount, in: window) else { return nil }
        // A path that never lost anything has no gaps.
        if lostCount > 0, let cumulativeTSN,
            Self.distance(from: cumulativeTSN, to: packets[index].lastTSN) > Self.tsnSpan
        {
            return nil
        }
        sentEnd += 1
        return send(index, at: now)
    }

    /// Whether more could be under way than there is to send.
    var isStarved: Bool { sentEnd - firstNumber == packets.count && lost.isEmpty }

    private func hasRoom(_ byteCount: Int, in window: Int) -> Bool { inFlight == 0 || inFlight + byteCount <= window }

    private mutating func send(_ index: Int, at now: Instant) -> [UInt8] {
        if inFlight == 0 { progressAt = now }
        if mode == .on { budget -= Double(packets[index].byteCount) }
        lastSentAt = now
        packets[index].sentAt = now
        packets[index].sendCount += 1
        inFlight += packets[index].byteCount
        return packets[index].bytes
    }

    // MARK: SACKs

    /// The peer has everything up to a TSN and what `blocks` say, which count from it. RFC 9260 §3.3.4
    mutating func didAcknowledge(
        tsn: UInt32,
        blocks: [ClosedRange<Int>],
        peerWindow: Int,
        at now: Instant
    ) -> Delivery {
        var delivery = Delivery()
        // Those that come out of order tell nothing new.
        if let cumulativeTSN, Self.distance(from: cumulativeTSN, to: tsn) < 0 { return delivery }
        cumulativeTSN = tsn
        let hasReopened = self.peerWindow < Self.closedWindow && peerWindow >= Self.closedWindow
        self.peerWindow = peerWindow
        while let packet = packets.first, Self.distance(from: packet.lastTSN, to: tsn) >= 0 {
            if sentEnd == firstNumber { sentEnd += 1 }  // usrsctp had sent it, though it was held here.
            if packet.hasArrived { beyondGap -= packet.byteCount } else { arrive(0, at: now, &delivery) }
            packets.removeFirst()
            firstNumber += 1
        }
        frontier = max(frontier, firstNumber)
        takeBlocks(blocks, after: tsn, at: now, &delivery)
        if delivery.byteCount > 0 {
            progressAt = now
            hasProbed = false
            timeoutFactor = 1
            // Doubles with each round, as in slow start.
            if let window = restartWindow { restartWindow = window + delivery.byteCount }
        }
        guard mode == .on else { return delivery }
        if hasReopened, delivery.byteCount == 0, inFlight > 0 { expireAll(at: now, isRestart: false) }
        delivery.lostByteCount = findLosses(at: now)
        return delivery
    }

    private mutating func takeBlocks(
        _ blocks: [ClosedRange<Int>],
        after tsn: UInt32,
        at now: Instant,
        _ delivery: inout Delivery
    ) {
        func hasArrived(_ packet: Packet) -> Bool {
            let first = max(Self.distance(from: tsn, to: packet.firstTSN), 1)
            let last = Self.distance(from: tsn, to: packet.lastTSN)
            var low = 0
            var high = blocks.count
            while low < high {
                let middle = (low + high) / 2
                if blocks[middle].upperBound < last { low = middle + 1 } else { high = middle }
            }
            return low < blocks.count && blocks[low].lowerBound <= first
        }
        var remaining = 0
        for index in holes.indices {
            let number = holes[index]
            guard number >= firstNumber, !packets[number - firstNumber].hasArrived else { continue }
            if hasArrived(packets[number - firstNumber]) {
                arrive(number - firstNumber, at: now, &delivery)
                beyondGap += packets[number - firstNumber].byteCount
            } else {
                holes[remaining] = number
                remaining += 1
            }
        }
        holes.removeLast(holes.count - remaining)
        guard let end = blocks.last?.upperBound else { return }
        while frontier < sentEnd, Self.distance(from: tsn, to: packets[frontier - firstNumber].lastTSN) <= end {
            if hasArrived(packets[frontier - firstNumber]) {
                arrive(frontier - firstNumber, at: now, &delivery)
                beyondGap += packets[frontier - firstNumber].byteCount
            } else {
                holes.append(frontier)
            }
            frontier += 1
        }
    }

    private mutating func arrive(_ index: Int, at now: Instant, _ delivery: inout Delivery) {
        let packet = packets[index]
        packets[index].hasArrived = true
        packets[index].bytes = []
        packets[index].isLost = false
        // A time-out's packets are lost, and no longer in flight.
        if !packet.isLost, packet.sendCount > 0 { inFlight -= packet.byteCount }
        delivery.byteCount += packet.byteCount
        guard packet.sendCount > 0 else { return }
        let roundTrip = now - packet.sentAt
        // What came so soon after it was sent again, or before, is an answer to the first time. RFC 8985 §6.2
        if packet.isLost || packet.sendCount > 1 && roundTrip < shortestRoundTrip ?? roundTrip + .milliseconds(1) {
            delivery.lateByteCount += packet.byteCount
            noteReordering(at: now)
            return
        }
        if newestSentAt.map({ packet.sentAt >= $0 }) ?? true {
            newestSentAt = packet.sentAt
            newestRoundTrip = roundTrip
            delivery.roundTrip = packet.sendCount == 1 ? roundTrip : nil
            nextLossAt = now
        }
        guard packet.sendCount == 1 else { return }
        smoothedRoundTrip = smoothedRoundTrip.map { $0 * 0.875 + roundTrip * 0.125 } ?? roundTrip
    }

    /// A packet was late, and longer so than was waited for; at most one step in each round.
    private mutating func noteReordering(at now: Instant) {
        let roundTrip = smoothedRoundTrip ?? .zero
        guard reorderingSteps == 1 || now - reorderedAt >= roundTrip else { return }
        reorderingSteps = min(reorderingSteps + 1, Self.mostReorderingSteps)
        reorderedAt = now
    }

    // MARK: Losses

    /// Marks the packets that were sent so long before one that arrived that they cannot only be late. RFC 8985 §6.2
    ///
    /// - Returns: their bytes.
    private mutating func findLosses(at now: Instant) -> Int {
        guard let newestSentAt, !holes.isEmpty, now >= nextLossAt else { return 0 }
        if reorderingSteps > 1, now - reorderedAt >= (smoothedRoundTrip ?? .zero) * Self.reorderingRounds {
            reorderingSteps = 1
        }
        let quarter = (shortestRoundTrip ?? newestRoundTrip) * 0.25
        let reordering = max(quarter * Double(reorderingSteps), Self.leastReordering)
        var byteCount = 0
        nextLossAt = now + newestRoundTrip + reordering
        for index in holes.indices {
            let packet = packets[holes[index] - firstNumber]
            guard !packet.isLost, packet.sentAt <= newestSentAt else { continue }
            let due = packet.sentAt + newestRoundTrip + reordering
            if newestSentAt - packet.sentAt >= reordering || now >= due {
                markLost(holes[index])
                byteCount += packet.byteCount
            } else {
                nextLossAt = min(nextLossAt, due)
            }
        }
        return byteCount
    }

    private mutating func markLost(_ number: Int) {
        let index = number - firstNumber
        packets[index].isLost = true
        inFlight -= packets[index].byteCount
        lost.append(number)
        lostCount += 1
    }

    /// Lets time pass: what is late is lost, a silence is probed, a long one ends in a time-out. RFC 8985 §7, RFC 9260 §6.3
    ///
    /// - Returns: bytes of packets that were found to be lost.
    mutating func advance(to now: Instant) -> Int {
        guard mode == .on, inFlight > 0 else { return 0 }
        let byteCount = findLosses(at: now)
        guard inFlight > 0 else { return byteCount }
        let roundTrip = smoothedRoundTrip ?? .milliseconds(500)
        let longest = max(Self.timeouts.upperBound, roundTrip * 3)
        let timeout = min(max(roundTrip * 3, Self.timeouts.lowerBound) * timeoutFactor, longest)
        if now - progressAt >= timeout {
            expireAll(at: now)
            timeoutFactor = min(timeoutFactor * 2, 16)
        } else if !hasProbed, now - max(progressAt, lastSentAt) >= roundTrip * 2 {
            // The last packet: its SACK tells what else is missing.
            let last = packets.indices.prefix(sentEnd - firstNumber).last { index in
                !packets[index].hasArrived && !packets[index].isLost
            }
            guard let last else { return byteCount }
            // A single packet's SACK may be held back. RFC 8985 §7.2
            let isSingle = inFlight == packets[last].byteCount
            if isSingle, now - max(progressAt, lastSentAt) < roundTrip * 2 + Self.sackDelay { return byteCount }
            hasProbed = true
            markLost(firstNumber + last)
        }
        return byteCount
    }

    /// All that is under way is lost, and the path perhaps is another: begins anew.
    private mutating func expireAll(at now: Instant, isRestart: Bool = true) {
        lost = RingQueue()
        for number in firstNumber..<sentEnd where !packets[number - firstNumber].hasArrived {
            if packets[number - firstNumber].isLost { lost.append(number) } else { markLost(number) }
        }
        progressAt = now
        hasProbed = false
        if isRestart { restartWindow = Self.initialWindow }
    }

    /// Serial numbers. RFC 9260 §1.6
    private static func distance(from first: UInt32, to second: UInt32) -> Int {
        Int(Int32(bitPattern: second &- first))
    }
}
