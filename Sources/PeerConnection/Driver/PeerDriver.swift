internal import CLinux
internal import Capture
internal import DTLS
internal import Glibc
internal import ICE
internal import Locking
internal import Logging
internal import Media
internal import NIOCore
internal import NIOPosix
internal import PeerEngine
internal import RTP
internal import SCTP
internal import SansIO
internal import UDPSockets

/// Owns the engine, the sockets and the timer of one peer connection. Isolated to its event loop.
actor PeerDriver {
    nonisolated let eventLoop: any EventLoop
    nonisolated let view: ConnectionView
    /// Messages from `RTCDataChannel.send`, waiting for the event loop.
    nonisolated let outbox: Mutex<Outbox>
    nonisolated let unread = UnreadAccount()
    private(set) var configuration: RTCConfiguration
    let engine: PeerEngine
    let log = Logger(label: "PeerConnection.driver")

    private(set) var ports: [PeerSocket] = []
    /// The same ports by the number in their `PortID`.
    private var portTable: [PeerSocket?] = []
    /// This connection on the port that it shares with others.
    var sharedMember: PortDemultiplexer.Member?
    /// Streams to TURN servers, those being opened as well.
    var streams: [PortID: ServerStream] = [:]
    var tcp = TCPSockets()
    /// Data channels by the key of the API object and by the engine's handle.
    var channelsByKey: [Int: RTCDataChannel] = [:]
    var handlesByKey: [Int: DataChannelHandle] = [:]
    var channelsByHandle: [DataChannelHandle: RTCDataChannel] = [:]
    /// Channels whose unread messages are above their limit.
    var slowChannels: Set<Int> = []
    /// Whether the unread messages of all channels are above their limit.
    var isUnreadFull = false
    /// Transceivers by the negotiator's identity.
    var transceivers: [TransceiverID: RTCRtpTransceiver] = [:]
    var sendPipelines: [TransceiverID: any SendPipeline] = [:]
    /// What was agreed on for each sender of pictures: which of its codecs is sent follows from the track.
    var videoAgreements: [TransceiverID: RTPSendParameters] = [:]
    /// Tracks whose sources gave up encoding for others who need their pictures, by the sender's transceiver.
    var lostEncodings: [TransceiverID: ObjectIdentifier] = [:]
    /// Where the peer would rather have silence left out.
    var peersWantingDTX: Set<TransceiverID> = []
    var receivePipelines: [String: any ReceivePipeline] = [:]
    var gathering = GatheringProgress()
    var isNegotiationNeeded = false
    var isNegotiationCheckQueued = false
    var lastSignalingState = RTCSignalingState.stable
    /// Candidates' names that are being looked up.
    var pendingNames = 0
    /// What is told in place of host addresses, if they are hidden.
    var hiddenAddresses = HiddenAddresses()
    var transportCounts = RTCStatsReport.Transport()
    var isClosed = false
    var networkListener: Int?
    /// Sockets whose address the machine has no more, or not for now.
    var vanishedPorts: Set<PortID> = []
    /// Addresses with a socket, or with one being bound.
    var boundAddresses: Set<IPAddress> = []
    var hasBeenConnected = false
    var restartTimer: Scheduled<Void>?
    private var timer: NIOScheduledCallback?
    private var timerInstant: Instant?
    private var openPortCount = 0
    private var closedWaiters: [CheckedContinuation<Void, Never>] = []
    private(set) var isDraining = false

    struct Outbox {
        var messages: [OutgoingMessage] = []
        var isScheduled = false
    }

    /// How far the gathering of the present generation is.
    struct GatheringProgress {
        var hasStarted = false
        /// The local ufrag whose candidates are being gathered.
        var generation = ""
        /// The last generations whose gathering came to its end: a rollback may bring one back.
        var completeGenerations: [String] = []
        /// Local preferences of the sockets.
        var preferences: [PortID: UInt16] = [:]
        /// Sockets being bound and names being looked up.
        var pendingCount = 0
        /// The servers that are asked by UDP.
        var servers: [TransportAddress: [ICEServerURI]] = [:]
        /// From how many sockets each server is asked at most.
        var socketsPerServer = 1
        var nextPortID = 0
    }

    /// When a full socket buffer is tried again.
    private static let retryDelay = Duration.microseconds(150)
    /// After how many bytes a channel hears that they were handed over.
    static let handOverByteCount = 65_536

    nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe eventLoop.executor.asUnownedSerialExecutor() }

    /// Takes what may change in a connection.
    func setConfiguration(_ new: RTCConfiguration) {
        configuration.iceServers = new.iceServers
        configuration.iceServerAuthorities = new.iceServerAuthorities
        configuration.iceTransportPolicy = new.iceTransportPolicy
    }

    init(configuration: RTCConfiguration, eventLoop: any EventLoop, view: ConnectionView) throws(RTCError) {
        self.configuration = configuration
        self.eventLoop = eventLoop
        self.view = view
        outbox = Mutex(Outbox())
        let certificate: DTLSCertificate
        if let own = configuration.certificate {
            certificate = own.certificate
        } else {
            certificate = try RTCCertificate.processWide().certificate
        }
        do {
            var parts = PeerEngine.Configuration(certificate: certificate, maxMessageSize: configuration.maxMessageSize)
            parts.ice.isLite = configuration.isICELite
            parts.prefersDTX = configuration.prefersDTX
            parts.ice.setTimeouts(
                disconnected: configuration.iceDisconnectedTimeout,
                failed: configuration.iceFailedTimeout
            )
            parts.clockOffsetNanoseconds = Self.clockOffset()
            parts.ice.tellsRedundantReflexive = configuration.hidesHostAddresses
            engine = try PeerEngine(configuration: parts, random: RandomSource())
        } catch {
            throw RTCError(.operationError, "cannot set up DTLS: \(error)", errorDetail: .dtlsFailure)
        }
    }

    /// The engine's time: NIO's monotonic clock.
    nonisolated static func now() -> Instant {
        Instant(nanoseconds: Int64(clamping: NIODeadline.now().uptimeNanoseconds))
    }

    /// From the monotonic clock to nanoseconds since 1900 (RFC 5905 §6).
    private static func clockOffset() -> Int64 {
        var wall = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &wall)
        let secondsFrom1900To1970 = 2_208_988_800
        return Int64(wall.tv_sec + secondsFrom1900To1970) * 1_000_000_000 + Int64(wall.tv_nsec) - now().nanoseconds
    }

    // MARK: Network

    /// Takes a read burst: one datagram, or several of equal length that the kernel joined (GRO).
    func receive(_ envelope: AddressedEnvelope<ByteBuffer>, on port: PortID) {
        guard let remote = TransportAddress(envelope.remoteAddress) else { return }
        let count = envelope.data.readableBytes
        receive(envelope.data, 0..<count, max(1, envelope.metadata?.segmentSize ?? count), from: remote, on: port)
    }

    /// Takes a part of a read burst, of `segment` bytes for each datagram but the last.
    func receive(
        _ data: ByteBuffer,
        _ range: Range<Int>,
        _ segment: Int,
        from remote: TransportAddress,
        on port: PortID
    ) {
        let now = Self.now()
        let bytes = data.readableBytesSpan
        var offset = range.lowerBound
        transportCounts.bytesReceived += range.count
        while offset < range.upperBound {
            let end = min(offset + segment, range.upperBound)
            transportCounts.packetsReceived += 1
            engine.receive(bytes.extracting(offset..<end), from: remote, on: port, at: now)
            offset = end
        }
    }

    /// Carries out what the engine wants: datagrams, events, the timer.
    ///
    /// Called after every input.
    func drain() {
        guard !isDraining else { return }
        isDraining = true
        defer { isDraining = false }
        let now = Self.now()
        // Handling an event may give the engine work: go on until there is none.
        var (rounds, hasObeyed) = (0, false)
        repeat {
            engine.flush(at: now)
            while let event = engine.nextEvent() { handle(event, at: now) }
            hasObeyed = !streams.isEmpty && obeyStreamCommands()
            rounds += 1
        } while (engine.hasEvents || hasObeyed) && rounds < 16
        let isBlocked = sendDatagrams(at: now)
        engine.prepareAhead(at: now)
        schedule(at: now, isBlocked: isBlocked)
    }

    /// - Returns: whether the kernel's buffer is full.
    private func sendDatagrams(at now: Instant) -> Bool {
        var isBlocked = false
        unsafe engine.drainTrains(at: now) { path, bytes, segmentByteCount in
            guard path.port.rawValue < portTable.count, let socket = portTable[path.port.rawValue] else {
                if let stream = streams[path.port] {
                    unsafe stream.send(bytes)
                    transportCounts.bytesSent += bytes.count
                    transportCounts.packetsSent += (bytes.count + segmentByteCount - 1) / max(1, segmentByteCount)
                } else if let connection = tcp.connections[path.port] {
                    unsafe connection.send(bytes, segmentByteCount: segmentByteCount)
                    transportCounts.bytesSent += bytes.count
                    transportCounts.packetsSent += (bytes.count + segmentByteCount - 1) / max(1, segmentByteCount)
                }
                return true
            }
            if case .shared(let core, let index, let member) = socket.kind {
                unsafe core.noteRequests(
                    bytes,
                    segmentByteCount: segmentByteCount,
                    to: path.remote,
                    on: index,
                    of: member
                )
            }
            switch unsafe socket.port.send(
                bytes,
                segmentByteCount: segmentByteCount,
                to: path.remote,
                fragmentation: path.fragmentation
            ) {
            case .sent:
                transportCounts.bytesSent += bytes.count
                transportCounts.packetsSent += (bytes.count + segmentByteCount - 1) / max(1, segmentByteCount)
                return true
            case .tryLater:
                isBlocked = true
                return false
            }
        }
        return isBlocked
    }

    private func schedule(at now: Instant, isBlocked: Bool) {
        var instant = engine.nextDeadline?.instant
        if isBlocked { instant = min(instant ?? now + Self.retryDelay, now + Self.retryDelay) }
        guard let instant else { return }
        // An earlier callback finds out that nothing is due and asks again; moving it each time would cost more.
        if let timerInstant, timerInstant <= instant { return }
        timer?.cancel()
        timerInstant = instant
        do {
            timer = try eventLoop.scheduleCallback(
                at: .uptimeNanoseconds(UInt64(clamping: instant.nanoseconds)),
                handler: TimerHandler(driver: self)
            )
        } catch {
            log.error("cannot schedule a timer: \(error)")
        }
    }

    fileprivate func timerFired() {
        timer = nil
        timerInstant = nil
        guard !isClosed else { return }
        engine.handleTimeout(at: Self.now())
        drain()
    }

    /// Takes bytes of a stream to a TURN server, or to the peer.
    func receive(stream bytes: ByteBuffer, on port: PortID) {
        transportCounts.bytesReceived += bytes.readableBytes
        guard !receive(framed: bytes, on: port) else { return }
        transportCounts.packetsReceived += 1
        engine.receive(stream: bytes.readableBytesSpan, on: port, at: Self.now())
    }

    func portFailed(_ port: PortID, error: any Error) {
        log.debug("UDP port \(port.rawValue): \(error)")
    }

    func didOpen(_ socket: PeerSocket) {
        ports.append(socket)
        while portTable.count <= socket.id.rawValue { portTable.append(nil) }
        portTable[socket.id.rawValue] = socket
        if case .shared = socket.kind { return }
        openPortCount += 1
    }

    /// Closes a socket that is of no use any more, or leaves a shared one.
    func forget(_ socket: PeerSocket) {
        ports.removeAll { $0.id == socket.id }
        portTable[socket.id.rawValue] = nil
        let ip = socket.localAddress.ip
        if !ports.contains(where: { $0.localAddress.ip == ip }) { boundAddresses.remove(ip) }
        if case .shared(let core, let index, let member) = socket.kind { core.leave(index, member) }
        socket.close()
    }

    /// The number of the next socket.
    func takePortID() -> PortID {
        defer { gathering.nextPortID += 1 }
        return PortID(rawValue: gathering.nextPortID)
    }

    /// Says that a socket that must be closed before the connection is, is open, or is no more.
    func countOpenPort(_ difference: Int) {
        openPortCount += difference
        if openPortCount <= 0, isClosed { resumeClosedWaiters() }
    }

    // MARK: End

    /// Sends what ends the session, then closes the sockets.
    ///
    /// Idempotent.
    func close() {
        guard !isClosed else { return }
        isClosed = true
        let now = Self.now()
        engine.close(at: now)
        while let event = engine.nextEvent() { handle(event, at: now) }
        _ = sendDatagrams(at: now)
        timer?.cancel()
        timer = nil
        stopWatchingNetwork()
        (configuration.mdns ?? .shared).withdraw(hiddenAddresses.publishedNames)
        for pipeline in sendPipelines.values { pipeline.stop() }
        for pipeline in receivePipelines.values { pipeline.stop() }
        sendPipelines = [:]
        receivePipelines = [:]
        for channel in channelsByKey.values { channel.didClose() }
        channelsByKey = [:]
        channelsByHandle = [:]
        handlesByKey = [:]
        for port in ports { port.close() }
        leaveSharedPort()
        for stream in streams.values { stream.close() }
        streams = [:]
        for candidate in tcp.candidates.values { candidate.listener?.close(mode: .all, promise: nil) }
        for connection in tcp.connections.values { connection.close() }
        tcp = TCPSockets()
        ports = []
        portTable = []
        // Who reads their frames has nothing to wait for.
        for transceiver in transceivers.values { transceiver.receiver.track.endRemote() }
        transceivers = [:]
        view.didClose()
        if openPortCount <= 0 { resumeClosedWaiters() }
    }

    /// Returns when all sockets are closed.
    func waitUntilClosed() async {
        guard !(isClosed && openPortCount <= 0) else { return }
        await withCheckedContinuation { closedWaiters.append($0) }
    }

    private func resumeClosedWaiters() {
        for waiter in closedWaiters { waiter.resume() }
        closedWaiters = []
    }
}

/// Wakes the driver when its deadline comes.
private struct TimerHandler: NIOScheduledCallbackHandler, Sendable {
    let driver: PeerDriver

    func handleScheduledCallback(eventLoop: some EventLoop) {
        driver.assumeIsolated { $0.timerFired() }
    }
}

/// How a transceiver knows its driver, which owns it.
struct DriverReference: Sendable {
    weak var driver: PeerDriver?

    /// Runs a command on the event loop, if the connection still is.
    func perform(_ command: @escaping @Sendable (isolated PeerDriver) -> Void) {
        guard let driver else { return }
        driver.eventLoop.execute { driver.assumeIsolated { command($0) } }
    }
}
