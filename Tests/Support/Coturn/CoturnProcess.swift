import Glibc
import ICE
import STUN
import SansIO
import Testing

/// A coturn on the loopback interface, as a child process.
package final class CoturnProcess {
    package static let path = "/usr/bin/turnserver"
    package static var exists: Bool { access(path, X_OK) == 0 }

    package let port: UInt16
    /// Where it takes TLS.
    package let tlsPort: UInt16
    private let process: pid_t
    private let folder: String

    package init(_ arguments: [String]) throws {
        var template = Array("/tmp/coturn-XXXXXX".utf8CString)
        let made = try #require(mkdtemp(&template), "no temporary folder")
        folder = String(cString: made)
        port = try LoopbackSocket(.datagram).port
        tlsPort = try LoopbackSocket(.stream).port
        for (name, text) in [
            ("ca.pem", TestCertificate.authority), ("server.pem", TestCertificate.server),
            ("server.key", TestCertificate.key),
        ] {
            let file = try #require(fopen(folder + "/" + name, "w"))
            fputs(text + "\n", file)
            fclose(file)
        }
        let all = [
            Self.path, "-n", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--listening-port=\(port)",
            "--realm=example.org", "--allow-loopback-peers", "--no-dtls", "--no-cli", "--relay-threads=1",
            "--tls-listening-port=\(tlsPort)", "--cert=\(folder)/server.pem", "--pkey=\(folder)/server.key",
            "--pidfile=\(folder)/pid", "--db=\(folder)/db", "--log-file=\(folder)/log", "--simple-log",
        ]
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for descriptor in 0...2 as ClosedRange<Int32> {
            posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", O_RDWR, 0)
        }
        var argv = (all + arguments).map { strdup($0) } + [nil]
        defer { for argument in argv { free(argument) } }
        var child: pid_t = 0
        try #require(posix_spawn(&child, Self.path, &actions, nil, &argv, environ) == 0, "coturn does not start")
        process = child
        let isServing = try answers()
        try #require(isServing, "coturn does not answer")
    }

    /// A PEM file of the authority that vouches for it.
    package var authorities: String { folder + "/ca.pem" }

    /// Asks until there is an answer: coturn takes connections before it serves them, and those stay silent.
    private func answers() throws -> Bool {
        let socket = try LoopbackSocket(.datagram)
        let request = STUNMessageWriter(.request, .binding, STUNTransactionID(random: RandomSource())).finish()
        for _ in 0..<400 {
            request.withUnsafeBytes { socket.send($0, to: port) }
            var descriptor = pollfd(fd: socket.descriptor, events: Int16(POLLIN), revents: 0)
            if poll(&descriptor, 1, 50) == 1, socket.receive() != nil { return true }
        }
        return false
    }

    deinit {
        Glibc.kill(process, SIGKILL)
        var status: Int32 = 0
        waitpid(process, &status, 0)
        for name in ["pid", "db", "log", "ca.pem", "server.pem", "server.key"] { unlink(folder + "/" + name) }
        rmdir(folder)
    }
}
