import Glibc
import NIOCore
import NIOPosix
import PeerConnection

/// A TCP address to connect to, as `localhost:80` or `[::1]:80`.
struct ForwardTarget: Hashable, Sendable, CustomStringConvertible {
    let host: String
    let port: Int

    /// A host and a port from 1; nil for anything else.
    init?(_ text: some StringProtocol) {
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
            (1...65_535).contains(port)
        else { return nil }
        var host = text[..<colon]
        let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
        if isBracketed { host = host.dropFirst().dropLast() }
        guard !host.isEmpty, host.utf8.count <= 255, isBracketed || !host.contains(":"),
            host.utf8.allSatisfy({ $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "[") && $0 != UInt8(ascii: "]") })
        else { return nil }
        self.host = host.lowercased()
        self.port = port
    }

    var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// What listens here and where it leads there: `8080:localhost:80`, or `0.0.0.0:8080:localhost:80`.
struct ForwardRule: Hashable, Sendable {
    let listenHost: String
    let listenPort: Int
    let target: ForwardTarget

    /// `[HOST:]PORT:TARGETHOST:TARGETPORT`; without HOST only programs of this machine can connect.
    init?(_ text: String) {
        var parts: [Substring] = []
        var current = text.startIndex
        var isBracketed = false
        for index in text.indices {
            switch text[index] {
            case "[": isBracketed = true
            case "]": isBracketed = false
            case ":" where !isBracketed:
                parts.append(text[current..<index])
                current = text.index(after: index)
            default: break
            }
        }
        parts.append(text[current...])
        guard parts.count == 3 || parts.count == 4, let port = Int(parts[parts.count - 3]), (0...65_535).contains(port),
            let target = ForwardTarget("\(parts[parts.count - 2]):\(parts[parts.count - 1])")
        else { return nil }
        var host = parts.count == 4 ? String(parts[0]) : "127.0.0.1"
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        if host.isEmpty { return nil }
        listenHost = host
        listenPort = port
        self.target = target
    }
}

/// TCP connections over data channels, one channel each: docs/CODES.md, "Forwarded ports".
enum PortForwarding {
    typealias TCP = NIOAsyncChannel<ByteBuffer, ByteBuffer>

    static let channelProtocol = "rtc-peer-forward-1"
    private static let chunkByteCount = 64 << 10
    private static let connectTimeout = TimeAmount.seconds(10)

    /// A port that is listened on.
    struct Listener: Sendable {
        let rule: ForwardRule
        fileprivate let server: NIOAsyncChannel<TCP, Never>

        /// Which it is, if the system chose it.
        var port: Int { server.channel.localAddress?.port ?? rule.listenPort }

        /// Ends a listener that did not run.
        func close() async { try? await server.executeThenClose { _ in } }
    }

    private struct TooMany: Error {}

    /// Listens on all of the ports or none.
    ///
    /// - Parameters:
    ///   - rules: the ports.
    ///   - connections: counts those that are accepted; who finds no room is closed at once.
    ///   - tooMany: told of each that found no room, on an event loop.
    /// - Returns: what listens, for ``run(_:accept:)``.
    /// - Throws: `MeetingError.connection` with the address that cannot be used.
    static func listen(
        _ rules: [ForwardRule],
        connections: ForwardedConnections = ForwardedConnections(),
        tooMany: @escaping @Sendable () -> Void = {}
    ) async throws -> [Listener] {
        var listeners: [Listener] = []
        for rule in rules {
            do {
                let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                    .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                    // Who comes while there is no room takes a descriptor until it is closed: one at a time.
                    .serverChannelOption(.maxMessagesPerRead, value: 1)
                    .childChannelOption(.allowRemoteHalfClosure, value: true)
                    .bind(host: rule.listenHost, port: rule.listenPort) { channel in
                        channel.eventLoop.makeCompletedFuture {
                            guard connections.enter() else {
                                channel.close(promise: nil)
                                tooMany()
                                throw TooMany()
                            }
                            channel.closeFuture.whenComplete { _ in connections.leave() }
                            return try wrap(channel)
                        }
                    }
                listeners.append(Listener(rule: rule, server: server))
            } catch {
                for listener in listeners { await listener.close() }
                throw MeetingError.connection(
                    "cannot listen on \(rule.listenHost), port \(rule.listenPort): \(words(for: error))"
                )
            }
        }
        return listeners
    }

    /// Gives each connection to `accept`; ends when the task is cancelled, and the listening with it.
    ///
    /// - Parameters:
    ///   - listener: used once.
    ///   - accept: has the connection until it returns.
    /// - Throws: the system's error if nothing more comes of the port.
    static func run(_ listener: Listener, accept: @escaping @Sendable (TCP) async -> Void) async throws {
        try await listener.server.executeThenClose { connections in
            try await withThrowingDiscardingTaskGroup { group in
                for try await connection in connections { group.addTask { await accept(connection) } }
            }
        }
    }

    /// Why a channel is none that this side connects, in words; nil if it is one.
    static func refusal(of channel: RTCDataChannel, allowed: Set<ForwardTarget>) -> String? {
        guard channel.protocol == channelProtocol else { return "\(channel.protocol) is not \(channelProtocol)" }
        guard channel.ordered, channel.maxRetransmits == nil, channel.maxPacketLifeTime == nil else {
            return "the channel is not reliable and ordered"
        }
        // Letter for letter: 080 is not 80.
        guard let target = ForwardTarget(channel.label), target.description == channel.label, allowed.contains(target)
        else { return "\(channel.label) is not allowed there" }
        return nil
    }

    /// Tells the other side why its channel is closed, and closes it.
    static func refuse(_ channel: RTCDataChannel, _ words: String) async {
        try? await channel.waitUntilOpen()
        try? channel.send("refused \(words.prefix(wordsLimit))")
        channel.close()
    }

    /// Connects to a target of this side's network and joins it to a channel.
    static func serve(_ channel: RTCDataChannel, target: ForwardTarget) async {
        await join(channel) { _ in
        } connect: {
            do {
                return try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                    .connectTimeout(connectTimeout)
                    .channelOption(.allowRemoteHalfClosure, value: true)
                    .connect(host: target.host, port: target.port) { channel in
                        channel.eventLoop.makeCompletedFuture { try wrap(channel) }
                    }
            } catch {
                try? channel.send("refused \(target) cannot be reached from there: \(words(for: error))")
                throw error
            }
        }
    }

    /// Joins an accepted connection to a channel.
    ///
    /// - Parameters:
    ///   - tcp: one end.
    ///   - channel: the other, open or about to.
    ///   - refused: told the other side's words if it does not connect.
    static func join(_ tcp: TCP, _ channel: RTCDataChannel, refused: @escaping @Sendable (String) -> Void) async {
        await join(channel, refused: refused) { tcp }
    }

    /// Why a connection was not made, in words.
    private static func words(for error: any Error) -> String {
        switch error {
        case let error as NIOConnectionError:
            error.connectionErrors.first.map { words(for: $0.error) } ?? "the name has no address"
        case let error as IOError: unsafe String(cString: strerror(error.errnoCode))
        case ChannelError.connectTimeout: "it does not answer"
        default: "\(error)"
        }
    }

    /// Closes a connection that nobody has used.
    static func close(_ tcp: TCP) async { try? await tcp.executeThenClose { _, _ in } }

    private static func wrap(_ channel: any Channel) throws -> TCP {
        try TCP(
            wrappingChannelSynchronously: channel,
            configuration: .init(isOutboundHalfClosureEnabled: true)
        )
    }

    /// Carries bytes both ways until both directions have ended, or one breaks.
    ///
    /// What comes is taken in from the first moment, before there is a connection.
    private static func join(
        _ channel: RTCDataChannel,
        refused: @escaping @Sendable (String) -> Void,
        connect: @escaping @Sendable () async throws -> TCP
    ) async {
        let carrier = ForwardChannel(channel)
        // What breaks, breaks the TCP connection: there is nobody else to be told.
        try? await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                try await carrier.read(refused: refused)
                return false
            }
            group.addTask {
                try await carry(try await connect(), channel, carrier)
                return true
            }
            // Not `waitForAll`: the first that throws is to cancel the other. The channel may end before all of it has
            // reached the socket.
            while let isDone = try await group.next() { if isDone { group.cancelAll() } }
        }
        channel.close()
    }

    private static func carry(_ tcp: TCP, _ channel: RTCDataChannel, _ carrier: ForwardChannel) async throws {
        try await tcp.executeThenClose { inbound, _ in
            do {
                try await channel.waitUntilOpen()
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        for try await buffer in inbound { try await carrier.send(buffer) }
                        try Task.checkCancellation()
                        // A connection that is gone ends the sequence like one whose other side has sent all.
                        guard tcp.channel.isActive || carrier.hasPassedOnEnd else { throw ChannelError.eof }
                        try carrier.sendEnd()
                    }
                    group.addTask {
                        while var bytes = try await carrier.nextBytes() {
                            while let chunk = bytes.readSlice(length: min(chunkByteCount, bytes.readableBytes)),
                                chunk.readableBytes > 0
                            {
                                try await write(chunk, to: tcp.channel)
                                carrier.didPassOn(chunk.readableBytes)
                            }
                        }
                        carrier.didPassOnEnd()
                        // It fails only if the connection is gone, which the other direction sees.
                        try? await tcp.channel.close(mode: .output).get()
                    }
                    while try await group.next() != nil {}
                }
            } catch {
                abort(tcp.channel)
                throw error
            }
        }
    }

    /// Returns when the system has taken the bytes: NIO's own writer returns earlier, and what waits in the channel
    /// would be lost when it is closed, and credited too early.
    private static func write(_ bytes: ByteBuffer, to channel: any Channel) async throws {
        try await withTaskCancellationHandler {
            try await channel.writeAndFlush(bytes).get()
        } onCancel: {
            abort(channel)
        }
    }

    /// Resets a connection, so that its other end does not take what it got for all there was.
    private static func abort(_ channel: any Channel) {
        guard let socket = channel as? any SocketOptionProvider else { return channel.close(promise: nil) }
        socket.setSoLinger(linger(l_onoff: 1, l_linger: 0)).whenComplete { _ in channel.close(promise: nil) }
    }

    /// Characters of a refusal, which can hold a label of 64 kB.
    private static let wordsLimit = 300
}
