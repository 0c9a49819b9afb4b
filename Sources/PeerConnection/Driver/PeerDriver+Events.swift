internal import DTLS
internal import Glibc
internal import ICE
internal import Logging
internal import PeerEngine
internal import RTP
internal import SCTP
internal import STUN
internal import SansIO

extension PeerDriver {
    /// Turns what the engine tells into what the application sees.
    func handle(_ event: PeerEvent, at now: Instant) {
        switch event {
        case .ice(let event): handle(event)
        case .connectionStateChanged(let state):
            let state = RTCPeerConnectionState(rawValue: state.rawValue) ?? .failed
            if state == .connected { for pipeline in sendPipelines.values { pipeline.setActive(true) } }
            view.deliver(.connectionStateChange(state)) { $0.connectionState = state }
        case .failed(let failure): view.deliver(.error(Self.publicError(failure)))
        case .relayFailed(let failure):
            tell(failure)
        case .remoteClosed: view.deliver(.remoteClosed)
        case .channel(let event): handle(event)
        case .rtp(let event): handle(event)
        }
    }

    private func handle(_ event: ICEEvent) {
        switch event {
        case .localCandidate(let candidate):
            let text = signalled(candidate)
            let place = engine.negotiator.addLocalCandidate(text)
            deliverDescriptions()
            view.deliver(
                .iceCandidate(
                    RTCIceCandidate(
                        candidate: text,
                        sdpMid: place?.mid,
                        sdpMLineIndex: place?.index,
                        usernameFragment: candidate.usernameFragment
                    )
                )
            )
        case .gatheringComplete:
            gathering.completeGenerations =
                gathering.completeGenerations.suffix(3) + [engine.ice.localCredentials.usernameFragment]
            engine.negotiator.setEndOfLocalCandidates()
            deliverDescriptions()
            view.deliver(.iceGatheringStateChange(.complete)) { $0.iceGatheringState = .complete }
            view.deliver(.iceCandidate(nil))
        case .gatheringResumed:
            view.deliver(.iceGatheringStateChange(.gathering)) { $0.iceGatheringState = .gathering }
        case .stateChanged(let state):
            iceStateChanged(to: state)
            let state = RTCIceConnectionState(rawValue: state.rawValue) ?? .failed
            view.deliver(.iceConnectionStateChange(state)) { $0.iceConnectionState = state }
        case .selectedPathChanged(let path, let local, let remote):
            log.debug("path \(local.address) (\(local.kind.rawValue)) to \(path.remote) (\(remote.kind.rawValue))")
        case .serverSilent(let server): tellSilence(of: server)
        case .relayPaired, .pathSilent: break  // the engine's
        case .connect(let candidate, let remote): openConnection(from: candidate, to: remote)
        case .connectionUnneeded(let port): closeConnection(port)
        case .consentLost: log.debug("the peer's consent expired")
        }
    }

    private func handle(_ event: RTPEvent) {
        switch event {
        case .frame(let mid, let frame): receivePipelines[mid]?.receive(frame)
        case .keyFrameRequested(let mid): pipeline(mid: mid)?.requestKeyFrame()
        case .targetBitRate(let mid, let bitsPerSecond): pipeline(mid: mid)?.setBitRate(bitsPerSecond)
        case .firstPacket(let mid): receivePipelines[mid]?.receiver.track.setMuted(false)
        case .bye(let mid): receivePipelines[mid]?.receiver.track.setMuted(true)
        }
    }

    private func pipeline(mid: String) -> (any SendPipeline)? { sendPipelines.values.first { $0.mid == mid } }

    private static func publicError(_ failure: PeerFailure) -> RTCError {
        switch failure {
        case .dtls(.fingerprintMismatch):
            RTCError(.operationError, failure.description, errorDetail: .fingerprintFailure)
        case .dtls: RTCError(.operationError, failure.description, errorDetail: .dtlsFailure)
        case .srtp: RTCError(.operationError, failure.description, errorDetail: .dtlsFailure)
        }
    }

    private func tell(_ failure: RelayFailure) {
        let stream = streams[failure.port]
        var (code, text) = (RTCPeerConnectionIceErrorEvent.noAnswer, "")
        switch failure.error {
        case .refused(let number, let reason):
            (code, text) = (Int(number.rawValue), reason)
            if code == 401 { text += Self.remedy(forUsername: failure.username) }
        case .timeout: text = "does not answer"
        case .credentialsMissing: (code, text) = (401, "wants a user name and a credential")
        case .expired: text = "relays no more"
        case .connectionLost:
            // What TLS did not let through never relayed.
            text = stream?.problem.map { "is left: \($0)" } ?? "relays no more"
        case .malformedResponse, .notAsked: text = "does not speak TURN as RFC 8656 has it"
        }
        let url =
            stream?.uri ?? gathering.servers[failure.server]?.first(where: \.isRelay)
        let words = if case .refused = failure.error { "refuses: \(code) \(text)" } else { text }
        let local = ports.first { $0.id == failure.port }?.localAddress
        let server = url?.description ?? failure.server.description
        view.deliver(
            .iceCandidateError(
                RTCPeerConnectionIceErrorEvent(
                    RTCError(.networkError, "the TURN server \(server) \(words)"),
                    url: server,
                    code: code,
                    text: text,
                    address: (stream?.local ?? local?.ip)?.description,
                    port: local.map { Int($0.port) }
                )
            )
        )
    }

    /// What may be wrong with credentials that are refused, and what to do.
    private static func remedy(forUsername username: String?) -> String {
        let present = Int64(time(nil))
        guard let username, let expiry = TURNCredentials.expiry(ofUsername: username), expiry < present else {
            return ": the user name or the password is wrong"
        }
        let minutes = (present - expiry) / 60
        let hours = minutes / 60
        let age = hours < 2 ? "\(minutes) minutes" : hours < 48 ? "\(hours) hours" : "\(hours / 24) days"
        return ": the credentials expired \(age) ago by this machine's clock; get new ones, or set the clock"
    }

    private func tellSilence(of server: TransportAddress) {
        let url = gathering.servers[server]?.first { !$0.isRelay }?.description ?? server.description
        let text = "does not answer"
        view.deliver(
            .iceCandidateError(
                RTCPeerConnectionIceErrorEvent(
                    RTCError(.networkError, "the STUN server \(url) \(text)"),
                    url: url,
                    text: text
                )
            )
        )
    }

    /// A consistent reading of all counters.
    func statistics() -> RTCStatsReport {
        var report = RTCStatsReport()
        report.timestampNanoseconds = Self.now().nanoseconds
        let rtp = engine.rtp.statistics()
        for inbound in rtp.inbound {
            var entry = RTCStatsReport.InboundRTP()
            entry.mid = inbound.mid
            entry.kind = inbound.kind == .audio ? .audio : .video
            entry.ssrc = inbound.ssrc
            entry.codec = inbound.codec?.name ?? ""
            entry.packetsReceived = Int(clamping: inbound.packetsReceived)
            entry.bytesReceived = Int(clamping: inbound.bytesReceived)
            entry.packetsLost = Int(clamping: inbound.packetsLost)
            entry.jitter = inbound.jitter.seconds
            entry.nackCount = Int(clamping: inbound.nackCount)
            entry.pliCount = Int(clamping: inbound.pliCount)
            entry.framesReceived = Int(clamping: inbound.framesReceived)
            entry.framesDropped = Int(clamping: inbound.framesDropped)
            receivePipelines[inbound.mid]?.fill(&entry)
            report.inboundRTP.append(entry)
        }
        for outbound in rtp.outbound {
            var entry = RTCStatsReport.OutboundRTP()
            entry.mid = outbound.mid
            entry.kind = outbound.codec.kind == .audio ? .audio : .video
            entry.ssrc = outbound.ssrc
            entry.codec = outbound.codec.name
            entry.packetsSent = Int(clamping: outbound.packetsSent)
            entry.bytesSent = Int(clamping: outbound.bytesSent)
            entry.retransmittedPacketsSent = Int(clamping: outbound.retransmittedPacketsSent)
            entry.nackCount = Int(clamping: outbound.nackCount)
            entry.pliCount = Int(clamping: outbound.pliCount + outbound.firCount)
            entry.targetBitrate = outbound.targetBitRate
            entry.roundTripTime = outbound.roundTripTime?.seconds
            entry.fractionLost = outbound.remoteFractionLost
            entry.remotePacketsLost = Int(clamping: outbound.remotePacketsLost)
            entry.remoteJitter = outbound.remoteJitter.seconds
            pipeline(mid: outbound.mid)?.fill(&entry)
            report.outboundRTP.append(entry)
        }
        report.audioSources = sendPipelines.values.compactMap { ($0 as? AudioSendPipeline)?.source }
            .sorted { $0.mid < $1.mid }
        for pair in engine.ice.statistics.pairs {
            var entry = RTCStatsReport.CandidatePair(pair)
            entry.relayProtocol = engine.relays.transport(of: pair.path.port)?.rawValue
            report.candidatePairs.append(entry)
            if pair.isSelected { report.selectedCandidatePair = entry }
        }
        report.transport = transportCounts
        let dtls = engine.dtls.statistics
        report.transport.dtlsVersion = dtls.versionName
        report.transport.dtlsCipher = dtls.cipherName
        report.transport.srtpCipher = dtls.srtpProfile?.registeredName
        report.transport.packetsDiscarded = engine.dropped.unknown + engine.dropped.channelData
        report.discards = discards(rtp)
        report.dataChannelsOpened = engine.channels.statistics.opened
        return report
    }
}

extension PeerDriver {
    /// What was not used, by protocol and reason.
    private func discards(_ rtp: RTPTransportStatistics) -> [String: Int] {
        var found: [String: Int] = [:]
        func add(_ name: String, _ reasons: [(name: String, count: Int)]) {
            for reason in reasons where reason.count > 0 { found["\(name).\(reason.name)"] = reason.count }
        }
        add("path", engine.dropped.byReason)
        add("ice", engine.ice.statistics.dropped.byReason)
        add("turn", engine.relays.dropped.byReason + [("blocked", engine.relays.blockedCount)])
        let dtls = engine.dtls.statistics
        add("dtls", [("untimely", dtls.datagramsDropped), ("replayed", dtls.datagramsDiscarded)])
        let srtp: [(name: String, count: UInt64)] = [
            ("untimely", rtp.droppedBeforeStart), ("replayed", rtp.droppedReplayed),
            ("unauthenticated", rtp.droppedUnauthenticated), ("malformed", rtp.droppedMalformed),
            ("unknownSource", rtp.droppedUnknownSource), ("limited", rtp.droppedForMemory),
            ("unsendable", rtp.protectionFailures),
        ]
        add("srtp", srtp.map { ($0.name, Int(clamping: $0.count)) })
        let payloads: [(name: String, count: UInt64)] = [
            ("malformedPayload", rtp.inbound.reduce(0) { $0 + $1.packetsMalformed }),
            ("otherCodec", rtp.outbound.reduce(0) { $0 + $1.framesOfOtherCodecs }),
            ("reservedUnit", rtp.outbound.reduce(0) { $0 + $1.unitsDropped }),
        ]
        add("rtp", payloads.map { ($0.name, Int(clamping: $0.count)) })
        return found
    }
}

extension RTCStatsReport.CandidatePair {
    init(_ pair: ICEPairStatistics) {
        `protocol` = pair.local.transport.rawValue
        localAddress = pair.local.address.description
        localType = pair.local.kind.rawValue
        remoteAddress = pair.remote.address.description
        remoteType = pair.remote.kind.rawValue
        isNominated = pair.isNominated
        currentRoundTripTime = pair.currentRoundTripTime?.seconds
    }
}

extension Duration {
    var seconds: Double { Double(wholeNanoseconds) / 1e9 }
}
