internal import CongestionControl
internal import RTP
internal import SansIO

extension RTPTransport {
    /// Senders reported about in one datagram, at most.
    private static let sendersPerReport = 12
    /// Sequence numbers in one NACK, at most: each may need four bytes.
    private static let numbersPerNack = 200
    /// Report blocks in one packet, at most: the count has five bits.
    private static let blocksPerReport = 31

    func scheduleReport(at now: Instant, isFirst: Bool = false) {
        let mean = Self.reportInterval.wholeNanoseconds
        let wait = Int64.random(in: (mean / 2)...(mean * 3 / 2), using: &generator)
        // "The first RTCP packet … the minimum interval is halved" so that others learn of us soon.
        timers[.report] = now + .nanoseconds(isFirst ? wait / 2 : wait)
    }

    /// The regular report: about what we send, about what we receive, who we are.
    func sendReports(at now: Instant) {
        scheduleReport(at: now)
        var blocks: [RTCPReportBlock] = []
        for stream in table.streams where lastReportAt.map({ stream.lastPacketAt >= $0 }) ?? true {
            guard blocks.count < Self.blocksPerReport else { break }
            if let block = stream.reportBlock(at: now) { blocks.append(block) }
        }
        lastReportAt = now
        for case .some(let item) in outgoing { item.sender.removeHistory(before: now - Self.historyDuration) }
        let senders = outgoing.compactMap { $0?.sender }.filter(\.hasSent).prefix(Self.sendersPerReport)
        guard !senders.isEmpty || !table.streams.isEmpty else { return }

        var writer = ByteWriter(reserving: 512)
        for (place, sender) in senders.enumerated() {
            var report = sender.senderReport(at: now, clockOffsetNanoseconds: clockOffsetNanoseconds)
            if place == 0 { report.blocks = blocks }
            writer.write(.senderReport(report))
        }
        if senders.isEmpty { writer.write(.receiverReport(RTCPReceiverReport(ssrc: reporterSSRC, blocks: blocks))) }
        let sources = senders.isEmpty ? [reporterSSRC] : senders.map(\.parameters.ssrc)
        writer.write(.sourceDescription(sources.map { RTCPSourceDescription(ssrc: $0, cname: cname) }))
        if let estimate = remoteEstimate(blocks: blocks, at: now) { writer.write(estimate) }
        sendRTCP(writer)
    }

    /// REMB, for streams whose sender does not learn the same from transport-wide feedback.
    private func remoteEstimate(blocks: [RTCPReportBlock], at now: Instant) -> RTCPPacket? {
        var ssrcs: [UInt32] = []
        for stream in table.streams where stream.kind == .video {
            let feedback = stream.parameters.codecs.lazy.map(\.feedback)
            let usesTransportFeedback =
                table.extensions.transportCC != nil && feedback.contains { $0.transportCC }
            if !usesTransportFeedback, feedback.contains(where: { $0.googREMB }) { ssrcs.append(stream.ssrc) }
        }
        guard !ssrcs.isEmpty else { return nil }
        let loss = blocks.lazy.filter { ssrcs.contains($0.ssrc) }.map(\.fractionLost).max() ?? 0
        let rate = remoteEstimator.update(
            bytesReceived: counters.rtpBytesReceived,
            fractionLost: Double(loss) / 256,
            at: now
        )
        return .receiverEstimatedMaximumBitRate(
            RTCPReceiverEstimatedMaximumBitRate(
                senderSSRC: reporterSSRC,
                bitsPerSecond: UInt64(rate),
                ssrcs: ssrcs
            )
        )
    }

    func scheduleTransportFeedback(at now: Instant) {
        guard let due = timers[.transportFeedback] else {
            // Up to three packets an interval is audio alone.
            let interval =
                arrivals.pendingCount > 3 || isReceivingVideo
                ? Self.feedbackInterval : Self.slowFeedbackInterval
            timers[.transportFeedback] = now + interval
            return
        }
        // A full message does not wait for its time.
        if arrivals.pendingCount >= ArrivalRecorder.packetsPerMessage / 2 {
            timers[.transportFeedback] = min(due, now + .milliseconds(1))
        }
    }

    private var isReceivingVideo: Bool { table.streams.contains { $0.kind == .video } }

    func sendTransportFeedback(at now: Instant) {
        while let feedback = arrivals.nextFeedback(senderSSRC: reporterSSRC, mediaSSRC: lastMediaSSRC) {
            sendFeedback(.transportFeedback(feedback))
            counters.transportFeedbackSent += 1
        }
    }

    /// Asks for the packets whose time has come.
    func requestPackets(of stream: RTPReceiveStream, at now: Instant) {
        lost.removeAll(keepingCapacity: true)
        stream.collectNacks(at: now, into: &lost)
        var start = 0
        while start < lost.count {
            let end = min(start + Self.numbersPerNack, lost.count)
            sendFeedback(
                .nack(RTCPNack(senderSSRC: reporterSSRC, mediaSSRC: stream.ssrc, lost: Array(lost[start..<end])))
            )
            start = end
        }
    }

    /// Asks for a key frame if one is needed and the last request is old enough.
    func requestKeyFrameIfDue(of stream: RTPReceiveStream, at now: Instant) {
        guard stream.takeKeyFrameRequest(at: now) else { return }
        let feedback = stream.parameters.codecs.lazy.map(\.feedback)
        // PLI even if neither was negotiated: nothing else helps, and it is ignored at worst.
        let usesFIR = !feedback.contains { $0.nackPLI } && feedback.contains { $0.ccmFIR }
        if usesFIR {
            firNumber &+= 1
            sendFeedback(
                .fullIntraRequest(
                    RTCPFullIntraRequest(
                        senderSSRC: reporterSSRC,
                        entries: [.init(ssrc: stream.ssrc, sequenceNumber: firNumber)]
                    )
                )
            )
        } else {
            sendFeedback(
                .pictureLossIndication(
                    RTCPPictureLossIndication(senderSSRC: reporterSSRC, mediaSSRC: stream.ssrc)
                )
            )
        }
        stream.noteRequest(isFIR: usesFIR)
    }

    func sendGoodbye(_ ssrcs: [UInt32]) {
        var writer = compoundStart()
        writer.write(.goodbye(RTCPGoodbye(ssrcs: Array(ssrcs.prefix(Self.blocksPerReport)))))
        sendRTCP(writer)
    }

    /// Sends feedback at once, in a minimal compound packet unless reduced size was negotiated (RFC 4585 §3.1).
    private func sendFeedback(_ packet: RTCPPacket) {
        var writer = allowsReducedSizeRTCP ? ByteWriter(reserving: 256) : compoundStart()
        writer.write(packet)
        sendRTCP(writer)
    }

    private func compoundStart() -> ByteWriter {
        var writer = ByteWriter(reserving: 256)
        writer.write(.receiverReport(RTCPReceiverReport(ssrc: reporterSSRC)))
        writer.write(.sourceDescription([RTCPSourceDescription(ssrc: reporterSSRC, cname: cname)]))
        return writer
    }

    private var generator: RandomSource {
        get { random }
        set {}
    }
}
