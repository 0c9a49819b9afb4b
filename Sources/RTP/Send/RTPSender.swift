package import SansIO

/// One outgoing stream: makes packets of frames, keeps them for resending, reports about them.
///
/// Packets are written once, into pool slots. They leave by being copied from there, at the pacer's time.
@safe package final class RTPSender {
    package private(set) var parameters: RTPSendParameters
    package private(set) var statistics = RTPOutboundStatistics()
    /// When the pacer's time comes, packets are looked up here.
    package private(set) var history: SendHistory
    /// Whether anything was sent since the stream began: only then it has a place in sender reports.
    package private(set) var hasSent = false

    private let pool: PacketPool
    private var template: RTPHeaderTemplate
    private var rtxTemplate: RTPHeaderTemplate?
    private var nextSequenceNumber: SequenceNumber
    private var nextRTXSequenceNumber: SequenceNumber
    private let timestampOffset: UInt32
    private var pictureID: UInt16
    /// What sender reports extrapolate from.
    private var lastTimestamp: UInt32
    private var lastCaptureTime: Instant?
    /// Packets and payload octets of the media source alone, as sender reports count them.
    private var reportedPacketCount: UInt32 = 0
    private var reportedOctetCount: UInt32 = 0

    /// Longest datagram, IP and UDP headers not counted, which fits every path that WebRTC meets.
    package static let datagramByteLimit = 1_200
    /// Bytes that SRTP adds at most with the profiles we offer: the tag of AEAD_AES_128_GCM (RFC 7714 §14.2).
    package static let srtpByteCount = 16
    /// Bytes in front of the payload of a retransmission: the original sequence number (RFC 4588 §4).
    static let rtxByteCount = 2
    /// Packets kept: 1 s at about 10 Mbit/s.
    package static let videoHistoryCapacity = 1_024
    package static let audioHistoryCapacity = 64
    /// How often one packet is sent again.
    package static let resendLimit = 10
    /// Largest frame accepted; a key frame beyond it would block the path for seconds.
    package static let frameByteLimit = 900 << 10
    private static let minimumResendInterval = Duration.milliseconds(5)

    package init(parameters: RTPSendParameters, pool: PacketPool, random: RandomSource) {
        self.parameters = parameters
        self.pool = pool
        let isVideo = parameters.codec.codec.kind == .video
        history = SendHistory(
            pool: pool,
            capacity: isVideo ? Self.videoHistoryCapacity : Self.audioHistoryCapacity
        )
        // RFC 3711 §3.3.1 advises a start below 2^15, lest an early loss confuses the rollover counter.
        nextSequenceNumber = SequenceNumber(UInt16(truncatingIfNeeded: random.next()) & 0x7FFF)
        nextRTXSequenceNumber = SequenceNumber(UInt16(truncatingIfNeeded: random.next()) & 0x7FFF)
        timestampOffset = UInt32(truncatingIfNeeded: random.next())
        pictureID = UInt16(truncatingIfNeeded: random.next()) & 0x7FFF
        lastTimestamp = timestampOffset
        template = Self.template(parameters)
        rtxTemplate = Self.rtxTemplate(parameters)
        noteParameters()
    }

    /// Gives back all slots; the sender must not be used any more.
    package func close() { history.removeAll() }

    /// Takes over changed parameters with the same SSRC.
    ///
    /// Packets that still wait were laid out for the old extensions; they are dropped if these changed.
    package func update(_ parameters: RTPSendParameters) {
        if parameters.extensions != self.parameters.extensions || parameters.mid != self.parameters.mid {
            history.removeAll()
        }
        self.parameters = parameters
        template = Self.template(parameters)
        rtxTemplate = Self.rtxTemplate(parameters)
        noteParameters()
    }

    package var kind: RTPMediaKind { parameters.codec.codec.kind }
    package var usesTransportSequenceNumbers: Bool { template.carriesTransportSequenceNumber }

    /// Bytes of payload that fit into one packet of this stream, also when it is retransmitted.
    package var payloadByteLimit: Int {
        let rtxBytes = rtxTemplate.map { $0.byteCount + Self.rtxByteCount } ?? 0
        return Self.datagramByteLimit - Self.srtpByteCount - max(template.byteCount, rtxBytes)
    }

    /// Divides a frame into packets and stores them.
    ///
    /// - Returns: the packets' first sequence number and their count; nil if the frame is empty, too large, or of another
    ///   codec than the stream.
    package func packetize(_ frame: EncodedFrame, at now: Instant) -> (first: SequenceNumber, count: Int)? {
        guard frame.codec == nil || frame.codec == parameters.codec.codec else {
            statistics.framesOfOtherCodecs += 1
            return nil
        }
        let first = nextSequenceNumber
        let packets: (made: Int, wanted: Int)?
        switch parameters.codec.codec {
        case .vp8: packets = storeVP8(frame, at: now)
        case .h264: packets = storeH264(frame, at: now)
        case .opus, .pcmu, .pcma: packets = storeSound(frame, at: now)
        }
        guard let (made, wanted) = packets else {
            statistics.packetsDiscarded += 1
            return nil
        }
        guard made == wanted else {
            // For want of slots: what was made is sent nevertheless, the receiver will ask for a key frame.
            statistics.packetsDiscarded += UInt64(wanted - made)
            return made > 0 ? (first, made) : nil
        }
        note(timestamp: frame.rtpTimestamp &+ timestampOffset, captureTime: frame.captureTime ?? now)
        statistics.framesSent += 1
        if frame.isKeyFrame { statistics.keyFramesSent += 1 }
        return (first, made)
    }

    /// RFC 7741 §4.2: each packet begins with a descriptor, the last has the marker.
    private func storeVP8(_ frame: EncodedFrame, at now: Instant) -> (made: Int, wanted: Int)? {
        let descriptorByteCount = VP8PayloadDescriptor.sentByteCount
        guard !frame.payload.isEmpty, frame.payload.count <= Self.frameByteLimit else { return nil }
        let partition = PayloadPartition(
            frameByteCount: frame.payload.count,
            limit: payloadByteLimit - descriptorByteCount
        )
        var made = 0
        unsafe frame.payload.withUnsafeBytes { source in
            while made < partition.count {
                let range = partition[made]
                let isMade = unsafe store(
                    payloadByteCount: descriptorByteCount + range.count,
                    timestamp: frame.rtpTimestamp &+ timestampOffset,
                    marker: made == partition.count - 1,
                    at: now
                ) { _, payload in
                    unsafe VP8PayloadDescriptor.write(
                        into: payload,
                        startsFrame: made == 0,
                        isNonReference: frame.isNonReference,
                        pictureID: pictureID
                    )
                    unsafe UnsafeMutableRawBufferPointer(rebasing: payload[descriptorByteCount...])
                        .copyMemory(from: UnsafeRawBufferPointer(rebasing: source[range]))
                }
                guard isMade else { return }
                made += 1
            }
        }
        if made == partition.count { pictureID = (pictureID + 1) & 0x7FFF }
        return (made, partition.count)
    }

    /// RFC 6184 §5.1: the marker is set "for the very last packet of the access unit".
    private func storeH264(_ frame: EncodedFrame, at now: Instant) -> (made: Int, wanted: Int)? {
        guard frame.payload.count <= Self.frameByteLimit else { return nil }
        let division = H264Payloads(frame.payload, limit: payloadByteLimit)
        statistics.unitsDropped += UInt64(division.droppedUnitCount)
        let payloads = division.payloads
        // More would push each other out of the history before they left.
        guard !payloads.isEmpty, payloads.count <= Self.videoHistoryCapacity else { return nil }
        var made = 0
        unsafe frame.payload.withUnsafeBytes { source in
            while made < payloads.count {
                let isMade = unsafe store(
                    payloadByteCount: payloads[made].byteCount,
                    timestamp: frame.rtpTimestamp &+ timestampOffset,
                    marker: made == payloads.count - 1,
                    at: now
                ) { unsafe H264Payloads.write(payloads[made], of: source, into: $1) }
                guard isMade else { return }
                made += 1
            }
        }
        return (made, payloads.count)
    }

    private func storeSound(_ frame: EncodedFrame, at now: Instant) -> (made: Int, wanted: Int)? {
        guard !frame.payload.isEmpty, frame.payload.count <= payloadByteLimit else { return nil }
        let isMade = unsafe frame.payload.withUnsafeBytes { source in
            unsafe store(
                payloadByteCount: source.count,
                timestamp: frame.rtpTimestamp &+ timestampOffset,
                marker: frame.startsTalkspurt,
                at: now
            ) { packet, payload in
                if let level = frame.audioLevel {
                    unsafe template.setAudioLevel(level, hasVoice: frame.hasVoice, in: packet)
                }
                unsafe payload.copyMemory(from: source)
            }
        }
        return (isMade ? 1 : 0, 1)
    }

    /// Stores one packet with a payload that the caller has formatted.
    ///
    /// - Returns: its sequence number, or nil if it is too long or the pool is empty.
    package func packetize(
        payload: UnsafeRawBufferPointer,
        timestamp: UInt32,
        marker: Bool,
        at now: Instant
    ) -> SequenceNumber? {
        guard payload.count <= payloadByteLimit else { return nil }
        let number = nextSequenceNumber
        let timestamp = timestamp &+ timestampOffset
        let isMade = unsafe store(payloadByteCount: payload.count, timestamp: timestamp, marker: marker, at: now) {
            unsafe $1.copyMemory(from: payload)
        }
        guard isMade else { return nil }
        note(timestamp: timestamp, captureTime: now)
        return number
    }

    /// Writes a stored packet as it leaves for the first time.
    ///
    /// - Parameters:
    ///   - number: the packet's sequence number.
    ///   - target: has room for a datagram.
    ///   - transportSequenceNumber: of the transport-wide extension, if that is negotiated.
    ///   - now: when it leaves.
    /// - Returns: the bytes written, or nil if the packet is no longer stored.
    package func write(
        _ number: SequenceNumber,
        into target: UnsafeMutableRawBufferPointer,
        transportSequenceNumber: UInt16,
        at now: Instant
    ) -> Int? {
        guard var entry = history[number] else {
            statistics.packetsDiscarded += 1
            return nil
        }
        let stored = unsafe UnsafeMutableRawBufferPointer(rebasing: pool.bytes(of: entry.slot)[..<entry.byteCount])
        // Stamped in the slot, since a plain resend must repeat it bit by bit: the same packet index with
        // other content would reuse SRTP's key stream (RFC 7714 §8.4 forbids it).
        unsafe template.stamp(stored, transportSequenceNumber: transportSequenceNumber, at: now)
        unsafe target.copyMemory(from: UnsafeRawBufferPointer(stored))
        entry.sentAt = now
        history[number] = entry
        hasSent = true
        let payloadByteCount = entry.byteCount - entry.headerByteCount
        reportedPacketCount &+= 1
        reportedOctetCount &+= UInt32(payloadByteCount)
        statistics.packetsSent += 1
        statistics.bytesSent += UInt64(payloadByteCount)
        statistics.headerBytesSent += UInt64(entry.headerByteCount)
        return entry.byteCount
    }

    /// Writes a stored packet again: in the retransmission stream if there is one, else as it was.
    ///
    /// - Returns: the bytes written and whether the transport-wide sequence number was used, or nil if the packet
    ///   is no longer stored.
    ///
    /// RFC 4588 §4
    package func writeRetransmission(
        _ number: SequenceNumber,
        into target: UnsafeMutableRawBufferPointer,
        transportSequenceNumber: UInt16,
        at now: Instant
    ) -> (byteCount: Int, usedTransportSequenceNumber: Bool)? {
        guard var entry = history[number] else { return nil }
        let stored = unsafe UnsafeRawBufferPointer(rebasing: pool.bytes(of: entry.slot)[..<entry.byteCount])
        let payload = unsafe UnsafeRawBufferPointer(rebasing: stored[entry.headerByteCount...])
        let byteCount: Int
        let headerByteCount: Int
        if let rtxTemplate {
            headerByteCount = rtxTemplate.byteCount + Self.rtxByteCount
            byteCount = headerByteCount + payload.count
            let timestamp = unsafe UInt32(bigEndian: stored.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
            unsafe rtxTemplate.write(
                into: target,
                sequenceNumber: nextRTXSequenceNumber,
                timestamp: timestamp,
                marker: stored[1] & 0x80 != 0
            )
            unsafe rtxTemplate.stamp(target, transportSequenceNumber: transportSequenceNumber, at: now)
            unsafe target.storeBytes(
                of: number.rawValue.bigEndian,
                toByteOffset: rtxTemplate.byteCount,
                as: UInt16.self
            )
            unsafe UnsafeMutableRawBufferPointer(rebasing: target[headerByteCount..<byteCount])
                .copyMemory(from: payload)
            nextRTXSequenceNumber = nextRTXSequenceNumber + 1
        } else {
            headerByteCount = entry.headerByteCount
            byteCount = stored.count
            unsafe target.copyMemory(from: stored)
        }
        entry.resentAt = now
        entry.resendCount += 1
        entry.isResendQueued = false
        history[number] = entry
        statistics.packetsSent += 1
        statistics.bytesSent += UInt64(byteCount - headerByteCount)
        statistics.headerBytesSent += UInt64(headerByteCount)
        statistics.retransmittedPacketsSent += 1
        statistics.retransmittedBytesSent += UInt64(byteCount - headerByteCount)
        return (byteCount, rtxTemplate != nil)
    }

    /// Notes that a packet was asked for again.
    ///
    /// - Parameters:
    ///   - number: the packet's sequence number.
    ///   - roundTripTime: a resend younger than this may still be on its way.
    ///   - now: when it was asked for.
    /// - Returns: the bytes to resend, or nil if it is unknown, still queued, or was just resent.
    package func requestRetransmission(
        _ number: SequenceNumber,
        roundTripTime: Duration,
        at now: Instant
    ) -> Int? {
        statistics.nackedPackets += 1
        guard var entry = history[number] else {
            statistics.nackMisses += 1
            return nil
        }
        guard entry.sentAt != nil, !entry.isResendQueued, entry.resendCount < Self.resendLimit else { return nil }
        if let resentAt = entry.resentAt, now - resentAt < max(roundTripTime, Self.minimumResendInterval) { return nil }
        entry.isResendQueued = true
        history[number] = entry
        return entry.byteCount
    }

    /// The bytes of a stored packet.
    package func byteCount(of number: SequenceNumber) -> Int { history[number]?.byteCount ?? 0 }

    /// Forgets packets which are too old to be asked for.
    package func removeHistory(before instant: Instant) { history.removeAll(before: instant) }

    // Counters of events which the transport sees.
    package func noteNack() { statistics.nackCount += 1 }
    package func notePLI() { statistics.pliCount += 1 }
    package func noteFIR() { statistics.firCount += 1 }
    package func noteTarget(bitsPerSecond: Int) { statistics.targetBitRate = bitsPerSecond }

    /// The sender report of `now`.
    ///
    /// - Parameters:
    ///   - now: the time that the report states.
    ///   - clockOffsetNanoseconds: what is added to `now` for the NTP time.
    /// - Returns: the report, without blocks.
    ///
    /// RFC 3550 §6.4.1
    package func senderReport(at now: Instant, clockOffsetNanoseconds: Int64) -> RTCPSenderReport {
        // "The RTP timestamp corresponds to the same time as the NTP timestamp": from the last frame on.
        var timestamp = lastTimestamp
        if let lastCaptureTime {
            // A program's own times may be anything; only their low 32 bits of ticks are told.
            let elapsed = now.nanoseconds &- lastCaptureTime.nanoseconds
            let ticks = elapsed / 1_000 &* Int64(parameters.codec.codec.clockRate) / 1_000_000
            timestamp &+= UInt32(truncatingIfNeeded: ticks)
        }
        return RTCPSenderReport(
            ssrc: parameters.ssrc,
            ntpTimestamp: NTPTime.timestamp(nanoseconds: now.nanoseconds &+ clockOffsetNanoseconds),
            rtpTimestamp: timestamp,
            packetCount: reportedPacketCount,
            octetCount: reportedOctetCount
        )
    }

    /// Takes in what the remote receiver says.
    ///
    /// - Parameters:
    ///   - block: the report about this stream.
    ///   - roundTripTime: as the block's times gave it, if they did.
    package func receive(_ block: RTCPReportBlock, roundTripTime: Duration?) {
        statistics.reportsReceived += 1
        statistics.remoteFractionLost = Double(block.fractionLost) / 256
        statistics.remotePacketsLost = Int64(block.cumulativeLost)
        statistics.remoteJitter =
            .nanoseconds(Int64(block.jitter) * 1_000_000_000 / Int64(parameters.codec.codec.clockRate))
        if let roundTripTime {
            statistics.roundTripTime = roundTripTime
            statistics.totalRoundTripTime += roundTripTime
            statistics.roundTripTimeMeasurements += 1
        }
    }

    /// Writes a packet into a new slot; `fill` gets the packet's bytes and the payload's.
    private func store(
        payloadByteCount: Int,
        timestamp: UInt32,
        marker: Bool,
        at now: Instant,
        _ fill: (UnsafeMutableRawBufferPointer, UnsafeMutableRawBufferPointer) -> Void
    ) -> Bool {
        guard let slot = pool.take() else { return false }
        let packet = unsafe pool.bytes(of: slot)
        let byteCount = template.byteCount + payloadByteCount
        unsafe template.write(into: packet, sequenceNumber: nextSequenceNumber, timestamp: timestamp, marker: marker)
        unsafe fill(packet, UnsafeMutableRawBufferPointer(rebasing: packet[template.byteCount..<byteCount]))
        history.append(
            SendHistory.Entry(
                slot: slot,
                sequenceNumber: nextSequenceNumber,
                byteCount: byteCount,
                headerByteCount: template.byteCount,
                createdAt: now
            )
        )
        nextSequenceNumber = nextSequenceNumber + 1
        return true
    }

    private func note(timestamp: UInt32, captureTime: Instant) {
        lastTimestamp = timestamp
        lastCaptureTime = captureTime
    }

    private func noteParameters() {
        statistics.mid = parameters.mid
        statistics.ssrc = parameters.ssrc
        statistics.rtxSSRC = parameters.rtxSSRC
        statistics.codec = parameters.codec.codec
        statistics.payloadType = parameters.codec.payloadType
    }

    private static func template(_ parameters: RTPSendParameters) -> RTPHeaderTemplate {
        RTPHeaderTemplate(
            payloadType: parameters.codec.payloadType,
            ssrc: parameters.ssrc,
            mid: parameters.mid,
            extensions: parameters.extensions
        )
    }

    private static func rtxTemplate(_ parameters: RTPSendParameters) -> RTPHeaderTemplate? {
        guard let ssrc = parameters.rtxSSRC, let payloadType = parameters.codec.rtxPayloadType else { return nil }
        return RTPHeaderTemplate(
            payloadType: payloadType,
            ssrc: ssrc,
            mid: parameters.mid,
            extensions: parameters.extensions
        )
    }
}
