internal import DTLS
internal import ICE
internal import RTP
internal import SDP

extension Negotiator {
    /// Makes a local description, as `createOffer` or `createAnswer` made it last, the local one.
    ///
    /// - Parameters:
    ///   - type: the description's type.
    ///   - text: nil for the last made one; other text is refused.
    /// - Returns: what follows from it.
    /// - Throws: `NegotiationError` if it does not fit the signalling state or is not the one made last.
    package func setLocalDescription(
        _ type: DescriptionType,
        text: String?
    ) throws(NegotiationError) -> NegotiationOutcome {
        if type == .rollback { return try rollback() }
        switch (type, signalingState) {
        case (.offer, .stable), (.offer, .haveLocalOffer), (.answer, .haveRemoteOffer), (.answer, .haveLocalPranswer),
            (.pranswer, .haveRemoteOffer), (.pranswer, .haveLocalPranswer):
            break
        default: throw .wrongState(signalingState, "a local \(type.rawValue) does not fit")
        }
        guard let created = lastCreated, (created.type == .offer) == (type == .offer) else {
            throw .modified("it is not the one that was made last")
        }
        if let text, text != created.session.text { throw .modified("it differs from the one that was made last") }
        if signalingState == .stable { setRollbackPoint() }
        lastCreated = nil
        sessionVersion += 1
        sections = created.sections
        nextMid = created.nextMid
        for (id, mid) in created.mids { update(id) { $0.mid = mid } }
        for section in sections {
            guard case .media(let id) = section.content else { continue }
            update(id) {
                $0.describedDirection = $0.direction
                $0.describedStreamIDs = $0.streamIDs
            }
        }
        let description = Description(type: type, session: created.session)
        var outcome: NegotiationOutcome
        switch type {
        case .offer:
            pendingLocal = description
            signalingState = .haveLocalOffer
            outcome = NegotiationOutcome()
        case .pranswer:
            pendingLocal = description
            signalingState = .haveLocalPranswer
            outcome = finish(local: created.session, remote: pendingRemote?.session, isOfferer: false)
        case .answer, .rollback:
            currentLocal = description
            currentRemote = pendingRemote
            becomeStable()
            outcome = finish(local: created.session, remote: currentRemote?.session, isOfferer: false)
        }
        outcome.isLocal = true
        return outcome
    }

    /// Makes the peer's description the remote one.
    ///
    /// A remote offer takes an open local one back.
    package func setRemoteDescription(
        _ type: DescriptionType,
        text: String
    ) throws(NegotiationError) -> NegotiationOutcome {
        if type == .rollback { return try rollback() }
        var session: SessionDescription
        do throws(SDPError) { session = try SessionDescription(parsing: text) } catch { throw .syntax(error) }
        inheritBundledTransport(&session)
        // Everything that can be wrong is found before anything is changed.
        try validate(session, type: type)
        switch (type, signalingState) {
        case (.offer, .stable), (.offer, .haveRemoteOffer), (.offer, .haveLocalOffer): try validate(offer: session)
        case (.answer, .haveLocalOffer), (.answer, .haveRemotePranswer), (.pranswer, .haveLocalOffer),
            (.pranswer, .haveRemotePranswer):
            try validate(answer: session)
        default: throw .wrongState(signalingState, "a remote \(type.rawValue) does not fit")
        }
        var outcome = NegotiationOutcome()
        if type == .offer {
            if signalingState != .stable { outcome = try rollback() }
            take(offer: session, into: &outcome)
            outcome.remoteTransport = remoteTransport(of: session) { isAcceptable(session.media[$0], index: $0) }
        } else if let local = pendingLocal {
            if type == .answer {
                currentLocal = local
                currentRemote = Description(type: .answer, session: session)
                becomeStable()
            } else {
                pendingRemote = Description(type: .pranswer, session: session)
                signalingState = .haveRemotePranswer
            }
            outcome = finish(local: local.session, remote: session, isOfferer: true)
            outcome.remoteTransport = remoteTransport(of: session) { !session.media[$0].isRejected }
        }
        noteTracks(session, in: &outcome)
        return outcome
    }

    private func becomeStable() {
        pendingLocal = nil
        pendingRemote = nil
        rollbackPoint = nil
        lastCreated = nil
        signalingState = .stable
    }

    // MARK: Remote

    /// Gives bundled m-sections what only their group's first one says.
    ///
    /// RFC 9143 §7.1.3: attributes of the TRANSPORT and IDENTICAL categories stand in the tagged m-section alone.
    private func inheritBundledTransport(_ session: inout SessionDescription) {
        guard let group = session.bundleGroups.first, !group.isEmpty else { return }
        let bundled = Set(group)
        let indices = session.media.indices.filter { session.media[$0].mid.map(bundled.contains) ?? false }
        let media = session.media
        let tagged = group.lazy.compactMap { mid in indices.first { media[$0].mid == mid } }
            .first { !media[$0].isRejected && media[$0].iceUsernameFragment != nil }
        guard let tagged else { return }
        let source = session.media[tagged]
        for index in indices where index != tagged && !session.media[index].isRejected {
            guard session.media[index].iceUsernameFragment == nil else { continue }
            session.media[index].iceUsernameFragment = source.iceUsernameFragment
            session.media[index].icePassword = source.icePassword
            if session.media[index].fingerprints.isEmpty { session.media[index].fingerprints = source.fingerprints }
            session.media[index].setup = session.media[index].setup ?? source.setup
            session.media[index].isRTCPMux = session.media[index].isRTCPMux || source.isRTCPMux
        }
    }

    /// What every description needs.
    private func validate(_ session: SessionDescription, type: DescriptionType) throws(NegotiationError) {
        var mids: Set<String> = []
        for (index, media) in session.media.enumerated() {
            let name = "m-section \(index) (\(media.kind.prefix(32)))"
            if let mid = media.mid, !mids.insert(mid).inserted {
                throw .inconsistent("two m-sections have the mid \(mid)")
            }
            // What will be refused may lack anything.
            guard !media.isRejected, Self.isKnown(media) else { continue }
            guard media.iceUsernameFragment != nil else { throw .missing("a=ice-ufrag in \(name)") }
            guard media.icePassword != nil else { throw .missing("a=ice-pwd in \(name)") }
            guard media.fingerprints.contains(where: { DTLSFingerprint(attributeValue: $0)?.isSupported == true })
            else {
                throw .missing("a usable a=fingerprint in \(name)")
            }
            guard let setup = media.setup else { throw .missing("a=setup in \(name)") }
            if type != .offer, setup != .active, setup != .passive {
                throw .inconsistent("an answer cannot say a=setup:\(setup.rawValue) (\(name))")
            }
            if type != .offer, media.kind != "application", !media.isRTCPMux { throw .missing("a=rtcp-mux in \(name)") }
        }
        for mid in session.bundleGroups.first ?? [] where !mids.contains(mid) {
            throw .inconsistent("a=group:BUNDLE names the mid \(mid.prefix(64)), which is not there")
        }
    }

    /// A new offer keeps the m-sections that there are: their number, mids and kinds. RFC 9429 §5.10
    private func validate(offer: SessionDescription) throws(NegotiationError) {
        // A pending offer is taken back by this one.
        let sections = rollbackPoint?.sections ?? sections
        guard offer.media.count >= sections.count else {
            throw .inconsistent("the offer has \(offer.media.count) m-sections, the session has \(sections.count)")
        }
        for (index, section) in sections.enumerated() {
            let media = offer.media[index]
            if case .refused = section.content { continue }
            guard media.mid == nil || media.mid == section.mid else {
                throw .inconsistent(
                    "m-section \(index) has the mid \(media.mid ?? ""), in the session it is \(section.mid)"
                )
            }
            guard isContinued(section, by: media) else {
                throw .inconsistent("m-section \(index) changes its kind to \(media.kind.prefix(32))")
            }
        }
    }

    private func validate(answer: SessionDescription) throws(NegotiationError) {
        let offer = pendingLocal?.session.media ?? []
        guard offer.count == answer.media.count else {
            throw .inconsistent("the answer has \(answer.media.count) m-sections, the offer \(offer.count)")
        }
        for (index, media) in answer.media.enumerated()
        where media.kind != offer[index].kind || (media.mid ?? offer[index].mid) != offer[index].mid {
            throw .inconsistent("m-section \(index) of the answer is not that of the offer")
        }
        let accepted = answer.media.filter { !$0.isRejected }
        let bundled = Set(answer.bundleGroups.first ?? [])
        guard accepted.count < 2 || accepted.allSatisfy({ $0.mid.map(bundled.contains) ?? false }) else {
            throw .inconsistent(
                "the answer accepts m-sections outside of one BUNDLE group; there is one transport only"
            )
        }
    }

    /// Whether an m-section is of a form that this side could accept.
    static func isKnown(_ media: MediaDescription) -> Bool {
        switch media.kind {
        case "audio", "video": media.transport.contains("RTP/SAVP")
        case "application": media.transport.hasSuffix("DTLS/SCTP") && media.formats.contains("webrtc-datachannel")
        default: false
        }
    }

    /// Whether the answer to a section of an offer will accept it.
    private func isAcceptable(_ media: MediaDescription, index: Int) -> Bool {
        guard !media.isRejected, index < sections.count else { return false }
        switch sections[index].content {
        case .data: return true
        case .refused: return false
        case .media(let id):
            guard let transceiver = transceiver(id), !transceiver.isStopped, media.isRTCPMux else { return false }
            return !CodecMatching.answer(media.codecs, capabilities: capabilities(transceiver).codecs).isEmpty
        }
    }

    /// The bundled transport: that of the first m-section that is accepted. RFC 9143 §7.3.2
    private func remoteTransport(
        of session: SessionDescription,
        accepting isAccepted: (Int) -> Bool
    ) -> NegotiationOutcome.Transport? {
        guard let index = session.media.indices.first(where: isAccepted),
            let fragment = session.media[index].iceUsernameFragment, let password = session.media[index].icePassword
        else { return nil }
        let media = session.media[index]
        let isRestart = remoteUsernameFragment.map { $0 != fragment } ?? false
        remoteUsernameFragment = fragment
        var candidates: [String] = []
        var seen: Set<String> = []
        for own in session.media where !own.isRejected && own.iceUsernameFragment == fragment {
            for candidate in own.candidates where seen.insert(candidate).inserted { candidates.append(candidate) }
        }
        return NegotiationOutcome.Transport(
            usernameFragment: fragment,
            password: password,
            isLite: session.isICELite,
            renomination: ICERenomination(options: media.iceOptions),
            fingerprints: media.fingerprints.compactMap { DTLSFingerprint(attributeValue: $0) },
            candidates: candidates,
            hasEndOfCandidates: media.hasEndOfCandidates,
            isRestart: isRestart
        )
    }

    private func take(offer: SessionDescription, into outcome: inout NegotiationOutcome) {
        setRollbackPoint()
        lastCreated = nil
        var mids = Set(offer.media.compactMap(\.mid) + sections.map(\.mid))
        for (index, media) in offer.media.enumerated() {
            let known = index < sections.count ? sections[index] : nil
            if let known, media.mid == nil || media.mid == known.mid, isContinued(known, by: media) { continue }
            let mid = media.mid ?? (index...).lazy.map(String.init).first { !mids.contains($0) } ?? ""
            mids.insert(mid)
            var section = Section(mid: mid, content: content(for: media, mid: mid, outcome: &outcome))
            section.transport = media.transport
            section.formats = media.formats
            if known != nil { sections[index] = section } else { sections.append(section) }
        }
        pendingRemote = Description(type: .offer, session: offer)
        signalingState = .haveRemoteOffer
    }

    private func isContinued(_ section: Section, by media: MediaDescription) -> Bool {
        switch section.content {
        case .media(let id): transceiver(id)?.kind.name == media.kind
        case .data: media.kind == "application"
        case .refused: media.isRejected
        }
    }

    /// Finds or makes what an m-section of a remote offer belongs to. RFC 9429 §5.10
    private func content(
        for media: MediaDescription,
        mid: String,
        outcome: inout NegotiationOutcome
    ) -> Section.Content {
        guard !media.isRejected, Self.isKnown(media) else { return .refused(kind: media.kind) }
        if media.kind == "application" {
            return sections.contains { $0.content == .data } ? .refused(kind: media.kind) : .data
        }
        let kind: RTPMediaKind = media.kind == "audio" ? .audio : .video
        if media.direction.receives,
            let free = transceivers.first(where: {
                $0.kind == kind && $0.mid == nil && !$0.isStopped && $0.wasAddedByTrack
            })
        {
            update(free.id) { $0.mid = mid }
            return .media(free.id)
        }
        var made = makeTransceiver(kind: kind, direction: .recvonly, trackID: "", streamIDs: [], wasAddedByTrack: false)
        made.mid = mid
        made.wasMadeByRemote = true
        // Adding a track later is the application's wish and needs an offer; receiving is what the peer asked for.
        made.describedDirection = .recvonly
        made.describedStreamIDs = []
        transceivers.append(made)
        outcome.added.append(made.id)
        return .media(made.id)
    }

    /// Tracks appear and end as the peer's description says. RFC 9429 §5.10, webrtc-pc §5.1.5
    private func noteTracks(_ session: SessionDescription, in outcome: inout NegotiationOutcome) {
        for (index, media) in session.media.enumerated() where index < sections.count {
            guard case .media(let id) = sections[index].content, let transceiver = transceiver(id) else { continue }
            let sends = media.direction.sends && isAcceptable(media, index: index)
            guard sends != transceiver.isReceiving else { continue }
            update(id) { $0.isReceiving = sends }
            if sends {
                outcome.tracks.append((id, media.msids.map(\.stream).filter { $0 != "-" }))
            } else {
                outcome.endedTracks.append(id)
            }
        }
    }

    // MARK: Result

    /// What both descriptions together mean for the transports.
    private func finish(
        local: SessionDescription,
        remote: SessionDescription?,
        isOfferer: Bool
    ) -> NegotiationOutcome {
        var outcome = NegotiationOutcome()
        guard let remote else { return outcome }
        let answer = isOfferer ? remote : local
        if let setup = answer.media.first(where: { !$0.isRejected })?.setup {
            let isClient = isOfferer ? setup == .passive : setup == .active
            if dtlsRoleIsClient == nil { dtlsRoleIsClient = isClient }
            outcome.dtlsRole = dtlsRoleIsClient == true ? .client : .server
        }
        for index in sections.indices where index < local.media.count && index < remote.media.count {
            let (ours, theirs) = (local.media[index], remote.media[index])
            let isRefused = ours.isRejected || theirs.isRejected
            switch sections[index].content {
            case .data:
                if !isRefused {
                    outcome.data = .init(
                        remotePort: theirs.sctpPort ?? 5000,
                        // RFC 8841 §6.1: 64 K when it is absent, no limit when it is 0.
                        remoteMaxMessageSize: theirs.maxMessageSize.map { $0 == 0 ? Int.max : $0 } ?? 65_536
                    )
                }
            case .media(let id):
                finishMedia(id, index: index, ours: ours, theirs: theirs, isRefused: isRefused, outcome: &outcome)
            case .refused: break
            }
        }
        return outcome
    }

    private func finishMedia(
        _ id: TransceiverID,
        index: Int,
        ours: MediaDescription,
        theirs: MediaDescription,
        isRefused: Bool,
        outcome: inout NegotiationOutcome
    ) {
        guard let transceiver = transceiver(id) else { return }
        let mid = sections[index].mid
        guard !isRefused else {
            update(id) {
                $0.currentDirection = nil
                $0.isStopped = true
                $0.isReceiving = false
            }
            if transceiver.isReceiving { outcome.endedTracks.append(id) }
            sections[index].content = .refused(kind: ours.kind)
            outcome.sends.append((mid, id, nil))
            outcome.receives.append((mid, id, nil))
            return
        }
        let common = CodecMatching.answer(theirs.codecs, capabilities: ours.codecs)
        sections[index].codecs = common
        sections[index].extensionMaps = ours.extensionMaps.filter { map in
            theirs.extensionMaps.contains { $0.uri == map.uri }
        }
        let direction = SDPDirection(
            sends: ours.direction.sends && theirs.direction.receives,
            receives: ours.direction.receives && theirs.direction.sends
        )
        update(id) { $0.currentDirection = direction }
        let extensions = CodecMatching.extensions(sections[index].extensionMaps)
        var sendCodecs = CodecMatching.parameters(common)
        var send: RTPSendParameters?
        // What the peer says of a format is how it wants to be sent it (RFC 3264 §5.1).
        for index in sendCodecs.indices {
            let told = theirs.codecs.first { $0.payloadType == sendCodecs[index].payloadType }
            if let told { sendCodecs[index].fmtp = told.parameters }
        }
        // What needs a source that has encoded it already is the last resort; the sender's owner chooses.
        if direction.sends, let codec = sendCodecs.first(where: { $0.codec != .h264 }) ?? sendCodecs.first {
            send = RTPSendParameters(
                mid: mid,
                ssrc: transceiver.ssrc,
                rtxSSRC: sendCodecs.allSatisfy { $0.rtxPayloadType == nil } ? nil : transceiver.rtxSSRC,
                codec: codec,
                codecs: sendCodecs,
                extensions: extensions,
                cname: configuration.cname,
                maxBitRate: transceiver.maxBitRate
            )
        }
        outcome.sends.append((mid, id, send))
        var receive: RTPReceiveParameters?
        if direction.receives {
            var repairs: [UInt32: UInt32] = [:]
            for group in theirs.sourceGroups where group.semantics == "FID" && group.ssrcs.count == 2 {
                repairs[group.ssrcs[0]] = group.ssrcs[1]
            }
            let repairing = Set(repairs.values)
            receive = RTPReceiveParameters(
                mid: mid,
                codecs: CodecMatching.parameters(CodecMatching.answer(ours.codecs, capabilities: common)),
                extensions: extensions,
                ssrcs: theirs.sources.map(\.ssrc).filter { !repairing.contains($0) },
                rtxSSRCs: repairs
            )
        }
        outcome.receives.append((mid, id, receive))
    }

    // MARK: Rollback

    private func setRollbackPoint() {
        guard rollbackPoint == nil else { return }
        rollbackPoint = RollbackPoint(
            transceivers: Dictionary(uniqueKeysWithValues: transceivers.map { ($0.id, $0) }),
            sections: sections,
            remoteUsernameFragment: remoteUsernameFragment
        )
    }

    /// Takes an open offer back. RFC 9429 §4.1.10.2
    private func rollback() throws(NegotiationError) -> NegotiationOutcome {
        guard signalingState == .haveLocalOffer || signalingState == .haveRemoteOffer, let point = rollbackPoint else {
            throw .wrongState(signalingState, "there is nothing to roll back")
        }
        var outcome = NegotiationOutcome()
        sections = point.sections
        remoteUsernameFragment = point.remoteUsernameFragment
        for transceiver in transceivers {
            if let before = point.transceivers[transceiver.id] {
                update(transceiver.id) {
                    $0.mid = before.mid
                    $0.currentDirection = before.currentDirection
                    $0.describedDirection = before.describedDirection
                    $0.describedStreamIDs = before.describedStreamIDs
                    if $0.isReceiving && !before.isReceiving { outcome.endedTracks.append($0.id) }
                    $0.isReceiving = before.isReceiving
                }
            } else if transceiver.wasMadeByRemote, transceiver.trackID.isEmpty {
                outcome.removed.append(transceiver.id)
            } else if transceiver.wasMadeByRemote {
                // The application gave it a track meanwhile: it stays, as if addTrack had made it.
                if transceiver.isReceiving { outcome.endedTracks.append(transceiver.id) }
                update(transceiver.id) {
                    $0.mid = nil
                    $0.describedDirection = nil
                    $0.describedStreamIDs = nil
                    $0.isReceiving = false
                    $0.wasMadeByRemote = false
                    $0.wasAddedByTrack = true
                }
            } else {
                update(transceiver.id) {
                    $0.mid = nil
                    $0.describedDirection = nil
                }
            }
        }
        transceivers.removeAll { outcome.removed.contains($0.id) }
        pendingLocal = nil
        pendingRemote = nil
        rollbackPoint = nil
        lastCreated = nil
        signalingState = .stable
        return outcome
    }
}
