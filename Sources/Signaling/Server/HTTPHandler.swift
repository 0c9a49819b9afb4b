import NIOCore
import NIOHTTP1
import NIOWebSocket

/// Answers the requests of one connection: the page and its assets, nothing else.
final class HTTPHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private weak var core: ServerCore?
    private var head: HTTPRequestHead?
    /// A request whose answer waits until the client has read those before: the pipeline lets no other through.
    private var waiting: HTTPRequestHead?
    private var bodyBytes = 0
    private var deadline: Scheduled<Void>?

    /// Bytes of a request's body beyond which the connection is closed: no request here has one.
    private static let bodyLimit = 4 * 1024

    init(core: ServerCore) { self.core = core }

    func handlerAdded(context: ChannelHandlerContext) { armDeadline(context) }
    func handlerRemoved(context: ChannelHandlerContext) { cancelDeadline() }

    func cancelDeadline() {
        deadline?.cancel()
        deadline = nil
    }

    /// A connection that asks nothing is closed.
    private func armDeadline(_ context: ChannelHandlerContext) {
        cancelDeadline()
        let channel = context.channel
        deadline = context.eventLoop.scheduleTask(in: core?.requestTimeout ?? .seconds(10)) {
            channel.close(promise: nil)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch Self.unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            bodyBytes = 0
        case .body(let body):
            bodyBytes += body.readableBytes
            if bodyBytes > Self.bodyLimit { context.close(promise: nil) }
        case .end:
            guard let head, let core else { return context.close(promise: nil) }
            self.head = nil
            armDeadline(context)
            guard context.channel.isWritable else {
                waiting = head
                return
            }
            write(core.response(to: head), to: head, context)
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable, let head = waiting, let core {
            waiting = nil
            armDeadline(context)
            write(core.response(to: head), to: head, context)
        }
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A WebSocket that is refused: the request comes here next, and is answered in words.
        if error is NIOWebSocketUpgradeError { return }
        context.close(promise: nil)
    }

    private func write(_ response: PageResponse, to request: HTTPRequestHead, _ context: ChannelHandlerContext) {
        var head = HTTPResponseHead(version: .http1_1, status: response.status, headers: response.headers)
        head.headers.replaceOrAdd(name: "content-length", value: String(response.body.count))
        if !request.isKeepAlive { head.headers.replaceOrAdd(name: "connection", value: "close") }
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        if request.method != .HEAD, !response.body.isEmpty {
            context.write(Self.wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: response.body)))), promise: nil)
        }
        let channel = context.channel
        let closes = !request.isKeepAlive
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil))).whenComplete { _ in
            if closes { channel.close(promise: nil) }
        }
    }
}
