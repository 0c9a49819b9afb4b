import Signaling
import Testing

@Suite("Client", .timeLimit(.minutes(15)))
struct ClientCalls {
    /// A client and what it told, for one task.
    private final class Peer {
        let client: SignalingClient
        private var events: AsyncStream<SignalingEvent>.AsyncIterator
        private(set) var place: SignalingPlace?

        init(_ room: String, _ name: String, port: Int) throws {
            client = try SignalingClient(url: "ws://127.0.0.1:\(port)/anything", room: room, name: name)
            events = client.events.makeAsyncIterator()
        }

        func next() async -> SignalingEvent? {
            var iterator = events
            defer { events = iterator }
            let event = await iterator.next(isolation: #isolation)
            if case .joined(let place, _)? = event { self.place = place }
            return event
        }

        /// The place, once joined.
        func joined() async -> SignalingPlace? {
            while let event = await next() { if case .joined(let place, _) = event { return place } }
            return nil
        }

        /// The next message, with its sender.
        func message() async -> (SignalingMessage, SignalingPeerID)? {
            while let event = await next() {
                if case .message(let message, let peer, _) = event { return (message, peer) }
            }
            return nil
        }

        /// The last event, when all is over.
        func end() async -> SignalingEvent? {
            var last: SignalingEvent?
            while let event = await next() { last = event }
            return last
        }
    }

    @Test("two clients meet, talk and part")
    func meeting() async throws {
        try await withServer {
            $0.iceServers = [.init(urls: ["stun:192.0.2.1:3478"])]
        } _: { _, endpoint in
            let ada = try Peer("room", "Ada", port: endpoint.port)
            let first = try #require(await ada.joined())
            #expect(first.room == "room")
            #expect(first.iceServers.map(\.urls) == [["stun:192.0.2.1:3478"]])
            let grace = try Peer("room", "Grace", port: endpoint.port)
            let second = try #require(await grace.joined())
            #expect(second.peers == [SignalingPeer(id: first.id, name: "Ada", isPolite: true)])
            guard case .peerJoined(let newcomer)? = await ada.next() else { return #expect(Bool(false)) }
            #expect(newcomer == SignalingPeer(id: second.id, name: "Grace", isPolite: false))
            let candidate = SignalingCandidate(
                candidate: "candidate:1 1 udp 1 192.0.2.1 9 typ host",
                sdpMid: "0",
                sdpMLineIndex: 0
            )
            let messages: [SignalingMessage] = [
                .offer(sdp: "v=0\r\n“é”"), .candidate(candidate), .candidate(nil), .pake("{}"), .bye,
            ]
            for message in messages { grace.client.send(message, to: first.id) }
            for message in messages {
                let (received, sender) = try #require(await ada.message())
                #expect(received == message)
                #expect(sender == second.id)
            }
            ada.client.send(.answer(sdp: "yes"), to: second.id)
            #expect(await grace.message()?.0 == .answer(sdp: "yes"))
            await grace.client.leave()
            guard case .closed(nil)? = await grace.end() else { return #expect(Bool(false)) }
            guard case .peerLeft(second.id, .bye)? = await ada.next() else { return #expect(Bool(false)) }
            await ada.client.leave()
        }
    }

    @Test("an error of the server is told, and the session goes on")
    func errors() async throws {
        try await withServer { _, endpoint in
            let ada = try Peer("room", "Ada", port: endpoint.port)
            _ = await ada.joined()
            ada.client.send(.bye, to: SignalingPeerID("p99"))
            guard case .error(let error)? = await ada.next() else { return #expect(Bool(false)) }
            #expect(error.code == .unknownPeer)
            let grace = try Peer("room", "Grace", port: endpoint.port)
            _ = await grace.joined()
            guard case .peerJoined? = await ada.next() else { return #expect(Bool(false)) }
            await ada.client.leave()
            await grace.client.leave()
        }
    }

    @Test("a refusal that trying again does not cure ends the session")
    func refusal() async throws {
        try await withServer {
            $0.limits.maxPeersPerRoom = 1
        } _: { _, endpoint in
            let ada = try Peer("room", "Ada", port: endpoint.port)
            _ = await ada.joined()
            let grace = try Peer("room", "Grace", port: endpoint.port)
            guard case .closed(let error?)? = await grace.end() else { return #expect(Bool(false)) }
            #expect(error.code == .roomFull)
            let mary = try Peer("no room", "Mary", port: endpoint.port)
            guard case .closed(let wrong?)? = await mary.end() else { return #expect(Bool(false)) }
            #expect(wrong.code == .invalidRoom)
            await ada.client.leave()
        }
    }

    @Test("a dropped WebSocket resumes its place and nothing is lost or doubled, either way")
    func resuming() async throws {
        try await withServer { _, endpoint in
            let proxy = try await BreakingProxy(to: endpoint.port)
            let ada = try Peer("room", "Ada", port: proxy.port)
            let first = try #require(await ada.joined())
            let grace = try Peer("room", "Grace", port: endpoint.port)
            let second = try #require(await grace.joined())
            grace.client.send(.offer(sdp: "1"), to: first.id)
            #expect(await ada.message()?.0 == .offer(sdp: "1"))
            for round in 2..<6 {
                await proxy.breakAll()
                guard case .disconnected(let error)? = await ada.next() else { return #expect(Bool(false)) }
                #expect(error.code == .unreachable)
                // Both speak while the line is broken.
                grace.client.send(.offer(sdp: "\(round)"), to: first.id)
                ada.client.send(.answer(sdp: "\(round)"), to: second.id)
                guard case .joined(let place, isResumed: true)? = await ada.next() else { return #expect(Bool(false)) }
                #expect(place.id == first.id)
                #expect(place.peers.map(\.id) == [second.id])
                #expect(await ada.message()?.0 == .offer(sdp: "\(round)"))
                #expect(await grace.message()?.0 == .answer(sdp: "\(round)"), "Grace never learnt of the break")
            }
            await ada.client.leave()
            guard case .peerLeft(first.id, .bye)? = await grace.next() else { return #expect(Bool(false)) }
            await grace.client.leave()
            await proxy.stop()
        }
    }

    /// Without being asked, the client would wait for three heartbeats of a minute.
    @Test("a client that is asked to look finds out that its server is gone", .timeLimit(.minutes(10)))
    func checking() async throws {
        try await withServer {
            $0.limits.heartbeatInterval = .seconds(60)
            $0.limits.heartbeatTimeout = .seconds(240)
        } _: { _, endpoint in
            let proxy = try await BreakingProxy(to: endpoint.port)
            let ada = try Peer("room", "Ada", port: proxy.port)
            let first = try #require(await ada.joined())
            ada.client.check()
            await proxy.setSilent(true)
            ada.client.check()
            ada.client.check()
            guard case .disconnected? = await ada.next() else { return #expect(Bool(false)) }
            await proxy.setSilent(false)
            guard case .joined(let place, isResumed: true)? = await ada.next() else { return #expect(Bool(false)) }
            #expect(place.id == first.id)
            await ada.client.leave()
            await proxy.stop()
        }
    }

    @Test("a client whose server went silent notices, and a client that is back too late begins anew under its name")
    func silence() async throws {
        try await withServer {
            $0.limits.heartbeatInterval = .seconds(2)
            $0.limits.heartbeatTimeout = .seconds(8)
            $0.limits.resumeGrace = .seconds(3)
        } _: { _, endpoint in
            let proxy = try await BreakingProxy(to: endpoint.port)
            let grace = try Peer("room", "Grace", port: endpoint.port)
            _ = await grace.joined()
            let ada = try Peer("room", "Ada", port: proxy.port)
            let first = try #require(await ada.joined())
            await proxy.setSilent(true)
            guard case .disconnected? = await ada.next() else { return #expect(Bool(false)) }
            while let event = await grace.next() {
                guard case .peerLeft(first.id, let reason) = event else { continue }
                #expect(reason == .lost)
                break
            }
            await proxy.setSilent(false)
            await proxy.breakAll()
            let second = try #require(await ada.joined())
            #expect(second.id == first.id)
            await ada.client.leave()
            await grace.client.leave()
            await proxy.stop()
        }
    }

    @Test("a server that takes the connection and says nothing is given up")
    func muteServer() async throws {
        try await withServer { _, endpoint in
            let proxy = try await BreakingProxy(to: endpoint.port)
            await proxy.setSilent(true)
            let ada = try Peer("room", "Ada", port: proxy.port)
            guard case .disconnected(let error)? = await ada.next() else { return #expect(Bool(false)) }
            #expect(error.message.hasSuffix("the server does not answer"))
            await proxy.setSilent(false)
            #expect(await ada.joined() != nil)
            await ada.client.leave()
            await proxy.stop()
        }
    }

    @Test("a server that restarts is found again on the same port")
    func restart() async throws {
        var configuration = SignalingServerConfiguration()
        configuration.port = try await unsharedPort()
        let first = SignalingServer(configuration: configuration)
        try await startOnFreedPort(first)
        let ada = try Peer("room", "Ada", port: configuration.port)
        _ = await ada.joined()
        await first.stop()
        guard case .error(let error)? = await ada.next() else { return #expect(Bool(false)) }
        #expect(error.code == .serverStopping)
        let second = SignalingServer(configuration: configuration)
        try await startOnFreedPort(second)
        var place: SignalingPlace?
        while let event = await ada.next() {
            guard case .joined(let new, let isResumed) = event else { continue }
            #expect(!isResumed)
            place = new
            break
        }
        #expect(place != nil)
        await ada.client.leave()
        await second.stop()
    }

    @Test("who leaves while connecting joins no room afterwards")
    func leavingEarly() async throws {
        try await withServer { _, endpoint in
            for _ in 0..<20 {
                let hasty = try Peer("room", "Hasty", port: endpoint.port)
                await hasty.client.leave()
                guard case .closed(nil)? = await hasty.end() else { return #expect(Bool(false)) }
            }
            // Whatever the hasty ones still did is done once somebody who came later has heard of a second one.
            let ada = try Peer("room", "Ada", port: endpoint.port)
            let place = try #require(await ada.joined())
            let grace = try Peer("room", "Grace", port: endpoint.port)
            let second = try #require(await grace.joined())
            #expect(place.peers == [])
            #expect(second.peers.map(\.name) == ["Ada"])
            guard case .peerJoined(let peer)? = await ada.next() else { return #expect(Bool(false)) }
            #expect(peer.name == "Grace")
            await ada.client.leave()
            await grace.client.leave()
        }
    }

    @Test("a server that is none of ours: its answer is told")
    func otherServer() async throws {
        try await withServer { _, endpoint in
            let wrong = try SignalingClient(
                url: "https://127.0.0.1:\(endpoint.port)",
                room: "r",
                name: "",
                allowsAnyCertificate: true
            )
            var events = wrong.events.makeAsyncIterator()
            guard case .disconnected(let error)? = await events.next() else { return #expect(Bool(false)) }
            #expect(error.message.contains("speaks no TLS"), "\(error.message)")
            await wrong.leave()
        }
    }

    @Test("no server: told once, tried again, ended by leave")
    func noServer() async throws {
        // Where no test listens: a socket that one has left may still be held by a child that is being started.
        let port = Int.random(in: 10_000..<15_000)
        let ada = try Peer("room", "Ada", port: port)
        guard case .disconnected(let error)? = await ada.next() else { return #expect(Bool(false)) }
        #expect(error.code == .unreachable)
        #expect(error.message == "no connection to 127.0.0.1:\(port): connection refused")
        await ada.client.leave()
        guard case .closed(nil)? = await ada.end() else { return #expect(Bool(false)) }
    }

    @Test("addresses of servers")
    func urls() throws {
        for url in [
            "", "localhost", "localhost:8080", "ftp://localhost", "http://", "http:///room", "http://:80", "http://a:b",
            "http://a:0",
            "http://a:65536", "http://user:word@a", "http://[::1", "http://[::1]x", "http://a b", "http://a\r\nX: y",
            "http://é",
            "http://\(String(repeating: "a", count: 300))", "http://a:+80",
        ] {
            do {
                _ = try SignalingClient(url: url, room: "r", name: "")
                #expect(Bool(false), "\(url)")
            } catch { #expect((error as? SignalingError)?.code == .invalidURL, "\(url)") }
        }
    }
}
