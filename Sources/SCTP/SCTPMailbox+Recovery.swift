internal import SansIO

/// What an association's packets and SACKs have to do with the recovery of losses.
extension SCTPMailbox {
    /// Gives new data to the recovery, in packets that fit; all else leaves at once.
    func record(_ packet: RawSpan) {
        var dataCount = 0
        var chunkCount = 0
        var firstTSN: UInt32?
        var lastTSN: UInt32 = 0
        SCTPChunks.forEach(in: packet) { type, start, end in
            chunkCount += 1
            guard type == SCTPChunks.data, end - start >= 8 else { return }
            let tsn = packet.uint32(at: start + 4)
            guard isNew(tsn) else { return }
            dataCount += 1
            if firstTSN == nil { firstTSN = tsn }
            lastTSN = tsn
        }
        if dataCount == chunkCount, packet.byteCount <= packetLimit, let firstTSN {
            add(packet.array(), firstTSN: firstTSN, lastTSN: lastTSN)
        } else {
            recordChunks(packet)
        }
        pump()
    }

    /// The same chunk by chunk.
    private func recordChunks(_ packet: RawSpan) {
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
                add(part, firstTSN: firstTSN, lastTSN: highestTSN)
                part = header
            }
            if part.count == header.count { firstTSN = tsn }
            part.append(contentsOf: chunk.array())
            highestTSN = tsn
        }
        if part.count > header.count, let highestTSN { add(part, firstTSN: firstTSN, lastTSN: highestTSN) }
        // A request that names the data before it waits for that to arrive (``SCTPResetGate``), whichever leaves first.
        if rest.count > packetLimit {
            unsafe split(rest.span.bytes)
        } else if rest.count > header.count {
            unsafe putChanged(rest.span.bytes)
        }
    }

    private func add(_ packet: consuming [UInt8], firstTSN: UInt32, lastTSN: UInt32) {
        unsafe packet.withUnsafeMutableBytes { unsafe Self.seal($0) }
        recovery.add(packet, firstTSN: firstTSN, lastTSN: lastTSN)
        highestTSN = lastTSN
    }

    /// Sends what the recovery has and the path takes.
    private func pump() {
        guard recovery.mode != .off else { return }
        let window = flightLimit.byteCount ?? .max
        while let packet = recovery.next(window: window, rate: flightLimit.rate, at: now) { send(packet) }
        flightLimit.isStarved = recovery.mode == .on && recovery.isStarved
    }

    /// Sends what was recorded; it may have been cut for a wider path.
    private func send(_ packet: [UInt8]) {
        if packet.count > packetLimit { unsafe split(packet.span.bytes) } else { append(sealed: packet) }
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
        for packet in recovery.stop() { send(packet) }
    }
}
