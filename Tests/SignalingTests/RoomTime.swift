import NIOCore
import Signaling
import Testing

/// Rate limits, heartbeats and resuming, in virtual time.
@Suite("Room time")
struct RoomTime {
    @Test("too many messages a second end the connection with words and free the place")
    func messageRate() throws {
        let rooms = RoomTester {
            $0.messagesPerSecond = 10
            $0.messageBurst = 20
        }
        let ada = try #require(rooms.join(1))
        let grace = try #require(rooms.join(2))
        _ = rooms.heard(1)
        for _ in 0..<19 { rooms.relay(2, "x", to: ada.place.id) }
        #expect(rooms.closes.isEmpty)
        #expect(rooms.offers(1).count == 19)
        rooms.relay(2, "one too many", to: ada.place.id)
        let error = rooms.error(2)
        #expect(error?.code == .rateLimited)
        #expect(error?.isFatal == true)
        #expect(rooms.closes[2] == .policyViolation)
        #expect(rooms.heard(1) == [.peerLeft(grace.place.id, .lost, sequence: 21)])
        rooms.relay(2, "after the end", to: ada.place.id)
        #expect(rooms.heard(1) == [])
    }

    @Test("the allowed rate may be used for ever")
    func allowedRate() throws {
        let rooms = RoomTester {
            $0.messagesPerSecond = 10
            $0.messageBurst = 20
        }
        rooms.join(1)
        for _ in 0..<1_000 {
            rooms.wait(.milliseconds(100), answering: [1])
            rooms.say(1, .ping(acknowledged: nil))
        }
        #expect(rooms.closes.isEmpty)
        #expect(rooms.heard(1).count == 1_000)
    }

    @Test("too many bytes a second end the connection too")
    func byteRate() throws {
        let rooms = RoomTester {
            $0.bytesPerSecond = 1_000
            $0.byteBurst = 10_000
        }
        let ada = try #require(rooms.join(1))
        rooms.join(2)
        let sdp = String(repeating: "x", count: 4_000)
        rooms.relay(2, sdp, to: ada.place.id)
        rooms.relay(2, sdp, to: ada.place.id)
        rooms.relay(2, sdp, to: ada.place.id)
        #expect(rooms.closes[2] == .policyViolation)
        #expect(rooms.error(2)?.code == .rateLimited)
    }

    @Test("a silent connection is asked, then cut off; its place is kept for a while, then lost")
    func heartbeats() throws {
        let rooms = RoomTester()
        rooms.join(1)
        let second = try #require(rooms.join(2))
        _ = rooms.heard(1)
        rooms.wait(.seconds(14), answering: [1])
        #expect(rooms.pings[1] == 2)
        #expect(rooms.pings[2] == 2)
        #expect(rooms.closes.isEmpty)
        rooms.wait(.seconds(1), answering: [1])
        #expect(rooms.closes == [2: .timedOut])
        let error = rooms.error(2)
        #expect(error?.code == .timedOut)
        #expect(error?.message == "Nothing was heard for 15 seconds.")
        rooms.wait(.seconds(9), answering: [1])
        #expect(rooms.heard(1) == [])
        rooms.wait(.seconds(2), answering: [1])
        #expect(rooms.heard(1) == [.peerLeft(second.place.id, .lost, sequence: 2)])
        #expect(rooms.table.peerCount == 1)
        rooms.wait(.hours(1), answering: [1])
        #expect(rooms.closes.count == 1)
    }

    @Test("a connection that never joins is cut off")
    func joinTimeout() {
        let rooms = RoomTester()
        rooms.open(1)
        for _ in 0..<9 {
            rooms.wait(.seconds(1), answering: [1])
            rooms.say(1, "{\"type\":\"dance\"}")
        }
        #expect(rooms.closes.isEmpty)
        _ = rooms.heard(1)
        rooms.wait(.seconds(1), answering: [1])
        #expect(rooms.error(1)?.message == "No “join” came within 10 seconds.")
        #expect(rooms.closes == [1: .policyViolation])
    }

    @Test("a ping is answered with the last number that came from the peer")
    func ping() throws {
        let rooms = RoomTester()
        rooms.join(1)
        let second = try #require(rooms.join(2))
        _ = rooms.heard(1)
        rooms.say(1, .ping(acknowledged: 1))
        #expect(rooms.heard(1) == [.pong(acknowledged: 0)])
        rooms.relay(1, "x", to: second.place.id, sequence: 5)
        rooms.say(1, .ping(acknowledged: 1))
        #expect(rooms.heard(1) == [.pong(acknowledged: 5)])
    }

    @Test("who comes back after the server was started anew, or too late, has its name and token again")
    func returning() throws {
        let before = RoomTester()
        let ada = try #require(before.join(1))
        let grace = try #require(before.join(2))
        let rooms = RoomTester()
        let stranger = try #require(rooms.join(1))
        let adaAgain = try #require(rooms.join(2, token: ada.token, ack: 5))
        let graceAgain = try #require(rooms.join(3, token: grace.token, ack: 7))
        #expect(!adaAgain.isResumed && !graceAgain.isResumed)
        #expect(adaAgain.place.id == ada.place.id && adaAgain.token == ada.token)
        #expect(graceAgain.place.id == grace.place.id && graceAgain.token == grace.token)
        #expect(Set([stranger.place.id, ada.place.id, grace.place.id]).count == 3)
        #expect(graceAgain.place.peers.map(\.id) == [stranger.place.id, ada.place.id])
        rooms.lose(3)
        rooms.wait(.seconds(20), answering: [1, 2])
        #expect(rooms.heard(2).contains(.peerLeft(grace.place.id, .lost, sequence: 2)))
        #expect(rooms.join(4, token: grace.token, ack: 0)?.place.id == grace.place.id)
        // What is no token of a server's making names nobody.
        let odd = try #require(rooms.join(5, token: "p1", ack: 0))
        #expect(odd.token != "p1" && odd.token.count == 32)
    }

    @Test("a broken connection resumes its place and gets what it missed, no more and no less")
    func resuming() throws {
        let rooms = RoomTester()
        let ada = try #require(rooms.join(1))
        let grace = try #require(rooms.join(2))
        _ = rooms.heard(2)
        rooms.relay(2, "a", to: ada.place.id)
        rooms.relay(2, "b", to: ada.place.id)
        rooms.lose(1)
        rooms.relay(2, "c", to: ada.place.id)
        #expect(rooms.heard(2) == [], "the others do not notice")
        _ = rooms.heard(1)
        let again = try #require(rooms.join(3, token: ada.token, ack: 2))
        #expect(again.isResumed)
        #expect(again.place.id == ada.place.id)
        #expect(again.token == ada.token)
        #expect(again.place.peers.map(\.id) == [grace.place.id])
        #expect(rooms.offers(3) == ["b", "c"])
        rooms.relay(2, "d", to: ada.place.id)
        #expect(rooms.offers(3) == ["d"])
        rooms.wait(.seconds(20), answering: [2, 3])
        #expect(rooms.heard(2) == [])
    }

    @Test("a resumed client's repetitions are dropped")
    func repetitions() throws {
        let rooms = RoomTester()
        let ada = try #require(rooms.join(1))
        let grace = try #require(rooms.join(2))
        for number in 1...3 { rooms.relay(1, "\(number)", to: grace.place.id, sequence: number) }
        rooms.lose(1)
        let again = try #require(rooms.join(3, token: ada.token, ack: 1))
        #expect(again.acknowledged == 3)
        for number in 2...4 { rooms.relay(3, "\(number)", to: grace.place.id, sequence: number) }
        #expect(rooms.offers(2) == ["1", "2", "3", "4"])
    }

    @Test("a second connection takes a living place over; the first is told")
    func takeover() throws {
        let rooms = RoomTester()
        let ada = try #require(rooms.join(1))
        let again = try #require(rooms.join(2, token: ada.token, ack: 0))
        #expect(again.isResumed)
        let error = rooms.error(1)
        #expect(error?.code == .replaced)
        #expect(error?.isFatal == true)
        #expect(rooms.closes == [1: .replaced])
        rooms.lose(1)
        rooms.wait(.seconds(12), answering: [2])
        #expect(rooms.table.peerCount == 1)
    }

    @Test("a token that is unknown, late, of another room, or acknowledges what never was gives a new place")
    func failedResume() throws {
        let rooms = RoomTester()
        let first = try #require(rooms.join(1))
        rooms.lose(1)
        rooms.wait(.seconds(10))
        #expect(try #require(rooms.join(2, token: first.token)).isResumed == false)
        #expect(try #require(rooms.join(3, token: "guess")).isResumed == false)
        let third = try #require(rooms.join(4, "a"))
        rooms.lose(4)
        let elsewhere = try #require(rooms.join(5, "b", token: third.token))
        #expect(!elsewhere.isResumed)
        rooms.lose(5)
        let ahead = try #require(rooms.join(6, "b", token: elsewhere.token, ack: 99))
        #expect(!ahead.isResumed)
        #expect(rooms.table.peerCount == 3, "places that were given up are gone")
    }

    @Test("what waits for a peer is bounded; beyond it the place cannot be resumed")
    func queueLimits() throws {
        let rooms = RoomTester { $0.maxQueuedMessages = 10 }
        let ada = try #require(rooms.join(1))
        rooms.join(2)
        rooms.lose(1)
        for number in 0..<9 { rooms.relay(2, "\(number)", to: ada.place.id) }
        #expect(try #require(rooms.join(3, token: ada.token, ack: 0)).isResumed)
        #expect(rooms.heard(3).count == 10)
        rooms.lose(3)
        rooms.relay(2, "x", to: ada.place.id)
        #expect(try #require(rooms.join(4, token: ada.token, ack: 0)).isResumed == false)
    }

    @Test("bytes that wait for a peer are bounded as well")
    func queuedBytes() throws {
        let rooms = RoomTester { $0.maxQueuedBytes = 10_000 }
        let ada = try #require(rooms.join(1))
        rooms.join(2)
        rooms.lose(1)
        for _ in 0..<3 { rooms.relay(2, String(repeating: "x", count: 4_000), to: ada.place.id) }
        #expect(try #require(rooms.join(3, token: ada.token, ack: 0)).isResumed == false)
    }

    @Test("acknowledged messages are forgotten")
    func acknowledging() throws {
        let rooms = RoomTester { $0.maxQueuedMessages = 10 }
        let ada = try #require(rooms.join(1))
        rooms.join(2)
        for number in 0..<50 {
            rooms.wait(.seconds(1), answering: [1, 2])
            rooms.relay(2, "\(number)", to: ada.place.id)
            rooms.say(1, .ping(acknowledged: number + 2))
        }
        rooms.lose(1)
        rooms.relay(2, "missed", to: ada.place.id)
        #expect(try #require(rooms.join(3, token: ada.token, ack: 51)).isResumed)
        #expect(rooms.offers(3) == ["missed"])
    }
}
