package import SansIO

/// One incoming media source: reordering, NACK, frames, reception statistics.
@safe package final class RTPReceiveStream {
    package let ssrc: UInt32
    package let kind: RTPMediaKind
    package private(set) var parameters: RTPReceiveParameters
    /// The MID in bytes, as packets carry it.
    package private(set) var midBytes: [UInt8]
    /// The retransmission source, once known.
    package var rtxSSRC: UInt32?
    /// Round-trip time of the path, as the transport knows it.
    package var roundTripTime: Duration?
    package private(set) var lastPacketAt: Instant

    private let pool: PacketPool
    private var counters = RTPInboundStatistics()
    private var reception: ReceptionStatistics
    private var unwrapper = Unwrapper(bitCount: 16)
    private var nack = NackGenerator()
    private var video: VideoFrameAssembler?
    private var audio: AudioJitterBuffer?
    private var usesNack = false
    /// When a key frame may be asked for (again).
    private var keyFrameRequestAt: Instant
    private var wantsKeyFrame = false
    /// Of the last sender report since the stream began anew.
    private var senderClock: SenderClock?

    /// Least time between two requests for a key frame.
    package static let keyFrameRequestInterval = Duration.milliseconds(300)
    /// Round-trip time that is assumed while none is known.
    private static let assumedRoundTripTime = Duration.milliseconds(50)
    /// Bounds of the wait for a missing video packet.
    ///
    /// Three requests in a row fail for 1 % of the packets at 20 % loss, so four round trips are given.
    package static let shortestVideoWait = Duration.milliseconds(120)
    package static let longestVideoWait = Duration.milliseconds(600)
    /// The wait without NACK, when only reordering can bring the packet.
    package static let reorderingWait = Duration.milliseconds(30)
    /// A jump beyond it means that the sender began anew.
    private static let sequenceJumpLimit: Int64 = 3_000

    package init(
        ssrc: UInt32,
        kind: RTPMediaKind,
        parameters: RTPReceiveParameters,
        pool: PacketPool,
        at now: Instant
    ) {
        self.ssrc = ssrc
        self.kind = kind
        self.parameters = parameters
        self.pool = pool
        midBytes = Array(parameters.mid.utf8)
        lastPacketAt = now
        keyFrameRequestAt = now
        let codec = parameters.codecs.first { $0.codec.kind == kind }?.codec ?? (kind == .video ? .vp8 : .opus)
        reception = ReceptionStatistics(clockRate: codec.clockRate)
        switch kind {
        case .video: video = VideoFrameAssembler(codec: codec, ssrc: ssrc, pool: pool)
        case .audio: audio = AudioJitterBuffer(ssrc: ssrc, pool: pool)
        }
        noteParameters()
    }

    /// Gives back all slots; the stream must not be used any more.
    package func close() {
        video?.close()
        audio?.close()
    }

    /// Takes over changed parameters of the same m-section.
    package func update(_ parameters: RTPReceiveParameters) {
        self.parameters = parameters
        midBytes = Array(parameters.mid.utf8)
        noteParameters()
    }

    package var hasReceived: Bool { counters.packetsReceived > 0 }

    /// Takes in a packet.
    ///
    /// - Parameters:
    ///   - header: its fields; for a retransmission the sequence number and payload type are the original's.
    ///   - payload: where in the packet the payload lies.
    ///   - packet: the whole packet, in the slot.
    ///   - slot: holds the packet.
    ///   - audioLevel: as the header extension told it.
    ///   - isRetransmission: it came in the stream of retransmissions.
    ///   - now: when it arrived.
    /// - Returns: whether the slot was taken over.
    package func receive(
        _ header: RTPHeader,
        payload: Range<Int>,
        packet: RawSpan,
        slot: PacketSlot,
        audioLevel: UInt8?,
        isRetransmission: Bool,
        at now: Instant
    ) -> Bool {
        guard let codec = codec(of: header.payloadType), codec.kind == kind else {
            counters.packetsDiscarded += 1
            return false
        }
        let candidate = unwrapper.peek(UInt32(header.sequenceNumber.rawValue))
        if isRetransmission {
            counters.retransmittedPacketsReceived += 1
            counters.retransmittedBytesReceived += UInt64(payload.count)
            // A retransmission never moves the window: an old one must not look like the newest packet.
            guard let highest = reception.highest, candidate <= highest else { return false }
        } else {
            if let last = unwrapper.last, abs(candidate - last) > Self.sequenceJumpLimit { restart(at: now) }
            counters.packetsReceived += 1
            counters.bytesReceived += UInt64(payload.count)
            counters.headerBytesReceived += UInt64(header.byteCount)
            counters.payloadType = header.payloadType
            counters.codec = codec
            lastPacketAt = now
        }
        let sequence = isRetransmission ? candidate : unwrapper.unwrap(UInt32(header.sequenceNumber.rawValue))
        if !isRetransmission { reception.receive(sequence: sequence, timestamp: header.timestamp, at: now) }
        if usesNack, !nack.receive(sequence, isRetransmission: isRetransmission, at: now) {
            video?.giveUpAll()
        }

        var received = ReceivedPacket(
            slot: slot,
            sequence: sequence,
            timestamp: header.timestamp,
            payloadType: header.payloadType,
            marker: header.marker,
            payloadOffset: payload.lowerBound,
            payloadByteCount: payload.count,
            receivedAt: now
        )
        received.audioLevel = audioLevel
        received.codec = codec
        if codec == .h264, !payload.isEmpty {
            do {
                let parts = try H264PayloadParts(packet.extracting(payload))
                received.startsFrame = parts.startsFrame
                received.startsKeyFrame = parts.holdsParameterSets
            } catch {
                counters.packetsMalformed += 1
                return false
            }
        }
        if codec == .vp8, !payload.isEmpty {
            let content = packet.extracting(payload)
            do {
                let descriptor = try VP8PayloadDescriptor(content)
                received.payloadOffset += descriptor.byteCount
                received.payloadByteCount -= descriptor.byteCount
                received.startsFrame = descriptor.startsFrame
                received.startsKeyFrame = descriptor.startsKeyFrame(content)
                received.pictureID = descriptor.pictureID
            } catch {
                counters.packetsMalformed += 1
                return false
            }
        }
        switch video?.insert(received, at: now) ?? audio?.insert(received, at: now) {
        case .duplicate: counters.packetsDuplicated += 1
        case .late: counters.packetsDiscarded += 1
        default: break
        }
        return true
    }

    /// The next frame in order, if it is complete.
    package func nextFrame(at now: Instant) -> ReceivedFrame? {
        guard var frame = video?.nextFrame(at: now) ?? audio?.nextFrame(codec: { codec(of: $0) }, at: now) else {
            if let needed = video?.oldestNeeded ?? audio?.oldestNeeded { nack.abandon(before: needed) }
            return nil
        }
        counters.framesReceived += 1
        if frame.isKeyFrame { counters.keyFramesReceived += 1 }
        frame.senderClock = senderClock
        return frame
    }

    /// Gives up what was waited for long enough; frames may follow.
    package func handleTimeout(at now: Instant) {
        video?.handleTimeout(wait: videoWait, at: now)
        audio?.handleTimeout(wait: audioWait, at: now)
    }

    /// When the stream wants `handleTimeout`, to ask for packets or for a key frame.
    package var nextDeadline: Deadline? {
        var deadline: Deadline?
        if let due = nack.nextDue { deadline = Deadline(due, "NACK") }
        if let gap = video?.gapDeadline(wait: videoWait) ?? audio?.gapDeadline(wait: audioWait) {
            deadline = .earlier(deadline, Deadline(gap, "RTP gap"))
        }
        if needsKeyFrame { deadline = .earlier(deadline, Deadline(keyFrameRequestAt, "key frame request")) }
        return deadline
    }

    /// Appends the sequence numbers to be asked for now.
    package func collectNacks(at now: Instant, into lost: inout [SequenceNumber]) {
        guard usesNack else { return }
        let before = lost.count
        let time = roundTripTime ?? nack.answerTime ?? Self.assumedRoundTripTime
        nack.collectDue(roundTripTime: time, at: now, into: &lost)
        guard lost.count > before else { return }
        counters.nackCount += 1
        counters.packetsNacked += UInt64(lost.count - before)
    }

    /// The application wants a key frame.
    package func requestKeyFrame() { wantsKeyFrame = kind == .video }

    /// Whether to ask for a key frame now; the answer is true at most once per interval.
    package func takeKeyFrameRequest(at now: Instant) -> Bool {
        guard needsKeyFrame, keyFrameRequestAt <= now else { return false }
        wantsKeyFrame = false
        keyFrameRequestAt = now + max(Self.keyFrameRequestInterval, (roundTripTime ?? .zero) * 2)
        return true
    }

    package func noteRequest(isFIR: Bool) {
        if isFIR { counters.firCount += 1 } else { counters.pliCount += 1 }
    }

    /// A sender report of this source.
    package func receive(_ report: RTCPSenderReport, at now: Instant) {
        reception.receive(senderReportAt: report.ntpTimestamp, at: now)
        counters.remoteReportsReceived += 1
        counters.remotePacketsSent = report.packetCount
        counters.remoteBytesSent = report.octetCount
        counters.lastReportNTPTime = report.ntpTimestamp
        counters.lastReportRTPTimestamp = report.rtpTimestamp
        senderClock = SenderClock(ntpTimestamp: report.ntpTimestamp, rtpTimestamp: report.rtpTimestamp)
    }

    package func reportBlock(at now: Instant) -> RTCPReportBlock? { reception.reportBlock(ssrc: ssrc, at: now) }

    package var statistics: RTPInboundStatistics {
        var result = counters
        result.ssrc = ssrc
        result.rtxSSRC = rtxSSRC
        result.kind = kind
        result.packetsLost = reception.packetsLost
        result.jitter = reception.jitter
        result.framesDropped = video?.framesDropped ?? 0
        result.packetsConcealed = audio?.packetsGivenUp ?? 0
        result.lastPacketAt = lastPacketAt
        return result
    }

    private var needsKeyFrame: Bool { wantsKeyFrame || video?.needsKeyFrame == true }

    private var videoWait: Duration {
        guard usesNack else { return Self.reorderingWait }
        let time = roundTripTime ?? nack.answerTime ?? Self.assumedRoundTripTime
        return min(max(time * 4 + .milliseconds(60), Self.shortestVideoWait), Self.longestVideoWait)
    }

    private var audioWait: Duration {
        AudioJitterBuffer.wait(jitter: reception.jitter, retransmissionTime: usesNack ? roundTripTime : nil)
    }

    private func codec(of payloadType: UInt8) -> RTPCodec? {
        // Per packet: indices, since an unspecialised iterator allocates in debug builds.
        var index = 0
        while index < parameters.codecs.count {
            if parameters.codecs[index].payloadType == payloadType { return parameters.codecs[index].codec }
            index += 1
        }
        return nil
    }

    private func restart(at now: Instant) {
        let codec = parameters.codecs.first { $0.codec.kind == kind }?.codec ?? .opus
        unwrapper = Unwrapper(bitCount: 16)
        nack = NackGenerator()
        senderClock = nil
        reception = ReceptionStatistics(clockRate: codec.clockRate)
        close()
        if kind == .video {
            video = VideoFrameAssembler(codec: codec, ssrc: ssrc, pool: pool)
        } else {
            audio = AudioJitterBuffer(ssrc: ssrc, pool: pool)
        }
        keyFrameRequestAt = max(keyFrameRequestAt, now)
    }

    private func noteParameters() {
        counters.mid = parameters.mid
        usesNack = parameters.codecs.contains { $0.codec.kind == kind && $0.feedback.nack }
    }
}
