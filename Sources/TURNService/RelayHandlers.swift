internal import NIOCore
internal import SansIO
internal import UDPSockets

/// The one handler of a UDP socket: hands read bursts to the core, on its event loop.
final class RelayHandler: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    private let core: TURNServiceCore
    private let port: PortID
    private var offload = ReceiveOffload()

    init(core: TURNServiceCore, port: PortID) {
        self.core = core
        self.port = port
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        offload.countRead(context.channel)
        core.receive(Self.unwrapInboundIn(data), on: port)
    }

    func channelReadComplete(context: ChannelHandlerContext) { core.drain() }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { core.portFailed(port, error: error) }

    func channelInactive(context: ChannelHandlerContext) { core.portEnded(port) }
}

/// The last handler of a stream: hands its bytes to the core, on its event loop.
final class RelayStreamHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let core: TURNServiceCore
    private let port: PortID

    init(core: TURNServiceCore, port: PortID) {
        self.core = core
        self.port = port
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        core.receive(stream: Self.unwrapInboundIn(data), on: port)
    }

    func channelReadComplete(context: ChannelHandlerContext) { core.drain() }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        core.setStream(port, isWritable: context.channel.isWritable)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
