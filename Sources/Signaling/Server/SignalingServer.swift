import Locking
import Logging
public import NIOCore
import NIOPosix

/// Serves the page, and relays JSON messages between the peers of a room over WebSockets.
///
/// Everything runs on one event loop. What peers send is hostile until proven otherwise: it is answered with an error
/// in words or cut off, and the server goes on for everyone else.
public final class SignalingServer: Sendable {
    /// Where a started server can be reached.
    public struct Endpoint: Hashable, Sendable {
        /// The address that it listens on.
        public var host: String
        /// The port that it listens on.
        public var port: Int
        /// Whether it speaks https and wss.
        public var isSecure: Bool
        /// The page's address on this machine, without a room.
        public var url: String
        /// The page's addresses for other machines; empty if it listens on loopback only.
        public var networkURLs: [String]
        /// SHA-256 of the certificate, for people who compare it, as "AB:CD:…"; nil without TLS or with given files.
        public var certificateFingerprint: String?
    }

    private enum State {
        case idle
        case starting
        case running(Core)
        case stopped
    }

    private struct Core {
        let channel: any Channel
        let core: NIOLoopBound<ServerCore>
    }

    private let configuration: SignalingServerConfiguration
    private let loop: any EventLoop
    private let state = Mutex(State.idle)

    /// Makes a server that does not listen yet.
    ///
    /// - Parameters:
    ///   - configuration: where to listen, and limits.
    ///   - eventLoop: where it runs; nil takes one of NIO's shared loops.
    public init(configuration: SignalingServerConfiguration = .init(), eventLoop: (any EventLoop)? = nil) {
        self.configuration = configuration
        loop = eventLoop ?? MultiThreadedEventLoopGroup.singleton.next()
    }

    /// Listens.
    ///
    /// - Returns: where it can be reached.
    /// - Throws: `SignalingError`: the port is taken, the address not one of this machine, the certificate unusable, or
    ///   the server was started before.
    public func start() async throws -> Endpoint {
        try state.withLock { state in
            guard case .idle = state else {
                throw SignalingError(.invalidState, "This server was started before; make another one.")
            }
            state = .starting
        }
        do {
            let (running, endpoint) = try await listen()
            let wasStopped = state.withLock { state in
                if case .stopped = state { return true }
                state = .running(running)
                return false
            }
            guard !wasStopped else {
                try? await running.channel.close()
                throw SignalingError(.invalidState, "The server was stopped while it started.")
            }
            return endpoint
        } catch {
            state.withLock { if case .starting = $0 { $0 = .idle } }
            throw error
        }
    }

    /// Says so to all peers, closes everything, and returns when it is closed.
    ///
    /// Harmless if not running.
    public func stop() async {
        let running: Core? = state.withLock { state in
            defer { state = .stopped }
            if case .running(let running) = state { return running }
            return nil
        }
        guard let running else { return }
        try? await running.channel.close()
        let core = running.core
        try? await loop.flatSubmit { core.value.stop() }.get()
    }

    private func listen() async throws -> (Core, Endpoint) {
        guard (0...65_535).contains(configuration.port) else {
            throw SignalingError(
                .invalidPort,
                "\(configuration.port) is no port: they are 0 to 65535, and 0 is any free one."
            )
        }
        let configuration = configuration
        let certificate = try configuration.tls.map { try configuration.certificate ?? ServerCertificate(source: $0) }
        let context = try certificate.map { try $0.makeContext(protocols: ["http/1.1"]) }
        let loop = loop
        let core = try await loop.submit {
            NIOLoopBound(
                ServerCore(configuration: configuration, tls: context, eventLoop: loop),
                eventLoop: loop
            )
        }.get()
        let bootstrap = ServerBootstrap(group: loop)
            .serverChannelOption(.backlog, value: 128)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            // What one connection can make this server parse and keep at once.
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(minimum: 1 << 10, initial: 4 << 10, maximum: 16 << 10)
            )
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try core.value.accept(channel) }
            }
        let channel: any Channel
        do {
            channel = try await bootstrap.bind(host: configuration.host, port: configuration.port).get()
        } catch {
            throw BindFailure.words(for: error, host: configuration.host, port: configuration.port)
        }
        let endpoint = Self.endpoint(of: channel, configuration, fingerprint: certificate?.fingerprint)
        configuration.logger.info("listening", metadata: ["url": "\(endpoint.url)"])
        return (Core(channel: channel, core: core), endpoint)
    }

    private static func endpoint(
        of channel: any Channel,
        _ configuration: SignalingServerConfiguration,
        fingerprint: String?
    ) -> Endpoint {
        let host = channel.localAddress?.ipAddress ?? configuration.host
        let port = channel.localAddress?.port ?? configuration.port
        let scheme = configuration.tls == nil ? "http" : "https"
        func url(_ host: String) -> String { "\(scheme)://\(host.contains(":") ? "[\(host)]" : host):\(port)/" }
        let isWildcard = host == "0.0.0.0" || host == "::"
        var networkURLs: [String] = []
        if isWildcard {
            networkURLs = LocalNames.addresses.filter { !$0.isLoopback && (host == "::" || $0.isIPv4) }
                .map { url($0.text) }
        } else if !LocalNames.isLoopback(host) {
            networkURLs = [url(host)]
        }
        return Endpoint(
            host: host,
            port: port,
            isSecure: configuration.tls != nil,
            url: url(isWildcard ? "localhost" : host),
            networkURLs: networkURLs,
            certificateFingerprint: fingerprint
        )
    }
}
