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
    private static let highWater = 1 << 20
    private static let lowWater = 256 << 10
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

    /// Listens on all of the ports or none.
    ///
    /// - Throws: `MeetingError.connection` with the address that cannot be used.
    static func listen(_ rules: [ForwardRule]) async throws -> [Listener] {
        var listeners: [Listener] = []
        for rule in rules {
            do {
                let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                    .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                    .bind(host: rule.listenHost, port: rule.listenPort) { channel in
                        channel.eventLoop.makeCompletedFuture { try wrap(channel) }
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

    /// Connects to a target of this side's network and joins it to a channel.
    static func serve(_ channel: RTCDataChannel, target: ForwardTarget) async {
        let tcp: TCP
        do {
            tcp = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connectTimeout(connectTimeout)
                .connect(host: target.host, port: target.port) { channel in
                    channel.eventLoop.makeCompletedFuture { try wrap(channel) }
                }
        } catch {
            try? channel.send("refused \(target) cannot be reached from there: \(words(for: error))")
            channel.close()
            return
        }
        await join(tcp, channel) { _ in }
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
    /// - Parameters:
    ///   - tcp: one end.
    ///   - channel: the other, open or about to.
    ///   - refused: told the other side's words if it does not connect.
    static func join(_ tcp: TCP, _ channel: RTCDataChannel, refused: @escaping @Sendable (String) -> Void) async {
        channel.bufferedAmountLowThreshold = lowWater
        // What breaks, breaks the TCP connection: there is nobody else to be told.
        try? await tcp.executeThenClose { inbound, outbound in
            try await channel.waitUntilOpen()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    for try await var buffer in inbound {
                        while let bytes = buffer.readBytes(length: min(chunkByteCount, buffer.readableBytes)),
                            !bytes.isEmpty
                        {
                            if channel.bufferedAmount > highWater { await channel.waitUntilBufferedAmountIsLow() }
                            try channel.send(bytes)
                        }
                    }
                    try channel.send("end")
                }
                group.addTask {
                    for await message in channel.messages {
                        switch message {
                        case .binary(let bytes): try await outbound.write(ByteBuffer(bytes: bytes))
                        case .text("end"):
                            outbound.finish()
                            return
                        case .text(let text):
                            refused(text)
                            throw CancellationError()
                        }
                    }
                    // Closed in the middle: the TCP connection is to break too.
                    throw CancellationError()
                }
                // Not `waitForAll`: the first that throws is to cancel the other.
                while try await group.next() != nil {}
            }
        }
        channel.close()
    }
}
