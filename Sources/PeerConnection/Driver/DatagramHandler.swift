internal import NIOCore
internal import SansIO

/// The one handler of a port's pipeline: hands read bursts to the driver, on its event loop, without a hop.
final class DatagramHandler: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    private let driver: PeerDriver
    private let port: PortID
    /// Datagrams read before the kernel is asked to join them (UDP GRO).
    private var readsUntilOffload = 32

    init(driver: PeerDriver, port: PortID) {
        self.driver = driver
        self.port = port
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let envelope = Self.unwrapInboundIn(data)
        if readsUntilOffload > 0 { countRead(context.channel) }
        driver.assumeIsolated { [port] in $0.receive(envelope, on: port) }
    }

    /// Asks for joined datagrams.
    ///
    /// A machine's first socket with GRO has the kernel patch its code, on all cores: the setting-up of a connection
    /// does not wait for that. What comes joined, or as long as a record, needs a longer buffer.
    private func countRead(_ channel: any Channel) {
        readsUntilOffload -= 1
        // A kernel without it goes on with single datagrams.
        guard readsUntilOffload == 0 else { return }
        _ = channel.setOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 65_536))
        _ = channel.setOption(.datagramReceiveOffload, value: true)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        driver.assumeIsolated { $0.drain() }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        driver.assumeIsolated { [port] in $0.portFailed(port, error: error) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        driver.assumeIsolated { $0.countOpenPort(-1) }
    }
}
