internal import NIOCore
internal import SansIO
internal import UDPSockets

/// The one handler of a port's pipeline: hands read bursts to the driver, on its event loop, without a hop.
final class DatagramHandler: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    private let driver: PeerDriver
    private let port: PortID
    private var offload = ReceiveOffload()

    init(driver: PeerDriver, port: PortID) {
        self.driver = driver
        self.port = port
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let envelope = Self.unwrapInboundIn(data)
        offload.countRead(context.channel)
        driver.assumeIsolated { [port] in $0.receive(envelope, on: port) }
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
