import Coturn
import Glibc
import ICE
import NIOPosix
import SansIO
import TURNServer
import TURNService
import Testing

/// A program until it ends, and what it writes.
private final class Program: Sendable {
    private let process: pid_t
    private let output: TemporaryFile

    init(_ arguments: [String]) throws {
        output = try TemporaryFile("")
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output.path, O_WRONLY | O_APPEND, 0)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        keepNoDescriptors(&actions)
        var argv = arguments.map { strdup($0) } + [nil]
        defer { for argument in argv { free(argument) } }
        var child: pid_t = 0
        try #require(
            posix_spawnp(&child, arguments[0], &actions, nil, &argv, environ) == 0,
            "\(arguments[0]) does not start"
        )
        process = child
    }

    deinit {
        // Nobody's by now, if it has ended and was waited for.
        if kill(process, 0) == 0 { kill(process, SIGKILL) }
        waitpid(process, nil, 0)
    }

    /// Waits for its end.
    func finish() async throws -> String {
        let (process, path) = (process, output.path)
        return try await NIOThreadPool.singleton.runIfActive {
            waitpid(process, nil, 0)
            guard let file = fopen(path, "r") else { return "" }
            defer { fclose(file) }
            var text = [UInt8](repeating: 0, count: 1 << 20)
            let count = fread(&text, 1, text.count, file)
            return String(decoding: text.prefix(count), as: UTF8.self)
        }
    }
}

/// coturn's own clients with this package's server.
@Suite(.enabled(if: access("/usr/bin/turnutils_uclient", X_OK) == 0, "coturn's clients are not installed"))
struct CoturnClients {
    private func service() async throws -> (TURNService, TURNEndpoint) {
        var configuration = TURNServiceConfiguration(host: "127.0.0.1", port: 0, secret: TURNSharedSecret("north"))
        configuration.allowed = [try #require(IPNetwork("127.0.0.0/8"))]
        let service = TURNService(configuration: configuration)
        return (service, try await service.start())
    }

    /// The client gives up what a busy machine answers late: it may try a few times.
    private func output(of command: [String], until wanted: String) async throws -> String {
        var output = ""
        for _ in 0..<4 where !output.contains(wanted) { output = try await Program(command).finish() }
        return output
    }

    /// Channels and Send indications, by UDP and TCP; all that an echo sends back comes.
    ///
    /// Not by TLS, where this client takes a record for one message, and what goes at once shares records here.
    @Test(.timeLimit(.minutes(10)), arguments: [[], ["-s"], ["-t"], ["-t", "-s"], ["-G"]])
    func `turnutils_uclient gets back all that it sends`(options: [String]) async throws {
        let (service, endpoint) = try await service()
        let port = try LoopbackSocket(.datagram).port
        let echo = try Program(["turnutils_peer", "-L", "127.0.0.1", "-p", "\(port)"])
        let output = try await output(
            of: ["turnutils_uclient", "-c", "-X", "-n", "20", "-m", "2", "-l", "333", "-W", "north", "-u", "bob"]
                + ["-e", "127.0.0.1", "-r", "\(port)", "-p", "\(endpoint.udpPort)"] + options + ["127.0.0.1"],
            until: "tot_send_msgs=40, tot_recv_msgs=40"
        )
        #expect(output.contains("tot_send_msgs=40, tot_recv_msgs=40"), "\(output)")
        #expect(output.contains("Total lost packets 0 "))
        await service.stop()
        withExtendedLifetime(echo) {}
    }

    /// Each client's peer is another's relayed address.
    @Test(.timeLimit(.minutes(10))) func `turnutils_uclient's clients reach each other`() async throws {
        let (service, endpoint) = try await service()
        let output = try await output(
            of: [
                "turnutils_uclient", "-y", "-c", "-X", "-n", "20", "-m", "4", "-l", "100", "-W", "north", "-u", "bob",
                "-p", "\(endpoint.udpPort)", "127.0.0.1",
            ],
            until: "tot_send_msgs=80, tot_recv_msgs=80"
        )
        #expect(output.contains("tot_send_msgs=80, tot_recv_msgs=80"), "\(output)")
        await service.stop()
    }

    @Test(.timeLimit(.minutes(10))) func `turnutils_uclient is not let in with another secret`() async throws {
        let (service, endpoint) = try await service()
        let client = try Program([
            "turnutils_uclient", "-c", "-X", "-n", "1", "-W", "south", "-u", "bob", "-e", "127.0.0.1", "-p",
            "\(endpoint.udpPort)", "127.0.0.1",
        ])
        let output = try await client.finish()
        #expect(output.contains("Cannot complete Allocation"), "\(output)")
        #expect(await service.allocationCount() == 0)
        await service.stop()
    }

    @Test(.timeLimit(.minutes(10))) func `turnutils_stunclient learns its address`() async throws {
        let (service, endpoint) = try await service()
        let client = try Program(["turnutils_stunclient", "-p", "\(endpoint.udpPort)", "127.0.0.1"])
        #expect(try await client.finish().contains("UDP reflexive addr: 127.0.0.1:"))
        await service.stop()
    }
}
