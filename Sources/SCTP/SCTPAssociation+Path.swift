internal import CUSRSCTP
internal import Glibc
internal import SansIO

/// What an association learns of its path, and how it makes usrsctp act on it.
extension SCTPAssociation {
    /// Packets that arrived at once, above which a SACK for each eighth is enough: the peer's window is then wide.
    ///
    /// A peer whose window is a few packets would wait for the SACK timer again and again.
    private static let wideBatchCount = 16
    private static let wideSACKFrequency: UInt32 = 8

    /// What usrsctp adds to the length of a fragment to have that of its packet, with headers of IP that we lack.
    private static let fragmentOverhead = 48
    /// Bytes that may leave at once.
    ///
    /// usrsctp's default of 4 packets stalls with rare SACKs (``adjustSACKFrequency``); no limit overruns the UDP
    /// buffers of peers that read packet by packet.
    private static let burstByteCount = 64 * 1160
    /// The same in packets, for peers that take packets as long as a record of DTLS.
    private static let longPacketBurst = 64
    /// What usrsctp holds beyond what may be under way, so that there is always something to send.
    private static let sendBufferReserve = 32 << 10

    /// What was learnt of the last path holds no more.
    func pathChanged(candidates: [Int]) {
        mtuSearch.pathChanged(candidates: candidates.filter { $0 <= longestPacket })
        SCTPStack.shared.withLock(for: token) {
            mailbox.pathChanged()
            limitFlight()
            applyPacketLimit()
        }
    }

    func searchPathMTU(at now: Instant) {
        SCTPStack.shared.withLock(for: token) {
            mailbox.advance(to: now)
            keepWindowOpen()
            let byteCount = mailbox.takeDataByteCount()
            if byteCount > 0 { mtuSearch.didSend(byteCount: byteCount) }
            if acknowledgedTSN != nil, acknowledgedTSN == mailbox.highestTSN { mtuSearch.didDrain() }
            if let length = mtuSearch.probe(at: now) { mailbox.put(probe(byteCount: length)) }
            applyPacketLimit()
        }
    }

    /// SACKs of every second packet as RFC 9260 §6.2 asks for, rarer while packets come in long batches.
    func adjustSACKFrequency() {
        let wanted =
            batchCount >= Self.wideBatchCount
            ? Self.wideSACKFrequency : batchCount <= Self.wideBatchCount / 2 ? SCTPStack.sackFrequency : sackFrequency
        // Without packets there is nothing to be learnt.
        defer { batchCount = 0 }
        guard batchCount > 0, wanted != sackFrequency, let socket = unsafe socket else { return }
        var info = sctp_sack_info(sack_assoc_id: 0, sack_delay: 0, sack_freq: wanted)
        let length = socklen_t(MemoryLayout<sctp_sack_info>.size)
        if unsafe usrsctp_setsockopt(socket, Int32(IPPROTO_SCTP), SCTP_DELAYED_SACK, &info, length) == 0 {
            sackFrequency = wanted
        }
    }

    /// Holds usrsctp's send buffer, and so what waits in first-in first-out order, to what the path takes.
    func limitFlight() {
        if isWindowOpen != (mailbox.recovery.mode == .on) { setWindowOpen(!isWindowOpen) }
        setLeastTimeout()
        var wanted = SCTPStack.sendBufferByteCount
        if !mailbox.flightLimit.isPathShort {
            // usrsctp takes a message only if its buffer has room for the whole of it: without that room, there would
            // be nothing to send while less than a message of what was sent before has arrived.
            let limit = mailbox.flightLimit.byteCount ?? Self.sendBufferReserve
            let room = limit + mailbox.recovery.beyondGap + longestMessage + Self.sendBufferReserve
            wanted = min(room, SCTPStack.longPathBufferByteCount)
        }
        let isTooSmall = sendBufferByteCount < longestMessage + Self.sendBufferReserve
        guard isTooSmall || abs(wanted - sendBufferByteCount) > sendBufferByteCount / 16, let socket = unsafe socket
        else { return }
        sendBufferByteCount = wanted
        var byteCount = Int32(wanted)
        unsafe set(socket, SOL_SOCKET, SO_SNDBUF, &byteCount)
    }

    /// Sets RTO.Min, that of RFC 9260 §16 on a long path, and RTO.Max.
    ///
    /// usrsctp does not start its timer anew with each SACK, so a shorter one expires although nothing was lost. Longer,
    /// while what is lost is none of its affair.
    private func setLeastTimeout() {
        let wanted: UInt32 =
            isWindowOpen ? 2_000 : mailbox.flightLimit.byteCount == nil ? SCTPStack.leastTimeout : 1_000
        guard leastTimeout != wanted, let socket = unsafe socket else { return }
        leastTimeout = wanted
        let longest = max(SCTPStack.longestTimeout, wanted + wanted / 2)
        var info = sctp_rtoinfo(srto_assoc_id: 0, srto_initial: wanted, srto_max: longest, srto_min: wanted)
        unsafe set(socket, Int32(IPPROTO_SCTP), SCTP_RTOINFO, &info)
    }

    /// Opens the window again that a time-out of usrsctp's own has closed.
    func keepWindowOpen() {
        guard isWindowOpen, mailbox.recovery.isStarved, mailbox.recovery.inFlight > 0, let socket = unsafe socket else {
            return
        }
        var status = sctp_status()
        var length = socklen_t(MemoryLayout<sctp_status>.size)
        guard unsafe usrsctp_getsockopt(socket, Int32(IPPROTO_SCTP), SCTP_STATUS, &status, &length) == 0,
            Int(status.sstat_primary.spinfo_cwnd) < SCTPStack.longPathBufferByteCount / 2
        else { return }
        setWindowOpen(true)
    }

    // MARK: Path MTU

    /// A HEARTBEAT that says what it is for, and padding. RFC 8899 §6.2.1.2, RFC 4820 §3
    func probe(byteCount: Int) -> [UInt8] {
        let heartbeatEnd = SCTPChunks.headerByteCount + Probe.chunkByteCount
        guard !mailbox.header.isEmpty, byteCount >= heartbeatEnd + 4, byteCount <= Int(UInt16.max) else { return [] }
        var packet = mailbox.header
        packet += [SCTPChunks.heartbeat, 0, 0, UInt8(Probe.chunkByteCount)]
        packet += [0, 1, 0, UInt8(Probe.chunkByteCount - 4)]
        for word in [Probe.mark, mtuSearch.generation, UInt32(byteCount)] {
            unsafe withUnsafeBytes(of: word.bigEndian) { unsafe packet.append(contentsOf: $0) }
        }
        let padding = UInt16(byteCount - heartbeatEnd)
        packet += [SCTPChunks.padding, 0, UInt8(padding >> 8), UInt8(padding & 0xFF)]
        packet.append(contentsOf: repeatElement(0, count: byteCount - packet.count))
        return packet
    }

    private enum Probe {
        /// usrsctp's own heartbeats begin with the time.
        static let mark: UInt32 = 0x504D_5455
        static let chunkByteCount = 20
    }

    func takeProbeAnswer(_ chunk: RawSpan) {
        guard chunk.byteCount == Probe.chunkByteCount, chunk.uint32(at: 8) == Probe.mark else { return }
        mtuSearch.didArrive(byteCount: Int(chunk.uint32(at: 16)), generation: chunk.uint32(at: 12))
        applyPacketLimit()
    }

    /// Lets usrsctp cut messages into fragments that fit.
    func applyPacketLimit() {
        guard mailbox.packetLimit != mtuSearch.packetLimit, let socket = unsafe socket else { return }
        mailbox.packetLimit = mtuSearch.packetLimit
        unsafe setFragmentLimit(socket)
    }

    func setFragmentLimit(_ socket: OpaquePointer) {
        var fragment = sctp_assoc_value(
            assoc_id: UInt32(SCTP_FUTURE_ASSOC),
            assoc_value: UInt32(mailbox.packetLimit - Self.fragmentOverhead)
        )
        unsafe set(socket, Int32(IPPROTO_SCTP), SCTP_MAXSEG, &fragment)
        unsafe setBurst(socket)
    }

    private func setBurst(_ socket: OpaquePointer) {
        let isLong = mailbox.packetLimit == longestPacket
        let count = isLong ? UInt32(Self.longPacketBurst) : UInt32(max(4, Self.burstByteCount / longestPacket))
        // 0: no limit. The recovery has its own.
        var burst = sctp_assoc_value(assoc_id: UInt32(SCTP_FUTURE_ASSOC), assoc_value: isWindowOpen ? 0 : count)
        unsafe set(socket, Int32(IPPROTO_SCTP), SCTP_MAX_BURST, &burst)
    }

    /// Lets usrsctp send all that it has, for the recovery to hold as much as it must; or go by what it knows again.
    ///
    /// There is no option for the congestion window, but choosing its algorithm anew sets it to the initial one.
    private func setWindowOpen(_ isOpen: Bool) {
        guard let socket = unsafe socket else { return }
        isWindowOpen = isOpen
        unsafe setBurst(socket)
        var algorithm = sctp_assoc_value(assoc_id: UInt32(SCTP_FUTURE_ASSOC), assoc_value: UInt32(SCTP_CC_RFC2581))
        SCTPStack.withInitialWindow(packets: isOpen ? SCTPStack.longPathBufferByteCount / longestPacket : nil) {
            unsafe set(socket, Int32(IPPROTO_SCTP), CUSRSCTP_PLUGGABLE_CC, &algorithm)
        }
    }

    /// What may happen to a packet that is longer than the path is known to take.
    func fragmentation(of packet: UnsafeRawBufferPointer) -> Fragmentation {
        // A probe must tell the truth; data that was cut for a wider path has no other way.
        unsafe packet[SCTPChunks.headerByteCount] == SCTPChunks.heartbeat ? .forbidden : .allowed
    }
}
