import ICE
import STUN
import SansIO
import Testing

@Suite struct ICENomination {
    @Test func `After the nomination unanswered pairs are no longer checked`() throws {
        let network = ICEVirtualNetwork()
        var strays = 0
        let dead = try #require(IPAddress("198.51.100.2"))
        network.passes = { _, destination, _ in
            if destination.ip == dead { strays += 1 }
            return destination.ip != dead
        }
        let call = ICETestCall(network, ["192.0.2.1"], ["198.51.100.2", "198.51.100.1"])
        call.signal()
        #expect(network.run(.seconds(5)) { call.isCompleted } != nil)
        #expect(call.offerer.selected?.remote.address.ip != dead)
        #expect(strays > 0)
        strays = 0
        network.run(.seconds(60))
        #expect(strays == 0)
        #expect(call.offerer.agent.statistics.pairs.map(\.state) == [.frozen, .succeeded])
    }

    @Test func `A peer-reflexive pair is nominated only after the grace, for a better one may come`() throws {
        let network = ICEVirtualNetwork()
        network.delay = .milliseconds(3)
        let call = ICETestCall(network, ["192.0.2.1"], ["198.51.100.1"])
        network.signallingDelay = nil
        call.signal(answerDelay: .milliseconds(10))
        call.answerer.agent.addRemoteCandidate(
            ICECandidate(
                foundation: "1",
                priority: 9,
                address: try #require(TransportAddress("192.0.2.1", port: 5000)),
                kind: .host
            ),
            at: network.now
        )
        // The answer at 10 ms, the first success at 16 ms, the grace of 50 ms, one round trip.
        #expect(network.run(.seconds(1)) { call.offerer.agent.isWritable } == .milliseconds(16))
        #expect(network.run(.seconds(1)) { call.isNominated } == .milliseconds(72))
    }

    @Test func `A peer-reflexive pair that is near is nominated at once`() throws {
        let network = ICEVirtualNetwork()
        network.delay = .microseconds(100)
        let call = ICETestCall(network, ["192.0.2.1"], ["198.51.100.1"])
        network.signallingDelay = nil
        call.signal(answerDelay: .milliseconds(1))
        call.answerer.agent.addRemoteCandidate(
            ICECandidate(
                foundation: "1",
                priority: 9,
                address: try #require(TransportAddress("192.0.2.1", port: 5000)),
                kind: .host
            ),
            at: network.now
        )
        #expect(network.run(.seconds(1)) { call.isNominated } == .microseconds(1400))
        #expect(call.offerer.selected?.remote.kind == .prflx)
    }

    /// A controlling peer that nominates every pair in its first check, as RFC 5245 allowed.
    @Test func `Of several nominated pairs the controlled agent takes the best`() throws {
        let network = ICEVirtualNetwork()
        let peer = network.addPeer(.controlled, ["192.0.2.1"])
        peer.gather()
        let ours = peer.agent.localCredentials
        let theirs = ICECredentials(usernameFragment: "peer", password: "secret")
        let port = PortID(rawValue: 0)
        peer.agent.setRemoteCredentials(theirs, isLite: false, at: network.now)
        var addresses: [TransportAddress] = []
        for number in 1...3 {
            let address = try #require(TransportAddress("198.51.100.\(number)", port: 6000))
            addresses.append(address)
            peer.agent.addRemoteCandidate(
                ICECandidate(foundation: "1", priority: UInt32(1000 + number), address: address, kind: .host),
                at: network.now
            )
        }
        // The best pair is neither the first nor the last to be nominated.
        for index in [0, 2, 1] {
            var request = STUNMessageWriter(.request, .binding, STUNTransactionID(high: UInt32(index), low: 0))
            request.add(.username, text: ours.usernameFragment + ":peer")
            request.add(.priority, UInt32(1))
            request.add(.iceControlling, UInt64(1))
            request.addFlag(.useCandidate)
            let bytes = request.finish(key: STUNKey(password: ours.password))
            peer.agent.receive(bytes.span.bytes, from: addresses[index], on: port, at: network.now)
        }
        // Answer all checks.
        var answers: [(TransportAddress, [UInt8])] = []
        peer.transmits.drain { path, bytes in
            guard let reading = try? STUNReading(Array(bytes)), reading.message.messageClass == .request else { return }
            var answer = STUNMessageWriter(.success, .binding, reading.message.transactionID)
            answer.add(.xorMappedAddress, xor: TransportAddress(IPAddress(v4: 0xC000_0201), port: 5000))
            answers.append((path.remote, answer.finish(key: STUNKey(password: theirs.password))))
        }
        for address in [addresses[0], addresses[2], addresses[1]] {
            for (from, bytes) in answers where from == address {
                peer.agent.receive(bytes.span.bytes, from: from, on: port, at: network.now)
            }
        }
        #expect(peer.agent.statistics.pairs.filter(\.isNominated).count == 3)
        #expect(peer.agent.selectedPath?.remote == addresses[2])
        // Much later the peer nominates another one alone: it has moved on.
        var request = STUNMessageWriter(.request, .binding, STUNTransactionID(high: 9, low: 0))
        request.add(.username, text: ours.usernameFragment + ":peer")
        request.add(.priority, UInt32(1))
        request.add(.iceControlling, UInt64(1))
        request.addFlag(.useCandidate)
        let bytes = request.finish(key: STUNKey(password: ours.password))
        peer.agent.receive(bytes.span.bytes, from: addresses[0], on: port, at: network.now + .seconds(4))
        #expect(peer.agent.selectedPath?.remote == addresses[0])
    }
}
