internal import JSON
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import NIOWebSocket

/// The client's state on its event loop.
final class ClientCore: WebSocketOwner {
    private let server: ServerURL
    private let room: String
    private let name: String
    private let trust: ServerTrust?
    private let waitsForPlace: Bool
    private let eventLoop: any EventLoop
    private let feed: AsyncStream<SignalingEvent>.Continuation
    private var socket: WebSocketHandler?
    private var channel: (any Channel)?
    private var token: String?
    private var queue: [(sequence: Int, text: String)] = []
    private var sent = 0
    private var received = 0
    private var attempts = 0
    private var isOver = false
    private var isJoined = false
    private var heartbeat: RepeatedTask?
    private var lastHeard = NIODeadline.now()
    private var leaving: EventLoopPromise<Void>?
    /// The next attempt to connect.
    private var retry: Scheduled<Void>?
    private var isChecking = false
    /// Why the connection that is being made fails.
    private var problem: SignalingError?
    /// Whether the server answers, and has no place in the room.
    private var isRoomFull = false

    /// Messages that wait for the server's acknowledgement; the oldest are dropped beyond it.
    private static let queueLimit = 1_000
    private static let messageLimit = 1 << 20
    private static let unsentLimit = 8 << 20
    private static let firstDelay = 0.3
    private static let longestDelay = 10.0
    private static let connectTimeout = TimeAmount.seconds(10)
    /// How long a server may take to answer when it is asked for a sign of life.
    private static let checkTimeout = TimeAmount.seconds(1)
    /// From the connection to `joined`.
    private static let joinTimeout = TimeAmount.seconds(10)

    init(
        server: ServerURL,
        room: String,
        name: String,
        trust: ServerTrust?,
        waitsForPlace: Bool,
        eventLoop: any EventLoop,
        feed: AsyncStream<SignalingEvent>.Continuation
    ) {
        self.server = server
        self.room = room
        self.name = name
        self.trust = trust
        self.waitsForPlace = waitsForPlace
        self.eventLoop = eventLoop
        self.feed = feed
    }

    // MARK: Connecting

    func connect() {
        guard !isOver else { return }
        problem = nil
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        let server = server
        let trust = trust
        ClientBootstrap(group: eventLoop)
            .connectTimeout(Self.connectTimeout)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    // The first reason is the cause of the others.
                    let report: @Sendable (SignalingError.Code, String) -> Void = { code, why in
                        if bound.value.problem == nil { bound.value.problem = SignalingError(code, why) }
                    }
                    if let trust { try pipeline.addHandler(trust.makeHandler(for: server, report: report)) }
                    let request = NIOLoopBound(
                        UpgradeRequest(server: server, report: report),
                        eventLoop: channel.eventLoop
                    )
                    let upgrader = NIOWebSocketClientUpgrader(
                        maxFrameSize: Self.messageLimit,
                        automaticErrorHandling: false
                    ) { channel, _ in
                        channel.eventLoop.makeCompletedFuture {
                            channel.pipeline.syncOperations.removeHandler(request.value, promise: nil)
                            try channel.pipeline.syncOperations.addHandler(bound.value.makeSocket())
                        }
                    }
                    try pipeline.addHTTPClientHandlers(
                        leftOverBytesStrategy: .forwardBytes,
                        withClientUpgrade: (upgraders: [upgrader], completionHandler: { _ in })
                    )
                    try pipeline.addHandler(request.value)
                }
            }
            .connect(host: server.host, port: server.port)
            .whenComplete { result in
                switch result {
                case .success(let channel):
                    // Left meanwhile.
                    guard !bound.value.isOver else { return channel.close(promise: nil) }
                    bound.value.channel = channel
                    channel.closeFuture.whenComplete { _ in bound.value.channelClosed() }
                    bound.value.expectJoin(on: channel)
                case .failure(let error): bound.value.lost(SignalingError(.unreachable, ConnectFailure.words(error)))
                }
            }
    }

    private func makeSocket() -> WebSocketHandler {
        let socket = WebSocketHandler(
            role: .client,
            maxMessageBytes: Self.messageLimit,
            maxUnsentBytes: Self.unsentLimit,
            owner: self
        )
        self.socket = socket
        lastHeard = .now()
        let join = ClientMessage.join(
            .init(room: room, name: name, token: token, acknowledged: token == nil ? nil : received)
        )
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        eventLoop.execute { if !bound.value.isOver { bound.value.socket?.send(join.json.text) } }
        return socket
    }

    /// Gives a connection up whose server says nothing.
    private func expectJoin(on channel: any Channel) {
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        let timer = eventLoop.scheduleTask(in: Self.joinTimeout) {
            guard !bound.value.isJoined else { return }
            bound.value.problem = SignalingError(.unreachable, "the server does not answer")
            channel.close(promise: nil)
        }
        channel.closeFuture.whenComplete { _ in timer.cancel() }
    }

    private func channelClosed() {
        guard channel != nil else { return }
        channel = nil
        // The WebSocket's own end says more, if there was one.
        if socket == nil, leaving == nil {
            lost(
                problem ?? SignalingError(.unreachable, "the server closed the connection or serves no WebSocket there")
            )
        }
    }

    private func lost(_ why: SignalingError) {
        heartbeat?.cancel()
        heartbeat = nil
        socket = nil
        channel = nil
        isJoined = false
        if isOver {
            finish(nil)
            leaving?.succeed()
            leaving = nil
            return
        }
        // Who was told that the room is full need not hear that its server closes the connection.
        if attempts == 0, !isRoomFull {
            feed.yield(.disconnected(SignalingError(why.code, "no connection to \(server.authority): \(why)")))
        }
        let backOff = min(Self.longestDelay, Self.firstDelay * Double(1 << min(attempts, 10)))
        attempts += 1
        isRoomFull = false
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        retry = eventLoop.scheduleTask(in: .nanoseconds(Int64(backOff * Double.random(in: 0.7...1.3) * 1e9))) {
            bound.value.retry = nil
            bound.value.connect()
        }
    }

    private func finish(_ error: SignalingError?) {
        isOver = true
        feed.yield(.closed(error))
        feed.finish()
    }

    // MARK: Commands

    func send(_ message: SignalingMessage, to peer: SignalingPeerID, order: SignalingOrder?) {
        guard !isOver else { return }
        sent += 1
        let text = ClientMessage.relay(message, to: peer, sequence: sent, order: order).json.text
        queue.append((sent, text))
        if queue.count > Self.queueLimit { queue.removeFirst() }
        if isJoined { socket?.send(text) }
    }

    func check() {
        guard !isOver else { return }
        // The next attempt may be far away.
        guard isJoined, let socket, let channel else {
            if retry != nil { connectNow() }
            return
        }
        guard !isChecking else { return }
        isChecking = true
        let before = lastHeard
        socket.send(ClientMessage.ping(acknowledged: received).json.text)
        let bound = NIOLoopBound((self, channel), eventLoop: eventLoop)
        eventLoop.scheduleTask(in: Self.checkTimeout) {
            let (core, channel) = bound.value
            core.isChecking = false
            if core.lastHeard == before, core.channel === channel { channel.close(promise: nil) }
        }
    }

    private func connectNow() {
        retry?.cancel()
        retry = nil
        connect()
    }

    func leave() -> EventLoopFuture<Void> {
        guard !isOver else { return eventLoop.makeSucceededVoidFuture() }
        isOver = true
        guard let socket else {
            finish(nil)
            channel?.close(promise: nil)
            return eventLoop.makeSucceededVoidFuture()
        }
        let promise = eventLoop.makePromise(of: Void.self)
        leaving = promise
        socket.send(ClientMessage.leave.json.text)
        socket.close(.normal, reason: "bye")
        return promise.futureResult
    }

    // MARK: WebSocketOwner

    func webSocket(_ socket: WebSocketHandler, didReceive text: [UInt8]) {
        lastHeard = .now()
        do throws(SignalingError) {
            handle(try ServerMessage(parsing: text))
        } catch {
            // A newer server may say what this client does not know.
            if error.code != .unknownType { feed.yield(.error(error)) }
        }
    }

    func webSocketIsAlive(_ socket: WebSocketHandler) { lastHeard = .now() }

    func webSocket(_ socket: WebSocketHandler, failedWith error: SignalingError, _ code: RoomCloseCode) {
        feed.yield(.error(error))
        socket.close(code, reason: error.message)
    }

    func webSocketDidClose(_ socket: WebSocketHandler, code: UInt16?, reason: String) {
        guard socket === self.socket else { return }
        lost(SignalingError(.unreachable, reason.isEmpty ? "the connection broke" : reason))
    }

    private func handle(_ message: ServerMessage) {
        switch message {
        case .joined(let joined): didJoin(joined)
        case .peerJoined(let peer, let sequence): if isNew(sequence) { feed.yield(.peerJoined(peer)) }
        case .iceServers(let servers): feed.yield(.iceServers(servers))
        case .peerLeft(let peer, let reason, let sequence): if isNew(sequence) { feed.yield(.peerLeft(peer, reason)) }
        case .relay(let message, let peer, let sequence, let order):
            if isNew(sequence) { feed.yield(.message(message, from: peer, order: order)) }
        case .ping: socket?.send(ClientMessage.pong(acknowledged: received).json.text)
        case .pong(let acknowledged): forget(acknowledged)
        case .error(let error):
            let isTemporary = [.timedOut, .tooSlow, .serverStopping, .tooManyConnections].contains(error.code)
            guard error.isFatal, !isTemporary else { return _ = feed.yield(.error(error)) }
            if error.code == .roomFull, waitsForPlace {
                isRoomFull = true
                feed.yield(.error(error))
                socket?.close(.normal, reason: "")
                return
            }
            finish(error)
            // The server closes too; one that does not keeps no client.
            socket?.close(.normal, reason: "")
        }
    }

    /// Whether a numbered message is not a repetition.
    private func isNew(_ sequence: Int?) -> Bool {
        guard let sequence else { return true }
        guard sequence > received else { return false }
        received = sequence
        return true
    }

    private func forget(_ acknowledged: Int) { queue.removeAll { $0.sequence <= acknowledged } }

    private func didJoin(_ joined: ServerMessage.Joined) {
        attempts = 0
        token = joined.token
        isJoined = true
        if joined.isResumed {
            forget(joined.acknowledged)
            for message in queue { socket?.send(message.text) }
        } else {
            queue = []
            sent = 0
            received = 0
        }
        feed.yield(.joined(joined.place, isResumed: joined.isResumed))
        let interval = TimeAmount.milliseconds(Int64(min(max(joined.heartbeatMilliseconds, 500), 60_000)))
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        heartbeat?.cancel()
        heartbeat = eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
            bound.value.beat(interval)
        }
    }

    private func beat(_ interval: TimeAmount) {
        guard let socket else { return }
        guard NIODeadline.now() - lastHeard <= interval * 3 else {
            channel?.close(promise: nil)
            return
        }
        socket.send(ClientMessage.ping(acknowledged: received).json.text)
    }
}

/// Asks the server for the WebSocket, once connected.
private final class UpgradeRequest: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private let server: ServerURL
    private let report: (SignalingError.Code, String) -> Void

    /// `report` is told why there will be no WebSocket.
    init(server: ServerURL, report: @escaping (SignalingError.Code, String) -> Void) {
        self.server = server
        self.report = report
    }

    func channelActive(context: ChannelHandlerContext) {
        let head = HTTPRequestHead(
            version: .http1_1,
            method: .GET,
            uri: "/ws",
            headers: ["host": server.authority, "content-length": "0"]
        )
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
        context.fireChannelActive()
    }

    /// An answer that is no upgrade: this is not our server.
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch Self.unwrapInboundIn(data) {
        case .head(let head):
            report(.noWebSocket, "it answered “\(head.status.code) \(Wire.excerpt(head.status.reasonPhrase))”")
        case .body: break
        case .end: context.close(promise: nil)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case NIOSSLError.handshakeFailed(let reason) where "\(reason)".contains("CERTIFICATE_VERIFY_FAILED"):
            report(.certificate, "its certificate is not trusted; one that it made itself is trusted by its SHA-256")
        case NIOSSLError.handshakeFailed: report(.certificate, "it speaks no TLS that is understood here")
        case is NIOSSLExtraError: report(.certificate, "its certificate is for another name")
        case is NIOWebSocketUpgradeError, is HTTPParserError: report(.noWebSocket, "it serves no WebSocket there")
        default: report(.unreachable, ConnectFailure.words(error))
        }
        context.close(promise: nil)
    }
}
