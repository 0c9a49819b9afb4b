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
        for (name, text) in [
            ("ca.pem", TestCertificate.authority), ("server.pem", TestCertificate.server),
            ("server.key", TestCertificate.key),
        ] {
            let file = try #require(fopen(folder + "/" + name, "w"))
            fputs(text + "\n", file)
            fclose(file)
        }
        // Another process may take a port between its choice and coturn's start.
        for _ in 0..<Self.tries {
            let ports = (try LoopbackSocket(.datagram).port, try LoopbackSocket(.stream).port)
            let child = try Self.spawn(arguments, folder, port: ports.0, tlsPort: ports.1)
            if try Self.answers(child, at: ports.0) {
                (process, port, tlsPort) = (child, ports.0, ports.1)
                return
            }
        }
        throw Silence()
    }

    private struct Silence: Error, CustomStringConvertible {
        var description: String { "coturn does not answer" }
    }

    private static let tries = 3

    private static func spawn(_ arguments: [String], _ folder: String, port: UInt16, tlsPort: UInt16) throws -> pid_t {
        let all = [
            path, "-n", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--listening-port=\(port)",
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
        keepNoDescriptors(&actions)
        var argv = (all + arguments).map { strdup($0) } + [nil]
        defer { for argument in argv { free(argument) } }
        var child: pid_t = 0
        try #require(posix_spawn(&child, path, &actions, nil, &argv, environ) == 0, "coturn does not start")
        return child
    }

    /// A PEM file of the authority that vouches for it.
    package var authorities: String { folder + "/ca.pem" }

    /// Asks until there is an answer: coturn takes connections before it serves them, and those stay silent.
    ///
    /// - Returns: false once the child has been ended.
    private static func answers(_ child: pid_t, at port: UInt16) throws -> Bool {
        let socket = try LoopbackSocket(.datagram)
        let request = STUNMessageWriter(.request, .binding, STUNTransactionID(random: RandomSource())).finish()
        for _ in 0..<400 {
            // It ends by itself if it cannot listen.
            guard waitpid(child, nil, WNOHANG) == 0 else { return false }
            request.withUnsafeBytes { socket.send($0, to: port) }
            var descriptor = pollfd(fd: socket.descriptor, events: Int16(POLLIN), revents: 0)
            if poll(&descriptor, 1, 50) == 1, socket.receive() != nil { return true }
        }
        end(child)
        return false
    }

    private static func end(_ child: pid_t) {
        Glibc.kill(child, SIGKILL)
        waitpid(child, nil, 0)
    }

    deinit {
        Self.end(process)
        for name in ["pid", "db", "log", "ca.pem", "server.pem", "server.key"] { unlink(folder + "/" + name) }
        rmdir(folder)
    }
}
