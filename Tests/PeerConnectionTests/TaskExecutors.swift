import NIOCore
import NIOPosix
import PeerConnection
import Testing

@Suite struct TaskExecutors {
    /// A task that prefers the connections' event loop runs on it, and stays there after each call.
    @Test(.timeLimit(.minutes(10))) func tasksRunOnTheEventLoop() async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        var configuration = ConnectedPair.configuration()
        configuration.eventLoop = loop
        let pair = try ConnectedPair(configuration)
        try await withTaskExecutorPreference(EventLoopTaskExecutor(loop)) {
            #expect(loop.inEventLoop)
            let channel = try pair.first.createDataChannel("x")
            try await pair.negotiate()
            #expect(loop.inEventLoop)
            try await channel.waitUntilOpen()
            #expect(loop.inEventLoop)
        }
        pair.first.close()
        pair.second.close()
        await pair.first.closed()
        await pair.second.closed()
    }
}
