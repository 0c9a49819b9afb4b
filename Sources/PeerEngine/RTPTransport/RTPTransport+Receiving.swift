internal import CongestionControl
internal import RTP
internal import SRTP
package import SansIO

extension RTPTransport {
    /// Takes in a datagram of SRTP or SRTCP.
    package func receive(_ datagram: RawSpan, at now: Instant) {
        guard isStarted else {
            counters.droppedBeforeStart += 1
            return
        }
        guard (8...PacketPool.slotByteCount).contains(datagram.byteCount) else {
            counters.droppedMalformed += 1
            return
        }
        guard let slot = pool.take() else {
            counters.droppedForMemory += 1
            return
        }
        let byteCount = datagram.byteCount
        let buffer = unsafe UnsafeMutableRawBufferPointer(rebasing: pool.bytes(of: slot)[..<byteCount])
        unsafe datagram.withUnsafeBytes { unsafe buffer.copyMemory(from: $0) }
        var isKept = false
        do {
            if RTPHeader.isRTCP(datagram) {
                if let plain = try unsafe inbound?.unprotectRTCP(buffer) {
                    let bytes = unsafe UnsafeRawBufferPointer(rebasing: buffer[..<min(plain, byteCount)])
                    receiveRTCP(unsafe bytes.bytes, at: now)
                }
            } else if byteCount >= RTPHeader.fixedByteCount, let plain = try unsafe inbound?.unprotect(buffer) {
                let bytes = unsafe UnsafeRawBufferPointer(rebasing: buffer[..<min(plain, byteCount)])
                isKept = receiveRTP(unsafe bytes.bytes, slot: slot, at: now)
            }
        } catch {
            switch error {
            case .replayed: counters.droppedReplayed += 1
            case .authenticationFailed: counters.droppedUnauthenticated += 1
            default: counters.droppedMalformed += 1
            }
        }
        if !isKept { pool.giveBack(slot) }
    }

    /// - Returns: whether a stream keeps the slot.
    private func receiveRTP(_ packet: RawSpan, slot: PacketSlot, at now: Instant) -> Bool {
        let header: RTPHeader
        do {
            header = try RTPHeader(packet)
        } catch {
            counters.droppedMalformed += 1
            return false
        }
        counters.rtpPacketsReceived += 1
        counters.rtpBytesReceived += UInt64(packet.byteCount)
        let values = RTPHeaderExtensionValues(header, in: packet, ids: table.extensions)
        if let number = values.transportSequenceNumber {
            arrivals.receive(number, at: now)
            scheduleTransportFeedback(at: now)
        }
        let payload = header.byteCount..<(header.byteCount + header.payloadByteCount)
        switch table.route(header, extensions: values, packet: packet, at: now) {
        case .media(let stream):
            lastMediaSSRC = header.ssrc
            if !stream.hasReceived { noteFirstPacket(of: stream) }
            let isKept = stream.receive(
                header,
                payload: payload,
                packet: packet,
                slot: slot,
                audioLevel: values.audioLevel,
                isRetransmission: false,
                at: now
            )
            finishReceiving(stream, at: now)
            return isKept
        case .retransmission(let stream, let payloadType):
            // Padding alone is a probe of the path's rate.
            guard payload.count > 2 else { return false }
            var original = header
            original.sequenceNumber = SequenceNumber(packet.uint16(at: payload.lowerBound))
            original.payloadType = payloadType
            original.ssrc = stream.ssrc
            let isKept = stream.receive(
                original,
                payload: (payload.lowerBound + 2)..<payload.upperBound,
                packet: packet,
                slot: slot,
                audioLevel: values.audioLevel,
                isRetransmission: true,
                at: now
            )
            finishReceiving(stream, at: now)
            return isKept
        case .unknown:
            counters.droppedUnknownSource += 1
            return false
        }
    }

    private func noteFirstPacket(of stream: RTPReceiveStream) {
        stream.roundTripTime = roundTripTime
        let mid = stream.parameters.mid
        if heardMIDs.insert(mid).inserted { events.append(.firstPacket(mid: mid)) }
    }

    private func finishReceiving(_ stream: RTPReceiveStream, at now: Instant) {
        deliverFrames(of: stream, at: now)
        requestKeyFrameIfDue(of: stream, at: now)
    }

    func deliverFrames(of stream: RTPReceiveStream, at now: Instant) {
        while let frame = stream.nextFrame(at: now) {
            events.append(.frame(mid: stream.parameters.mid, frame))
        }
    }

    private func receiveRTCP(_ datagram: RawSpan, at now: Instant) {
        counters.rtcpPacketsReceived += 1
        let malformed = RTCPPacket.parse(datagram) { packet in receive(packet, at: now) }
        counters.droppedMalformed += UInt64(malformed)
    }

    private func receive(_ packet: RTCPPacket, at now: Instant) {
        switch packet {
        case .senderReport(let report):
            table[report.ssrc]?.receive(report, at: now)
            for block in report.blocks { receive(block, at: now) }
        case .receiverReport(let report):
            for block in report.blocks { receive(block, at: now) }
        case .nack(let nack): receive(nack, at: now)
        case .pictureLossIndication(let loss):
            guard let index = index(ssrc: loss.mediaSSRC) else { return }
            outgoing[index]?.sender.notePLI()
            askForKeyFrame(index, at: now)
        case .fullIntraRequest(let request):
            for entry in request.entries {
                guard let index = index(ssrc: entry.ssrc), outgoing[index]?.lastFIR != entry.sequenceNumber else {
                    continue
                }
                outgoing[index]?.lastFIR = entry.sequenceNumber
                outgoing[index]?.sender.noteFIR()
                askForKeyFrame(index, at: now)
            }
        case .receiverEstimatedMaximumBitRate(let estimate):
            estimator.receive(remoteEstimate: Int(clamping: estimate.bitsPerSecond), at: now)
            updateBitRates(at: now)
        case .transportFeedback(let feedback):
            counters.transportFeedbackReceived += 1
            estimator.receive(sentPackets.receive(feedback), at: now)
            updateBitRates(at: now)
        case .goodbye(let goodbye):
            for ssrc in goodbye.ssrcs {
                guard let stream = table[ssrc] else { continue }
                let mid = stream.parameters.mid
                table.remove(stream)
                // Its replay window is kept as long as there is room, lest its packets come back as a new source.
                if let count = inbound?.inboundStreamCount, count > SRTPSession.maximumStreamCount / 2 {
                    inbound?.removeStream(ssrc: ssrc)
                }
                heardMIDs.remove(mid)
                events.append(.bye(mid: mid))
            }
        case .sourceDescription, .other: break
        }
    }

    private func receive(_ block: RTCPReportBlock, at now: Instant) {
        guard let index = index(ssrc: block.ssrc), let sender = outgoing[index]?.sender else { return }
        var measured: Duration?
        if block.lastSenderReport != 0 {
            let clock = NTPTime.compact(
                NTPTime.timestamp(nanoseconds: now.nanoseconds &+ clockOffsetNanoseconds)
            )
            let elapsed = Int32(bitPattern: clock &- block.lastSenderReport &- block.delaySinceLastSenderReport)
            // Rounding can make it negative on a short path; a minute is beyond any path.
            if elapsed > -66, elapsed < 60 << 16 { measured = NTPTime.duration(UInt32(max(elapsed, 1))) }
        }
        sender.receive(block, roundTripTime: measured)
        if let measured {
            let last = isRoundTripTimeMeasured ? roundTripTime : nil
            roundTripTime = last.map { ($0 * 3 + measured) / 4 } ?? measured
            isRoundTripTimeMeasured = true
            noteRoundTripTime()
        }
        estimator.receive(fractionLost: Double(block.fractionLost) / 256, at: now)
        updateBitRates(at: now)
    }

    private func receive(_ nack: RTCPNack, at now: Instant) {
        guard let index = index(ssrc: nack.mediaSSRC), let sender = outgoing[index]?.sender else { return }
        sender.noteNack()
        for number in nack.lost {
            guard
                let byteCount = sender.requestRetransmission(
                    number,
                    roundTripTime: roundTripTime ?? .zero,
                    at: now
                )
            else { continue }
            _ = pacer.enqueue(
                PacedPacket(
                    kind: .retransmission,
                    sender: index,
                    sequenceNumber: number,
                    byteCount: byteCount,
                    queuedAt: now
                )
            )
        }
        drainPacer(at: now)
    }
}
