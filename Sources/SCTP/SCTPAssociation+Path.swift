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
    /// A few messages of a file: less would stop at each of them.
    private static let smallestSendBuffer = 128 << 10

    /// What was learnt of the last path holds no more.
    func pathChanged(candidates: [Int]) {
        mtuSearch.pathChanged(candidates: candidates.filter { $0 <= longestPacket })
        SCTPStack.shared.withLock(for: token) {
            mailbox.flightLimit.reset()
            limitFlight()
            applyPacketLimit()
        }
    }

    func searchPathMTU(at now: Instant) {
        SCTPStack.shared.withLock(for: token) {
            mailbox.now = now
            let byteCount = mailbox.takeDataByteCount()
            if byteCount > 0 { mtuSearch.didSend(byteCount: byteCount) }
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

    /// Holds usrsctp's send buffer, and so what is under way, to what a long path takes.
    func limitFlight() {
        var wanted = SCTPStack.sendBufferByteCount
        if let limit = mailbox.flightLimit.byteCount {
            if !isPathLong { noteLongPath() }
            // usrsctp takes a message only if its buffer has room for the whole of it: without room for one more, what is
            // under way would never grow by the part of one that the limit does.
            let room = max(limit, Self.smallestSendBuffer) + 2 * longestMessage
            wanted = min(room, SCTPStack.longPathBufferByteCount)
        }
        guard abs(wanted - sendBufferByteCount) > sendBufferByteCount / 16, let socket = unsafe socket else { return }
        sendBufferByteCount = wanted
        var byteCount = Int32(wanted)
        unsafe set(socket, SOL_SOCKET, SO_SNDBUF, &byteCount)
    }

    /// RFC 9260 §16's RTO.Min: usrsctp does not start its timer anew with each SACK, so on a long path a shorter one
    /// expires although nothing was lost.
    func noteLongPath() {
        guard let socket = unsafe socket else { return }
        isPathLong = true
        var info = sctp_rtoinfo(srto_assoc_id: 0, srto_initial: 1_000, srto_max: 0, srto_min: 1_000)
        unsafe set(socket, Int32(IPPROTO_SCTP), SCTP_RTOINFO, &info)
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
        let isLong = mailbox.packetLimit == longestPacket
        var burst = sctp_assoc_value(
            assoc_id: UInt32(SCTP_FUTURE_ASSOC),
            assoc_value: isLong ? UInt32(Self.longPacketBurst) : UInt32(max(4, Self.burstByteCount / longestPacket))
        )
        unsafe set(socket, Int32(IPPROTO_SCTP), SCTP_MAX_BURST, &burst)
    }

    /// What may happen to a packet that is longer than the path is known to take.
    func fragmentation(of packet: UnsafeRawBufferPointer) -> Fragmentation {
        // A probe must tell the truth; data that was cut for a wider path has no other way.
        unsafe packet[SCTPChunks.headerByteCount] == SCTPChunks.heartbeat ? .forbidden : .allowed
    }
}
