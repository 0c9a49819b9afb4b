import JSON
import Signaling
import Testing

@Suite("Message parsing")
struct MessageParsing {
    private func error(_ text: String) -> SignalingError? {
        do throws(SignalingError) {
            _ = try ClientMessage(parsing: text.utf8)
            return nil
        } catch { return error }
    }

    private let candidate = SignalingCandidate(
        candidate: "candidate:1 1 udp 2130706431 192.0.2.1 9 typ host",
        sdpMid: "0",
        sdpMLineIndex: 0,
        usernameFragment: "abcd"
    )

    @Test("every message of a client reads as it was written")
    func clientRoundTrip() throws {
        let messages: [ClientMessage] = [
            .join(.init(room: "lobby", name: "Ada")),
            .join(.init(room: "r", name: "", token: "t", acknowledged: 7, replaces: "u")),
            .relay(.offer(sdp: "v=0\r\n"), to: SignalingPeerID("p1"), sequence: 1),
            .relay(.answer(sdp: "é\"\\"), to: SignalingPeerID("p1"), sequence: nil),
            .relay(
                .answer(sdp: ""),
                to: SignalingPeerID("p1"),
                sequence: 9,
                order: .init(stream: "s", sequence: 7, first: 5, peerStream: "t", acknowledged: 3)
            ),
            .relay(.candidate(candidate), to: SignalingPeerID("p2"), sequence: 2),
            .relay(.candidate(.init(candidate: "")), to: SignalingPeerID("p2"), sequence: 2),
            .relay(.candidate(nil), to: SignalingPeerID("p2"), sequence: 3),
            .relay(.pake("{\"share\":\"04\"}"), to: SignalingPeerID("p2"), sequence: 3),
            .relay(.bye, to: SignalingPeerID("p2"), sequence: 4), .leave,
            .ping(acknowledged: nil), .ping(acknowledged: 0), .pong(acknowledged: 9_007_199_254_740_992),
        ]
        for message in messages { #expect(try ClientMessage(parsing: message.json.text.utf8) == message) }
    }

    @Test("every message of the server reads as it was written")
    func serverRoundTrip() throws {
        let peer = SignalingPeer(id: SignalingPeerID("p1"), name: "Ada", isPolite: true)
        let place = SignalingPlace(
            room: "lobby",
            id: SignalingPeerID("p2"),
            peers: [peer],
            iceServers: [
                .init(urls: ["stun:192.0.2.1"]), .init(urls: ["turn:a", "turn:b"], username: "u", credential: "c"),
            ]
        )
        let messages: [ServerMessage] = [
            .joined(.init(place: place, token: "t", isResumed: true, acknowledged: 3, heartbeatMilliseconds: 5_000)),
            .iceServers([SignalingICEServer(urls: ["turn:a.example"], username: "1:p", credential: "x")]),
            .peerJoined(peer, sequence: 1), .peerLeft(peer.id, .bye, sequence: 2),
            .peerLeft(peer.id, .lost, sequence: nil),
            .relay(.offer(sdp: "v=0"), from: peer.id, sequence: 3),
            .relay(.offer(sdp: "v=0"), from: peer.id, sequence: 3, order: .init(stream: "s", sequence: 1, first: 1)),
            .relay(.candidate(candidate), from: peer.id, sequence: 4), .ping,
            .pong(acknowledged: 5), .error(.init(.roomFull, "Full.", isFatal: true)),
            .error(.init(.unknownPeer, "No such peer.")),
        ]
        for message in messages { #expect(try ServerMessage(parsing: message.json.text.utf8) == message) }
    }

    @Test("members that are null or unknown count as absent")
    func leniency() throws {
        #expect(
            try ClientMessage(parsing: #"{"type":"join","room":"r","token":null,"ack":null,"new":[1]}"#.utf8)
                == .join(.init(room: "r", name: ""))
        )
        #expect(try ClientMessage(parsing: #"{"type":"bye","to":null}"#.utf8) == .leave)
        let joined =
            #"{"type":"joined","room":"r","peer":"p1","token":"t","iceServers":[{"urls":"stun:x"}],"future":{}}"#
        guard case .joined(let message) = try ServerMessage(parsing: joined.utf8) else { return #expect(Bool(false)) }
        #expect(message.place.iceServers == [.init(urls: ["stun:x"])])
        #expect(!message.isResumed)
        #expect(message.heartbeatMilliseconds == 5_000)
    }

    @Test("what is not a JSON object with a type is refused in words")
    func notJSON() {
        #expect(error("hello")?.code == .notJSON)
        #expect(error("hello")?.message == "The message is not JSON: neither a value nor a digit at byte 0.")
        #expect(error("")?.code == .notJSON)
        #expect(error("[]")?.message == "The message is not a JSON object.")
        #expect(error("\"join\"")?.code == .notJSON)
        #expect(error("{}")?.message == "The message has no text named “type”.")
        #expect(error(#"{"type":1}"#)?.code == .invalidMessage)
        #expect(error(#"{"type":null}"#)?.code == .invalidMessage)
    }

    @Test("an unknown type is named, shortened and without control characters")
    func unknownType() {
        #expect(error(#"{"type":"dance"}"#) == SignalingError(.unknownType, "There is no message of type “dance”."))
        #expect(error(#"{"type":"joined"}"#)?.code == .unknownType, "the server's own messages are none of a client")
        let long = error("{\"type\":\"a\\u0007\\u202e\(String(repeating: "b", count: 100_000))\"}")
        #expect(long?.message == "There is no message of type “a\(String(repeating: "b", count: 30))”.")
    }

    @Test("members that are missing or of a wrong type are named")
    func missingMembers() {
        let broken: [(text: String, name: String)] = [
            (#"{"type":"join"}"#, "room"), (#"{"type":"join","room":5}"#, "room"),
            (#"{"type":"join","room":null}"#, "room"),
            (#"{"type":"join","room":"r","name":[]}"#, "name"), (#"{"type":"join","room":"r","token":1}"#, "token"),
            (#"{"type":"join","room":"r","ack":-1}"#, "ack"), (#"{"type":"join","room":"r","ack":1.5}"#, "ack"),
            (#"{"type":"join","room":"r","ack":9007199254740994}"#, "ack"),
            (#"{"type":"join","room":"r","replaces":{}}"#, "replaces"),
            (#"{"type":"offer","sdp":"v=0"}"#, "to"), (#"{"type":"offer","to":"p1"}"#, "sdp"),
            (#"{"type":"answer","to":"p1","sdp":null}"#, "sdp"), (#"{"type":"offer","to":["p1"],"sdp":""}"#, "to"),
            (#"{"type":"offer","to":"p1","sdp":"","seq":"1"}"#, "seq"),
            (#"{"type":"offer","to":"p1","sdp":"","seq":1e300}"#, "seq"),
            (#"{"type":"candidate","to":"p1"}"#, "candidate"),
            (#"{"type":"candidate","to":"p1","candidate":"x"}"#, "candidate"),
            (#"{"type":"candidate","to":"p1","candidate":{}}"#, "candidate"),
            (#"{"type":"candidate","to":"p1","candidate":{"candidate":"","sdpMLineIndex":-1}}"#, "sdpMLineIndex"),
            (#"{"type":"candidate","to":"p1","candidate":{"candidate":"","sdpMid":0}}"#, "sdpMid"),
            (#"{"type":"candidate","to":"p1","candidate":{"candidate":"","usernameFragment":0}}"#, "usernameFragment"),
            (#"{"type":"bye","to":1}"#, "to"), (#"{"type":"ping","ack":true}"#, "ack"),
            (#"{"type":"pong","ack":"x"}"#, "ack"),
        ]
        for (text, name) in broken {
            #expect(error(text)?.code == .invalidMessage, "\(text)")
            #expect(error(text)?.message.contains(name) == true, "\(text): \(error(text)?.message ?? "")")
            #expect(error(text)?.isFatal == false)
        }
    }

    @Test("a server's message that lacks what it needs is refused by the client's parser")
    func brokenServerMessages() {
        for text in [
            #"{"type":"joined"}"#, #"{"type":"joined","room":"r","peer":"p"}"#,
            #"{"type":"joined","room":"r","peer":"p","token":"t","peers":[{}]}"#,
            #"{"type":"peer-joined"}"#, #"{"type":"peer-left"}"#, #"{"type":"offer","sdp":"x"}"#,
            #"{"type":"error","code":"x"}"#,
            #"{"type":"ping","seq":-1}"#, #"{"type":"join","room":"r"}"#,
        ] { #expect(throws: SignalingError.self) { _ = try ServerMessage(parsing: text.utf8) } }
    }

    @Test("names of rooms and people")
    func names() {
        for name in ["a", "Room-1_x.y~z", String(repeating: "r", count: 64), "9"] {
            #expect(RoomName.isValid(name), "\(name)")
        }
        for name in [
            "", "-a", ".", "..", "~", "_a", "a b", "a/b", "é", "a%20", "ws", "bye", "healthz", "favicon.ico",
            "robots.txt", "a\0", "a\u{301}",
            String(repeating: "r", count: 65),
        ] { #expect(!RoomName.isValid(name), "\(name)") }
        #expect(RoomName.cleaned("  Ada\u{7}\u{202E}\n👩‍💻 ") == "Ada👩‍💻 ")
        #expect(RoomName.cleaned(" \n\u{0}") == "Guest")
        #expect(RoomName.cleaned(String(repeating: "x", count: 1_000)).count == 64)
    }

    @Test("the examples of docs/SIGNALING.md are what is written, to the letter")
    func documentation() throws {
        let here = "\(#filePath)".split(separator: "/").dropLast(3).joined(separator: "/")
        let lines = DocumentText.lines("/\(here)/docs/SIGNALING.md").filter { $0.hasPrefix("{\"type\":") }
        #expect(lines.count >= 16)
        for line in lines {
            // Which side a message is of shows in what it names.
            if let message = try? ClientMessage(parsing: line.utf8), message.json.text == line { continue }
            if let message = try? ChannelMessage(parsing: line.utf8), message.text == line { continue }
            #expect(try ServerMessage(parsing: line.utf8).json.text == line)
        }
    }
}
