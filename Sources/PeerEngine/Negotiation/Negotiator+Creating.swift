package import ICE
internal import RTP
internal import SDP

extension Negotiator {
    /// Writes an offer. webrtc-pc §4.4.2, RFC 9429 §5.2
    package func createOffer(credentials: ICECredentials) -> String {
        var session = newSession()
        var planned = sections
        var mids: [TransceiverID: String] = [:]
        var nextMid = nextMid
        for transceiver in transceivers where transceiver.mid == nil && !transceiver.isStopped {
            let mid = Self.makeMid(&nextMid, besides: sections + planned)
            mids[transceiver.id] = mid
            let (codecs, extensions) = offerCapabilities(transceiver)
            place(
                Section(mid: mid, content: .media(transceiver.id), codecs: codecs, extensionMaps: extensions),
                in: &planned
            )
        }
        if wantsData, !planned.contains(where: { $0.content == .data }) {
            place(Section(mid: Self.makeMid(&nextMid, besides: sections + planned), content: .data), in: &planned)
        }
        for section in planned { session.media.append(offer(section, credentials: credentials)) }
        session.bundleGroups = [session.media.filter { !$0.isRejected }.compactMap(\.mid)]
        lastCreated = Created(type: .offer, session: session, sections: planned, mids: mids, nextMid: nextMid)
        return session.text
    }

    /// Writes an answer to the pending remote offer. RFC 9429 §5.3
    package func createAnswer(credentials: ICECredentials) throws(NegotiationError) -> String {
        guard let offer = pendingRemote, signalingState == .haveRemoteOffer || signalingState == .haveLocalPranswer
        else {
            throw .wrongState(signalingState, "there is no remote offer to answer")
        }
        var session = newSession()
        session.allowsMixedExtensions = offer.session.allowsMixedExtensions
        var planned: [Section] = []
        let bundle = Set(offer.session.bundleGroups.first ?? [])
        var transportMid: String?
        for (index, remote) in offer.session.media.enumerated() {
            var section = sections[index]
            let sharesTransport =
                transportMid == nil || bundle.contains(section.mid) && bundle.contains(transportMid ?? "")
            var media = refuse(remote, mid: section.mid)
            if !remote.isRejected, sharesTransport {
                switch section.content {
                case .media(let id):
                    if let transceiver = transceiver(id), !transceiver.isStopped, remote.isRTCPMux,
                        let accepted = answer(transceiver, remote: remote, section: &section, credentials: credentials)
                    {
                        media = accepted
                    }
                case .data: media = data(mid: section.mid, transport: remote.transport, credentials: credentials)
                case .refused: break
                }
            }
            if !media.isRejected {
                transportMid = transportMid ?? section.mid
                media.setup = answerSetup(remote.setup)
            }
            session.media.append(media)
            planned.append(section)
        }
        let accepted = session.media.filter { !$0.isRejected }.compactMap(\.mid).filter { bundle.contains($0) }
        if !accepted.isEmpty { session.bundleGroups = [accepted] }
        lastCreated = Created(type: .answer, session: session, sections: planned, mids: [:], nextMid: nextMid)
        return session.text
    }

    /// Puts a new section where one was refused, or at the end. RFC 9429 §5.2.2
    private func place(_ section: Section, in planned: inout [Section]) {
        let (local, remote) = (currentLocal?.session.media ?? [], currentRemote?.session.media ?? [])
        let free = planned.indices.first { index in
            guard case .refused = planned[index].content, index < local.count, index < remote.count else {
                return false
            }
            return local[index].isRejected || remote[index].isRejected
        }
        if let free { planned[free] = section } else { planned.append(section) }
    }

    private func newSession() -> SessionDescription {
        var session = SessionDescription()
        session.sessionID = sessionID
        session.sessionVersion = sessionVersion
        session.allowsMixedExtensions = true
        session.isICELite = configuration.isICELite
        return session
    }

    /// Codecs and extensions for a new m-section: the numbers that another section of the bundle already uses.
    private func offerCapabilities(_ transceiver: TransceiverState) -> ([SDPCodec], [SDPExtensionMap]) {
        let own = capabilities(transceiver)
        let known = sections.first { section in
            guard case .media(let id) = section.content else { return false }
            return self.transceiver(id)?.kind == transceiver.kind && !section.codecs.isEmpty
        }
        if let known { return (placingH264(in: known.codecs, for: transceiver), known.extensionMaps) }
        // Numbers of the other kind must not be taken twice within the bundle (RFC 9143 §9.1).
        let usedTypes = Set(sections.flatMap(\.codecs).map(\.payloadType))
        let usedMaps = sections.flatMap(\.extensionMaps)
        let codecs = CodecMatching.renumbered(own.codecs, unless: usedTypes.contains)
        var extensions: [SDPExtensionMap] = []
        for map in own.extensions {
            if let known = usedMaps.first(where: { $0.uri == map.uri }) {
                extensions.append(SDPExtensionMap(id: known.id, uri: map.uri))
            } else {
                let taken = Set(usedMaps.map(\.id) + extensions.map(\.id))
                let id = taken.contains(map.id) ? (UInt8(1)...14).first { !taken.contains($0) } : map.id
                if let id { extensions.append(SDPExtensionMap(id: id, uri: map.uri)) }
            }
        }
        return (codecs, extensions)
    }

    /// The codecs of an m-section as a transceiver wants them now, with numbers that stand for nothing else.
    private func placingH264(in codecs: [SDPCodec], for transceiver: TransceiverState) -> [SDPCodec] {
        guard transceiver.kind == .video else { return codecs }
        let used = sections.flatMap(\.codecs)
        // Another m-section's numbers for it are taken over: one number must not stand for two things, nor need it.
        let known = used.filter { codec in
            CodecMatching.isH264(codec)
                || used.contains { CodecMatching.isH264($0) && $0.payloadType == CodecMatching.apt(codec) }
        }
        let taken = Set((used + codecs).map(\.payloadType))
        guard known.isEmpty else {
            let once = known.reduce(into: []) { (all: inout [SDPCodec], next) in
                if !all.contains(where: { $0.payloadType == next.payloadType }) { all.append(next) }
            }
            return CodecMatching.placing(codecs, h264: transceiver.h264, from: once)
        }
        return CodecMatching.placing(
            codecs,
            h264: transceiver.h264,
            from: configuration.h264Codecs,
            unless: taken.contains
        )
    }

    // MARK: m-sections

    private func offer(_ section: Section, credentials: ICECredentials) -> MediaDescription {
        switch section.content {
        case .refused(let kind): return refuse(section, kind: kind)
        case .data:
            var media = data(mid: section.mid, transport: "UDP/DTLS/SCTP", credentials: credentials)
            media.setup = .actpass
            return media
        case .media(let id):
            guard let transceiver = transceiver(id), !transceiver.isStopped else {
                return refuse(section, kind: transceiver(id)?.kind.name ?? "audio")
            }
            let own = capabilities(transceiver)
            var media = media(
                transceiver,
                mid: section.mid,
                transport: "UDP/TLS/RTP/SAVPF",
                codecs: section.codecs.isEmpty ? own.codecs : placingH264(in: section.codecs, for: transceiver),
                extensions: section.extensionMaps.isEmpty ? own.extensions : section.extensionMaps,
                credentials: credentials
            )
            media.direction = transceiver.direction
            media.setup = .actpass
            addSources(of: transceiver, to: &media)
            return media
        }
    }

    private func answer(
        _ transceiver: TransceiverState,
        remote: MediaDescription,
        section: inout Section,
        credentials: ICECredentials
    ) -> MediaDescription? {
        let own = capabilities(transceiver)
        // RFC 3264 §6.1 lets the answer have an order of its own: what comes first is what the peer will send.
        let codecs = CodecMatching.placing(
            CodecMatching.answer(remote.codecs, capabilities: own.codecs),
            h264: transceiver.h264,
            from: []
        )
        guard !codecs.isEmpty else { return nil }
        var extensions: [SDPExtensionMap] = []
        for map in remote.extensionMaps
        where own.extensions.contains(where: { $0.uri == map.uri })
            && !extensions.contains(where: { $0.uri == map.uri || $0.id == map.id })
        {
            extensions.append(SDPExtensionMap(id: map.id, uri: map.uri))
        }
        section.codecs = codecs
        section.extensionMaps = extensions
        var media = media(
            transceiver,
            mid: section.mid,
            transport: remote.transport,
            codecs: codecs,
            extensions: extensions,
            credentials: credentials
        )
        media.direction = SDPDirection(
            sends: transceiver.direction.sends && remote.direction.receives,
            receives: transceiver.direction.receives && remote.direction.sends
        )
        addSources(of: transceiver, to: &media)
        return media
    }

    private func media(
        _ transceiver: TransceiverState,
        mid: String,
        transport: String,
        codecs: [SDPCodec],
        extensions: [SDPExtensionMap],
        credentials: ICECredentials
    ) -> MediaDescription {
        var media = MediaDescription(
            kind: transceiver.kind.name,
            port: 9,
            transport: transport,
            formats: codecs.map { String($0.payloadType) }
        )
        media.mid = mid
        addTransport(to: &media, credentials: credentials)
        media.codecs = codecs
        media.extensionMaps = extensions
        media.isRTCPMux = true
        media.isRTCPReducedSize = true
        return media
    }

    private func addSources(of transceiver: TransceiverState, to media: inout MediaDescription) {
        guard media.direction.sends else { return }
        let streams = transceiver.streamIDs.isEmpty ? ["-"] : transceiver.streamIDs
        media.msids = streams.map { ($0, transceiver.trackID) }
        media.sources = [(transceiver.ssrc, configuration.cname)]
        if media.codecs.contains(where: { CodecMatching.apt($0) != nil }) {
            media.sources.append((transceiver.rtxSSRC, configuration.cname))
            media.sourceGroups = [SDPSourceGroup(semantics: "FID", ssrcs: [transceiver.ssrc, transceiver.rtxSSRC])]
        }
    }

    private func data(mid: String, transport: String, credentials: ICECredentials) -> MediaDescription {
        var media = MediaDescription(
            kind: "application",
            port: 9,
            transport: transport,
            formats: ["webrtc-datachannel"]
        )
        media.mid = mid
        addTransport(to: &media, credentials: credentials)
        media.sctpPort = 5000
        media.maxMessageSize = configuration.maxMessageSize
        return media
    }

    private func addTransport(to media: inout MediaDescription, credentials: ICECredentials) {
        media.iceUsernameFragment = credentials.usernameFragment
        media.icePassword = credentials.password
        media.iceOptions = ["trickle"] + ICERenomination.options
        media.fingerprints = [configuration.fingerprint]
    }

    private func refuse(_ section: Section, kind: String) -> MediaDescription {
        refuse(
            MediaDescription(kind: kind, port: 0, transport: section.transport, formats: section.formats),
            mid: section.mid
        )
    }

    private func refuse(_ remote: MediaDescription, mid: String) -> MediaDescription {
        var media = MediaDescription(kind: remote.kind, port: 0, transport: remote.transport, formats: remote.formats)
        media.mid = mid
        media.direction = .inactive
        return media
    }

    /// The answerer takes the active part when it may (RFC 8842 §5.3); a session that is up keeps its roles.
    private func answerSetup(_ offered: SDPSetup?) -> SDPSetup {
        if let dtlsRoleIsClient { return dtlsRoleIsClient ? .active : .passive }
        return offered == .active ? .passive : .active
    }
}
