import PeerConnection
import Signaling

/// One connection of a transfer with its data channel.
actor TransferLink {
    nonisolated let connection: RTCPeerConnection
    private var signaling: ConnectionSignaling
    /// Whether what the other side has said is being done, one thing after the other.
    private var isDelivering = false
    /// Of the only certificate that the other side may have.
    private let fingerprint: [UInt8]
    private let problem: @Sendable (String) -> Void
    private let channel: (@Sendable (RTCDataChannel) -> Void)?
    private let opened: @Sendable (TransferLink, RTCDataChannel) async -> Void
    private let lost: @Sendable (TransferLink) async -> Void
    /// Candidates that wait until the description which they belong to has gone; nil once it has.
    private var heldCandidates: [SignalingMessage]? = []
    private var tasks: [Task<Void, Never>] = []
    private var hasStarted = false
    private var hasTold = false
    private var isOfferer = false
    private var isClosed = false

    /// How long a connection may take, from the description to the open channel.
    private static let patience = Duration.seconds(30)

    init(
        configuration: RTCConfiguration,
        fingerprint: [UInt8],
        signal: @escaping @Sendable (SignalingMessage, SignalingOrder) -> Void,
        problem: @escaping @Sendable (String) -> Void,
        channel: (@Sendable (RTCDataChannel) -> Void)?,
        opened: @escaping @Sendable (TransferLink, RTCDataChannel) async -> Void,
        lost: @escaping @Sendable (TransferLink) async -> Void
    ) throws {
        connection = try RTCPeerConnection(configuration: configuration)
        signaling = ConnectionSignaling(server: signal)
        self.fingerprint = fingerprint
        self.problem = problem
        self.channel = channel
        self.opened = opened
        self.lost = lost
    }

    /// Ends without an error if the link is closed meanwhile.
    func offer() async throws {
        guard !isClosed else { return }
        isOfferer = true
        start()
        var options = RTCDataChannelInit()
        options.protocol = TransferMeeting.channelProtocol
        attach(try connection.createDataChannel(TransferMeeting.channelLabel, options: options))
        try await describe()
        if !isClosed, let offer = connection.localDescription { signaling.send(.offer(sdp: offer.sdp)) }
        releaseCandidates()
    }

    /// Takes what came through the server: the first offer, too, on the side that answers.
    func receive(_ message: SignalingMessage, _ order: SignalingOrder?) async {
        guard !isClosed else { return }
        signaling.receive(message, order)
        await deliver()
    }

    /// The server has forgotten what was said, or the other side has: it is said again.
    func repeatWords() {
        if signaling.isOrdered, !isClosed { signaling.serverForgot() }
    }

    /// Whether an offer is of this connection: an ICE restart, not another connection.
    func isRestart(_ sdp: String) -> Bool {
        guard !isClosed, let known = connection.remoteDescription else { return false }
        return SessionOrigin(known.sdp) == SessionOrigin(sdp)
    }

    /// Does what the other side has said and not been done yet, whichever road it came along.
    private func deliver() async {
        guard !isDelivering else { return }
        isDelivering = true
        defer { isDelivering = false }
        while !isClosed, let message = signaling.next() {
            do { try await take(message) } catch { problem("\(error)") }
        }
        guard isOfferer, !isClosed, signaling.needsChannel else { return }
        do { attachSignaling(try signaling.makeChannel(connection)) } catch { problem("\(error)") }
    }

    private func take(_ message: SignalingMessage) async throws {
        switch message {
        case .offer(let sdp):
            guard !isOfferer else { return }
            guard SessionFingerprint.isOnly(fingerprint, in: sdp) else { return problem(Self.otherCertificate) }
            do { try await answer(sdp) } catch { problem("cannot connect: \(error)") }
        case .answer(let sdp):
            guard connection.signalingState == .haveLocalOffer else { return }
            guard SessionFingerprint.isOnly(fingerprint, in: sdp) else { return problem(Self.otherCertificate) }
            try await connection.setRemoteDescription(RTCSessionDescription(type: .answer, sdp: sdp))
        case .candidate(let candidate):
            // Those of an earlier connection are refused, and rightly.
            try? await connection.addIceCandidate(candidate.map(RTCIceCandidate.init))
        case .pake, .bye: break  // the meeting's
        }
    }

    /// Said of a description that is not the other side's.
    static let otherCertificate =
        "A description with another certificate was refused: somebody is between the two."

    private func answer(_ sdp: String) async throws {
        if !hasStarted { start() }
        heldCandidates = heldCandidates ?? []
        try await describe(RTCSessionDescription(type: .offer, sdp: sdp))
        if !isClosed, let answer = connection.localDescription { signaling.send(.answer(sdp: answer.sdp)) }
        releaseCandidates()
    }

    /// Offers new credentials after the path was lost; the side that answers waits for that.
    private func restart() async {
        guard isOfferer, !isClosed, connection.signalingState == .stable, connection.remoteDescription != nil else {
            return
        }
        heldCandidates = heldCandidates ?? []
        // A connection that cannot be restarted is lost, and another one made.
        do { try await describe() } catch { return await tellLost() }
        if !isClosed, let offer = connection.localDescription { signaling.send(.offer(sdp: offer.sdp)) }
        releaseCandidates()
    }

    /// Ends the connection; returns when the other side has been told, since the program may end with that.
    func close() async {
        isClosed = true
        hasTold = true
        connection.close()
        for task in tasks { task.cancel() }
        tasks = []
        await connection.closed()
    }

    private func describe(_ remote: RTCSessionDescription? = nil) async throws {
        do {
            if let remote { try await connection.setRemoteDescription(remote) }
            try await connection.setLocalDescription()
        } catch {
            if !isClosed { throw error }
        }
    }

    private func start() {
        hasStarted = true
        let events = connection.events
        tasks.append(
            Task { [weak self] in
                for await event in events { await self?.handle(event) }
            }
        )
        tasks.append(
            Task { [weak self] in
                try? await Task.sleep(for: Self.patience)
                guard !Task.isCancelled else { return }
                await self?.giveUpUnlessConnected()
            }
        )
    }

    private func handle(_ event: RTCPeerConnectionEvent) async {
        switch event {
        case .iceCandidate(let candidate): send(candidate)
        case .negotiationNeeded: await restart()
        case .connectionStateChange(.failed), .remoteClosed: await tellLost()
        case .dataChannel(let channel):
            if channel.protocol == TransferMeeting.channelProtocol { return attach(channel) }
            if ConnectionSignaling.isChannel(channel) {
                return signaling.adopt(channel) ? attachSignaling(channel) : channel.close()
            }
            if let take = self.channel { take(channel) } else { channel.close() }
        default: break
        }
    }

    private func attach(_ channel: RTCDataChannel) {
        tasks.append(
            Task { [weak self] in
                do {
                    try await channel.waitUntilOpen()
                } catch {
                    return
                }
                guard let self else { return }
                await self.opened(self, channel)
                // A channel that ends, ends the connection: there is no other.
                for await event in channel.events where event == .close { break }
                await self.tellLost()
            }
        )
    }

    private func attachSignaling(_ channel: RTCDataChannel) {
        tasks.append(
            Task { [weak self] in await ConnectionSignaling.watch(channel) { await self?.handle($0) } }
        )
    }

    private func handle(_ event: ConnectionSignaling.ChannelEvent) async {
        do { try signaling.handle(event) } catch { problem(error.message) }
        await deliver()
    }

    private func giveUpUnlessConnected() async {
        if connection.connectionState != .connected { await tellLost() }
    }

    private func tellLost() async {
        guard !hasTold else { return }
        hasTold = true
        await lost(self)
    }

    private func send(_ candidate: RTCIceCandidate?) {
        guard !isClosed else { return }
        let message = SignalingMessage.candidate(of: candidate)
        if heldCandidates == nil { signaling.send(message) } else { heldCandidates?.append(message) }
    }

    private func releaseCandidates() {
        for message in isClosed ? [] : heldCandidates ?? [] { signaling.send(message) }
        heldCandidates = nil
    }
}
