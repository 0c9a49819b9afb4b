import STUN
import SansIO
import TURNServer
import Testing

@Suite struct Authentication {
    /// Made by another program: `printf 2147483000:user | openssl dgst -sha1 -hmac north -binary | base64`.
    @Test func `Passwords are those of coturn`() {
        let credentials = TURNSharedSecret("north").credentials(for: "user", expiry: 2_147_483_000)
        #expect(credentials.username == "2147483000:user")
        #expect(credentials.password == "4d0sHXfmggFx0TnElN+wY+1SUAg=")
    }

    @Test(arguments: [STUNMethod.allocate, .refresh, .createPermission, .channelBind])
    func `Who says nothing of itself is asked to`(method: STUNMethod) throws {
        let client = try TestClient(ServerTester())
        let reply = try #require(try client.ask(method, isSigned: false))
        #expect(reply.code == 401)
        #expect(reply.bytes(.realm) == Array(ServerTester.realm.utf8))
        #expect(try #require(reply.bytes(.nonce)).count == 24)
        #expect(!reply.message.hasIntegrity)
        #expect(reply.bytes.count <= 110, "a challenge may go to somebody who asked for none")
    }

    @Test(arguments: [STUNAttributeType.username, .realm, .nonce])
    func `A signature without its circumstances is a bad request`(
        missing: STUNAttributeType
    ) throws {
        let client = try TestClient(ServerTester())
        try client.meet()
        var writer = STUNMessageWriter(.request, .allocate, client.makeID())
        TestClient.udp(&writer)
        if missing != .username { writer.add(.username, text: client.username) }
        if missing != .realm { writer.add(.realm, text: client.realm) }
        if missing != .nonce { writer.add(.nonce, client.nonce) }
        #expect(try client.ask(writer.finish(key: client.key))?.code == 400)
    }

    @Test func `Wrong passwords, names and realms are not let in`() throws {
        let tester = ServerTester()
        func code(_ change: (TestClient) -> Void) throws -> UInt16? {
            let client = try TestClient(tester)
            try client.meet()
            change(client)
            let reply = try #require(try client.ask(.allocate, TestClient.udp))
            #expect(!reply.message.hasIntegrity && reply.bytes(.nonce) != nil)
            return reply.code
        }
        #expect(try code { $0.password = "guess" } == 401)
        #expect(try code { $0.username += "x" } == 401)
        #expect(try code { $0.realm = "elsewhere" } == 401)
        #expect(try code { $0.username = "alice" } == 401)
        #expect(try code { $0.username = ":alice" } == 401)
        #expect(try code { $0.username = "-5:alice" } == 401)
        #expect(try code { $0.username = "99999999999999999999:alice" } == 401)
        #expect(
            try code { client in
                let long = tester.secret.credentials(for: String(repeating: "a", count: 600), expiry: 2_000_000_000)
                client.username = long.username
                client.password = long.password
            } == 401
        )
        #expect(tester.server.allocationCount == 0)
    }

    @Test func `Credentials end when they say`() throws {
        let tester = ServerTester()
        let client = try TestClient(tester, expiresIn: 100)
        try client.meet()
        tester.pass(.seconds(99))
        #expect(try client.ask(.allocate, TestClient.udp)?.isSuccess == true)
        let late = try TestClient(tester, port: 5001, expiresIn: 100)
        try late.meet()
        tester.pass(.seconds(1))
        #expect(try late.ask(.allocate, TestClient.udp)?.code == 401)
        // What was allocated in time goes on, as with coturn.
        #expect(try client.ask(.refresh)?.isSuccess == true)
        #expect(try client.permit("192.0.2.1")?.isSuccess == true)
        #expect(try client.ask(.refresh) { $0.add(.lifetime, UInt32(0)) }?.isSuccess == true)
        #expect(try client.ask(.allocate, TestClient.udp)?.code == 401, "and is not begun anew")
    }

    @Test func `The wall clock may be set anew`() throws {
        let tester = ServerTester()
        let client = try TestClient(tester, expiresIn: 100)
        try client.meet()
        tester.server.setWallClock(unixSeconds: ServerTester.unixStart + 200, at: tester.now)
        #expect(try client.ask(.allocate, TestClient.udp)?.code == 401)
        tester.server.setWallClock(unixSeconds: ServerTester.unixStart, at: tester.now)
        #expect(try client.ask(.allocate, TestClient.udp)?.isSuccess == true)
    }

    @Test func `A nonce is good for an hour, for its host, and is of the server's making`() throws {
        let tester = ServerTester()
        let client = try TestClient(tester)
        try client.allocate()
        tester.pass(.seconds(590))
        #expect(try client.ask(.refresh) { $0.add(.lifetime, UInt32(3600)) }?.isSuccess == true)
        tester.pass(.seconds(3010))
        #expect(try client.ask(.refresh)?.isSuccess == true)
        tester.pass(.seconds(1))
        let reply = try #require(try client.ask(.refresh))
        #expect(reply.code == 438)
        #expect(reply.bytes(.realm) == Array(ServerTester.realm.utf8))
        let former = client.nonce
        client.nonce = try #require(reply.bytes(.nonce))
        #expect(client.nonce != former)
        #expect(try client.ask(.refresh)?.isSuccess == true)

        let other = try TestClient(tester, "198.51.100.2")
        other.nonce = client.nonce
        #expect(try other.ask(.allocate, TestClient.udp)?.code == 438, "another host's")
        let samePlace = try TestClient(tester, port: 777)
        samePlace.nonce = client.nonce
        #expect(try samePlace.ask(.allocate, TestClient.udp)?.isSuccess == true, "a NAT may change the port")
        for index in client.nonce.indices {
            var forged = client.nonce
            forged[index] ^= 1
            client.nonce = forged
            #expect(try client.ask(.refresh)?.code == 438, "byte \(index)")
            client.nonce[index] ^= 1
        }
        for text in ["", "0", String(repeating: "f", count: 24), String(repeating: "é", count: 12)] {
            client.nonce = Array(text.utf8)
            #expect(try client.ask(.refresh)?.code == 438)
        }
    }

    @Test func `Another user of the same five-tuple is told so`() throws {
        let tester = ServerTester()
        let client = try TestClient(tester)
        try client.allocate()
        let other = try TestClient(tester, name: "bob")
        other.nonce = client.nonce
        for method in [STUNMethod.refresh, .createPermission, .channelBind] {
            let reply = try #require(try other.ask(method))
            #expect(reply.code == 441)
            #expect(reply.isAuthentic(other.key))
        }
        #expect(try other.ask(.allocate, TestClient.udp)?.code == 437)
        #expect(tester.server.allocationCount == 1)
    }

    @Test func `Answers to users are signed, and unknown attributes named after the password was right`() throws {
        let client = try TestClient(ServerTester())
        try client.meet()
        let unknown = STUNAttributeType(rawValue: 0x7F00)
        #expect(try client.ask(.allocate, isSigned: false) { $0.addFlag(unknown) }?.code == 401)
        let reply = try #require(try client.ask(.allocate) { $0.addFlag(unknown) })
        #expect(reply.code == 420)
        #expect(reply.bytes(.unknownAttributes) == [0x7F, 0])
        #expect(reply.isAuthentic(client.key))
    }

    @Test func `Guessing passwords is bounded, and who has an allocation is not kept out by it`() throws {
        let tester = ServerTester { limits in limits.requestBurst = 10 }
        let client = try TestClient(tester)
        try client.allocate()
        let guesser = try TestClient(tester, port: 6000)
        guesser.nonce = client.nonce
        guesser.password = "guess"
        var answered = 0
        for _ in 0..<50 where try guesser.ask(.allocate, TestClient.udp) != nil { answered += 1 }
        #expect(answered == 9)
        #expect(try client.ask(.refresh)?.isSuccess == true)
    }
}
