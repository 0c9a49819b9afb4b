import NIOCore
import NIOPosix
import NIOSSL

/// A TCP or TLS connection that sends exactly what it is told, well-formed or not; for one task.
final class RawConnection {
    let channel: any Channel
    private var chunks: AsyncStream<[UInt8]>.AsyncIterator
    private var buffer: [UInt8] = []

    private init(channel: any Channel, chunks: AsyncStream<[UInt8]>) {
        self.channel = channel
        self.chunks = chunks.makeAsyncIterator()
    }

    /// Connects; `first` is sent at once, without waiting for the test's turn.
    static func connect(
        to port: Int,
        tls: NIOSSLContext? = nil,
        sending first: some Sequence<UInt8> = [UInt8]()
    ) async throws -> RawConnection {
        let first = Array(first)
        let (chunks, feed) = AsyncStream<[UInt8]>.makeStream()
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    if let tls { try pipeline.addHandler(try NIOSSLClientHandler(context: tls, serverHostname: nil)) }
                    try pipeline.addHandler(Collector(feed: feed, first: first))
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
        return RawConnection(channel: channel, chunks: chunks)
    }

    func send(_ bytes: some Sequence<UInt8>) async throws {
        try await channel.writeAndFlush(ByteBuffer(bytes: bytes))
    }

    func send(_ text: String) async throws { try await send(text.utf8) }

    /// Sends what may fail because the other side closes meanwhile.
    func trySending(_ bytes: [UInt8]) { channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil) }

    /// The next `count` bytes; nil if the connection ends before.
    func read(_ count: Int) async -> [UInt8]? {
        while buffer.count < count { guard await readMore() else { return nil } }
        defer { buffer.removeFirst(count) }
        return Array(buffer[..<count])
    }

    /// What comes until the connection ends.
    func readToEnd() async -> [UInt8] {
        while await readMore() {}
        defer { buffer = [] }
        return buffer
    }

    /// An HTTP response's head with its empty line; nil if the connection ends before.
    func readHead() async -> String? {
        while true {
            let text = String(decoding: buffer, as: UTF8.self)
            if let end = text.range(ofText: "\r\n\r\n") {
                let head = String(text[..<end])
                buffer.removeFirst(head.utf8.count)
                return head
            }
            guard await readMore() else { return nil }
        }
    }

    func close() async { try? await channel.close() }

    private func readMore() async -> Bool {
        var iterator = chunks
        defer { chunks = iterator }
        guard let chunk = await iterator.next(isolation: #isolation) else { return false }
        buffer += chunk
        return true
    }

    private final class Collector: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let feed: AsyncStream<[UInt8]>.Continuation

        private let first: [UInt8]

        init(feed: AsyncStream<[UInt8]>.Continuation, first: [UInt8]) {
            self.feed = feed
            self.first = first
        }

        func channelActive(context: ChannelHandlerContext) {
            if !first.isEmpty {
                context.channel.writeAndFlush(context.channel.allocator.buffer(bytes: first), promise: nil)
            }
            context.fireChannelActive()
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            feed.yield(Array(Self.unwrapInboundIn(data).readableBytesView))
        }

        func channelInactive(context: ChannelHandlerContext) { feed.finish() }
        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}

extension String {
    /// Where `text` ends that stands first in this string.
    fileprivate func range(ofText text: String) -> Index? {
        var rest = utf8[...]
        while !rest.isEmpty {
            if rest.starts(with: text.utf8) { return rest.index(rest.startIndex, offsetBy: text.utf8.count) }
            rest = rest.dropFirst()
        }
        return nil
    }
}
