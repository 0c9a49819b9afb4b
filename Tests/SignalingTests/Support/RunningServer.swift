import NIOCore
import NIOPosix
import Signaling

/// Runs a server on a free port of loopback while `body` runs.
///
/// Peers that must stay alive under short time limits are `SignalingClient`s: those answer on NIO's threads, while a test
/// may have to wait for its turn.
func withServer(
    _ change: (inout SignalingServerConfiguration) -> Void = { _ in },
    _ body: (SignalingServer, SignalingServer.Endpoint) async throws -> Void
) async throws {
    var configuration = SignalingServerConfiguration()
    // Long enough for a machine that is busy with other tests; whoever tests them sets short ones.
    configuration.limits.heartbeatTimeout = .seconds(600)
    configuration.limits.joinTimeout = .seconds(600)
    configuration.limits.resumeGrace = .seconds(600)
    change(&configuration)
    let server = SignalingServer(configuration: configuration)
    let endpoint = try await configuration.port == 0 ? server.start() : startOnFreedPort(server)
    do {
        try await body(server, endpoint)
    } catch {
        await server.stop()
        throw error
    }
    await server.stop()
}

/// A free port that no outgoing connection of another test gets, since it is below those that the kernel chooses.
func unsharedPort() async throws -> Int {
    while true {
        var configuration = SignalingServerConfiguration()
        configuration.port = .random(in: 15_000..<32_000)
        let server = SignalingServer(configuration: configuration)
        guard (try? await server.start()) != nil else { continue }
        await server.stop()
        return configuration.port
    }
}

/// Starts a server on a port that another one has just left.
///
/// A test that starts a process holds a copy of every socket until that process runs its program: try again.
@discardableResult
func startOnFreedPort(_ server: SignalingServer) async throws -> SignalingServer.Endpoint {
    for _ in 0..<600 {
        do {
            return try await server.start()
        } catch let error as SignalingError where error.code == .addressInUse {
            try await Task.sleep(for: .milliseconds(50))
        }
    }
    return try await server.start()
}

/// Forwards TCP connections to a port, until it is told to break them.
final class BreakingProxy: Sendable {
    private let listener: any Channel
    private let loop: any EventLoop
    private let links: NIOLoopBoundBox<[any Channel]>
    private let isSilent: NIOLoopBoundBox<Bool>

    var port: Int { listener.localAddress?.port ?? 0 }

    init(to target: Int) async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let links = NIOLoopBoundBox<[any Channel]>.makeBoxSendingValue([], eventLoop: loop)
        let isSilent = NIOLoopBoundBox.makeBoxSendingValue(false, eventLoop: loop)
        self.loop = loop
        self.links = links
        self.isSilent = isSilent
        listener = try await ServerBootstrap(group: loop)
            .childChannelOption(.autoRead, value: false)
            .childChannelInitializer { near in
                let outgoing = ClientBootstrap(group: loop).channelInitializer { far in
                    loop.makeCompletedFuture {
                        try far.pipeline.syncOperations.addHandler(Forwarder(to: near, isSilent: isSilent))
                        try near.pipeline.syncOperations.addHandler(Forwarder(to: far, isSilent: isSilent))
                        links.value += [near, far]
                    }
                }
                return outgoing.connect(host: "127.0.0.1", port: target).flatMap { _ in
                    near.setOption(.autoRead, value: true)
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    /// Breaks all connections at once.
    func breakAll() async {
        let links = links
        try? await loop.submit {
            for channel in links.value { channel.close(promise: nil) }
            links.value = []
        }.get()
    }

    /// Swallows everything from now on, as a cable that was pulled; new connections too.
    func setSilent(_ silent: Bool) async {
        let isSilent = isSilent
        try? await loop.submit { isSilent.value = silent }.get()
    }

    func stop() async {
        try? await listener.close()
        await breakAll()
    }

    private final class Forwarder: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let target: any Channel
        private let isSilent: NIOLoopBoundBox<Bool>

        init(to target: any Channel, isSilent: NIOLoopBoundBox<Bool>) {
            self.target = target
            self.isSilent = isSilent
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            if !isSilent.value { target.writeAndFlush(Self.unwrapInboundIn(data), promise: nil) }
        }

        func channelInactive(context: ChannelHandlerContext) { target.close(promise: nil) }
    }
}
