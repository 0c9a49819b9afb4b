import Coturn
import DTLS
import Glibc
import SansIO
import SimulatedClock
import Testing

/// The `openssl` command as a child process, its output in a file.
private final class OpenSSLCommand {
    static let path = "/usr/bin/openssl"
    static var exists: Bool { access(path, X_OK) == 0 }

    private let process: pid_t
    private let input: Int32
    private let outputPath: String

    init?(_ arguments: [String], in folder: String, output: String) {
        outputPath = folder + "/" + output
        var pipes: [Int32] = [0, 0]
        guard pipe(&pipes) == 0 else { return nil }
        for descriptor in pipes { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, pipes[0], 0)
        posix_spawn_file_actions_addopen(&actions, 1, outputPath, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        keepNoDescriptors(&actions)
        var argv = ([Self.path] + arguments).map { strdup($0) } + [nil]
        defer { for argument in argv { free(argument) } }
        var child: pid_t = 0
        let status = posix_spawn(&child, Self.path, &actions, nil, &argv, environ)
        close(pipes[0])
        guard status == 0 else {
            close(pipes[1])
            return nil
        }
        process = child
        input = pipes[1]
    }

    func write(_ text: String) { _ = Glibc.write(input, text, text.utf8.count) }

    var output: String {
        guard let file = fopen(outputPath, "r") else { return "" }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 65_536)
        let count = fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    func wait() -> Int32 {
        var status: Int32 = 0
        waitpid(process, &status, 0)
        close(input)
        return status
    }

    func kill() {
        Glibc.kill(process, SIGKILL)
        _ = wait()
    }
}

/// A transport on a real socket of the loopback interface.
private final class DTLSSocket {
    let transport: DTLSTransport
    let socket: Int32
    var messages: [[UInt8]] = []
    var connected: DTLSConnected?
    private let transmits = TransmitQueue()
    private var peer: sockaddr_in?

    init(certificate: DTLSCertificate) throws {
        transport = try DTLSTransport(certificate: certificate, transmits: transmits)
        transmits.selectedPath = TransmitPath(
            port: PortID(rawValue: 0),
            remote: TransportAddress(.init(v4: 0x7F00_0001), port: 9)
        )
        socket = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
    }

    deinit { close(socket) }

    static func loopback(port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }

    /// Binds to a free port.
    func bindAnywhere() -> UInt16 {
        var address = Self.loopback(port: 0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        return withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                guard bind(socket, $0, length) == 0, getsockname(socket, $0, &length) == 0 else { return 0 }
                return UInt16(bigEndian: pointer.pointee.sin_port)
            }
        }
    }

    func setPeer(port: UInt16) { peer = Self.loopback(port: port) }

    var now: Instant {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Instant(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }

    /// Runs until `condition` holds, for some seconds at most.
    func run(until condition: () -> Bool) {
        let end = now + .seconds(20)
        while !condition(), now < end {
            transmits.drain { _, datagram in
                guard var address = peer else { return }
                withUnsafePointer(to: &address) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        _ = sendto(
                            socket,
                            datagram.baseAddress,
                            datagram.count,
                            0,
                            $0,
                            socklen_t(MemoryLayout<sockaddr_in>.size)
                        )
                    }
                }
            }
            var descriptor = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
            if poll(&descriptor, 1, 10) == 1 { receive() }
            transport.handleTimeout(at: now)
            if transport.state == .connecting, let fingerprint = transport.statistics.remoteFingerprint {
                transport.setRemoteFingerprints([fingerprint])
            }
            while let event = transport.nextEvent() {
                if case .connected(let value) = event { connected = value }
            }
        }
    }

    private func receive() {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let count = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                recvfrom(socket, &buffer, buffer.count, 0, $0, &length)
            }
        }
        guard count > 0 else { return }  // "connection refused" until the other process listens
        peer = address
        let datagram = Array(buffer[..<count])
        transport.receive(datagram.span.bytes, at: now) { messages.append($0.array()) }
    }
}

extension VirtualTime {
    /// Against OpenSSL's own tool over real sockets: the clock is the real one here.
    @Suite(.enabled(if: OpenSSLCommand.exists, "needs the openssl command")) struct DTLSInteroperation {
        static let export = [
            "-use_srtp", "SRTP_AEAD_AES_128_GCM", "-keymatexport", "EXTRACTOR-dtls_srtp", "-keymatexportlen", "56",
        ]

        /// A folder with a certificate made by the tool, `cert.pem` and `key.pem`; and its fingerprint.
        private func prepare() throws -> (folder: String, fingerprint: DTLSFingerprint) {
            simulated_clock_set_us(-1)
            var template = Array("/tmp/dtls-XXXXXX".utf8CString)
            let folder = String(cString: try #require(mkdtemp(&template)))
            let request = try #require(
                OpenSSLCommand(
                    [
                        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
                        "-subj", "/CN=peer", "-keyout", folder + "/key.pem", "-out", folder + "/cert.pem",
                    ],
                    in: folder,
                    output: "req.txt"
                )
            )
            #expect(request.wait() == 0)
            let print = try #require(
                OpenSSLCommand(
                    ["x509", "-in", folder + "/cert.pem", "-noout", "-fingerprint", "-sha256"],
                    in: folder,
                    output: "x509.txt"
                )
            )
            #expect(print.wait() == 0)
            let digits = try #require(print.output.split(separator: "=").last).split(separator: "\n")[0]
            return (folder, try #require(DTLSFingerprint(attributeValue: "sha-256 \(digits)")))
        }

        private func remove(_ folder: String) {
            for name in ["key.pem", "cert.pem", "req.txt", "x509.txt", "peer.txt"] { unlink(folder + "/" + name) }
            rmdir(folder)
        }

        /// What the tool prints of its exported keys, against ours.
        private func expectSameKeys(_ connected: DTLSConnected?, _ output: String) throws {
            let material = try #require(connected?.keyingMaterial)
            let bytes = material.clientKey + material.serverKey + material.clientSalt + material.serverSalt
            let hex = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16, uppercase: true) }.joined()
            #expect(output.contains("Keying material: " + hex))
            #expect(output.contains("SRTP_AEAD_AES_128_GCM"))
        }

        @Test func `a client speaks to openssl s_server`() throws {
            let (folder, fingerprint) = try prepare()
            defer { remove(folder) }
            let client = try DTLSSocket(certificate: try DTLSCertificate.generate(at: Int64(time(nil))))
            // A port that was free a moment ago.
            let port = try DTLSSocket(certificate: try #require(DTLSPair.serverCertificate)).bindAnywhere()
            let server = try #require(
                OpenSSLCommand(
                    [
                        "s_server", "-dtls1_2", "-accept", "127.0.0.1:\(port)", "-cert", folder + "/cert.pem", "-key",
                        folder + "/key.pem", "-Verify", "1",
                    ] + Self.export,
                    in: folder,
                    output: "peer.txt"
                )
            )
            defer { server.kill() }
            client.setPeer(port: port)
            client.run { server.output.contains("ACCEPT") }
            client.transport.start(role: .client, initialTimeout: .milliseconds(50), at: client.now)
            client.run { client.connected != nil }
            #expect(client.transport.statistics.remoteFingerprint == fingerprint)
            #expect(client.transport.statistics.remoteRecordSizeLimit == nil)
            client.run { server.output.contains("Keying material:") && server.output.contains("SRTP") }
            try expectSameKeys(client.connected, server.output)
            try client.transport.send(Array("from us\n".utf8).span.bytes)
            server.write("from openssl\n")
            client.run { !client.messages.isEmpty && server.output.contains("from us") }
            #expect(client.messages.first == Array("from openssl\n".utf8))
            #expect(server.output.contains("from us"))
            client.transport.close()
        }

        @Test func `a server speaks to openssl s_client`() throws {
            let (folder, fingerprint) = try prepare()
            defer { remove(folder) }
            let server = try DTLSSocket(certificate: try DTLSCertificate.generate(at: Int64(time(nil))))
            let port = server.bindAnywhere()
            server.transport.start(role: .server, initialTimeout: .milliseconds(50), at: server.now)
            let client = try #require(
                OpenSSLCommand(
                    [
                        "s_client", "-dtls1_2", "-connect", "127.0.0.1:\(port)", "-cert", folder + "/cert.pem", "-key",
                        folder + "/key.pem",
                    ] + Self.export,
                    in: folder,
                    output: "peer.txt"
                )
            )
            defer { client.kill() }
            server.run { server.connected != nil }
            #expect(server.transport.statistics.remoteFingerprint == fingerprint)
            server.run { client.output.contains("Keying material:") && client.output.contains("SRTP") }
            try expectSameKeys(server.connected, client.output)
            try server.transport.send(Array("from us\n".utf8).span.bytes)
            client.write("from openssl\n")
            server.run { !server.messages.isEmpty && client.output.contains("from us") }
            #expect(server.messages.first == Array("from openssl\n".utf8))
            #expect(client.output.contains("from us"))
        }

        /// Its records are eight bytes shorter than those of AES-GCM, and no less whole.
        @Test func `short messages of ChaCha20-Poly1305 arrive`() throws {
            let (folder, _) = try prepare()
            defer { remove(folder) }
            let server = try DTLSSocket(certificate: try DTLSCertificate.generate(at: Int64(time(nil))))
            let port = server.bindAnywhere()
            server.transport.start(role: .server, initialTimeout: .milliseconds(50), at: server.now)
            let client = try #require(
                OpenSSLCommand(
                    [
                        "s_client", "-dtls1_2", "-connect", "127.0.0.1:\(port)", "-cert", folder + "/cert.pem", "-key",
                        folder + "/key.pem", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305",
                    ],
                    in: folder,
                    output: "peer.txt"
                )
            )
            defer { client.kill() }
            server.run { server.connected != nil }
            #expect(server.connected?.cipherName == "ECDHE-ECDSA-CHACHA20-POLY1305")
            for length in 1..<16 {
                let header: [UInt8] = [23, 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, 0, 9, 0, UInt8(length)]
                let forged = header + [UInt8](repeating: 7, count: length)
                server.transport.receive(forged.span.bytes, at: server.now) { _ in }
            }
            client.write("x\n")
            server.run { !server.messages.isEmpty }
            #expect(server.messages == [Array("x\n".utf8)])
        }
    }
}
