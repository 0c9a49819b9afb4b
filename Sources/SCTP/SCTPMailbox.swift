internal import CCRC32C
internal import SansIO

/// What usrsctp left for one association; touched only while the stack's lock is held.
final class SCTPMailbox {
    /// Outgoing packets one behind the other, and their lengths.
    private(set) var bytes: [UInt8] = []
    private(set) var lengths: [Int] = []
    var isReadable = false
    /// For the peer's resets, and for this side's.
    var incomingGate: SCTPResetGate
    private var outgoingGate: SCTPResetGate
    var streams: SCTPStreamCounts
    /// The longest packet that is sent, if its chunks can be had apart.
    var packetLimit: Int
    var flightLimit = FlightLimit()
    private(set) var recovery = LossRecovery()
    private var isRecoveryForbidden = false
    /// Of all data that usrsctp sent.
    private(set) var highestTSN: UInt32?
    /// The present as the association last knew it inside the lock: another's call may send for it, on any thread.
    var now = Instant(nanoseconds: 0)
    /// Bytes of the packets with data since they were last asked for.
    private var dataByteCount = 0
    /// The common header of those packets.
    private(set) var header: [UInt8] = []
    /// Called when somebody else's call left something here.
    var wakeUp: (@Sendable () -> Void)?

    /// Bytes of packets beyond which more are dropped: the owner does not drain.
    private static let byteLimit = 16 << 20

    init(streamCount: UInt16, packetLimit: Int, holdsEarlyResets: Bool) {
        incomingGate = SCTPResetGate(isOpen: !holdsEarlyResets)
        outgoingGate = SCTPResetGate(isOpen: !holdsEarlyResets)
        streams = SCTPStreamCounts(streamCount: streamCount)
        self.packetLimit = packetLimit
    }

    /// Takes a copy of a packet, which is usrsctp's, and gives it its checksum.
    func put(_ packet: UnsafeMutableRawBufferPointer) {
        guard bytes.count + packet.count <= Self.byteLimit else { return }
        let span = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(packet))
        var isChanged = false
        var lastTSN: UInt32?
        var isHandshake = false
        SCTPChunks.forEach(in: span) { type, start, end in
            if type == SCTPChunks.cookieEcho { isHandshake = true }
            if type == SCTPChunks.data, end - start >= 8 { lastTSN = span.uint32(at: start + 4) }
            if type == SCTPChunks.sack, end - start >= 8 { incomingGate.note(sack: span.uint32(at: start + 4)) }
            if SCTPStreamCounts.concerns(type) { isChanged = true }
        }
        if let lastTSN {
            dataByteCount += packet.count
            if header.isEmpty { header = span.extracting(..<SCTPChunks.headerByteCount).array() }
            // Nothing may follow a COOKIE ECHO before it is acknowledged (RFC 9260 §5.1): its data stay with it.
            if recovery.mode != .off, !isHandshake { return record(span) }
            if isNew(lastTSN) {
                flightLimit.didSend(tsn: lastTSN, byteCount: packet.count, at: now)
                highestTSN = lastTSN
            }
        }
        if isChanged {
            putChanged(span)
        } else if packet.count > packetLimit {
            split(span)
        } else {
            unsafe append(packet)
        }
    }

    private func putChanged(_ packet: RawSpan) {
        let changed = streams.outgoing(packet)
        if !changed.isEmpty { unsafe put(outgoingGate.take(changed.span.bytes) ?? changed) }
    }

    private func isNew(_ tsn: UInt32) -> Bool {
        highestTSN.map { Int32(bitPattern: tsn &- $0) > 0 } ?? true
    }

    /// The peer has acknowledged what was sent up to a TSN: resets that waited for that leave.
    func note(sack cumulativeTSN: UInt32) {
        outgoingGate.note(sack: cumulativeTSN)
        while let packet = outgoingGate.release() { put(packet) }
    }

    /// Takes packets that were made here, without their checksum.
    func put(_ packet: consuming [UInt8]) {
        guard packet.count > SCTPChunks.headerByteCount else { return }
        unsafe packet.withUnsafeMutableBytes { unsafe append($0) }
    }

    // MARK: Loss recovery

    /// Gives new data to the recovery, in packets that fit; all else leaves at once.
    private func record(_ packet: RawSpan) {
        let header = packet.extracting(..<SCTPChunks.headerByteCount).array()
        var rest = header
        var part = header
        var firstTSN: UInt32 = 0
        SCTPChunks.forEach(in: packet) { type, start, end in
            let chunk = packet.extracting(start..<min((end + 3) & ~3, packet.byteCount))
            guard type == SCTPChunks.data, end - start >= 8 else { return rest.append(contentsOf: chunk.array()) }
            let tsn = packet.uint32(at: start + 4)
            guard isNew(tsn) else {
                if !recovery.didSendAgain(tsn: tsn, at: now) { rest.append(contentsOf: chunk.array()) }
                return
            }
            if part.count > header.count, part.count + chunk.byteCount > packetLimit, let highestTSN {
                recovery.add(part, firstTSN: firstTSN, lastTSN: highestTSN)
                part = header
            }
            if part.count == header.count { firstTSN = tsn }
            part.append(contentsOf: chunk.array())
            highestTSN = tsn
        }
        if part.count > header.count, let highestTSN { recovery.add(part, firstTSN: firstTSN, lastTSN: highestTSN) }
        // A request that names the data before it waits for that to arrive (``SCTPResetGate``), whichever leaves first.
        if rest.count > packetLimit {
            unsafe split(rest.span.bytes)
        } else if rest.count > header.count {
            unsafe putChanged(rest.span.bytes)
        }
        pump()
    }

    /// Sends what the recovery has and the path takes.
    private func pump() {
        guard recovery.mode != .off else { return }
        let window = flightLimit.byteCount ?? .max
        while let packet = recovery.next(window: window, rate: flightLimit.rate, at: now) {
            // What was cut for a wider path.
            if packet.count > packetLimit { unsafe split(packet.span.bytes) } else { put(packet) }
        }
        flightLimit.isStarved = recovery.mode == .on && recovery.isStarved
    }

    /// The peer's SACK, as far as it is new: for what is measured, and for what was lost.
    func didReceive(_ sack: SCTPSACK) {
        if recovery.mode == .off {
            flightLimit.didAcknowledge(tsn: sack.cumulativeTSN, at: now)
            if flightLimit.byteCount != nil, !isRecoveryForbidden {
                recovery.record()
                flightLimit.forgetFlights()
            }
            return
        }
        let delivery = recovery.didAcknowledge(
            tsn: sack.cumulativeTSN,
            blocks: sack.blocks,
            peerWindow: sack.window,
            at: now
        )
        flightLimit.didLose(byteCount: delivery.lostByteCount - delivery.lateByteCount)
        if delivery.byteCount > 0 {
            flightLimit.didDeliver(byteCount: delivery.byteCount, roundTrip: delivery.roundTrip, at: now)
        }
        recovery.shortestRoundTrip = flightLimit.shortestRoundTrip
        if flightLimit.isPathShort {
            leaveRecovery()
        } else if flightLimit.byteCount != nil {
            recovery.takeOver()
        }
        pump()
    }

    /// Lets time pass.
    func advance(to now: Instant) {
        self.now = now
        flightLimit.didLose(byteCount: recovery.advance(to: now))
        pump()
    }

    /// What was learnt of the last path holds no more, and what was sent over it may be lost.
    func pathChanged() {
        flightLimit.reset()
        recovery.pathChanged(at: now)
        pump()
    }

    /// Messages that need not arrive are usrsctp's to give up: from now on all losses are.
    ///
    /// - Returns: whether that is new.
    func forbidRecovery() -> Bool {
        guard !isRecoveryForbidden else { return false }
        isRecoveryForbidden = true
        leaveRecovery()
        return true
    }

    private func leaveRecovery() {
        flightLimit.forgetFlights()
        flightLimit.isStarved = false
        for packet in recovery.stop() { put(packet) }
    }

    /// usrsctp joins chunks as if the longest packet already were known to pass: gives each packet what it can hold.
    private func split(_ packet: RawSpan) {
        let header = packet.extracting(..<SCTPChunks.headerByteCount).array()
        var part = header
        SCTPChunks.forEach(in: packet) { _, start, end in
            let chunk = packet.extracting(start..<min((end + 3) & ~3, packet.byteCount))
            if part.count > header.count, part.count + chunk.byteCount > packetLimit {
                put(part)
                part = header
            }
            part.append(contentsOf: chunk.array())
        }
        if part.count > header.count { put(part) }
    }

    private func append(_ packet: UnsafeMutableRawBufferPointer) {
        unsafe packet.storeBytes(of: 0, toByteOffset: 8, as: UInt32.self)
        let checksum = unsafe ccrc32c(0, packet.baseAddress, packet.count)
        unsafe packet.storeBytes(of: checksum.littleEndian, toByteOffset: 8, as: UInt32.self)
        unsafe bytes.append(contentsOf: packet)
        lengths.append(packet.count)
    }

    /// Bytes of the packets with data since the last call.
    func takeDataByteCount() -> Int {
        defer { dataByteCount = 0 }
        return dataByteCount
    }

    /// Swaps the packets out; the given arrays' memory is used for the next ones.
    func take(_ otherBytes: inout [UInt8], _ otherLengths: inout [Int]) {
        otherBytes.removeAll(keepingCapacity: true)
        otherLengths.removeAll(keepingCapacity: true)
        swap(&bytes, &otherBytes)
        swap(&lengths, &otherLengths)
    }
}
