internal import ICE
internal import Logging
internal import NIOCore
internal import PeerEngine
internal import RTP
internal import SCTP
internal import SDP
internal import SansIO

extension PeerDriver {
    // MARK: Operations

    func createOffer(options: RTCOfferOptions) throws(RTCError) -> RTCSessionDescription {
        updateH264()
        return RTCSessionDescription(type: .offer, sdp: engine.createOffer(iceRestart: options.iceRestart))
    }

    func createAnswer() throws(RTCError) -> RTCSessionDescription {
        updateH264()
        do throws(NegotiationError) {
            return RTCSessionDescription(type: .answer, sdp: try engine.createAnswer())
        } catch {
            throw Self.publicError(error)
        }
    }

    func setLocalDescription(_ description: RTCSessionDescription?) throws(RTCError) {
        let type: DescriptionType
        if let description {
            type = DescriptionType(description.type)
        } else {
            switch engine.negotiator.signalingState {
            case .stable, .haveLocalOffer, .haveRemotePranswer:
                type = .offer
                _ = try createOffer(options: .init())
            case .haveRemoteOffer, .haveLocalPranswer:
                type = .answer
                _ = try createAnswer()
            }
        }
        do throws(NegotiationError) {
            let text = description.flatMap { $0.sdp.isEmpty ? nil : $0.sdp }
            finish(try engine.setLocalDescription(type, text: text, at: Self.now()))
        } catch {
            throw Self.publicError(error)
        }
        updateGathering(after: type, isLocal: true)
    }

    func setRemoteDescription(_ description: RTCSessionDescription) throws(RTCError) {
        updateH264()
        do throws(NegotiationError) {
            finish(
                try engine.setRemoteDescription(
                    DescriptionType(description.type),
                    text: description.sdp,
                    at: Self.now()
                )
            )
        } catch {
            throw Self.publicError(error)
        }
        updateGathering(after: DescriptionType(description.type), isLocal: false)
        // Names instead of addresses in the description itself are looked up like trickled ones.
        for candidate in hostnameCandidates(description.sdp) { resolve(candidate) }
    }

    func addIceCandidate(_ candidate: RTCIceCandidate?) throws(RTCError) {
        guard engine.negotiator.hasRemoteDescription else {
            throw RTCError(.invalidStateError, "a candidate came before the remote description")
        }
        let now = Self.now()
        guard let candidate, !candidate.candidate.isEmpty else {
            // The end of an older generation says nothing of the present one.
            if let fragment = candidate?.usernameFragment, !fragment.isEmpty,
                fragment != engine.ice.remoteCredentials?.usernameFragment
            {
                return
            }
            return engine.ice.setRemoteEndOfCandidates(at: now)
        }
        guard engine.negotiator.acceptsCandidate(mid: candidate.sdpMid, index: candidate.sdpMLineIndex) else {
            throw RTCError(
                .operationError,
                "the candidate names no m-section (sdpMid \(candidate.sdpMid ?? "none"), sdpMLineIndex \(candidate.sdpMLineIndex.map(String.init) ?? "none"))"
            )
        }
        switch engine.addRemoteCandidate(candidate.candidate, usernameFragment: candidate.usernameFragment, at: now) {
        case .added: break
        case .malformed(let what): throw RTCError(.operationError, "malformed candidate: \(what)")
        case .hostname: resolve(candidate.candidate)
        }
    }

    func restartIce() {
        guard !isClosed else { return }
        engine.negotiator.wantsRestart = true
        updateNegotiationNeeded()
    }

    // MARK: Transceivers

    func add(_ transceiver: RTCRtpTransceiver, addedByTrack: Bool) {
        guard !isClosed else { return }
        let id = engine.negotiator.addTransceiver(
            kind: transceiver.kind == .audio ? .audio : .video,
            direction: SDPDirection(transceiver.direction),
            trackID: transceiver.sender.track?.id ?? "",
            streamIDs: transceiver.sender.streamIDs,
            wasAddedByTrack: addedByTrack
        )
        transceiver.id = id
        transceivers[id] = transceiver
        updateNegotiationNeeded()
    }

    func directionChanged(_ transceiver: RTCRtpTransceiver) {
        guard !isClosed, let id = transceiver.id, transceiver.direction != .stopped else { return }
        engine.negotiator.setDirection(SDPDirection(transceiver.direction), of: id)
        updateNegotiationNeeded()
    }

    func trackChanged(_ transceiver: RTCRtpTransceiver) {
        guard !isClosed, let id = transceiver.id else { return }
        engine.negotiator.setTrack(
            transceiver.sender.track?.id ?? "",
            streamIDs: transceiver.sender.streamIDs,
            of: id
        )
        updateNegotiationNeeded()
    }

    func stop(_ transceiver: RTCRtpTransceiver) {
        guard !isClosed, let id = transceiver.id else { return }
        engine.negotiator.stop(id)
        sendPipelines.removeValue(forKey: id)?.stop()
        updateNegotiationNeeded()
    }

    /// Tells the application once that an offer is needed. webrtc-pc §4.7.3
    func updateNegotiationNeeded() {
        guard !isClosed else { return }
        guard engine.negotiator.isNegotiationNeeded else {
            isNegotiationNeeded = false
            return
        }
        guard engine.negotiator.signalingState == .stable, !isNegotiationNeeded, !isNegotiationCheckQueued else {
            return
        }
        // Several changes in one turn need one offer.
        isNegotiationCheckQueued = true
        eventLoop.execute { self.assumeIsolated { $0.tellNegotiationNeeded() } }
    }

    private func tellNegotiationNeeded() {
        isNegotiationCheckQueued = false
        guard !isClosed, engine.negotiator.isNegotiationNeeded, engine.negotiator.signalingState == .stable,
            !isNegotiationNeeded
        else { return }
        isNegotiationNeeded = true
        view.deliver(.negotiationNeeded)
    }

    // MARK: After a description

    /// Brings pipelines and the application's view up to date.
    private func finish(_ outcome: NegotiationOutcome) {
        let negotiator = engine.negotiator
        for id in outcome.removed { transceivers[id] = nil }
        for id in outcome.added {
            guard let state = negotiator.transceiver(id) else { continue }
            transceivers[id] = RTCRtpTransceiver(
                kind: state.kind == .audio ? .audio : .video,
                direction: .recvonly,
                track: nil,
                streamIDs: [],
                id: id,
                driver: self
            )
        }
        for send in outcome.sends { setSending(send.id, mid: send.mid, parameters: send.parameters) }
        for receive in outcome.receives { setReceiving(receive.id, mid: receive.mid, parameters: receive.parameters) }
        if let data = outcome.data {
            let limit = min(data.remoteMaxMessageSize, DataChannelTable.sendByteLimit)
            view.maxMessageSize = limit
            view.deliver { snapshot in
                if snapshot.sctp == nil {
                    snapshot.sctp = RTCSctpTransport(state: .connecting, maxMessageSize: limit)
                } else {
                    snapshot.sctp?.maxMessageSize = limit
                }
            }
        }
        deliverDescriptions(outcome)
        if negotiator.signalingState == .stable {
            isNegotiationNeeded = false
            updateNegotiationNeeded()
        }
    }

    private func deliverDescriptions(_ outcome: NegotiationOutcome) {
        let negotiator = engine.negotiator
        let state = RTCSignalingState(rawValue: negotiator.signalingState.rawValue) ?? .stable
        let descriptions = ConnectionView.Descriptions(negotiator)
        let updates = negotiator.transceivers.compactMap { state in
            transceivers[state.id].map {
                (
                    $0, state.mid,
                    state.isStopped && state.mid != nil
                        ? .stopped : state.currentDirection.map(RTCRtpTransceiverDirection.init)
                )
            }
        }
        let added = outcome.added.compactMap { transceivers[$0] }
        let removed = outcome.removed.compactMap { id in view.current.transceivers.first { $0.id == id } }
        let isChanged = lastSignalingState != state
        lastSignalingState = state
        view.deliver(isChanged ? .signalingStateChange(state) : nil) { snapshot in
            snapshot.signalingState = state
            snapshot.descriptions = descriptions
            snapshot.transceivers.removeAll { transceiver in removed.contains { $0 === transceiver } }
            snapshot.transceivers += added
            for (transceiver, mid, direction) in updates { transceiver.update(mid: mid, currentDirection: direction) }
        }
        for (id, streamIDs) in outcome.tracks {
            guard let transceiver = transceivers[id] else { continue }
            view.deliver(.track(RTCTrackEvent(transceiver: transceiver, streamIDs: streamIDs)))
        }
    }

    /// Shows the descriptions, with the local candidates found so far, to the application.
    func deliverDescriptions() {
        let descriptions = ConnectionView.Descriptions(engine.negotiator)
        view.deliver { $0.descriptions = descriptions }
    }

    // MARK: Names

    /// The candidates of a description that have an mDNS name in the address's place.
    private func hostnameCandidates(_ sdp: String) -> [String] {
        sdp.utf8.split(separator: UInt8(ascii: "\n")).lazy
            .filter { $0.starts(with: "a=candidate:".utf8) }.map { String($0.dropFirst(2)) ?? "" }
            .filter { $0.contains(".local ") }.prefix(16).map { $0 }
    }

    /// Looks an mDNS name up; a name that cannot be found costs its candidate only: the peer's checks still come.
    private func resolve(_ candidate: String) {
        guard case .hostname(let name) = engine.addRemoteCandidate(candidate, at: Self.now()) else { return }
        guard name.utf8.count <= 253, pendingNames < Self.nameLimit else {
            transportCounts.candidateNamesUnresolved += 1
            return log.debug("the candidate's name \(name) is not looked up: too many are")
        }
        pendingNames += 1
        Resolver.addresses(ofCandidate: name, mdns: configuration.mdns ?? .shared) { addresses in
            self.eventLoop.execute { self.assumeIsolated { $0.didResolve(name, of: candidate, addresses) } }
        }
    }

    private func didResolve(_ name: String, of candidate: String, _ addresses: [IPAddress]) {
        pendingNames -= 1
        guard !isClosed else { return }
        if addresses.isEmpty {
            transportCounts.candidateNamesUnresolved += 1
            return log.debug("nobody answers for the candidate's name \(name): the candidate is dropped")
        }
        transportCounts.candidateNamesResolved += 1
        log.debug("the candidate's name \(name) stands for \(addresses)")
        for address in addresses { _ = engine.addRemoteCandidate(candidate, resolved: address, at: Self.now()) }
        drain()
    }

    /// Names that one connection looks up at the same time.
    private static let nameLimit = 16

    private static func publicError(_ error: NegotiationError) -> RTCError {
        switch error {
        case .wrongState: RTCError(.invalidStateError, error.description)
        case .syntax: RTCError(.operationError, error.description, errorDetail: .sdpSyntaxError)
        case .missing: RTCError(.invalidAccessError, error.description)
        case .modified: RTCError(.operationError, error.description)
        case .inconsistent: RTCError(.invalidAccessError, error.description)
        }
    }
}

extension DescriptionType {
    init(_ type: RTCSdpType) {
        switch type {
        case .offer: self = .offer
        case .pranswer: self = .pranswer
        case .answer: self = .answer
        case .rollback: self = .rollback
        }
    }
}

extension RTCSessionDescription {
    init(_ description: Negotiator.Description) {
        self.init(type: RTCSdpType(rawValue: description.type.rawValue) ?? .offer, sdp: description.session.text)
    }
}

extension SDPDirection {
    init(_ direction: RTCRtpTransceiverDirection) { self = SDPDirection(rawValue: direction.rawValue) ?? .inactive }
}

extension RTCRtpTransceiverDirection {
    init(_ direction: SDPDirection) { self = RTCRtpTransceiverDirection(rawValue: direction.rawValue) ?? .inactive }
}
