internal import CLinux
internal import Glibc
internal import Locking
internal import NIOCore
internal import NIOPosix

/// Tells when addresses or interfaces of this machine come and go: one netlink socket for the whole process.
///
/// What the kernel says is not read, only that it said something: each connection looks at the addresses itself, which
/// no lost message can spoil. rtnetlink(7)
final class NetworkMonitor: Sendable {
    static let shared = NetworkMonitor()

    private struct State {
        var listeners: [Int: @Sendable () -> Void] = [:]
        var nextListener = 0
        /// Open, or being opened.
        var isOpen = false
        var isNotificationScheduled = false
    }

    private let state = Mutex(State())

    /// Several messages come with each change.
    private static let delay = TimeAmount.milliseconds(20)
    private static let pauseAfterError = TimeAmount.seconds(1)

    /// Calls `listener` after each change, on any thread.
    ///
    /// - Returns: what `removeListener` wants.
    func addListener(_ listener: @escaping @Sendable () -> Void) -> Int {
        let (number, opens) = state.withLock { state in
            state.nextListener += 1
            state.listeners[state.nextListener] = listener
            defer { state.isOpen = true }
            return (state.nextListener, !state.isOpen)
        }
        if opens { open() }
        return number
    }

    /// The socket stays open: another connection will want it.
    func removeListener(_ number: Int) { state.withLock { $0.listeners[number] = nil } }

    /// Without netlink (a sandbox may forbid it) changes are not noticed, and nothing else is lost.
    private func open() {
        let descriptor = clinux_open_netlink()
        guard descriptor >= 0 else { return }
        NIOPipeBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 16_384))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(NetlinkHandler(monitor: self))
                }
            }
            .takingOwnershipOfDescriptor(input: descriptor)
            .whenFailure { _ in Glibc.close(descriptor) }
    }

    /// After an error (too many messages at once) the socket is opened anew.
    fileprivate func didClose(on eventLoop: any EventLoop) {
        eventLoop.scheduleTask(in: Self.pauseAfterError) {
            self.open()
            self.didRead(on: eventLoop)
        }
    }

    fileprivate func didRead(on eventLoop: any EventLoop) {
        let isFirst = state.withLock { state in
            defer { state.isNotificationScheduled = true }
            return !state.isNotificationScheduled
        }
        guard isFirst else { return }
        eventLoop.scheduleTask(in: Self.delay) {
            let listeners = self.state.withLock { state in
                state.isNotificationScheduled = false
                return Array(state.listeners.values)
            }
            for listener in listeners { listener() }
        }
    }
}

/// Any message means a change; so does an error, which means that messages were lost.
private final class NetlinkHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let monitor: NetworkMonitor

    init(monitor: NetworkMonitor) { self.monitor = monitor }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { monitor.didRead(on: context.eventLoop) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        monitor.didRead(on: context.eventLoop)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) { monitor.didClose(on: context.eventLoop) }
}
