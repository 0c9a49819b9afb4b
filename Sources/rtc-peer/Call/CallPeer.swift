internal import PeerConnection
internal import Signaling

/// One remote peer of a call: its connection, perfect negotiation (webrtc-pc §10.7), chat and files.
actor CallPeer {
    nonisolated let remote: SignalingPeer
    nonisolated let connection: RTCPeerConnection
    /// Whether this side gives way when both offer at once: it came later.
    private let isPolite: Bool
    private let isInitiator: Bool
    private var configuration: RTCConfiguration
    private var signaling: ConnectionSignaling
    /// Whether what the peer has said is being done, one thing after the other.
    private var isDelivering = false
    private let report: @Sendable (CallEvent) -> Void
    private let downloads: String?
    /// Whether silence is not sent.
    private let hasDTX: Bool
    private var isMakingOffer = false
    private var isIgnoringOffer = false
    private var isSettingRemoteAnswer = false
    /// From when an answer is made until it is on its way.
    private var isAnswering = false
    private var mustNegotiate = false
    /// Candidates that wait for the answer which they belong to; nil while none is being made.
    private var heldCandidates: [SignalingMessage]?
    private(set) var chat: RTCDataChannel?
    private var tasks: [Task<Void, Never>] = []
    private(set) var isClosed = false
    /// Whether the server has lost the peer; the connection between the two goes on.
    private(set) var isAbsent = false
    private var hasBeenConnected = false

    init(
        remote: SignalingPeer,
        isInitiator: Bool,
        configuration: RTCConfiguration,
        downloads: String?,
        hasDTX: Bool = false,
        signal: @escaping @Sendable (SignalingMessage, SignalingOrder) -> Void,
        report: @escaping @Sendable (CallEvent) -> Void
    ) throws {
        self.remote = remote
        isPolite = remote.isPolite
        self.isInitiator = isInitiator
        signaling = ConnectionSignaling(server: signal)
        self.report = report
        self.downloads = downloads
        self.hasDTX = hasDTX
        self.configuration = configuration
        connection = try RTCPeerConnection(configuration: configuration)
    }

    /// Adds the tracks and, on the side that calls, opens the chat: the offer follows by itself.
    func start(tracks: [MediaStreamTrack]) async throws {
        let events = connection.events
        tasks.append(
            Task { [weak self] in
                for await event in events { await self?.handle(event) }
            }
        )
        for track in tracks { try connection.addTrack(track, streamIDs: ["rtc-peer"]) }
        if isInitiator {
            attachChat(try connection.createDataChannel("chat"))
            // Asks for both kinds even if this side has only one to send.
            for kind in [MediaKind.audio, .video] where !tracks.contains(where: { $0.kind == kind }) {
                try connection.addTransceiver(kind, options: .init(direction: .recvonly))
            }
        }
        if hasDTX { for sender in connection.senders { await sender.setDiscontinuousTransmission(true) } }
    }

    /// Sends another track in the place of one that has ended.
    func replace(_ old: MediaStreamTrack, with new: MediaStreamTrack) async {
        for sender in connection.senders where sender.track === old {
            do {
                try await sender.replaceTrack(new)
            } catch {
                report(.problem(remote, "\(error)"))
            }
        }
    }

    // MARK: Signalling

    /// Takes what came through the server.
    func receive(_ message: SignalingMessage, _ order: SignalingOrder?) async {
        guard !isClosed else { return }
        signaling.receive(message, order)
        await deliver()
    }

    /// Does what the peer has said and not been done yet, whichever road it came along.
    private func deliver() async {
        guard !isDelivering else { return }
        isDelivering = true
        defer { isDelivering = false }
        while !isClosed, let message = signaling.next() { await take(message) }
        openSignalingChannel()
    }

    private func take(_ message: SignalingMessage) async {
        do {
            switch message {
            case .offer(let sdp): try await receive(RTCSessionDescription(type: .offer, sdp: sdp))
            case .answer(let sdp): try await receive(RTCSessionDescription(type: .answer, sdp: sdp))
            case .candidate(let candidate): await receive(candidate)
            case .bye: break  // the call handles it
            case .pake: break  // a call needs no code
            }
        } catch {
            report(.problem(remote, "\(error)"))
        }
    }

    /// The server has lost the peer.
    ///
    /// - Returns: whether the connection goes on without it.
    func becomeAbsent() -> Bool {
        let state = connection.connectionState
        // One that restarts ICE is connecting, too.
        isAbsent = hasBeenConnected && state != .failed && state != .closed
        return isAbsent
    }

    /// The peer is in the room again, or this side is: says again what may have been lost meanwhile.
    ///
    /// - Returns: false if the connection is of no use any more.
    func resume() -> Bool {
        let state = connection.connectionState
        guard !isClosed, state != .failed, state != .closed else { return false }
        isAbsent = false
        let isRepeated = signaling.isOrdered && signaling.hasUnacknowledged
        if isRepeated { signaling.serverForgot() }
        if connection.signalingState == .haveLocalOffer, let offer = connection.localDescription {
            if !isRepeated { signaling.send(.offer(sdp: offer.sdp)) }
        } else if connection.connectionState != .connected {
            connection.restartIce()
        }
        return true
    }

    /// Uses these servers when another way is looked for.
    func use(_ servers: [RTCIceServer]) {
        configuration.iceServers = servers
        try? connection.setConfiguration(configuration)
    }

    /// Whether an offer is for another connection than this one: the peer has begun anew.
    func isForeign(offer sdp: String) -> Bool {
        guard let known = connection.remoteDescription else { return false }
        return SessionOrigin(known.sdp) != SessionOrigin(sdp)
    }

    private func receive(_ description: RTCSessionDescription) async throws {
        let isReady = !isMakingOffer && (connection.signalingState == .stable || isSettingRemoteAnswer)
        isIgnoringOffer = !isPolite && description.type == .offer && !isReady
        if isIgnoringOffer { return }
        isSettingRemoteAnswer = description.type == .answer
        defer { isSettingRemoteAnswer = false }
        try await connection.setRemoteDescription(description)
        isSettingRemoteAnswer = false
        guard description.type == .offer else { return }
        heldCandidates = []
        defer {
            for candidate in heldCandidates ?? [] { signaling.send(candidate) }
            heldCandidates = nil
        }
        isAnswering = true
        do {
            try await connection.setLocalDescription()
            if let answer = connection.localDescription { signaling.send(.answer(sdp: answer.sdp)) }
        } catch {
            await endAnswering()
            throw error
        }
        await endAnswering()
    }

    private func endAnswering() async {
        isAnswering = false
        guard mustNegotiate else { return }
        mustNegotiate = false
        await negotiate()
    }

    private func signalCandidate(_ candidate: RTCIceCandidate?) {
        let message = SignalingMessage.candidate(of: candidate)
        if heldCandidates == nil { signaling.send(message) } else { heldCandidates?.append(message) }
    }

    private func receive(_ candidate: SignalingCandidate?) async {
        do {
            try await connection.addIceCandidate(candidate.map(RTCIceCandidate.init))
        } catch {
            if !isIgnoringOffer { report(.problem(remote, "\(error)")) }
        }
    }

    private func negotiate() async {
        // The newcomer makes the first offer; tracks of this side go into the answer.
        guard isInitiator || connection.remoteDescription != nil else { return }
        // An offer made now would take the answer's place before it was sent.
        guard !isAnswering else { return mustNegotiate = true }
        isMakingOffer = true
        defer { isMakingOffer = false }
        do {
            try await connection.setLocalDescription()
            if let offer = connection.localDescription, offer.type == .offer {
                signaling.send(.offer(sdp: offer.sdp))
            }
        } catch {
            report(.problem(remote, "\(error)"))
        }
    }

    // MARK: The signalling channel

    /// The side that made the first offer opens it, once it knows that the other one numbers its messages.
    private func openSignalingChannel() {
        guard isInitiator, !isClosed, signaling.needsChannel else { return }
        do {
            attachSignaling(try signaling.makeChannel(connection))
        } catch {
            report(.problem(remote, "\(error)"))
        }
    }

    private func attachSignaling(_ channel: RTCDataChannel) {
        tasks.append(
            Task { [weak self] in await ConnectionSignaling.watch(channel) { await self?.handle($0) } }
        )
    }

    private func handle(_ event: ConnectionSignaling.ChannelEvent) async {
        do {
            try signaling.handle(event)
        } catch {
            report(.problem(remote, error.message))
        }
        await deliver()
    }

    // MARK: Connection

    private func handle(_ event: RTCPeerConnectionEvent) async {
        switch event {
        case .negotiationNeeded: await negotiate()
        case .iceCandidate(let candidate):
            signalCandidate(candidate)
            if hasBeenConnected, candidate != nil { report(.lateCandidate(remote)) }
        case .connectionStateChange(let state):
            if state == .connected { hasBeenConnected = true }
            report(.stateChanged(remote, state))
        case .track(let event): report(.track(remote, event, feed: report))
        case .iceConnectionStateChange(let state):
            if state == .connected || state == .completed { report(.phase(remote, .iceConnected)) }
        case .dataChannel(let channel): attach(channel)
        case .error(let error): report(.problem(remote, error.message))
        case .iceCandidateError(let error): report(.problem(remote, error.message))
        case .remoteClosed: report(.remoteClosed(remote))
        case .signalingStateChange, .iceGatheringStateChange: break
        }
    }

    // MARK: Chat and files

    func say(_ text: String) {
        guard let chat else { return report(.problem(remote, "no chat is open with \(remote.name)")) }
        do {
            try chat.send(text)
        } catch {
            report(.problem(remote, error.message))
        }
    }

    func send(file path: String) {
        let remote = remote
        let report = report
        let connection = connection
        tasks.append(
            Task {
                do {
                    let sent = try await CallFileSender(path: path).send(over: connection)
                    report(.fileSent(remote, sent))
                } catch {
                    report(.problem(remote, "\(path): \(error)"))
                }
            }
        )
    }

    private func attach(_ channel: RTCDataChannel) {
        if ConnectionSignaling.isChannel(channel) {
            return signaling.adopt(channel) ? attachSignaling(channel) : channel.close()
        }
        if channel.label == "chat" { return attachChat(channel) }
        guard channel.protocol == FileConvention.protocolName else { return }
        guard let downloads else {
            report(.problem(remote, "\(remote.name) offers a file; start with --downloads DIR to take files"))
            return channel.close()
        }
        let remote = remote
        let report = report
        tasks.append(
            Task {
                do {
                    let received = try await CallFileReceiver(channel: channel, directory: downloads).receive()
                    report(.fileReceived(remote, received))
                } catch {
                    channel.close()
                    report(.problem(remote, "file not received: \(error)"))
                }
            }
        )
    }

    private func attachChat(_ channel: RTCDataChannel) {
        chat = channel
        let remote = remote
        let report = report
        tasks.append(
            Task {
                for await message in channel.messages {
                    guard case .text(let text) = message else { continue }
                    // What follows waits in the channel, which stops its sender, until this is shown.
                    for await _ in ChatReceipt.shown({ report(.chat(remote, text, $0)) }) {}
                }
            }
        )
    }

    // MARK: End

    /// Ends the connection; returns when the other side has been told, since the program may end with that.
    func close() async {
        guard !isClosed else { return }
        isClosed = true
        connection.close()
        for task in tasks { task.cancel() }
        tasks = []
        await connection.closed()
    }
}
