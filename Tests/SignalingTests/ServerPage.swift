import Signaling
import Testing

@Suite("Server's page", .timeLimit(.minutes(15)))
struct ServerPage {
    /// A response's status line, its header fields by lower-case name, and its body.
    private struct Response {
        var status: String
        var fields: [String: String] = [:]
        var body: [UInt8] = []
        var text: String { String(decoding: body, as: UTF8.self) }
        var code: Int { Int(status.split(separator: " ").dropFirst().first ?? "") ?? 0 }
    }

    private func request(
        _ path: String,
        method: String = "GET",
        host: String? = nil,
        headers: String = "",
        on connection: RawConnection
    ) async throws -> Response {
        let host = host ?? "localhost"
        try await connection.send("\(method) \(path) HTTP/1.1\r\nHost: \(host)\r\n\(headers)\r\n")
        return try await response(to: method, on: connection)
    }

    private func response(to method: String, on connection: RawConnection) async throws -> Response {
        let head = try #require(await connection.readHead())
        let lines = head.split(separator: "\r\n")
        var response = Response(status: String(lines.first ?? ""))
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            response.fields[parts[0].lowercased()] = String(parts.last?.drop { $0 == " " } ?? "")
        }
        let count = Int(response.fields["content-length"] ?? "") ?? 0
        if method != "HEAD", count > 0 { response.body = try #require(await connection.read(count)) }
        return response
    }

    private func get(
        _ path: String,
        method: String = "GET",
        host: String? = nil,
        headers: String = "",
        from port: Int
    ) async throws -> Response {
        let connection = try await RawConnection.connect(to: port)
        let response = try await request(path, method: method, host: host, headers: headers, on: connection)
        await connection.close()
        return response
    }

    @Test("the page comes at / and at a room's name, with headers that keep it in its place")
    func page() async throws {
        try await withServer { _, endpoint in
            for path in ["/", "/my-room", "/?x=1", "/a#b"] {
                let response = try await get(path, from: endpoint.port)
                #expect(response.code == 200, "\(path)")
                #expect(response.fields["content-type"] == "text/html; charset=utf-8")
                #expect(response.fields["x-content-type-options"] == "nosniff")
                #expect(response.fields["referrer-policy"] == "no-referrer")
                #expect(response.fields["cache-control"] == "no-store")
                #expect(response.fields["permissions-policy"] == "camera=(self), microphone=(self)")
                let policy = try #require(response.fields["content-security-policy"])
                for part in [
                    "default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'",
                    "form-action 'none'",
                ] {
                    #expect(policy.contains(part))
                }
                #expect(!policy.contains("unsafe"))
                #expect(response.text.lowercased().hasPrefix("<!doctype html>"))
            }
        }
    }

    @Test("what the page loads is there, with types that nosniff allows")
    func assets() async throws {
        try await withServer { _, endpoint in
            let page = try await get("/", from: endpoint.port).text
            let named = page.split(separator: "\"").filter { $0.hasPrefix("/assets/") }.map(String.init)
            #expect(!named.isEmpty)
            let modules = [
                "start", "main", "signaling", "peer", "files", "graphs", "sha256", "code", "meeting", "spake2", "view",
                "protocol", "receive", "transfer", "sinks", "send", "sender", "sources",
            ]
            for path in Set(named + modules.map { "/assets/\($0).js" }) {
                let response = try await get(path, from: endpoint.port)
                #expect(response.code == 200, "\(path)")
                #expect(!response.body.isEmpty)
                let type = path.hasSuffix(".css") ? "text/css; charset=utf-8" : "text/javascript; charset=utf-8"
                #expect(response.fields["content-type"] == type)
                #expect(response.fields["x-content-type-options"] == "nosniff")
            }
        }
    }

    @Test("HEAD has the length and no body, and the connection goes on")
    func head() async throws {
        try await withServer { _, endpoint in
            let connection = try await RawConnection.connect(to: endpoint.port)
            let head = try await request("/", method: "HEAD", on: connection)
            let page = try await request("/", on: connection)
            #expect(head.code == 200)
            #expect(head.fields["content-length"] == "\(page.body.count)")
            #expect(try await request("/healthz", on: connection).text == "ok\n")
            await connection.close()
        }
    }

    @Test("unknown paths are 404, other methods 405, both in words")
    func refusals() async throws {
        try await withServer { _, endpoint in
            for path in [
                "/a/b", "/assets/", "/assets/../index.html", "/%2e%2e/etc/passwd", "/.git", "/favicon.ico", "//", "/é",
                "http://localhost/", "*",
            ] {
                let response = try await get(path, from: endpoint.port)
                #expect(response.code == 404 || response.code == 400, "\(path): \(response.status)")
            }
            #expect(try await get("/nothing/here", from: endpoint.port).text.hasSuffix(".\n"))
            for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"] {
                let response = try await get("/", method: method, headers: "Content-Length: 0\r\n", from: endpoint.port)
                #expect(response.code == 405)
                #expect(response.fields["allow"] == "GET, HEAD")
                #expect(response.fields["x-content-type-options"] == "nosniff")
            }
        }
    }

    @Test("a server without its page still says that it is well")
    func pageless() async throws {
        try await withServer {
            $0.servesPage = false
        } _: { _, endpoint in
            #expect(try await get("/", from: endpoint.port).code == 404)
            #expect(try await get("/assets/main.js", from: endpoint.port).code == 404)
            #expect(try await get("/healthz", from: endpoint.port).code == 200)
            _ = try await RawWebSocket.join(on: endpoint.port)
        }
    }

    @Test("a name that is not the server's own is refused: no page elsewhere can reach it by DNS rebinding")
    func hostNames() async throws {
        try await withServer {
            $0.hostNames = ["Meet.example.net"]
        } _: { _, endpoint in
            for host in [
                "localhost", "LOCALHOST:8080", "a.localhost", "127.0.0.1:1", "[::1]:9", "192.0.2.1",
                "meet.example.net:443",
            ] {
                #expect(try await get("/healthz", host: host, from: endpoint.port).code == 200, "\(host)")
            }
            for host in [
                "evil.example", "localhost.evil.example", "", "meet.example.net.evil.example:80",
                "127.0.0.1.evil.example", "[::1", ":80",
            ] {
                #expect(try await get("/healthz", host: host, from: endpoint.port).code == 421, "\(host)")
            }
            let connection = try await RawConnection.connect(to: endpoint.port)
            try await connection.send("GET /healthz HTTP/1.0\r\n\r\n")
            #expect(try await response(to: "GET", on: connection).code == 421, "without a Host header")
            #expect(await connection.readToEnd().isEmpty, "and HTTP/1.0 closes")
        }
    }

    @Test("a WebSocket from another site's page is refused in words; listed ones and programs may")
    func origins() async throws {
        try await withServer {
            $0.allowedOrigins = ["https://friend.example"]
        } _: { _, endpoint in
            func status(_ headers: String, path: String = "/ws") async throws -> Response {
                let connection = try await RawConnection.connect(to: endpoint.port)
                try await connection.send(
                    RawWebSocket.upgradeRequest(port: endpoint.port, path: path, headers: headers)
                )
                let result = try await response(to: "GET", on: connection)
                await connection.close()
                return result
            }
            #expect(try await status("").code == 101)
            #expect(try await status("Origin: http://127.0.0.1:\(endpoint.port)\r\n").code == 101)
            #expect(try await status("Origin: https://friend.example\r\n").code == 101)
            for origin in [
                "https://evil.example", "null", "https://127.0.0.1:\(endpoint.port)", "http://127.0.0.1:1",
                "https://friend.example.evil",
            ] {
                let refused = try await status("Origin: \(origin)\r\n")
                #expect(refused.code == 403, "\(origin)")
                #expect(refused.text.contains("origin"))
            }
            #expect(
                try await status("", path: "/elsewhere").code == 200,
                "an upgrade that is not for /ws gets the page"
            )
            let plain = try await get("/ws", from: endpoint.port)
            #expect(plain.code == 426)
            #expect(plain.fields["upgrade"] == "websocket")
        }
    }

    @Test("requests in a row on one connection are answered in order")
    func pipelining() async throws {
        try await withServer { _, endpoint in
            let connection = try await RawConnection.connect(to: endpoint.port)
            let one = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
                two = "GET /x/y HTTP/1.1\r\nHost: localhost\r\n\r\n"
            try await connection.send(String(repeating: one + two, count: 50))
            for _ in 0..<50 {
                #expect(try await response(to: "GET", on: connection).code == 200)
                #expect(try await response(to: "GET", on: connection).code == 404)
            }
            await connection.close()
        }
    }

    @Test("servers for a peer are asked for with the host that it came by, if that can stand in a URL")
    func hostOfThePeer() async throws {
        try await withServer { configuration in
            configuration.hostNames = ["*"]
            configuration.iceServersForPeer = { _, host in [SignalingICEServer(urls: ["turn:[\(host)]"])] }
        } _: { _, endpoint in
            let hosts = [
                ("Call.Example.org:8080", "call.example.org"), ("127.0.0.1:\(endpoint.port)", "127.0.0.1"),
                ("[2001:DB8::1]:9", "2001:db8::1"), ("localhost", "localhost"), ("evil\"host", ""), ("a b", ""),
                ("a?b", ""),
                ("a/../b", ""), (String(repeating: "a", count: 300), ""),
            ]
            for (host, expected) in hosts {
                let socket = try await RawWebSocket.open(to: endpoint.port, host: host)
                try await socket.say(.join(.init(room: "room", name: "Ada", token: nil, acknowledged: 0)))
                guard case .joined(let joined)? = await socket.hear() else {
                    Issue.record("\(host) does not join")
                    continue
                }
                #expect(joined.place.iceServers.map(\.urls) == [["turn:[\(expected)]"]])
                try await socket.say(.leave)
            }
        }
    }
}
