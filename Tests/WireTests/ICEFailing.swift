import ICE
import STUN
import SansIO
import Testing

@Suite struct ICEFailing {
    @Test func `Without any answer the agents fail, and not before the patience is over`() throws {
        let network = ICEVirtualNetwork()
        network.passes = { _, _, _ in false }
        let call = ICETestCall(network, ["192.0.2.1"], ["198.51.100.1"])
        call.signal()
        #expect(
            network.run(.seconds(60)) { call.offerer.agent.state == .failed && call.answerer.agent.state == .failed }
                != nil
        )
        for peer in [call.offerer, call.answerer] {
            #expect(peer.states == [.checking, .failed])
            let failed = try #require(peer.stateTimes.last?.elapsed)
            #expect(failed >= .milliseconds(39_500) && failed < .milliseconds(39_600))
            #expect(!peer.agent.isWritable)
            #expect(peer.agent.nextDeadline == nil)
        }
    }

    @Test func `An empty list with end-of-candidates fails only after the patience`() throws {
        let network = ICEVirtualNetwork()
        let peer = network.addPeer(.controlling, ["192.0.2.1"])
        peer.gather()
        peer.setRemoteCredentialsOfNobody()
        peer.agent.setRemoteEndOfCandidates(at: network.now)
        #expect(network.run(.seconds(60)) { peer.agent.state == .failed } == .milliseconds(39_500))
        #expect(peer.states == [.checking, .failed])
    }

    @Test func `A check of the peer within the patience saves an agent whose list is empty`() throws {
        let network = ICEVirtualNetwork()
        let call = ICETestCall(network, ["192.0.2.1"], ["198.51.100.1"])
        call.offerer.gather()
        call.offerer.setRemoteCredentials(of: call.answerer)
        call.offerer.agent.setRemoteEndOfCandidates(at: network.now)
        network.run(.seconds(38))
        #expect(call.offerer.agent.state == .checking)
        call.answerer.other = nil
        call.answerer.gather()
        call.answerer.setRemoteCredentials(of: call.offerer)
        call.answerer.agent.addRemoteCandidate(try #require(call.offerer.candidates.first), at: network.now)
        #expect(network.run(.seconds(1)) { call.isNominated } != nil)
    }

    @Test func `Without end-of-candidates an empty list waits for ever`() {
        let network = ICEVirtualNetwork()
        let peer = network.addPeer(.controlling, ["192.0.2.1"])
        peer.gather()
        peer.setRemoteCredentialsOfNobody()
        network.run(.seconds(600))
        #expect(peer.agent.state == .new)
        #expect(peer.agent.nextDeadline == nil)
    }

    @Test func `Without end-of-candidates pairs that failed end nothing, and a late candidate connects`() throws {
        let network = ICEVirtualNetwork()
        let call = ICETestCall(network, ["192.0.2.1"], ["198.51.100.1"])
        network.signallingDelay = nil
        call.signal()
        let dead = try #require(TransportAddress("203.0.113.9", port: 9))
        call.offerer.agent.addRemoteCandidate(
            ICECandidate(foundation: "1", priority: 1, address: dead, kind: .host),
            at: network.now
        )
        network.run(.seconds(300))
        #expect(call.offerer.agent.statistics.pairs.map(\.state) == [.failed])
        #expect(call.offerer.agent.state == .checking)
        call.offerer.agent.addRemoteCandidate(try #require(call.answerer.candidates.first), at: network.now)
        #expect(network.run(.seconds(1)) { call.isNominated } != nil)
    }

    @Test func `An end-of-candidates after the patience ends an agent without hope`() throws {
        let network = ICEVirtualNetwork()
        let peer = network.addPeer(.controlling, ["192.0.2.1"])
        peer.gather()
        peer.setRemoteCredentialsOfNobody()
        let dead = try #require(TransportAddress("203.0.113.9", port: 9))
        peer.agent.addRemoteCandidate(
            ICECandidate(foundation: "1", priority: 1, address: dead, kind: .host),
            at: network.now
        )
        network.run(.seconds(100))
        #expect(peer.agent.state == .checking)
        peer.agent.setRemoteEndOfCandidates(at: network.now)
        #expect(peer.agent.state == .failed)
    }

    @Test func `A wrong password is refused with 401 and counted, and connects nothing`() throws {
        let network = ICEVirtualNetwork()
        let call = ICETestCall(network, ["192.0.2.1"], ["198.51.100.1"])
        call.offerer.gather()
        call.answerer.gather()
        var wrong = call.offerer.agent.localCredentials
        wrong.password += "x"
        call.answerer.agent.setRemoteCredentials(wrong, isLite: false, at: network.now)
        var refusals: Set<UInt16> = []
        network.passes = { _, _, bytes in
            if let code = (try? STUNReading(bytes))?.errorCode { refusals.insert(code.rawValue) }
            return true
        }
        network.run(.seconds(60))
        #expect(refusals == [401])
        #expect(call.offerer.agent.statistics.dropped.wrongPassword > 5)
        #expect(call.answerer.agent.statistics.dropped.unauthenticResponses > 5)
        #expect(call.answerer.agent.state == .failed)
        #expect(call.offerer.agent.statistics.remoteCandidates.map(\.kind) == [.host])
    }

    @Test func `A check for another user is refused with 401`() throws {
        let network = ICEVirtualNetwork()
        let call = ICETestCall(network, ["192.0.2.1"], ["198.51.100.1"])
        call.offerer.gather()
        var wrong = call.offerer.agent.localCredentials
        wrong.usernameFragment = "nobody"
        call.answerer.other = nil
        call.answerer.gather()
        call.answerer.agent.setRemoteCredentials(wrong, isLite: false, at: network.now)
        call.answerer.agent.addRemoteCandidate(
            ICECandidate(
                foundation: "1",
                priority: 1,
                address: try #require(TransportAddress("192.0.2.1", port: 5000)),
                kind: .host
            ),
            at: network.now
        )
        network.run(.seconds(2))
        #expect(call.offerer.agent.statistics.dropped.wrongUsername > 2)
        #expect(!call.answerer.agent.isWritable)
    }

    @Test func `A response from elsewhere fails the pair`() throws {
        let network = ICEVirtualNetwork()
        let call = ICETestCall(network, ["192.0.2.1"], ["198.51.100.1", "198.51.100.2"])
        network.passes = { [unowned network] source, destination, bytes in
            // Responses of the answerer's first socket seem to come from its second.
            guard source.ip == IPAddress("198.51.100.1"), let reading = try? STUNReading(bytes),
                reading.message.messageClass == .success
            else { return true }
            network.send(bytes, from: TransportAddress(.init(v4: 0xC633_6402), port: 5101), to: destination)
            return false
        }
        call.signal()
        #expect(network.run(.seconds(5)) { call.isNominated } != nil)
        #expect(call.offerer.selected?.remote.address.ip == IPAddress("198.51.100.2"))
        #expect(call.offerer.agent.statistics.dropped.asymmetricResponses > 0)
    }

    @Test func `A closed agent says and does nothing more`() {
        let network = ICEVirtualNetwork()
        let call = ICETestCall(network, ["192.0.2.1"], ["198.51.100.1"])
        call.signal()
        #expect(network.run(.seconds(5)) { call.isCompleted } != nil)
        call.offerer.agent.close()
        #expect(call.offerer.agent.selectedPath == nil)
        #expect(call.offerer.agent.nextDeadline == nil)
        network.run(.seconds(60))
        #expect(call.offerer.states.last == .closed)
        #expect(call.offerer.agent.statistics.dropped.afterEnd > 0)
        #expect(call.answerer.agent.state == .failed)
    }
}
