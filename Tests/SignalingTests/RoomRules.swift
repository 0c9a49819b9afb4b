import JSON
import NIOCore
import Signaling
import Testing

@Suite("Room rules")
struct RoomRules {
    private func peer(_ joined: ServerMessage.Joined?) throws -> SignalingPeerID { try #require(joined).place.id }

    @Test("a newcomer learns who is there and is polite; the others learn of it and are not")
    func presence() throws {
        let rooms = RoomTester()
        let first = try #require(rooms.join(1, name: "Ada"))
        #expect(first.place.peers == [])
        #expect(first.place.room == "room")
        #expect(!first.isResumed)
        let second = try #require(rooms.join(2, name: "Grace"))
        #expect(second.place.peers == [SignalingPeer(id: first.place.id, name: "Ada", isPolite: true)])
        #expect(
            rooms.heard(1) == [
                .peerJoined(SignalingPeer(id: second.place.id, name: "Grace", isPolite: false), sequence: 1)
            ]
        )
        #expect(rooms.heard(2) == [])
        #expect(first.token != second.token)
        #expect(first.token.count == 32)
        rooms.say(2, .leave)
        #expect(rooms.heard(1) == [.peerLeft(second.place.id, .bye, sequence: 2)])
        #expect(rooms.closes[2] == .normal)
        #expect(rooms.table.peerCount == 1)
    }

    @Test("offer, answer, candidate and bye go to the named peer alone, numbered")
    func relaying() throws {
        let rooms = RoomTester()
        let ada = try peer(rooms.join(1)), grace = try peer(rooms.join(2)), mary = try peer(rooms.join(3))
        _ = (rooms.heard(1), rooms.heard(2), rooms.heard(3))
        let messages: [SignalingMessage] = [
            .offer(sdp: "o"), .answer(sdp: "a"), .candidate(.init(candidate: "c", sdpMid: "0")), .candidate(nil),
            .pake("{}"), .bye,
        ]
        for message in messages { rooms.say(1, .relay(message, to: grace, sequence: nil)) }
        #expect(rooms.heard(2) == messages.enumerated().map { .relay($1, from: ada, sequence: $0 + 2) })
        #expect(rooms.heard(1) == [])
        #expect(rooms.heard(3) == [])
        rooms.relay(2, "back", to: mary)
        #expect(rooms.heard(3) == [.relay(.offer(sdp: "back"), from: grace, sequence: 1)])
    }

    @Test("nobody reaches another room, oneself, or a peer that left")
    func strangers() throws {
        let rooms = RoomTester()
        let ada = try peer(rooms.join(1, "a")), other = try peer(rooms.join(2, "b"))
        for name in [other, ada, SignalingPeerID("p99"), SignalingPeerID("")] {
            rooms.relay(1, "x", to: name)
            let error = rooms.error(1)
            #expect(error?.code == .unknownPeer)
            #expect(error?.isFatal == false)
        }
        #expect(rooms.heard(2) == [])
        let second = try peer(rooms.join(3, "a"))
        rooms.say(3, .leave)
        _ = rooms.heard(1)
        rooms.relay(1, "x", to: second)
        #expect(rooms.error(1)?.message == "There is no peer “\(second)” in this room.")
    }

    @Test("what comes before join, and a second join, are out of order; the connection lives")
    func order() throws {
        let rooms = RoomTester()
        rooms.open(1)
        for message in [
            ClientMessage.relay(.bye, to: SignalingPeerID("p1"), sequence: nil), .leave, .ping(acknowledged: 1),
            .pong(acknowledged: nil),
        ] {
            rooms.say(1, message)
            #expect(rooms.error(1) == SignalingError(.outOfOrder, "The first message is “join”."))
        }
        rooms.say(1, .join(.init(room: "room", name: "")))
        #expect(rooms.heard(1).count == 1)
        rooms.say(1, .join(.init(room: "other", name: "")))
        #expect(rooms.error(1) == SignalingError(.outOfOrder, "This connection has joined already."))
        #expect(rooms.table.roomCount == 1)
        #expect(rooms.closes.isEmpty)
    }

    @Test("a message's place in its sender's order is passed on as it came; a broken one is refused")
    func orders() throws {
        let rooms = RoomTester()
        let ada = try peer(rooms.join(1)), grace = try peer(rooms.join(2))
        _ = rooms.heard(1)
        let order = SignalingOrder(stream: "s", sequence: 3, first: 2, peerStream: "t", acknowledged: 9)
        rooms.say(2, .relay(.offer(sdp: "o"), to: ada, sequence: 1, order: order))
        #expect(rooms.heard(1) == [.relay(.offer(sdp: "o"), from: grace, sequence: 2, order: order)])
        for broken in ["7", "{}", "{\"stream\":\"\"}", "{\"stream\":\"s\",\"seq\":-1}", "{\"stream\":[]}"] {
            rooms.say(2, "{\"type\":\"offer\",\"sdp\":\"o\",\"to\":\"\(ada)\",\"order\":\(broken)}")
            #expect(rooms.error(2)?.code == .invalidMessage)
        }
        #expect(rooms.heard(1) == [])
    }

    @Test("an answer without an offer passes: the server does not know what peers agreed on")
    func unaskedAnswer() throws {
        let rooms = RoomTester()
        let ada = try peer(rooms.join(1))
        rooms.join(2)
        rooms.say(2, .relay(.answer(sdp: "x"), to: ada, sequence: nil))
        #expect(rooms.heard(1).contains { if case .relay(.answer("x"), _, _, _) = $0 { true } else { false } })
    }

    @Test("broken messages are answered in words; the sender and the others go on")
    func brokenMessages() throws {
        let rooms = RoomTester()
        let ada = try peer(rooms.join(1))
        rooms.join(2)
        _ = rooms.heard(1)
        for (text, code) in [
            ("nonsense", SignalingError.Code.notJSON), ("{\"type\":\"dance\"}", .unknownType),
            ("{\"type\":\"offer\"}", .invalidMessage),
            (String(repeating: "[", count: 10_000), .notJSON), ("\u{0}", .notJSON),
        ] {
            rooms.say(2, text)
            let error = rooms.error(2)
            #expect(error?.code == code)
            #expect(error?.isFatal == false)
            #expect(error?.message.hasSuffix(".") == true)
        }
        rooms.relay(2, "still here", to: ada)
        #expect(rooms.offers(1) == ["still here"])
        #expect(rooms.closes.isEmpty)
    }

    @Test("a room's name that cannot be one ends the connection with words")
    func roomNames() {
        let rooms = RoomTester()
        #expect(rooms.join(1, "../etc") == nil)
        let error = rooms.error(1)
        #expect(error?.code == .invalidRoom)
        #expect(error?.isFatal == true)
        #expect(rooms.closes[1] == .policyViolation)
        #expect(rooms.table.roomCount == 0)
    }

    @Test("a full room and a full server refuse; who is there stays, and a place that gets free is given")
    func fullness() throws {
        let rooms = RoomTester {
            $0.maxPeersPerRoom = 2
            $0.maxRooms = 2
        }
        rooms.join(1, "a")
        rooms.join(2, "a")
        #expect(rooms.join(3, "a") == nil)
        #expect(rooms.error(3) == SignalingError(.roomFull, "Room “a” is full: it holds 2 peers.", isFatal: true))
        rooms.join(4, "b")
        #expect(rooms.join(5, "c") == nil)
        #expect(
            rooms.error(5)
                == SignalingError(.tooManyRooms, "This server holds 2 rooms, no more can be opened.", isFatal: true)
        )
        #expect(rooms.closes == [3: .policyViolation, 5: .policyViolation])
        rooms.say(4, .leave)
        #expect(rooms.join(6, "c") != nil)
        rooms.say(1, .leave)
        #expect(rooms.join(7, "a") != nil)
        #expect(rooms.table.peerCount == 3)
    }

    @Test("a page that was reloaded gives its old place up at once")
    func replacing() throws {
        let rooms = RoomTester { $0.maxPeersPerRoom = 2 }
        rooms.join(1)
        let old = try #require(rooms.join(2))
        rooms.lose(2)
        _ = rooms.heard(1)
        let new = try #require(rooms.join(3, replaces: old.token))
        #expect(!new.isResumed)
        #expect(
            rooms.heard(1) == [
                .peerLeft(old.place.id, .replaced, sequence: 2),
                .peerJoined(SignalingPeer(id: new.place.id, name: "Guest", isPolite: false), sequence: 3),
            ]
        )
        #expect(rooms.join(4, "other", replaces: "no such token") != nil)
    }

    @Test("a stopping server tells everybody and closes")
    func stopping() {
        let rooms = RoomTester()
        rooms.join(1)
        rooms.open(2)
        _ = rooms.heard(1)
        rooms.stop()
        #expect(rooms.error(1)?.code == .serverStopping)
        #expect(rooms.error(2)?.code == .serverStopping)
        #expect(rooms.closes == [1: .goingAway, 2: .goingAway])
        #expect(rooms.table.peerCount == 0)
        #expect(rooms.table.nextDeadline == nil)
    }

    @Test("thousands of joins and losses leave nothing behind")
    func churn() {
        let rooms = RoomTester()
        for number in 1...5_000 {
            rooms.join(number, "room\(number % 50)")
            if number % 2 == 0 { rooms.say(number, .leave) } else { rooms.lose(number) }
            if number % 100 == 0 { rooms.wait(.seconds(11)) }
        }
        rooms.wait(.seconds(11))
        #expect(rooms.table.peerCount == 0)
        #expect(rooms.table.roomCount == 0)
        #expect(rooms.table.nextDeadline == nil)
    }

    @Test("each peer is told of servers of its own, by the host that it came by, and anew when it comes again")
    func ownServers() throws {
        var count = 0
        var renewed: [(to: RoomConnectionID, SignalingICEServer?)] = []
        var table = RoomTable(
            limits: SignalingLimits(),
            iceServers: [SignalingICEServer(urls: ["stun:all"])],
            iceServersForPeer: { peer, host in
                count += 1
                return [SignalingICEServer(urls: ["turn:\(host)"], username: peer.rawValue, credential: "\(count)")]
            }
        )
        func join(_ number: Int, host: String, _ request: ClientMessage.JoinRequest) throws -> ServerMessage.Joined {
            let id = RoomConnectionID(rawValue: number)
            table.open(id, host: host, at: .uptimeNanoseconds(1))
            table.receive(Array(ClientMessage.join(request).json.text.utf8), on: id, at: .uptimeNanoseconds(1))
            while let action = table.nextAction() {
                guard case .send(let receiver, let text) = action else { continue }
                switch try ServerMessage(parsing: Array(text.utf8)) {
                case .joined(let joined) where receiver == id: return joined
                case .iceServers(let servers): renewed.append((receiver, servers.last))
                default: break
                }
            }
            throw CancellationError()
        }
        let first = try join(1, host: "call.example.org", .init(room: "room", name: "Ada", token: nil, acknowledged: 0))
        #expect(
            first.place.iceServers == [
                SignalingICEServer(urls: ["stun:all"]),
                SignalingICEServer(urls: ["turn:call.example.org"], username: first.place.id.rawValue, credential: "1"),
            ]
        )
        let second = try join(2, host: "192.0.2.1", .init(room: "room", name: "Grace", token: nil, acknowledged: 0))
        #expect(second.place.iceServers.last?.urls == ["turn:192.0.2.1"])
        #expect(second.place.iceServers.last?.username == second.place.id.rawValue)
        // Who is there gets new ones as well for the new connection, but who is away does not.
        let own = SignalingICEServer(
            urls: ["turn:call.example.org"],
            username: first.place.id.rawValue,
            credential: "2"
        )
        #expect(renewed.map(\.to) == [RoomConnectionID(rawValue: 1)])
        #expect(renewed.first?.1 == own)
        table.close(RoomConnectionID(rawValue: 2), isFarewell: false, at: .uptimeNanoseconds(1))
        let again = try join(3, host: "::1", .init(room: "room", name: "Ada", token: first.token, acknowledged: 0))
        #expect(again.isResumed && again.place.iceServers.last?.credential == "4")
    }
}
