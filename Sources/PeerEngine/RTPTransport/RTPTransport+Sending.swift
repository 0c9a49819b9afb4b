internal import CongestionControl
package import RTP
internal import SRTP
package import SansIO

extension RTPTransport {
    /// Sends a frame: its packets leave as the pacer allows, audio at once.
    package func send(_ frame: EncodedFrame, mid: String, at now: Instant) {
        guard !frame.payload.isEmpty, let index = index(mid: mid), let sender = outgoing[index]?.sender else { return }
        guard isStarted else {
            counters.droppedBeforeStart += 1
            if sender.kind == .video { outgoing[index]?.isKeyFrameRequestPending = true }
            return
        }
        sender.removeHistory(before: now - historyDuration)
        if frame.isKeyFrame { outgoing[index]?.isKeyFrameRequestPending = false }
        guard let (first, count) = sender.packetize(frame, at: now) else {
            askForKeyFrame(index, at: now)
            return
        }
        for offset in 0..<count {
            let number = first + offset
            let packet = PacedPacket(
                kind: sender.kind == .audio ? .audio : .video,
                sender: index,
                sequenceNumber: number,
                byteCount: sender.byteCount(of: number),
                queuedAt: now
            )
            if !pacer.enqueue(packet) { outgoing[index]?.isKeyFrameRequestPending = true }
        }
        drainPacer(at: now)
    }

    /// Sends one packet with a payload that the caller has formatted, at once and past the pacer.
    ///
    /// For measurements of the path below the payload formats.
    @discardableResult
    package func sendPacket(
        payload: UnsafeRawBufferPointer,
        mid: String,
        marker: Bool,
        timestamp: UInt32,
        at now: Instant
    ) -> Bool {
        guard isStarted, let index = index(mid: mid), let sender = outgoing[index]?.sender,
            let number = unsafe sender.packetize(payload: payload, timestamp: timestamp, marker: marker, at: now)
        else { return false }
        leave(
            PacedPacket(kind: .video, sender: index, sequenceNumber: number, byteCount: payload.count, queuedAt: now),
            at: now
        )
        return true
    }

    func drainPacer(at now: Instant) {
        guard !pacer.isEmpty else { return }
        while let packet = pacer.next(at: now) { leave(packet, at: now) }
    }

    private var historyDuration: Duration {
        max(Self.historyDuration, (roundTripTime ?? .zero) * 4)
    }

    /// Copies a packet from its slot into the transmit queue and encrypts it there.
    private func leave(_ packet: PacedPacket, at now: Instant) {
        guard packet.sender < outgoing.count, let sender = outgoing[packet.sender]?.sender else { return }
        let capacity = RTPSender.datagramByteLimit + SRTPSession.trailerByteCount
        unsafe transmits.append(capacity: capacity) { target in
            var byteCount: Int
            var usesNumber = sender.usesTransportSequenceNumbers
            let number = sentPackets.nextNumber
            if packet.kind == .retransmission {
                guard
                    let written = unsafe sender.writeRetransmission(
                        packet.sequenceNumber,
                        into: target,
                        transportSequenceNumber: number,
                        at: now
                    )
                else { return 0 }
                byteCount = written.byteCount
                usesNumber = usesNumber && written.usedTransportSequenceNumber
            } else {
                guard
                    let written = unsafe sender.write(
                        packet.sequenceNumber,
                        into: target,
                        transportSequenceNumber: number,
                        at: now
                    )
                else { return 0 }
                byteCount = written
            }
            do {
                guard let protected = try unsafe outbound?.protect(target, byteCount: byteCount) else { return 0 }
                byteCount = protected
            } catch {
                counters.protectionFailures += 1
                return 0
            }
            if usesNumber { sentPackets.send(byteCount: byteCount, at: now) }
            counters.rtpPacketsSent += 1
            counters.rtpBytesSent += UInt64(byteCount)
            return byteCount
        }
    }

    /// Sends one RTCP datagram, encrypted.
    func sendRTCP(_ writer: ByteWriter) {
        guard isStarted else { return }
        let bytes = writer.bytes
        unsafe transmits.append(capacity: bytes.count + SRTPSession.trailerByteCount) { target in
            unsafe bytes.withUnsafeBytes { unsafe target.copyMemory(from: $0) }
            do {
                guard let byteCount = try unsafe outbound?.protectRTCP(target, byteCount: bytes.count) else { return 0 }
                counters.rtcpPacketsSent += 1
                return byteCount
            } catch {
                counters.protectionFailures += 1
                return 0
            }
        }
    }
}
