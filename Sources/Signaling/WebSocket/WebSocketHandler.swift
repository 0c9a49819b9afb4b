import NIOCore
import NIOWebSocket

/// Who uses a `WebSocketHandler`.
///
/// Called on the channel's event loop; not after `webSocketDidClose`.
protocol WebSocketOwner: AnyObject {
    /// A whole text message came.
    func webSocket(_ socket: WebSocketHandler, didReceive text: [UInt8])
    /// Any other frame came: the peer lives.
    func webSocketIsAlive(_ socket: WebSocketHandler)
    /// The peer broke a rule or reads too slowly: the owner closes with these words.
    func webSocket(_ socket: WebSocketHandler, failedWith error: SignalingError, _ code: RoomCloseCode)
    /// The connection is gone. `code` is that of the peer's close frame; nil if it sent none.
    func webSocketDidClose(_ socket: WebSocketHandler, code: UInt16?, reason: String)
}

/// One end of an established WebSocket: joins fragments, answers pings, closes in order, counts unsent bytes.
///
/// Confined to the channel's event loop.
///
/// RFC 6455
final class WebSocketHandler: ChannelInboundHandler {
    typealias InboundIn = WebSocketFrame
    typealias OutboundOut = WebSocketFrame

    enum Role {
        case server
        case client
    }

    private enum State {
        case open
        /// Our close frame is on its way; what still comes is dropped.
        case closing
        case closed
    }

    private let role: Role
    private let maxMessageBytes: Int
    private let maxUnsentBytes: Int
    private weak var owner: (any WebSocketOwner)?
    private var context: ChannelHandlerContext?
    private var state = State.open
    private var fragments: [UInt8]?
    private var frames: TokenBucket
    private var unsentBytes = 0
    private var peerClose: (code: UInt16?, reason: String)?

    init(role: Role, maxMessageBytes: Int, maxUnsentBytes: Int, owner: any WebSocketOwner) {
        self.role = role
        self.maxMessageBytes = maxMessageBytes
        self.maxUnsentBytes = maxUnsentBytes
        self.owner = owner
        frames = TokenBucket(rate: Self.framesPerSecond, burst: Self.frameBurst, at: .now())
    }

    // MARK: Commands

    /// Sends a text message; too many unsent bytes end the connection.
    func send(_ text: String) {
        guard state == .open, let context else { return }
        write(.text, ByteBuffer(string: text), context)
        if unsentBytes > maxUnsentBytes {
            fail(SignalingError(.tooSlow, "The receiver does not read what is sent to it."), .tooSlow)
        }
    }

    /// Asks for a pong.
    func ping() {
        guard state == .open, let context else { return }
        write(.ping, ByteBuffer(), context)
    }

    /// Sends a close frame, waits a little for the other one, closes.
    ///
    /// Until then incoming bytes are read and dropped: closing a socket with unread bytes resets the connection, and
    /// the reset would overtake the words that say why.
    func close(_ code: RoomCloseCode, reason: String) {
        guard state == .open, let context else { return }
        state = .closing
        var buffer = ByteBuffer()
        buffer.write(webSocketErrorCode: WebSocketErrorCode(codeNumber: Int(code.rawValue)))
        buffer.writeString(Self.shortened(reason))
        write(.connectionClose, buffer, context)
        let channel = context.channel
        let timer = context.eventLoop.scheduleTask(in: Self.closeTimeout) { channel.close(promise: nil) }
        channel.closeFuture.whenComplete { _ in timer.cancel() }
    }

    // MARK: Frames

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        finish()
        self.context = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        finish()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = Self.unwrapInboundIn(data)
        if frame.opcode == .connectionClose { return receiveClose(frame, context) }
        guard state == .open else { return }
        guard frames.take(1, at: .now()) else {
            return fail(SignalingError(.rateLimited, "Too many WebSocket frames a second."), .policyViolation)
        }
        guard (frame.maskKey != nil) == (role == .server) else {
            return fail(
                SignalingError(.invalidMessage, "Frames are masked by the client and only by it."),
                .protocolError
            )
        }
        // RFC 6455 §5.2: "If a nonzero value is received and none of the negotiated extensions defines the meaning of such
        // a nonzero value, the receiving endpoint MUST _Fail the WebSocket Connection_."
        guard !frame.rsv1, !frame.rsv2, !frame.rsv3 else {
            return fail(
                SignalingError(.invalidMessage, "A reserved bit of a frame is set; no extension was agreed on."),
                .protocolError
            )
        }
        switch frame.opcode {
        case .text where fragments == nil: receive(frame, startingWith: [])
        case .continuation:
            guard let begun = fragments else {
                return fail(
                    SignalingError(.invalidMessage, "A fragment continues a message that never began."),
                    .protocolError
                )
            }
            receive(frame, startingWith: begun)
        case .ping:
            write(.pong, frame.unmaskedData, context)
            owner?.webSocketIsAlive(self)
        case .pong: owner?.webSocketIsAlive(self)
        case .binary where fragments == nil:
            fail(SignalingError(.invalidMessage, "Messages are text; this one is binary."), .unsupportedData)
        default: fail(SignalingError(.invalidMessage, "A WebSocket frame that has no place here."), .protocolError)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard state == .open else { return }
        switch error {
        case NIOWebSocketError.invalidFrameLength: failTooLarge()
        case is NIOWebSocketError:
            fail(SignalingError(.invalidMessage, "The bytes are not a WebSocket frame."), .protocolError)
        default: context.close(promise: nil)
        }
    }

    // MARK: Helpers

    private func receive(_ frame: WebSocketFrame, startingWith begun: [UInt8]) {
        guard begun.count + frame.length <= maxMessageBytes else { return failTooLarge() }
        let text = begun + Array(buffer: frame.unmaskedData)
        guard frame.fin else {
            fragments = text
            return
        }
        fragments = nil
        owner?.webSocket(self, didReceive: text)
    }

    private func receiveClose(_ frame: WebSocketFrame, _ context: ChannelHandlerContext) {
        var data = frame.unmaskedData
        let code = data.readInteger(as: UInt16.self)
        if peerClose == nil {
            // No code at all says that the peer closed without giving one.
            peerClose = (code ?? Self.noStatus, Wire.excerpt(data.readString(length: data.readableBytes) ?? ""))
        }
        if state == .open { close(.normal, reason: "") }
        // TCP is closed by the server, so that the client's port is free at once. RFC 6455 §7.1.1
        if role == .server { context.close(promise: nil) }
    }

    private func failTooLarge() {
        fail(
            SignalingError(.messageTooLarge, "The message is larger than \(maxMessageBytes / 1024) KiB."),
            .messageTooBig
        )
    }

    private func fail(_ error: SignalingError, _ code: RoomCloseCode) {
        owner?.webSocket(self, failedWith: error, code)
    }

    private func finish() {
        guard state != .closed else { return }
        state = .closed
        owner?.webSocketDidClose(self, code: peerClose?.code, reason: peerClose?.reason ?? "")
    }

    private func write(_ opcode: WebSocketOpcode, _ data: ByteBuffer, _ context: ChannelHandlerContext) {
        let frame = WebSocketFrame(
            fin: true,
            opcode: opcode,
            maskKey: role == .client ? .random() : nil,
            data: data
        )
        let byteCount = data.readableBytes + Self.frameOverheadBytes
        unsentBytes += byteCount
        context.writeAndFlush(Self.wrapOutboundOut(frame)).assumeIsolated().whenComplete { _ in
            self.unsentBytes -= byteCount
        }
    }

    /// A close frame's reason is at most 123 bytes. RFC 6455 §5.5
    private static func shortened(_ reason: String) -> String {
        var reason = reason
        while reason.utf8.count > 123 { reason.removeLast() }
        return reason
    }

    /// The code that stands for "none was given". RFC 6455 §7.4.1
    static let noStatus: UInt16 = 1005
    /// Fragments and control frames count too.
    private static let framesPerSecond = 200
    private static let frameBurst = 2000
    private static let closeTimeout = TimeAmount.seconds(1)
    private static let frameOverheadBytes = 64
}
