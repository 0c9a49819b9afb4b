import ICE
import STUN
import SansIO
import Testing

/// Nominations with numbers, by peers that agreed on them, and without.
@Suite struct ICERenominations {
    /// A controlled agent with three valid pairs, the last one the best, and what a controlling peer says to it.
    private final class Controlled {
        let network = ICEVirtualNetwork()
        let peer: ICETestPeer
        let addresses: [TransportAddress]
        private let theirs = ICECredentials(usernameFragment: "peer", password: "secret")
        private let port = PortID(rawValue: 0)
        private var count: UInt32 = 0

        init(_ renomination: ICERenomination) throws {
            peer = network.addPeer(.controlled, ["192.0.2.1"])
            addresses = try (1...3).map { try #require(TransportAddress("198.51.100.\($0)", port: 6000)) }
            peer.gather()
            peer.agent.setRemoteCredentials(theirs, isLite: false, renomination: renomination, at: network.now)
            for (number, address) in addresses.enumerated() {
                peer.agent.addRemoteCandidate(
                    ICECandidate(foundation: "1", priority: UInt32(1001 + number), address: address, kind: .host),
                    at: network.now
                )
            }
            for index in addresses.indices { say(index) { _ in } }
            answerAll()
        }

        /// The peer's check on a pair, after a while.
        func say(_ index: Int, after delay: Duration = .zero, _ add: (inout STUNMessageWriter) -> Void) {
            count += 1
            var request = STUNMessageWriter(.request, .binding, STUNTransactionID(high: count, low: 0))
            request.add(.username, text: peer.agent.localCredentials.usernameFragment + ":peer")
            request.add(.priority, UInt32(1))
            request.add(.iceControlling, UInt64(1))
            add(&request)
            let bytes = request.finish(key: STUNKey(password: peer.agent.localCredentials.password))
            peer.agent.receive(bytes.span.bytes, from: addresses[index], on: port, at: network.now + delay)
        }

        /// Answers every check that waits.
        func answerAll() {
            var answers: [(TransportAddress, [UInt8])] = []
            peer.transmits.drain { path, bytes in
                guard let reading = try? STUNReading(Array(bytes)), reading.message.messageClass == .request else {
                    return
                }
                var answer = STUNMessageWriter(.success, .binding, reading.message.transactionID)
                answer.add(.xorMappedAddress, xor: TransportAddress(IPAddress(v4: 0xC000_0201), port: 5000))
                answers.append((path.remote, answer.finish(key: STUNKey(password: theirs.password))))
            }
            for (from, bytes) in answers {
                peer.agent.receive(bytes.span.bytes, from: from, on: port, at: network.now)
            }
        }

        var selected: Int? { peer.agent.selectedPath.flatMap { addresses.firstIndex(of: $0.remote) } }
        var isNominated: Bool { peer.selected?.isNominated ?? false }
        var stale: Int { peer.agent.statistics.dropped.staleNominations }
    }

    /// How each peer that offers a form says its nominations.
    private static let forms: [(ICERenomination, @Sendable (inout STUNMessageWriter, UInt32) -> Void)] = [
        (.libwebrtc, { $0.add(.nominationOfLibwebrtc, $1) }),
        (
            .libwebrtc,
            {
                $0.addFlag(.useCandidate)
                $0.add(.nomination, $1)
            }
        ),
        (
            .draft,
            {
                $0.addFlag(.useCandidate)
                $0.add(.nomination, $1)
            }
        ),
    ]

    @Test func `The options in descriptions name the forms`() {
        #expect(ICERenomination(options: ["trickle"]) == .none)
        #expect(ICERenomination(options: ["trickle", "renomination"]) == .libwebrtc)
        #expect(ICERenomination(options: ["renomination2", "renomination"]) == .draft)
    }

    @Test(arguments: forms.indices) func `The largest number counts, in any order and for any pair`(
        form: Int
    ) throws {
        let (option, write) = Self.forms[form]
        let side = try Controlled(option)
        #expect(side.selected == 2 && !side.isNominated, "data may flow before")
        side.say(1) { write(&$0, 2) }
        #expect(side.selected == 1 && side.isNominated)
        // Sent before, arrives after.
        side.say(0) { write(&$0, 1) }
        #expect(side.selected == 1 && side.stale == 1)
        // To a worse pair, at once.
        side.say(0) { write(&$0, 3) }
        #expect(side.selected == 0 && side.isNominated && side.stale == 1)
        // Repeated, of this pair and of former ones.
        side.say(0) { write(&$0, 3) }
        #expect(side.selected == 0 && side.stale == 1)
        side.say(1) { write(&$0, 2) }
        side.say(2) { $0.addFlag(.useCandidate) }
        side.say(2) { write(&$0, 0) }
        #expect(side.selected == 0 && side.isNominated)
        side.say(2) { write(&$0, .max) }
        #expect(side.selected == 2 && side.isNominated)
        #expect(side.peer.agent.statistics.pairs.filter(\.isNominated).count == 1)
    }

    @Test(arguments: forms.indices) func `A nominated pair is used once it works, unless another was nominated since`(
        form: Int
    ) throws {
        let (option, write) = Self.forms[form]
        let side = try Controlled(option)
        side.say(0) { write(&$0, 1) }
        // The present generation is new: nothing is valid but what is answered from now on.
        side.peer.agent.restart(at: side.network.now)
        side.peer.gather()
        side.peer.agent.setRemoteCredentials(
            ICECredentials(usernameFragment: "peer", password: "secret"),
            isLite: false,
            renomination: option,
            at: side.network.now
        )
        // Numbers begin anew with the generation.
        side.say(2) { write(&$0, 1) }
        side.say(1) { write(&$0, 2) }
        side.answerAll()
        #expect(side.selected == 1 && side.isNominated)
    }

    @Test func `Without agreement the number that libwebrtc uses means nothing`() throws {
        let side = try Controlled(.none)
        side.say(1) { $0.add(.nominationOfLibwebrtc, UInt32(7)) }
        #expect(!side.isNominated)
        side.say(1) {
            $0.addFlag(.useCandidate)
            $0.add(.nominationOfLibwebrtc, UInt32(7))
        }
        #expect(side.selected == 1 && side.isNominated)
        // As before: the better one of two that are nominated at the beginning.
        side.say(2) {
            $0.addFlag(.useCandidate)
            $0.add(.nominationOfLibwebrtc, UInt32(6))
        }
        #expect(side.selected == 2)
        side.say(0) {
            $0.addFlag(.useCandidate)
            $0.add(.nominationOfLibwebrtc, UInt32(8))
        }
        #expect(side.selected == 2 && side.stale == 0)
    }

    @Test func `Credentials come late, and the nomination before them counts by what they bring`() throws {
        let network = ICEVirtualNetwork()
        let call = ICETestCall(network, ["192.0.2.1"], ["198.51.100.1"])
        call.offerer.renomination = .draft
        call.answerer.renomination = .draft
        call.signal(answerDelay: .milliseconds(300))
        #expect(network.run(.seconds(5)) { call.isNominated } != nil)
    }

    /// What the controlling agent's nominations look like on the wire: pair, number, attribute, flag.
    private struct Said: Equatable {
        var remote: TransportAddress
        var number: UInt32?
        var isOfLibwebrtc: Bool
        var usesCandidate: Bool
    }

    /// A call whose relayed path works at once and whose direct one from 20 s on.
    private func relayedCall(
        _ option: ICERenomination,
        network: ICEVirtualNetwork = ICEVirtualNetwork(),
        until end: Duration = .seconds(120)
    ) throws -> (call: ICETestCall, said: [Said]) {
        network.signallingDelay = nil
        let call = ICETestCall(network, ["192.0.2.1"], ["198.51.100.1", "203.0.113.1"])
        call.offerer.renomination = option
        call.answerer.renomination = option
        var said: [Said] = []
        let blockedUntil = network.now + .seconds(20)
        let direct = try #require(IPAddress("198.51.100.1"))
        network.passes = { source, destination, bytes in
            if let reading = try? STUNReading(bytes), reading.message.messageClass == .request,
                source.ip == IPAddress("192.0.2.1")
            {
                let number = reading.message.uint32(.nomination, in: bytes.span.bytes)
                let other = reading.message.uint32(.nominationOfLibwebrtc, in: bytes.span.bytes)
                let new = Said(
                    remote: destination,
                    number: number ?? other,
                    isOfLibwebrtc: other != nil,
                    usesCandidate: reading.message.contains(.useCandidate)
                )
                if new.usesCandidate || new.number != nil, said.last != new { said.append(new) }
            }
            return network.now >= blockedUntil || source.ip != direct && destination.ip != direct
        }
        call.signal()
        for (index, kind) in [(0, ICECandidate.Kind.host), (1, .relay)] {
            let address = try #require(call.answerer.sockets[PortID(rawValue: index)])
            let candidate = ICECandidate(
                foundation: "\(index)",
                priority: kind == .host ? 2_130_706_431 : 16_777_215,
                address: address,
                kind: kind
            )
            call.offerer.agent.addRemoteCandidate(candidate, at: network.now)
        }
        call.answerer.agent.addRemoteCandidate(
            ICECandidate(
                foundation: "1",
                priority: 2_130_706_431,
                address: try #require(call.offerer.sockets[PortID(rawValue: 0)]),
                kind: .host
            ),
            at: network.now
        )
        try #require(network.run(.seconds(19)) { call.isNominated } != nil)
        #expect(call.offerer.agent.selectedPath?.remote.ip == IPAddress("203.0.113.1"))
        network.run(end)
        return (call, said)
    }

    @Test(arguments: [ICERenomination.none, .libwebrtc, .draft])
    func `A relayed call moves to the direct path that appears, and says so in the peer's form`(
        option: ICERenomination
    ) throws {
        let (call, said) = try relayedCall(option)
        #expect(call.offerer.agent.selectedPath?.remote.ip == IPAddress("198.51.100.1"))
        #expect(call.answerer.agent.selectedPath?.port == PortID(rawValue: 0))
        #expect(call.isNominated)
        let relayed = try #require(call.answerer.sockets[PortID(rawValue: 1)])
        let direct = try #require(call.answerer.sockets[PortID(rawValue: 0)])
        let isNumbered = option != .none
        let expected = [(relayed, 1), (direct, 2)].map { remote, number in
            Said(
                remote: remote,
                number: isNumbered ? UInt32(number) : nil,
                isOfLibwebrtc: option == .libwebrtc,
                usesCandidate: true
            )
        }
        // Consent checks of the relayed pair may come between the first nomination of the direct one and its answer.
        #expect(said.first == expected.first && said.last == expected.last)
        #expect(said.allSatisfy { expected.contains($0) })
        #expect(call.answerer.agent.statistics.dropped.unknownAttributes == 0)
        #expect(call.answerer.agent.statistics.dropped.staleNominations == 0 || isNumbered)
    }

    @Test(arguments: 1...12) func `Both ends agree in the end, whatever is late, lost or doubled`(seed: UInt64) throws {
        let network = ICEVirtualNetwork(seed: seed)
        network.jitter = .milliseconds(400)
        network.loss = 0.1
        network.duplication = 0.1
        let (call, _) = try relayedCall(seed % 2 == 0 ? .libwebrtc : .draft, network: network, until: .seconds(300))
        #expect(call.isNominated)
        let (ours, theirs) = (call.offerer.agent.selectedPath, call.answerer.agent.selectedPath)
        let port = try #require(theirs?.port)
        #expect(ours?.remote == call.answerer.sockets[port])
    }
}
