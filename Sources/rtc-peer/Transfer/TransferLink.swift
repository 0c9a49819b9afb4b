import PeerConnection
import Signaling

/// One connection of a transfer with its data channel.
actor TransferLink {
    nonisolated let connection: RTCPeerConnection
    private let signal: @Sendable (SignalingMessage) -> Void
    private let channel: (@Sendable (RTCDataChannel) -> Void)?
    private let opened: @Sendable (TransferLink, RTCDataChannel) async -> Void
    private let lost: @Sendable (TransferLink) async -> Void
    /// Candidates that wait until the description which they belong to has gone; nil once it has.
    private var heldCandidates: [SignalingMessage]? = []
    private var tasks: [Task<Void, Never>] = []
    private var hasTold = false
    private var isOfferer = false
    private var isClosed = false

    /// How long a connection may take, from the description to the open channel.
    private static let patience = Duration.seconds(30)

    init(
        configuration: RTCConfiguration,
        signal: @escaping @Sendable (SignalingMessage) -> Void,
        channel: (@Sendable (RTCDataChannel) -> Void)?,
        opened: @escaping @Sendable (TransferLink, RTCDataChannel) async -> Void,
        lost: @escaping @Sendable (TransferLink) async -> Void
    ) throws {
        connection = try RTCPeerConnection(configuration: configuration)
        self.signal = signal
        self.channel = channel
        self.opened = opened
        self.lost = lost
    }

    /// Ends without an error if the link is closed meanwhile, as does `answer(_:)`.
    func offer() async throws {
        guard !isClosed else { return }
        isOfferer = true
        start()
        var options = RTCDataChannelInit()
        options.protocol = TransferMeeting.channelProtocol
        attach(try connection.createDataChannel(TransferMeeting.channelLabel, options: options))
        try await describe()
        if !isClosed, let offer = connection.localDescription { signal(.offer(sdp: offer.sdp)) }
        releaseCandidates()
    }

    func answer(_ sdp: String) async throws {
        guard !isClosed else { return }
        start()
        try await answerAgain(sdp)
    }

    /// Whether an offer is of this connection: an ICE restart, not another connection.
    func isRestart(_ sdp: String) -> Bool {
        guard !isClosed, let known = connection.remoteDescription else { return false }
        return SessionOrigin(known.sdp) == SessionOrigin(sdp)
    }

    func answerAgain(_ sdp: String) async throws {
        guard !isClosed else { return }
        heldCandidates = heldCandidates ?? []
        try await describe(RTCSessionDescription(type: .offer, sdp: sdp))
        if !isClosed, let answer = connection.localDescription { signal(.answer(sdp: answer.sdp)) }
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
        if !isClosed, let offer = connection.localDescription { signal(.offer(sdp: offer.sdp)) }
        releaseCandidates()
    }

    func take(answer sdp: String) async throws {
        guard connection.signalingState == .haveLocalOffer else { return }
        try await connection.setRemoteDescription(RTCSessionDescription(type: .answer, sdp: sdp))
    }

    func take(_ candidate: SignalingCandidate?) async {
        // Those of an earlier connection are refused, and rightly.
        try? await connection.addIceCandidate(candidate.map(RTCIceCandidate.init))
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
        if heldCandidates == nil { signal(message) } else { heldCandidates?.append(message) }
    }

    private func releaseCandidates() {
        for message in isClosed ? [] : heldCandidates ?? [] { signal(message) }
        heldCandidates = nil
    }
}
