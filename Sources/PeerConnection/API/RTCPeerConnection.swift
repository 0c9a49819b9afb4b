internal import NIOCore
internal import NIOPosix
internal import PeerEngine

/// A connection to one peer: media tracks and data channels, encrypted, over the best path that ICE finds.
///
/// Spelled and behaving as the W3C's object of the same name. Usable from any thread; each connection lives on one
/// event loop. What it shows (states, transceivers) changes, and its events come, on one executor, in order: by
/// default the event loop, or ``RTCConfiguration/executor``. Release of the last reference closes it.
///
/// webrtc-pc §4.4
public final class RTCPeerConnection: Sendable {
    let driver: PeerDriver
    let view: ConnectionView

    /// A connection that does nothing yet.
    ///
    /// - Throws: `TypeError` for a configuration out of range, `OperationError` if OpenSSL cannot be set up.
    public init(configuration: RTCConfiguration = .init()) throws(RTCError) {
        guard (1_024...(1 << 30)).contains(configuration.maxMessageSize) else {
            throw RTCError(.typeError, "maxMessageSize \(configuration.maxMessageSize) is not in 1024 ... 1073741824")
        }
        if let own = configuration.eventLoop, let shared = configuration.sharedUDPPort?.core.eventLoop, own !== shared {
            throw RTCError(.typeError, "eventLoop is not that of sharedUDPPort: leave it nil, or make the port with it")
        }
        view = ConnectionView(executor: configuration.executor)
        driver = try PeerDriver(
            configuration: configuration,
            eventLoop: configuration.sharedUDPPort?.core.eventLoop ?? configuration.eventLoop
                ?? MultiThreadedEventLoopGroup.singleton.next(),
            view: view
        )
    }

    deinit {
        if !view.current.isClosed { close() }
    }

    // MARK: States

    /// Where offer and answer stand.
    public var signalingState: RTCSignalingState { view.current.signalingState }
    /// Where the gathering of candidates stands.
    public var iceGatheringState: RTCIceGatheringState { view.current.iceGatheringState }
    /// The state of ICE.
    public var iceConnectionState: RTCIceConnectionState { view.current.iceConnectionState }
    /// The state of ICE and DTLS together.
    public var connectionState: RTCPeerConnectionState { view.current.connectionState }
    /// The local description with the candidates gathered so far: the pending one, else the current one.
    public var localDescription: RTCSessionDescription? {
        let descriptions = view.current.descriptions
        return (descriptions.pendingLocal ?? descriptions.currentLocal).map(RTCSessionDescription.init)
    }
    /// The remote description: the pending one, else the current one.
    public var remoteDescription: RTCSessionDescription? {
        let descriptions = view.current.descriptions
        return (descriptions.pendingRemote ?? descriptions.currentRemote).map(RTCSessionDescription.init)
    }
    /// The local description of the last finished negotiation.
    public var currentLocalDescription: RTCSessionDescription? {
        view.current.descriptions.currentLocal.map(RTCSessionDescription.init)
    }
    /// The local description that is being negotiated.
    public var pendingLocalDescription: RTCSessionDescription? {
        view.current.descriptions.pendingLocal.map(RTCSessionDescription.init)
    }
    /// The remote description of the last finished negotiation.
    public var currentRemoteDescription: RTCSessionDescription? {
        view.current.descriptions.currentRemote.map(RTCSessionDescription.init)
    }
    /// The remote description that is being negotiated.
    public var pendingRemoteDescription: RTCSessionDescription? {
        view.current.descriptions.pendingRemote.map(RTCSessionDescription.init)
    }
    /// Every transceiver, in the order of creation; stopped ones leave once that is negotiated.
    public var transceivers: [RTCRtpTransceiver] { view.current.transceivers }
    /// The senders of all transceivers.
    public var senders: [RTCRtpSender] { transceivers.map(\.sender) }
    /// The receivers of all transceivers.
    public var receivers: [RTCRtpReceiver] { transceivers.map(\.receiver) }

    /// Events from now on; a new subscription for each call, ended by `close()`.
    public var events: EventStream<RTCPeerConnectionEvent> { view.broadcaster.subscribe() }

    /// Calls `handler` for each event, on the connection's executor, before the streams get it.
    public func setEventHandler(_ handler: (@Sendable (RTCPeerConnectionEvent) -> Void)?) { view.setHandler(handler) }

    // MARK: Negotiation

    /// A description that offers what was added so far; changes nothing. webrtc-pc §4.4.2 (createOffer)
    ///
    /// - Throws: `InvalidStateError` when closed.
    public func createOffer(options: RTCOfferOptions = .init()) async throws(RTCError) -> RTCSessionDescription {
        try await perform { driver throws(RTCError) in try driver.createOffer(options: options) }
    }

    /// A description that answers the remote offer; changes nothing. webrtc-pc §4.4.2 (createAnswer)
    ///
    /// - Throws: `InvalidStateError` when closed or without a remote offer.
    public func createAnswer() async throws(RTCError) -> RTCSessionDescription {
        try await perform { driver throws(RTCError) in try driver.createAnswer() }
    }

    /// Makes a description the local one; nil makes the offer or answer that fits the state.
    ///
    /// Gathering starts.
    ///
    /// - Throws: `InvalidStateError` if the type does not fit the state, `InvalidModificationError` as
    ///   `OperationError` if the text was altered in what this side cannot do.
    public func setLocalDescription(_ description: RTCSessionDescription? = nil) async throws(RTCError) {
        try await perform { driver throws(RTCError) in try driver.setLocalDescription(description) }
    }

    /// Makes a description the remote one.
    ///
    /// An offer that comes while a local offer is open takes that one back
    /// (perfect negotiation, webrtc-pc §10.7).
    ///
    /// - Throws: `InvalidStateError` if the type does not fit the state; `OperationError` with `sdpSyntaxError` and the
    ///   line if the text cannot be read; `InvalidAccessError` if something needed is missing.
    public func setRemoteDescription(_ description: RTCSessionDescription) async throws(RTCError) {
        try await perform { driver throws(RTCError) in try driver.setRemoteDescription(description) }
    }

    /// Takes a candidate of the peer; nil or an empty one says that there are no more.
    ///
    /// - Throws: `InvalidStateError` before a remote description is set, `OperationError` if the candidate cannot be
    ///   read or names no m-section.
    public func addIceCandidate(_ candidate: RTCIceCandidate?) async throws(RTCError) {
        try await perform { driver throws(RTCError) in try driver.addIceCandidate(candidate) }
    }

    /// Returns when this generation's candidates are all in ``localDescription``, for signalling without trickle; at
    /// once if the connection is closed.
    ///
    /// Call it after ``setLocalDescription(_:)``.
    public func waitUntilGathered() async {
        let events = events
        var isGathered: Bool { iceGatheringState == .complete || view.current.isClosed }
        if isGathered { return }
        for await _ in events where isGathered { return }
    }

    /// Uses other servers, or another policy, from the next gathering on: that of an ICE restart or of a new address.
    /// webrtc-pc §4.4.1.6
    ///
    /// Of the configuration `iceServers`, `iceServerAuthorities` and `iceTransportPolicy` count; the rest stays as it was
    /// made.
    ///
    /// - Throws: `InvalidStateError` when closed.
    public func setConfiguration(_ configuration: RTCConfiguration) throws(RTCError) {
        guard !view.current.isClosed else { throw .closed }
        enqueue { $0.setConfiguration(configuration) }
    }

    /// Lets the next offer restart ICE. webrtc-pc §4.4.2 (restartIce)
    public func restartIce() {
        enqueue { $0.restartIce() }
    }

    // MARK: Media and data

    /// Sends a track: on a transceiver that is free for its kind, or on a new one. webrtc-pc §5.1
    ///
    /// - Throws: `InvalidStateError` when closed, `InvalidAccessError` if the track is being sent already.
    @discardableResult
    public func addTrack(_ track: MediaStreamTrack, streamIDs: [String] = []) throws(RTCError) -> RTCRtpSender {
        guard !view.current.isClosed else { throw .closed }
        guard !senders.contains(where: { $0.track === track }) else {
            throw RTCError(.invalidAccessError, "the track \(track.id) is being sent already")
        }
        let reusable = transceivers.first {
            $0.kind == track.kind && $0.sender.track == nil && !$0.sender.wasUsed && $0.direction != .stopped
        }
        if let reusable {
            reusable.sender.setTrackNow(track, streamIDs: streamIDs)
            try reusable.setDirection(
                reusable.direction == .recvonly
                    ? .sendrecv : reusable.direction == .inactive ? .sendonly : reusable.direction
            )
            enqueue { $0.trackChanged(reusable) }
            return reusable.sender
        }
        return try addTransceiver(track, options: .init(streamIDs: streamIDs), addedByTrack: true).sender
    }

    /// Stops sending a sender's track; the m-section stays. webrtc-pc §5.1
    public func removeTrack(_ sender: RTCRtpSender) throws(RTCError) {
        guard !view.current.isClosed else { throw .closed }
        guard let transceiver = transceivers.first(where: { $0.sender === sender }) else {
            throw RTCError(.invalidAccessError, "the sender is of another connection")
        }
        sender.setTrackNow(nil, streamIDs: [])
        switch transceiver.direction {
        case .sendrecv: try transceiver.setDirection(.recvonly)
        case .sendonly: try transceiver.setDirection(.inactive)
        case .recvonly, .inactive, .stopped: break
        }
        enqueue { $0.trackChanged(transceiver) }
    }

    /// A new transceiver without a track: receives, and can be given a track to send later.
    @discardableResult
    public func addTransceiver(
        _ kind: MediaKind,
        options: RTCRtpTransceiverInit = .init()
    ) throws(RTCError) -> RTCRtpTransceiver {
        try addTransceiver(kind: kind, track: nil, options: options, addedByTrack: false)
    }

    /// A new transceiver that sends a track.
    @discardableResult
    public func addTransceiver(
        _ track: MediaStreamTrack,
        options: RTCRtpTransceiverInit = .init()
    ) throws(RTCError) -> RTCRtpTransceiver {
        try addTransceiver(track, options: options, addedByTrack: false)
    }

    /// A new data channel; open once the connection is and, unless negotiated, the peer knows of it.
    ///
    /// - Throws: `InvalidStateError` when closed, `TypeError` for options that exclude each other or are out of range.
    public func createDataChannel(
        _ label: String,
        options: RTCDataChannelInit = .init()
    ) throws(RTCError) -> RTCDataChannel {
        guard !view.current.isClosed else { throw .closed }
        guard label.utf8.count <= 65_535, options.protocol.utf8.count <= 65_535 else {
            throw RTCError(.typeError, "label and protocol take at most 65535 bytes each")
        }
        guard options.maxRetransmits == nil || options.maxPacketLifeTime == nil else {
            throw RTCError(.typeError, "maxRetransmits and maxPacketLifeTime exclude each other")
        }
        var options = options
        if options.negotiated {
            guard let id = options.id, id <= 65_534 else {
                throw RTCError(.typeError, "a negotiated channel needs an id in 0 ... 65534")
            }
        } else {
            options.id = nil
        }
        let channel = RTCDataChannel(key: view.makeKey(), label: label, options: options, link: driver)
        enqueue { $0.open(channel) }
        return channel
    }

    /// What the connection has counted so far.
    public func getStats() async -> RTCStatsReport {
        await driver.statistics()
    }

    // MARK: End

    /// Ends the connection at once: the peer is told, tracks and channels end.
    ///
    /// Idempotent. webrtc-pc §4.4.2 (close)
    public func close() {
        view.markClosed()
        enqueue { $0.close() }
    }

    /// Returns when the connection's sockets are closed.
    public func closed() async {
        await driver.waitUntilClosed()
    }

    // MARK: Private

    private func addTransceiver(
        _ track: MediaStreamTrack,
        options: RTCRtpTransceiverInit,
        addedByTrack: Bool
    ) throws(RTCError) -> RTCRtpTransceiver {
        try addTransceiver(kind: track.kind, track: track, options: options, addedByTrack: addedByTrack)
    }

    private func addTransceiver(
        kind: MediaKind,
        track: MediaStreamTrack?,
        options: RTCRtpTransceiverInit,
        addedByTrack: Bool
    ) throws(RTCError) -> RTCRtpTransceiver {
        guard !view.current.isClosed else { throw .closed }
        let transceiver = RTCRtpTransceiver(
            kind: kind,
            direction: options.direction,
            track: track,
            streamIDs: options.streamIDs,
            driver: driver
        )
        transceiver.receivedEncodings = options.receivedEncodings
        view.changeNow { $0.transceivers.append(transceiver) }
        enqueue { $0.add(transceiver, addedByTrack: addedByTrack) }
        return transceiver
    }

    /// Runs a command on the event loop, after all that were given before.
    private func enqueue(_ command: @escaping @Sendable (isolated PeerDriver) -> Void) {
        let driver = driver
        driver.eventLoop.execute { driver.assumeIsolated { command($0) } }
    }

    /// Runs an operation on the event loop and returns when the application's view shows its effect.
    private func perform<Value: Sendable>(
        _ operation: @escaping @Sendable (isolated PeerDriver) throws(RTCError) -> Value
    ) async throws(RTCError) -> Value {
        guard !view.current.isClosed else { throw .closed }
        let driver = driver
        let view = view
        let result = await withCheckedContinuation {
            (continuation: CheckedContinuation<Result<Value, RTCError>, Never>) in
            driver.eventLoop.execute {
                driver.assumeIsolated { driver in
                    let result: Result<Value, RTCError>
                    do throws(RTCError) {
                        guard !driver.isClosed else { throw .closed }
                        result = .success(try operation(driver))
                    } catch {
                        result = .failure(error)
                    }
                    driver.drain()
                    view.delivery.deliver { continuation.resume(returning: result) }
                }
            }
        }
        return try result.get()
    }
}

/// Options of an offer. webrtc-pc §4.2.4
public struct RTCOfferOptions: Hashable, Sendable {
    /// New ICE credentials: all paths are looked for anew.
    public var iceRestart: Bool

    /// An offer without a restart, unless asked for.
    public init(iceRestart: Bool = false) { self.iceRestart = iceRestart }
}
