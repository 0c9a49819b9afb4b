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

    let token: UInt
    let mailbox: SCTPMailbox
    var socket: OpaquePointer?  // struct socket *
    let configuration: SCTPConfiguration
    private var remotePort: UInt16 = 0
    /// Streams whose reset the peer has not answered: usrsctp takes nothing for them.
    var resettingStreams: Set<UInt16> = []
    /// The stream that usrsctp is to have before it gets any more messages.
    private var awaitedStream: UInt16?
    /// Messages that arrive in parts, by stream.
    var partial: [UInt16: [UInt8]] = [:]
    private var outBytes: [UInt8] = []
    private var outLengths: [Int] = []
    var isReadingPaused = false
    var mtuSearch: PathMTUSearch
    /// The longest packet that this association can ever send: usrsctp can make its packets shorter, not longer.
    let longestPacket: Int
    /// What the peer's last SACK acknowledged.
    private(set) var acknowledgedTSN: UInt32?
    private var isCorked = false
    var sendBufferByteCount = SCTPStack.sendBufferByteCount
    /// Milliseconds before usrsctp takes what was not acknowledged for lost.
    var leastTimeout = SCTPStack.leastTimeout
    /// Whether usrsctp's congestion window is as wide as its buffer (``LossRecovery``).
    var isWindowOpen = false
    /// The present, for what is measured; the mailbox has a copy for those who send on our behalf.
    var now = Instant(nanoseconds: 0)
    /// The longest message that was sent.
    var longestMessage = 0
    /// Packets taken in since the last `drainPackets`.
    var batchCount = 0
    var sackFrequency = SCTPStack.sackFrequency

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
        // Timers may send.
        SCTPStack.shared.withLock(for: token) { mailbox.now = now }
        SCTPStack.shared.advance(to: now, for: token)
        searchPathMTU(at: now)
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
            if let awaited = awaitedStream {
                guard unsafe isEmpty(socket) else { return .blocked }
                awaitedStream = nil
                _ = unsafe hasStream(awaited, socket)
            }
            guard !resettingStreams.contains(stream), unsafe hasStream(stream, socket) else {
                return awaitedStream == nil ? .noStream : .blocked
            }
            if case .reliable = reliability {} else if mailbox.forbidRecovery() { limitFlight() }
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
        var hasGaps = false
        SCTPChunks.forEach(in: packet) { type, start, end in
            if type == SCTPChunks.sack,
                let sack = SCTPSACK(packet.extracting(start..<end), withBlocks: mailbox.recovery.mode != .off)
            {
                take(sack)
                hasGaps = hasGaps || end - start > SCTPSACK.shortestByteCount
            } else if type == SCTPChunks.heartbeatAck {
                takeProbeAnswer(packet.extracting(start..<end))
            }
        }
        guard hasGaps, mailbox.recovery.mode == .on else { return inputChunks(packet) }
        // What is missing is not usrsctp's affair.
        var shown = packet.extracting(..<SCTPChunks.headerByteCount).array()
        SCTPChunks.forEach(in: packet) { type, start, end in
            let chunk = packet.extracting(start..<min((end + 3) & ~3, packet.byteCount))
            if type == SCTPChunks.sack, end - start >= SCTPSACK.shortestByteCount {
                shown += SCTPSACK.withoutBlocks(chunk, arrivedByteCount: mailbox.recovery.beyondGap)
            } else {
                shown += chunk.array()
            }
        }
        unsafe inputChunks(shown.span.bytes)
    }

    private func take(_ sack: SCTPSACK) {
        mailbox.didReceive(sack)
        // Those that come out of order tell nothing new.
        if acknowledgedTSN.map({ Int32(bitPattern: sack.cumulativeTSN &- $0) > 0 }) ?? true {
            acknowledgedTSN = sack.cumulativeTSN
            mtuSearch.didProgress()
        }
        limitFlight()
        mailbox.note(sack: sack.cumulativeTSN)
    }

    private func inputChunks(_ packet: RawSpan) {
        var needsCare = false
        let streamCount = mailbox.streams.incoming
        SCTPChunks.forEach(in: packet) { type, start, end in
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
    ///
    /// Where usrsctp makes streams it forgets which message it is in the middle of and goes on with another stream's:
    /// nothing more would ever arrive on the first. So it gets more streams only when it has nothing to send, and
    /// nothing to send until then.
    private func hasStream(_ stream: UInt16, _ socket: OpaquePointer) -> Bool {
        let needed = Int(stream) + 1
        guard mailbox.streams.isEstablished else { return needed <= Int(mailbox.streams.initialOutgoing) }
        let limit = Int(mailbox.streams.outgoingLimit)
        if min(needed + 1, limit) <= mailbox.streams.outgoing { return needed <= limit }
        let count = min(max(needed + 1, 2 * mailbox.streams.outgoing), limit) - mailbox.streams.outgoing
        guard needed <= limit, count > 0 else { return false }
        guard unsafe isEmpty(socket) else {
            awaitedStream = stream
            return needed <= mailbox.streams.outgoing
        }
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

    /// Whether the peer has acknowledged and answered all, so that no timer that matters runs.
    var isAtRest: Bool {
        guard resettingStreams.isEmpty, awaitedStream == nil, !mtuSearch.isSearching else { return false }
        return SCTPStack.shared.withLock(for: token) {
            guard let socket = unsafe socket else { return false }
            return unsafe isEmpty(socket)
        }
    }

    /// Whether the peer has acknowledged all that usrsctp was given.
    private func isEmpty(_ socket: OpaquePointer) -> Bool {
        var use = cusrsctp_sndbuf_use()
        var length = socklen_t(MemoryLayout<cusrsctp_sndbuf_use>.size)
        let status = unsafe usrsctp_getsockopt(socket, Int32(IPPROTO_SCTP), CUSRSCTP_GET_SNDBUF_USE, &use, &length)
        return status == 0 && use.total_sndbuf == 0
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
}

/// A C structure put together in host byte order.
private struct ByteStruct {
    var bytes: [UInt8] = []

    mutating func append<Value: FixedWidthInteger>(_ value: Value) {
        unsafe withUnsafeBytes(of: value) { unsafe bytes.append(contentsOf: $0) }
    }
}
