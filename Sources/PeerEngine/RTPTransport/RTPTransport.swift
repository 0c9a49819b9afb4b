package import CongestionControl
package import RTP
package import SRTP
package import SansIO

/// All RTP and RTCP of one BUNDLE group, with its encryption.
///
/// Out: frame → packets in pool slots → pacer → transport-wide number → copy into the transmit queue, encrypted
/// there. In: datagram → pool slot, decrypted there → reordering → frames. Confined to the engine's event loop.
@safe package final class RTPTransport {
    /// A sending m-section.
    struct Outgoing {
        var sender: RTPSender
        var announcedBitRate: Int?
        /// When a key frame was last asked of the encoder, and whether to ask again.
        var keyFrameRequestedAt: Instant?
        var isKeyFrameRequestPending = false
        var lastFIR: UInt8?
    }

    enum Timer: Int, CaseIterable, Sendable {
        case report
        case transportFeedback
    }

    /// Reduced-size RTCP was negotiated (`a=rtcp-rsize`): feedback goes without the reports (RFC 5506).
    package var allowsReducedSizeRTCP = false
    /// Added to an `Instant` for the NTP time of sender reports; any constant will do.
    package var clockOffsetNanoseconds: Int64 = 0

    let transmits: TransmitQueue
    let random: RandomSource
    let cname: String
    let pool = PacketPool()
    let table: RTPReceiveTable
    /// By the number that the pacer knows; nil where an m-section has stopped.
    var outgoing: [Outgoing?] = []
    var pacer = Pacer()
    var estimator = BandwidthEstimator()
    var remoteEstimator = RemoteRateEstimator()
    var sentPackets = SentPacketHistory()
    var arrivals = ArrivalRecorder()
    var events = RingQueue<RTPEvent>(minimumCapacity: 64)
    var timers = TimerTable<Timer>()
    var counters = RTPTransportStatistics()
    var outbound: SRTPSession?
    var inbound: SRTPSession?
    var isStarted = false
    var roundTripTime: Duration?
    /// RTCP has measured it.
    var isRoundTripTimeMeasured = false
    var lastReportAt: Instant?
    /// Our SSRC in RTCP as long as nothing is sent.
    let fallbackSSRC: UInt32
    var firNumber: UInt8 = 0
    var lastMediaSSRC: UInt32 = 0
    var heardMIDs: Set<String> = []
    /// Kept to collect sequence numbers without allocating.
    var lost: [SequenceNumber] = []

    /// Least time between two key frames asked of our encoder: a burst of PLIs means one.
    package static let keyFrameRequestInterval = Duration.milliseconds(300)
    /// How long sent packets are kept for resending, unless the round trip is very long.
    package static let historyDuration = Duration.seconds(1)
    /// Mean time between reports; each wait is drawn from half to one and a half of it (RFC 3550 §6.2).
    package static let reportInterval = Duration.seconds(1)
    /// Time between feedback messages about arrivals, with much and with little traffic.
    package static let feedbackInterval = Duration.milliseconds(50)
    package static let slowFeedbackInterval = Duration.milliseconds(100)
    /// What is set aside for a stream of audio.
    static let audioBitRate = 40_000
    /// How much the target must move before the encoder is told.
    static let announcedChange = 0.05

    package init(transmits: TransmitQueue, random: RandomSource, cname: String) {
        self.transmits = transmits
        self.random = random
        self.cname = cname
        table = RTPReceiveTable(pool: pool)
        fallbackSSRC = UInt32(truncatingIfNeeded: random.next()) | 1
        lost.reserveCapacity(NackGenerator.missingLimit)
    }

    // MARK: Commands

    /// Begins to send and receive with these keys; again with others after a new DTLS handshake.
    package func start(outbound: consuming SRTPSession, inbound: consuming SRTPSession, at now: Instant) {
        self.outbound = consume outbound
        self.inbound = consume inbound
        isStarted = true
        scheduleReport(at: now, isFirst: true)
        for index in outgoing.indices where outgoing[index]?.isKeyFrameRequestPending == true {
            askForKeyFrame(index, at: now)
        }
    }

    /// Sets what the m-section sends; nil stops it and says goodbye.
    package func setSend(_ parameters: RTPSendParameters?, mid: String, at now: Instant) {
        if let index = index(mid: mid), let sender = outgoing[index]?.sender {
            if let parameters, parameters.ssrc == sender.parameters.ssrc, parameters.codec.codec.kind == sender.kind {
                sender.update(parameters)
                updateBitRates(at: now)
                return
            }
            if sender.hasSent { sendGoodbye([sender.parameters.ssrc] + (sender.parameters.rtxSSRC.map { [$0] } ?? [])) }
            pacer.removeAll(sender: index)
            sender.close()
            outgoing[index] = nil
        }
        guard let parameters else {
            updateBitRates(at: now)
            return
        }
        let new = Outgoing(sender: RTPSender(parameters: parameters, pool: pool, random: random))
        if let free = outgoing.firstIndex(where: { $0 == nil }) {
            outgoing[free] = new
        } else {
            outgoing.append(new)
        }
        updateBitRates(at: now)
    }

    /// Sets what the m-section receives; nil for nothing any more.
    package func setReceive(_ parameters: RTPReceiveParameters?, mid: String, at now: Instant) {
        table.set(parameters, mid: mid)
        if parameters == nil { heardMIDs.remove(mid) }
    }

    /// Bounds and start of the estimated rate.
    package func setBandwidth(_ configuration: BandwidthEstimator.Configuration, at now: Instant) {
        estimator = BandwidthEstimator(configuration: configuration)
        updateBitRates(at: now)
    }

    /// Tells the round-trip time of the path as ICE measured it, until RTCP knows better.
    package func setPathRoundTripTime(_ time: Duration, at now: Instant) {
        guard !isRoundTripTimeMeasured else { return }
        roundTripTime = time
        noteRoundTripTime()
    }

    /// Asks the remote side for a key frame.
    package func requestKeyFrame(mid: String, at now: Instant) {
        for stream in table.streams where stream.parameters.mid == mid {
            stream.requestKeyFrame()
            requestKeyFrameIfDue(of: stream, at: now)
        }
    }

    /// Says goodbye and gives back all memory; nothing is sent or received any more.
    package func close(at now: Instant) {
        let ssrcs = outgoing.compactMap { $0?.sender }.filter(\.hasSent).map(\.parameters.ssrc)
        if !ssrcs.isEmpty { sendGoodbye(ssrcs) }
        isStarted = false
        outbound = nil
        inbound = nil
        for index in outgoing.indices {
            outgoing[index]?.sender.close()
            pacer.removeAll(sender: index)
        }
        outgoing = []
        table.removeAll()
        timers.removeAll()
    }

    // MARK: Time

    package func handleTimeout(at now: Instant) {
        guard isStarted else { return }
        drainPacer(at: now)
        for stream in table.streams {
            stream.handleTimeout(at: now)
            deliverFrames(of: stream, at: now)
            requestPackets(of: stream, at: now)
            requestKeyFrameIfDue(of: stream, at: now)
        }
        while let timer = timers.popExpired(at: now) {
            switch timer {
            case .report: sendReports(at: now)
            case .transportFeedback: sendTransportFeedback(at: now)
            }
        }
        for index in outgoing.indices where outgoing[index]?.isKeyFrameRequestPending == true {
            askForKeyFrame(index, at: now)
        }
    }

    package var nextDeadline: Deadline? {
        guard isStarted else { return nil }
        var deadline = pacer.nextDeadline
        if let (timer, instant) = timers.next {
            deadline = .earlier(deadline, Deadline(instant, timer == .report ? "RTCP report" : "transport feedback"))
        }
        for stream in table.streams { deadline = .earlier(deadline, stream.nextDeadline) }
        for case .some(let item) in outgoing where item.isKeyFrameRequestPending {
            if let last = item.keyFrameRequestedAt {
                deadline = .earlier(deadline, Deadline(last + Self.keyFrameRequestInterval, "key frame request"))
            }
        }
        return deadline
    }

    // MARK: Outputs

    package func nextEvent() -> RTPEvent? { events.popFirst() }

    package func statistics() -> RTPTransportStatistics {
        var result = counters
        result.inbound = table.streams.map(\.statistics)
        result.outbound = outgoing.compactMap { $0?.sender.statistics }
        result.roundTripTime = roundTripTime
        result.availableOutgoingBitRate = estimator.targetBitRate
        result.deliveredBitRate = estimator.deliveredBitRate
        result.queueingDelay = estimator.queueingDelay
        result.pacerQueuedBytes = pacer.queuedByteCount
        return result
    }

    /// Slots that hold packets: sent ones kept for resending, received ones waiting for others.
    package var packetSlotsInUse: Int { pool.usedCount }

    // MARK: Shared by the extensions

    func index(mid: String) -> Int? {
        // Per packet: indices, since an unspecialised closure allocates in debug builds.
        var index = 0
        while index < outgoing.count {
            if outgoing[index]?.sender.parameters.mid == mid { return index }
            index += 1
        }
        return nil
    }

    func index(ssrc: UInt32) -> Int? { outgoing.firstIndex { $0?.sender.parameters.ssrc == ssrc } }

    /// The SSRC under which we report.
    var reporterSSRC: UInt32 {
        let senders = outgoing.lazy.compactMap { $0?.sender }
        return (senders.first { $0.hasSent } ?? senders.first)?.parameters.ssrc ?? fallbackSSRC
    }

    func noteRoundTripTime() {
        for stream in table.streams { stream.roundTripTime = roundTripTime }
        pacer.fastPathRoundTripTime = estimator.isCongested ? nil : roundTripTime
    }

    /// Asks our encoder for a key frame, at most once per interval.
    func askForKeyFrame(_ index: Int, at now: Instant) {
        guard let item = outgoing[index], item.sender.kind == .video else { return }
        if let last = item.keyFrameRequestedAt, now - last < Self.keyFrameRequestInterval {
            outgoing[index]?.isKeyFrameRequestPending = true
            return
        }
        outgoing[index]?.keyFrameRequestedAt = now
        outgoing[index]?.isKeyFrameRequestPending = false
        events.append(.keyFrameRequested(mid: item.sender.parameters.mid))
    }

    /// Divides the estimated rate among the video streams and tells their encoders.
    func updateBitRates(at now: Instant) {
        pacer.targetBitRate = estimator.targetBitRate
        noteRoundTripTime()
        let senders = outgoing.compactMap { $0?.sender }
        let videoCount = senders.count { $0.kind == .video }
        guard videoCount > 0 else { return }
        let audio = senders.count { $0.kind == .audio && $0.hasSent } * Self.audioBitRate
        let share = max(estimator.targetBitRate - audio, estimator.configuration.minimumBitRate) / videoCount
        for index in outgoing.indices {
            guard let item = outgoing[index], item.sender.kind == .video else { continue }
            let rate = min(share, item.sender.parameters.maxBitRate ?? .max)
            item.sender.noteTarget(bitsPerSecond: rate)
            if let announced = item.announcedBitRate,
                abs(Double(rate - announced)) <= Double(announced) * Self.announcedChange
            {
                continue
            }
            outgoing[index]?.announcedBitRate = rate
            events.append(.targetBitRate(mid: item.sender.parameters.mid, bitsPerSecond: rate))
        }
    }
}
