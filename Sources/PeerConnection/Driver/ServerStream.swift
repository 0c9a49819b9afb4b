internal import ICE
internal import NIOCore
internal import NIOPosix
internal import NIOSSL
internal import SansIO

/// A TCP or TLS connection to a TURN server.
///
/// Confined to the event loop.
final class ServerStream {
    let uri: ICEServerURI
    let credentials: TURNCredentials?
    let address: TransportAddress
    let preference: UInt16
    /// Why it ended, in words, if that is known.
    private(set) var problem: String?
    let local: IPAddress
    /// For whom the certificate must be.
    private let name: String
    private let redirectionCount: Int
    /// How often one was opened in place of the first, without one of them lasting.
    private let reopeningCount: Int
    private var channel: (any Channel)?
    private var openedAt: Instant?

    /// Bytes that wait in the connection until what peers are sent is dropped: a quarter of a second at 8 Mbit/s.
    static let waiting = ChannelOptions.Types.WriteBufferWaterMark(low: 64 << 10, high: 256 << 10)
    private static let connectTimeout = TimeAmount.seconds(10)

    init(
        _ entry: PeerDriver.ServerEntry,
        address: TransportAddress,
        from local: IPAddress,
        preference: UInt16,
        name: String? = nil,
        redirectionCount: Int = 0,
        reopeningCount: Int = 0
    ) {
        uri = entry.uri
        credentials = entry.credentials
        self.address = address
        self.local = local
        self.preference = preference
        self.name = name ?? entry.uri.host
        self.redirectionCount = redirectionCount
        self.reopeningCount = reopeningCount
    }

    func isLike(_ entry: PeerDriver.ServerEntry, _ address: TransportAddress, _ local: IPAddress) -> Bool {
        uri == entry.uri && credentials == entry.credentials && self.address == address && self.local == local
    }

    /// A stream to where this one's server has sent; nil once it was sent on often enough.
    func redirected(to address: TransportAddress, domain: String?) -> ServerStream? {
        guard redirectionCount < RelayTable.redirectionLimit else { return nil }
        return ServerStream(
            PeerDriver.ServerEntry(uri: uri, credentials: credentials),
            address: address,
            from: local,
            preference: preference,
            name: domain ?? name,
            redirectionCount: redirectionCount + 1,
            reopeningCount: reopeningCount
        )
    }

    /// Whether it stands for one that has ended.
    var isReopened: Bool { reopeningCount > 0 }

    /// A stream in place of this one, which has ended, and how long to wait before it is opened; nil if this one is the
    /// first and never was open, or if that was tried often enough.
    ///
    /// A server that is restarted takes connections some seconds later, and all its clients come at once.
    func replacement(at now: Instant) -> (stream: ServerStream, delay: Duration)? {
        let hasLasted = openedAt.map { $0 + Self.lastingTime <= now } ?? false
        let count = hasLasted ? 0 : reopeningCount
        guard openedAt != nil || isReopened, count < Self.reopeningDelays.count else { return nil }
        let next = ServerStream(
            PeerDriver.ServerEntry(uri: uri, credentials: credentials),
            address: address,
            from: local,
            preference: preference,
            name: name,
            redirectionCount: redirectionCount,
            reopeningCount: count + 1
        )
        return (next, Self.reopeningDelays[count] * Double.random(in: 0.5...1))
    }

    /// Half a minute together: when consent has run out, an ICE restart asks all servers anew.
    private static let reopeningDelays: [Duration] = [
        .zero, .milliseconds(500), .seconds(1), .seconds(2), .seconds(4), .seconds(8), .seconds(16),
    ]
    /// What has been open as long worked: one that ends then is opened again as often.
    private static let lastingTime = Duration.seconds(30)

    // MARK: Opening

    /// Connects from the local address.
    ///
    /// Reading the system's authorities takes milliseconds and happens on NIO's thread pool.
    func open(
        eventLoop: any EventLoop,
        authorities: String?,
        handler: @escaping @Sendable () -> any ChannelHandler,
        onResult: @escaping @Sendable (Result<any Channel, RTCError>) -> Void
    ) {
        let connector = Connector(uri: uri, name: name, local: local, remote: address, handler: handler)
        guard uri.isSecure else { return connector.connect(on: eventLoop, context: nil, onResult: onResult) }
        NIOThreadPool.singleton.submit { _ in
            do {
                let context = try Self.context(authorities)
                connector.connect(on: eventLoop, context: context, onResult: onResult)
            } catch {
                onResult(.failure(RTCError(.networkError, "TLS cannot be set up for \(connector.uri): \(error)")))
            }
        }
    }

    private static func context(_ authorities: String?) throws -> NIOSSLContext {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = .tlsv12
        configuration.shutdownTimeout = .milliseconds(300)
        if let authorities {
            configuration.additionalTrustRoots = [.certificates(try NIOSSLCertificate.fromPEMFile(authorities))]
        }
        return try NIOSSLContext(configuration: configuration)
    }

    /// What is needed to connect, on any thread.
    private struct Connector: Sendable {
        let uri: ICEServerURI
        let name: String
        let local: IPAddress
        let remote: TransportAddress
        let handler: @Sendable () -> any ChannelHandler

        func connect(
            on eventLoop: any EventLoop,
            context: NIOSSLContext?,
            onResult: @escaping @Sendable (Result<any Channel, RTCError>) -> Void
        ) {
            do {
                try bootstrap(on: eventLoop, context: context)
                    .connect(to: SocketAddress(ipAddress: remote.ip.description, port: Int(remote.port)))
                    .whenComplete { result in
                        onResult(
                            result.mapError { error in
                                let words = ServerStream.words(of: error)
                                return RTCError(
                                    .networkError,
                                    "the TURN server \(uri) cannot be reached from \(local): \(words)"
                                )
                            }
                        )
                    }
            } catch {
                onResult(.failure(RTCError(.networkError, "the TURN server \(uri) has no usable address: \(error)")))
            }
        }

        private func bootstrap(on eventLoop: any EventLoop, context: NIOSSLContext?) throws -> ClientBootstrap {
            // A name is sent and checked against the certificate; an address is only checked.
            let serverName = IPAddress(name) == nil ? name : nil
            return ClientBootstrap(group: eventLoop)
                .bind(to: try SocketAddress(ipAddress: local.description, port: 0))
                .connectTimeout(ServerStream.connectTimeout)
                .channelOption(.writeBufferWaterMark, value: ServerStream.waiting)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let pipeline = channel.pipeline.syncOperations
                        if let context {
                            try pipeline.addHandler(NIOSSLClientHandler(context: context, serverHostname: serverName))
                        }
                        try pipeline.addHandler(handler())
                    }
                }
        }
    }

    // MARK: Open

    var isOpen: Bool { channel != nil }

    /// - Returns: the connection's own address.
    func didOpen(_ channel: any Channel, at now: Instant) -> TransportAddress {
        self.channel = channel
        openedAt = now
        return TransportAddress(local, port: UInt16(clamping: channel.localAddress?.port ?? 0))
    }

    func didFail(_ error: any Error) {
        // The first reason is the cause of the others.
        if problem == nil { problem = Self.words(of: error) }
    }

    /// What TLS says, without the places in its library's source.
    static func words(of error: any Error) -> String {
        let text = "\(error)"
        let mark = "OPENSSL_internal:"
        guard let range = text.firstRange(of: mark) else { return text }
        let reason = text[range.upperBound...].prefix { $0.isUppercase || $0.isNumber || $0 == "_" }
        guard reason == "CERTIFICATE_VERIFY_FAILED" else {
            return "TLS fails: \(reason.lowercased().replacing("_", with: " "))"
        }
        return "its certificate is not trusted: give the file of its authority "
            + "(RTCConfiguration.iceServerAuthorities, --turn-authorities), or see if it has expired"
    }

    /// Sends whole messages.
    func send(_ bytes: UnsafeRawBufferPointer) {
        guard let channel else { return }
        var buffer = channel.allocator.buffer(capacity: bytes.count)
        unsafe buffer.writeBytes(bytes)
        channel.writeAndFlush(buffer, promise: nil)
    }

    func close() { channel?.close(mode: .all, promise: nil) }
}

/// The last handler of a stream: hands its bytes to the driver, on its event loop, without a hop.
final class StreamHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let driver: PeerDriver
    private let port: PortID

    init(driver: PeerDriver, port: PortID) {
        self.driver = driver
        self.port = port
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = Self.unwrapInboundIn(data)
        driver.assumeIsolated { [port] in $0.receive(stream: bytes, on: port) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        driver.assumeIsolated { $0.drain() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        let isWritable = context.channel.isWritable
        driver.assumeIsolated { [port] in $0.setStream(port, isWritable: isWritable) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        driver.assumeIsolated { [port] in $0.streamFailed(port, error: error) }
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        driver.assumeIsolated { [port] in $0.streamEnded(port) }
    }
}
