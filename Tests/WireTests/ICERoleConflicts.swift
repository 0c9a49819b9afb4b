import ICE
import STUN
import SansIO
import Testing

@Suite struct ICERoleConflicts {
    @Test(arguments: [ICERole.controlling, .controlled], 1...6)
    func `Two agents of one role end with one of each`(role: ICERole, seed: UInt64) throws {
        let network = ICEVirtualNetwork(seed: seed)
        let call = ICETestCall(network, ["192.0.2.1"], ["198.51.100.1"], roles: (role, role))
        call.signal()
        #expect(network.run(.seconds(5)) { call.isCompleted } != nil)
        #expect(call.offerer.agent.role != call.answerer.agent.role)
        #expect(call.isNominated)
        let conflicts = call.offerer.agent.statistics.roleConflicts + call.answerer.agent.statistics.roleConflicts
        #expect(conflicts >= 1)
    }

    /// A peer made by hand, to see each answer to a conflict.
    private func exchange(ours: ICERole, theirs: STUNAttributeType, tieBreaker: UInt64) throws -> (STUNReading, ICERole)
    {
        let network = ICEVirtualNetwork()
        let peer = network.addPeer(ours, ["192.0.2.1"])
        peer.gather()
        let credentials = peer.agent.localCredentials
        var request = STUNMessageWriter(.request, .binding, STUNTransactionID(high: 1, low: 2))
        request.add(.username, text: credentials.usernameFragment + ":peer")
        request.add(.priority, UInt32(1))
        request.add(theirs, tieBreaker)
        let bytes = request.finish(key: STUNKey(password: credentials.password))
        let from = try #require(TransportAddress("198.51.100.1", port: 6000))
        peer.agent.receive(bytes.span.bytes, from: from, on: PortID(rawValue: 0), at: network.now)
        var responses: [[UInt8]] = []
        peer.transmits.drain { _, bytes in responses.append(Array(bytes)) }
        let response = try STUNReading(try #require(responses.first))
        #expect(response.isAuthentic(STUNKey(password: credentials.password)))
        return (response, peer.agent.role)
    }

    @Test func `The larger tie-breaker controls, and 487 tells the other`() throws {
        var (response, role) = try exchange(ours: .controlling, theirs: .iceControlling, tieBreaker: 0)
        #expect(response.errorCode == .roleConflict)
        #expect(role == .controlling)
        (response, role) = try exchange(ours: .controlling, theirs: .iceControlling, tieBreaker: .max)
        #expect(response.message.messageClass == .success)
        #expect(role == .controlled)
        (response, role) = try exchange(ours: .controlled, theirs: .iceControlled, tieBreaker: 0)
        #expect(response.message.messageClass == .success)
        #expect(role == .controlling)
        (response, role) = try exchange(ours: .controlled, theirs: .iceControlled, tieBreaker: .max)
        #expect(response.errorCode == .roleConflict)
        #expect(role == .controlled)
        (response, role) = try exchange(ours: .controlled, theirs: .iceControlling, tieBreaker: 0)
        #expect(response.message.messageClass == .success)
        #expect(role == .controlled)
    }

    @Test func `A 487 makes the agent change its role, its tie-breaker, and ask again`() throws {
        let network = ICEVirtualNetwork()
        let peer = network.addPeer(.controlling, ["192.0.2.1"])
        peer.gather()
        let theirs = ICECredentials(usernameFragment: "peer", password: "secret")
        peer.agent.setRemoteCredentials(theirs, isLite: false, at: network.now)
        peer.agent.addRemoteCandidate(
            try ICECandidate(attributeValue: "candidate:1 1 udp 1 198.51.100.1 6000 typ host"),
            at: network.now
        )
        func sent() throws -> STUNReading {
            var messages: [[UInt8]] = []
            peer.transmits.drain { _, bytes in messages.append(Array(bytes)) }
            try #require(messages.count == 1)
            return try STUNReading(messages[0])
        }
        let first = try sent()
        let tieBreaker = try #require(first.uint64(.iceControlling))
        #expect(!first.message.contains(.useCandidate))
        var response = STUNMessageWriter(.failure, .binding, first.message.transactionID)
        response.add(STUNErrorCode.roleConflict)
        let bytes = response.finish(key: STUNKey(password: theirs.password))
        let from = try #require(TransportAddress("198.51.100.1", port: 6000))
        peer.agent.receive(bytes.span.bytes, from: from, on: PortID(rawValue: 0), at: network.now)
        #expect(peer.agent.role == .controlled)
        let second = try sent()
        #expect(second.message.transactionID != first.message.transactionID)
        #expect(!second.message.contains(.iceControlling))
        #expect(try #require(second.uint64(.iceControlled)) != tieBreaker)
        // The same 487 once more belongs to nothing and changes nothing.
        peer.agent.receive(bytes.span.bytes, from: from, on: PortID(rawValue: 0), at: network.now)
        #expect(peer.agent.role == .controlled)
        #expect(peer.agent.statistics.dropped.unknownTransactions == 1)
    }
}
