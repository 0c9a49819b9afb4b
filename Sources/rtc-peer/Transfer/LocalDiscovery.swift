import Glibc
import Locking
import NIOCore
import NIOPosix

/// How a receiver that knows only a code finds the sender's signalling server on the same network: questions by
/// multicast UDP, `rtc-peer? 1 ROOM`, and answers straight back, `rtc-peer! 1 ROOM PORT http` (or `https`).
///
/// Nothing here is secret or trusted: whoever is found must then prove that it knows the code.
enum LocalDiscovery {
    static let group = "239.255.82.84"
    static let port = 48_219
    fileprivate static let datagramByteLimit = 128

    /// The question about a room.
    static func question(room: String) -> String { "rtc-peer? 1 \(room)" }

    /// Which room a question is about; nil for anything else.
    static func room(ofQuestion text: String) -> Substring? {
        let fields = text.split(separator: " ", omittingEmptySubsequences: false)
        guard fields.count == 3, fields[0] == "rtc-peer?", fields[1] == "1" else { return nil }
        return fields[2]
    }

    static func answer(room: String, port: Int, isSecure: Bool) -> String {
        "rtc-peer! 1 \(room) \(port) \(isSecure ? "https" : "http")"
    }

    /// Where the server of a room is, by an answer from `host`; nil if it is no such answer.
    static func url(ofAnswer text: String, room: String, from host: String) -> String? {
        let fields = text.split(separator: " ", omittingEmptySubsequences: false)
        guard fields.count == 5, fields[0] == "rtc-peer!", fields[1] == "1", fields[2] == room,
            let port = Int(fields[3]), (1...65_535).contains(port), fields[4] == "http" || fields[4] == "https"
        else { return nil }
        return "\(fields[4])://\(host):\(port)/"
    }

    /// This machine's IPv4 addresses that can be used for multicast, and their devices.
    fileprivate static func devices() -> [NIONetworkDevice] {
        let all = (try? System.enumerateDevices()) ?? []
        return all.filter { $0.address?.protocol == .inet && ($0.multicastSupported || $0.name == "lo") }
    }

    /// Answers questions about one room while it lives.
    final class Responder: Sendable {
        private let channel: any Channel

        private init(channel: any Channel) { self.channel = channel }

        /// Starts to answer.
        ///
        /// - Throws: the system's error if the port cannot be bound.
        static func start(room: String, serverPort: Int, isSecure: Bool) async throws -> Responder {
            let reply = answer(room: room, port: serverPort, isSecure: isSecure)
            let channel = try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .channelOption(.socketOption(.so_reuseaddr), value: 1)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(
                            DatagramTexts { text, remote, channel in
                                guard LocalDiscovery.room(ofQuestion: text).map({ $0 == room }) == true else { return }
                                DatagramTexts.send(reply, to: remote, on: channel)
                            }
                        )
                    }
                }
                .bind(host: "0.0.0.0", port: LocalDiscovery.port).get()
            if let channel = channel as? any MulticastChannel {
                let group = try SocketAddress(ipAddress: LocalDiscovery.group, port: LocalDiscovery.port)
                // A device that takes no multicast (as a tunnel) leaves the others.
                for device in devices() { try? await channel.joinGroup(group, device: device).get() }
            }
            return Responder(channel: channel)
        }

        func stop() async { try? await channel.close() }
    }

    /// Looks for the server of a room.
    ///
    /// - Parameters:
    ///   - room: the code's number.
    ///   - patience: how long to go on asking.
    /// - Returns: its URL; nil if nobody answered.
    static func find(room: String, patience: Duration) async -> String? {
        let (found, feed) = AsyncStream<String>.makeStream(bufferingPolicy: .bufferingOldest(1))
        var channels: [any Channel] = []
        for device in devices() {
            guard let host = device.address?.ipAddress else { continue }
            let bootstrap = DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .channelOption(.socketOption(.so_broadcast), value: 1)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(
                            DatagramTexts { text, remote, _ in
                                guard let host = remote.ipAddress,
                                    let url = LocalDiscovery.url(ofAnswer: text, room: room, from: host)
                                else { return }
                                feed.yield(url)
                            }
                        )
                    }
                }
            guard let channel = try? await bootstrap.bind(host: host, port: 0).get() else { continue }
            if let provider = channel as? any SocketOptionProvider {
                // struct in_addr, in network byte order.
                let interface = host.split(separator: ".").reduce(0) { $0 << 8 | (UInt32($1) ?? 0) }.bigEndian
                try? await provider.unsafeSetSocketOption(level: .ip, name: .ip_multicast_if, value: interface).get()
            }
            channels.append(channel)
        }
        let asking = Task { [channels] in
            let question = LocalDiscovery.question(room: room)
            var pause = Duration.milliseconds(200)
            let end = ContinuousClock.now + patience
            while !Task.isCancelled, ContinuousClock.now < end {
                for channel in channels {
                    let isLoopback = channel.localAddress?.ipAddress?.hasPrefix("127.") == true
                    // On the loopback device there is no multicast; who broadcasts there reaches all that listen.
                    let target = isLoopback ? "127.255.255.255" : group
                    if let remote = try? SocketAddress(ipAddress: target, port: port) {
                        DatagramTexts.send(question, to: remote, on: channel)
                    }
                }
                try? await Task.sleep(for: min(pause, end - .now))
                pause = min(pause * 2, .seconds(2))
            }
            feed.finish()
        }
        var url: String?
        for await first in found {
            url = first
            break
        }
        asking.cancel()
        for channel in channels { try? await channel.close() }
        return url
    }
}

/// Datagrams of text, both ways; others are ignored.
private final class DatagramTexts: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    private let receive: @Sendable (String, SocketAddress, any Channel) -> Void

    init(receive: @escaping @Sendable (String, SocketAddress, any Channel) -> Void) { self.receive = receive }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let envelope = Self.unwrapInboundIn(data)
        guard envelope.data.readableBytes <= LocalDiscovery.datagramByteLimit else { return }
        receive(String(buffer: envelope.data), envelope.remoteAddress, context.channel)
    }

    /// One datagram that cannot be sent, as for lack of a route, does not end the channel's use.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {}

    static func send(_ text: String, to remote: SocketAddress, on channel: any Channel) {
        let envelope = AddressedEnvelope(remoteAddress: remote, data: ByteBuffer(string: text))
        channel.writeAndFlush(envelope, promise: nil)
    }
}
