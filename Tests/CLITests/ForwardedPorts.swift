import NIOCore
import NIOPosix
import PeerConnection
import Testing
import TimeSharing
import Trickle

@testable import rtc_peer

/// TCP connections through two connected peers, on real loopback sockets.
@Suite(.realTime) struct ForwardedPorts {
    private typealias TCP = PortForwarding.TCP
    private typealias Inbound = NIOAsyncChannelInboundStream<ByteBuffer>
    /// What the target does with a connection; writes go to the channel, since NIO's writer returns before they do, and
    /// a close loses them.
    private typealias Server = @Sendable (Inbound, any Channel) async throws -> Void

    /// Two peers, one of which listens and one of which connects to the target.
    private final class Peers: Sendable {
        let near: RTCPeerConnection
        let far: RTCPeerConnection
        private let tasks: [Task<Void, Never>]

        init() throws {
            var configuration = RTCConfiguration()
            configuration.localAddresses = ["127.0.0.1"]
            near = try RTCPeerConnection(configuration: configuration)
            far = try RTCPeerConnection(configuration: configuration)
            tasks = [trickle(near, to: far), trickle(far, to: near)]
        }

        func connect() async throws {
            let channel = try near.createDataChannel("first")
            try await near.setLocalDescription()
            try await far.setRemoteDescription(try #require(near.localDescription))
            try await far.setLocalDescription()
            try await near.setRemoteDescription(try #require(far.localDescription))
            try await channel.waitUntilOpen()
        }

        func end() {
            for task in tasks { task.cancel() }
            near.close()
            far.close()
        }
    }

    private func wrapped(_ channel: any Channel) throws -> TCP {
        try TCP(wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true))
    }

    private func connection(to port: Int) async throws -> TCP {
        try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture { try wrapped(channel) }
            }
    }

    /// Runs a server, a port that leads to it over two peers, and `work` with that port.
    private func withPort(
        limit: Int = 256,
        server: @escaping Server,
        work: (_ port: Int) async throws -> Void
    ) async throws {
        let target = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .bind(host: "127.0.0.1", port: 0) { channel in
                channel.eventLoop.makeCompletedFuture { try wrapped(channel) }
            }
        let targetPort = try #require(target.channel.localAddress?.port)
        let peers = try Peers()
        let events = peers.far.events
        try await peers.connect()
        let rule = try #require(ForwardRule("0:127.0.0.1:\(targetPort)"))
        let listener = try #require(
            try await PortForwarding.listen([rule], connections: ForwardedConnections(limit: limit)).first
        )
        let port = listener.port
        let running = [
            Task {
                try? await target.executeThenClose { connections in
                    await withDiscardingTaskGroup { group in
                        do {
                            for try await connection in connections {
                                group.addTask {
                                    try? await connection.executeThenClose { inbound, _ in
                                        try await server(inbound, connection.channel)
                                    }
                                }
                            }
                        } catch {}
                    }
                }
            },
            Task {
                await withDiscardingTaskGroup { group in
                    for await case .dataChannel(let channel) in events where channel.label != "first" {
                        group.addTask {
                            if let words = PortForwarding.refusal(of: channel, allowed: [rule.target]) {
                                await PortForwarding.refuse(channel, words)
                            } else {
                                await PortForwarding.serve(channel, target: rule.target)
                            }
                        }
                    }
                }
            },
            Task {
                try? await PortForwarding.run(listener) { tcp in
                    guard
                        let channel = try? peers.near.createDataChannel(rule.target.description, options: .forwarding)
                    else { return await PortForwarding.close(tcp) }
                    await PortForwarding.join(tcp, channel) { _ in }
                }
            },
        ]
        let outcome = await Result { try await work(port) }
        for task in running { task.cancel() }
        peers.end()
        for task in running { await task.value }
        try outcome.get()
    }

    /// A server that does what the first byte says: `e` sends all back, `b` sends ``blastByteCount`` bytes.
    private static func echoOrBlast(_ inbound: Inbound, _ channel: any Channel) async throws {
        var kind: UInt8?
        for try await var bytes in inbound {
            kind = kind ?? bytes.readInteger()
            if kind == UInt8(ascii: "b") {
                for _ in 0..<blastByteCount / chunk.readableBytes { try await channel.writeAndFlush(chunk) }
            } else {
                try await channel.writeAndFlush(bytes)
            }
        }
    }

    private static let chunk = ByteBuffer(repeating: 7, count: 1 << 16)
    private static let blastByteCount = 32 << 20

    private static func all(of inbound: Inbound) async throws -> Int {
        var count = 0
        for try await bytes in inbound { count += bytes.readableBytes }
        return count
    }

    private func echo(_ port: Int) async throws -> String {
        try await connection(to: port).executeThenClose { inbound, outbound in
            try await outbound.write(ByteBuffer(string: "eHello"))
            var answer = ByteBuffer()
            for try await var bytes in inbound {
                answer.writeBuffer(&bytes)
                if answer.readableBytes >= 5 { break }
            }
            return String(buffer: answer)
        }
    }

    @Test(.timeLimit(.minutes(10))) func whoHasSentAllStillGetsTheAnswer() async throws {
        let byteCount = 3 * ForwardFlow.windowByteCount + 1
        try await withPort { inbound, channel in
            let count = try await Self.all(of: inbound)
            try await channel.writeAndFlush(ByteBuffer(string: "\(count) bytes"))
        } work: { port in
            for count in [0, 1, byteCount] {
                let answer = try await connection(to: port).executeThenClose { inbound, outbound in
                    try await outbound.write(ByteBuffer(repeating: 1, count: count))
                    outbound.finish()
                    var answer = ByteBuffer()
                    for try await var bytes in inbound { answer.writeBuffer(&bytes) }
                    return String(buffer: answer)
                }
                #expect(answer == "\(count) bytes")
            }
        }
    }

    @Test(.timeLimit(.minutes(10))) func aServerThatHasSentAllStillGetsTheRest() async throws {
        let (counts, continuation) = AsyncStream.makeStream(of: Int.self)
        let byteCount = 3 * ForwardFlow.windowByteCount + 1
        try await withPort { inbound, channel in
            try await channel.close(mode: .output)
            continuation.yield(try await Self.all(of: inbound))
        } work: { port in
            let ended = try await connection(to: port).executeThenClose { inbound, outbound in
                let count = try await Self.all(of: inbound)
                try await outbound.write(ByteBuffer(repeating: 1, count: byteCount))
                outbound.finish()
                // The connection ends when the other side has all.
                for await received in counts {
                    #expect(received == byteCount)
                    break
                }
                return count
            }
            #expect(ended == 0)
        }
    }

    /// Twenty windows are more than a connection's memory for what nobody reads.
    @Test(.timeLimit(.minutes(10))) func whoDoesNotReadStopsNobodyElse() async throws {
        let (ends, continuation) = AsyncStream.makeStream(of: Void.self)
        try await withPort { inbound, channel in
            do {
                try await Self.echoOrBlast(inbound, channel)
            } catch {
                continuation.yield()
                throw error
            }
        } work: { port in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<20 {
                    let paused = try await connection(to: port)
                    group.addTask {
                        try await paused.executeThenClose { _, outbound in
                            try await outbound.write(ByteBuffer(string: "b"))
                            // Until the task is cancelled.
                            let (forever, continuation) = AsyncStream.makeStream(of: Void.self)
                            for await _ in forever {}
                            continuation.finish()
                        }
                    }
                }
                let count = try await connection(to: port).executeThenClose { inbound, outbound in
                    try await outbound.write(ByteBuffer(string: "b"))
                    outbound.finish()
                    return try await Self.all(of: inbound)
                }
                #expect(count == Self.blastByteCount)
                #expect(try await echo(port) == "Hello")
                group.cancelAll()
            }
            // Who sends to them is told that they are gone.
            var endCount = 0
            for await _ in ends {
                endCount += 1
                if endCount == 20 { break }
            }
            #expect(try await echo(port) == "Hello")
        }
    }

    @Test(.timeLimit(.minutes(10))) func oneMoreThanTheLimitIsClosedAndNoLongerThanThat() async throws {
        try await withPort(limit: 1, server: Self.echoOrBlast) { port in
            try await connection(to: port).executeThenClose { inbound, outbound in
                try await outbound.write(ByteBuffer(string: "e1"))
                var messages = inbound.makeAsyncIterator()
                #expect(try await messages.next() == ByteBuffer(string: "1"))
                let answer = try? await echo(port)
                #expect(answer == nil || answer == "")
                try await outbound.write(ByteBuffer(string: "2"))
                #expect(try await messages.next() == ByteBuffer(string: "2"))
            }
            while (try? await echo(port)) != "Hello" { await Task.yield() }
        }
    }

    @Test func onlyReliableChannelsForWhatIsAllowedLetterForLetterAreConnected() throws {
        let connection = try RTCPeerConnection(configuration: RTCConfiguration())
        defer { connection.close() }
        let allowed: Set = [try #require(ForwardTarget("localhost:80")), try #require(ForwardTarget("[::1]:80"))]
        func refusal(_ label: String, _ change: (inout RTCDataChannelInit) -> Void = { _ in }) throws -> String? {
            var options = RTCDataChannelInit.forwarding
            change(&options)
            return PortForwarding.refusal(
                of: try connection.createDataChannel(label, options: options),
                allowed: allowed
            )
        }
        #expect(try refusal("localhost:80") == nil)
        #expect(try refusal("[::1]:80") == nil)
        let others = [
            "localhost:080", "localhost:+80", "LOCALHOST:80", "localhost:81", " localhost:80", "[::1]:0080", "",
        ]
        for label in others {
            #expect(try refusal(label) == "\(label) is not allowed there")
        }
        #expect(try refusal("localhost:80") { $0.protocol = "other" } == "other is not rtc-peer-forward-1")
        let unreliable = "the channel is not reliable and ordered"
        #expect(try refusal("localhost:80") { $0.ordered = false } == unreliable)
        #expect(try refusal("localhost:80") { $0.maxRetransmits = 3 } == unreliable)
        #expect(try refusal("localhost:80") { $0.maxPacketLifeTime = 3 } == unreliable)
    }
}
