import PeerConnection
import Testing
import TimeSharing
import Trickle

@testable import FileTransfer

/// An open channel between two connections of this process.
struct ChannelPair {
    let connections: (RTCPeerConnection, RTCPeerConnection)
    let channels: (RTCDataChannel, RTCDataChannel)
    private let tasks: [Task<Void, Never>]

    init() async throws {
        var configuration = RTCConfiguration()
        configuration.localAddresses = ["127.0.0.1"]
        let first = try RTCPeerConnection(configuration: configuration)
        let second = try RTCPeerConnection(configuration: configuration)
        connections = (first, second)
        tasks = [trickle(first, to: second), trickle(second, to: first)]
        let channel = try first.createDataChannel("files")
        let events = second.events
        try await first.setLocalDescription()
        try await second.setRemoteDescription(try #require(first.localDescription))
        try await second.setLocalDescription()
        try await first.setRemoteDescription(try #require(second.localDescription))
        try await channel.waitUntilOpen()
        var other: RTCDataChannel?
        for await event in events {
            if case .dataChannel(let incoming) = event {
                other = incoming
                break
            }
        }
        channels = (channel, try #require(other))
    }

    func close() {
        for task in tasks { task.cancel() }
        connections.0.close()
        connections.1.close()
    }
}

@Suite(.realTime) struct OverPeerConnections {
    /// The connection is closed in the middle; over a new one the transfer goes on.
    @Test(.timeLimit(.minutes(10))) func aNewConnectionGoesOn() async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        var random = SplitMix(seed: 30)
        let bytes = random.bytes(24 << 20)
        let path = try here.write("d/a", bytes)
        for number in 0..<50 { try here.write("d/small/\(number)", random.bytes(number)) }
        let first = try await ChannelPair()
        let progress = AsyncStream<Void>.makeStream()
        var options = FileReceiver.Options()
        options.onEvent = { event in
            if case .progress(_, let bytes, _) = event, bytes >= 8 << 20 { progress.continuation.yield() }
        }
        let sender = FileSender(paths: [path.replacing("/d/a", with: "/d")])
        let receiver = FileReceiver(target: there.path, options: options)
        let (channel, other) = first.channels
        let sending = Task { try await sender.run(over: channel) }
        let receiving = Task { try await receiver.run(over: other) }
        for await _ in progress.stream { break }
        first.close()
        for outcome in [await sending.result, await receiving.result] {
            guard case .failure(let error as TransferError) = outcome else { Issue.record("did not break"); continue }
            #expect(error.code == .channelClosed)
        }
        let second = try await ChannelPair()
        let (next, nextOther) = second.channels
        let again = Task { try await sender.run(over: next) }
        let received = try await receiver.run(over: nextOther)
        let sent = try await again.value
        second.close()
        #expect(sent.files == 51 && sent.resumedBytes >= 8 << 20 && sent.failures.isEmpty)
        #expect(received.files == 51 && received.failures.isEmpty)
        #expect(there.read("d/a") == bytes)
        #expect(there.names().count == 53)
    }
}
