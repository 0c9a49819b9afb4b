internal import CUSRSCTP
internal import Glibc
internal import SansIO

/// Why an association ended.
package enum SCTPError: Error, Hashable, Sendable, CustomStringConvertible {
    /// usrsctp refused a call.
    case system(String, Int32)
    /// The peer ended the association, or could not be reached: why, in words.
    case lost(String)
    /// A message of the peer is larger than this side takes.
    case messageTooLarge(limit: Int)

    package var description: String {
        switch self {
        case .system(let what, let number): "\(what): error \(number)"
        case .lost(let reason): "the association was lost: \(reason)"
        case .messageTooLarge(let limit): "the peer sent a message of more than \(limit) bytes"
        }
    }
}

package struct SCTPConfiguration: Sendable {
    package var localPort: UInt16 = 5000
    /// The largest message that is taken in.
    package var maxMessageSize = 262_144
    /// Streams that the peer is told of, so the ids that channels can have are those below it.
    package var streamCount: UInt16 = 65_535
    /// Bytes of a packet that every path takes: with DTLS's 37 it fits 1200.
    package var packetByteCount = 1160
    /// Whether stream resets wait for the data before them; not so in tests that stand for other stacks.
    package var holdsEarlyResets = true

    package init(maxMessageSize: Int = 262_144) { self.maxMessageSize = maxMessageSize }
}

/// One SCTP association over DTLS. RFC 8261
@safe final class SCTPAssociation {
    enum Event {
        /// Up, with so many streams to send on, as far as the peer is concerned.
        case connected(streamCount: UInt16)
        case closed(SCTPError?)
        case message(stream: UInt16, ppid: UInt32, bytes: [UInt8])
        case incomingReset([UInt16])
        case outgoingReset([UInt16], isDone: Bool)
    }

    /// How a message is delivered.
    enum Reliability { case reliable, retransmits(UInt16), lifetime(milliseconds: UInt16) }
    /// `noStream`: the stream is not there yet; others are.
    enum SendResult { case sent, blocked, noStream, failed(Int32) }
    enum ResetResult { case requested, later, unsupported }

    private let token: UInt
    private let mailbox: SCTPMailbox
    private var socket: OpaquePointer?  // struct socket *
    private let configuration: SCTPConfiguration
    private var remotePort: UInt16 = 0
    /// Streams whose reset the peer has not answered: usrsctp takes nothing for them.
    private var resettingStreams: Set<UInt16> = []
    /// Messages that arrive in parts, by stream.
    private var partial: [UInt16: [UInt8]] = [:]
    private var outBytes: [UInt8] = []
    private var outLengths: [Int] = []
    var isReadingPaused = false
    private var mtuSearch: PathMTUSearch
    /// The longest packet that this association can ever send: usrsctp can make its packets shorter, not longer.
    private let longestPacket: Int
    /// What the peer's last SACK acknowledged.
    private var acknowledgedTSN: UInt32?
    private var isCorked = false
    private var sendBufferByteCount = SCTPStack.sendBufferByteCount
    private var isPathLong = false
    /// The present, for what is measured; the mailbox has a copy for those who send on our behalf.
    var now = Instant(nanoseconds: 0)
    /// The longest message that was sent.
    private var longestMessage = 0
    /// Packets taken in since the last `drainPackets`.
    private var batchCount = 0
    private var sackFrequency = SCTPStack.sackFrequency

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
    private static let smallestSendBuffer = 128 << 10
    /// Streams with a message in parts, beyond which the association is ended.
    private static let partialLimit = 64

    /// - Parameters:
    ///   - configuration: this side.
    ///   - candidates: lengths of packets that the first path may take, longest first.
    init(configuration: SCTPConfiguration, candidates: [Int]) {
        self.configuration = configuration
        let base = configuration.packetByteCount
        mtuSearch = PathMTUSearch(base: base, candidates: candidates)
        longestPacket = max(base, candidates.first ?? base)
        mailbox = SCTPMailbox(
            streamCount: configuration.streamCount,
            packetLimit: base,
            holdsEarlyResets: configuration.holdsEarlyResets
        )
        token = SCTPStack.shared.register(mailbox)
    }

    deinit {
        close()
        SCTPStack.shared.unregister(token)
    }

    /// Called from any thread when another association's call left something for this one.
    func setWakeUp(_ wakeUp: (@Sendable () -> Void)?) {
        SCTPStack.shared.withLock(for: token) { mailbox.wakeUp = wakeUp }
    }

    /// Sends INIT; the peer does the same.
    func connect(remotePort: UInt16) throws(SCTPError) {
        self.remotePort = remotePort
        let error = SCTPStack.shared.withLock(for: token) { openSocket() ?? connectSocket(remotePort: remotePort) }
        if let error { throw error }
    }

    /// Ends the association at once with ABORT.
    func close() {
        SCTPStack.shared.withLock(for: token) {
            if let socket = unsafe socket { unsafe usrsctp_close(socket) }
            unsafe socket = nil
        }
    }

    /// Takes one packet.
    ///
    /// - Returns: whether it is well-formed; else it is ignored.
    func receive(_ packet: RawSpan) -> Bool {
        guard SCTPPacketCheck.isWellFormed(packet) else { return false }
        batchCount += 1
        SCTPStack.shared.withLock(for: token) {
            mailbox.now = now
            guard let rest = mailbox.incomingGate.take(packet) else { return input(packet) }
            if !rest.isEmpty { unsafe input(rest.span.bytes) }
        }
        return true
    }

    func advance(to now: Instant) {
        self.now = now
        SCTPStack.shared.advance(to: now, for: token)
        searchPathMTU(at: now)
    }

    /// What was learnt of the last path holds no more.
    func pathChanged(candidates: [Int]) {
        mtuSearch.pathChanged(candidates: candidates.filter { $0 <= longestPacket })
        SCTPStack.shared.withLock(for: token) {
            mailbox.flightLimit.reset()
            limitFlight()
            applyPacketLimit()
        }
    }

    private func searchPathMTU(at now: Instant) {
        SCTPStack.shared.withLock(for: token) {
            mailbox.now = now
            let byteCount = mailbox.takeDataByteCount()
            if byteCount > 0 { mtuSearch.didSend(byteCount: byteCount) }
            if let length = mtuSearch.probe(at: now) { mailbox.put(probe(byteCount: length)) }
            applyPacketLimit()
        }
    }

    /// Gives a message to usrsctp.
    ///
    /// `moreFollows`: others come at once, and short ones then share packets.
    func send(
        _ message: RawSpan,
        stream: UInt16,
        ppid: UInt32,
        isOrdered: Bool,
        reliability: Reliability,
        moreFollows: Bool = false
    ) -> SendResult {
        var options = sctp_sendv_spa()
        options.sendv_flags = UInt32(SCTP_SEND_SNDINFO_VALID)
        options.sendv_sndinfo.snd_sid = stream
        options.sendv_sndinfo.snd_ppid = ppid.bigEndian
        options.sendv_sndinfo.snd_flags = UInt16(SCTP_EOR) | (isOrdered ? 0 : UInt16(SCTP_UNORDERED))
        switch reliability {
        case .reliable: break
        case .retransmits(let count):
            options.sendv_flags |= UInt32(SCTP_SEND_PRINFO_VALID)
            options.sendv_prinfo.pr_policy = UInt16(SCTP_PR_SCTP_RTX)
            options.sendv_prinfo.pr_value = UInt32(count)
        case .lifetime(let milliseconds):
            options.sendv_flags |= UInt32(SCTP_SEND_PRINFO_VALID)
            options.sendv_prinfo.pr_policy = UInt16(SCTP_PR_SCTP_TTL)
            options.sendv_prinfo.pr_value = UInt32(milliseconds)
        }
        return SCTPStack.shared.withLock(for: token) {
            guard let socket = unsafe socket else { return .failed(ENOTCONN) }
            mailbox.now = now
            guard !resettingStreams.contains(stream), unsafe hasStream(stream, socket) else { return .noStream }
            if isCorked != moreFollows { unsafe setCorked(moreFollows, socket) }
            if message.byteCount > longestMessage {
                longestMessage = message.byteCount
                limitFlight()
            }
            let sent = unsafe message.withUnsafeBytes { bytes in
                unsafe usrsctp_sendv(
                    socket,
                    bytes.baseAddress,
                    bytes.count,
                    nil,
                    0,
                    &options,
                    socklen_t(MemoryLayout<sctp_sendv_spa>.size),
                    UInt32(SCTP_SENDV_SPA),
                    0
                )
            }
            if sent >= 0 { return .sent }
            return errno == EAGAIN || errno == EWOULDBLOCK ? .blocked : .failed(errno)
        }
    }

    /// Asks the peer to let go of one of our outgoing streams, once it has all that was sent on it. RFC 6525 §4.1
    func resetOutgoing(_ stream: UInt16) -> ResetResult {
        // struct sctp_reset_streams, whose list is a flexible array.
        var request = ByteStruct()
        request.append(UInt32(0))
        request.append(UInt16(SCTP_STREAM_RESET_OUTGOING))
        request.append(UInt16(1))
        request.append(stream)
        return SCTPStack.shared.withLock(for: token) {
            guard let socket = unsafe socket, mailbox.streams.peerResets else { return .unsupported }
            guard !resettingStreams.contains(stream), unsafe hasStream(stream, socket) else { return .later }
            let status = unsafe usrsctp_setsockopt(
                socket,
                Int32(IPPROTO_SCTP),
                SCTP_RESET_STREAMS,
                request.bytes,
                socklen_t(request.bytes.count)
            )
            guard status == 0 else { return .unsupported }
            resettingStreams.insert(stream)
            return .requested
        }
    }

    /// Hands every outgoing packet to `body` and forgets it.
    func drainPackets(_ body: (UnsafeRawBufferPointer, Fragmentation) -> Void) -> Bool {
        SCTPStack.shared.withLock(for: token) {
            adjustSACKFrequency()
            if isCorked, let socket = unsafe socket { unsafe setCorked(false, socket) }
            mailbox.take(&outBytes, &outLengths)
        }
        guard !outLengths.isEmpty else { return false }
        unsafe outBytes.withUnsafeBytes { bytes in
            var offset = 0
            for length in outLengths {
                let packet = unsafe UnsafeRawBufferPointer(rebasing: bytes[offset..<(offset + length)])
                unsafe body(packet, length <= mailbox.packetLimit ? .asUsual : fragmentation(of: packet))
                offset += length
            }
        }
        return true
    }

    /// Reads all that arrived.
    func readEvents(_ body: (Event) -> Void) {
        var events: [Event] = []
        SCTPStack.shared.withLock(for: token) {
            while let packet = mailbox.incomingGate.release() { unsafe input(packet.span.bytes) }
            answerRequest()
            guard mailbox.isReadable, !isReadingPaused, let socket = unsafe socket else { return }
            mailbox.isReadable = false
            unsafe read(socket, into: &events)
        }
        for event in events { body(event) }
    }

    /// Lets a paused reader go on.
    func resumeReading() {
        isReadingPaused = false
        SCTPStack.shared.withLock(for: token) { mailbox.isReadable = true }
    }

    // MARK: Inside the lock

    private func input(_ packet: RawSpan) {
        var needsCare = false
        let streamCount = mailbox.streams.incoming
        SCTPChunks.forEach(in: packet) { type, start, end in
            if type == SCTPChunks.sack, end - start >= 8 {
                let tsn = packet.uint32(at: start + 4)
                // Those that come out of order tell nothing new.
                if acknowledgedTSN.map({ Int32(bitPattern: tsn &- $0) > 0 }) ?? true {
                    acknowledgedTSN = tsn
                    mtuSearch.didProgress()
                    mailbox.flightLimit.didAcknowledge(tsn: tsn, at: mailbox.now)
                    limitFlight()
                }
                mailbox.note(sack: tsn)
            } else if type == SCTPChunks.heartbeatAck {
                takeProbeAnswer(packet.extracting(start..<end))
            }
            if SCTPStreamCounts.concerns(type)
                || SCTPStreamCounts.streamsNeeded(type, in: packet, from: start, to: end) > streamCount
            {
                needsCare = true
            }
        }
        guard needsCare else { return inputWhole(packet) }
        // Chunk by chunk: what comes first may bring the association up, which then gets the streams for the rest.
        let header = packet.extracting(..<SCTPChunks.headerByteCount).array()
        var part = header
        SCTPChunks.forEach(in: packet) { type, start, end in
            let needed = SCTPStreamCounts.streamsNeeded(type, in: packet, from: start, to: end)
            if needed > mailbox.streams.incoming, needed <= mailbox.streams.announced {
                if part.count > header.count { unsafe inputWhole(part.span.bytes) }
                part = header
                // The peer sends again what is dropped.
                guard addIncoming(upTo: needed) else { return }
            }
            part.append(contentsOf: mailbox.streams.incoming(type, packet.extracting(start..<end).array()))
            while part.count % 4 != 0 { part.append(0) }
        }
        if part.count > header.count { unsafe inputWhole(part.span.bytes) }
    }

    /// Whether usrsctp holds a last short packet back while others are on their way (Nagle's algorithm).
    ///
    /// What it holds leaves with the next message that is sent uncorked, or with the next SACK.
    private func setCorked(_ corked: Bool, _ socket: OpaquePointer) {
        var isImmediate: Int32 = corked ? 0 : 1
        unsafe set(socket, Int32(IPPROTO_SCTP), SCTP_NODELAY, &isImmediate)
        isCorked = corked
    }

    /// Holds usrsctp's send buffer, and so what is under way, to what a long path takes.
    private func limitFlight() {
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
    private func noteLongPath() {
        guard let socket = unsafe socket else { return }
        isPathLong = true
        var info = sctp_rtoinfo(srto_assoc_id: 0, srto_initial: 1_000, srto_max: 0, srto_min: 1_000)
        unsafe set(socket, Int32(IPPROTO_SCTP), SCTP_RTOINFO, &info)
    }

    // MARK: Path MTU

    /// A HEARTBEAT that says what it is for, and padding. RFC 8899 §6.2.1.2, RFC 4820 §3
    private func probe(byteCount: Int) -> [UInt8] {
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

    private func takeProbeAnswer(_ chunk: RawSpan) {
        guard chunk.byteCount == Probe.chunkByteCount, chunk.uint32(at: 8) == Probe.mark else { return }
        mtuSearch.didArrive(byteCount: Int(chunk.uint32(at: 16)), generation: chunk.uint32(at: 12))
        applyPacketLimit()
    }

    /// Lets usrsctp cut messages into fragments that fit.
    private func applyPacketLimit() {
        guard mailbox.packetLimit != mtuSearch.packetLimit, let socket = unsafe socket else { return }
        mailbox.packetLimit = mtuSearch.packetLimit
        unsafe setFragmentLimit(socket)
    }

    private func setFragmentLimit(_ socket: OpaquePointer) {
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
    private func fragmentation(of packet: UnsafeRawBufferPointer) -> Fragmentation {
        // A probe must tell the truth; data that was cut for a wider path has no other way.
        unsafe packet[SCTPChunks.headerByteCount] == SCTPChunks.heartbeat ? .forbidden : .allowed
    }

    // MARK: Streams

    /// Gives usrsctp more streams to receive on.
    private func addIncoming(upTo needed: Int) -> Bool {
        guard let socket = unsafe socket else { return false }
        unsafe updateStreamCounts(socket)
        let before = mailbox.streams.incoming
        let wanted = min(max(needed, 2 * before), mailbox.streams.announced)
        guard before > 0, wanted > before,
            let request = mailbox.streams.request(
                adding: wanted - before,
                from: remotePort,
                to: configuration.localPort
            )
        else { return needed <= before }
        unsafe inputWhole(request.span.bytes)
        unsafe updateStreamCounts(socket)
        guard mailbox.streams.incoming >= wanted else { return false }
        mailbox.streams.requestTaken()
        return true
    }

    /// Whether usrsctp can send on a stream; gives it more if it has too few.
    ///
    /// There is always one that is not used: a reset of all that usrsctp has would reset all that the peer has.
    private func hasStream(_ stream: UInt16, _ socket: OpaquePointer) -> Bool {
        let needed = Int(stream) + 1
        guard mailbox.streams.isEstablished else { return needed <= Int(mailbox.streams.initialOutgoing) }
        let limit = Int(mailbox.streams.outgoingLimit)
        if min(needed + 1, limit) <= mailbox.streams.outgoing { return needed <= limit }
        let count = min(max(needed + 1, 2 * mailbox.streams.outgoing), limit) - mailbox.streams.outgoing
        guard needed <= limit, count > 0 else { return false }
        var request = sctp_add_streams(sas_assoc_id: 0, sas_instrms: 0, sas_outstrms: UInt16(count))
        let length = socklen_t(MemoryLayout<sctp_add_streams>.size)
        // Refused while a reset is on its way.
        guard unsafe usrsctp_setsockopt(socket, Int32(IPPROTO_SCTP), SCTP_ADD_STREAMS, &request, length) == 0 else {
            return needed <= mailbox.streams.outgoing
        }
        answerRequest()
        unsafe updateStreamCounts(socket)
        return needed <= mailbox.streams.outgoing
    }

    /// Answers what usrsctp asked the peer for more streams.
    private func answerRequest() {
        guard let answer = mailbox.streams.answer(from: remotePort, to: configuration.localPort) else { return }
        unsafe inputWhole(answer.span.bytes)
    }

    private func updateStreamCounts(_ socket: OpaquePointer) {
        var status = sctp_status()
        var length = socklen_t(MemoryLayout<sctp_status>.size)
        guard unsafe usrsctp_getsockopt(socket, Int32(IPPROTO_SCTP), SCTP_STATUS, &status, &length) == 0 else { return }
        mailbox.streams.update(outgoing: Int(status.sstat_outstrms), incoming: Int(status.sstat_instrms))
    }

    private func inputWhole(_ packet: RawSpan) {
        unsafe packet.withUnsafeBytes {
            unsafe usrsctp_conninput(UnsafeMutableRawPointer(bitPattern: token), $0.baseAddress, $0.count, 0)
        }
    }

    /// SACKs of every second packet as RFC 9260 §6.2 asks for, rarer while packets come in long batches.
    private func adjustSACKFrequency() {
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

    private func read(_ socket: OpaquePointer, into events: inout [Event]) {
        let scratch = unsafe SCTPStack.readScratch
        while true {
            var info = sctp_rcvinfo()
            var infoLength = socklen_t(MemoryLayout<sctp_rcvinfo>.size)
            var fromLength = socklen_t(0)
            var kind: UInt32 = 0
            var flags: Int32 = 0
            let count = unsafe usrsctp_recvv(
                socket,
                scratch.baseAddress,
                scratch.count,
                nil,
                &fromLength,
                &info,
                &infoLength,
                &kind,
                &flags
            )
            guard count > 0 else { return }
            let bytes = unsafe UnsafeRawBufferPointer(rebasing: scratch[..<count])
            if flags & Int32(MSG_NOTIFICATION) != 0 {
                unsafe readNotification(bytes, into: &events)
                continue
            }
            let stream = info.rcv_sid
            let isEnd = flags & Int32(MSG_EOR) != 0
            if isEnd, partial.isEmpty || partial[stream] == nil {
                guard count <= configuration.maxMessageSize else {
                    events.append(.closed(.messageTooLarge(limit: configuration.maxMessageSize)))
                    return
                }
                unsafe events.append(
                    .message(stream: stream, ppid: UInt32(bigEndian: info.rcv_ppid), bytes: Array(bytes))
                )
                continue
            }
            guard partial.count < Self.partialLimit || partial[stream] != nil,
                (partial[stream]?.count ?? 0) + count <= configuration.maxMessageSize
            else {
                events.append(.closed(.messageTooLarge(limit: configuration.maxMessageSize)))
                return
            }
            unsafe partial[stream, default: []].append(contentsOf: bytes)
            if isEnd, let whole = partial.removeValue(forKey: stream) {
                unsafe events.append(.message(stream: stream, ppid: UInt32(bigEndian: info.rcv_ppid), bytes: whole))
            }
        }
    }

    private func readNotification(_ bytes: UnsafeRawBufferPointer, into events: inout [Event]) {
        guard bytes.count >= 8 else { return }
        let type = unsafe Int32(bytes.loadUnaligned(fromByteOffset: 0, as: UInt16.self))
        switch type {
        case SCTP_ASSOC_CHANGE:
            guard bytes.count >= 10 else { return }
            let state = unsafe Int32(bytes.loadUnaligned(fromByteOffset: 8, as: UInt16.self))
            switch state {
            case SCTP_COMM_UP:
                guard bytes.count >= 16 else { return }
                unsafe mailbox.streams.establish(
                    outgoing: Int(bytes.loadUnaligned(fromByteOffset: 12, as: UInt16.self)),
                    incoming: max(
                        mailbox.streams.incoming,
                        Int(bytes.loadUnaligned(fromByteOffset: 14, as: UInt16.self))
                    )
                )
                events.append(.connected(streamCount: mailbox.streams.outgoingLimit))
            case SCTP_COMM_LOST, SCTP_CANT_STR_ASSOC: unsafe events.append(.closed(.lost(Self.reason(for: bytes))))
            case SCTP_SHUTDOWN_COMP: events.append(.closed(nil))
            default: break
            }
        case SCTP_PARTIAL_DELIVERY_EVENT:
            // The rest of a message was given up by the peer.
            guard bytes.count >= 16 else { return }
            let stream = unsafe bytes.loadUnaligned(fromByteOffset: 12, as: UInt32.self)
            partial[UInt16(truncatingIfNeeded: stream)] = nil
        case SCTP_STREAM_RESET_EVENT:
            guard bytes.count >= 12 else { return }
            let flags = unsafe Int32(bytes.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
            var streams: [UInt16] = []
            var offset = 12
            while offset + 2 <= bytes.count {
                unsafe streams.append(bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
                offset += 2
            }
            let isDone = flags & (SCTP_STREAM_RESET_DENIED | SCTP_STREAM_RESET_FAILED) == 0
            if flags & SCTP_STREAM_RESET_INCOMING_SSN != 0, isDone { events.append(.incomingReset(streams)) }
            if flags & SCTP_STREAM_RESET_OUTGOING_SSN != 0 {
                if streams.isEmpty { streams = resettingStreams.sorted() }
                resettingStreams.subtract(streams)
                events.append(.outgoingReset(streams, isDone: isDone))
            }
        default: break
        }
    }

    /// In words what ended the association; the notification holds the peer's ABORT chunk, if there was one.
    /// RFC 6458 §6.1.1, RFC 9260 §3.3.7
    private static func reason(for notification: UnsafeRawBufferPointer) -> String {
        let chunkOffset = 20
        guard notification.count >= chunkOffset + 8, unsafe notification[chunkOffset] == 6 else {
            return "the peer does not answer"
        }
        func number(at offset: Int) -> Int {
            unsafe Int(UInt16(bigEndian: notification.loadUnaligned(fromByteOffset: offset, as: UInt16.self)))
        }
        let cause = number(at: chunkOffset + 4)
        let end = min(notification.count, chunkOffset + 4 + number(at: chunkOffset + 6))
        let information = unsafe notification[min(chunkOffset + 8, end)..<end].filter { $0 >= 32 && $0 < 127 }.prefix(
            200
        )
        return "the peer aborted it, cause \(cause) \(String(decoding: information, as: UTF8.self))"
    }

    private func openSocket() -> SCTPError? {
        guard unsafe socket == nil else { return nil }
        guard
            let made = unsafe usrsctp_socket(
                AF_CONN,
                Int32(SOCK_STREAM.rawValue),
                Int32(IPPROTO_SCTP),
                nil,
                nil,
                0,
                nil
            )
        else { return .system("socket", errno) }
        unsafe socket = made
        unsafe usrsctp_set_non_blocking(made, 1)
        unsafe usrsctp_set_upcall(
            made,
            { _, argument, _ in
                SCTPStack.setReadable(UInt(bitPattern: argument))
            },
            UnsafeMutableRawPointer(bitPattern: token)
        )
        // close() sends ABORT and frees everything at once.
        var linger = linger(l_onoff: 1, l_linger: 0)
        unsafe set(made, SOL_SOCKET, SO_LINGER, &linger)
        var on: Int32 = 1
        unsafe set(made, Int32(IPPROTO_SCTP), SCTP_NODELAY, &on)
        unsafe set(made, Int32(IPPROTO_SCTP), SCTP_RECVRCVINFO, &on)
        var reset = sctp_assoc_value(
            assoc_id: UInt32(SCTP_ALL_ASSOC),
            assoc_value: UInt32(SCTP_ENABLE_RESET_STREAM_REQ | SCTP_ENABLE_CHANGE_ASSOC_REQ)
        )
        unsafe set(made, Int32(IPPROTO_SCTP), SCTP_ENABLE_STREAM_RESET, &reset)
        for type in [SCTP_ASSOC_CHANGE, SCTP_STREAM_RESET_EVENT, SCTP_PARTIAL_DELIVERY_EVENT] {
            var event = sctp_event(se_assoc_id: UInt32(SCTP_ALL_ASSOC), se_type: UInt16(type), se_on: 1)
            unsafe set(made, Int32(IPPROTO_SCTP), SCTP_EVENT, &event)
        }
        var initial = sctp_initmsg(
            sinit_num_ostreams: mailbox.streams.initialOutgoing,
            sinit_max_instreams: 65_535,
            sinit_max_attempts: 0,
            sinit_max_init_timeo: 0
        )
        unsafe set(made, Int32(IPPROTO_SCTP), SCTP_INITMSG, &initial)
        var path = sctp_paddrparams()
        path.spp_flags = UInt32(SPP_PMTUD_DISABLE | SPP_HB_DISABLE)
        path.spp_pathmtu = UInt32(longestPacket - SCTPChunks.headerByteCount)
        unsafe set(made, Int32(IPPROTO_SCTP), SCTP_PEER_ADDR_PARAMS, &path)
        unsafe setFragmentLimit(made)
        var local = unsafe address(port: configuration.localPort)
        let size = unsafe socklen_t(MemoryLayout<sockaddr_conn>.size)
        let bound = unsafe withUnsafeMutablePointer(to: &local) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe usrsctp_bind(made, $0, size) }
        }
        return bound == 0 ? nil : .system("bind", errno)
    }

    private func connectSocket(remotePort: UInt16) -> SCTPError? {
        guard let made = unsafe socket else { return .system("connect", ENOTSOCK) }
        var remote = unsafe address(port: remotePort)
        let size = unsafe socklen_t(MemoryLayout<sockaddr_conn>.size)
        let connected = unsafe withUnsafeMutablePointer(to: &remote) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe usrsctp_connect(made, $0, size) }
        }
        guard connected == 0 || errno == EINPROGRESS else { return .system("connect", errno) }
        // The path now exists: its MTU is set on it too.
        var path = sctp_paddrparams()
        unsafe memcpy(&path.spp_address, &remote, MemoryLayout<sockaddr_conn>.size)
        path.spp_flags = UInt32(SPP_PMTUD_DISABLE | SPP_HB_DISABLE)
        path.spp_pathmtu = UInt32(longestPacket - SCTPChunks.headerByteCount)
        unsafe set(made, Int32(IPPROTO_SCTP), SCTP_PEER_ADDR_PARAMS, &path)
        return nil
    }

    private func address(port: UInt16) -> sockaddr_conn {
        var address = unsafe sockaddr_conn()
        unsafe address.sconn_family = UInt16(AF_CONN)
        unsafe address.sconn_port = port.bigEndian
        unsafe address.sconn_addr = UnsafeMutableRawPointer(bitPattern: token)
        return unsafe address
    }

    private func set<Value: BitwiseCopyable>(
        _ socket: OpaquePointer,
        _ level: Int32,
        _ option: Int32,
        _ value: inout Value
    ) {
        _ = unsafe usrsctp_setsockopt(socket, level, option, &value, socklen_t(MemoryLayout<Value>.size))
    }
}

/// A C structure put together in host byte order.
private struct ByteStruct {
    var bytes: [UInt8] = []

    mutating func append<Value: FixedWidthInteger>(_ value: Value) {
        unsafe withUnsafeBytes(of: value) { unsafe bytes.append(contentsOf: $0) }
    }
}
