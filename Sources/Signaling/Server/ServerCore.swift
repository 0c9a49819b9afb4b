import Logging
import NIOCore
import NIOHTTP1
import NIOSSL
import NIOWebSocket

/// The server's state on its event loop: connections, rooms, the timer of the rooms' rules.
final class ServerCore {
    private let configuration: SignalingServerConfiguration
    private let tls: NIOSSLContext?
    private let eventLoop: any EventLoop
    private var rooms: RoomTable
    private var sockets: [RoomConnectionID: WebSocketHandler] = [:]
    private var channels: [ObjectIdentifier: any Channel] = [:]
    private var perAddress: [String: Int] = [:]
    private var nextID = 0
    private var timer: Scheduled<Void>?
    private var isStopped = false

    init(configuration: SignalingServerConfiguration, tls: NIOSSLContext?, eventLoop: any EventLoop) {
        self.configuration = configuration
        self.tls = tls
        self.eventLoop = eventLoop
        rooms = RoomTable(
            limits: configuration.limits,
            iceServers: configuration.iceServers,
            iceServersForPeer: configuration.iceServersForPeer ?? { _, _ in [] }
        )
    }

    /// Sets up a connection that was accepted, or closes it if there are too many.
    func accept(_ channel: any Channel) throws {
        let address = channel.remoteAddress?.ipAddress ?? ""
        guard !isStopped, channels.count < configuration.limits.maxConnections,
            perAddress[address, default: 0] < configuration.limits.maxConnectionsPerAddress
        else {
            configuration.logger.warning("refused a connection: too many are open")
            channel.close(promise: nil)
            return
        }
        channels[ObjectIdentifier(channel)] = channel
        perAddress[address, default: 0] += 1
        let key = ObjectIdentifier(channel)
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        channel.closeFuture.whenComplete { _ in bound.value.closed(key, address) }
        let pipeline = channel.pipeline.syncOperations
        if let tls { try pipeline.addHandler(NIOSSLServerHandler(context: tls)) }
        let http = NIOLoopBound(HTTPHandler(core: self), eventLoop: eventLoop)
        let upgrader = NIOWebSocketServerUpgrader(
            maxFrameSize: configuration.limits.maxMessageBytes,
            automaticErrorHandling: false,
            shouldUpgrade: { channel, head in
                channel.eventLoop.makeSucceededFuture(bound.value.mayUpgrade(head) ? HTTPHeaders() : nil)
            },
            upgradePipelineHandler: { channel, head in
                channel.eventLoop.makeCompletedFuture {
                    http.value.cancelDeadline()
                    channel.pipeline.syncOperations.removeHandler(http.value, promise: nil)
                    try channel.pipeline.syncOperations.addHandler(bound.value.makeSocket(for: head))
                }
            }
        )
        try pipeline.configureHTTPServerPipeline(
            withPipeliningAssistance: true,
            withServerUpgrade: (upgraders: [upgrader], completionHandler: { _ in }),
            withErrorHandling: true
        )
        try pipeline.addHandler(http.value)
    }

    /// Says so to all peers and closes everything.
    func stop() -> EventLoopFuture<Void> {
        isStopped = true
        timer?.cancel()
        rooms.stop(at: .now())
        act()
        let open = Array(channels.values)
        // Close frames get a moment to leave.
        eventLoop.scheduleTask(in: .milliseconds(300)) { for channel in open { channel.close(promise: nil) } }
        return EventLoopFuture.andAllComplete(open.map(\.closeFuture), on: eventLoop)
    }

    private func closed(_ key: ObjectIdentifier, _ address: String) {
        channels[key] = nil
        perAddress[address, default: 1] -= 1
        if perAddress[address] == 0 { perAddress[address] = nil }
    }

    // MARK: HTTP

    /// Whether a request names this server by a name of its own: against DNS rebinding.
    func isOwnName(_ host: String?) -> Bool {
        guard let host, !configuration.hostNames.contains("*") else { return host != nil }
        let name = Self.hostName(host)
        if name == "localhost" || name.hasSuffix(".localhost") || name == LocalNames.hostName { return true }
        if (try? SocketAddress(ipAddress: name, port: 0)) != nil { return true }
        return configuration.hostNames.contains { $0.lowercased() == name }
    }

    private func mayUpgrade(_ head: HTTPRequestHead) -> Bool {
        head.method == .GET && Self.isForWebSocket(head) && isOwnName(head.headers.first(name: "host"))
            && isOwnPage(head)
    }

    private static func isForWebSocket(_ head: HTTPRequestHead) -> Bool { head.uri.prefix { $0 != "?" } == "/ws" }

    /// Whether a request comes from a page of this server, of an allowed site, or from a program.
    private func isOwnPage(_ head: HTTPRequestHead) -> Bool {
        guard let origin = head.headers.first(name: "origin") else { return true }
        if configuration.allowedOrigins.contains("*") || configuration.allowedOrigins.contains(origin) { return true }
        return origin == "\(tls == nil ? "http" : "https")://\(head.headers.first(name: "host") ?? "")"
    }

    func response(to head: HTTPRequestHead) -> PageResponse {
        guard isOwnName(head.headers.first(name: "host")) else {
            return .text(
                .misdirectedRequest,
                "This server is not known by that name; start it with --host-name to allow it.\n"
            )
        }
        guard !Self.isForWebSocket(head) || head.method != .GET else {
            guard isOwnPage(head) else {
                return .text(.forbidden, "Pages of that origin may not use this server.\n")
            }
            var response = PageResponse.text(.upgradeRequired, "This address is for WebSockets.\n")
            response.headers.add(name: "upgrade", value: "websocket")
            return response
        }
        return PageResponse(head, servesPage: configuration.servesPage, isSecure: tls != nil)
    }

    var requestTimeout: TimeAmount { configuration.limits.joinTimeout.timeAmount }

    /// A host header without its port, lower case, without brackets.
    private static func hostName(_ host: String) -> String {
        var name = host.lowercased()[...]
        if name.hasPrefix("["), let end = name.firstIndex(of: "]") {
            return String(name[name.index(after: name.startIndex)..<end])
        }
        if let colon = name.lastIndex(of: ":") { name = name[..<colon] }
        return String(name)
    }

    /// The host of a host header if it can stand in a URL, else nothing.
    private static func urlHost(_ host: String) -> String {
        let name = hostName(host)
        if (try? SocketAddress(ipAddress: name, port: 0)) != nil { return name }
        let isName = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
                UInt8(ascii: "."), UInt8(ascii: "_"):
                true
            default: false
            }
        }
        return isName && name.utf8.count <= 253 ? name : ""
    }

    // MARK: WebSockets

    private func makeSocket(for head: HTTPRequestHead) -> WebSocketHandler {
        let id = RoomConnectionID(rawValue: nextID)
        nextID += 1
        let owner = SocketOwner(core: self, id: id)
        let socket = WebSocketHandler(
            role: .server,
            maxMessageBytes: configuration.limits.maxMessageBytes,
            maxUnsentBytes: configuration.limits.maxUnsentBytes,
            owner: owner
        )
        owners[id] = owner
        sockets[id] = socket
        rooms.open(id, host: Self.urlHost(head.headers.first(name: "host") ?? ""), at: .now())
        act()
        return socket
    }

    private var owners: [RoomConnectionID: SocketOwner] = [:]

    fileprivate func received(_ text: [UInt8], on id: RoomConnectionID) {
        rooms.receive(text, on: id, at: .now())
        act()
    }

    fileprivate func heard(_ id: RoomConnectionID) { rooms.heard(id, at: .now()) }

    fileprivate func failed(_ id: RoomConnectionID, _ error: SignalingError, _ code: RoomCloseCode) {
        rooms.cutOff(id, error, code, at: .now())
        act()
    }

    fileprivate func socketClosed(_ id: RoomConnectionID, code: UInt16?, reason: String) {
        sockets[id] = nil
        owners[id] = nil
        // A reloaded page closes with 1001 and comes back; only words of farewell are one.
        rooms.close(id, isFarewell: code == RoomCloseCode.normal.rawValue && reason == "bye", at: .now())
        act()
    }

    /// Carries out what the rooms' rules want, and sets the timer.
    private func act() {
        while let action = rooms.nextAction() {
            switch action {
            case .send(let id, let text): sockets[id]?.send(text)
            case .ping(let id): sockets[id]?.ping()
            case .close(let id, let code, let reason): sockets[id]?.close(code, reason: reason)
            }
        }
        timer?.cancel()
        guard !isStopped, let deadline = rooms.nextDeadline else { return }
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        timer = eventLoop.scheduleTask(deadline: deadline) {
            bound.value.rooms.handleTimeout(at: .now())
            bound.value.act()
        }
    }
}

/// Joins one WebSocket to the core.
private final class SocketOwner: WebSocketOwner {
    private weak var core: ServerCore?
    private let id: RoomConnectionID

    init(core: ServerCore, id: RoomConnectionID) {
        self.core = core
        self.id = id
    }

    func webSocket(_ socket: WebSocketHandler, didReceive text: [UInt8]) { core?.received(text, on: id) }
    func webSocketIsAlive(_ socket: WebSocketHandler) { core?.heard(id) }
    func webSocket(_ socket: WebSocketHandler, failedWith error: SignalingError, _ code: RoomCloseCode) {
        core?.failed(id, error, code)
    }
    func webSocketDidClose(_ socket: WebSocketHandler, code: UInt16?, reason: String) {
        core?.socketClosed(id, code: code, reason: reason)
    }
}
