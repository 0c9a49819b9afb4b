import Glibc
import JSON
import NIOCore
import Signaling
import Testing

/// After each abuse two well-behaved peers of the same server still reach each other.
@Suite("Server abuse", .timeLimit(.minutes(15)))
struct ServerAbuse {
    private func withPeers(
        _ change: (inout SignalingServerConfiguration) -> Void = { _ in },
        _ abuse: (Int) async throws -> Void
    ) async throws {
        try await withServer(change) { _, endpoint in
            let (ada, first) = try await RawWebSocket.join("good", name: "Ada", on: endpoint.port)
            let (grace, second) = try await RawWebSocket.join("good", name: "Grace", on: endpoint.port)
            guard case .peerJoined? = await ada.hear() else { return #expect(Bool(false)) }
            try await abuse(endpoint.port)
            try await ada.say(.relay(.offer(sdp: "still"), to: second.place.id, sequence: nil))
            #expect(await grace.hear() == .relay(.offer(sdp: "still"), from: first.place.id, sequence: 1))
            try await grace.say(.relay(.answer(sdp: "here"), to: first.place.id, sequence: nil))
            #expect(await ada.hear() == .relay(.answer(sdp: "here"), from: second.place.id, sequence: 2))
        }
    }

    @Test("messages that are not JSON, of unknown type, incomplete or too early are answered in words")
    func brokenMessages() async throws {
        try await withPeers { port in
            let socket = try await RawWebSocket.open(to: port)
            let cases: [(String, SignalingError.Code)] = [
                ("", .notJSON), ("nonsense", .notJSON), ("{\"type\":\"dance\"}", .unknownType),
                ("{\"type\":\"join\"}", .invalidMessage),
                ("{\"type\":\"offer\",\"to\":\"p1\",\"sdp\":\"x\"}", .outOfOrder),
                (String(repeating: "[", count: 200_000), .notJSON),
                ("{\"type\":\"ping\",\"ack\":1e999}", .notJSON),
            ]
            for (text, code) in cases {
                try await socket.say(text)
                let error = await socket.hearError()
                #expect(error?.code == code, "\(text.prefix(40))")
                #expect(error?.isFatal == false)
            }
            try await socket.connection.send(RawWebSocket.frame(1, [0x22, 0xFF, 0xFE, 0x22]))
            #expect(await socket.hearError()?.message.contains("UTF-8") == true)
            try await socket.say(.join(.init(room: "after-all", name: "")))
            guard case .joined? = await socket.hear() else { return #expect(Bool(false)) }
        }
    }

    @Test("a room's wrong name is refused in words, and the WebSocket closed")
    func wrongRoom() async throws {
        try await withPeers { port in
            let socket = try await RawWebSocket.open(to: port)
            try await socket.say(.join(.init(room: "no/room", name: "")))
            #expect(await socket.hearError()?.code == .invalidRoom)
            #expect(await socket.hear() == nil)
            #expect(socket.closed?.closeCode == 1008)
            #expect(socket.closed?.closeReason.hasPrefix("“no/room” cannot name a room") == true)
        }
    }

    @Test("a message of 10 MB is refused by its first bytes")
    func oversized() async throws {
        try await withPeers { port in
            let socket = try await RawWebSocket.open(to: port)
            socket.connection.trySending(RawWebSocket.frame(1, [UInt8](repeating: 0x20, count: 10 << 20)))
            let error = await socket.hearError()
            #expect(error == SignalingError(.messageTooLarge, "The message is larger than 256 KiB.", isFatal: true))
            #expect(await socket.hear() == nil)
            #expect(socket.closed?.closeCode == 1009)
            await socket.connection.close()
        }
    }

    @Test("a message of 10 MB in fragments, and a frame of 2⁶³ bytes")
    func oversizedFragments() async throws {
        try await withPeers { port in
            let socket = try await RawWebSocket.open(to: port)
            let part = [UInt8](repeating: 0x20, count: 100_000)
            socket.connection.trySending(RawWebSocket.frame(1, part, fin: false))
            for _ in 0..<100 { socket.connection.trySending(RawWebSocket.frame(0, part, fin: false)) }
            #expect(await socket.hearError()?.code == .messageTooLarge)
            #expect(await socket.hear() == nil)
            #expect(socket.closed?.closeCode == 1009)
            let huge = try await RawWebSocket.open(to: port)
            huge.connection.trySending([0x81, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0])
            #expect(await huge.hearError()?.code == .messageTooLarge)
            let negative = try await RawWebSocket.open(to: port)
            negative.connection.trySending([0x81, 0xFF] + [UInt8](repeating: 0xFF, count: 8) + [0, 0, 0, 0])
            while await negative.readFrame() != nil {}
        }
    }

    @Test("a message in fragments with a ping between is one message")
    func fragments() async throws {
        try await withPeers {
            $0.limits.joinTimeout = .seconds(60)
        } _: { port in
            let socket = try await RawWebSocket.open(to: port)
            let text = Array(ClientMessage.join(.init(room: "parts", name: "Zoë 😀")).json.text.utf8)
            try await socket.connection.send(RawWebSocket.frame(1, text[..<1], fin: false))
            try await socket.connection.send(RawWebSocket.frame(9, Array("beat".utf8)))
            for byte in text[1...].dropLast() {
                try await socket.connection.send(RawWebSocket.frame(0, [byte], fin: false))
            }
            try await socket.connection.send(RawWebSocket.frame(0, text.suffix(1)))
            #expect(await socket.readFrame() == .init(opcode: 10, payload: Array("beat".utf8)))
            guard case .joined(let joined)? = await socket.hear() else { return #expect(Bool(false)) }
            #expect(joined.place.room == "parts")
        }
    }

    @Test("frames that break the WebSocket protocol end the connection with its code")
    func brokenFrames() async throws {
        let text = Array("{}".utf8)
        let cases: [(bytes: [UInt8], code: UInt16, what: String)] = [
            (RawWebSocket.frame(1, text, isMasked: false), 1002, "not masked"),
            (RawWebSocket.frame(2, text), 1003, "binary"),
            (RawWebSocket.frame(0, text), 1002, "a continuation of nothing"),
            (RawWebSocket.frame(3, text), 1002, "an unknown opcode"),
            (RawWebSocket.frame(11, text), 1002, "an unknown control opcode"),
            (RawWebSocket.frame(1, text, fin: false) + RawWebSocket.frame(1, text), 1002, "a message within a message"),
            (RawWebSocket.frame(9, text, fin: false), 1002, "a ping in fragments"),
            (RawWebSocket.frame(9, [UInt8](repeating: 0, count: 126)), 1002, "a ping of 126 bytes"),
            (RawWebSocket.frame(1, text, reserved: 4), 1002, "a reserved bit, as of compression"),
            (RawWebSocket.frame(1, text, reserved: 1), 1002, "another reserved bit"),
        ]
        try await withPeers { port in
            for (bytes, code, what) in cases {
                let socket = try await RawWebSocket.open(to: port)
                try await socket.connection.send(bytes)
                let messages = await socket.hearAll()
                #expect(socket.closed?.closeCode == code, "\(what)")
                guard case .error(let error)? = messages.last else { return #expect(Bool(false), "\(what)") }
                #expect(error.isFatal)
                #expect(error.message.hasSuffix("."))
                await socket.connection.close()
            }
        }
    }

    @Test("random bytes on the WebSocket and on the port")
    func noise() async throws {
        try await withPeers { port in
            for seed in 0..<20 {
                let bytes = (0..<2_000).map { UInt8(truncatingIfNeeded: ($0 &* 31 &+ seed &* 17) &* ($0 ^ seed) >> 3) }
                let socket = try await RawWebSocket.open(to: port)
                socket.connection.trySending(bytes)
                let raw = try await RawConnection.connect(to: port)
                raw.trySending(bytes)
                await socket.connection.close()
                await raw.close()
            }
        }
    }

    @Test("too many messages: words, code 1008, and the others of the room are told")
    func messageRate() async throws {
        try await withPeers {
            $0.limits.messagesPerSecond = 1
            $0.limits.messageBurst = 10
        } _: { port in
            let (watcher, _) = try await RawWebSocket.join("crowd", on: port)
            let (socket, joined) = try await RawWebSocket.join("crowd", on: port)
            _ = await watcher.hear()
            for _ in 0..<100 { socket.connection.trySending(RawWebSocket.frame(1, "{\"type\":\"ping\"}".utf8)) }
            let messages = await socket.hearAll()
            guard case .error(let error)? = messages.last else { return #expect(Bool(false)) }
            #expect(error.code == .rateLimited)
            #expect(socket.closed?.closeCode == 1008)
            #expect(await watcher.hear() == .peerLeft(joined.place.id, .lost, sequence: 2))
        }
    }

    @Test("a flood of pings")
    func frameRate() async throws {
        try await withPeers { port in
            let socket = try await RawWebSocket.open(to: port)
            let ping = RawWebSocket.frame(9, [])
            for _ in 0..<50 { socket.connection.trySending([UInt8]((0..<200).flatMap { _ in ping })) }
            guard case .error(let error)? = await socket.hearAll().last else { return #expect(Bool(false)) }
            #expect(error.code == .rateLimited)
            #expect(socket.closed?.closeCode == 1008)
        }
    }

    @Test("a peer that does not read is cut off, and does not hold the memory of what others send it")
    func slowReader() async throws {
        try await withPeers {
            $0.limits.maxUnsentBytes = 1 << 20
            $0.limits.byteBurst = 1 << 30
            $0.limits.bytesPerSecond = 1 << 30
            $0.limits.messagesPerSecond = 10_000
            $0.limits.resumeGrace = .milliseconds(1)
        } _: { port in
            let (slow, joined) = try await RawWebSocket.join("slow", on: port)
            try await slow.connection.channel.setOption(.autoRead, value: false).get()
            let (fast, _) = try await RawWebSocket.join("slow", on: port)
            let sdp = String(repeating: "x", count: 200_000)
            let frame = RawWebSocket.frame(
                1,
                ClientMessage.relay(.offer(sdp: sdp), to: joined.place.id, sequence: nil).json.text.utf8
            )
            // Far more than the kernel's buffers and the limit hold.
            for _ in 0..<200 { fast.connection.trySending(frame) }
            while let message = await fast.hear() {
                guard case .peerLeft(joined.place.id, .lost, _) = message else { continue }
                break
            }
            await slow.connection.close()
        }
    }

    @Test("full rooms and a full server, over the wire")
    func fullness() async throws {
        try await withPeers {
            $0.limits.maxPeersPerRoom = 2
            $0.limits.maxRooms = 2
        } _: { port in
            let third = try await RawWebSocket.open(to: port)
            try await third.say(.join(.init(room: "good", name: "")))
            #expect(await third.hearError()?.code == .roomFull)
            #expect(await third.hear() == nil)
            #expect(third.closed?.closeReason == "Room “good” is full: it holds 2 peers.")
            _ = try await RawWebSocket.join("second", on: port)
            let fourth = try await RawWebSocket.open(to: port)
            try await fourth.say(.join(.init(room: "third", name: "")))
            #expect(await fourth.hearError()?.code == .tooManyRooms)
        }
    }

    @Test("connections beyond the limits are closed at once; one that ends makes room")
    func connectionLimits() async throws {
        try await withPeers {
            $0.limits.maxConnectionsPerAddress = 5
        } _: { port in
            var open: [RawConnection] = []
            for _ in 0..<3 { open.append(try await RawWebSocket.open(to: port).connection) }
            let refused = try await RawConnection.connect(to: port)
            #expect(await refused.readToEnd().isEmpty)
            for connection in open { await connection.close() }
            // The server sees the ends in its own time.
            while true {
                let again = try await RawConnection.connect(to: port)
                again.trySending(Array("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".utf8))
                if !(await again.readToEnd().isEmpty) { break }
            }
        }
    }

    /// The peers of `withPeers` as clients, which keep short time limits by themselves.
    private func withClients(
        _ change: (inout SignalingServerConfiguration) -> Void,
        _ abuse: (SignalingServer.Endpoint) async throws -> Void
    ) async throws {
        try await withServer(change) { _, endpoint in
            let ada = try SignalingClient(url: endpoint.url, room: "good", name: "Ada")
            var events = ada.events.makeAsyncIterator()
            guard case .joined(let place, _)? = await events.next(isolation: #isolation) else {
                return #expect(Bool(false))
            }
            try await abuse(endpoint)
            let grace = try SignalingClient(url: endpoint.url, room: "good", name: "Grace")
            var answers = grace.events.makeAsyncIterator()
            guard case .joined(let second, _)? = await answers.next(isolation: #isolation) else {
                return #expect(Bool(false))
            }
            #expect(second.peers.map(\.id) == [place.id], "Ada was there all the time")
            await ada.leave()
            await grace.leave()
        }
    }

    @Test("idle connections, half a request, a WebSocket that never joins: closed after the time for it")
    func idleness() async throws {
        try await withClients {
            $0.limits.joinTimeout = .seconds(3)
        } _: { endpoint in
            let port = endpoint.port
            let idle = try await RawConnection.connect(to: port)
            let half = try await RawConnection.connect(
                to: port,
                sending: "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".utf8
            )
            let body = try await RawConnection.connect(
                to: port,
                sending: "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx".utf8
            )
            let kept = try await RawConnection.connect(
                to: port,
                sending: "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8
            )
            let silent = try await RawWebSocket.open(to: port)
            #expect(await idle.readToEnd().isEmpty)
            #expect(await half.readToEnd().isEmpty)
            #expect(await body.readToEnd().isEmpty)
            #expect(await kept.readToEnd().isEmpty == false)
            #expect(await silent.hearError()?.code == .timedOut)
            #expect(await silent.hear() == nil)
            #expect(silent.closed?.closeCode == 1008)
        }
    }

    @Test("a header of megabytes and a body without end are cut off")
    func largeRequests() async throws {
        try await withPeers { port in
            let header = try await RawConnection.connect(to: port)
            header.trySending(
                Array("GET / HTTP/1.1\r\nHost: localhost\r\nX: ".utf8) + [UInt8](repeating: 0x61, count: 4 << 20)
            )
            _ = await header.readToEnd()
            let body = try await RawConnection.connect(to: port)
            body.trySending(
                Array("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n".utf8)
                    + [UInt8](repeating: 0x61, count: 4 << 20)
            )
            _ = await body.readToEnd()
        }
    }

    @Test("a dead connection is dropped, and the others are told")
    func deadConnection() async throws {
        try await withClients {
            $0.limits.heartbeatInterval = .seconds(2)
            $0.limits.heartbeatTimeout = .seconds(6)
            $0.limits.resumeGrace = .seconds(4)
        } _: { endpoint in
            let watcher = try SignalingClient(url: endpoint.url, room: "dead", name: "Watcher")
            var events = watcher.events.makeAsyncIterator()
            guard case .joined? = await events.next(isolation: #isolation) else { return #expect(Bool(false)) }
            // It joins and never answers a ping, as one whose cable was pulled.
            let join = ClientMessage.join(.init(room: "dead", name: "Dead")).json.text
            let dead = try await RawConnection.connect(
                to: endpoint.port,
                sending: Array(RawWebSocket.upgradeRequest(port: endpoint.port).utf8) + RawWebSocket.frame(1, join.utf8)
            )
            guard case .peerJoined(let peer)? = await events.next(isolation: #isolation) else {
                return #expect(Bool(false))
            }
            while let event = await events.next(isolation: #isolation) {
                guard case .peerLeft(peer.id, let reason) = event else { continue }
                #expect(reason == .lost)
                break
            }
            #expect(String(decoding: await dead.readToEnd(), as: UTF8.self).contains("timed-out"))
            await watcher.leave()
        }
    }

    @Test("a peer that closes with the word bye leaves at once; one that just closes may come back")
    func closing() async throws {
        try await withPeers { port in
            let (watcher, _) = try await RawWebSocket.join("door", on: port)
            let (first, one) = try await RawWebSocket.join("door", on: port)
            _ = await watcher.hear()
            try await first.connection.send(RawWebSocket.frame(8, [0x03, 0xE8] + Array("bye".utf8)))
            #expect(await watcher.hear() == .peerLeft(one.place.id, .bye, sequence: 2))
            #expect(await first.hear() == nil)
            #expect(first.closed?.closeCode == 1000)
            let (second, two) = try await RawWebSocket.join("door", on: port)
            _ = await watcher.hear()
            try await second.connection.send(RawWebSocket.frame(8, [0x03, 0xE9]))
            #expect(await second.hear() == nil)
            let (_, again) = try await RawWebSocket.join("door", on: port, token: two.token, ack: 0)
            #expect(again.isResumed)
            #expect(again.place.id == two.place.id)
        }
    }

    /// In a process of its own, whose memory is the server's.
    @Test("whoever asks again and again and reads no answer costs no memory, and is closed in the end")
    func unreadAnswers() async {
        await #expect(processExitsWith: .success) {
            // Without a limit each asking byte makes a hundred of answer.
            let (askedBytes, allowedKilobytes) = (6 << 20, 100 << 10)
            try await withServer {
                $0.limits.joinTimeout = .seconds(2)
            } _: { _, endpoint in
                let port = endpoint.port
                let warm = try await RawConnection.connect(to: port)
                try await warm.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                #expect(await warm.readHead() != nil)
                await warm.close()
                let before = peakKilobytes()
                let wasClosed = try await Task.detached {
                    try UnreadingClient(port: port).floodUntilClosed(byteCount: askedBytes)
                }.value
                let grown = peakKilobytes() - before
                if !wasClosed || grown > allowedKilobytes {
                    print("closed: \(wasClosed); the server grew by \(grown) kB")
                    exit(EXIT_FAILURE)
                }
            }
        }
    }
}

/// The most memory that this process has had.
private func peakKilobytes() -> Int {
    var usage = rusage()
    _ = unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return usage.ru_maxrss
}

/// A client that sends requests and never reads.
private final class UnreadingClient {
    private let descriptor: CInt

    init(port: Int) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = unsafe withUnsafePointer(to: &address) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe connect(descriptor, $0, size) }
        }
        guard status == 0 else { throw SignalingError(.unreachable, "connect: \(errno)") }
    }

    deinit { Glibc.close(descriptor) }

    /// Sends so many bytes, if the server takes them, and waits until it closes the connection.
    /// - Returns: Whether it did.
    func floodUntilClosed(byteCount: Int) throws -> Bool {
        let requests = Array(String(repeating: "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", count: 1_000).utf8)
        // POLLRDHUP, which Glibc's module lacks: the other side has closed.
        let hangUp: Int16 = 0x2000
        var sent = 0
        while true {
            // Without POLLIN: what comes is not read. The end shows as an error or a hang-up.
            var waiter = pollfd(fd: descriptor, events: hangUp | (sent < byteCount ? Int16(POLLOUT) : 0), revents: 0)
            guard unsafe poll(&waiter, 1, 30_000) == 1 else { return false }
            if waiter.revents & (Int16(POLLERR | POLLHUP) | hangUp) != 0 { return true }
            let offset = sent % requests.count
            let count = unsafe requests.withUnsafeBytes {
                unsafe Glibc.send(
                    descriptor,
                    $0.baseAddress?.advanced(by: offset),
                    $0.count - offset,
                    Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)
                )
            }
            if count < 0, errno == EAGAIN { continue }
            guard count > 0 else { return true }
            sent += count
        }
    }
}
