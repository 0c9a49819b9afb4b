import ICE
import STUN
import SansIO
import Testing

@Suite struct TURNAllocations {
    @Test func `An allocation is asked for with the credentials that the server wants`() throws {
        let server = TURNTestServer()
        server.allocate()
        #expect(server.events == [.allocated(relayed: TURNTestServer.relayed, mapped: TURNTestServer.mapped)])
        #expect(server.client.relayedAddress == TURNTestServer.relayed)
        let requests = server.requests(.allocate)
        #expect(requests.count == 2)
        let first = try #require(requests.first)
        #expect(first.uint32(.requestedTransport) == 17 << 24)
        #expect(!first.message.hasIntegrity && !first.message.contains(.username))
        #expect(!first.message.contains(.requestedAddressFamily))
        let second = try #require(requests.last)
        #expect(second.text(.username) == "user")
        #expect(second.text(.realm) == "example.org")
        #expect(second.text(.nonce) == "nonce-1")
        #expect(second.isAuthentic(server.key))
        #expect(second.message.transactionID != first.message.transactionID)
        #expect(server.client.statistics.responsesReceived == 2)
        #expect(server.client.statistics.dropped == TURNDropCounts())
    }

    @Test func `A server without credentials allocates at once`() {
        let server = TURNTestServer(credentials: nil)
        server.wantsCredentials = false
        server.allocate()
        #expect(server.requests.count == 1)
        #expect(server.client.relayedAddress == TURNTestServer.relayed)
    }

    @Test func `A wrong password is an error and not a loop`() {
        let server = TURNTestServer(credentials: TURNCredentials(username: "user", password: "guess"))
        server.allocate()
        let error = TURNError.refused(.unauthenticated, reason: "Unauthenticated")
        #expect(server.events == [.failed(error)])
        #expect(error.remedy == .checkCredentials)
        #expect(server.client.state == .failed(error))
        #expect(server.requests.count == 2)
        #expect(server.client.nextDeadline == nil)
    }

    @Test func `Missing credentials are an error`() {
        let server = TURNTestServer(credentials: nil)
        server.allocate()
        #expect(server.events == [.failed(.credentialsMissing)])
        #expect(server.requests.count == 1)
    }

    @Test func `An answer that asks for credentials and names no realm is an error`() {
        let server = TURNTestServer()
        server.script = { request in
            var writer = STUNMessageWriter(.failure, .allocate, request.message.transactionID)
            writer.add(STUNErrorCode.unauthenticated)
            return .bytes(writer.finish())
        }
        server.allocate()
        #expect(server.events == [.failed(.malformedResponse)])
    }

    @Test(arguments: [TURNLimits.textBytes, TURNLimits.textBytes + 1]) func `A nonce may have 763 bytes`(count: Int) {
        let server = TURNTestServer()
        server.nonce = String(repeating: "n", count: count)
        server.allocate()
        #expect((server.client.relayedAddress != nil) == (count <= 763))
    }

    @Test func `A stale nonce is replaced and the request made anew`() throws {
        let server = TURNTestServer()
        var isRenewed = false
        server.script = { [unowned server] request in
            if request.message.hasIntegrity, !isRenewed {
                isRenewed = true
                server.nonce = "nonce-2"
            }
            return .ordinary
        }
        server.allocate()
        #expect(server.client.relayedAddress == TURNTestServer.relayed)
        #expect(server.requests(.allocate).map { $0.text(.nonce) } == [nil, "nonce-1", "nonce-2"])
    }

    @Test func `A server to which every nonce is stale is given up`() {
        let server = TURNTestServer()
        server.script = { $0.message.hasIntegrity ? .failure(.staleNonce) : .ordinary }
        server.allocate()
        let error = TURNError.refused(.staleNonce, reason: "Stale Nonce")
        #expect(server.events == [.failed(error)])
        #expect(server.requests.count == 2 + TURNLimits.staleNonces)
    }

    @Test func `Another realm in the middle is signed for`() {
        let server = TURNTestServer()
        server.allocate()
        server.forget()
        server.realm = "example.net"
        server.nonce = "nonce-2"
        server.run(.seconds(541))
        #expect(server.requests(.refresh).map { $0.text(.realm) } == ["example.org", "example.net"])
        #expect(server.client.relayedAddress != nil)
    }

    @Test(arguments: [
        (STUNErrorCode.badRequest, TURNRemedy.tryAnotherServer), (.forbidden, .giveUp),
        (.unknownAttribute, .tryAnotherServer), (.allocationMismatch, .tryAnotherLocalPort),
        (.addressFamilyNotSupported, .tryOtherAddressFamily), (.wrongCredentials, .checkCredentials),
        (.unsupportedTransport, .tryAnotherServer), (.allocationQuotaReached, .tryLater),
        (.insufficientCapacity, .tryLater), (.serverError, .tryLater),
    ])
    func `Each error code has its remedy`(code: STUNErrorCode, remedy: TURNRemedy) {
        let server = TURNTestServer()
        server.script = { $0.message.hasIntegrity ? .failure(code) : .ordinary }
        server.allocate()
        let error = TURNError.refused(code, reason: "\(code.reasonPhrase)")
        #expect(server.events == [.failed(error)])
        #expect(error.remedy == remedy)
        #expect(!"\(code.reasonPhrase)".isEmpty)
    }

    @Test func `A long reason with control characters is cut and cleaned`() {
        let server = TURNTestServer()
        server.script = { request in
            var writer = STUNMessageWriter(.failure, .allocate, request.message.transactionID)
            writer.add(.errorCode, [0, 0, 4, 3, 0x1B] + Array(repeating: 0x41, count: 2000))
            return .bytes(writer.finish())
        }
        server.allocate()
        #expect(server.events == [.failed(.refused(.forbidden, reason: String(repeating: "A", count: 127)))])
    }

    @Test func `An alternate server is named`() {
        let other = TransportAddress(IPAddress(v4: 0xCB00_7117), port: 3479)
        let server = TURNTestServer()
        server.script = { [unowned server] request in
            guard request.message.hasIntegrity else { return .ordinary }
            return .bytes(
                server.failure(.tryAlternate, to: request) { writer in
                    writer.add(.alternateServer, [0, 1, 0x0D, 0x97, 0xCB, 0, 0x71, 0x17])
                    writer.add(.alternateDomain, text: "turn.example.net")
                }
            )
        }
        server.allocate()
        #expect(server.events == [.redirected(to: other, domain: "turn.example.net")])
        #expect(server.client.state == .redirected)
        #expect(server.client.nextDeadline == nil)
    }

    @Test func `An alternate server that is none is an error`() {
        let server = TURNTestServer()
        server.script = { [unowned server] in .bytes(server.failure(.tryAlternate, to: $0)) }
        server.allocate()
        #expect(server.events == [.failed(.malformedResponse)])
    }

    @Test func `An IPv6 address is asked for, and no other taken`() throws {
        var configuration = TURNConfiguration()
        configuration.wantsIPv6 = true
        let good = TURNTestServer(configuration: configuration)
        good.relayed = try #require(TransportAddress("2001:db8::5", port: 50_000))
        good.allocate()
        #expect(good.requests(.allocate).map { $0.uint32(.requestedAddressFamily) } == [2 << 24, 2 << 24])
        #expect(good.client.relayedAddress == good.relayed)

        let wrong = TURNTestServer(configuration: configuration)
        wrong.allocate()
        #expect(wrong.events == [.failed(.malformedResponse)])
        // The useless allocation does not stay behind.
        #expect(wrong.requests(.refresh).map { $0.uint32(.lifetime) } == [0])
    }

    @Test func `A success without lifetime or address is none`() {
        for missing in [STUNAttributeType.lifetime, .xorRelayedAddress] {
            let server = TURNTestServer(credentials: nil)
            server.script = { request in
                guard request.message.method == .allocate else { return .nothing }
                var writer = STUNMessageWriter(.success, .allocate, request.message.transactionID)
                if missing != .lifetime { writer.add(.lifetime, UInt32(600)) }
                if missing != .xorRelayedAddress { writer.add(.xorRelayedAddress, xor: TURNTestServer.relayed) }
                return .bytes(writer.finish())
            }
            server.allocate()
            #expect(server.events == [.failed(.malformedResponse)])
        }
    }

    @Test func `A silent server is asked at doubling intervals and given up`() {
        let server = TURNTestServer()
        server.script = { _ in .nothing }
        server.allocate()
        server.run(.seconds(60))
        #expect(server.times(.allocate) == [0, 0.2, 0.6, 1.4, 3.0, 6.2, 9.4])
        #expect(server.events == [.failed(.timeout)])
        #expect(server.client.statistics.retransmissionsSent == 6)
        #expect(Set(server.requests.map(\.reading.message.transactionID)).count == 1)
    }

    @Test func `Over a stream nothing is sent twice`() {
        let server = TURNTestServer(.stream)
        server.script = { _ in .nothing }
        server.allocate()
        server.run(.seconds(60))
        #expect(server.times(.allocate) == [0])
        #expect(server.events == [.failed(.timeout)])
    }

    // MARK: Whom to believe

    @Test func `A success without integrity, or with a wrong one, is as if it had never come`() {
        for isSigned in [false, true] {
            let server = TURNTestServer()
            server.script = { [unowned server] request in
                guard request.message.hasIntegrity, server.requests.count < 4 else { return .ordinary }
                var writer = STUNMessageWriter(.success, .allocate, request.message.transactionID)
                writer.add(.xorRelayedAddress, xor: TransportAddress(IPAddress(v4: 0x0808_0808), port: 1))
                writer.add(.lifetime, UInt32(600))
                return .bytes(writer.finish(key: isSigned ? STUNKey(password: "forged") : nil))
            }
            server.allocate()
            #expect(server.events.isEmpty)
            server.run(.seconds(1)) { !server.events.isEmpty }
            #expect(server.client.relayedAddress == TURNTestServer.relayed)
            #expect(server.client.statistics.dropped.unauthenticResponses == 2)
        }
    }

    @Test func `An error without integrity does not end an authenticated request`() {
        let server = TURNTestServer()
        server.script = { [unowned server] request in
            guard request.message.hasIntegrity, server.requests.count < 3 else { return .ordinary }
            var writer = STUNMessageWriter(.failure, .allocate, request.message.transactionID)
            writer.add(STUNErrorCode.allocationQuotaReached)
            return .bytes(writer.finish())
        }
        server.allocate()
        #expect(server.client.statistics.dropped.unauthenticResponses == 1)
        server.run(.seconds(1)) { !server.events.isEmpty }
        #expect(server.client.relayedAddress == TURNTestServer.relayed)
    }

    @Test func `Responses from elsewhere, on another socket, or to nothing are counted`() throws {
        let server = TURNTestServer(credentials: nil)
        server.wantsCredentials = false
        server.script = { _ in .nothing }
        server.allocate()
        let answer = server.success(try #require(server.requests.first).reading)
        server.deliver(answer, from: TransportAddress(TURNTestServer.address.ip, port: 3479))
        server.deliver(answer, on: PortID(rawValue: 8))
        #expect(server.client.statistics.dropped.wrongAddress == 2)
        let stranger = STUNMessageWriter(.success, .allocate, STUNTransactionID(high: 9, low: 9)).finish()
        server.deliver(stranger)
        #expect(server.lastInput == .dropped)
        #expect(server.client.statistics.dropped.unknownTransactions == 1)
        #expect(server.client.state == .allocating)
        server.deliver(answer)
        #expect(server.client.relayedAddress == TURNTestServer.relayed)
        server.deliver(answer)
        #expect(server.client.statistics.dropped.unknownTransactions == 2)
    }

    @Test func `A response with an unknown attribute that must be understood fails the request`() {
        let server = TURNTestServer()
        server.script = { [unowned server] request in
            guard request.message.hasIntegrity else { return .ordinary }
            return .bytes(server.success(request) { $0.add(STUNAttributeType(rawValue: 0x7FFF), UInt32(0)) })
        }
        server.allocate()
        #expect(server.events == [.failed(.malformedResponse)])
    }

    // MARK: Lifetime

    @Test func `The allocation is refreshed a minute before its end`() {
        let server = TURNTestServer.allocated()
        server.run(.seconds(1700))
        #expect(server.times(.refresh) == [540, 1080, 1620])
        #expect(server.requests(.refresh).allSatisfy { $0.isAuthentic(server.key) })
        #expect(server.client.relayedAddress != nil)
    }

    @Test func `A short lifetime is refreshed in its middle`() {
        let server = TURNTestServer()
        server.lifetime = 30
        server.allocate()
        server.run(.seconds(50))
        #expect(server.times(.refresh) == [15, 30, 45])
    }

    @Test func `A lost Refresh is asked for again until the lifetime ends`() {
        let server = TURNTestServer.allocated()
        var isDead = false
        server.script = { _ in isDead ? .nothing : .ordinary }
        server.run(.seconds(530))
        isDead = true
        server.run(.seconds(35))
        isDead = false
        server.run(.seconds(100))
        #expect(server.client.relayedAddress != nil)
        #expect(server.events.isEmpty)
        isDead = true
        server.run(.seconds(600))
        #expect(server.events == [.failed(.expired)])
        #expect(server.client.state == .failed(.expired))
        #expect(server.client.nextDeadline == nil)
    }

    @Test func `A refused Refresh is told at once and the allocation used to its end`() {
        let server = TURNTestServer.allocated()
        let peer = TransportAddress(IPAddress(v4: 0xC000_0201), port: 9)
        server.client.addPermission(for: peer.ip, at: server.now)
        server.pump()
        server.forget()
        server.password = "changed"
        server.run(.seconds(545))
        let error = TURNError.refused(.unauthenticated, reason: "Unauthenticated")
        // The permission is refused, too, when its time comes: at 240 s.
        #expect(server.events == [.permissionRefused(peer.ip, error), .refreshRefused(error)])
        #expect(server.client.relayedAddress != nil)
        server.forget()
        server.run(.seconds(60))
        #expect(server.events == [.failed(.expired)])
    }

    @Test func `A server that cannot refresh just then is asked again`() {
        let server = TURNTestServer.allocated()
        server.script = { [unowned server] _ in server.requests.count < 3 ? .failure(.insufficientCapacity) : .ordinary
        }
        server.run(.seconds(600))
        #expect(server.times(.refresh) == [540, 550, 560])
        #expect(server.events.isEmpty)
    }

    @Test func `A server that has forgotten the allocation ends it`() {
        let server = TURNTestServer.allocated()
        server.script = { _ in .failure(.allocationMismatch) }
        server.run(.seconds(541))
        #expect(server.events == [.failed(.refused(.allocationMismatch, reason: "Allocation Mismatch"))])
    }

    @Test func `A nonce that goes stale in the middle is replaced`() {
        let server = TURNTestServer.allocated()
        server.client.addPermission(for: IPAddress(v4: 0xC000_0201), at: server.now)
        server.pump()
        server.nonce = "nonce-2"
        server.run(.seconds(300))
        #expect(server.requests(.createPermission).map { $0.text(.nonce) } == ["nonce-1", "nonce-1", "nonce-2"])
        #expect(server.events == [.permissionInstalled(IPAddress(v4: 0xC000_0201))])
    }

    @Test func `Silence towards a UDP server is broken, lest a NAT forget the client`() throws {
        let server = TURNTestServer.allocated()
        server.run(.seconds(100))
        #expect(server.client.statistics.keepalivesSent == 6)
        let reading = try STUNReading(try #require(server.others.first))
        #expect(reading.message.type == STUNMessageType(.indication, .binding))
        let stream = TURNTestServer.allocated(.stream)
        stream.run(.seconds(100))
        #expect(stream.others.isEmpty)
    }

    // MARK: The end

    @Test func `Closing deletes the allocation`() {
        let server = TURNTestServer.allocated()
        server.client.close(at: server.now)
        server.pump()
        #expect(server.requests(.refresh).map { $0.uint32(.lifetime) } == [0])
        #expect(server.events == [.closed])
        #expect(server.client.state == .closed)
        #expect(server.client.nextDeadline == nil)
        server.client.close(at: server.now)
        server.pump()
        #expect(server.events == [.closed])
    }

    @Test func `Closing outlives a stale nonce`() {
        let server = TURNTestServer.allocated()
        server.nonce = "nonce-2"
        server.client.close(at: server.now)
        server.pump()
        #expect(server.requests(.refresh).map { $0.text(.nonce) } == ["nonce-1", "nonce-2"])
        #expect(server.events == [.closed])
    }

    @Test func `Closing does not wait for a dead server`() {
        let server = TURNTestServer.allocated()
        server.script = { _ in .nothing }
        server.client.close(at: server.now)
        server.run(.seconds(60)) { !server.events.isEmpty }
        #expect(server.now == server.start + .seconds(2))
        #expect(server.times(.refresh) == [0, 0.2, 0.6, 1.4])
    }

    @Test func `An allocation that comes after the close is deleted`() throws {
        let server = TURNTestServer()
        server.script = { $0.message.method == .allocate && $0.message.hasIntegrity ? .nothing : .ordinary }
        server.allocate()
        server.client.close(at: server.now)
        server.pump()
        #expect(server.events.isEmpty)
        server.deliver(server.success(try #require(server.requests(.allocate).last)))
        server.pump()
        #expect(server.requests(.refresh).map { $0.uint32(.lifetime) } == [0])
        #expect(server.events == [.closed])
    }

    @Test func `What was never begun is closed at once`() {
        let server = TURNTestServer()
        server.client.close(at: server.now)
        server.allocate()
        #expect(server.events == [.closed])
        #expect(server.requests.isEmpty)
    }

    @Test func `A lost stream ends the client`() {
        let server = TURNTestServer.allocated(.stream)
        server.client.handleConnectionLost(at: server.now)
        server.pump()
        #expect(server.events == [.failed(.connectionLost)])
        #expect(server.send([1], to: TURNTestServer.mapped) == .dropped)
        #expect(server.client.statistics.dropped.notAllocated == 1)
    }

    @Test func onlyAUserNameThatBeginsWithATimeExpires() {
        #expect(TURNCredentials.expiry(ofUsername: "1735689600:anna") == 1_735_689_600)
        #expect(TURNCredentials.expiry(ofUsername: "1735689600") == 1_735_689_600)
        let others = [
            "anna", "", ":", "17:anna", "17356896001:x", "0735689600:x", "-735689600:x", "١٧٣٥٦٨٩٦٠٠:x", "1735689600a",
        ]
        for name in others {
            #expect(TURNCredentials.expiry(ofUsername: name) == nil)
        }
    }
}
