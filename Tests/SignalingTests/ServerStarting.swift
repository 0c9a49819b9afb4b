import Glibc
import NIOCore
import NIOSSL
import Signaling
import Testing

@Suite("Server starting and stopping", .timeLimit(.minutes(15)))
struct ServerStarting {
    private func error(_ change: (inout SignalingServerConfiguration) -> Void) async -> SignalingError? {
        var configuration = SignalingServerConfiguration()
        change(&configuration)
        let server = SignalingServer(configuration: configuration)
        do {
            _ = try await server.start()
            await server.stop()
            return nil
        } catch { return error as? SignalingError }
    }

    @Test("a port that is taken says so and what to do")
    func portTaken() async throws {
        try await withServer { _, endpoint in
            let error = await error { $0.port = endpoint.port }
            #expect(error?.code == .addressInUse)
            #expect(
                error?.message
                    == "Port \(endpoint.port) on 127.0.0.1 is taken by another program. Choose another port, or 0 for any free one."
            )
        }
    }

    @Test("addresses that are not of this machine, names without an address, ports that are none")
    func addresses() async {
        #expect(await error { $0.host = "192.0.2.123" }?.code == .addressNotLocal)
        #expect(await error { $0.host = "192.0.2.123" }?.message == "192.0.2.123 is not an address of this machine.")
        #expect(await error { $0.host = "no-such-name.invalid" }?.code == .unknownHost)
        for port in [-1, 65_536, 70_000, Int.max, Int.min] {
            #expect(await error { $0.port = port }?.code == .invalidPort, "\(port)")
        }
    }

    @Test("an endpoint tells where it is")
    func endpoint() async throws {
        try await withServer { _, endpoint in
            #expect(endpoint.host == "127.0.0.1")
            #expect(endpoint.port > 0)
            #expect(!endpoint.isSecure)
            #expect(endpoint.url == "http://127.0.0.1:\(endpoint.port)/")
            #expect(endpoint.networkURLs == [])
            #expect(endpoint.certificateFingerprint == nil)
        }
        try await withServer {
            $0.host = "0.0.0.0"
        } _: { _, endpoint in
            #expect(endpoint.url == "http://localhost:\(endpoint.port)/")
            #expect(endpoint.networkURLs.allSatisfy { $0.hasPrefix("http://") && $0.hasSuffix(":\(endpoint.port)/") })
        }
    }

    @Test("a server starts once; a failed start may be repeated")
    func startingTwice() async throws {
        try await withServer { server, _ in
            await #expect(throws: SignalingError.self) { _ = try await server.start() }
        }
        var configuration = SignalingServerConfiguration()
        configuration.host = "192.0.2.123"
        let server = SignalingServer(configuration: configuration)
        for _ in 0..<2 {
            do {
                _ = try await server.start()
            } catch { #expect((error as? SignalingError)?.code == .addressNotLocal) }
        }
        await server.stop()
        await server.stop()
    }

    @Test("a server that stops says goodbye to everybody, and its port is free")
    func stopping() async throws {
        let port = try await unsharedPort()
        try await withServer {
            $0.port = port
        } _: { server, _ in
            let (first, _) = try await RawWebSocket.join(on: port)
            let idle = try await RawConnection.connect(to: port)
            let unjoined = try await RawWebSocket.open(to: port)
            async let stopped: Void = server.stop()
            for socket in [first, unjoined] {
                #expect(
                    await socket.hearError()
                        == SignalingError(.serverStopping, "The signalling server is being stopped.")
                )
                #expect(await socket.hear() == nil)
                #expect(socket.closed?.closeCode == 1001)
            }
            #expect(await idle.readToEnd().isEmpty)
            await stopped
        }
        var configuration = SignalingServerConfiguration()
        configuration.port = port
        let next = SignalingServer(configuration: configuration)
        try await startOnFreedPort(next)
        await next.stop()
    }

    @Test("TLS with a self-made certificate: page and WebSocket, and its fingerprint")
    func selfMadeCertificate() async throws {
        try await withServer {
            $0.tls = .selfMade(directory: nil)
        } _: { _, endpoint in
            #expect(endpoint.isSecure)
            #expect(endpoint.url == "https://127.0.0.1:\(endpoint.port)/")
            #expect(endpoint.certificateFingerprint?.split(separator: ":").count == 32)
            var configuration = TLSConfiguration.makeClientConfiguration()
            configuration.certificateVerification = .none
            let context = try NIOSSLContext(configuration: configuration)
            let page = try await RawConnection.connect(to: endpoint.port, tls: context)
            try await page.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            #expect(await page.readHead()?.hasPrefix("HTTP/1.1 200 ") == true)
            await page.close()
            let socket = try await RawWebSocket.open(
                to: endpoint.port,
                tls: context,
                headers: "Origin: https://127.0.0.1:\(endpoint.port)\r\n"
            )
            try await socket.say(.join(.init(room: "secret", name: "")))
            guard case .joined? = await socket.hear() else { return #expect(Bool(false)) }
            await socket.connection.close()
            // Whoever speaks plain HTTP, or nonsense, is closed; the server goes on.
            for text in ["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "\u{16}\u{3}\u{1}nonsense"] {
                let plain = try await RawConnection.connect(to: endpoint.port)
                try await plain.send(text)
                #expect(!String(decoding: await plain.readToEnd(), as: UTF8.self).hasPrefix("HTTP"))
            }
            let again = try await RawWebSocket.open(to: endpoint.port, tls: context)
            await again.connection.close()
        }
    }

    @Test("a certificate that is kept is used again; its key is the user's alone, and a broken file is replaced")
    func keptCertificate() async throws {
        let directory = try TemporaryDirectory()
        func start() async throws -> String? {
            var fingerprint: String?
            try await withServer {
                $0.tls = .selfMade(directory: directory.path)
            } _: { _, endpoint in
                fingerprint = endpoint.certificateFingerprint
            }
            return fingerprint
        }
        let first = try await start()
        #expect(first != nil)
        #expect(try await start() == first)
        let key = directory.path + "/signaling-key.pem"
        #expect(directory.mode(of: "signaling-key.pem") == 0o600)
        directory.write("nonsense", to: "signaling-key.pem")
        let second = try await start()
        #expect(second != nil)
        #expect(second != first)
        // Half-written by a program that died, and readable by all.
        directory.write("", to: "signaling-key.pem.new")
        chmod(key + ".new", 0o644)
        directory.write("nonsense", to: "signaling-certificate.pem")
        #expect(try await start() != second)
        #expect(directory.mode(of: "signaling-key.pem") == 0o600)
    }

    @Test("the client trusts a certificate that it was given, and no other")
    func trust() async throws {
        let directory = try TemporaryDirectory()
        try await withServer {
            $0.tls = .selfMade(directory: directory.path)
        } _: { _, endpoint in
            let trusting = try SignalingClient(
                url: "https://127.0.0.1:\(endpoint.port)",
                room: "r",
                name: "",
                certificate: directory.path + "/signaling-certificate.pem"
            )
            var events = trusting.events.makeAsyncIterator()
            let first = await events.next()
            guard case .joined? = first else { return #expect(Bool(false), "\(String(describing: first))") }
            await trusting.leave()
            let wary = try SignalingClient(url: "https://127.0.0.1:\(endpoint.port)", room: "r", name: "")
            var wariness = wary.events.makeAsyncIterator()
            guard case .disconnected(let error)? = await wariness.next() else { return #expect(Bool(false)) }
            #expect(error.code == .certificate)
            #expect(error.message.contains("certificate is not trusted"), "\(error.message)")
            await wary.leave()
        }
    }

    @Test("a client that knows the certificate's fingerprint takes that certificate alone, whatever its names")
    func pinnedCertificate() async throws {
        try await withServer {
            $0.tls = .selfMade(directory: nil)
        } _: { _, endpoint in
            let fingerprint = try #require(endpoint.certificateFingerprint)
            for spelling in [fingerprint, fingerprint.lowercased().filter { $0 != ":" }] {
                let pinned = try SignalingClient(
                    url: "https://127.0.0.1:\(endpoint.port)",
                    room: "r",
                    name: "",
                    certificateFingerprint: spelling
                )
                var events = pinned.events.makeAsyncIterator()
                guard case .joined? = await events.next() else { return #expect(Bool(false)) }
                await pinned.leave()
            }
            let last = fingerprint.hasSuffix("0") ? "1" : "0"
            let deceived = try SignalingClient(
                url: "https://127.0.0.1:\(endpoint.port)",
                room: "r",
                name: "",
                certificateFingerprint: fingerprint.dropLast() + last
            )
            var events = deceived.events.makeAsyncIterator()
            guard case .disconnected(let error)? = await events.next() else { return #expect(Bool(false)) }
            #expect(error.code == .certificate)
            #expect(
                error.message.contains("its certificate has the SHA-256 \(fingerprint), not the one"),
                "\(error.message)"
            )
            await deceived.leave()
            #expect(throws: SignalingError.self, "a fingerprint protects nothing without TLS") {
                try SignalingClient(url: "http://h", room: "r", name: "", certificateFingerprint: fingerprint)
            }
            for wrong in ["", "AB:CD", fingerprint + ":00", String(repeating: "g", count: 64)] {
                #expect(throws: SignalingError.self, "\(wrong)") {
                    try SignalingClient(url: "https://h", room: "r", name: "", certificateFingerprint: wrong)
                }
            }
        }
    }

    @Test("certificate files that cannot be used say which")
    func brokenFiles() async throws {
        let directory = try TemporaryDirectory()
        directory.write("nonsense", to: "a.pem")
        let missing = await error {
            $0.tls = .files(certificate: directory.path + "/none.pem", key: directory.path + "/none.pem")
        }
        #expect(missing?.code == .certificate)
        #expect(missing?.message.contains("none.pem") == true)
        let broken = await error {
            $0.tls = .files(certificate: directory.path + "/a.pem", key: directory.path + "/a.pem")
        }
        #expect(broken?.code == .certificate)
        let nowhere = await error { $0.tls = .selfMade(directory: directory.path + "/a.pem/below") }
        #expect(nowhere?.code == .certificate)
        #expect(throws: SignalingError.self) {
            _ = try SignalingClient(
                url: "https://localhost:1",
                room: "r",
                name: "",
                certificate: directory.path + "/a.pem"
            )
        }
    }
}

/// A directory of its own that is removed with it.
final class TemporaryDirectory {
    let path: String

    init() throws {
        var template = Array("/tmp/signaling-tests-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SignalingError(.certificate, "no temporary directory") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        for name in [
            "signaling-key.pem", "signaling-certificate.pem", "signaling-key.pem.new", "signaling-certificate.pem.new",
            "a.pem",
        ] {
            unlink(path + "/" + name)
        }
        rmdir(path)
    }

    func write(_ text: String, to name: String) {
        guard let file = fopen(path + "/" + name, "w") else { return }
        fputs(text, file)
        fclose(file)
    }

    func mode(of name: String) -> mode_t? {
        var status = stat()
        guard stat(path + "/" + name, &status) == 0 else { return nil }
        return status.st_mode & 0o777
    }
}
